//! `bench`: guest instructions from client stub to client stub, one JSON object a line.
//!
//! Under `-icount shift=0` the cycle counter ticks once an instruction, so the figures are exact and repeatable.
//! Each is the least of several runs: a tick of the clock falls into some of them.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod measure;

#[cfg(target_os = "none")]
rt::program!(measure::main);

#[cfg(not(target_os = "none"))]
fn main() {
    println!("bench runs on the target: cargo xtask bench");
}
