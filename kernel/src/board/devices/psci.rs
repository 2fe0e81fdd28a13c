//! Power State Coordination Interface (ARM DEN 0022): the firmware that QEMU is for its own boards.

use core::arch::asm;

/// SYSTEM_RESET (5.1.16).
const SYSTEM_RESET: u32 = 0x8400_0009;

/// Starts the board anew. Whoever was started in HYP mode has firmware above it (SMC); else it is above SVC (HVC). Returns
/// where the firmware refuses.
pub fn system_reset(started_in_hyp: bool) {
    if started_in_hyp {
        // SAFETY: the call may change r0 to r3 alone (SMC calling convention, ARM DEN 0028).
        unsafe {
            asm!(".arch_extension sec", "smc #0", inout("r0") SYSTEM_RESET => _, out("r1") _, out("r2") _, out("r3") _, options(nostack))
        };
    } else {
        // SAFETY: as above.
        unsafe {
            asm!(".arch_extension virt", "hvc #0", inout("r0") SYSTEM_RESET => _, out("r1") _, out("r2") _, out("r3") _, options(nostack))
        };
    }
}
