//! The interface of `gauge`, and the service: calls, sessions and events of known cost.
//!
//! `gauge` and `gauge_lazy` are this service under different manifests: they differ in when a rebuilt service reloads its
//! sessions.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod cycles;
mod interface;
mod service;

pub use cycles::cycles;
pub use interface::{Gauge, GaugeClient, GaugeEntries};
pub use service::Gauged;
