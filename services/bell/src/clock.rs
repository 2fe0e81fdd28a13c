//! PL031 (Arm DDI 0224): a clock of seconds that interrupts when it reaches the match register.

use rt::abi::layout::MMIO_BASE;
use rt::sys;
use tock_registers::interfaces::Readable;
use tock_registers::register_structs;
use tock_registers::registers::ReadOnly;

use crate::Device;

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

/// Writes a register, by way of the kernel: the manifest says that it is checked.
fn write(register: u32, value: u32) {
    sys::write_register(MMIO_BASE + register, value).expect("the manifest's rules allow what the driver writes");
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
        write(MASK, 1);
        Clock { registers }
    }

    fn ring(&self) -> bool {
        for _ in 0..ATTEMPTS {
            write(MATCH, self.registers.data.get());
            if self.registers.raw_status.get() != 0 {
                return true;
            }
        }
        false
    }

    fn silence(&self) {
        write(CLEAR, 1);
    }
}
