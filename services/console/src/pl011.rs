//! PL011 (Arm DDI 0183): output by polling, input by interrupts.

use rt::Error;

use crate::uart::Registers;

/// UARTDR, 3.3.1.
const DATA: usize = 0x00;
/// UARTFR, 3.3.3.
const FLAGS: usize = 0x18;
/// UARTLCR_H, 3.3.7.
const LINE_CONTROL: usize = 0x2c;
/// UARTCR, 3.3.8.
const CONTROL: usize = 0x30;
/// UARTIMSC, 3.3.10.
const INTERRUPT_MASK: usize = 0x38;
/// UARTICR, 3.3.13.
const INTERRUPT_CLEAR: usize = 0x44;

/// UARTFR.RXFE: the receive FIFO is empty.
const EMPTY: u32 = 1 << 4;
/// UARTFR.TXFF: the transmit FIFO is full.
const FULL: u32 = 1 << 5;
/// UARTLCR_H.FEN: FIFOs on.
const FIFOS: u32 = 1 << 4;
/// UARTLCR_H.WLEN: words of 8 bits.
const EIGHT_BITS: u32 = 3 << 5;
/// UARTCR: UARTEN, TXE, RXE.
const ON: u32 = 1 << 0 | 1 << 8 | 1 << 9;
/// RX, the FIFO is filled to its trigger level; RT, there is something in the FIFO, and nothing came for 32 bit periods.
const RECEIVED: u32 = 1 << 4 | 1 << 6;

/// A PL011.
pub struct Pl011<R> {
    registers: R,
}

impl<R: Registers> Pl011<R> {
    /// The UART, switched on. One that is on already is left alone: changing its line control would empty its FIFOs. The
    /// baud rate is the boot loader's.
    pub fn new(registers: R) -> Self {
        if registers.read(LINE_CONTROL) & FIFOS == 0 {
            registers.write(LINE_CONTROL, FIFOS | EIGHT_BITS);
        }
        registers.write(CONTROL, registers.read(CONTROL) | ON);
        registers.write(INTERRUPT_MASK, RECEIVED);
        Pl011 { registers }
    }

    /// Waits while the FIFO is full: a line that does not move ends in the budget of the flush.
    pub fn put(&self, byte: u8, note: &mut u32, noted: u32) -> Result<(), Error> {
        while self.registers.read(FLAGS) & FULL != 0 {
            core::hint::spin_loop();
        }
        self.registers.emit(DATA, byte.into(), note, noted)
    }

    /// A byte received, if there is one.
    pub fn get(&self) -> Option<u8> {
        (self.registers.read(FLAGS) & EMPTY == 0).then(|| self.registers.read(DATA) as u8)
    }

    /// Takes the interrupts back.
    pub fn clear_interrupts(&self) {
        self.registers.write(INTERRUPT_CLEAR, RECEIVED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uart::model::Model;

    #[test]
    fn a_line_that_is_on_is_left_alone() {
        let model = Model::default();
        Pl011::new(&model);
        assert_eq!(model.take_written(), [(0x2c, 0x70), (0x30, 0x301), (0x38, 0x50)]);
        Pl011::new(&model);
        assert_eq!(model.take_written(), [(0x30, 0x301), (0x38, 0x50)]);
    }

    #[test]
    fn bytes_go_out_when_there_is_room_and_come_in_when_there_are_some() {
        let model = Model::default();
        let (uart, mut note) = (Pl011::new(&model), 0);
        model.take_written();
        model.queue(FLAGS, &[0x20, 0x30, 0x10]);
        assert_eq!(uart.put(b'x', &mut note, 7), Ok(()));
        assert_eq!((model.take_written(), note), (vec![(0, 0x78)], 7));
        model.queue(FLAGS, &[0x10, 0]);
        model.queue(DATA, &[0x141]);
        assert_eq!([uart.get(), uart.get()], [None, Some(b'A')]);
        uart.clear_interrupts();
        assert_eq!(model.take_written(), [(0x44, 0x50)]);
    }
}
