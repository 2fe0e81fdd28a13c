//! The interface of `tally`: what its clients can ask for.
#![no_std]
#![forbid(unsafe_code)]

use rt::{Session, interface};

rt::errors! {
    /// What can go wrong with a tally.
    pub enum TallyError {
        /// The sum would not fit.
        Overflow = 0x100, "the sum would not fit into 32 bits";
        /// Nothing was added yet.
        Empty = 0x101, "nothing was added yet";
    }
}

/// Adds up numbers, for each client its own.
#[interface(name = "tally")]
pub trait Tally {
    /// Adds `amount`; returns the sum.
    fn add(&mut self, session: &mut Session<Self::State>, amount: u32) -> Result<u32, TallyError>;
    /// The sum, and how many amounts it has.
    #[read_only]
    fn sum(&mut self, session: &mut Session<Self::State>) -> Result<(u32, u32), TallyError>;
    /// Takes the latest amount back and returns it; the last eight are remembered.
    fn undo(&mut self, session: &mut Session<Self::State>) -> Result<u32, TallyError>;
}
