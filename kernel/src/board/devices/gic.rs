//! GICv2: distributor and CPU interface (ARM IHI 0048B, chapter 4).

use super::{Controller, Registers};

/// GICD_CTLR, 4.3.1.
const DISTRIBUTOR_CONTROL: u32 = 0x000;
/// GICD_ISENABLERn, 4.3.5.
const SET_ENABLE: u32 = 0x100;
/// GICD_ICENABLERn, 4.3.6.
const CLEAR_ENABLE: u32 = 0x180;
/// GICD_ITARGETSRn, 4.3.12: a byte a source. Those of a processor's own sources ignore the write.
const TARGETS: u32 = 0x800;
/// GICC_CTLR, 4.4.1.
const CPU_CONTROL: u32 = 0x00;
/// GICC_PMR, 4.4.2.
const PRIORITY_MASK: u32 = 0x04;
/// GICC_IAR, 4.4.4.
const ACKNOWLEDGE: u32 = 0x0c;
/// GICC_EOIR, 4.4.5.
const END: u32 = 0x10;

/// Interrupt number that means "none pending".
const SPURIOUS: u32 = 1020;
/// Sources that the distributor can have.
const SOURCES: u32 = 1024;

/// A GICv2.
pub struct Gic<R> {
    distributor: R,
    cpu: R,
}

impl<R> Gic<R> {
    /// The controller with its two register banks.
    pub const fn new(distributor: R, cpu: R) -> Self {
        Gic { distributor, cpu }
    }
}

impl<R: Registers> Controller for Gic<R> {
    /// Disables every source, then forwarding on: all priorities pass.
    fn init(&self) {
        for register in 0..SOURCES / 32 {
            self.distributor.write(CLEAR_ENABLE + register * 4, u32::MAX);
        }
        self.distributor.write(DISTRIBUTOR_CONTROL, 1);
        self.cpu.write(PRIORITY_MASK, 0xff);
        self.cpu.write(CPU_CONTROL, 1);
    }

    fn acknowledge(&self) -> Option<u32> {
        let number = self.cpu.read(ACKNOWLEDGE) & 0x3ff;
        (number < SPURIOUS).then_some(number)
    }

    fn end(&self, interrupt: u32) {
        self.cpu.write(END, interrupt);
    }

    /// To this processor, the first.
    fn unmask(&self, interrupt: u32) {
        let source = interrupt % SOURCES;
        let shift = source % 4 * 8;
        self.distributor.modify(TARGETS + (source & !3), 0xff << shift, 1 << shift);
        self.distributor.write(SET_ENABLE + source / 32 * 4, 1 << (source % 32));
    }

    fn mask(&self, interrupt: u32) {
        let source = interrupt % SOURCES;
        self.distributor.write(CLEAR_ENABLE + source / 32 * 4, 1 << (source % 32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::fake::{Bus, Read, Write};

    #[test]
    fn a_source_is_let_through_to_the_first_processor() {
        let gic = Gic::new(Bus::default(), Bus::default());
        gic.distributor.set(0x820, 0x0202_0202);
        gic.unmask(33);
        assert_eq!(gic.distributor.accesses(), [Read(0x820), Write(0x820, 0x0202_0102), Write(0x104, 2)]);
        gic.mask(33);
        assert_eq!(gic.distributor.accesses(), [Write(0x184, 2)]);
    }

    #[test]
    fn interrupts_are_acknowledged_and_ended() {
        let gic = Gic::new(Bus::default(), Bus::default());
        gic.init();
        assert_eq!(gic.distributor.writes()[31..], [(0x1fc, u32::MAX), (0, 1)]);
        assert_eq!(gic.cpu.writes(), [(4, 0xff), (0, 1)]);
        gic.cpu.queue(0x0c, &[33, 1023, 1022]);
        assert_eq!([gic.acknowledge(), gic.acknowledge(), gic.acknowledge()], [Some(33), None, None]);
        gic.end(33);
        assert_eq!(gic.cpu.writes(), [(0x10, 33)]);
    }
}
