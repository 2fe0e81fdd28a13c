//! `drill`: tests of the block service, on the disk that its argument says there is.
//!
//! Prints a line a test through the kernel's log, `test <name> ... ok` or `test <name> ... FAILED: <why>`, then
//! `drill complete`, and ends the system with status 0 or 1. All that is on the disk is overwritten.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod tests;

#[cfg(target_os = "none")]
rt::program!(tests::run);

#[cfg(not(target_os = "none"))]
fn main() {
    rt::nothing_to_run::<()>();
}
