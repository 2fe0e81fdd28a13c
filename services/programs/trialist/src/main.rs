//! `trialist`: a client in a campaign. Its argument says which workload it is part of, and which of its clients it is; or that
//! it prepares what the clients find.
//!
//! It knows nothing of failures. Its course is the same in every run: which calls it makes depends on its number alone, and
//! what it notes of them neither on time nor on what other clients do meanwhile. So whatever differs from a run without
//! faults is an effect of the fault.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
mod course;
#[cfg(target_os = "none")]
mod files;
#[cfg(target_os = "none")]
mod lines;
#[cfg(target_os = "none")]
mod policies;
#[cfg(target_os = "none")]
mod run;
#[cfg(target_os = "none")]
mod shares;
#[cfg(target_os = "none")]
mod timers;
#[cfg(target_os = "none")]
mod values;

#[cfg(target_os = "none")]
use run::main as trialist;

#[cfg(target_os = "none")]
rt::program!(trialist);

#[cfg(not(target_os = "none"))]
fn main() {
    println!("trialist runs on the target: cargo xtask inject");
}
