//! The kernel's own messages, on the early console, and its last one.

use core::fmt::{self, Write};
use core::panic::PanicInfo;

use crate::board;

/// Status of the emulator after a panic of the kernel.
const PANIC_STATUS: u8 = 101;

/// The early console as a formatter's target.
pub struct Console;

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

/// Writes a line to the early console.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => {{
        use core::fmt::Write;
        // The console's writer cannot fail.
        let _ = writeln!($crate::log::Console, $($argument)*);
    }};
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    crate::log!("\n[kernel] PANIC: {info}");
    board::exit(PANIC_STATUS)
}

/// A fault of the kernel itself: `reason` as in `arch::entry`, where, and the status saved with it.
#[unsafe(no_mangle)]
extern "C" fn kernel_fault_report(reason: u32, at: u32, status: u32) -> ! {
    let (data, prefetch) = (crate::arch::cpu::data_fault(), crate::arch::cpu::prefetch_fault());
    crate::log!("\n[kernel] FAULT {reason} near {at:#x}, status {status:#x}, data {data:x?}, prefetch {prefetch:x?}");
    board::exit(PANIC_STATUS)
}
