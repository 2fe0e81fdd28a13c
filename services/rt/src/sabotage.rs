//! Failing on purpose: each kind done in earnest, so that what the kernel detects is the real thing.
//!
//! Nothing here is reached but through the hook entry with [`abi::Hook::Sabotaged`]. This is the one module of the
//! services whose `unsafe` breaks rules instead of keeping them: each block ends in a failure of this activation,
//! after which the kernel rebuilds the object, so that nothing that it broke is used again.

use alloc::alloc::{alloc, handle_alloc_error};
use core::alloc::Layout;
use core::arch::asm;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::failure::{Moment, Sabotage, SabotageKind};
use abi::layout::{COMMON_BASE, HEAP_BASE, PAGE, SSR_BASE};

/// An address in page 0, which is never mapped.
const UNMAPPED: u32 = 0x100;
/// An address of the kernel's image, where RAM begins plus its offset.
const KERNEL: u32 = 0x4001_0000;

/// The failure that is still to come in this activation; 0 for none.
static PENDING: AtomicU32 = AtomicU32::new(0);

/// Arms a sabotage; strikes before the method's first instruction if that is its moment.
pub(crate) fn before_method(word: u32) {
    PENDING.store(word, Ordering::Relaxed);
    strike_at(|moment| moment == Moment::Entry);
}

/// Strikes at the first copy from or to a lent buffer.
#[inline(always)]
pub(crate) fn before_copy() {
    if PENDING.load(Ordering::Relaxed) != 0 {
        strike_at(|moment| moment == Moment::Copy);
    }
}

/// Strikes after the method, if it has not struck before.
pub(crate) fn after_method() {
    strike_at(|_| true);
}

#[cold]
#[inline(never)]
fn strike_at(is_now: impl FnOnce(Moment) -> bool) {
    let Some(sabotage) = Sabotage::from_word(PENDING.load(Ordering::Relaxed)) else {
        return;
    };
    if is_now(sabotage.moment) {
        PENDING.store(0, Ordering::Relaxed);
        strike(sabotage.kind);
    }
}

/// Fails. Returns only for what is detected later.
fn strike(kind: SabotageKind) {
    match kind {
        SabotageKind::Panic => panic!("sabotage"),
        SabotageKind::DataAbort => {
            // SAFETY: reads an unmapped address: a data abort.
            unsafe { asm!("ldr {0}, [{0}]", inout(reg) UNMAPPED => _) }
        }
        SabotageKind::PrefetchAbort => jump(UNMAPPED),
        SabotageKind::Undefined => {
            // SAFETY: permanently undefined: the activation ends here.
            unsafe { asm!("udf #0") }
        }
        SabotageKind::Alignment => {
            let words = [0u64; 2];
            // SAFETY: `ldrd` from an address that is no multiple of 4 faults whatever SCTLR.A says (ARM ARM, A3.2.1).
            unsafe { asm!("ldrd r0, r1, [r2]", in("r2") words.as_ptr().addr() as u32 + 1, out("r0") _, out("r1") _) }
        }
        SabotageKind::StackOverflow => {
            black_box(recurse(0));
        }
        SabotageKind::EndlessLoop => loop {
            black_box(());
        },
        SabotageKind::ForeignSsr => {
            // The page after the own SSR: were sessions neighbours, another client's would lie there.
            store(SSR_BASE + own_ssr_bytes(), u32::MAX);
        }
        SabotageKind::KernelWrite => store(KERNEL, u32::MAX),
        SabotageKind::JumpToData => {
            // `bx lr`: were data executable, the jump would come back and nothing would be detected.
            static mut CODE: u32 = 0xe12f_ff1e;
            jump((&raw mut CODE).addr() as u32);
        }
        SabotageKind::HeapCorruption => corrupt_heap(),
        SabotageKind::SsrHeader => store(SSR_BASE, !abi::ssr::MAGIC),
    }
}

/// Bytes of the SSR: the image says so itself.
fn own_ssr_bytes() -> u32 {
    let pages: u32;
    // SAFETY: loads a constant that `service!` defines as an absolute symbol.
    unsafe { asm!("movw {0}, #:lower16:__po_ssr_pages", out(reg) pages, options(nomem, nostack, pure)) }
    pages * PAGE
}

fn jump(address: u32) {
    // SAFETY: the target cannot be executed: a prefetch abort. Should the jump come back, `lr` and the registers that
    // a function may change are declared as changed.
    unsafe {
        asm!(
            "blx r0",
            inout("r0") address => _,
            out("r1") _,
            out("r2") _,
            out("r3") _,
            out("r12") _,
            out("lr") _,
        )
    }
}

fn store(address: u32, value: u32) {
    // SAFETY: an address that this object may not write (a data abort), or its own SSR's header, which the kernel
    // examines before it uses the SSR again.
    unsafe { asm!("str {0}, [{1}]", in(reg) value, in(reg) address) }
}

/// Recursion without an end: a frame of its own for each call.
#[inline(never)]
fn recurse(depth: u32) -> u32 {
    let frame = black_box([depth; 64]);
    if black_box(false) {
        return 0;
    }
    recurse(depth + 1) + black_box(frame)[depth as usize % 64]
}

/// Overwrites all of the heap's own records, then uses it until that shows.
fn corrupt_heap() {
    let len = crate::heap::len();
    if len == 0 {
        // No heap: the write itself is the failure.
        store(HEAP_BASE, u32::MAX);
        return;
    }
    for address in (HEAP_BASE..HEAP_BASE + len).step_by(4) {
        store(address, COMMON_BASE | 0xa5);
    }
    for size in (0u32..).map(|step| 64 << (step % 12)) {
        let Ok(layout) = Layout::from_size_align(size, 8) else {
            return;
        };
        // SAFETY: the layout has a size. What comes back is used as the memory it is said to be.
        let block = black_box(unsafe { alloc(layout) });
        if block.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: in earnest: an allocator in order would make this write valid.
        unsafe { black_box(block).write_bytes(0x5a, size) };
    }
}
