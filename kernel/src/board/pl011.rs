//! PL011 as an early console: polled output only (ARM DDI 0183, 3.3). Input and interrupts
//! belong to the console service.

use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::registers::{ReadOnly, WriteOnly};
use tock_registers::{register_bitfields, register_structs};

register_structs! {
    #[allow(missing_docs)]
    Registers {
        (0x00 => data: WriteOnly<u32>),
        (0x04 => _reserved0),
        (0x18 => flags: ReadOnly<u32, Flags::Register>),
        (0x1c => @END),
    }
}

register_bitfields! [u32,
    Flags [
        /// Transmit FIFO full.
        TXFF OFFSET(5) NUMBITS(1) []
    ]
];

/// Looks at a full FIFO: a character at 9,600 baud takes a millisecond.
const MAX_WAIT: u32 = 1_000_000;

/// A PL011 at a fixed address.
pub struct Pl011 {
    base: usize,
}

impl Pl011 {
    /// The UART whose registers are at `base`, mapped as device memory.
    pub const fn new(base: usize) -> Self {
        Pl011 { base }
    }

    /// Writes a byte, waiting for room in the FIFO; not forever, as the UART may be switched off.
    pub fn put(&self, byte: u8) {
        // SAFETY: `base` is the board's UART, mapped for the life of the kernel; all access is volatile.
        let registers = unsafe { &*(self.base as *const Registers) };
        let full = || registers.flags.is_set(Flags::TXFF);
        (0..MAX_WAIT).take_while(|_| full()).for_each(drop);
        registers.data.set(u32::from(byte));
    }
}
