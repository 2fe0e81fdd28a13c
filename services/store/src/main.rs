//! `store`: the service.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use store::server::{Kernel, Server};

rt::service!(Server<Kernel>: store::Store);
