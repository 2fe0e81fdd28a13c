//! `net`: the service.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

mod machine;

use net::server::Server;

use crate::machine::Kernel;

rt::service!(Server<Kernel>: net::Net);
