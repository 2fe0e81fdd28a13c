//! Domains: protected objects and processes, as the kernel keeps them.
//!
//! Domain 0 to 63 are the protected objects, with the numbers of their entries in the boot image; 64 to
//! 127 are the slots for processes. Thread n is the thread of domain n.

use abi::Control;
use abi::image::{Entry, Image, NONE, Recovery, Segment};
use abi::info::{ObjectInfo, ObjectState, Pool};
use abi::layout::{self, PAGE};

use crate::arch::mmu::{self, Access};
use crate::board;
use crate::machine::Machine;
use crate::thread::{Kind, Queue, USER_MODE};

/// Domains in all.
pub const DOMAINS: usize = 128;
/// The first of them are protected objects.
pub const OBJECTS: usize = 64;

/// What the fast path reads and writes of an object. The offsets are known to the entry code.
#[repr(C)]
pub struct Hot {
    /// 0 = free, running, nothing unusual. Else the rest position (see `Thread::rest`) of its activation, or 0,
    /// with bit 0 set unless that activation came by the fast path and nothing has happened since.
    pub lock: u32,
    /// Number of methods.
    pub methods: u32,
    /// Ticks of one activation.
    pub budget: u32,
    /// What the fast path stores as the kind of the activation.
    fast: Kind,
    /// Program counter and status of the call entry.
    pub entry: [u32; 2],
    /// r6, r8-r12, sp and lr of a new activation.
    pub context: [u32; 8],
    /// Rebuildings: a session that has not been reloaded since the latest does not take the fast path.
    pub epoch: u32,
}

/// Bit of [`Hot::lock`].
pub const UNUSUAL: u32 = 1;

/// What a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Free.
    None,
    /// A protected object.
    Object,
    /// A process.
    Process,
}

/// Where the kernel thread of an object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing but closing sessions.
    Idle,
    /// Verifies text and constants from this page of text on, and restores them.
    Verify(u32),
    /// Reloads data, and zeroes bss and heap, from this page of the two on.
    Memory(u32),
    /// Runs the constructor.
    Construct,
    /// Reloads the sessions after this one.
    Sessions(Option<ssr_manager::BindingId>),
}

/// What an object's kernel thread does next about its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The upcall; with 1 + the number of the session that could not be opened, or 0.
    Upcall(u32),
    /// A step with this session.
    Session(u32),
}

abi::initial! {
    /// One domain. Its size is a power of two: the kernel often goes from an address to an index.
    #[repr(C, align(1024))]
    pub struct Domain {
        /// For the fast path.
        pub hot: Hot = Hot { lock: UNUSUAL, methods: 0, budget: 0, fast: Kind::Fast, entry: [0; 2], context: [0; 8], epoch: 0 },
        /// Start and length of stack, heap and data: memory that is always mapped, for reading and writing.
        pub own: [[u32; 2]; 3] = [[0; 2]; 3],
        /// What it is.
        pub role: Role = Role::None,
        /// Its entry in the boot image.
        pub entry: Option<&'static Entry> = None,
        /// ASID of its own view, 0 = none.
        pub contextidr: u32 = 0,
        /// Frames that it holds.
        pub frames: u32 = 0,
        /// Argument of its start.
        pub argument: u32 = 0,
        /// Object: state.
        pub state: ObjectState = ObjectState::Stopped,
        /// Object: threads that wait for it.
        pub waiters: Queue = Queue::EMPTY,
        /// Object: threads that wait until a request gives up what it retains of the object.
        pub parked: Queue = Queue::EMPTY,
        /// Object: the waiter that has it next.
        pub granted: Option<usize> = None,
        /// Object: word of a sabotage to carry out at the next call, 0 = none.
        pub sabotage: u32 = 0,
        /// Object: step of its kernel thread.
        pub work: Work = Work::Idle,
        /// Object: the constructor runs for the first time.
        pub booting: bool = true,
        /// Object: verify text and constants at the next recovery.
        pub suspect: bool = false,
        /// Object: tick at which an error was doubted last.
        pub doubted: u32 = 0,
        /// Object: page of text and constants that the next self-test begins to verify with.
        pub verified: u32 = 0,
        /// Object: the latest recovery found text or constants damaged.
        pub was_damaged: bool = false,
        /// Object: the hook of its kernel thread that failed last, in which session, and how often in a row.
        pub hook_failed: Option<(Kind, Option<ssr_manager::BindingId>, u32)> = None,
        /// Object: its history.
        pub info: ObjectInfo = ObjectInfo::NONE,
        /// Events that have come.
        pub events: u32 = 0,
        /// Object: events that its kernel thread is dealing with.
        pub delivering: u32 = 0,
        /// Object: what its kernel thread does about them next.
        pub step: Step = Step::Upcall(0),
        /// When [`abi::Events::DEADLINE`] comes, in microseconds since boot; 0 = never.
        pub deadline: u64 = 0,
        /// Object: interrupts within this tick.
        pub interrupts: u32 = 0,
        /// Object: lines that stay masked until the next tick.
        pub throttled: u32 = 0,
        /// Object: what the supervisor wants done when nobody is in it.
        pub order: Option<Control> = None,
        /// Object: sessions were retained by requests when it was rebuilt, and are reloaded when those end.
        pub unloaded: bool = false,
        /// Object: sessions wait for their `close`.
        pub closings: bool = false,
        /// Process: counts the uses of the slot.
        pub generation: u32 = 0,
        /// Process: who spawned it.
        pub parent: Option<usize> = None,
        /// Process: its parent has ended, and the parent's own parent counts it instead. Nobody waits for it.
        pub adopted: bool = false,
        /// Process: number of living children and of dead ones not waited for.
        pub children: u32 = 0,
        /// Process: how it ended.
        pub status: Option<u32> = None,
        /// Process: failed requests charged to it, for each object.
        pub charges: [u8; OBJECTS] = [0; OBJECTS],
        /// Process: until which tick it may not bind to each object, after blame.
        pub blamed_until: [Option<u32>; OBJECTS] = [None; OBJECTS],
    }
}

impl Domain {
    /// Fills the slot for an entry of the boot image.
    pub fn set(&mut self, role: Role, entry: &'static Entry, argument: u32) {
        *self = Domain {
            hot: Hot {
                lock: UNUSUAL,
                methods: entry.methods,
                budget: entry.budget,
                fast: Kind::Fast,
                entry: [entry.entry_call, USER_MODE],
                context: [0, 0, 0, 0, 0, 0, layout::STACK_TOP, 0],
                epoch: 0,
            },
            own: [
                [layout::STACK_TOP - entry.stack, entry.stack],
                [layout::HEAP_BASE, entry.heap],
                [entry.data.address, entry.data.memory_size],
            ],
            role,
            entry: Some(entry),
            argument,
            generation: self.generation,
            ..Domain::INITIAL
        };
    }
}

/// Pages that so many bytes take.
pub fn pages(bytes: u32) -> u32 {
    bytes.div_ceil(PAGE)
}

/// Maps an entry's image, heap, stack, common region and devices into a new view of the domain. On an error the
/// caller destroys the view.
///
/// # Errors
/// The pool that is used up.
pub fn load(machine: &mut Machine, domain: usize, image: &Image<'_>, entry: &Entry) -> Result<u32, Pool> {
    machine.views[domain] = machine.l1.take(&mut machine.frames)?;
    let mut frames = 0;
    let areas = [
        (entry.text.address, entry.text.memory_size, image.segment(&entry.text), Access::Execute),
        (entry.rodata.address, entry.rodata.memory_size, image.segment(&entry.rodata), Access::Read),
        (entry.data.address, entry.data.memory_size, image.segment(&entry.data), Access::Write),
        (layout::HEAP_BASE, entry.heap, &[], Access::Write),
        (layout::STACK_TOP - entry.stack, entry.stack, &[], Access::Write),
    ];
    for (start, length, bytes, access) in areas {
        frames += pages(length);
        for page in 0..pages(length) {
            let frame = machine.frames.alloc().ok_or(Pool::Frames)?;
            machine.fill_page(frame, bytes, page);
            if access == Access::Execute {
                mmu::publish_text(frame, PAGE);
            }
            let mapped = machine.map(domain, start + page * PAGE, frame, access);
            if mapped.is_err() {
                machine.frames.free(frame);
            }
            mapped?;
        }
    }
    if entry.common > 0 {
        frames += pages(entry.common);
        let first = machine.frames.alloc_run(pages(entry.common)).ok_or(Pool::Frames)?;
        machine.common[domain] = first;
        let access = if image.recovery() == Recovery::Kept { Access::Write } else { Access::Read };
        for page in 0..pages(entry.common) {
            machine.fill_page(first + page * PAGE, image.common(entry), page);
            machine.map(domain, layout::COMMON_BASE + page * PAGE, first + page * PAGE, access)?;
        }
    }
    if entry.dma > 0 {
        frames += pages(entry.dma);
        let first = machine.frames.alloc_run(pages(entry.dma)).ok_or(Pool::Frames)?;
        machine.dma[domain] = first;
        for page in 0..pages(entry.dma) {
            machine.frames.zero(first + page * PAGE);
            let access = if entry.is_table(page) { Access::Read } else { Access::Write };
            machine.map(domain, layout::DMA_BASE + page * PAGE, first + page * PAGE, access)?;
        }
    }
    let mut window = layout::MMIO_BASE;
    let granted = entry.interrupts.iter().all(|line| *line == NONE || board::grantable_line(*line))
        && entry.mmio.iter().all(|range| board::grantable(range.address, range.length));
    assert!(granted, "a manifest asks for memory, or for devices or interrupts that are the kernel's");
    for (index, range) in entry.mmio.iter().enumerate() {
        let access = if entry.checked >> index & 1 == 1 { Access::CheckedDevice } else { Access::Device };
        for page in 0..pages(range.length) {
            machine.map(domain, window, range.address + page * PAGE, access)?;
            window += PAGE;
        }
    }
    Ok(frames)
}

/// Whether a page of text or constants differs from the image; if so it is restored.
pub fn restore_page(machine: &mut Machine, domain: usize, image: &Image<'_>, segment: &Segment, page: u32) -> bool {
    let Some((frame, _)) = machine.translate(machine.views[domain], segment.address + page * PAGE) else {
        return false;
    };
    if machine.same_page(frame, image.segment(segment), page) {
        return false;
    }
    machine.fill_page(frame, image.segment(segment), page);
    mmu::publish_text(frame, PAGE);
    true
}
