//! The clock of all measurements.

/// The cycle counter (PMCCNTR, ARM ARM C12.8). Under `-icount shift=0` it counts instructions. Undefined where the manifest
/// does not grant `counter`.
#[cfg(target_os = "none")]
#[inline(always)]
#[allow(unsafe_code)]
pub fn cycles() -> u32 {
    let count: u32;
    // SAFETY: reads a counter; nothing else changes.
    unsafe { core::arch::asm!("isb", "mrc p15, 0, {}, c9, c13, 0", out(reg) count, options(nostack)) };
    count
}

/// The host has no such counter.
#[cfg(not(target_os = "none"))]
pub fn cycles() -> u32 {
    0
}
