//! `bench`: what operations cost in guest instructions, one JSON object a line.
//!
//! Under `-icount shift=0` the cycle counter ticks once an instruction, so the figures are exact and repeatable.
//! Each is the least of several runs, because a tick of the clock falls into some of them; where that cannot be, `measure`
//! says so.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod calls;
#[cfg(target_os = "none")]
mod clients;
#[cfg(target_os = "none")]
mod measure;
#[cfg(target_os = "none")]
mod recoveries;
#[cfg(target_os = "none")]
mod threads;

#[cfg(target_os = "none")]
rt::program!(measure::main);

#[cfg(not(target_os = "none"))]
fn main() {
    println!("bench runs on the target: cargo xtask bench");
}
