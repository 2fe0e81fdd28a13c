//! Kernel calls, one function each. Which of them a service or program may use is in its manifest (`calls`).

use abi::call::{name_words, pack_name};
use abi::image::Entry;
use abi::info::{FailureInfo, MemoryInfo, ObjectInfo, ProcessInfo, Topic, TraceInfo};
use abi::{Control, Error, Events, Handle, KernelCall, Sabotage};
use zerocopy::{FromBytes, IntoBytes};

use crate::arch::{self, Register, UNUSED, used};

/// A kernel call without own memory among its arguments.
#[inline(always)]
fn call(call: KernelCall, args: [Register; 6]) -> Result<[u32; 4], Error> {
    // SAFETY: the callers below pass numbers only, each as the call's description in `abi` has it.
    let [code, r1, r2, r3, r4] = unsafe { arch::kernel_call(call, args) };
    result(code)?;
    Ok([r1, r2, r3, r4])
}

/// What r0 says.
#[inline(always)]
fn result(code: u32) -> Result<(), Error> {
    if code == 0 {
        return Ok(());
    }
    // No kernel call returns a code that `Error` does not have; a call number that an older kernel does not know
    // would be the nearest explanation.
    Err(Error::from_code(code).unwrap_or(Error::NoSuchCall))
}

/// The arguments that name a service or program. A name that does not fit names nothing.
fn name(name: &str, r4: Register) -> Result<[Register; 6], Error> {
    if name.len() > 16 {
        return Err(Error::NotFound);
    }
    let [r0, r1, r2, r3] = name_words(&pack_name(name));
    Ok([used(r0), used(r1), used(r2), used(r3), r4, UNUSED])
}

/// The cheapest kernel call.
///
/// # Errors
/// None; the signature is that of every call.
#[inline(always)]
pub fn null() -> Result<(), Error> {
    call(KernelCall::Null, [UNUSED; 6]).map(|_| ())
}

/// Gives the rest of the time slice away. Programs only.
///
/// # Errors
/// [`Error::NotPermitted`] in a service.
pub fn yield_now() -> Result<(), Error> {
    call(KernelCall::Yield, [UNUSED; 6]).map(|_| ())
}

/// Opens a session with a service. Typed clients (`TallyClient::bind`) are made of this. Notifications of the service set
/// the bits `notify` of the caller's events.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotPermitted`], [`Error::Exhausted`], [`Error::Blamed`], [`Error::Stopped`], or what
/// the service's `open` returned.
pub fn bind(service: &str, notify: Events) -> Result<Handle, Error> {
    let [index, generation, ..] = call(KernelCall::Bind, name(service, used(notify.bits()))?)?;
    Ok(Handle { index, generation })
}

/// Closes a session.
///
/// # Errors
/// [`Error::BadHandle`], [`Error::StaleHandle`].
pub fn unbind(handle: Handle) -> Result<(), Error> {
    call(KernelCall::Unbind, [used(handle.index), used(handle.generation), UNUSED, UNUSED, UNUSED, UNUSED]).map(|_| ())
}

/// Starts a program with an argument; returns the process number.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotPermitted`], [`Error::Exhausted`].
pub fn spawn(program: &str, argument: u32) -> Result<u32, Error> {
    let [process, ..] = call(KernelCall::Spawn, name(program, used(argument))?)?;
    Ok(process)
}

/// Waits for the end of a child; returns its status.
///
/// # Errors
/// [`Error::NoSuchProcess`].
pub fn wait(process: u32) -> Result<u32, Error> {
    let [status, ..] = call(KernelCall::Wait, [used(process), UNUSED, UNUSED, UNUSED, UNUSED, UNUSED])?;
    Ok(status)
}

/// Ends a child.
///
/// # Errors
/// [`Error::NoSuchProcess`].
pub fn kill(process: u32) -> Result<(), Error> {
    call(KernelCall::Kill, [used(process), UNUSED, UNUSED, UNUSED, UNUSED, UNUSED]).map(|_| ())
}

/// Leaves the processor for some ticks of a millisecond. Right `pause` in a program.
///
/// # Errors
/// [`Error::NotPermitted`].
pub fn pause(ticks: u32) -> Result<(), Error> {
    if ticks == 0 {
        return yield_now();
    }
    wait_events(Events::empty(), ticks).map(|_| ())
}

/// Waits until one of these events is set, and takes those that are; none after so many ticks (0 = no limit). The limit
/// needs the right `pause` in a program. In a service it must be given, and counts against the budget.
///
/// # Errors
/// [`Error::NotPermitted`]; [`Error::BadArgument`] for no events and no limit, or no limit in a service.
pub fn wait_events(events: Events, ticks: u32) -> Result<Events, Error> {
    let args = [used(events.bits()), used(ticks), UNUSED, UNUSED, UNUSED, UNUSED];
    let [bits, ..] = call(KernelCall::WaitEvents, args)?;
    Ok(Events::from_bits_truncate(bits))
}

/// Sets the time, in microseconds since boot, at which the caller gets [`Events::DEADLINE`]; `None`: never. It
/// replaces the time set before. Right `deadline`.
///
/// # Errors
/// [`Error::NotPermitted`].
pub fn deadline(at_us: Option<u64>) -> Result<(), Error> {
    let at = at_us.map_or(0, |at| at.max(1));
    call(KernelCall::Deadline, [used(at as u32), used((at >> 32) as u32), UNUSED, UNUSED, UNUSED, UNUSED]).map(|_| ())
}

/// Tells the client of a session of this service, when the request commits, that it should ask again. Services only.
///
/// # Errors
/// [`Error::BadArgument`]: no session of this service.
pub fn notify(session: u32) -> Result<(), Error> {
    call(KernelCall::Notify, [used(session), UNUSED, UNUSED, UNUSED, UNUSED, UNUSED]).map(|_| ())
}

/// Lets an interrupt line of the manifest interrupt again: 0 is the first. Services only.
///
/// # Errors
/// [`Error::BadArgument`]: the manifest has no such line.
pub fn acknowledge(line: u32) -> Result<(), Error> {
    call(KernelCall::Acknowledge, [used(line), UNUSED, UNUSED, UNUSED, UNUSED, UNUSED]).map(|_| ())
}

/// Writes a register of the service's own devices and notes it in a word of the open session, both or neither: whatever fails
/// next, nothing is put out twice or forgotten. In `flush` only. Right `emit`.
///
/// # Errors
/// [`Error::BadAddress`]: no register of its devices, or no word of the open session. [`Error::NotPermitted`]: not in `flush`.
pub fn emit(register: u32, value: u32, note: &mut u32, noted: u32) -> Result<(), Error> {
    let at = core::ptr::from_mut(note).expose_provenance() as u32;
    let done = call(KernelCall::Emit, [used(register), used(value), used(at), used(noted), UNUSED, UNUSED]).map(|_| ());
    // The kernel has written the word: what the compiler knew of it does not hold any more.
    core::hint::black_box(note);
    done
}

/// Writes a register of the service's own devices as the manifest's `registers` allow: `register` is its address in the
/// device window. For one that holds a bus address, `value` is 0 or the address of a page in the DMA window.
///
/// # Errors
/// [`Error::BadRange`]: no register of its devices, or no page that the device may get. [`Error::BadArgument`]: another value
/// than the only one allowed.
pub fn write_register(register: u32, value: u32) -> Result<(), Error> {
    call(KernelCall::WriteRegister, [used(register), used(value), UNUSED, UNUSED, UNUSED, UNUSED]).map(|_| ())
}

/// Describes a buffer in the DMA window to the service's device: `slot` is the address of a descriptor, `flags` those of
/// [`rt::abi::dma::FLAGS`](crate::abi::dma::FLAGS), `next` the number of the descriptor that follows.
///
/// # Errors
/// [`Error::BadRange`]: no descriptor, or a buffer that is not in the DMA window or reaches into a page with descriptors.
/// [`Error::BadArgument`]: other flags.
pub fn describe(slot: u32, buffer: u32, length: u32, flags: u16, next: u16) -> Result<(), Error> {
    let link = u32::from(next) << 16 | u32::from(flags);
    let args = [used(slot), used(buffer), used(length), used(link), UNUSED, UNUSED];
    call(KernelCall::Describe, args).map(|_| ())
}

/// Writes a word behind the descriptors of a page that holds some: the available ring of virtio's legacy layout.
///
/// # Errors
/// [`Error::BadRange`]: `at` is no such word.
pub fn describe_word(at: u32, value: u32) -> Result<(), Error> {
    call(KernelCall::Describe, [used(at), used(value), used(0), used(0), UNUSED, UNUSED]).map(|_| ())
}

/// Restarts, stops, starts, holds or probes a service. Right `control`.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotPermitted`].
pub fn control(service: &str, what: Control) -> Result<(), Error> {
    call(KernelCall::Control, name(service, used(what as u32))?).map(|_| ())
}

/// Microseconds since boot. Right `time`.
///
/// # Errors
/// [`Error::NotPermitted`].
pub fn time_us() -> Result<u64, Error> {
    let [low, high, ..] = call(KernelCall::Time, [UNUSED; 6])?;
    Ok(u64::from(high) << 32 | u64::from(low))
}

/// A record that [`info`] can read.
pub trait Record: FromBytes + IntoBytes {
    /// The topic under which the kernel has it.
    const TOPIC: Topic;
}

impl Record for ObjectInfo {
    const TOPIC: Topic = Topic::Object;
}
impl Record for ProcessInfo {
    const TOPIC: Topic = Topic::Process;
}
impl Record for MemoryInfo {
    const TOPIC: Topic = Topic::Memory;
}
impl Record for FailureInfo {
    const TOPIC: Topic = Topic::Failure;
}
impl Record for Entry {
    const TOPIC: Topic = Topic::Entry;
}
impl Record for TraceInfo {
    const TOPIC: Topic = Topic::Trace;
}

/// Reads a record about the system. Right `info`.
///
/// # Errors
/// [`Error::NotFound`] behind the last record, [`Error::NotPermitted`].
pub fn info<T: Record>(index: u32) -> Result<T, Error> {
    let mut record = T::new_zeroed();
    let bytes = record.as_mut_bytes();
    // SAFETY: r2 and r3 are a buffer of this function, borrowed mutably; any bytes are a `T`.
    let [code, ..] = unsafe {
        arch::kernel_call(
            KernelCall::Info,
            [
                used(T::TOPIC as u32),
                used(index),
                used(bytes.as_mut_ptr().expose_provenance() as u32),
                used(bytes.len() as u32),
                UNUSED,
                UNUSED,
            ],
        )
    };
    result(code)?;
    Ok(record)
}

/// Makes a service fail in this way at its next call. Right `sabotage`.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotPermitted`].
pub fn sabotage(service: &str, how: Sabotage) -> Result<(), Error> {
    call(KernelCall::Sabotage, name(service, used(how.word()))?).map(|_| ())
}

/// Ends the system with a status of 0 to 255. Right `shutdown`; returns only where that is missing.
///
/// # Errors
/// [`Error::NotPermitted`].
pub fn shutdown(status: u8) -> Result<(), Error> {
    call(KernelCall::Shutdown, [used(status.into()), used(0), UNUSED, UNUSED, UNUSED, UNUSED]).map(|_| ())
}

/// Starts the board anew. Right `shutdown`; returns only where that is missing.
///
/// # Errors
/// [`Error::NotPermitted`].
pub fn reboot() -> Result<(), Error> {
    call(KernelCall::Shutdown, [used(0), used(1), UNUSED, UNUSED, UNUSED, UNUSED]).map(|_| ())
}

/// Writes to the kernel's log; the first 256 bytes of the text, cut at a character. Right `log`.
///
/// # Errors
/// [`Error::NotPermitted`].
pub fn log(text: &str) -> Result<(), Error> {
    let text = &text[..text.floor_char_boundary(256)];
    // SAFETY: r0 and r1 are a range that is borrowed for the length of the call, and read only.
    let [code, ..] = unsafe {
        arch::kernel_call(
            KernelCall::Log,
            [used(text.as_ptr().expose_provenance() as u32), used(text.len() as u32), UNUSED, UNUSED, UNUSED, UNUSED],
        )
    };
    result(code)
}

/// Ends the program.
pub fn exit(status: u32) -> ! {
    arch::leave(KernelCall::Exit, [used(status), UNUSED, UNUSED, UNUSED, UNUSED])
}
