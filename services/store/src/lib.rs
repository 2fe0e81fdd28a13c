//! Interface of `store`.
#![no_std]
#![forbid(unsafe_code)]

use rt::Session;

/// The interface.
#[rt::interface(name = "store")]
pub trait Store {
    /// Does nothing.
    fn nothing(&mut self, session: &mut Session<Self::State>) -> Result<u32, rt::Error>;
}
