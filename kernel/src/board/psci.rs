//! Power State Coordination Interface (ARM DEN 0022): the firmware that QEMU is for its own boards.

use core::arch::asm;

use crate::arch::boot;

/// SYSTEM_RESET (5.1.16).
const SYSTEM_RESET: u32 = 0x8400_0009;

/// Starts the board anew. Whoever was started in HYP mode has firmware above it (SMC); else it is above SVC (HVC).
pub fn system_reset() -> ! {
    if boot::started_in_hyp() {
        // SAFETY: the call does not return; nothing of this kernel matters any more.
        unsafe { asm!(".arch_extension sec", "smc #0", in("r0") SYSTEM_RESET, options(nostack)) };
    } else {
        // SAFETY: as above.
        unsafe { asm!(".arch_extension virt", "hvc #0", in("r0") SYSTEM_RESET, options(nostack)) };
    }
    panic!("the board did not start anew")
}
