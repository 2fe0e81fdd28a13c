//! Records about the running system, for whoever has the right `INFO`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What [`crate::KernelCall::Info`] can be asked about.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// [`ObjectInfo`] of the index-th protected object.
    Object = 0,
    /// [`ProcessInfo`] of the index-th process slot.
    Process = 1,
    /// [`MemoryInfo`]; index 0.
    Memory = 2,
    /// [`FailureInfo`]: index 0 is the latest failure.
    Failure = 3,
    /// The manifest: [`crate::image::Entry`] of the index-th entry of the boot image.
    Entry = 4,
    /// [`TraceInfo`]: index 0 is the latest event.
    Trace = 5,
}

impl Topic {
    /// The topic with this number.
    pub const fn from_number(number: u32) -> Option<Topic> {
        match number {
            0 => Some(Topic::Object),
            1 => Some(Topic::Process),
            2 => Some(Topic::Memory),
            3 => Some(Topic::Failure),
            4 => Some(Topic::Entry),
            5 => Some(Topic::Trace),
            _ => None,
        }
    }
}

/// Static pools and quotas that can be used up (r1 of [`crate::Error::Exhausted`]).
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Page frames.
    Frames = 0,
    /// Bindings of the whole system.
    Bindings = 1,
    /// Bindings that this service accepts.
    ServerBindings = 2,
    /// Bindings that this client may hold.
    ClientBindings = 3,
    /// Second-level page tables.
    PageTables = 4,
    /// Processes.
    Processes = 5,
    /// Pre-images.
    Undo = 6,
}

/// State of a protected object.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectState {
    /// Takes calls.
    Running = 0,
    /// Is being rebuilt; its callers wait.
    Recovering = 1,
    /// Given up.
    Stopped = 2,
    /// Kept from being rebuilt until the supervisor lets it; its callers wait.
    Held = 3,
}

/// One protected object.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ObjectInfo {
    /// Name, zero padded.
    pub name: [u8; 16],
    /// [`ObjectState`].
    pub state: u32,
    /// Times that it was rebuilt since boot.
    pub restarts: u32,
    /// How many of these were because an error was doubted ([`crate::image::Flags::DOUBT_ERRORS`]).
    pub doubts: u32,
    /// Failures since boot.
    pub failures: u32,
    /// Open sessions.
    pub clients: u32,
    /// Bytes of memory: image, heap, stack, common region, SSRs, pre-images, page tables.
    pub memory: u32,
    /// Calls that were retried after a recovery.
    pub retried: u32,
    /// Requests that ended with an error because the object kept failing.
    pub failed_requests: u32,
    /// Sessions that were lost.
    pub lost_sessions: u32,
    /// Index of its entry in the boot image.
    pub entry: u32,
    /// Bytes of its stack that have ever been used (high-water mark since boot).
    pub stack_used: u32,
    /// Tick since which it is built (end of the latest recovery).
    pub since: u32,
    /// Tick of the self-test that it has not answered yet, 0 = none.
    pub probed: u32,
}

impl ObjectInfo {
    /// All zero.
    pub const NONE: ObjectInfo = ObjectInfo {
        name: [0; 16],
        state: 0,
        restarts: 0,
        doubts: 0,
        failures: 0,
        clients: 0,
        memory: 0,
        retried: 0,
        failed_requests: 0,
        lost_sessions: 0,
        entry: 0,
        stack_used: 0,
        since: 0,
        probed: 0,
    };
}

/// One process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProcessInfo {
    /// Name of the program, zero padded.
    pub name: [u8; 16],
    /// Process number.
    pub process: u32,
    /// 0 = slot free, 1 = ready or running, 2 = waiting, 3 = ended and not yet waited for.
    pub state: u32,
    /// Sessions it holds.
    pub bindings: u32,
    /// Bytes of memory.
    pub memory: u32,
    /// Ticks of processor time.
    pub ticks: u32,
    /// Argument given at its start.
    pub argument: u32,
}

/// Use of the static pools.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MemoryInfo {
    /// Page frames in all.
    pub frames: u32,
    /// Page frames free.
    pub frames_free: u32,
    /// Bindings in all.
    pub bindings: u32,
    /// Bindings free.
    pub bindings_free: u32,
    /// Second-level page tables in all (a page frame holds four).
    pub tables: u32,
    /// Second-level page tables free.
    pub tables_free: u32,
    /// Process slots in all.
    pub processes: u32,
    /// Process slots free.
    pub processes_free: u32,
    /// ASID rollovers since boot.
    pub asid_rollovers: u32,
}

/// One failure of a protected object.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FailureInfo {
    /// Name of the object, zero padded.
    pub object: [u8; 16],
    /// Ordinal of this failure since boot, from 1.
    pub number: u32,
    /// [`crate::FailureKind`].
    pub kind: u32,
    /// Where: program counter.
    pub pc: u32,
    /// Fault address (DFAR or IFAR), where the kind has one.
    pub address: u32,
    /// Method number, or `0x8000_0000` + hook number.
    pub method: u32,
    /// Session it happened under, `u32::MAX` for none.
    pub session: u32,
    /// Process at the outer end of the request, 0 for none.
    pub process: u32,
    /// Ticks since boot.
    pub tick: u32,
    /// r0 to r14.
    pub registers: [u32; 15],
    /// Program status.
    pub cpsr: u32,
    /// Who called whom, outermost first: numbers of domains (objects: index of the entry; 64 and more: process slots); 0xff
    /// behind the end. The last one failed.
    pub chain: [u8; 8],
}

impl FailureInfo {
    /// All zero.
    pub const NONE: FailureInfo = FailureInfo {
        object: [0; 16],
        number: 0,
        kind: 0,
        pc: 0,
        address: 0,
        method: 0,
        session: 0,
        process: 0,
        tick: 0,
        registers: [0; 15],
        cpsr: 0,
        chain: [0; 8],
    };
}

/// What the kernel noted: a ring of the latest events.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TraceInfo {
    /// Ticks since boot.
    pub tick: u32,
    /// [`Trace`].
    pub what: u32,
    /// Domain that it happened to.
    pub domain: u32,
    /// See [`Trace`].
    pub value: u32,
}

impl TraceInfo {
    /// All zero.
    pub const NONE: TraceInfo = TraceInfo { tick: 0, what: 0, domain: 0, value: 0 };
}

/// Kinds of events in the ring.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Nothing yet.
    None = 0,
    /// An object failed; value = [`crate::FailureKind`].
    Failure = 1,
    /// An object runs again; value = recoveries so far.
    Running = 2,
    /// An object is given up (value 2) or held (value 3): [`ObjectState`].
    State = 3,
    /// A process started; value = entry.
    Start = 4,
    /// A process ended; value = status.
    End = 5,
    /// Events were delivered to an object; value = [`crate::Events`].
    Events = 6,
    /// All ASIDs were handed out, and start anew; value = how often so far.
    Rollover = 7,
    /// An interrupt line was throttled; value = interrupt.
    Throttled = 8,
    /// The scheduler was not there to decide; value = [`ObjectState`].
    NoScheduler = 9,
    /// A method returned an error that was not believed, and runs once more; value = the error.
    Doubt = 10,
}
