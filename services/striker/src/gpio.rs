//! PL061 (Arm DDI 0190): one of its pins, an input that nothing drives. A pin interrupts at a level, and which level that is
//! can be changed.

use rt::abi::layout::MMIO_BASE;
use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
use tock_registers::registers::{ReadOnly, ReadWrite, WriteOnly};
use tock_registers::{register_bitfields, register_structs};

register_bitfields! {
    u32,
    /// One bit for each pin.
    Pins [
        FIRST OFFSET(0) NUMBITS(1) []
    ]
}

register_structs! {
    Registers {
        (0x000 => _others),
        /// GPIODATA, 3.3.1, where bits 2 to 9 of the address say which pins are meant: the first.
        (0x004 => data: ReadOnly<u32, Pins::Register>),
        (0x008 => _more_data),
        /// GPIODIR, 3.3.2: 0 = input.
        (0x400 => direction: ReadWrite<u32, Pins::Register>),
        /// GPIOIS, 3.3.3: 1 = a level interrupts.
        (0x404 => level_sensitive: ReadWrite<u32, Pins::Register>),
        (0x408 => _both_edges),
        /// GPIOIEV, 3.3.5: the level that interrupts.
        (0x40c => level: ReadWrite<u32, Pins::Register>),
        /// GPIOIE, 3.3.6: 1 = the interrupt is let through.
        (0x410 => enable: ReadWrite<u32, Pins::Register>),
        (0x414 => _status),
        /// GPIOIC, 3.3.9.
        (0x41c => clear: WriteOnly<u32, Pins::Register>),
        (0x420 => @END),
    }
}

/// The first pin.
pub struct Pin {
    registers: &'static Registers,
}

impl Pin {
    fn interrupt_at(&self, level: u32) {
        self.registers.level.modify(Pins::FIRST.val(level));
    }

    /// Takes hold of it.
    #[allow(unsafe_code)]
    pub fn take() -> Self {
        // SAFETY: the manifest's first device range, which the kernel maps there for this object alone; registers are
        // cells, so that a shared reference is all that is ever needed.
        let registers = unsafe { &*core::ptr::with_exposed_provenance::<Registers>(MMIO_BASE as usize) };
        registers.direction.modify(Pins::FIRST::CLEAR);
        registers.level_sensitive.modify(Pins::FIRST::SET);
        let pin = Pin { registers };
        pin.quiet();
        registers.enable.modify(Pins::FIRST::SET);
        pin
    }

    /// Makes it interrupt; what the cycle counter was just before.
    pub fn strike(&self) -> u32 {
        let level = self.registers.data.read(Pins::FIRST);
        let now = gauge::cycles();
        self.interrupt_at(level);
        now
    }

    /// Takes the interrupt back.
    pub fn quiet(&self) {
        self.interrupt_at(1 - self.registers.data.read(Pins::FIRST));
        self.registers.clear.write(Pins::FIRST::SET);
    }
}
