//! The two instructions that matter: `svc` into the kernel, and the same without a way back.
//!
//! On the host (tests of services' logic) there is no kernel: every call is refused with
//! [`Error::NoSuchCall`](abi::Error), and what does not return panics.

use core::mem::MaybeUninit;

use abi::{Handle, KernelCall};

/// A register of a call: what is not initialised costs no instruction, and the kernel does not look at it.
pub type Register = MaybeUninit<u32>;

/// A register that carries nothing.
pub const UNUSED: Register = MaybeUninit::uninit();

/// A register with a value.
#[inline(always)]
pub const fn used(value: u32) -> Register {
    MaybeUninit::new(value)
}

/// Protected method call: `word` is the call word, `args` r0-r5. Returns r0-r4.
///
/// # Safety
/// Ranges that `word` lends are the caller's own: with `LEND_READ` readable, with `LEND_WRITE` borrowed mutably
/// for the length of the call. Registers that the method takes as arguments are initialised.
#[cfg(target_os = "none")]
#[inline(always)]
pub unsafe fn method_call(handle: Handle, word: u32, args: [Register; 6]) -> [u32; 5] {
    let (r0, r1, r2, r3, r4): (u32, u32, u32, u32, u32);
    // SAFETY: `svc #0` changes the registers named here and memory that the caller lends, nothing else.
    unsafe {
        core::arch::asm!(
            "svc #0",
            inlateout("r0") args[0] => r0,
            inlateout("r1") args[1] => r1,
            inlateout("r2") args[2] => r2,
            inlateout("r3") args[3] => r3,
            inlateout("r4") args[4] => r4,
            inlateout("r5") args[5] => _,
            in("r7") word,
            inlateout("r8") handle.index => _,
            inlateout("r9") handle.generation => _,
            lateout("r12") _,
            options(nostack),
        );
    }
    [r0, r1, r2, r3, r4]
}

/// Kernel call: `args` are r0-r5. Returns r0-r4.
///
/// # Safety
/// Ranges that `args` name are the caller's own, and borrowed mutably where the call writes. Registers that
/// the call looks at are initialised.
#[cfg(target_os = "none")]
#[inline(always)]
pub unsafe fn kernel_call(call: KernelCall, args: [Register; 6]) -> [u32; 5] {
    let (r0, r1, r2, r3, r4): (u32, u32, u32, u32, u32);
    // SAFETY: `svc #0` changes the registers named here and memory that the caller names, nothing else.
    unsafe {
        core::arch::asm!(
            "svc #0",
            inlateout("r0") args[0] => r0,
            inlateout("r1") args[1] => r1,
            inlateout("r2") args[2] => r2,
            inlateout("r3") args[3] => r3,
            inlateout("r4") args[4] => r4,
            inlateout("r5") args[5] => _,
            in("r7") call as u32,
            lateout("r8") _,
            lateout("r9") _,
            lateout("r12") _,
            options(nostack),
        );
    }
    [r0, r1, r2, r3, r4]
}

/// A kernel call that does not return: `args` are r0-r4.
#[cfg(target_os = "none")]
#[inline(always)]
pub fn leave(call: KernelCall, args: [Register; 5]) -> ! {
    // SAFETY: the kernel ends this activation or this program; nothing of it runs again. Should the call come
    // back all the same, `udf` makes that a failure instead of running into whatever follows.
    unsafe {
        core::arch::asm!(
            "svc #0",
            "udf #1",
            in("r0") args[0],
            in("r1") args[1],
            in("r2") args[2],
            in("r3") args[3],
            in("r4") args[4],
            in("r7") call as u32,
            options(noreturn, nostack),
        );
    }
}

/// On the host: refused.
///
/// # Safety
/// None to keep; it has the signature of the target's.
#[cfg(not(target_os = "none"))]
pub unsafe fn method_call(_handle: Handle, _word: u32, _args: [Register; 6]) -> [u32; 5] {
    [abi::Error::NoSuchCall as u32, 0, 0, 0, 0]
}

/// On the host: refused.
///
/// # Safety
/// None to keep; it has the signature of the target's.
#[cfg(not(target_os = "none"))]
pub unsafe fn kernel_call(_call: KernelCall, _args: [Register; 6]) -> [u32; 5] {
    [abi::Error::NoSuchCall as u32, 0, 0, 0, 0]
}

/// On the host: panics.
#[cfg(not(target_os = "none"))]
pub fn leave(call: KernelCall, _args: [Register; 5]) -> ! {
    panic!("there is no kernel on the host to take {call:?}");
}
