//! Interface of `supervisor`.
#![no_std]
#![forbid(unsafe_code)]

use rt::Session;

/// The interface.
#[rt::interface(name = "supervisor")]
pub trait Supervisor {
    /// Does nothing.
    fn nothing(&mut self, session: &mut Session<Self::State>) -> Result<u32, rt::Error>;
}
