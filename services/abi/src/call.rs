//! Kernel calls: numbers, registers, handles.
//!
//! A call is `svc #0` from user mode. r7 holds the call word: the call number in bits 0-7; for
//! [`KernelCall::Call`] the method in bits 8-23 and the lending flags in bits 24-25. Data goes in
//! r0-r5; results come back in r0 (0 or an [`crate::Error`] code) and r1-r4. All other registers
//! come back unchanged, except r5, r8, r9 and r12, which a caller must treat as overwritten.

use crate::error::Error;
use crate::image::Rights;

/// Numbers of the kernel calls (bits 0-7 of r7).
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelCall {
    /// Protected method call: r8 = handle index, r9 = handle generation, r0-r5 = arguments.
    /// With [`LEND_READ`] r2, r3 are address and length of the range lent for reading; with
    /// [`LEND_WRITE`] r4, r5 those of the range lent for writing.
    Call = 0,
    /// Ends an activation: r0 = 0 or, of a hook, a service error code; r1-r4 = results. The only error that a method returns
    /// so is [`Error::WouldBlock`], which is part of normal operation.
    Return = 1,
    /// As [`KernelCall::Return`], and asks for the `flush` hook after the commit.
    ReturnFlush = 2,
    /// Does nothing: the cheapest kernel call.
    Null = 3,
    /// Gives the rest of the time slice away (programs only).
    Yield = 4,
    /// Opens a session: r0-r3 = name of the service (16 bytes, zero padded, little endian), r4 = the client's event bits
    /// that the service's notifications set (of [`crate::Events::NOTIFICATIONS`]; 0 = none).
    /// Returns r1 = handle index, r2 = handle generation.
    Bind = 5,
    /// Closes a session: r0 = handle index, r1 = generation.
    Unbind = 6,
    /// Copies from the range lent for reading: r0 = offset in it, r1 = own destination, r2 = length in bytes.
    CopyIn = 7,
    /// Copies to the range lent for writing: r0 = offset in it, r1 = own source, r2 = length in bytes.
    CopyOut = 8,
    /// Reports a panic: r0, r1 = address and length of the message; r2, r3 = address and length of the name of the source
    /// file, r4 = line: the kernel does not look at them, but they are in the record of the failure, from which the host
    /// tool reads the place. In a service this is a failure of the activation, in a program the end of the program.
    /// Does not return.
    Panic = 9,
    /// Ends the program: r0 = status. Does not return.
    Exit = 10,
    /// Starts a program: r0-r3 = name, r4 = argument. Returns r1 = process number. Right `SPAWN`.
    Spawn = 11,
    /// Waits for the end of a process that the caller spawned: r0 = process number. Returns r1 = status.
    Wait = 12,
    /// Ends a process that the caller spawned: r0 = process number.
    Kill = 13,
    /// Waits until one of the events r0 is set, takes those that are and returns them in r1; 0 if none came
    /// within r1 ticks (0 = no limit). A limit needs the right `PAUSE` in a program; in an activation it is needed, is cut to
    /// the budget that is left, and what was waited counts against it. r0 = 0 with a limit is a pause.
    WaitEvents = 14,
    /// The time since boot: returns r1, r2 = low and high word, in microseconds. Right `TIME`.
    Time = 15,
    /// Reads a record about the system: r0 = [`crate::info::Topic`], r1 = index, r2 = own buffer,
    /// r3 = its length. Returns r1 = bytes written. Right `INFO`.
    Info = 16,
    /// Arms a failure: r0-r3 = name of the service, r4 = [`crate::Sabotage`] word. The service
    /// fails so at its next call. Right `SABOTAGE`.
    Sabotage = 17,
    /// Ends the system: r0 = status (0-255); with r1 = 1 the board starts anew instead. Right `SHUTDOWN`.
    Shutdown = 18,
    /// Writes to the kernel's log: r0, r1 = address and length (UTF-8, at most 256 bytes). Right `LOG`.
    Log = 19,
    /// The failure of the heap that the service does not handle (from its allocation error handler).
    HeapExhausted = 20,
    /// Sets the time at which the caller gets [`crate::Events::DEADLINE`]: r0, r1 = low and high word of
    /// microseconds since boot; 0 = never. A new time replaces the old one. Never early, at most a tick late. Right `DEADLINE`.
    Deadline = 21,
    /// Notifies the client of a session of the calling object when the request commits: r0 = session number.
    /// Spurious ones are possible, lost ones are not: a client asks again whenever it is told. Objects only.
    Notify = 22,
    /// Lets an interrupt line of the caller's manifest interrupt again: r0 = line, 0 to 3. Objects only.
    Acknowledge = 23,
    /// Does r4 ([`Control`]) to an object: r0-r3 = its name. Right `CONTROL`.
    Control = 24,
    /// Ends an activation of a method with an error: r0 = its code, r1 = 1 to ask for the `flush` hook. As
    /// [`KernelCall::Return`], but a service whose manifest
    /// says `doubt_errors` is not believed at once: the request is undone, the object rebuilt, and the method run once more.
    ReturnError = 25,
    /// Writes a device register and notes it, both or neither: r0 = address of the register in the device window, r1 = its
    /// value, r2 = address of a word of the open SSR, r3 = the word's new value. In `flush` only, whose effects on the
    /// SSR are not undone. Right `EMIT`.
    Emit = 26,
    /// Writes a device register as the manifest's rules allow ([`crate::dma`]): r0 = its address in the device window,
    /// r1 = the value; for a register that holds a bus address, 0 or the address of a page in the DMA window. Objects only.
    WriteRegister = 27,
    /// Describes a buffer to a device: r0 = address of a descriptor in a page of the DMA window that holds some, a multiple of
    /// 16, r1 = address of the buffer in the window, r2 = its length in bytes, r3 = flags ([`crate::dma::FLAGS`]) and, in
    /// bits 16-31, the number of the next descriptor. Behind the descriptors of such a page r0 is the address of a word,
    /// r1 what is written there. Objects only.
    Describe = 28,
}

/// What [`KernelCall::Control`] does to an object.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Rebuilds it in place, as after a failure but without one: when nobody is in it. [`Error::Stopped`] for one that is held
    /// or stopped.
    Restart = 0,
    /// Gives it up: its callers get [`Error::Stopped`].
    Stop = 1,
    /// Rebuilds an object that is held or stopped.
    Start = 2,
    /// Keeps it from being rebuilt until `Start`; its callers wait.
    Hold = 3,
    /// Asks it for a self-test: [`crate::Events::HEARTBEAT`].
    Probe = 4,
}

impl Control {
    /// The one with this number.
    pub const fn from_number(number: u32) -> Option<Control> {
        match number {
            0 => Some(Control::Restart),
            1 => Some(Control::Stop),
            2 => Some(Control::Start),
            3 => Some(Control::Hold),
            4 => Some(Control::Probe),
            _ => None,
        }
    }
}

impl KernelCall {
    /// The right that a manifest must grant for it; none for what is part of being a service or a program, or granted
    /// otherwise. [`KernelCall::WaitEvents`] needs its own only as said there.
    pub const fn right(self) -> Rights {
        match self {
            KernelCall::WaitEvents => Rights::PAUSE,
            KernelCall::Time => Rights::TIME,
            KernelCall::Info => Rights::INFO,
            KernelCall::Sabotage => Rights::SABOTAGE,
            KernelCall::Shutdown => Rights::SHUTDOWN,
            KernelCall::Log => Rights::LOG,
            KernelCall::Deadline => Rights::DEADLINE,
            KernelCall::Control => Rights::CONTROL,
            KernelCall::Emit => Rights::EMIT,
            _ => Rights::empty(),
        }
    }
}

impl TryFrom<u32> for KernelCall {
    type Error = Error;

    fn try_from(number: u32) -> Result<Self, Error> {
        use KernelCall::*;
        const ALL: [KernelCall; 29] = [
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
            WaitEvents,
            Time,
            Info,
            Sabotage,
            Shutdown,
            Log,
            HeapExhausted,
            Deadline,
            Notify,
            Acknowledge,
            KernelCall::Control,
            ReturnError,
            Emit,
            WriteRegister,
            Describe,
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
    /// A new client: its SSR is zeroed but for the header. r0 = session number; r1 = number of the client's domain
    /// (here and in the other hooks of sessions): objects have 0 to 63, processes 64 to 127.
    Open = 1,
    /// The SSR was restored or the object rebuilt: derive private state from it. r0 = session number.
    Reload = 2,
    /// The request is committed: put out what was held back. r0 = session number.
    Flush = 3,
    /// The client is gone or leaves. r0 = session number.
    Close = 4,
    /// A method call, to fail as [`crate::Sabotage`] in r6 says; method in bits 8-23 of r7, r0-r5 as for the call.
    Sabotaged = 5,
    /// Events have come: r0 = [`crate::Events`], no session is open. Or, with r1 = 1 + session number: the session that was
    /// asked for cannot be opened, as it ends or is lost. Returns r1 = 1 + number of the session to open next
    /// for [`Hook::Step`], 0 for none: the events have been dealt with. If it fails it comes again, with the same events.
    Event = 6,
    /// One session is open, as `Event` or the step before asked: r0 = session number, r2 = the events. Returns as `Event`.
    /// Each step is a recovery domain of its own.
    Step = 7,
    /// To the scheduler: r0, r1 = processes that can run (bit n: process slot n), r2 = 1 + slot of the one that ran, 0 for
    /// none, r3 = ticks for which it ran. Returns r1 = slot of the one to run next, r2 = ticks for which it may.
    Decide = 8,
}

impl TryFrom<u32> for Hook {
    type Error = Error;

    fn try_from(number: u32) -> Result<Self, Error> {
        use Hook::*;
        const ALL: [Hook; 9] = [Construct, Open, Reload, Flush, Close, Sabotaged, Event, Step, Decide];
        ALL.get(number as usize).copied().ok_or(Error::NoSuchCall)
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
