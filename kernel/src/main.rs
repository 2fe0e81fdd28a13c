//! The microkernel of curios-rs: mechanism only, static pools, no heap, no recursion.
//!
//! Protected objects run in user mode, each in its own domain; a call between them is a wrapper's work
//! ([`call`]), their clients' state lives in Server State Regions ([`ssr`]), and a failed object is rebuilt in place
//! ([`recover`]). The kernel runs with interrupts masked, on one stack, and is entered only from user mode.
#![no_std]
#![no_main]

#[cfg(target_os = "none")]
extern crate memops as _;

mod arch;
mod board;
mod call;
mod console;
mod control;
mod copy;
mod domain;
mod event;
mod failure;
mod image;
mod kernel;
mod machine;
mod mem;
mod monitor;
mod policy;
mod process;
mod recover;
mod session;
mod ssr;
mod syscall;
mod thread;

use core::cell::UnsafeCell;

use abi::image::Rights;

use arch::entry::Entry;
use arch::{cpu, mmu};
use kernel::Kernel;

struct Cell(UnsafeCell<Kernel>);

// SAFETY: one processor, and the kernel neither nests nor is interrupted: `kernel_enter` and `kernel_main` are
// the only ones to take the reference, never at the same time.
unsafe impl Sync for Cell {}

/// The kernel's state. The entry code finds the bindings in it.
#[unsafe(no_mangle)]
static ARCH_KERNEL: Cell = Cell(UnsafeCell::new(Kernel::INITIAL));

unsafe extern "C" {
    static __image_start: u8;
    fn arch_resume(frame: u32) -> !;
}

/// From the entry code, with the saved context of the current thread. Returns the frame to resume.
#[unsafe(no_mangle)]
extern "C" fn kernel_enter(reason: u32, frame: u32) -> u32 {
    // SAFETY: see `Cell`.
    let kernel = unsafe { &mut *ARCH_KERNEL.0.get() };
    kernel.enter(Entry::from_number(reason).unwrap_or(Entry::Interrupt), frame)
}

/// From the boot code: SVC mode, MMU off, bss zeroed.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(_device_tree: u32) -> ! {
    let image_start = &raw const __image_start as u32;
    // The header of the image is read before the MMU is on, as the mapping depends on its length; it is checked below.
    // SAFETY: RAM behind the kernel, aligned to a megabyte; any bytes are a valid `[u32; 8]`.
    let header = unsafe { *(image_start as *const [u32; 8]) };
    let room = board::RAM.start + board::RAM.length - image_start;
    let length = header[3].min(room).next_multiple_of(1 << 20).min(room);
    mmu::init(board::RAM, board::DEVICES, mmu::Range { start: image_start, length });
    console::init();
    log::info!("[boot] curios-rs {} on {}", env!("CARGO_PKG_VERSION"), board::NAME);
    // SAFETY: the boot image lies there, is mapped read-only from now on and nothing else refers to it.
    let bytes = unsafe { core::slice::from_raw_parts(image_start as *const u8, length as usize) };
    let image = image::accept(bytes);
    // SAFETY: see `Cell`; boot is the only thing that runs.
    let kernel = unsafe { &mut *ARCH_KERNEL.0.get() };
    kernel.recovery = image.recovery();
    cpu::init(image.entries().iter().any(|entry| entry.may(Rights::COUNTER)));
    // SAFETY: RAM behind the boot image, mapped one to one by `mmu::init`; nothing refers to it.
    unsafe { kernel.machine.frames.init(image_start + length, board::RAM.start + board::RAM.length) };
    if let Err((entry, pool)) = kernel.start_all() {
        panic!("{} cannot be started: {pool:?} used up", image.entries()[entry].name_str());
    }
    board::init();
    let frame = kernel.run();
    // SAFETY: `run` returns the frame of a thread whose context is complete, and has set its view.
    unsafe { arch_resume(frame) }
}
