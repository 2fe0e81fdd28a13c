//! `blank`: a service without state, for measuring.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use abi::Error;
use blank::Blank;
use rt::{Construct, Service, Session};

/// Keeps nothing, does nothing.
struct Nothing;

impl Service for Nothing {
    type State = ();

    fn new(_: &mut Construct) -> Self {
        Nothing
    }
}

impl Blank for Nothing {
    fn nothing(&mut self, _: &mut Session<()>) -> Result<(), Error> {
        Ok(())
    }
}

rt::service!(Nothing: blank::Blank);
