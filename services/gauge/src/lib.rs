//! The interface of `gauge`.
#![no_std]
#![forbid(unsafe_code)]

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
}
