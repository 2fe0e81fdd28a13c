//! Interface of `scheduler`.
#![no_std]
#![forbid(unsafe_code)]

use rt::Session;

/// The interface.
#[rt::interface(name = "scheduler")]
pub trait Scheduler {
    /// Does nothing.
    fn nothing(&mut self, session: &mut Session<Self::State>) -> Result<u32, rt::Error>;
}
