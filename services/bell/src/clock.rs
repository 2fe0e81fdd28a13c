//! PL031 (Arm DDI 0224): a clock of seconds that interrupts when it reaches the match register.

use rt::abi::layout::MMIO_BASE;
use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::register_structs;
use tock_registers::registers::{ReadOnly, ReadWrite, WriteOnly};

use crate::Device;

register_structs! {
    Registers {
        /// RTCDR, 3.3.1.
        (0x000 => data: ReadOnly<u32>),
        /// RTCMR, 3.3.2.
        (0x004 => matches: ReadWrite<u32>),
        (0x008 => _load),
        /// RTCIMSC, 3.3.5: 1 = the interrupt is let through.
        (0x010 => mask: ReadWrite<u32>),
        /// RTCRIS, 3.3.6.
        (0x014 => raw_status: ReadOnly<u32>),
        (0x018 => _masked_status),
        /// RTCICR, 3.3.8.
        (0x01c => clear: WriteOnly<u32>),
        (0x020 => @END),
    }
}

/// How often a second may pass between reading the clock and writing that to its match register.
const ATTEMPTS: u32 = 3;

/// The clock.
pub struct Clock {
    registers: &'static Registers,
}

impl Device for Clock {
    #[allow(unsafe_code)]
    fn take() -> Self {
        // SAFETY: the manifest's first device range, which the kernel maps there for this object alone; registers are
        // cells, so that a shared reference is all that is ever needed.
        let registers = unsafe { &*core::ptr::with_exposed_provenance::<Registers>(MMIO_BASE as usize) };
        registers.mask.set(1);
        Clock { registers }
    }

    fn ring(&self) -> bool {
        for _ in 0..ATTEMPTS {
            self.registers.matches.set(self.registers.data.get());
            if self.registers.raw_status.get() != 0 {
                return true;
            }
        }
        false
    }

    fn silence(&self) {
        self.registers.clear.set(1);
    }
}
