//! OHCI (Open Host Controller Interface 1.0a, chapter 7): a USB controller without devices. Its root hub tells of
//! changes of its state, in QEMU's model. That interrupts as soon as it is let to.

use rt::abi::layout::MMIO_BASE;
use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::registers::{ReadWrite, WriteOnly};
use tock_registers::{register_bitfields, register_structs};

register_bitfields! {
    u32,
    Interrupts [
        /// Root hub status change.
        RHSC OFFSET(6) NUMBITS(1) [],
        /// Master interrupt enable.
        MIE OFFSET(31) NUMBITS(1) []
    ],
    /// HcRhStatus, 7.4.3.
    Hub [
        /// DeviceRemoteWakeupEnable; a 1 written sets it.
        WAKE_UP OFFSET(15) NUMBITS(1) [],
        /// ClearRemoteWakeupEnable: a 1 written clears it.
        LET_SLEEP OFFSET(31) NUMBITS(1) []
    ]
}

register_structs! {
    Registers {
        /// The other controller of the same sockets, EHCI.
        (0x000 => _fast),
        /// HcInterruptEnable, 7.1.5.
        (0x410 => enable: WriteOnly<u32, Interrupts::Register>),
        /// HcInterruptDisable, 7.1.6.
        (0x414 => disable: WriteOnly<u32, Interrupts::Register>),
        (0x418 => _more),
        (0x450 => hub: ReadWrite<u32, Hub::Register>),
        (0x454 => @END),
    }
}

/// The controller.
pub struct UsbHost {
    registers: &'static Registers,
}

impl UsbHost {
    /// Takes hold of it; from now on it has something to tell.
    #[allow(unsafe_code)]
    pub fn take() -> Self {
        // SAFETY: the manifest's first device range, which the kernel maps there for this object alone; registers are
        // cells, so that a shared reference is all that is ever needed.
        let registers = unsafe { &*core::ptr::with_exposed_provenance::<Registers>(MMIO_BASE as usize) };
        registers.enable.write(Interrupts::RHSC::SET);
        match registers.hub.is_set(Hub::WAKE_UP) {
            true => registers.hub.write(Hub::LET_SLEEP::SET),
            false => registers.hub.write(Hub::WAKE_UP::SET),
        }
        UsbHost { registers }
    }

    /// Makes it interrupt; what the cycle counter was just before.
    pub fn strike(&self) -> u32 {
        let now = gauge::cycles();
        self.registers.enable.write(Interrupts::MIE::SET);
        now
    }

    /// Takes the interrupt back.
    pub fn quiet(&self) {
        self.registers.disable.write(Interrupts::MIE::SET);
    }
}
