//! Exception vectors, the protected call's fast path, and the way back to user mode.
//!
//! The user frame *is* the save area: sp_svc always rests on the current thread's frame stack, just
//! above the registers of the next free [`Frame`]. An exception from user mode pushes its registers
//! there, so a call leaves the caller's context where a return or a retry finds it.
//! The kernel runs with interrupts masked and never nests: an exception from a privileged mode is a kernel fault.

use core::arch::global_asm;
use core::mem::offset_of;

use crate::domain::Hot;
use crate::kernel::Kernel;
use crate::ssr::MAX_BINDINGS;
use crate::thread::Frame;
use ssr_manager::Binding;

abi::kinds! {
    /// Reason for entering the Rust part of the kernel.
    Entry {
        /// A kernel call.
        Call = 0, "kernel call";
        /// Data abort (DFSR, DFAR).
        DataAbort = 1, "data abort";
        /// Prefetch abort (IFSR, IFAR).
        PrefetchAbort = 2, "prefetch abort";
        /// Undefined instruction.
        Undefined = 3, "undefined instruction";
        /// Interrupt.
        Interrupt = 4, "interrupt";
    }
}

/// Bytes of the part of a frame that the entry code pushes: r0-r14, pc, cpsr.
const REGISTERS: usize = offset_of!(Frame, contextidr);

global_asm!(
    r#"
    .section .text.vectors, "ax"
    .arm
    .global arch_vectors
    .balign 32
arch_vectors:
    b       unexpected              @ reset: never taken after boot
    b       undefined_entry
    b       svc_entry
    b       prefetch_entry
    b       data_entry
    b       unexpected              @ HYP trap: not used
    b       irq_entry
    b       unexpected              @ FIQ: masked

    @ Kernel call. In: user registers, r7 = call word, sp = rest of the frame stack.
    @ Fast protected call: program -> object, free and running, SSR of at most a page or none.
    @ Whatever a compare finds unusual goes to Rust with the caller's registers saved.
svc_entry:
    tst     r7, #0xff
    bne     svc_other
    srsdb   sp!, #0x13
    stmdb   sp, {{r0-r14}}^
    cmp     r8, #{max_bindings}
    bhs     svc_saved
    ldr     r12, =ARCH_KERNEL + {bindings}
    add     r12, r12, r8, lsl #7
    ldm     r12, {{r6, r8, r10, r11}}     @ fast_generation, owner, object, used
    cmp     r9, #1                        @ 0 is no generation: it marks bindings that go the slow way
    cmphs   r6, r9
    ldreq   r6, [sp, #({domain} - 60)]
    cmpeq   r6, r8
    bne     svc_saved
    ldr     r6, [r12, #{epoch}]           @ reloaded since the object was rebuilt?
    ldr     lr, [r10, #{object_epoch}]
    ldrd    r8, r9, [r10, #{lock}]        @ lock, methods
    cmp     r6, lr
    cmpeq   r8, #0
    bne     svc_saved
    cmp     r9, r7, lsr #8
    bls     lent_call
call_go:
    @ From here the call happens. sp moves to the rest position of the new activation.
    sub     sp, sp, #({frame} - {registers} + 60)
    str     sp, [r10, #{lock}]
    ldrd    r8, r9, [r10, #{budget}]      @ budget, FAST kind word
    strd    r8, r9, [sp, #({f_budget} - {registers})]
    ldrd    r8, r9, [r12, #{contextidr}]
    stm     sp, {{r8, r9, r10, r12}}      @ Frame::contextidr to Frame::binding
    @ Reserved-TTBR0 step (ARM ARM B3.10.4): no walk may pair the old table with the new ASID.
    ldr     r6, =arch_empty_view
    mcr     p15, 0, r6, c2, c0, 0
    isb
    mcr     p15, 0, r8, c13, c0, 1
    isb
    mcr     p15, 0, r9, c2, c0, 0
    cmp     r11, #0
    beq     2f
    ldrd    r8, r9, [r12, #{ssr}]         @ SSR, pre-image
1:  ldm     r8!, {{r0-r6, lr}}
    subs    r11, r11, #32
    stm     r9!, {{r0-r6, lr}}
    bgt     1b
    add     r6, sp, #({frame} - {registers})
    ldm     r6, {{r0-r5}}
2:  mcr     p15, 0, r11, c13, c0, 2   @ TPIDRURW := 0 (r11 is 0 on both ways here)
    clrex
    add     lr, r10, #{context}
    ldm     lr, {{r6, r8-r14}}^           @ what the callee may not see is 0; sp = its stack
    rfedb   lr                            @ entry pc and cpsr lie just below the context

    @ A call that lends one range: in the caller's stack, heap or data it needs no walk through page tables.
    @ The range stays in the caller's saved registers. In: r9 = methods, r10, r12 as above.
lent_call:
    bic     lr, r7, #{lend_both}
    cmp     r9, lr, lsr #8
    bls     svc_saved
    ldr     r8, [r12, #{owner}]
    and     r6, r7, #{lend_both}
    cmp     r6, #{lend_both}
    beq     svc_saved
    mov     r7, lr
    cmp     r6, #{lend_read}
    moveq   r6, r2
    moveq   r9, r3
    movne   r6, r4
    movne   r9, r5
    .irp    interval, 0, 8, 16
    ldr     lr, [r8, #({own} + \interval)]
    ldr     r11, [r8, #({own} + \interval + 4)]
    sub     lr, r6, lr
    cmp     r11, lr
    subhs   lr, r11, lr                 @ room behind the address
    cmphs   lr, r9
    bhs     1f
    .endr
    b       svc_saved
1:  ldr     r11, [r12, #{used}]
    b       call_go

svc_other:
    cmp     r7, #1
    bne     svc_rest
    @ Fast return: the lock word is this activation's rest position, so nobody waits and nothing is unusual.
    ldrd    r8, r9, [sp, #({domain} - {registers})]   @ object, binding
    ldr     r10, [r8, #{lock}]
    cmp     r10, sp
    bicseq  r12, r0, #{would_block}     @ other errors come by another call
    bne     svc_save
    ldr     r11, [r9, #{ssr}]
    cmp     r11, #0
    beq     1f
    ldm     r11, {{r10, r11, r12}}        @ magic, used, session
    ldr     r6, ={magic}
    cmp     r10, r6
    ldreq   r6, [r9, #{session}]
    cmpeq   r12, r6
    bne     svc_save
    sub     r6, r11, #16
    cmp     r6, #(4096 - 16)
    bhi     svc_save
    add     r11, r11, #31
    bic     r11, r11, #31
    str     r11, [r9, #{used}]
1:  mov     r10, #0
    str     r10, [r8, #{lock}]
    mcr     p15, 0, r10, c13, c0, 2
    ldrd    r8, r9, [sp, #({frame} + {f_view} - {registers})]
    ldr     r6, =arch_empty_view
    mcr     p15, 0, r6, c2, c0, 0
    isb
    mcr     p15, 0, r8, c13, c0, 1
    isb
    mcr     p15, 0, r9, c2, c0, 0
    clrex
    add     lr, sp, #({frame} - {registers} + 20)
    ldm     lr, {{r5-r14}}^
    add     sp, sp, #({frame} - {registers} + 60)
    rfeia   sp!

svc_rest:
    cmp     r7, #3
    moveq   r0, #0
    movseq  pc, lr
svc_save:
    srsdb   sp!, #0x13
    stmdb   sp, {{r0-r14}}^
svc_saved:
    sub     r1, sp, #60
    mov     r0, #0
    @ To Rust: r0 = reason, r1 = frame with the saved context. Back: r0 = frame to resume.
enter:
    ldr     sp, =__kernel_stack_top
    bl      kernel_enter
    .global arch_resume
arch_resume:
    mov     sp, r0
    clrex
    ldm     sp, {{r0-r14}}^
    add     sp, sp, #60
    rfeia   sp!

    @ Aborts: only from user mode. [sp, #-4] of the report stack is scratch.
    .macro from_user adjust, reason
    .if \adjust
    sub     lr, lr, #\adjust
    .endif
    str     r0, [sp, #-4]
    mrs     r0, spsr
    tst     r0, #0xf
    ldr     r0, [sp, #-4]
    mov     sp, sp
    bne     9f
    srsdb   sp!, #0x13
    cps     #0x13
    stmdb   sp, {{r0-r14}}^
    sub     r1, sp, #60
    mov     r0, #\reason
    b       enter
9:  mov     r0, #\reason
    b       kernel_fault
    .endm

data_entry:
    from_user 8, 1
prefetch_entry:
    from_user 4, 2
undefined_entry:
    from_user 4, 3
irq_entry:
    sub     lr, lr, #4
    srsdb   sp!, #0x13
    cps     #0x13
    stmdb   sp, {{r0-r14}}^
    sub     r1, sp, #60
    mov     r0, #4
    b       enter

unexpected:
    mov     r0, #255
kernel_fault:
    mov     r1, lr
    mrs     r2, spsr
    cps     #0x17
    ldr     sp, =__panic_stack_top
    bl      kernel_fault_report
9:  b       9b
    .ltorg
"#,
    max_bindings = const MAX_BINDINGS,
    bindings = const offset_of!(Kernel, ssr),
    domain = const offset_of!(Frame, domain),
    registers = const REGISTERS,
    frame = const size_of::<Frame>(),
    f_view = const offset_of!(Frame, contextidr),
    f_budget = const offset_of!(Frame, budget),
    own = const offset_of!(crate::domain::Domain, own),
    would_block = const abi::Error::WouldBlock as u32,
    lend_both = const abi::call::LEND_READ | abi::call::LEND_WRITE,
    lend_read = const abi::call::LEND_READ,
    lock = const offset_of!(Hot, lock),
    object_epoch = const offset_of!(Hot, epoch),
    epoch = const offset_of!(Binding, epoch),
    budget = const offset_of!(Hot, budget),
    context = const offset_of!(Hot, context),
    owner = const offset_of!(Binding, owner),
    used = const offset_of!(Binding, used),
    ssr = const offset_of!(Binding, ssr),
    session = const offset_of!(Binding, session),
    contextidr = const offset_of!(Binding, contextidr),
    magic = const abi::ssr::MAGIC,
);

const _: () = assert!(REGISTERS == 68 && size_of::<Frame>() == 128);
const _: () = assert!(offset_of!(Frame, ttbr0) == REGISTERS + 4);
const _: () = assert!(offset_of!(Frame, domain) == REGISTERS + 8 && offset_of!(Frame, binding) == REGISTERS + 12);
const _: () = assert!(offset_of!(Hot, methods) == offset_of!(Hot, lock) + 4);
const _: () = assert!(offset_of!(Hot, context) == offset_of!(Hot, entry) + 8);
const _: () = assert!(offset_of!(Binding, preimage) == offset_of!(Binding, ssr) + 4);
const _: () = assert!(size_of::<Binding>() == 128);
