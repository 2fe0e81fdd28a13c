//! `vault`: the sacrificial service with an SSR of several pages, undone by the page and checksummed.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use victim::{Large, Subject};

rt::service!(Subject<Large>: victim::Victim);
