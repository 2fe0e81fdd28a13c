//! `fs`: the service.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use fs::server::Server;

rt::service!(Server: fs::Fs);
