//! `trial`: lets clients work with a service while faults are injected into it, and says what became of them. Its argument is
//! the number of the workload.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
mod run;

#[cfg(target_os = "none")]
use run::main as trial;

#[cfg(target_os = "none")]
rt::program!(trial);

#[cfg(not(target_os = "none"))]
fn main() {
    println!("trial runs on the target: cargo xtask inject");
}
