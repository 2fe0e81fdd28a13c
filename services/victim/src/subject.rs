//! The one implementation of the sacrificial services.

use core::marker::PhantomData;

use rt::abi::image::Fletcher;
use rt::{Construct, Error, LentRead, LentWrite, Service, Session, Word};

use crate::memory::{Arm, Board};
use crate::peers::Peers;
// The interface by a glob: its name is a macro's, too, which cannot be named by a path in its own crate.
use crate::*;

/// Bytes that `echo` moves at once.
const CHUNK: usize = 256;

/// A sacrificial service that keeps `M` for each session.
///
/// Its constructor, once armed, strikes as long as the clock (microseconds since boot, low word) has not reached
/// `until`, and waits for that time first: a retried constructor finds nothing that the failed one left, but the time
/// has passed. With [`crate::ALWAYS`] it strikes without asking the clock.
pub struct Subject<M: Memory> {
    board: &'static mut Board,
    peers: Peers,
    /// Reloads since it was built.
    reloads: u32,
    memory: PhantomData<M>,
}

impl<M: Memory> Subject<M> {
    /// Changes everything that a failure must bring back.
    fn change(&mut self, session: &mut Session<M>, amount: u32) -> u32 {
        self.board.sum = self.board.sum.wrapping_add(amount);
        self.board.rest[Board::LAST] ^= amount;
        let Some(record) = M::record(session) else { return 0 };
        record.sum = record.sum.wrapping_add(amount);
        record.requests += 1;
        let sum = record.sum;
        if let Some(last) = M::bulk(session).last_mut() {
            *last ^= amount;
        }
        sum
    }

    /// Strikes, while the service was built fewer than `until` times.
    fn strike(&mut self, session: &mut Session<M>, attack: Attack, argument: u32, until: u32) {
        if self.board.builds >= until {
            return;
        }
        match attack {
            Attack::Spoil => {
                if let Some(record) = M::record(session) {
                    record.spoiled = 1;
                }
            }
            Attack::AskFlush => session.request_flush(),
            _ => harm::strike(attack, argument),
        }
    }

    /// Strikes if a hook is armed for this session.
    fn hook(&mut self, session: &mut Session<M>, hook: Hook) -> Result<(), Error> {
        let Arm { attack, argument, until, whom } = self.board.arms[hook as usize];
        let attack = Attack::from_word(attack).unwrap_or(Attack::None);
        if whom != u32::MAX && whom != M::number(session) {
            return Ok(());
        }
        if attack == Attack::Refuse && self.board.builds < until {
            return Err(Error::WouldBlock);
        }
        self.strike(session, attack, argument, until);
        Ok(())
    }

    fn digest_of(session: &mut Session<M>) -> u64 {
        let mut sum = Fletcher::new();
        M::bulk(session).iter().for_each(|word| sum.add(*word));
        sum.value()
    }
}

impl Board {
    /// The last word of the region, on another page than the sums.
    const LAST: usize = crate::COMMON as usize / 4 - 28;
}

/// Strikes in a constructor.
fn construct(arm: Arm) {
    let Some(attack) = Attack::from_word(arm.attack).filter(|attack| *attack != Attack::None) else { return };
    if arm.until != crate::ALWAYS {
        let late = |now: u64| (now as u32).wrapping_sub(arm.until) as i32 >= 0;
        let Ok(now) = rt::sys::time_us() else { return };
        if late(now) {
            return;
        }
        while rt::sys::time_us().is_ok_and(|now| !late(now)) {}
    }
    harm::strike(attack, arm.argument);
}

impl<M: Memory> Service for Subject<M> {
    type State = M;

    fn new(construct_with: &mut Construct) -> Self {
        let Some(board) = construct_with.take_common_as::<Board>() else {
            panic!("the manifest asks for too small a common region");
        };
        construct(board.arms[Hook::Construct as usize]);
        board.builds += 1;
        Subject { board, peers: Peers::new(), reloads: 0, memory: PhantomData }
    }

    fn open(&mut self, session: &mut Session<M>) -> Result<(), Error> {
        self.board.opened += 1;
        self.hook(session, Hook::Open)
    }

    fn reload(&mut self, session: &mut Session<M>) -> Result<(), Error> {
        self.reloads += 1;
        self.hook(session, Hook::Reload)
    }

    fn flush(&mut self, session: &mut Session<M>) -> Result<(), Error> {
        self.board.flushes += 1;
        if let Some(record) = M::record(session) {
            record.flushes += 1;
        }
        self.hook(session, Hook::Flush)
    }

    fn close(&mut self, session: &mut Session<M>) {
        self.board.closed += 1;
        // Nobody is left to be told.
        let _ = self.hook(session, Hook::Close);
    }
}

impl<M: Memory> Victim for Subject<M> {
    fn add(&mut self, session: &mut Session<M>, amount: u32) -> Result<(u32, u32), VictimError> {
        let sum = self.change(session, amount);
        Ok((sum, self.board.sum))
    }

    fn state(&mut self, session: &mut Session<M>) -> Result<(u32, u32, u32, u32), VictimError> {
        let (sum, requests) = M::record(session).map_or((0, 0), |record| (record.sum, record.requests));
        Ok((sum, requests, self.board.sum, self.board.builds))
    }

    fn counts(&mut self, _: &mut Session<M>) -> Result<(u32, u32, u32, u32), VictimError> {
        Ok((self.board.opened, self.board.closed, self.reloads, self.board.flushes))
    }

    fn flushes(&mut self, session: &mut Session<M>) -> Result<u32, VictimError> {
        Ok(M::record(session).map_or(0, |record| record.flushes))
    }

    fn attack(
        &mut self,
        session: &mut Session<M>,
        attack: Attack,
        argument: u32,
        until: u32,
    ) -> Result<u32, VictimError> {
        let sum = self.change(session, TRACE);
        self.strike(session, attack, argument, until);
        Ok(sum)
    }

    fn arm(
        &mut self,
        _: &mut Session<M>,
        hook: Hook,
        attack: Attack,
        argument: u32,
        until: u32,
        whom: u32,
        key: u32,
    ) -> Result<(), VictimError> {
        if key != ARM_KEY {
            return Err(VictimError::Unknown);
        }
        self.board.arms[hook as usize] = Arm { attack: attack as u32, argument, until, whom };
        Ok(())
    }

    fn work(&mut self, session: &mut Session<M>, rounds: u32) -> Result<u32, VictimError> {
        let number = M::number(session);
        self.change(session, 1);
        if self.board.worker != number {
            self.board.worker = number;
            self.board.changes += 1;
        }
        harm::strike(Attack::Work, rounds);
        Ok(self.board.changes)
    }

    fn flushed(&mut self, session: &mut Session<M>, amount: u32) -> Result<u32, VictimError> {
        session.request_flush();
        Ok(self.change(session, amount))
    }

    fn pass(
        &mut self,
        session: &mut Session<M>,
        route: u32,
        amount: u32,
        strike: Strike,
        argument: u32,
        until: u32,
    ) -> Result<(u32, u32, u32), VictimError> {
        self.fan(session, route, 1, amount, strike, argument, until)
    }

    fn fan(
        &mut self,
        session: &mut Session<M>,
        route: u32,
        times: u32,
        amount: u32,
        strike: Strike,
        argument: u32,
        until: u32,
    ) -> Result<(u32, u32, u32), VictimError> {
        let sum = self.change(session, amount);
        let next = Peer::from_word(route & 0xf).ok_or(VictimError::Unknown)?;
        let own = strike.hop == 0;
        if own && !strike.after {
            self.strike(session, strike.attack, argument, until);
        }
        let mut result = Ok(0);
        let endless = own && strike.attack == Attack::CallForever;
        let mut time = 1;
        while next != Peer::None && (time <= times || endless) {
            let inner = if time == times { strike.passed_on() } else { Strike::NONE };
            result = self.peers.pass(next, route >> 4, amount, inner, argument, until);
            time = time.saturating_add(1);
        }
        if own && strike.after {
            self.strike(session, strike.attack, argument, until);
        }
        Ok(match result {
            Ok(inner) => (sum, inner, 0),
            Err(code) => (sum, 0, code),
        })
    }

    fn wild_copy(
        &mut self,
        _: &mut Session<M>,
        number: u32,
        _: LentRead<'_>,
        _: LentWrite<'_>,
    ) -> Result<u32, VictimError> {
        let copy = case::COPIES.get(number as usize).ok_or(VictimError::Unknown)?;
        Ok(harm::copy(copy))
    }

    fn echo(&mut self, _: &mut Session<M>, read: LentRead<'_>, mut write: LentWrite<'_>) -> Result<u32, VictimError> {
        let length = read.len().min(write.len());
        let mut buffer = [0; CHUNK];
        for offset in (0..length).step_by(CHUNK) {
            let part = &mut buffer[..CHUNK.min(length - offset)];
            if read.copy(offset, part).is_err() || write.copy(offset, part).is_err() {
                return Err(VictimError::Unknown);
            }
        }
        Ok(length as u32)
    }

    fn probe(&mut self, _: &mut Session<M>, probe: harm::Probe, first: u32, second: u32) -> Result<u32, VictimError> {
        Ok(harm::probe(probe, first, second))
    }

    fn fill(
        &mut self,
        session: &mut Session<M>,
        from: u32,
        count: u32,
        seed: u32,
        attack: Attack,
        argument: u32,
        until: u32,
    ) -> Result<u64, VictimError> {
        let range = from as usize..(from as usize).saturating_add(count as usize);
        let words = M::bulk(session).get_mut(range).ok_or(VictimError::Absent)?;
        for (index, word) in (from..).zip(words) {
            *word = (index ^ seed).wrapping_mul(0x9e37_79b9);
        }
        self.strike(session, attack, argument, until);
        Ok(Self::digest_of(session))
    }

    fn digest(&mut self, session: &mut Session<M>) -> Result<u64, VictimError> {
        Ok(Self::digest_of(session))
    }

    fn scribble(&mut self, session: &mut Session<M>) -> Result<u32, VictimError> {
        let word = M::bulk(session).first_mut().ok_or(VictimError::Absent)?;
        *word = !*word;
        Ok(*word)
    }
}
