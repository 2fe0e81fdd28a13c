//! Drivers of what the kernel needs itself: interrupt controllers, tick timers, watchdogs, the early console.
//!
//! Each is written against [`Registers`], so that the sequence of its accesses is tested on the host against the
//! manual's. Offsets and values are named with the section of the manual that defines them.

pub mod clock;
#[cfg(test)]
pub mod fake;
#[cfg(target_os = "none")]
pub mod generic_timer;
pub mod gic;
pub mod ns16550;
pub mod omap_intc;
pub mod omap_timer;
pub mod pl011;
pub mod prcm;
#[cfg(target_os = "none")]
pub mod psci;
pub mod sunxi;

/// The kernel sees the registers at physical address P at P | `DEVICE_WINDOW`: out of the way of user space, which is
/// the lowest 32 MiB and on some boards would hide them, and of memory, which ends below on all of them.
pub const DEVICE_WINDOW: u32 = 0xc000_0000;

/// A bank of 32-bit registers. Offsets are in bytes, multiples of 4.
pub trait Registers {
    /// Reads a register.
    fn read(&self, offset: u32) -> u32;
    /// Writes a register.
    fn write(&self, offset: u32, value: u32);

    /// Changes some bits of a register: clears, then sets.
    fn modify(&self, offset: u32, clear: u32, set: u32) {
        self.write(offset, self.read(offset) & !clear | set);
    }
}

/// Registers of the board, mapped for the kernel as device memory.
pub struct Mmio {
    base: usize,
}

impl Mmio {
    /// The registers from a physical address on.
    ///
    /// # Safety
    /// The kernel maps them at their place in the window of devices before it uses them ([`crate::Board::windows`]), no
    /// Rust object lies there, and accesses within what the driver's manual describes have no effect on memory.
    pub const unsafe fn at(physical: u32) -> Self {
        Mmio { base: (physical | DEVICE_WINDOW) as usize }
    }
}

impl Registers for Mmio {
    fn read(&self, offset: u32) -> u32 {
        // SAFETY: the promise of whoever made this; the access is aligned and volatile.
        unsafe { core::ptr::with_exposed_provenance::<u32>(self.base + offset as usize).read_volatile() }
    }

    fn write(&self, offset: u32, value: u32) {
        // SAFETY: as above.
        unsafe { core::ptr::with_exposed_provenance_mut::<u32>(self.base + offset as usize).write_volatile(value) }
    }
}

/// An interrupt controller.
pub trait Controller {
    /// Masks every source and lets the processor be interrupted.
    fn init(&self);
    /// The pending interrupt of highest priority, if any; it stays active until [`Controller::end`].
    fn acknowledge(&self) -> Option<u32>;
    /// Ends the handling of an interrupt.
    fn end(&self, interrupt: u32);
    /// Lets a source through.
    fn unmask(&self, interrupt: u32);
    /// Keeps a source back.
    fn mask(&self, interrupt: u32);
}

/// A timer that ticks a thousand times a second, and a clock.
pub trait Timer {
    /// Starts both.
    fn start(&self);
    /// Takes the interrupt of a tick back, and arms the next one.
    fn reload(&self);
    /// Microseconds since the clock started. It never goes back, as long as it is read at each tick.
    fn now_us(&self) -> u64;
}

/// A UART as the early console: output alone, by polling. Everything else is the console service's.
pub trait Uart {
    /// Writes a byte, waiting for room; not forever, as the UART may be switched off.
    fn put(&self, byte: u8);
}

/// A watchdog: it resets the board unless it is fed.
pub trait Watchdog {
    /// Starts it.
    fn start(&self);
    /// Gives it another full period.
    fn feed(&self);
}

/// A board without a watchdog.
pub struct NoWatchdog;

impl Watchdog for NoWatchdog {
    fn start(&self) {}
    fn feed(&self) {}
}

/// Looks at a UART that has no room: a character at 9,600 baud takes a millisecond.
const MAX_WAIT: u32 = 1_000_000;

/// Waits for something, but not forever.
fn wait_until(mut done: impl FnMut() -> bool) {
    (0..MAX_WAIT).take_while(|_| !done()).for_each(drop);
}

/// Waits until all writes so far have reached their devices (DSB, ARM ARM A3.8.3).
fn complete() {
    // SAFETY: a barrier.
    #[cfg(target_os = "none")]
    unsafe {
        core::arch::asm!("dsb", options(nostack, preserves_flags))
    };
}
