//! Threads, their frame stacks, and who runs next.
//!
//! Each domain has one thread: a program its own, a protected object the kernel thread that builds,
//! rebuilds and closes sessions in it. A thread migrates: frame 0 is its own context, frame n+1 the
//! activation that context n called.

use abi::call::Hook;
use abi::{Error, Handle, layout};
use ssr_manager::BindingId;

use crate::domain::OBJECTS;

/// Depth of nested activations, the thread's own context included.
pub const MAX_DEPTH: usize = 8;
/// Priorities, 0 the lowest.
pub const PRIORITIES: usize = 8;
/// Ticks that a thread runs before another one of its priority does.
pub const SLICE: u32 = 4;
/// Sessions that a request can notify one by one.
const MAX_NOTES: usize = 8;
/// Saved program status of user mode: ARM state, FIQ masked.
pub const USER_MODE: u32 = 0x50;

/// What an activation was entered for.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A method, entered by the fast path: everything below `budget` in the frame is stale.
    Fast = 0,
    /// A method.
    Method = 1,
    /// `Hook::Construct`.
    Construct = 2,
    /// `Hook::Open`.
    Open = 3,
    /// `Hook::Reload`, before the method of the same call or during recovery.
    Reload = 4,
    /// `Hook::Flush`, after the commit.
    Flush = 5,
    /// `Hook::Close`.
    Close = 6,
    /// `Hook::Event`, on the kernel thread.
    Event = 8,
    /// `Hook::Step`, on the kernel thread.
    Step = 9,
    /// `Hook::Decide`, on the scheduler's kernel thread.
    Decide = 10,
}

impl Kind {
    /// Number of the [`Hook`] that it runs, which follow each other in both; 0 for a method.
    pub fn hook(self) -> u32 {
        (self as u32).saturating_sub(Kind::Construct as u32)
    }
}

const _: () = assert!(Kind::Construct as u32 - Hook::Construct as u32 == Kind::Construct as u32);
const _: () = assert!(Kind::Close as u32 - Hook::Close as u32 == Kind::Construct as u32);
const _: () = assert!(Kind::Decide as u32 - Hook::Decide as u32 == Kind::Construct as u32);

/// A range lent by the caller; length 0 = none.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Lent {
    /// Address in the caller's space.
    pub address: u32,
    /// Bytes.
    pub length: u32,
}

abi::initial! {
    /// Saved registers of a context, and what the kernel knows of the activation that it is. 128 bytes; the
    /// first 17 words are pushed and popped by the entry code.
    #[derive(Clone, Copy)]
    #[repr(C, align(8))]
    pub struct Frame {
        /// r0-r14 of user mode.
        pub registers: [u32; 15] = [0; 15],
        /// Where to continue.
        pub pc: u32 = 0,
        /// Program status.
        pub cpsr: u32 = USER_MODE,
        /// ASID of its view.
        pub contextidr: u32 = 0,
        /// First-level table of its view.
        pub ttbr0: u32 = 0,
        /// Address of the domain that runs in this activation.
        pub domain: u32 = 0,
        /// Address of the binding it was called through, 0 for none.
        pub binding: u32 = 0,
        /// Ticks left.
        pub budget: u32 = 0,
        /// [`Kind`].
        pub kind: Kind = Kind::Method,
        /// Range lent for reading.
        pub lent_read: Lent = Lent { address: 0, length: 0 },
        /// Range lent for writing.
        pub lent_write: Lent = Lent { address: 0, length: 0 },
        /// Failures of this request so far.
        pub attempts: u32 = 0,
        /// Program counter of the last one.
        pub failed_at: u32 = 0,
        /// The request's count of nested returns at entry: differs if this activation made nested calls.
        pub mark: u32 = 0,
        /// The object that failed, if the last two failures of this request were at the same place.
        pub stuck: Option<u8> = None,
        /// Calls of other objects since the latest that counted as a tick.
        pub calls: u32 = 0,
    }
}

/// Registers of a context that begins: the stack pointer at its top, all else 0.
pub const FRESH: [u32; 15] = {
    let mut registers = [0; 15];
    registers[13] = layout::STACK_TOP;
    registers
};

/// Whether a thread can run, and if not, what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no such thread.
    Dead,
    /// In a ready queue, or running.
    Ready,
    /// In the wait queue of this object.
    Object(usize),
    /// For the end of this process.
    Child(usize),
    /// For one of these events of the domain that it runs in, until this tick at most.
    Events(u32, Option<u32>),
    /// A kernel thread without work.
    Idle,
}

/// Kernel work that a thread does before one of its contexts goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Nothing: resume.
    None,
    /// The call that its context's registers describe.
    Call,
    /// The `open` hook of a new binding.
    Open(Handle),
    /// The `close` hook, then the end of a binding.
    Close(Handle),
    /// The `flush` hook of a committed direct call, again after it failed.
    Flush(Handle),
    /// Flushes of the bindings that the request wrote, then its commit; then this status is returned.
    Commit,
}

abi::initial! {
    /// A thread.
    #[repr(C)]
    pub struct Thread {
        /// Frame n is element `MAX_DEPTH - 1 - n`: the stack grows down.
        frames: [Frame; MAX_DEPTH] = [Frame::INITIAL; MAX_DEPTH],
        /// Activations above the own context.
        pub depth: usize = 0,
        /// State.
        pub state: State = State::Dead,
        /// Kernel work of each context before it goes on. It stays while activations that it led to run above
        /// the context, so that a failure of theirs leads to it again.
        pending: [Pending; MAX_DEPTH] = [Pending::None; MAX_DEPTH],
        /// Own priority.
        pub base_priority: usize = 0,
        /// With what waiters lend it.
        pub priority: usize = 0,
        /// Ticks left of its slice.
        pub slice: u32 = SLICE,
        /// Ticks of processor time used.
        pub ticks: u32 = 0,
        /// The object that it has next: it was first in the queue when the object became free.
        pub grant: Option<usize> = None,
        /// The thread whose request retains what it waits for, while it is parked.
        pub behind: Option<usize> = None,
        /// Ends when its request returns.
        pub doomed: Option<u32> = None,
        /// Sessions whose clients are to be notified when the request commits.
        notes: [Option<BindingId>; MAX_NOTES] = [None; MAX_NOTES],
        /// Objects all of whose clients are to be notified then: `notes` was full.
        pub notes_all: u64 = 0,
        /// Next in the queue it stands in.
        next: Option<u8> = None,
    }
}

impl Thread {
    /// Makes it a thread again, at depth 0 with empty registers, in no queue.
    pub fn reset(&mut self, priority: usize) {
        *self = Thread { base_priority: priority, priority, state: State::Idle, ..Thread::INITIAL };
    }

    /// Frame `depth`.
    pub fn frame(&self, depth: usize) -> &Frame {
        &self.frames[MAX_DEPTH - 1 - depth]
    }

    /// Frame `depth`, to change.
    pub fn frame_mut(&mut self, depth: usize) -> &mut Frame {
        &mut self.frames[MAX_DEPTH - 1 - depth]
    }

    /// The frame of the running context.
    pub fn top(&self) -> &Frame {
        self.frame(self.depth)
    }

    /// The frame of the running context, to change.
    pub fn top_mut(&mut self) -> &mut Frame {
        self.frame_mut(self.depth)
    }

    /// Kernel work of the running context.
    pub fn pending(&self) -> Pending {
        self.pending[self.depth]
    }

    /// Sets the kernel work of the running context.
    pub fn set_pending(&mut self, pending: Pending) {
        self.pending[self.depth] = pending;
    }

    /// Gives the running context kernel work that no failure has come of yet.
    pub fn begin(&mut self, pending: Pending) {
        self.set_pending(pending);
        if self.depth + 1 < MAX_DEPTH {
            let frame = self.frame_mut(self.depth + 1);
            (frame.attempts, frame.failed_at) = (0, 0);
        }
    }

    /// Whether the request of this thread is committed, and only its flushes are left.
    pub fn committed(&self) -> bool {
        matches!(self.pending[0], Pending::Flush(_) | Pending::Commit)
    }

    /// Whether one of its contexts has this work to do.
    pub fn has_pending(&self, pending: Pending) -> bool {
        self.state != State::Dead && self.pending[..=self.depth].contains(&pending)
    }

    /// The address where frame `depth` begins.
    pub fn frame_address(&self, depth: usize) -> u32 {
        &raw const self.frames[MAX_DEPTH - 1 - depth] as u32
    }

    /// The depth whose frame begins at this address.
    pub fn depth_of(&self, address: u32) -> usize {
        let first = self.frames.as_ptr() as u32;
        MAX_DEPTH - 1 - ((address - first) as usize / size_of::<Frame>()).min(MAX_DEPTH - 1)
    }

    /// The word that the lock of an object holds while frame `depth` is its undisturbed activation: where
    /// sp_svc rests meanwhile.
    pub fn rest(&self, depth: usize) -> u32 {
        self.frame_address(depth) + 68
    }

    /// Failures at the same place of this object count as if at others.
    pub fn forgive(&mut self, object: usize) {
        for frame in &mut self.frames {
            frame.stuck = frame.stuck.filter(|failed| usize::from(*failed) != object);
        }
    }

    /// Notes that the client of a session is to be notified; `false` if there is no room.
    pub fn note(&mut self, binding: BindingId) -> bool {
        let place = self.notes.iter_mut().find(|note| note.is_none_or(|known| known == binding));
        place.map(|note| *note = Some(binding)).is_some()
    }

    /// Whether there is anybody to notify.
    pub fn has_notes(&self) -> bool {
        self.notes[0].is_some() || self.notes_all != 0
    }

    /// The sessions whose clients are to be notified, once.
    pub fn take_notes(&mut self) -> [Option<BindingId>; MAX_NOTES] {
        core::mem::replace(&mut self.notes, [None; MAX_NOTES])
    }

    /// Ends a kernel call of its context with a status.
    pub fn answer(&mut self, status: Result<(), Error>) {
        self.top_mut().registers[0] = status.map_or_else(|error| error as u32, |()| 0);
    }
}

/// Queue of threads, linked through them.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    head: Option<u8>,
    tail: Option<u8>,
}

impl Queue {
    /// Nobody.
    pub const EMPTY: Queue = Queue { head: None, tail: None };

    /// Whether nobody stands in it.
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// The first one.
    pub fn first(&self) -> Option<usize> {
        self.head.map(usize::from)
    }

    /// Puts a thread at the end.
    pub fn push(&mut self, threads: &mut [Thread], thread: usize) {
        threads[thread].next = None;
        match self.tail {
            Some(tail) => threads[usize::from(tail)].next = Some(thread as u8),
            None => self.head = Some(thread as u8),
        }
        self.tail = Some(thread as u8);
    }

    /// Puts a thread at the front.
    pub fn push_front(&mut self, threads: &mut [Thread], thread: usize) {
        threads[thread].next = self.head;
        if self.head.is_none() {
            self.tail = Some(thread as u8);
        }
        self.head = Some(thread as u8);
    }

    /// Takes a thread out, wherever it stands.
    pub fn remove(&mut self, threads: &mut [Thread], thread: usize) -> bool {
        let mut previous: Option<u8> = None;
        let mut at = self.head;
        while let Some(index) = at {
            let next = threads[usize::from(index)].next;
            if usize::from(index) == thread {
                match previous {
                    Some(previous) => threads[usize::from(previous)].next = next,
                    None => self.head = next,
                }
                if self.tail == Some(index) {
                    self.tail = previous;
                }
                threads[thread].next = None;
                return true;
            }
            (previous, at) = (at, next);
        }
        false
    }

    /// The highest priority in it, and the first thread that has it.
    pub fn highest(&self, threads: &[Thread]) -> Option<(usize, usize)> {
        let mut best: Option<(usize, usize)> = None;
        let mut at = self.head;
        while let Some(index) = at {
            let thread = &threads[usize::from(index)];
            if best.is_none_or(|(priority, _)| thread.priority > priority) {
                best = Some((thread.priority, usize::from(index)));
            }
            at = thread.next;
        }
        best
    }
}

/// The ready queues: priorities, round robin within one.
pub struct Scheduler {
    ready: [Queue; PRIORITIES],
    /// Bit p: `ready[p]` is not empty.
    used: u32,
    /// Bit n: process n is ready.
    pub processes: u64,
    /// The process that the scheduler object chose, while that choice stands.
    pub chosen: Option<usize>,
}

impl Scheduler {
    /// Nobody is ready.
    pub const fn new() -> Self {
        Scheduler { ready: [Queue::EMPTY; PRIORITIES], used: 0, processes: 0, chosen: None }
    }

    /// Makes a thread ready, behind the others of its priority.
    pub fn ready(&mut self, threads: &mut [Thread], thread: usize) {
        threads[thread].state = State::Ready;
        let priority = threads[thread].priority;
        self.ready[priority].push(threads, thread);
        self.used |= 1 << priority;
        if thread >= OBJECTS {
            self.processes |= 1 << (thread - OBJECTS);
            self.chosen = None;
        }
    }

    /// Takes a thread out of its ready queue.
    pub fn unready(&mut self, threads: &mut [Thread], thread: usize) {
        let priority = threads[thread].priority;
        self.ready[priority].remove(threads, thread);
        if self.ready[priority].is_empty() {
            self.used &= !(1 << priority);
        }
        if thread >= OBJECTS {
            self.processes &= !(1 << (thread - OBJECTS));
            self.chosen = self.chosen.filter(|chosen| *chosen != thread);
        }
    }

    /// Changes the priority of a thread, ready or not.
    pub fn set_priority(&mut self, threads: &mut [Thread], thread: usize, priority: usize) {
        if threads[thread].priority == priority {
            return;
        }
        if threads[thread].state == State::Ready {
            self.unready(threads, thread);
            threads[thread].priority = priority;
            self.ready(threads, thread);
        } else {
            threads[thread].priority = priority;
        }
    }

    /// The thread that runs next: it stays in its queue while it is ready.
    pub fn next(&self) -> Option<usize> {
        match self.used {
            0 => None,
            used => self.ready[31 - used.leading_zeros() as usize].first(),
        }
    }

    /// Puts a thread behind the others of its priority.
    pub fn rotate(&mut self, threads: &mut [Thread], thread: usize) {
        let priority = threads[thread].priority;
        threads[thread].slice = SLICE;
        self.chosen = None;
        if self.ready[priority].remove(threads, thread) {
            self.ready[priority].push(threads, thread);
        }
    }
}
