//! PL011 (Arm DDI 0183): output by polling, input by interrupts.

use rt::abi::layout::MMIO_BASE;
use rt::{Error, sys};
use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
use tock_registers::registers::{ReadOnly, ReadWrite, WriteOnly};
use tock_registers::{register_bitfields, register_structs};

register_bitfields! {
    u32,
    /// UARTDR, 3.3.1.
    Data [
        DATA OFFSET(0) NUMBITS(8) []
    ],
    /// UARTFR, 3.3.3.
    Flags [
        /// Receive FIFO empty.
        RXFE OFFSET(4) NUMBITS(1) [],
        /// Transmit FIFO full.
        TXFF OFFSET(5) NUMBITS(1) []
    ],
    /// UARTLCR_H, 3.3.7.
    LineControl [
        /// FIFOs on.
        FEN OFFSET(4) NUMBITS(1) [],
        /// Word length.
        WLEN OFFSET(5) NUMBITS(2) [Eight = 3]
    ],
    /// UARTCR, 3.3.8.
    Control [
        UARTEN OFFSET(0) NUMBITS(1) [],
        TXE OFFSET(8) NUMBITS(1) [],
        RXE OFFSET(9) NUMBITS(1) []
    ],
    /// UARTIMSC, 3.3.10, and UARTICR, 3.3.13.
    Interrupts [
        /// Receive: the FIFO is filled to its trigger level.
        RX OFFSET(4) NUMBITS(1) [],
        /// Receive time-out: there is something in the FIFO, and nothing came for 32 bit periods.
        RT OFFSET(6) NUMBITS(1) []
    ]
}

register_structs! {
    Registers {
        (0x000 => data: ReadWrite<u32, Data::Register>),
        (0x004 => _status),
        (0x018 => flags: ReadOnly<u32, Flags::Register>),
        (0x01c => _baud),
        (0x02c => line_control: ReadWrite<u32, LineControl::Register>),
        (0x030 => control: ReadWrite<u32, Control::Register>),
        (0x034 => _levels),
        (0x038 => interrupt_mask: ReadWrite<u32, Interrupts::Register>),
        (0x03c => _interrupt_status),
        (0x044 => interrupt_clear: WriteOnly<u32, Interrupts::Register>),
        (0x048 => @END),
    }
}

/// Where characters go and come from.
pub trait Port {
    /// Takes hold of the device.
    fn take() -> Self;
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

/// The UART.
pub struct Uart {
    registers: &'static Registers,
}

impl Port for Uart {
    /// The UART of the manifest, switched on. One that is on already is left alone: changing its line control would
    /// empty its FIFOs. The baud rate is the boot loader's.
    #[allow(unsafe_code)]
    fn take() -> Self {
        // SAFETY: the manifest's first device range, which the kernel maps there for this object alone; registers are
        // cells, so that a shared reference is all that is ever needed.
        let registers = unsafe { &*core::ptr::with_exposed_provenance::<Registers>(MMIO_BASE as usize) };
        if !registers.line_control.is_set(LineControl::FEN) {
            registers.line_control.write(LineControl::FEN::SET + LineControl::WLEN::Eight);
        }
        registers.control.modify(Control::UARTEN::SET + Control::TXE::SET + Control::RXE::SET);
        registers.interrupt_mask.write(Interrupts::RX::SET + Interrupts::RT::SET);
        Uart { registers }
    }

    /// Waits while the FIFO is full: a line that does not move ends in the budget of the flush.
    fn put(&self, byte: u8, note: &mut u32, noted: u32) -> Result<(), Error> {
        while self.registers.flags.is_set(Flags::TXFF) {
            core::hint::spin_loop();
        }
        let register = (&raw const self.registers.data).addr() as u32;
        sys::emit(register, Data::DATA.val(byte.into()).value, note, noted)
    }

    fn get(&self) -> Option<u8> {
        (!self.registers.flags.is_set(Flags::RXFE)).then(|| self.registers.data.read(Data::DATA) as u8)
    }

    fn clear_interrupts(&self) {
        self.registers.interrupt_clear.write(Interrupts::RX::SET + Interrupts::RT::SET);
    }
}
