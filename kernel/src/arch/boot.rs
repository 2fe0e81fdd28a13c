//! From reset or boot loader to the first Rust function, in a known state.
//!
//! Nothing is assumed of the MMU, the caches or the mode, except that the code runs
//! where it is linked and that address translation, if on, is the identity for it: short or long descriptors, in SVC or HYP.
//!
//! With the caches on, the loader's copy of this image may lie in them alone: they are cleaned before they are switched off,
//! and once more afterwards, when nothing can come into them any more (ARM ARM B2.2.7).

use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, Ordering};

/// Written by the code below.
#[unsafe(no_mangle)]
static ARCH_STARTED_IN_HYP: AtomicU32 = AtomicU32::new(0);

/// Whether the boot loader started the kernel in HYP mode.
pub fn started_in_hyp() -> bool {
    ARCH_STARTED_IN_HYP.load(Ordering::Relaxed) != 0
}

// Contract of `_start`: any of SVC, SYS, HYP; r2 may hold a device tree (kept in r11 until Rust).
// Falls through to `kernel_main(device_tree)`, in SVC mode, interrupts masked, MMU and
// caches off, translation tables not yet chosen, bss zeroed, sp = kernel stack.
global_asm!(
    r#"
    .section .text.boot, "ax"
    .global _start
    .arm
_start:
    mov     r11, r2
    mov     r6, #0
    bl      arch_clean_invalidate_all
    @ SCTLR (B4.1.130): off are MMU, caches, branch prediction, alignment checks (M, C, I, Z, A), high vectors (V),
    @ exceptions in Thumb state or big endian (TE, EE), and write-implies-XN (WXN, UWXN). From HYP it is that of SVC.
    mrc     p15, 0, r0, c1, c0, 0
    ldr     r1, =0x42183807
    bic     r0, r0, r1
    mcr     p15, 0, r0, c1, c0, 0
    isb
    mrs     r0, cpsr
    and     r1, r0, #0x1f
    cmp     r1, #0x1a               @ HYP (ARM ARM B1.3.1)
    bne     1f
    @ Leave HYP: its MMU and caches off (B4.1.76 HSCTLR: the bits that are one), timers and counter open to PL1 (B8.1.11 CNTHCTL),
    @ no traps (HCPTR's are ones where there is nothing to trap), the processor's own identity, then ERET to SVC.
    .arch_extension virt
    mov     r6, #1
    ldr     r0, =0x30c50830
    mcr     p15, 4, r0, c1, c0, 0
    ldr     r0, =0x33ff
    mcr     p15, 4, r0, c1, c1, 2   @ HCPTR
    mrc     p15, 0, r0, c0, c0, 0
    mcr     p15, 4, r0, c0, c0, 0   @ VPIDR := MIDR
    mrc     p15, 0, r0, c0, c0, 5
    mcr     p15, 4, r0, c0, c0, 5   @ VMPIDR := MPIDR
    mov     r0, #3
    mcr     p15, 4, r0, c14, c1, 0
    mov     r0, #0
    mcrr    p15, 4, r0, r0, c14     @ CNTVOFF = 0
    mcr     p15, 4, r0, c1, c1, 0   @ HCR = 0
    mcr     p15, 4, r0, c1, c1, 3   @ HSTR = 0
    adr     r0, 1f
    msr     elr_hyp, r0
    mov     r0, #0x1d3
    msr     spsr_cxsf, r0           @ the SPSR of the mode itself has no banked name (B9.3.10)
    eret
1:  cpsid   aif, #0x13
    @ Little endian; no user access to the timers (CNTKCTL, B8.1.12).
    setend  le
    mov     r0, #0
    mrc     p15, 0, r1, c0, c1, 1   @ ID_PFR1: is there a generic timer?
    tst     r1, #0xf0000
    mcrne   p15, 0, r0, c14, c1, 0
    bl      arch_clean_invalidate_all
    mov     r0, #0
    mcr     p15, 0, r0, c2, c0, 2   @ TTBCR: short descriptors (EAE off)
    mcr     p15, 0, r0, c7, c5, 0   @ ICIALLU
    mcr     p15, 0, r0, c7, c5, 6   @ BPIALL
    mcr     p15, 0, r0, c8, c7, 0   @ TLBIALL
    dsb
    isb
    ldr     r0, =__bss_start
    ldr     r1, =__bss_end
    mov     r2, #0
2:  cmp     r0, r1
    strlo   r2, [r0], #4
    blo     2b
    ldr     r0, =ARCH_STARTED_IN_HYP
    str     r6, [r0]
    ldr     sp, =__kernel_stack_top
    @ Stack for faults taken in the kernel itself: report only.
    cps     #0x17
    ldr     sp, =__panic_stack_top
    cps     #0x1b
    ldr     sp, =__panic_stack_top
    cps     #0x13
    mov     r0, r11
    bl      kernel_main             @ does not return

    @ Cleans and invalidates all data caches to the point of coherency by set/way (B2.2.7).
    @ Uses r0-r5, r7-r10, r12; no stack: it runs before there is one.
    .global arch_clean_invalidate_all
arch_clean_invalidate_all:
    dmb
    mrc     p15, 1, r0, c0, c0, 1   @ CLIDR
    ands    r3, r0, #0x07000000
    lsr     r3, r3, #23             @ 2 * level of coherency
    beq     5f
    mov     r10, #0
1:  add     r2, r10, r10, lsr #1
    lsr     r1, r0, r2
    and     r1, r1, #7
    cmp     r1, #2
    blt     4f                      @ no data cache at this level
    mcr     p15, 2, r10, c0, c0, 0  @ CSSELR
    isb
    mrc     p15, 1, r1, c0, c0, 0   @ CCSIDR
    and     r2, r1, #7
    add     r2, r2, #4              @ log2 of line length
    ubfx    r4, r1, #3, #10         @ ways - 1
    clz     r5, r4
    ubfx    r7, r1, #13, #15        @ sets - 1
2:  mov     r9, r7
3:  orr     r12, r10, r4, lsl r5
    lsl     r8, r9, r2
    orr     r12, r12, r8
    mcr     p15, 0, r12, c7, c14, 2 @ DCCISW
    subs    r9, r9, #1
    bge     3b
    subs    r4, r4, #1
    bge     2b
4:  add     r10, r10, #2
    cmp     r3, r10
    bgt     1b
5:  mov     r10, #0
    mcr     p15, 2, r10, c0, c0, 0
    dsb
    isb
    bx      lr
"#
);
