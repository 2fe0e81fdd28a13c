//! PL011 as an early console (ARM DDI 0183, 3.3).

use super::{Registers, Uart, wait_until};

/// UARTDR, 3.3.1.
const DATA: u32 = 0x00;
/// UARTFR, 3.3.3.
const FLAGS: u32 = 0x18;
/// UARTFR.TXFF: the transmit FIFO is full.
const FULL: u32 = 1 << 5;

/// A PL011.
pub struct Pl011<R> {
    registers: R,
}

impl<R> Pl011<R> {
    /// The UART with these registers.
    pub const fn new(registers: R) -> Self {
        Pl011 { registers }
    }
}

impl<R: Registers> Uart for Pl011<R> {
    fn put(&self, byte: u8) {
        wait_until(|| self.registers.read(FLAGS) & FULL == 0);
        self.registers.write(DATA, u32::from(byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::fake::{Bus, Read, Write};

    #[test]
    fn waits_while_the_fifo_is_full() {
        let uart = Pl011::new(Bus::default());
        uart.registers.queue(FLAGS, &[0x20, 0x30]);
        uart.put(b'a');
        assert_eq!(uart.registers.accesses(), [Read(0x18), Read(0x18), Read(0x18), Write(0, 0x61)]);
    }
}
