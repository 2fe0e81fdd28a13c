//! The terms of a campaign: what is done to whom, when, and what came of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What came of an experiment: exactly one of these. Of several that hold, the last in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The fault could not be injected.
    NotInjected,
    /// No effect: nothing detected, all results those of the golden run.
    Masked,
    /// Detected and recovered; all results those of the golden run.
    Transparent,
    /// A request of the client that was being served got a clear error; no state was lost.
    RequestFailed,
    /// The session that was being served is gone, and its client was told.
    SessionLost,
    /// Wrong results without an error.
    SilentCorruption,
    /// A client that was not being served got an error or lost its session, or an object outside the request's chain failed.
    Collateral,
    /// A client did not come to its end.
    Hang,
    /// The kernel panicked, or ended the system.
    KernelDead,
}

impl Outcome {
    /// All of them, in order.
    pub const ALL: [Outcome; 9] = [
        Outcome::NotInjected,
        Outcome::Masked,
        Outcome::Transparent,
        Outcome::RequestFailed,
        Outcome::SessionLost,
        Outcome::SilentCorruption,
        Outcome::Collateral,
        Outcome::Hang,
        Outcome::KernelDead,
    ];

    /// As in the results.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::NotInjected => "not_injected",
            Outcome::Masked => "masked",
            Outcome::Transparent => "transparent",
            Outcome::RequestFailed => "request_failed",
            Outcome::SessionLost => "session_lost",
            Outcome::SilentCorruption => "silent_corruption",
            Outcome::Collateral => "collateral",
            Outcome::Hang => "hang",
            Outcome::KernelDead => "kernel_dead",
        }
    }

    /// Whether it had an effect: all but masked (and what was not injected).
    pub const fn manifested(self) -> bool {
        !matches!(self, Outcome::NotInjected | Outcome::Masked)
    }

    /// Whether it manifested and somebody was told: all but silent corruption.
    pub const fn detected(self) -> bool {
        self.manifested() && !matches!(self, Outcome::SilentCorruption)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How the image recovers: ours, and what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Recovery {
    /// A service that fails is given up.
    None,
    /// It is started anew; all state of its clients is gone.
    Blind,
    /// It is started anew; its clients' state stays, but every page of it is always writable, and nothing is rolled back.
    Kept,
    /// One client's region at a time, but nothing is rolled back.
    Ssr,
    /// One client's region at a time, and the request is undone: ours.
    Rollback,
}

impl Recovery {
    /// All of them, in order.
    pub const ALL: [Recovery; 5] = [Recovery::None, Recovery::Blind, Recovery::Kept, Recovery::Ssr, Recovery::Rollback];

    /// As on the command line and in the results.
    pub const fn name(self) -> &'static str {
        match self {
            Recovery::None => "none",
            Recovery::Blind => "blind",
            Recovery::Kept => "kept",
            Recovery::Ssr => "ssr",
            Recovery::Rollback => "rollback",
        }
    }
}

/// Regions of an object's memory that faults strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Region {
    /// Initialised data.
    Data,
    /// Zeroed data.
    Bss,
    /// Heap, as far as it has ever been used.
    Heap,
    /// Stack, from the stack pointer up.
    Stack,
    /// The region of the client that is being served, as far as it is used.
    Ssr,
    /// Constants.
    Constants,
    /// Instructions.
    Text,
}

/// What is done to the machine at the chosen instruction, before that is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Action {
    /// Nothing: the control.
    Nothing,
    /// Flips bits of a register: 0 to 15, 16 = CPSR.
    Register {
        /// Which.
        register: u8,
        /// Bits to flip.
        mask: u32,
    },
    /// Changes a word (aligned to 4) at a virtual address of the target, or physical address of the kernel.
    Memory {
        /// Where.
        address: u32,
        /// Bits to keep.
        keep: u32,
        /// Bits to flip among those, or to set in place of the others: the new word is `(old & keep) ^ flip`.
        flip: u32,
    },
    /// Goes on at another address: skips (the next instruction), jumps (a loop, a panic).
    Jump {
        /// Where to.
        pc: u32,
    },
    /// Puts another word in the place of the instruction, for good.
    Patch {
        /// The word.
        word: u32,
    },
    /// Executes another instruction in the place of this one, once.
    Instead {
        /// The word.
        word: u32,
    },
    /// At the first instruction of a function of the kernel: returns at once (a lost interrupt).
    Return,
    /// At the first instruction of a function of the kernel: when it returns, it is called a second time with the same
    /// arguments (a doubled interrupt).
    Twice,
}

/// An experiment, as the plan has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its name; also fixes all that is random about it.
    pub id: String,
    /// Ordinal of the target's instruction in the golden run, from 0.
    pub at: u64,
    /// Virtual address of that instruction.
    pub pc: u32,
    /// What happens there.
    pub action: Action,
    /// A second fault: so many of the target's instructions after its first failure was recorded, and what.
    pub second: Option<(u64, Action)>,
}

/// What an engine saw of one experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The first fault.
    pub first: Injection,
    /// The second, if one was asked for.
    pub second: Option<Injection>,
    /// How the run ended.
    pub end: End,
    /// Instructions executed from the fault to the end, of all domains and the kernel.
    pub instructions: u64,
    /// What came out of the console from the beginning of the workload to the end.
    pub console: Vec<u8>,
    /// Contents of the ranges of physical memory that the engine was told to bring, in their order.
    pub memory: Vec<Vec<u8>>,
}

/// Proof of an injection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Injection {
    /// It is done.
    Done {
        /// The register or word before.
        before: u32,
        /// And after, read back.
        after: u32,
        /// r0 to r15 and CPSR before.
        registers: [u32; 17],
        /// Words of physical memory read at that moment, those that the engine was told to read.
        context: Vec<u32>,
    },
    /// It was not: why.
    Failed(String),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The workload's end mark was reached.
    Complete,
    /// The guest ended the system with a status before that.
    Exit(i32),
    /// The bound on instructions was reached.
    Limit,
    /// The emulator ended or said something unexpected: a fault of the injector, never of the guest.
    Broken,
}
