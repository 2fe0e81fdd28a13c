//! `striker`: makes the GPIO controller of QEMU's `virt` interrupt.
//!
//! A driver that rings its own device is busy when the interrupt comes. This one's is another service's, which is at
//! rest: so the way from a device to its driver can be measured.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

mod gpio;

use core::convert::Infallible;

use rt::{Construct, Service, Session};
use striker::Striker;

use crate::gpio::Pin;

/// What the service needs of its device.
trait Device {
    /// Takes hold of it.
    fn take() -> Self;
    /// Makes it interrupt; what the cycle counter was just before.
    fn strike(&self) -> u32;
    /// Takes the interrupt back.
    fn quiet(&self);
}

/// The service.
struct Hammer<D> {
    device: D,
}

impl<D: Device + 'static> Service for Hammer<D> {
    type State = ();

    fn new(_: &mut Construct) -> Self {
        Hammer { device: D::take() }
    }
}

impl<D: Device + 'static> Striker for Hammer<D> {
    fn strike(&mut self, _: &mut Session<()>) -> Result<u32, Infallible> {
        Ok(self.device.strike())
    }

    fn quiet(&mut self, _: &mut Session<()>) -> Result<(), Infallible> {
        self.device.quiet();
        Ok(())
    }
}

rt::service!(Hammer<Pin>: striker::Striker);
