//! `scheduler`: who runs next (CuriOS, section 5, "Scheduling": parameters in the clients' regions, lists derived).
//!
//! The kernel dispatches; this object decides among the processes that are ready, whenever that set changes or a slice ends.
//! While it cannot be asked the kernel takes its own priority numbers, so nobody waits for a scheduler.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

mod choice;
mod policy;
mod priorities;
mod server;
mod stride;
mod table;
#[cfg(test)]
mod tests;

use server::{BootImage, Server};

rt::service!(Server<BootImage>: scheduler::Scheduler);
