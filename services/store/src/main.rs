//! `store`.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use rt::{Construct, Service, Session};

struct Server;

impl Service for Server {
    type State = ();

    fn new(_: &mut Construct) -> Self {
        Server
    }
}

impl store::Store for Server {
    fn nothing(&mut self, _: &mut Session<()>) -> Result<u32, rt::Error> {
        Ok(0)
    }
}

rt::service!(Server: store::Store);
