//! GICv2: distributor and CPU interface (ARM IHI 0048B, chapter 4).

use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::register_structs;
use tock_registers::registers::{ReadOnly, ReadWrite, WriteOnly};

register_structs! {
    #[allow(missing_docs)]
    Distributor {
        (0x000 => control: ReadWrite<u32>),
        (0x004 => _reserved0),
        (0x100 => set_enable: [ReadWrite<u32>; 32]),
        (0x180 => clear_enable: [ReadWrite<u32>; 32]),
        (0x200 => _reserved1),
        (0x800 => targets: [ReadWrite<u8>; 1024]),
        (0xc00 => @END),
    }
}

register_structs! {
    #[allow(missing_docs)]
    CpuInterface {
        (0x00 => control: ReadWrite<u32>),
        (0x04 => priority_mask: ReadWrite<u32>),
        (0x08 => _reserved0),
        (0x0c => acknowledge: ReadOnly<u32>),
        (0x10 => end: WriteOnly<u32>),
        (0x14 => @END),
    }
}

/// Interrupt number that means "none pending".
const SPURIOUS: u32 = 1020;

/// A GICv2 at fixed addresses.
pub struct Gic {
    distributor: usize,
    cpu: usize,
}

impl Gic {
    /// The controller with its two register banks, mapped as device memory.
    pub const fn new(distributor: usize, cpu: usize) -> Self {
        Gic { distributor, cpu }
    }

    fn distributor(&self) -> &Distributor {
        // SAFETY: the board's distributor, mapped for the life of the kernel; all access is volatile.
        unsafe { &*(self.distributor as *const Distributor) }
    }

    fn cpu(&self) -> &CpuInterface {
        // SAFETY: as for the distributor.
        unsafe { &*(self.cpu as *const CpuInterface) }
    }

    /// Disables every source, then forwarding on: all priorities pass.
    pub fn init(&self) {
        for register in &self.distributor().clear_enable {
            register.set(u32::MAX);
        }
        self.distributor().control.set(1);
        self.cpu().priority_mask.set(0xff);
        self.cpu().control.set(1);
    }

    /// Lets a source through, to this processor (a register of a processor's own sources ignores the write: 4.3.12).
    pub fn enable(&self, interrupt: u32) {
        self.distributor().targets[interrupt as usize % 1024].set(1);
        self.distributor().set_enable[(interrupt / 32) as usize % 32].set(1 << (interrupt % 32));
    }

    /// Keeps a source back.
    pub fn disable(&self, interrupt: u32) {
        self.distributor().clear_enable[(interrupt / 32) as usize % 32].set(1 << (interrupt % 32));
    }

    /// The pending interrupt of highest priority, now active.
    pub fn acknowledge(&self) -> Option<u32> {
        let number = self.cpu().acknowledge.get() & 0x3ff;
        (number < SPURIOUS).then_some(number)
    }

    /// Makes an active interrupt inactive.
    pub fn end(&self, interrupt: u32) {
        self.cpu().end.set(interrupt);
    }
}
