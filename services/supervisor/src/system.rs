//! What the supervisor sees of the system, and what it can do to it: kernel calls, or a model of them in tests.

use rt::abi::Control;
use rt::abi::image::Entry;
use rt::abi::info::{FailureInfo, ObjectInfo, ProcessInfo};
use rt::{Error, sys};

/// The kernel, as far as the supervisor knows it. Its own manifest grants all of this; what the kernel refuses all the
/// same is no reason to fail, as the next look finds what there is.
pub trait System {
    /// Microseconds since boot.
    fn now(&mut self) -> u64;
    /// The index-th object.
    fn object(&mut self, index: u32) -> Option<ObjectInfo>;
    /// The failure so many before the latest.
    fn failure(&mut self, back: u32) -> Option<FailureInfo>;
    /// The index-th entry of the boot image.
    fn entry(&mut self, index: u32) -> Option<Entry>;
    /// The process in a slot.
    fn process(&mut self, slot: u32) -> Option<ProcessInfo>;
    /// Gives an order.
    ///
    /// # Errors
    /// The kernel does not take it.
    fn control(&mut self, service: &str, what: Control) -> Result<(), Error>;
    /// Asks to be woken, in microseconds since boot.
    fn deadline(&mut self, at: Option<u64>);
    /// Writes a line to the system's log.
    fn log(&mut self, line: &str);
    /// Starts the board anew.
    fn reboot(&mut self);
}

/// The real one.
#[derive(Default)]
pub struct Machine;

impl System for Machine {
    fn now(&mut self) -> u64 {
        sys::time_us().unwrap_or(0)
    }
    fn object(&mut self, index: u32) -> Option<ObjectInfo> {
        sys::info(index).ok()
    }
    fn failure(&mut self, back: u32) -> Option<FailureInfo> {
        sys::info(back).ok()
    }
    fn entry(&mut self, index: u32) -> Option<Entry> {
        sys::info(index).ok()
    }
    fn process(&mut self, slot: u32) -> Option<ProcessInfo> {
        sys::info(slot).ok()
    }
    fn control(&mut self, service: &str, what: Control) -> Result<(), Error> {
        sys::control(service, what)
    }
    fn deadline(&mut self, at: Option<u64>) {
        // Refused only without the right, which the manifest grants.
        let _ = sys::deadline(at);
    }
    fn log(&mut self, line: &str) {
        // As above.
        let _ = sys::log(line);
    }
    fn reboot(&mut self) {
        // As above; it does not return otherwise.
        let _ = sys::reboot();
    }
}
