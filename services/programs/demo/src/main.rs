//! `demo`: lets clients work while the services that they use fail, and says what came of it.
//!
//! Its argument: the seed in bits 0-15, the number of failures in bits 16-30, and in bit 31 whether a
//! shell follows.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod campaign;
#[cfg(target_os = "none")]
mod clients;
#[cfg(target_os = "none")]
mod journal;
#[cfg(target_os = "none")]
mod report;

#[cfg(target_os = "none")]
rt::program!(report::main);

#[cfg(not(target_os = "none"))]
fn main() {
    println!("demo runs on the target: cargo xtask run");
}
