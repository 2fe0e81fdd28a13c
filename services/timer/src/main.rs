//! `timer`: the service.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use timer::server::{Kernel, Server};

rt::service!(Server<Kernel>: timer::Timer);
