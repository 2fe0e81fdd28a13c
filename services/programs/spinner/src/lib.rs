//! What the demonstration knows of the programs that compute: how they want to be scheduled.
#![no_std]
#![forbid(unsafe_code)]

/// Programs that compute.
pub const SPINNERS: u32 = 3;
/// Slice that each asks for, in ticks.
pub const SLICE: u32 = 4;

/// Priority and weight of the spinner with this number: each has more than the one before it.
pub const fn parameters(number: u32) -> (u32, u32) {
    (number, scheduler::weight_of(number))
}
