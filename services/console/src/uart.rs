//! The UART of the board: what the driver needs of one, its registers, and which kind it is.

use rt::abi::layout::MMIO_BASE;
use rt::{Error, sys};
use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::registers::ReadWrite;

use crate::ns16550::Ns16550;
use crate::pl011::Pl011;

/// Where characters go and come from.
pub trait Port {
    /// Takes hold of the device, of the kind that the manifest says.
    fn take(kind: u32) -> Self;
    /// Sends a byte, and sets `note` to `noted`: both or neither. May wait for as long as the budget lasts.
    ///
    /// # Errors
    /// Those of the kernel, if the manifest is not what this needs.
    fn put(&self, byte: u8, note: &mut u32, noted: u32) -> Result<(), Error>;
    /// A byte received, if there is one.
    fn get(&self) -> Option<u8>;
    /// Forgets the interrupts of what was received so far. Before it is taken out: what comes meanwhile interrupts again.
    fn clear_interrupts(&self);
}

/// Registers of 32 bits, by their offset in bytes.
pub trait Registers {
    /// Reads one.
    fn read(&self, offset: usize) -> u32;
    /// Writes one.
    fn write(&self, offset: usize, value: u32);
    /// Writes one, and sets `note` to `noted`: both or neither.
    ///
    /// # Errors
    /// Those of the kernel, if the manifest is not what this needs.
    fn emit(&self, offset: usize, value: u32, note: &mut u32, noted: u32) -> Result<(), Error>;
}

/// Registers that the drivers use, from the start of the device: the first 128 bytes.
const COUNT: usize = 32;

/// The device of the manifest.
pub struct Window {
    registers: &'static [ReadWrite<u32>; COUNT],
}

impl Window {
    #[allow(unsafe_code)]
    fn take() -> Self {
        // SAFETY: the manifest's first device range, a page, which the kernel maps there for this object alone; registers
        // are cells, so that a shared reference is all that is ever needed.
        Window { registers: unsafe { &*core::ptr::with_exposed_provenance(MMIO_BASE as usize) } }
    }
}

impl Registers for Window {
    fn read(&self, offset: usize) -> u32 {
        self.registers[offset / 4].get()
    }

    fn write(&self, offset: usize, value: u32) {
        self.registers[offset / 4].set(value);
    }

    fn emit(&self, offset: usize, value: u32, note: &mut u32, noted: u32) -> Result<(), Error> {
        sys::emit(MMIO_BASE + offset as u32, value, note, noted)
    }
}

/// The UART, of one kind or the other. The manifest's argument for the board says which.
pub enum Uart {
    /// 0.
    Pl011(Pl011<Window>),
    /// 1.
    Ns16550(Ns16550<Window>),
}

impl Port for Uart {
    fn take(kind: u32) -> Self {
        match kind {
            0 => Uart::Pl011(Pl011::new(Window::take())),
            1 => Uart::Ns16550(Ns16550::new(Window::take())),
            _ => panic!("the manifest's argument is 0 for a PL011, 1 for a 16550"),
        }
    }

    fn put(&self, byte: u8, note: &mut u32, noted: u32) -> Result<(), Error> {
        match self {
            Uart::Pl011(uart) => uart.put(byte, note, noted),
            Uart::Ns16550(uart) => uart.put(byte, note, noted),
        }
    }

    fn get(&self) -> Option<u8> {
        match self {
            Uart::Pl011(uart) => uart.get(),
            Uart::Ns16550(uart) => uart.get(),
        }
    }

    fn clear_interrupts(&self) {
        match self {
            Uart::Pl011(uart) => uart.clear_interrupts(),
            Uart::Ns16550(uart) => uart.clear_interrupts(),
        }
    }
}

/// A model of registers, for tests.
#[cfg(test)]
pub mod model {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, VecDeque};

    use super::*;

    /// Registers that keep what is written, but for one: its reads give what was received.
    #[derive(Default)]
    pub struct Model {
        /// What the registers hold.
        pub values: RefCell<BTreeMap<usize, u32>>,
        /// What reads of a register give first.
        pub queued: RefCell<BTreeMap<usize, VecDeque<u32>>>,
        /// What was written, in order.
        pub written: RefCell<Vec<(usize, u32)>>,
        /// What was read, in order.
        pub reads: RefCell<Vec<usize>>,
    }

    impl Model {
        /// What reads of a register give before what it holds.
        pub fn queue(&self, offset: usize, values: &[u32]) {
            self.queued.borrow_mut().entry(offset).or_default().extend(values);
        }

        /// What was written since this was last asked.
        pub fn take_written(&self) -> Vec<(usize, u32)> {
            std::mem::take(&mut self.written.borrow_mut())
        }

        /// What was read since this was last asked.
        pub fn take_reads(&self) -> Vec<usize> {
            std::mem::take(&mut self.reads.borrow_mut())
        }
    }

    impl Registers for &Model {
        fn read(&self, offset: usize) -> u32 {
            self.reads.borrow_mut().push(offset);
            let next = self.queued.borrow_mut().get_mut(&offset).and_then(VecDeque::pop_front);
            next.unwrap_or_else(|| self.values.borrow().get(&offset).copied().unwrap_or(0))
        }

        fn write(&self, offset: usize, value: u32) {
            self.written.borrow_mut().push((offset, value));
            self.values.borrow_mut().insert(offset, value);
        }

        fn emit(&self, offset: usize, value: u32, note: &mut u32, noted: u32) -> Result<(), Error> {
            self.written.borrow_mut().push((offset, value));
            *note = noted;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "16550")]
    fn unknown_kinds_are_refused() {
        Uart::take(2);
    }
}
