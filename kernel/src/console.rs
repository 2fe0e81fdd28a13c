//! The kernel's own messages, on the early console, and its last one.

use core::fmt::{self, Write};
use core::panic::PanicInfo;

use log::{LevelFilter, Log, Metadata, Record};

use crate::board;

/// Status of the emulator after a panic of the kernel.
const PANIC_STATUS: u8 = 101;

/// The early console: target of the `log` facade.
struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                board::put_byte(b'\r');
            }
            board::put_byte(byte);
        }
        Ok(())
    }
}

impl Log for Console {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // The console's writer cannot fail.
        let _ = writeln!(Console, "{}", record.args());
    }

    fn flush(&self) {}
}

/// Lets messages through, from information upwards. Nothing is printed before.
pub fn init() {
    // An error would mean that there is a logger already: this one.
    let _ = log::set_logger(&Console);
    log::set_max_level(LevelFilter::Info);
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    log::error!("\n[kernel] PANIC: {info}");
    board::exit(PANIC_STATUS)
}

/// A fault of the kernel itself: `reason` as in `arch::entry`, where, and the status saved with it.
#[unsafe(no_mangle)]
extern "C" fn kernel_fault_report(reason: u32, at: u32, status: u32) -> ! {
    let (data, prefetch) = (crate::arch::cpu::data_fault(), crate::arch::cpu::prefetch_fault());
    log::error!("\n[kernel] FAULT {reason} near {at:#x}, status {status:#x}, data {data:x?}, prefetch {prefetch:x?}");
    board::exit(PANIC_STATUS)
}
