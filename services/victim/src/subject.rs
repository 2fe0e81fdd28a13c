//! The one implementation of the sacrificial services.

use core::marker::PhantomData;

use rt::abi::image::Fletcher;
use rt::{Construct, Error, Events, LentRead, LentWrite, Next, Service, Session, Word, sys};

use crate::events::{Diary, Known, Orders};
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
    /// Sessions that it has seen since it was built.
    known: Known,
    /// Events are being dealt with.
    busy: bool,
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
            Attack::Tell => self.board.diary.told(sys::notify(argument)),
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

    /// What comes after the step with this session, or first of all.
    fn next(&mut self, last: Option<u32>) -> Next {
        let next = match (self.board.plan.plan(), last) {
            (Plan::Note, _) | (Plan::One, Some(_)) => None,
            (Plan::One, None) => Some(self.board.plan.argument),
            _ => self.known.after(last),
        };
        self.busy = next.is_some();
        next.map_or(Next::Done, Next::Session)
    }

    /// Does in a step what the plan says.
    fn carry_out(&mut self, session: &mut Session<M>) {
        let Orders { argument, rounds, .. } = self.board.plan;
        match self.board.plan.plan() {
            Plan::Note => {}
            Plan::One | Plan::Walk => harm::strike(Attack::Work, rounds),
            Plan::Tell => self.board.diary.told(sys::notify(M::number(session))),
            Plan::Rearm => {
                let first = self.board.plan.first == 0;
                self.board.plan.first = 1;
                if first && sys::deadline(Some(1)).is_ok() {
                    harm::strike(Attack::Work, rounds);
                }
            }
            Plan::Call => {
                let peer = Peer::from_word(argument).unwrap_or(Peer::None);
                let result = self.peers.pass(peer, 0, 1, Strike::NONE, 0, 0);
                self.board.diary.failed += u32::from(result.is_err());
            }
        }
    }

    fn digest_of(session: &mut Session<M>) -> u64 {
        let mut sum = Fletcher::new();
        M::bulk(session).iter().for_each(|word| sum.add(*word));
        sum.value()
    }
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
        Subject { board, peers: Peers::new(), reloads: 0, known: Known::new(), busy: false, memory: PhantomData }
    }

    fn open(&mut self, session: &mut Session<M>) -> Result<(), Error> {
        self.board.opened += 1;
        self.known.put(M::number(session), true);
        self.hook(session, Hook::Open)
    }

    fn reload(&mut self, session: &mut Session<M>) -> Result<(), Error> {
        self.reloads += 1;
        self.known.put(M::number(session), true);
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
        self.known.put(M::number(session), false);
        // Nobody is left to be told.
        let _ = self.hook(session, Hook::Close);
    }

    fn event(&mut self, events: Events) -> Next {
        self.busy = true;
        self.board.diary.upcall(events);
        harm::strike(Attack::Work, self.board.plan.rounds);
        let Arm { attack, argument, until, .. } = self.board.arms[Hook::Event as usize];
        match Attack::from_word(attack).filter(|_| self.board.builds < until) {
            Some(Attack::Tell) => self.board.diary.told(sys::notify(argument)),
            Some(attack) => harm::strike(attack, argument),
            None => {}
        }
        self.next(None)
    }

    fn step(&mut self, session: &mut Session<M>, events: Events) -> Next {
        self.board.diary.step(self.busy);
        if let Some(record) = M::record(session) {
            record.steps += 1;
            record.bits |= events.bits();
        }
        self.carry_out(session);
        // A step that refuses does no harm: it has no result.
        let _ = self.hook(session, Hook::Step);
        self.next(Some(M::number(session)))
    }

    fn skipped(&mut self, session: u32, events: Events) -> Next {
        self.board.diary.skipped(session, events);
        self.known.put(session, false);
        self.next(Some(session))
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

    fn plan(&mut self, _: &mut Session<M>, plan: Plan, argument: u32, rounds: u32) -> Result<(), VictimError> {
        self.board.plan = Orders { plan: plan.into_word(), argument, rounds, first: 0 };
        self.board.diary = Diary::default();
        Ok(())
    }

    fn diary(&mut self, _: &mut Session<M>) -> Result<(u32, u32, u32, u32), VictimError> {
        let Diary { upcalls, bits, steps, skipped, .. } = self.board.diary;
        Ok((upcalls, bits, steps, skipped))
    }

    fn steps(&mut self, session: &mut Session<M>) -> Result<(u32, u32, u32, u32), VictimError> {
        let (steps, bits) = M::record(session).map_or((0, 0), |record| (record.steps, record.bits));
        Ok((steps, bits, self.board.diary.strays, self.board.diary.last_skipped))
    }

    fn tell(
        &mut self,
        session: &mut Session<M>,
        first: u32,
        count: u32,
        attack: Attack,
        argument: u32,
        until: u32,
    ) -> Result<(u32, u32), VictimError> {
        let told = (0..count).filter(|index| sys::notify(first.wrapping_add(*index)).is_ok()).count() as u32;
        self.strike(session, attack, argument, until);
        Ok((told, count - told))
    }

    fn listen(&mut self, _: &mut Session<M>, peer: Peer, events: u32) -> Result<u32, VictimError> {
        match sys::bind(peer.name(), Events::from_bits_retain(events)) {
            Ok(handle) => Ok(handle.index),
            Err(_) => Err(VictimError::Absent),
        }
    }

    fn alarm(&mut self, _: &mut Session<M>, at: u64) -> Result<(), VictimError> {
        let due = (at > 0).then_some(at);
        self.board.diary.due = [at as u32, (at >> 32) as u32];
        sys::deadline(due).map_err(|_| VictimError::Absent)
    }

    fn alarms(&mut self, _: &mut Session<M>) -> Result<(u32, u32, u32), VictimError> {
        let Diary { alarms, early, late, .. } = self.board.diary;
        Ok((alarms, early, late))
    }

    fn wait(&mut self, _: &mut Session<M>, events: u32, ticks: u32, rounds: u32) -> Result<(u32, u32), VictimError> {
        let result = sys::wait_events(Events::from_bits_retain(events), ticks);
        harm::strike(Attack::Work, rounds);
        Ok(match result {
            Ok(events) => (events.bits(), 0),
            Err(error) => (0, error as u32),
        })
    }
}
