//! What the planner of a campaign asks of an engine, and what an engine answers.
//!
//! Shared by the host tool and the plugin that runs inside the emulator; between the two it travels by `postcard`.
#![forbid(unsafe_code)]

mod resolve;

pub use resolve::resolve;
use serde::{Deserialize, Serialize};

/// What is done to the machine at the chosen instruction, before that is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Nothing: the control.
    Nothing,
    /// Nothing, and the run ends there: what the registers hold is what is asked for.
    Look,
    /// Flips bits of a register: 0 to 15, 16 = CPSR.
    Register {
        /// Which.
        register: u8,
        /// Bits to flip.
        mask: u32,
    },
    /// Changes a word (aligned to 4) at a virtual address of the target, or at a physical one: see [`is_physical`].
    Memory {
        /// Where.
        address: u32,
        /// Bits to keep.
        keep: u32,
        /// Bits to flip among those, or to set in place of the others: the new word is `(old & keep) ^ flip`.
        flip: u32,
    },
    /// As [`Action::Memory`], of a word of the stack in use: becomes that by [`resolve`].
    Stack {
        /// Which word from the stack pointer up, modulo their number.
        nth: u32,
        /// Lowest address of the stack.
        low: u32,
        /// Its end.
        top: u32,
        /// As there.
        keep: u32,
        /// As there.
        flip: u32,
    },
    /// As [`Action::Memory`], of a word of the open SSR, header included: becomes that by [`resolve`].
    Ssr {
        /// Which word, modulo the number of those in use.
        nth: u32,
        /// As there.
        keep: u32,
        /// As there.
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
}

/// Whether the address of a word to be changed is a physical one: it lies beyond what a domain can have mapped, so that it
/// belongs to the kernel, which nobody else can reach.
pub const fn is_physical(address: u32) -> bool {
    address >= abi::layout::USER_END
}

/// Everything that an engine must know to carry out experiments on one golden run. Addresses are physical unless said otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Ranges (start and end) that hold the target's instructions: what is executed there is counted.
    pub target: Vec<(u32, u32)>,
    /// Range of the kernel's exception vectors: where user mode is left.
    pub vectors: (u32, u32),
    /// Range of the kernel's instructions.
    pub kernel: (u32, u32),
    /// First instruction of the kernel's function that records a failure.
    pub recorder: u32,
    /// Word that counts ticks.
    pub tick: u32,
    /// Ticks from the begin mark on after which a run has hung.
    pub limit: u32,
    /// Ranges of memory (start and bytes) to bring at the end.
    pub ranges: Vec<(u32, u32)>,
    /// Words of memory to read at the injection.
    pub context: Vec<u32>,
    /// The experiments, in the order of their points.
    pub experiments: Vec<Planned>,
    /// How many may run at the same time.
    pub parallel: u32,
}

/// What the plugin tells of the golden run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recording {
    /// Physical addresses of the instructions executed between the marks, in order.
    pub executed: Vec<u32>,
    /// Physical and virtual addresses and words of the instructions that were ever translated, each once.
    pub code: Vec<(u32, u32, u32)>,
    /// Bytes in the console's file at the begin mark.
    pub console: u64,
}

/// An experiment, as the plan has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The first fault.
    pub first: Injection,
    /// The second, if one was asked for.
    pub second: Option<Injection>,
    /// How the run ended.
    pub end: End,
    /// Ticks of guest time from the begin mark to the end.
    pub ticks: u32,
    /// What came out of the console from the beginning of the workload to the end.
    pub console: Vec<u8>,
    /// Contents of the ranges of physical memory that the engine was told to bring, in their order.
    pub memory: Vec<Vec<u8>>,
}

/// Proof of an injection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Injection {
    /// It is done.
    Done {
        /// What was done, with all places filled in: what [`resolve`] made of what was asked for.
        action: Action,
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
