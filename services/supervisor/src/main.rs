//! `supervisor`: what becomes of services that keep failing (MINIX 3's reincarnation server; DSN'07, section 5).
//!
//! The kernel rebuilds whatever fails at once, by itself. This object judges: it tells crash loops from transients, holds
//! services back for longer and longer, gives them up so that it can be seen, asks them whether they are well, and keeps the
//! log. Its own failures it survives like any service; the kernel watches it, and never gives it up.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

mod judge;
mod lines;
mod record;
mod server;
mod system;
#[cfg(test)]
mod tests;
mod watch;

use server::Server;
use system::Machine;

rt::service!(Server<Machine>: supervisor::Supervisor);
