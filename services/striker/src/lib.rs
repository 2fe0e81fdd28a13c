//! The interface of `striker`: it makes a device interrupt whose interrupt belongs to somebody else.
#![no_std]
#![forbid(unsafe_code)]

use core::convert::Infallible;

use rt::{Session, interface};

/// Raises an interrupt, and takes it back.
#[interface(name = "striker")]
pub trait Striker {
    /// Raises it. Returns what the cycle counter was just before the write to the device.
    fn strike(&mut self, session: &mut Session<Self::State>) -> Result<u32, Infallible>;
    /// Takes it back.
    fn quiet(&mut self, session: &mut Session<Self::State>) -> Result<(), Infallible>;
}
