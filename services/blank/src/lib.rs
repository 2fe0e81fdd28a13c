//! The interface of `blank`.
#![no_std]
#![forbid(unsafe_code)]

use abi::Error;
use rt::{Session, interface};

/// Calls that do nothing.
#[interface(name = "blank")]
pub trait Blank {
    /// Nothing.
    fn nothing(&mut self, session: &mut Session<Self::State>) -> Result<(), Error>;
}
