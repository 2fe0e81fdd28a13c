//! `suite`: the tests that run on the target, against sacrificial services and hostile clients.
//!
//! Prints a line a test through the kernel's log, `test <name> ... ok` or `test <name> ... FAILED: <why>`, then
//! `suite done: N passed, N failed` and `suite complete`, and ends the system with status 0 or 1.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod baselines;
#[cfg(target_os = "none")]
mod chains;
#[cfg(target_os = "none")]
mod check;
#[cfg(target_os = "none")]
mod clients;
#[cfg(target_os = "none")]
mod dma;
#[cfg(target_os = "none")]
mod events;
#[cfg(target_os = "none")]
mod hooks;
#[cfg(target_os = "none")]
mod interrupts;
#[cfg(target_os = "none")]
mod isolation;
#[cfg(target_os = "none")]
mod lifecycle;
#[cfg(target_os = "none")]
mod nested;
#[cfg(target_os = "none")]
mod paged;
#[cfg(target_os = "none")]
mod recovery;
#[cfg(target_os = "none")]
mod rivals;
#[cfg(target_os = "none")]
mod scheduling;
#[cfg(target_os = "none")]
mod sessions;
#[cfg(target_os = "none")]
mod sharing;
#[cfg(target_os = "none")]
mod store;
#[cfg(target_os = "none")]
mod supervision;
#[cfg(target_os = "none")]
mod timers;
#[cfg(target_os = "none")]
mod waiting;
#[cfg(target_os = "none")]
mod world;

/// Runs all tests; the last ones leave a service stopped. With the number of a way to recover, those of an image that recovers so.
#[cfg(target_os = "none")]
fn main(recovery: u32) -> u32 {
    let mut suite = check::Suite::new();
    if let Some(recovery) = rt::abi::image::Recovery::from_number(recovery) {
        baselines::run(&mut suite, recovery);
        return suite.end();
    }
    supervision::prepare(&mut suite);
    isolation::run(&mut suite);
    paged::run(&mut suite);
    recovery::run(&mut suite);
    nested::run(&mut suite);
    chains::run(&mut suite);
    hooks::run(&mut suite);
    events::run(&mut suite);
    waiting::run(&mut suite);
    interrupts::run(&mut suite);
    dma::run(&mut suite);
    rivals::run(&mut suite);
    clients::run(&mut suite);
    sharing::run(&mut suite);
    timers::run(&mut suite);
    store::run(&mut suite);
    sessions::run(&mut suite);
    lifecycle::run(&mut suite);
    scheduling::run(&mut suite);
    supervision::run(&mut suite);
    hooks::run_last(&mut suite);
    suite.end()
}

#[cfg(target_os = "none")]
rt::program!(main);

#[cfg(not(target_os = "none"))]
fn main() {
    rt::nothing_to_run::<()>();
}
