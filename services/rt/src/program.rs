//! Programs: a `main`, started by the kernel with an argument and a heap.

use core::sync::atomic::{AtomicBool, Ordering};

static RUNNING: AtomicBool = AtomicBool::new(false);

/// Whether this image is a program.
#[cfg(target_os = "none")]
pub(crate) fn is_running() -> bool {
    RUNNING.load(Ordering::Relaxed)
}

/// Runs a program from its start to its end; [`program!`](crate::program) calls it. `heap` is the length of the heap
/// in bytes.
pub fn run(argument: u32, heap: u32, main: impl FnOnce(u32) -> u32) -> ! {
    RUNNING.store(true, Ordering::Relaxed);
    #[cfg(target_os = "none")]
    crate::heap::start_with(heap);
    #[cfg(not(target_os = "none"))]
    let _ = heap;
    crate::sys::exit(main(argument))
}
