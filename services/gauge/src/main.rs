//! `gauge`: the service that is measured.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use gauge::Gauged;

rt::service!(Gauged: gauge::Gauge);
