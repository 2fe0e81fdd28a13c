//! `relay`: the sacrificial service at the outer end of nested requests.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use victim::{Small, Subject};

rt::service!(Subject<Small>: victim::Victim);
