//! Registers of the processor, by name. Each function says which ARM ARM section defines it.

use aarch32_cpu::register::{Dfar, Dfsr, Ifar, Ifsr, SysRegRead};
use core::arch::asm;

/// What a data or prefetch abort reports.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Fault status, FS\[4\] and FS\[3:0\] joined (ARM ARM B3.13).
    pub status: u32,
    /// Whether a write caused it.
    pub write: bool,
    /// Fault address.
    pub address: u32,
}

/// Status of an alignment fault.
pub const ALIGNMENT: u32 = 0b00001;
/// Status of a debug event.
pub const DEBUG: u32 = 0b00010;
/// Status of a permission fault on a page.
pub const PERMISSION: u32 = 0b01111;

/// DFSR and DFAR (B4.1.51, B4.1.52).
pub fn data_fault() -> Fault {
    let status = Dfsr::read_raw();
    Fault { status: fault_status(status), write: status & 1 << 11 != 0, address: Dfar::read_raw() }
}

/// IFSR and IFAR (B4.1.95, B4.1.96).
pub fn prefetch_fault() -> Fault {
    Fault { status: fault_status(Ifsr::read_raw()), write: false, address: Ifar::read_raw() }
}

fn fault_status(register: u32) -> u32 {
    register & 0xf | (register >> 10 & 1) << 4
}

/// Whether an interrupt is pending although masked (ISR, B4.1.97): the kernel's preemption points ask.
pub fn interrupt_pending() -> bool {
    let isr: u32;
    // SAFETY: reads a status register; no side effects.
    unsafe { asm!("mrc p15, 0, {}, c12, c1, 0", out(reg) isr, options(nomem, nostack, preserves_flags)) };
    isr & 0x80 != 0
}

/// Sleeps until an interrupt is pending (WFI wakes up for masked ones, too: B1.8.13).
pub fn wait_for_interrupt() {
    // SAFETY: a hint; the kernel holds no state that an interrupt could see, as it stays masked.
    unsafe { asm!("dsb", "wfi", options(nostack, preserves_flags)) };
}

/// Sets the exception vectors (VBAR, B4.1.156), forbids VFP and NEON (CPACR, B4.1.40) and opens or closes
/// the cycle counter to user mode (PMUSERENR, C12.8).
pub fn init(counter_for_users: bool) {
    unsafe extern "C" {
        static arch_vectors: u8;
    }
    let vectors = &raw const arch_vectors as u32;
    // SAFETY: called once at boot; the vectors lie in kernel text, mapped executable for good.
    unsafe {
        asm!(
            "mcr p15, 0, {vbar}, c12, c0, 0",
            "mcr p15, 0, {zero}, c1, c0, 2",
            "mcr p15, 0, {zero}, c13, c0, 3",
            "mcr p15, 0, {zero}, c13, c0, 2",
            "mcr p15, 0, {users}, c9, c14, 0",
            "isb",
            vbar = in(reg) vectors,
            zero = in(reg) 0,
            users = in(reg) u32::from(counter_for_users),
            options(nostack, preserves_flags)
        );
    }
    if counter_for_users {
        // SAFETY: PMCR.E and .C, then PMCNTENSET.C (C12.8): starts the cycle counter from 0.
        unsafe {
            asm!(
                "mcr p15, 0, {control}, c9, c12, 0",
                "mcr p15, 0, {counter}, c9, c12, 1",
                control = in(reg) 5,
                counter = in(reg) 1u32 << 31,
                options(nomem, nostack, preserves_flags)
            );
        }
    }
}

/// Sets the user-writable thread register (TPIDRURW): no value may pass from one domain to another.
pub fn clear_user_thread_register() {
    // SAFETY: TPIDRURW has no meaning to the kernel.
    unsafe { asm!("mcr p15, 0, {}, c13, c0, 2", in(reg) 0, options(nomem, nostack, preserves_flags)) };
}
