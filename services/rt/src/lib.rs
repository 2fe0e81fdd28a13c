//! The runtime of protected objects and of programs.
//!
//! A service is a type that implements [`Service`] and the trait of its interface; [`service!`] makes an image of
//! it. Everything that is unsafe about living behind a bare kernel entry is in here, so that a service is ordinary
//! safe Rust: where a call enters and leaves, the one open session ([`Session`]), lent buffers, the heap, panics,
//! and the calls into the kernel ([`sys`]). README.md shows how to write one.
//!
//! On the host the same code compiles, without a kernel behind it: calls are refused, and sessions and lent buffers
//! can be made for tests (`for_test`).
#![no_std]

#[cfg(target_os = "none")]
extern crate alloc;
#[cfg(any(test, not(target_os = "none")))]
extern crate std;

#[cfg(target_os = "none")]
use memops as _;

pub mod arch;
pub mod client;
mod heap;
mod lent;
#[cfg(target_os = "none")]
mod panic;
pub mod program;
#[cfg(target_os = "none")]
mod sabotage;
pub mod server;
mod session;
pub mod sys;
mod text;
mod word;

pub use abi;
pub use abi::call::Cause;
pub use abi::{Error, Events};
pub use lent::{LentRead, LentWrite};
pub use macros::{SsrState, interface};
pub use server::{Construct, Decision, Next, Service};
pub use session::{Opaque, OpaqueState, Session, SsrState, State};
pub use text::Text;
pub use word::{CallError, Reply, ServiceError, Word};

/// Makes a protected object of a service: `service!(Counter: tally::Tally);` in `main.rs`, with the type and the trait
/// of its interface, named by its full path.
///
/// Defines the entries, the place where the service lives, and what the host tool reads from the image (README.md). On
/// the host it defines a `main` that says that there is nothing to run.
#[macro_export]
macro_rules! service {
    ($service:ty : $interface:path) => {
        #[cfg(target_os = "none")]
        #[allow(unsafe_code)] // the entries; all that is unsafe about them is argued in `rt::server`
        mod object_entry {
            use super::*;

            struct ThisObject;

            static THIS_SLOT: $crate::server::Slot<$service> = $crate::server::Slot::new();

            // SAFETY: one slot, and it has no other name outside this block.
            unsafe impl $crate::server::Object for ThisObject {
                type Service = $service;
                #[inline(always)]
                fn slot() -> &'static $crate::server::Slot<$service> {
                    &THIS_SLOT
                }
            }

            $interface!(ThisObject);

            core::arch::global_asm!(
                ".pushsection .text.entry, \"ax\", %progbits",
                ".arm",
                ".p2align 2",
                ".global __po_hook",
                ".type __po_hook, %function",
                // r4-r7 are the fifth to eighth argument of `rt::server::hook`, which does not return.
                "__po_hook:",
                "push {{r4, r5, r6, r7}}",
                "b {hook}",
                ".popsection",
                ".global __po_ssr_pages",
                ".set __po_ssr_pages, {ssr_pages}",
                hook = sym $crate::server::hook::<ThisObject>,
                ssr_pages = const <<$service as $crate::Service>::State as $crate::State>::PAGES,
            );
        }

        #[cfg(not(target_os = "none"))]
        fn main() {
            $crate::nothing_to_run::<$service>();
        }
    };
}

/// Makes a program of a function: `program!(run);` with `fn run(argument: u32) -> u32`, which returns its status. It
/// stands in the root of the crate under another name than `main`, which is the host's, or in a module.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        #[cfg(target_os = "none")]
        #[allow(unsafe_code)] // the entry: the kernel enters it once, with sp at the top of the stack
        mod program_entry {
            use super::*;

            extern "C" fn enter_program(argument: u32, heap: u32) -> ! {
                $crate::program::run(argument, heap, $main)
            }

            core::arch::global_asm!(
                ".pushsection .text.entry, \"ax\", %progbits",
                ".arm",
                ".p2align 2",
                ".global __program_start",
                ".type __program_start, %function",
                "__program_start:",
                "b {start}",
                ".popsection",
                start = sym enter_program,
            );
        }

        #[cfg(not(target_os = "none"))]
        fn main() {
            let _: fn(u32) -> u32 = $main;
            $crate::nothing_to_run::<()>();
        }
    };
}

/// What the binary of a service or program does on the host.
#[cfg(not(target_os = "none"))]
pub fn nothing_to_run<T>() {
    std::eprintln!("this is a part of the system's image and runs there only: see `cargo xtask run`");
    std::process::exit(2);
}
