//! `bare`: the sacrificial service without an SSR; its common region is the board that tests watch progress on.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use victim::Subject;

rt::service!(Subject<()>: victim::Victim);
