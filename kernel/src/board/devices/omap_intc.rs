//! Interrupt controller of OMAP3 (TI SPRUF98, chapter "Interrupt Controller") and AM335x (TI SPRUH73, chapter 6): the same,
//! with three and with four banks of 32 sources.

use super::{Controller, Registers, complete, wait_until};

/// INTCPS_SYSCONFIG.
const CONFIG: u32 = 0x10;
/// INTCPS_SYSSTATUS.
const STATUS: u32 = 0x14;
/// INTCPS_SIR_IRQ: the active source; above it, bits that are set if it is spurious.
const ACTIVE: u32 = 0x40;
/// INTCPS_CONTROL.
const CONTROL: u32 = 0x48;
/// INTCPS_THRESHOLD.
const THRESHOLD: u32 = 0x68;
/// INTCPS_MIR_CLEARn; the next bank's registers lie `NEXT` bytes behind.
const UNMASK: u32 = 0x88;
/// INTCPS_MIR_SETn.
const MASK: u32 = 0x8c;
/// INTCPS_PENDING_IRQn: what is pending and not masked.
const PENDING: u32 = 0x98;
/// INTCPS_ILRm: priority and kind of source m, a word each.
const LEVEL: u32 = 0x100;
const NEXT: u32 = 0x20;

/// INTCPS_SYSCONFIG.SOFTRESET.
const RESET: u32 = 1 << 1;
/// INTCPS_SYSSTATUS.RESETDONE.
const DONE: u32 = 1 << 0;
/// INTCPS_CONTROL.NEWIRQAGR: lets the next interrupt come.
const NEW_IRQ: u32 = 1 << 0;
/// INTCPS_SIR_IRQ.ACTIVEIRQ.
const NUMBER: u32 = 0x7f;
/// INTCPS_THRESHOLD: none.
const NO_THRESHOLD: u32 = 0xff;
/// INTCPS_ILRm: an IRQ of the highest priority.
const IRQ: u32 = 0;

/// The interrupt controller.
pub struct OmapIntc<R> {
    registers: R,
    banks: u32,
}

impl<R> OmapIntc<R> {
    /// The controller with these registers, for 32 times as many sources as there are banks.
    pub const fn new(registers: R, banks: u32) -> Self {
        OmapIntc { registers, banks }
    }
}

impl<R: Registers> OmapIntc<R> {
    fn place(&self, interrupt: u32) -> (u32, u32) {
        (interrupt / 32 % self.banks * NEXT, 1 << (interrupt % 32))
    }
}

impl<R: Registers> Controller for OmapIntc<R> {
    /// From reset: the boot loader may have left an interrupt that it never answered.
    fn init(&self) {
        self.registers.write(CONFIG, RESET);
        wait_until(|| self.registers.read(STATUS) & DONE != 0);
        for bank in 0..self.banks {
            self.registers.write(MASK + bank * NEXT, u32::MAX);
        }
        for source in 0..self.banks * 32 {
            self.registers.write(LEVEL + source * 4, IRQ);
        }
        self.registers.write(THRESHOLD, NO_THRESHOLD);
        self.registers.write(CONTROL, NEW_IRQ);
    }

    /// INTCPS_SIR_IRQ keeps its number when nothing is pending any more, so that is asked first.
    fn acknowledge(&self) -> Option<u32> {
        let pending = |bank| self.registers.read(PENDING + bank * NEXT) != 0;
        if !(0..self.banks).any(pending) {
            return None;
        }
        let active = self.registers.read(ACTIVE);
        if active & !NUMBER != 0 {
            self.registers.write(CONTROL, NEW_IRQ);
            return None;
        }
        Some(active)
    }

    /// What the handler wrote to the device must have reached it before the controller looks at it again.
    fn end(&self, _: u32) {
        complete();
        self.registers.write(CONTROL, NEW_IRQ);
        complete();
    }

    fn unmask(&self, interrupt: u32) {
        let (bank, bit) = self.place(interrupt);
        self.registers.write(UNMASK + bank, bit);
    }

    fn mask(&self, interrupt: u32) {
        let (bank, bit) = self.place(interrupt);
        self.registers.write(MASK + bank, bit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::fake::{Bus, Read, Write};

    #[test]
    fn starts_from_reset_with_everything_masked() {
        let intc = OmapIntc::new(Bus::default(), 3);
        intc.registers.queue(STATUS, &[0, 0, 1]);
        intc.init();
        let accesses = intc.registers.accesses();
        assert_eq!(accesses[..4], [Write(0x10, 2), Read(0x14), Read(0x14), Read(0x14)]);
        assert_eq!(accesses[4..7], [Write(0x8c, u32::MAX), Write(0xac, u32::MAX), Write(0xcc, u32::MAX)]);
        assert_eq!((accesses[7], accesses[7 + 95]), (Write(0x100, 0), Write(0x27c, 0)));
        assert_eq!(accesses[7 + 96..], [Write(0x68, 0xff), Write(0x48, 1)]);
    }

    #[test]
    fn sources_have_a_bit_in_their_bank() {
        let intc = OmapIntc::new(Bus::default(), 4);
        intc.unmask(74);
        intc.mask(38);
        intc.unmask(127);
        assert_eq!(intc.registers.writes(), [(0xc8, 1 << 10), (0xac, 1 << 6), (0xe8, 1 << 31)]);
    }

    #[test]
    fn what_is_pending_is_answered_and_what_is_spurious_is_not() {
        let intc = OmapIntc::new(Bus::default(), 3);
        intc.registers.set(ACTIVE, 38);
        assert_eq!(intc.acknowledge(), None, "the number of the last one stays in the register");
        assert_eq!(intc.registers.accesses(), [Read(0x98), Read(0xb8), Read(0xd8)]);
        intc.registers.queue(0xb8, &[1 << 6, 1 << 6]);
        assert_eq!(intc.acknowledge(), Some(38));
        intc.end(38);
        assert_eq!(intc.registers.writes(), [(0x48, 1)]);
        intc.registers.set(ACTIVE, 0xffff_ffa6);
        assert_eq!(intc.acknowledge(), None);
        assert_eq!(intc.registers.writes(), [(0x48, 1)]);
    }
}
