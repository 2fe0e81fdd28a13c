//! What of a program's work with the injector safe Rust has no words for: a page at a fixed place, and the marks.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::mark;

/// A page in a `static` that holds a record for the injector from [`crate::OFFSET`] on.
#[repr(C, align(4096))]
pub struct Page<T> {
    /// Where the kernel links the frame when the program has ended.
    link: [u32; 2],
    record: UnsafeCell<T>,
    taken: AtomicBool,
}

const _: () = assert!(core::mem::offset_of!(Page<crate::Log>, record) == crate::OFFSET);
const _: () = assert!(core::mem::offset_of!(Page<crate::Summary>, record) == crate::OFFSET);

// SAFETY: `take` is the only way to the record, and gives it away once.
unsafe impl<T: Send> Sync for Page<T> {}

impl<T> Page<T> {
    /// A page with this record.
    pub const fn new(record: T) -> Self {
        Page { link: [0; 2], record: UnsafeCell::new(record), taken: AtomicBool::new(false) }
    }

    /// The record; `None` if somebody has it.
    #[allow(clippy::mut_from_ref)] // given away once: see the flag
    pub fn take(&'static self) -> Option<&'static mut T> {
        let free = !self.taken.swap(true, Ordering::Relaxed);
        // SAFETY: the flag was set by this call and is never cleared, so that no other reference to the record exists or will.
        free.then(|| unsafe { &mut *self.record.get() })
    }
}

/// The mark [`mark::BEGIN`].
pub fn begin() {
    // SAFETY: a hint without effect; what was written before is in memory by then, as the compiler assumes that this reads it.
    unsafe { core::arch::asm!(".inst {}", const mark::BEGIN, options(nostack, preserves_flags)) };
}

/// The mark [`mark::END`].
pub fn end() {
    // SAFETY: as for `begin`.
    unsafe { core::arch::asm!(".inst {}", const mark::END, options(nostack, preserves_flags)) };
}
