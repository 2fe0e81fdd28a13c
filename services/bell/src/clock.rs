//! PL031 (Arm DDI 0224): a clock of seconds that interrupts when it reaches the match register.

use rt::abi::layout::MMIO_BASE;
use tock_registers::interfaces::Readable;
use tock_registers::register_structs;
use tock_registers::registers::ReadOnly;

use crate::write;

register_structs! {
    Registers {
        /// RTCDR, 3.3.1.
        (0x000 => data: ReadOnly<u32>),
        (0x004 => _match_load_control_and_mask),
        /// RTCRIS, 3.3.6.
        (0x014 => raw_status: ReadOnly<u32>),
        (0x018 => @END),
    }
}

/// RTCMR, 3.3.2.
const MATCH: u32 = 0x4;
/// RTCIMSC, 3.3.5: 1 = the interrupt is let through.
const MASK: u32 = 0x10;
/// RTCICR, 3.3.8.
const CLEAR: u32 = 0x1c;

/// RTCLR, 3.3.3: it is not used, can be read back, and stands for one that holds a bus address.
const LOAD: u32 = 0x8;

/// What the tests of registers try.
pub const KNOWN: [u32; 4] = [LOAD, MASK, 1, MATCH];

/// How often a second may pass between reading the clock and writing that to its match register.
const ATTEMPTS: u32 = 3;

/// The clock.
pub struct Clock {
    registers: &'static Registers,
}

impl Clock {
    /// Takes hold of it, and lets it interrupt.
    #[allow(unsafe_code)]
    pub fn take() -> Self {
        // SAFETY: the manifest's first device range, which the kernel maps there for this object alone; registers are
        // cells, so that a shared reference is all that is ever needed.
        let registers = unsafe { &*core::ptr::with_exposed_provenance::<Registers>(MMIO_BASE as usize) };
        write(MASK, 1);
        Clock { registers }
    }

    /// Makes it interrupt; whether that worked.
    pub fn ring(&self) -> bool {
        for _ in 0..ATTEMPTS {
            write(MATCH, self.registers.data.get());
            if self.registers.raw_status.get() != 0 {
                return true;
            }
        }
        false
    }

    /// Takes the interrupt back.
    pub fn silence(&self) {
        write(CLEAR, 1);
    }
}
