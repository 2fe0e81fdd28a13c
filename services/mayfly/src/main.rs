//! `mayfly`: the sacrificial service that does not survive the tests.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use victim::{Small, Subject};

rt::service!(Subject<Small>: victim::Victim);
