//! `victim`: the sacrificial service with a small SSR.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use victim::{Small, Subject};

rt::service!(Subject<Small>: victim::Victim);
