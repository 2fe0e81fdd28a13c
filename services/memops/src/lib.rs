//! `memcpy`, `memmove`, `memset`, `memcmp`, `bcmp` and the `__aeabi_mem*` family for ARMv7-A, in ARM state.
//!
//! The compiler calls these functions for every larger copy, fill or comparison. The ones that
//! `compiler_builtins` brings take an instruction a byte (a fill of 64 KiB: 65,551 instructions); these move
//! 32 bytes with two. The contract of each is the C standard's, and for `__aeabi_*` the "Run-time ABI for
//! the Arm Architecture" (section 4.3.4): the numbered variants promise alignment, none returns anything.
//!
//! What holds here:
//! - No word is read or written at an unaligned address: the code runs with alignment checks on, with the MMU
//!   off, and on device memory.
//! - No byte outside the destination is written. Only words are read that hold at least one byte of the source.
//! - r0-r3 and r12 are overwritten as the procedure call standard allows, all else is kept. At most 28 bytes of stack.
//!
//! The symbols are strong, those of `compiler_builtins` weak or absent: linking this crate is enough (`use memops as _;`).
#![no_std]

#[cfg(all(target_arch = "arm", target_os = "none"))]
core::arch::global_asm!(include_str!("copy.s"), options(raw));
#[cfg(all(target_arch = "arm", target_os = "none"))]
core::arch::global_asm!(include_str!("fill.s"), options(raw));
#[cfg(all(target_arch = "arm", target_os = "none"))]
core::arch::global_asm!(include_str!("compare.s"), options(raw));
