//! The generic timer's physical timer as the tick, its counter as the clock (ARM ARM B8.1).

use core::arch::asm;

use super::Timer;

/// Ticks a second.
const RATE: u32 = 1000;

/// The generic timer of the processor.
pub struct GenericTimer;

fn frequency() -> u32 {
    let frequency: u32;
    // SAFETY: reads CNTFRQ (B8.1.9).
    unsafe { asm!("mrc p15, 0, {}, c14, c0, 0", out(reg) frequency, options(nomem, nostack, preserves_flags)) };
    frequency.max(RATE)
}

impl Timer for GenericTimer {
    /// Arms the timer and lets it interrupt (CNTP_CTL, B8.1.15).
    fn start(&self) {
        self.reload();
        // SAFETY: the timer belongs to the kernel.
        unsafe { asm!("mcr p15, 0, {}, c14, c2, 1", "isb", in(reg) 1, options(nomem, nostack, preserves_flags)) };
    }

    /// CNTP_TVAL (B8.1.16). Writing it also clears a pending interrupt.
    fn reload(&self) {
        // SAFETY: as above.
        unsafe {
            asm!("mcr p15, 0, {}, c14, c2, 0", "isb", in(reg) frequency() / RATE, options(nomem, nostack, preserves_flags))
        };
    }

    /// CNTPCT (B8.1.12).
    fn now_us(&self) -> u64 {
        let (low, high): (u32, u32);
        // SAFETY: reads the counter.
        unsafe {
            asm!("isb", "mrrc p15, 0, {}, {}, c14", out(reg) low, out(reg) high, options(nomem, nostack, preserves_flags))
        };
        let count = u64::from(high) << 32 | u64::from(low);
        count * 1000 / u64::from(frequency() / 1000)
    }
}
