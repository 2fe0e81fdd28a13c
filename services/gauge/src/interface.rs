//! What clients can ask for.

use abi::Error;
use rt::{LentRead, Session, interface};

/// Calls of known cost.
#[interface(name = "gauge")]
pub trait Gauge {
    /// Sets how many bytes of the SSR are in use, its header included: 32 to 4096.
    fn set_used(&mut self, session: &mut Session<Self::State>, bytes: u32) -> Result<(), Error>;
    /// Counts a call in the SSR; returns how many there were.
    fn count(&mut self, session: &mut Session<Self::State>) -> Result<u32, Error>;
    /// Copies what was lent; returns its last byte.
    fn read(&mut self, session: &mut Session<Self::State>, lent: LentRead) -> Result<u32, Error>;
    /// The sum over the 16 KiB of data.
    fn sum(&mut self, session: &mut Session<Self::State>) -> Result<u32, Error>;
    /// Keeps the processor, and the object, for so many cycles; see `spun`.
    fn spin(&mut self, session: &mut Session<Self::State>, cycles: u32) -> Result<(), Error>;
    /// Of the latest `spin`: when it went on after it was away from the processor for the longest time, and when it was over.
    fn spun(&mut self, session: &mut Session<Self::State>) -> Result<(u32, u32), Error>;
    /// Notifies this client at the next tick.
    fn notify_soon(&mut self, session: &mut Session<Self::State>) -> Result<(), Error>;
    /// When the latest notification was on its way: just before the service's kernel call.
    fn notified_at(&mut self, session: &mut Session<Self::State>) -> Result<u32, Error>;
}
