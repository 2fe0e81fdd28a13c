//! Kernel calls: numbers, registers, handles.
//!
//! A call is `svc #0` from user mode. r7 holds the call word: the call number in bits 0-7; for
//! [`KernelCall::Call`] the method in bits 8-23 and the lending flags in bits 24-25. Data goes in
//! r0-r5; results come back in r0 (0 or an [`crate::Error`] code) and r1-r4. All other registers
//! come back unchanged, except r5, r8, r9 and r12, which a caller must treat as overwritten.

use crate::error::Error;

/// Numbers of the kernel calls (bits 0-7 of r7).
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelCall {
    /// Protected method call: r8 = handle index, r9 = handle generation, r0-r5 = arguments.
    /// With [`LEND_READ`] r2, r3 are address and length of the range lent for reading; with
    /// [`LEND_WRITE`] r4, r5 those of the range lent for writing.
    Call = 0,
    /// Ends an activation: r0 = 0 or a service error code, r1-r4 = results.
    Return = 1,
    /// As [`KernelCall::Return`], and asks for the `flush` hook after the commit.
    ReturnFlush = 2,
    /// Does nothing: the cheapest kernel call.
    Null = 3,
    /// Gives the rest of the time slice away (programs only).
    Yield = 4,
    /// Opens a session: r0-r3 = name of the service (16 bytes, zero padded, little endian).
    /// Returns r1 = handle index, r2 = handle generation.
    Bind = 5,
    /// Closes a session: r0 = handle index, r1 = generation.
    Unbind = 6,
    /// Copies from the range lent for reading: r0 = offset in it, r1 = own destination, r2 = length in bytes.
    CopyIn = 7,
    /// Copies to the range lent for writing: r0 = offset in it, r1 = own source, r2 = length in bytes.
    CopyOut = 8,
    /// Reports a panic: r0, r1 = address and length of the message. In a service this is a failure
    /// of the activation, in a program the end of the program. Does not return.
    Panic = 9,
    /// Ends the program: r0 = status. Does not return.
    Exit = 10,
    /// Starts a program: r0-r3 = name, r4 = argument. Returns r1 = process number. Right `SPAWN`.
    Spawn = 11,
    /// Waits for the end of a process that the caller spawned: r0 = process number. Returns r1 = status.
    Wait = 12,
    /// Ends a process that the caller spawned: r0 = process number.
    Kill = 13,
    /// Leaves the processor for r0 ticks (programs only). Right `PAUSE`.
    Pause = 14,
    /// The time since boot: returns r1, r2 = low and high word, in microseconds. Right `TIME`.
    Time = 15,
    /// Reads a record about the system: r0 = [`crate::info::Topic`], r1 = index, r2 = own buffer,
    /// r3 = its length. Returns r1 = bytes written. Right `INFO`.
    Info = 16,
    /// Arms a failure: r0-r3 = name of the service, r4 = [`crate::Sabotage`] word. The service
    /// fails so at its next call. Right `SABOTAGE`.
    Sabotage = 17,
    /// Ends the system: r0 = status (0-255). Right `SHUTDOWN`.
    Shutdown = 18,
    /// Writes to the kernel's log: r0, r1 = address and length (UTF-8, at most 256 bytes). Right `LOG`.
    Log = 19,
    /// The failure of the heap that the service does not handle (from its allocation error handler).
    HeapExhausted = 20,
}

impl TryFrom<u32> for KernelCall {
    type Error = Error;

    fn try_from(number: u32) -> Result<Self, Error> {
        use KernelCall::*;
        const ALL: [KernelCall; 21] = [
            Call,
            Return,
            ReturnFlush,
            Null,
            Yield,
            Bind,
            Unbind,
            CopyIn,
            CopyOut,
            Panic,
            Exit,
            Spawn,
            Wait,
            Kill,
            Pause,
            Time,
            Info,
            Sabotage,
            Shutdown,
            Log,
            HeapExhausted,
        ];
        ALL.get(number as usize).copied().ok_or(Error::NoSuchCall)
    }
}

/// Bit of r7: r2, r3 are a range lent for reading.
pub const LEND_READ: u32 = 1 << 24;
/// Bit of r7: r4, r5 are a range lent for writing.
pub const LEND_WRITE: u32 = 1 << 25;
/// Position of the method number in r7.
pub const METHOD_SHIFT: u32 = 8;
/// Mask of the method number after shifting.
pub const METHOD_MASK: u32 = 0xffff;

/// A client's reference to its session with a service. It stays valid while the service is
/// restarted; after `unbind`, or when the kernel revoked the session, it is detected as stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Handle {
    /// Index of the binding.
    pub index: u32,
    /// Generation of the binding; never 0.
    pub generation: u32,
}

/// What the kernel enters a protected object's hook entry for (bits 0-7 of r7).
///
/// Method calls use the object's call entry instead, with the method number in bits 8-23 of r7.
/// In both cases sp is the top of the object's stack (8-byte aligned), and every register that is not named is 0.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Build the object: r0 = [`Cause`], r1 = length of the heap, r2 = length of the common region,
    /// r3 = argument from the boot list. No session is open.
    Construct = 0,
    /// A new client: its SSR is zeroed but for the header. r0 = session number.
    Open = 1,
    /// The SSR was restored or the object rebuilt: derive private state from it. r0 = session number.
    Reload = 2,
    /// The request is committed: put out what was held back. r0 = session number.
    Flush = 3,
    /// The client is gone or leaves. r0 = session number.
    Close = 4,
    /// A method call, to fail as [`crate::Sabotage`] in r6 says; method in bits 8-23 of r7, r0-r5 as for the call.
    Sabotaged = 5,
}

impl TryFrom<u32> for Hook {
    type Error = Error;

    fn try_from(number: u32) -> Result<Self, Error> {
        use Hook::*;
        [Construct, Open, Reload, Flush, Close, Sabotaged].get(number as usize).copied().ok_or(Error::NoSuchCall)
    }
}

/// Why a constructor runs.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// First start: the common region holds its initial content.
    Boot = 0,
    /// Rebuilt in place after a failure: common region and SSRs are as the last committed request left them.
    Recovery = 1,
}

/// Packs a name of at most 16 bytes for [`KernelCall::Bind`] and its kin. Longer names are cut.
pub const fn pack_name(name: &str) -> [u8; 16] {
    let bytes = name.as_bytes();
    let mut packed = [0; 16];
    let mut i = 0;
    while i < bytes.len() && i < 16 {
        packed[i] = bytes[i];
        i += 1;
    }
    packed
}

/// The four register words of a packed name.
pub const fn name_words(name: &[u8; 16]) -> [u32; 4] {
    let mut words = [0; 4];
    let mut i = 0;
    while i < 4 {
        words[i] = u32::from_le_bytes([name[4 * i], name[4 * i + 1], name[4 * i + 2], name[4 * i + 3]]);
        i += 1;
    }
    words
}

/// The packed name in four register words.
pub fn name_from_words(words: [u32; 4]) -> [u8; 16] {
    let mut name = [0; 16];
    for (chunk, word) in name.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    name
}

/// The text of a packed name, or `"?"` where it is not UTF-8.
pub fn name_str(name: &[u8; 16]) -> &str {
    let end = name.iter().position(|b| *b == 0).unwrap_or(16);
    core::str::from_utf8(&name[..end]).unwrap_or("?")
}
