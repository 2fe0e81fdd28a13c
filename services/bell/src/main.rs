//! `bell`: drives a device of the emulator, not to use it but to make it interrupt: what that is differs from board to board.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

mod clock;
mod usb_host;

use bell::{Bell, BellError};
use rt::abi::layout::{DMA_BASE, DMA_END, MMIO_BASE, MMIO_END};
use rt::{Construct, Events, Next, Service, Session, sys};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::clock::Clock;
use crate::usb_host::UsbHost;

/// The interrupt of the device: the first line of the manifest.
const LINE: u32 = 0;
/// The interrupt of another service's device.
const OTHER_LINE: u32 = 1;

/// What the driver needs of its device.
trait Device {
    /// Takes hold of it, of the kind that the manifest says, and lets it interrupt.
    fn take(kind: u32) -> Self;
    /// Makes it interrupt; whether that worked.
    fn ring(&self) -> bool;
    /// Takes the interrupt back.
    fn silence(&self);
    /// What [`Bell::known`] tells.
    fn known(&self) -> [u32; 4];
}

/// The device of the board, which the manifest's argument names.
enum Ringing {
    /// 0.
    Clock(Clock),
    /// 1.
    UsbHost(UsbHost),
}

impl Device for Ringing {
    fn take(kind: u32) -> Self {
        match kind {
            0 => Ringing::Clock(Clock::take()),
            1 => Ringing::UsbHost(UsbHost::take()),
            _ => panic!("the manifest's argument is 0 for a clock, 1 for a USB host"),
        }
    }

    fn ring(&self) -> bool {
        match self {
            Ringing::Clock(clock) => clock.ring(),
            Ringing::UsbHost(host) => host.ring(),
        }
    }

    fn silence(&self) {
        match self {
            Ringing::Clock(clock) => clock.silence(),
            Ringing::UsbHost(host) => host.silence(),
        }
    }

    fn known(&self) -> [u32; 4] {
        match self {
            Ringing::Clock(_) => clock::KNOWN,
            Ringing::UsbHost(_) => usb_host::KNOWN,
        }
    }
}

/// What all clients share, and a rebuilt driver finds again.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Heard {
    /// Interrupts that came as events.
    events: u32,
    /// Those that came while an activation waited.
    waited: u32,
    /// 1: the line is left masked.
    masked: u32,
    /// Interrupts at which to ring again.
    storm: u32,
}

/// The driver.
struct Driver<D> {
    device: D,
    heard: &'static mut Heard,
    /// When the second line interrupted.
    heard_at: u32,
}

/// Writes a register, by way of the kernel: the manifest says that it is checked.
fn write(register: u32, value: u32) {
    sys::write_register(MMIO_BASE + register, value).expect("the manifest's rules allow what the driver writes");
}

/// The error of a kernel call as a number.
fn code(result: Result<(), rt::Error>) -> u32 {
    result.err().map_or(0, |error| error as u32)
}

impl<D: Device> Driver<D> {
    fn strike(&self) -> Result<(), BellError> {
        if self.device.ring() { Ok(()) } else { Err(BellError::Silent) }
    }

    /// The device has interrupted: it is made to stop, and may interrupt again.
    fn heard(&mut self) {
        self.device.silence();
        if self.heard.storm > 0 {
            self.heard.storm -= 1;
            // A device that is silent has ended the storm.
            let _ = self.strike();
        }
        if self.heard.masked == 0 {
            acknowledge(LINE);
        }
    }
}

/// On the host, where there is no line, the call is refused.
fn acknowledge(line: u32) {
    let _ = sys::acknowledge(line);
}

impl<D: Device + 'static> Service for Driver<D> {
    type State = ();

    fn new(construct: &mut Construct) -> Self {
        let heard: &mut Heard =
            construct.take_common_as().expect("the manifest gives the bell a common region of a page");
        let device = D::take(construct.argument());
        // The line is masked whenever the driver is built.
        if heard.masked == 0 {
            acknowledge(LINE);
        }
        Driver { device, heard, heard_at: 0 }
    }

    fn event(&mut self, events: Events) -> Next {
        if events.contains(Events::LINE_1) {
            self.heard_at = gauge::cycles();
        }
        if events.contains(Events::LINE_0) {
            self.heard.events += 1;
            self.heard();
        }
        Next::Done
    }
}

impl<D: Device + 'static> Bell for Driver<D> {
    fn ring(&mut self, _: &mut Session<()>) -> Result<(), BellError> {
        self.strike()
    }

    fn count(&mut self, _: &mut Session<()>) -> Result<(u32, u32), BellError> {
        Ok((self.heard.events, self.heard.waited))
    }

    fn wait(&mut self, _: &mut Session<()>, ring: bool, ticks: u32) -> Result<bool, BellError> {
        if ring {
            self.strike()?;
        }
        // No limit of time, and no device to wait for on the host: both are refused.
        let came = sys::wait_events(Events::LINE_0, ticks).is_ok_and(|events| events.contains(Events::LINE_0));
        if came {
            self.heard.waited += 1;
            self.heard();
        }
        Ok(came)
    }

    fn leave_masked(&mut self, _: &mut Session<()>, yes: bool) -> Result<(), BellError> {
        self.heard.masked = yes.into();
        acknowledge(LINE);
        Ok(())
    }

    fn storm(&mut self, _: &mut Session<()>, times: u32) -> Result<(), BellError> {
        self.heard.storm = times;
        Ok(())
    }

    fn listen(&mut self, _: &mut Session<()>) -> Result<(), BellError> {
        self.heard_at = 0;
        acknowledge(OTHER_LINE);
        Ok(())
    }

    fn known(&mut self, _: &mut Session<()>, what: u32) -> Result<u32, BellError> {
        Ok(self.device.known().get(what as usize).copied().unwrap_or(0))
    }

    fn tell(&mut self, _: &mut Session<()>, register: u32, value: u32) -> Result<u32, BellError> {
        Ok(code(sys::write_register(MMIO_BASE.wrapping_add(register), value)))
    }

    fn describe(
        &mut self,
        _: &mut Session<()>,
        slot: u32,
        buffer: u32,
        length: u32,
        link: u32,
    ) -> Result<u32, BellError> {
        Ok(code(sys::describe(slot, buffer, length, link as u16, (link >> 16) as u16)))
    }

    #[allow(unsafe_code)]
    fn touch(&mut self, _: &mut Session<()>, at: u32, write: bool, value: u32) -> Result<u32, BellError> {
        if !(DMA_BASE..DMA_END).contains(&at) && !(MMIO_BASE..MMIO_END).contains(&at) {
            return Ok(0);
        }
        let word = core::ptr::with_exposed_provenance_mut::<u32>(at as usize & !3);
        // SAFETY: no Rust object lies in these windows; where nothing is mapped the access fails the activation.
        unsafe {
            if write {
                word.write_volatile(value);
            }
            Ok(word.read_volatile())
        }
    }

    fn heard_at(&mut self, _: &mut Session<()>) -> Result<u32, BellError> {
        Ok(self.heard_at)
    }
}

rt::service!(Driver<Ringing>: bell::Bell);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rt::Cause;
    use zerocopy::FromZeros;

    use super::*;

    /// A device that counts what is done to it.
    #[derive(Default)]
    struct Fake {
        rung: Cell<u32>,
        silenced: Cell<u32>,
        broken: Cell<bool>,
    }

    impl Device for Fake {
        fn take(_: u32) -> Self {
            Fake::default()
        }
        fn ring(&self) -> bool {
            self.rung.set(self.rung.get() + 1);
            !self.broken.get()
        }
        fn silence(&self) {
            self.silenced.set(self.silenced.get() + 1);
        }
        fn known(&self) -> [u32; 4] {
            [1, 2, 3, 4]
        }
    }

    fn driver() -> (Driver<Fake>, Session<()>) {
        let common = Box::leak(Box::new(Heard::new_zeroed()));
        (Driver::new(&mut Construct::for_test(Cause::Boot, 0, common.as_mut_bytes())), Session::for_test(0))
    }

    #[test]
    fn an_interrupt_is_counted_and_silenced() {
        let (mut driver, mut session) = driver();
        Bell::ring(&mut driver, &mut session).unwrap();
        assert_eq!(driver.event(Events::DEADLINE), Next::Done);
        assert_eq!(driver.count(&mut session), Ok((0, 0)));
        assert_eq!(driver.event(Events::LINE_0), Next::Done);
        assert_eq!((driver.count(&mut session), driver.device.silenced.get()), (Ok((1, 0)), 1));
        driver.device.broken.set(true);
        assert_eq!(Bell::ring(&mut driver, &mut session), Err(BellError::Silent));
        assert_eq!(driver.wait(&mut session, true, 1), Err(BellError::Silent));
    }

    #[test]
    fn a_storm_ends_by_itself() {
        let (mut driver, mut session) = driver();
        driver.storm(&mut session, 2).unwrap();
        for rung in [1, 2, 2] {
            driver.event(Events::LINE_0);
            assert_eq!(driver.device.rung.get(), rung);
        }
        assert_eq!(driver.count(&mut session), Ok((3, 0)));
    }
}
