//! OHCI (Open Host Controller Interface 1.0a, chapter 7): a USB controller without devices. Its root hub tells of
//! changes of its state, in QEMU's model, and that interrupts.

use rt::abi::layout::MMIO_BASE;
use tock_registers::interfaces::Readable;
use tock_registers::register_structs;
use tock_registers::registers::ReadOnly;

use crate::write;

register_structs! {
    Registers {
        /// The other controller of the same sockets, EHCI.
        (0x000 => _fast),
        /// HcInterruptStatus, 7.1.4.
        (0x40c => status: ReadOnly<u32>),
        (0x410 => _interrupts_and_memory),
        /// HcRhStatus, 7.4.3.
        (0x450 => hub: ReadOnly<u32>),
        (0x454 => @END),
    }
}

/// HcInterruptStatus: a 1 written takes an interrupt back.
const STATUS: u32 = 0x40c;
/// HcInterruptEnable, 7.1.5.
const ENABLE: u32 = 0x410;
/// HcHCCA, 7.2.1: the address of memory that is used when the controller is started.
const MEMORY: u32 = 0x418;
/// HcLSThreshold, 7.3.5: means nothing to a controller that is not started.
const THRESHOLD: u32 = 0x444;
/// HcRhStatus.
const HUB: u32 = 0x450;

/// Root hub status change.
const CHANGE: u32 = 1 << 6;
/// Master interrupt enable.
const MASTER: u32 = 1 << 31;
/// HcRhStatus, DeviceRemoteWakeupEnable: a 1 written sets it.
const WAKE_UP: u32 = 1 << 15;
/// HcRhStatus, ClearRemoteWakeupEnable: a 1 written clears it.
const LET_SLEEP: u32 = 1 << 31;

/// What the tests of registers try.
pub const KNOWN: [u32; 4] = [MEMORY, ENABLE, MASTER | CHANGE, THRESHOLD];

/// The controller.
pub struct UsbHost {
    registers: &'static Registers,
}

impl UsbHost {
    /// Takes hold of it, and lets it interrupt.
    #[allow(unsafe_code)]
    pub fn take() -> Self {
        // SAFETY: the manifest's first device range, which the kernel maps there for this object alone; registers are
        // cells, so that a shared reference is all that is ever needed.
        let registers = unsafe { &*core::ptr::with_exposed_provenance::<Registers>(MMIO_BASE as usize) };
        write(ENABLE, MASTER | CHANGE);
        UsbHost { registers }
    }

    /// Makes it interrupt; whether that worked.
    pub fn ring(&self) -> bool {
        write(HUB, if self.registers.hub.get() & WAKE_UP == 0 { WAKE_UP } else { LET_SLEEP });
        self.registers.status.get() & CHANGE != 0
    }

    /// Takes the interrupt back.
    pub fn silence(&self) {
        write(STATUS, CHANGE);
    }
}
