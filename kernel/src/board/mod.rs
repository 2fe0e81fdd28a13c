//! The board that the kernel is built for, as the rest of the kernel sees it, which knows no board's name.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicBool, Ordering};

use boards::CHOSEN;
use boards::devices::{Controller, Timer, Uart, Watchdog};
use boards::selected::{self, CONTROLLER, TIMER, UART, WATCHDOG};

use crate::arch::boot;
use crate::arch::mmu::Range;

/// Name of the board.
pub const NAME: &str = CHOSEN.name;
/// Memory.
pub const RAM: Range = Range { start: CHOSEN.memory_base, length: CHOSEN.memory_size };
/// Devices that the kernel itself uses.
pub const DEVICES: &[Range] = CHOSEN.windows;
/// Interrupt of the tick.
pub const TICK_INTERRUPT: u32 = CHOSEN.tick;

// For the linker script.
global_asm!(".global __load_address", ".set __load_address, {}", const CHOSEN.load_address);

/// Whether a service may have these registers: no memory, nothing that the kernel keeps to itself.
pub fn grantable(address: u32, length: u32) -> bool {
    CHOSEN.grantable(address, length)
}

/// Whether a service may have this interrupt: a device's, not the tick.
pub fn grantable_line(interrupt: u32) -> bool {
    let (first, end) = CHOSEN.interrupts;
    (first..end).contains(&interrupt) && interrupt != TICK_INTERRUPT
}

/// Sets up the interrupt controller and starts the tick of a millisecond, and the watchdog.
pub fn init() {
    selected::prepare();
    CONTROLLER.init();
    CONTROLLER.unmask(TICK_INTERRUPT);
    TIMER.start();
    WATCHDOG.start();
}

/// The pending interrupt of highest priority; it stays active until [`end_of_interrupt`].
pub fn acknowledge() -> Option<u32> {
    CONTROLLER.acknowledge()
}

/// Ends the handling of an interrupt.
pub fn end_of_interrupt(interrupt: u32) {
    CONTROLLER.end(interrupt);
}

/// Lets an interrupt through.
pub fn unmask(interrupt: u32) {
    CONTROLLER.unmask(interrupt);
}

/// Keeps an interrupt back.
pub fn mask(interrupt: u32) {
    CONTROLLER.mask(interrupt);
}

/// Arms the tick timer again, and feeds the watchdog: the kernel has come round to its ticks.
pub fn reload_tick() {
    TIMER.reload();
    WATCHDOG.feed();
}

/// Microseconds since the counter started.
pub fn now_us() -> u64 {
    TIMER.now_us()
}

/// Writes a byte to the early console.
pub fn put_byte(byte: u8) {
    UART.put(byte);
}

/// Microseconds until a restart that was asked for counts as failed: the slowest watchdog takes a second.
const RESTART_US: u64 = 3_000_000;

/// Starts the board anew. Where that does not work, for instance because an emulator models no reset, the kernel ends.
pub fn restart() -> ! {
    static TRIED: AtomicBool = AtomicBool::new(false);
    let again = TRIED.swap(true, Ordering::Relaxed);
    selected::restart(boot::started_in_hyp());
    let until = now_us() + RESTART_US;
    while now_us() < until || again {}
    panic!("the board did not start anew")
}

global_asm!(
    ".section .text.vectors, \"ax\"",
    ".arm",
    ".balign 32",
    ".global board_no_emulator",
    "board_no_emulator:",
    ".rept 8",
    "b {restart}",
    ".endr",
    restart = sym restart_instead,
);

/// There was no emulator to leave.
extern "C" fn restart_instead() -> ! {
    restart()
}

/// Leaves the emulator with this status. Without one, the board starts anew.
///
/// To leave is a kernel call with a number that an emulator intercepts (semihosting). A processor takes it as the
/// exception that it is, and so, as any other from now on, by vectors that all lead to a restart.
pub fn exit(status: u8) -> ! {
    unsafe extern "C" {
        static board_no_emulator: u8;
    }
    let vectors = &raw const board_no_emulator as u32;
    // SAFETY: VBAR (ARM ARM B4.1.156): a table of vectors in kernel text. The kernel does not come back from here.
    unsafe { asm!("mcr p15, 0, {}, c12, c0, 0", "isb", in(reg) vectors, options(nostack, preserves_flags)) };
    semihosting::process::exit(i32::from(status))
}
