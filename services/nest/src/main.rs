//! `nest`: calls `gauge_lazy` in every request.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use abi::Error;
use gauge::GaugeClient;
use nest::Nest;
use rt::{CallError, Construct, Service, Session, SsrState};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The service that it calls: one that the other measurements leave alone.
const INNER: &str = "gauge_lazy";

/// What each client has: with the header 64 bytes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[repr(C)]
struct Count {
    calls: u32,
    unused: [u32; 11],
}

/// The service.
struct Nested {
    /// Opened at the first use.
    inner: Option<GaugeClient>,
}

impl Service for Nested {
    type State = Count;

    fn new(_: &mut Construct) -> Self {
        Nested { inner: None }
    }
}

impl Nest for Nested {
    fn count(&mut self, session: &mut Session<Count>) -> Result<(u32, u32), Error> {
        session.calls += 1;
        let inner = match &self.inner {
            Some(inner) => inner,
            None => self.inner.insert(GaugeClient::bind_to(INNER)?),
        };
        match inner.count() {
            Ok(count) => Ok((session.calls, count)),
            Err(CallError::Kernel(error) | CallError::Service(error)) => Err(error),
            Err(CallError::Protocol(_)) => Err(Error::BadArgument),
        }
    }
}

rt::service!(Nested: nest::Nest);
