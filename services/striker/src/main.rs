//! `striker`: makes a device of the emulator interrupt: what that is differs from board to board.
//!
//! A driver that rings its own device is busy when the interrupt comes. This one's is another service's, which is at
//! rest: so the way from a device to its driver can be measured.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

mod gpio;
mod usb_host;

use core::convert::Infallible;

use rt::{Construct, Service, Session};
use striker::Striker;

use crate::gpio::Pin;
use crate::usb_host::UsbHost;

/// What the service needs of its device.
trait Device {
    /// Takes hold of it, of the kind that the manifest says.
    fn take(kind: u32) -> Self;
    /// Makes it interrupt; what the cycle counter was just before.
    fn strike(&self) -> u32;
    /// Takes the interrupt back.
    fn quiet(&self);
}

/// The device of the board, which the manifest's argument names.
enum Striking {
    /// 0.
    Pin(Pin),
    /// 1.
    UsbHost(UsbHost),
}

impl Device for Striking {
    fn take(kind: u32) -> Self {
        match kind {
            0 => Striking::Pin(Pin::take()),
            1 => Striking::UsbHost(UsbHost::take()),
            _ => panic!("the manifest's argument is 0 for a GPIO controller, 1 for a USB host"),
        }
    }

    fn strike(&self) -> u32 {
        match self {
            Striking::Pin(pin) => pin.strike(),
            Striking::UsbHost(host) => host.strike(),
        }
    }

    fn quiet(&self) {
        match self {
            Striking::Pin(pin) => pin.quiet(),
            Striking::UsbHost(host) => host.quiet(),
        }
    }
}

/// The service.
struct Hammer<D> {
    device: D,
}

impl<D: Device + 'static> Service for Hammer<D> {
    type State = ();

    fn new(construct: &mut Construct) -> Self {
        Hammer { device: D::take(construct.argument()) }
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

rt::service!(Hammer<Striking>: striker::Striker);
