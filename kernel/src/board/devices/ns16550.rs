//! 16550 as an early console, with registers four bytes apart: OMAP3 (TI SPRUF98, chapter 17), AM335x (TI SPRUH73, chapter
//! 19), sunxi (Allwinner A10 user manual, UART). Mode and baud rate are the boot loader's.

use super::{Registers, Uart, wait_until};

/// THR: transmit holding register.
const TRANSMIT: u32 = 0x00;
/// LSR: line status.
const STATUS: u32 = 0x14;
/// LSR.THRE: the transmit FIFO has room for its whole length.
const EMPTY: u32 = 1 << 5;

/// A 16550.
pub struct Ns16550<R> {
    registers: R,
}

impl<R> Ns16550<R> {
    /// The UART with these registers.
    pub const fn new(registers: R) -> Self {
        Ns16550 { registers }
    }
}

impl<R: Registers> Uart for Ns16550<R> {
    fn put(&self, byte: u8) {
        wait_until(|| self.registers.read(STATUS) & EMPTY != 0);
        self.registers.write(TRANSMIT, u32::from(byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::MAX_WAIT;
    use crate::devices::fake::{Bus, Read, Write};

    #[test]
    fn waits_for_room_but_not_forever() {
        let uart = Ns16550::new(Bus::default());
        uart.registers.queue(STATUS, &[0x01, 0x61]);
        uart.put(b'a');
        assert_eq!(uart.registers.accesses(), [Read(0x14), Read(0x14), Write(0, 0x61)]);
        uart.put(b'b');
        assert_eq!(uart.registers.accesses().len(), MAX_WAIT as usize + 1);
    }
}
