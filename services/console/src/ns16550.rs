//! 16550 with registers four bytes apart: OMAP3 (TI SPRUF98, chapter 17), AM335x (TI SPRUH73, chapter 19), sunxi (Allwinner
//! A10 user manual, UART; a DesignWare APB UART). Output by polling, input by interrupts.

use rt::Error;

use crate::uart::Registers;

/// RBR (read): receive buffer; THR (write): transmit holding register.
const DATA: usize = 0x00;
/// IER: interrupt enable.
const INTERRUPT_ENABLE: usize = 0x04;
/// IIR (read): interrupt identification.
const IDENTIFICATION: usize = 0x08;
/// FCR (write): FIFO control.
const FIFO_CONTROL: usize = 0x08;
/// MCR: modem control.
const MODEM_CONTROL: usize = 0x10;
/// LSR: line status.
const LINE_STATUS: usize = 0x14;
/// USR of the DesignWare UART: status.
const BUSY_STATUS: usize = 0x7c;

/// IER.ERBFI: received data, and the time-out of a FIFO that holds some.
const RECEIVED: u32 = 1 << 0;
/// IIR: both bits are set if the FIFOs are on.
const FIFOS_ON: u32 = 0b11 << 6;
/// FCR: FIFOs on, interrupt at the first byte.
const FIFOS: u32 = 1 << 0;
/// MCR.OUT2: on a PC, and in the emulator, the gate of the interrupt; means nothing to the others.
const GATE: u32 = 1 << 3;
/// LSR.DR: the receive FIFO holds something.
const READY: u32 = 1 << 0;
/// LSR.THRE: the transmit FIFO has room for its whole length.
const EMPTY: u32 = 1 << 5;
/// IIR: what interrupts.
const CAUSE: u32 = 0xf;
/// IIR: the receive FIFO holds something, and nothing came for four characters.
const TIME_OUT: u32 = 0xc;
/// IIR of the DesignWare UART: the line control was written while a character was under way.
const BUSY: u32 = 0x7;

/// A 16550.
pub struct Ns16550<R> {
    registers: R,
}

impl<R: Registers> Ns16550<R> {
    /// The UART, with FIFOs. One whose FIFOs are on already keeps what is in them. Mode and baud rate are the boot loader's.
    pub fn new(registers: R) -> Self {
        if registers.read(IDENTIFICATION) & FIFOS_ON != FIFOS_ON {
            registers.write(FIFO_CONTROL, FIFOS);
        }
        registers.write(MODEM_CONTROL, registers.read(MODEM_CONTROL) | GATE);
        registers.write(INTERRUPT_ENABLE, RECEIVED);
        Ns16550 { registers }
    }

    /// Waits until there is room: a line that does not move ends in the budget of the flush.
    pub fn put(&self, byte: u8, note: &mut u32, noted: u32) -> Result<(), Error> {
        while self.registers.read(LINE_STATUS) & EMPTY == 0 {
            core::hint::spin_loop();
        }
        self.registers.emit(DATA, byte.into(), note, noted)
    }

    /// A byte received, if there is one.
    pub fn get(&self) -> Option<u8> {
        (self.registers.read(LINE_STATUS) & READY != 0).then(|| self.registers.read(DATA) as u8)
    }

    /// Received data interrupts until it is taken out. Two causes have nothing to take out: a time-out that an earlier read
    /// has overtaken ends by another read, and the busy interrupt by a read of its status.
    pub fn clear_interrupts(&self) {
        match self.registers.read(IDENTIFICATION) & CAUSE {
            TIME_OUT if self.registers.read(LINE_STATUS) & READY == 0 => {
                self.registers.read(DATA);
            }
            BUSY => {
                self.registers.read(BUSY_STATUS);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uart::model::Model;

    #[test]
    fn fifos_that_are_on_keep_their_content() {
        let model = Model::default();
        model.queue(IDENTIFICATION, &[0x01, 0xc1]);
        Ns16550::new(&model);
        assert_eq!(model.take_written(), [(0x08, 1), (0x10, 8), (0x04, 1)]);
        model.values.borrow_mut().insert(MODEM_CONTROL, 3);
        Ns16550::new(&model);
        assert_eq!(model.take_written(), [(0x10, 0xb), (0x04, 1)]);
    }

    #[test]
    fn bytes_go_out_when_there_is_room_and_come_in_when_there_are_some() {
        let model = Model::default();
        let (uart, mut note) = (Ns16550::new(&model), 0);
        model.take_written();
        model.queue(LINE_STATUS, &[0x01, 0x00, 0x60]);
        assert_eq!(uart.put(b'x', &mut note, 7), Ok(()));
        assert_eq!((model.take_written(), note), (vec![(0, 0x78)], 7));
        model.queue(LINE_STATUS, &[0x60, 0x61]);
        model.queue(DATA, &[0x41]);
        assert_eq!([uart.get(), uart.get()], [None, Some(b'A')]);
    }

    #[test]
    fn interrupts_without_data_end() {
        let model = Model::default();
        let uart = Ns16550::new(&model);
        for (cause, status, reads) in [
            (0xc4, 0x61, vec![IDENTIFICATION]),
            (0xcc, 0x61, vec![IDENTIFICATION, LINE_STATUS]),
            (0xcc, 0x60, vec![IDENTIFICATION, LINE_STATUS, DATA]),
            (0xc7, 0x60, vec![IDENTIFICATION, BUSY_STATUS]),
            (0xc1, 0x60, vec![IDENTIFICATION]),
        ] {
            model.take_reads();
            model.queue(IDENTIFICATION, &[cause]);
            model.queue(LINE_STATUS, &[status]);
            uart.clear_interrupts();
            assert_eq!(model.take_reads(), reads, "{cause:#x} {status:#x}");
            model.queued.borrow_mut().clear();
        }
    }
}
