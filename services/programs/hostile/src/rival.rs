//! Clients of the same services at the same time, each of which knows what its own requests must have done.
//!
//! A request adds 1 in the client's own column (ten bits) of sums that all clients share: that of `relay` at its inner
//! service. Whatever fails, and whoever else is there, the own column counts the own requests exactly, as if they had
//! been alone; those of the others never go back.

use rt::{CallError, Error};
use victim::{ALWAYS, Attack, Peer, Strike, VictimClient};

/// Requests of a rival.
pub const REQUESTS: u32 = 10;
/// Status of one that found nothing wrong, less what [`Rival::counts`] says.
pub const COUNTED: u32 = 1 << 24;
/// Bits of a column.
pub const COLUMN: u32 = 10;
/// Rivals at most.
pub const RIVALS: usize = 3;
/// Calls that change nothing before it is said that they always fail.
const PATIENCE: u32 = 5;
/// The services behind `relay`: an ordinary one and a serial one.
const INNER: [Peer; 2] = [Peer::Victim, Peer::Ledger];

/// What went wrong: the number of the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong(pub u32);

/// George Marsaglia's xorshift generator of 32 bits (Journal of Statistical Software 8 (14), 2003).
pub struct Random(u32);

impl Random {
    /// Starts with a seed.
    pub fn new(seed: u32) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9) | 1);
        // Seeds that differ little: so do the first numbers.
        (0..8).for_each(|_| {
            random.next();
        });
        random
    }

    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// A number below the limit.
    pub fn below(&mut self, limit: u32) -> u32 {
        (self.next() >> 8) % limit
    }
}

/// Sums of all rivals, as one of them sees them.
#[derive(Clone, Copy, Default)]
struct Columns {
    /// What the sum was at first.
    base: u32,
    /// The columns since then.
    last: [u32; RIVALS],
}

impl Columns {
    /// Looks at a sum: the own column must be exact.
    fn look(&mut self, sum: u32, own: usize, count: u32) -> Result<(), Wrong> {
        let grown = sum.wrapping_sub(self.base);
        for (column, last) in self.last.iter_mut().enumerate() {
            let now = grown >> (column as u32 * COLUMN) & ((1 << COLUMN) - 1);
            if now < *last || (column == own && now != count) {
                return Err(Wrong(1));
            }
            *last = now;
        }
        Ok(())
    }
}

/// Makes a call that changes nothing again if it failed: sabotage of somebody else may have struck it more than once.
fn patiently<T>(mut call: impl FnMut() -> Result<T, Failure>) -> Result<T, Wrong> {
    for _ in 0..PATIENCE {
        match call() {
            Err(CallError::Kernel(Error::ServerFault)) => {}
            result => return result.map_err(|_| Wrong(3)),
        }
    }
    Err(Wrong(4))
}

fn state(client: &VictimClient) -> Result<(u32, u32, u32, u32), Wrong> {
    patiently(|| client.state())
}

/// A client that makes requests at random.
pub struct Rival {
    number: usize,
    random: Random,
    relay: VictimClient,
    ledger: VictimClient,
    /// Its sum at `relay`, in columns.
    own: u32,
    /// Requests that took effect at `relay`, and at the inner services.
    outer_count: u32,
    counts: [u32; 2],
    seen: [Columns; 2],
    /// Of the whole `ledger`.
    total: Columns,
}

type Failure = CallError<victim::VictimError>;

impl Rival {
    /// Opens its sessions.
    ///
    /// # Errors
    /// The number of the check.
    pub fn new(number: u32, seed: u32) -> Result<Self, Wrong> {
        let bind = |name| VictimClient::bind_to(name).map_err(|_| Wrong(2));
        let (relay, ledger) = (bind("relay")?, bind("ledger")?);
        let number = number as usize % RIVALS;
        let total = Columns { base: state(&ledger)?.2, ..Columns::default() };
        let mut seen = [Columns::default(); 2];
        for (columns, inner) in seen.iter_mut().zip(INNER) {
            columns.base = patiently(|| match relay.pass(Peer::route(&[inner]), 0, Strike::NONE, 0, 0) {
                Ok((_, sum, 0)) => Ok(sum),
                Ok((_, _, code)) => Err(CallError::from_code(code)),
                Err(error) => Err(error),
            })?;
        }
        let random = Random::new(seed * RIVALS as u32 + number as u32);
        Ok(Rival { number, random, relay, ledger, own: 0, outer_count: 0, counts: [0; 2], seen, total })
    }

    /// Requests that took effect at each of the inner services, twelve bits each.
    pub fn counts(&self) -> u32 {
        self.counts[0] | self.counts[1] << 12
    }

    /// A request that goes well, or fails somewhere once, or always; then a look at what came of it.
    ///
    /// # Errors
    /// The number of the check.
    pub fn request(&mut self) -> Result<(), Wrong> {
        let inner = self.random.below(2) as usize;
        let (attack, argument) = match self.random.below(6) {
            0 => (Attack::Panic, 0),
            1 => (Attack::Store, 0xffff_fff0),
            2 => (Attack::Magic, 0),
            // The others have their turn in the midst of it.
            _ => (Attack::Wait, 1 + self.random.below(2)),
        };
        let place = Strike { attack, hop: self.random.below(2) as u8, after: self.random.below(2) == 1 };
        let (strike, until) = match self.random.below(4) {
            0 | 1 => (Strike::NONE, 0),
            2 => (place, state(&self.relay)?.3 + 1),
            _ => (place, ALWAYS),
        };
        let amount = 1 << (self.number as u32 * COLUMN);
        self.made(inner, self.relay.pass(Peer::route(&[INNER[inner]]), amount, strike, argument, until))?;
        // The serial service as a third party sees it.
        let total = state(&self.ledger)?.2;
        self.total.look(total, self.number, self.counts[1])?;
        let inner = self.random.below(2) as usize;
        self.look(inner)
    }

    /// Takes note of how a request ended.
    fn made(&mut self, inner: usize, result: Result<(u32, u32, u32), Failure>) -> Result<(), Wrong> {
        const FAILED: u32 = Error::ServerFault as u32;
        let amount = 1 << (self.number as u32 * COLUMN);
        match result {
            Ok((own, sum, code @ (0 | FAILED))) => {
                self.own += amount;
                self.outer_count += 1;
                if own != self.own {
                    return Err(Wrong(7));
                }
                if code == 0 {
                    self.counts[inner] += 1;
                    return self.seen[inner].look(sum, self.number, self.counts[inner]);
                }
                Ok(())
            }
            // Nothing of it has happened.
            Err(CallError::Kernel(Error::ServerFault)) => Ok(()),
            _ => Err(Wrong(8)),
        }
    }

    /// Looks at the sums without changing them.
    fn look(&mut self, inner: usize) -> Result<(), Wrong> {
        match self.relay.pass(Peer::route(&[INNER[inner]]), 0, Strike::NONE, 0, 0) {
            Ok((own, sum, 0)) if own == self.own => self.seen[inner].look(sum, self.number, self.counts[inner]),
            // Somebody's sabotage may have struck twice.
            Ok((own, _, code)) if own == self.own && code == Error::ServerFault as u32 => Ok(()),
            Err(CallError::Kernel(Error::ServerFault)) => Ok(()),
            _ => Err(Wrong(9)),
        }
    }
}
