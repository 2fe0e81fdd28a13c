//! Interface of the scheduler: what a program can say about its own thread, and which policy decides.
#![no_std]
#![forbid(unsafe_code)]

use rt::{Session, Word};

/// Priority of a program that has no session here: the middle of 0 (lowest) to 7, as in a manifest that names none.
pub const DEFAULT_PRIORITY: u32 = 4;
/// The longest slice, in ticks of a millisecond.
pub const MAX_SLICE: u32 = 10;
/// Slice of a program that asked for none, in ticks.
pub const DEFAULT_SLICE: u32 = 4;
/// Weight that each step of the manifest's priority is worth; see [`weight_of`].
pub const WEIGHT_STEP: u32 = 32;

/// Weight of a program with this priority in its manifest: what it starts with, and the most that it may ask for.
pub const fn weight_of(priority: u32) -> u32 {
    WEIGHT_STEP * (priority + 1)
}

rt::errors! {
    /// What a request to the scheduler can fail with.
    pub enum SchedulerError {
        /// The priority is above the one in the client's manifest.
        Priority = 0x100, "the priority is above the one in the manifest";
        /// The weight is 0, or above what the manifest's priority is worth ([`weight_of`]).
        Weight = 0x101, "the weight is 0 or above what the manifest's priority is worth";
        /// The slice is 0 or above [`MAX_SLICE`].
        Slice = 0x102, "a slice is 1 to 10 ticks";
        /// Only a program that may end the system may change how it is scheduled.
        NotAllowed = 0x103, "only a program with the right `shutdown` may change the policy";
    }
}

/// How the next process is chosen. The constructor's argument says which policy is active at first.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// The highest priority, round robin within it, and a fair turn for everybody now and then.
    Priorities = 0,
    /// Stride scheduling: processor time in proportion to the weights.
    Stride = 1,
}

impl PolicyKind {
    /// All of them, in order of their numbers.
    pub const ALL: [PolicyKind; 2] = [PolicyKind::Priorities, PolicyKind::Stride];

    /// Its name, as a shell spells it.
    pub const fn name(self) -> &'static str {
        match self {
            PolicyKind::Priorities => "priorities",
            PolicyKind::Stride => "stride",
        }
    }
}

impl Word for PolicyKind {
    fn into_word(self) -> u32 {
        self as u32
    }
    fn from_word(word: u32) -> Option<Self> {
        Self::ALL.get(word as usize).copied()
    }
}

/// What a program can say about its thread. One session a process; without one a process has the defaults:
/// [`DEFAULT_PRIORITY`], its weight and [`DEFAULT_SLICE`]. A session begins with the priority of the program's manifest, and
/// ends with the defaults.
///
/// `bind` fails with `NotPermitted` for a service (its threads are the kernel's affair), with `Exhausted` for a process that
/// has a session already.
#[rt::interface(name = "scheduler")]
pub trait Scheduler {
    /// Sets priority (0 to that of the manifest), weight (1 to [`weight_of`] that) and slice (1 to [`MAX_SLICE`] ticks) of
    /// the client's thread, from the next decision on.
    fn set(
        &mut self,
        session: &mut Session<Self::State>,
        priority: u32,
        weight: u32,
        slice: u32,
    ) -> Result<(), SchedulerError>;
    /// Priority, weight and slice of the client's thread, and the highest priority that it may have.
    #[read_only]
    fn get(&mut self, session: &mut Session<Self::State>) -> Result<(u32, u32, u32, u32), SchedulerError>;
    /// Decisions, how many of them chose the client, and the ticks that it ran after them; all since the scheduler was
    /// built last, and modulo 2^32. A thread that is alone needs no decision, and its time is not counted.
    #[read_only]
    fn statistics(&mut self, session: &mut Session<Self::State>) -> Result<(u32, u32, u32), SchedulerError>;
    /// The active policy.
    #[read_only]
    fn policy(&mut self, session: &mut Session<Self::State>) -> Result<PolicyKind, SchedulerError>;
    /// Makes another policy the active one, for everybody and until further notice: it survives failures. Takes the right
    /// `shutdown` in the client's manifest: whoever has that can do worse, so nobody gains authority by this method.
    fn set_policy(&mut self, session: &mut Session<Self::State>, policy: PolicyKind) -> Result<(), SchedulerError>;
}
