//! The interface of `nest`.
#![no_std]
#![forbid(unsafe_code)]

use abi::Error;
use rt::{Session, interface};

/// Calls that lead to calls.
#[interface(name = "nest")]
pub trait Nest {
    /// Counts a call in the SSR, and has `gauge_lazy` do the same in its own; returns both counts.
    fn count(&mut self, session: &mut Session<Self::State>) -> Result<(u32, u32), Error>;
}
