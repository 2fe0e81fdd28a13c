//! The end of an activation or a program that panics: the kernel is told what and where.

use core::fmt::Write;
use core::panic::PanicInfo;

use abi::KernelCall;

use crate::arch::{self, UNUSED, used};
use crate::text::Text;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut text = Text::<200>::new();
    // `Text` refuses nothing: it cuts.
    let _ = write!(text, "{}", info.message());
    // How the standard handler of a failed allocation words its panic; with the allocator's own word for it, nothing
    // else can be meant. A program has no one to recover it: there it is a panic like any other.
    if crate::heap::refused() && text.as_str().starts_with("memory allocation of") && !crate::program::is_running() {
        arch::leave(KernelCall::HeapExhausted, [UNUSED; 5]);
    }
    if let Some(place) = info.location() {
        let _ = write!(text, ", {}:{}", place.file(), place.line());
    }
    let text = text.as_str();
    let (file, line) = info.location().map_or(("", 0), |place| (place.file(), place.line()));
    arch::leave(
        KernelCall::Panic,
        [
            used(text.as_ptr().expose_provenance() as u32),
            used(text.len() as u32),
            used(file.as_ptr().expose_provenance() as u32),
            used(file.len() as u32),
            used(line),
        ],
    )
}
