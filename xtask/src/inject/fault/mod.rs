//! Fault models: what can go wrong with an object, a program or the kernel, and where that is tried.
//!
//! Everything here is computed from the executables, the golden run's list of executed instructions and a seed: the
//! same seed always means the same experiment, whatever machine or shard it runs on.

mod a32;
mod describe;
mod draw;
mod swifi;
mod target;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::{Deserialize, Serialize};

pub use describe::describe;
pub use draw::{Candidates, Interrupts, Seed, interrupts_in};
pub use target::{Kind, Target, heap_in_use};

use super::model::Region;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "&str", try_from = "String")]
pub enum FaultModel {
    /// One bit of r0 to r15 flips.
    Register,
    /// One bit of the CPSR flips.
    Cpsr,
    /// One bit of a word flips.
    Flip(Region),
    /// A word is overwritten with a random one.
    Word(Region),
    /// An instruction is not executed, once.
    Skip,
    /// The code is wrong from here on.
    Swifi(Mutation),
    /// The object fails here and now.
    Crash(Crash),
    /// An interrupt that the kernel took does not reach its object.
    InterruptLost,
    /// An interrupt reaches its object twice.
    InterruptDoubled,
    /// A crash, and another one while the object recovers from it.
    Double,
}

/// The mutations of instructions that Nooks (SOSP'03, table 2) and MINIX 3 (DSN'09) inject; the definitions go back to the
/// Rio file cache (ASPLOS'96).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// Another register is read.
    Source,
    /// Another register gets the result.
    Destination,
    /// One bit of what forms an address is wrong. Not of addresses on the stack, which are no pointers.
    Pointer,
    /// A parameter is not set up before a call: the callee finds what stood there before.
    Parameter,
    /// A loop goes on when it should end, and the other way round.
    Loop,
    /// One bit of the instruction is wrong.
    Bit,
    /// The instruction is missing.
    Elide,
}

/// Forced failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Crash {
    /// A load from page 0, which is never mapped.
    DataAbort,
    /// A jump to page 0.
    PrefetchAbort,
    /// A permanently undefined instruction.
    Undefined,
    /// A jump to a branch to itself.
    Loop,
    /// A jump to one of the target's own panics.
    Panic,
}

impl Crash {
    /// All of them.
    pub const ALL: [Crash; 5] = [Crash::DataAbort, Crash::PrefetchAbort, Crash::Undefined, Crash::Loop, Crash::Panic];
}

/// Regions, with their names.
const REGIONS: [(Region, &str); 7] = [
    (Region::Data, "data"),
    (Region::Bss, "bss"),
    (Region::Heap, "heap"),
    (Region::Stack, "stack"),
    (Region::Ssr, "SSR"),
    (Region::Constants, "constants"),
    (Region::Text, "text"),
];

impl FaultModel {
    /// All of them, in the order of reports.
    pub const ALL: [FaultModel; 32] = [
        FaultModel::Register,
        FaultModel::Cpsr,
        FaultModel::Flip(Region::Data),
        FaultModel::Flip(Region::Bss),
        FaultModel::Flip(Region::Heap),
        FaultModel::Flip(Region::Stack),
        FaultModel::Flip(Region::Ssr),
        FaultModel::Flip(Region::Constants),
        FaultModel::Flip(Region::Text),
        FaultModel::Word(Region::Data),
        FaultModel::Word(Region::Bss),
        FaultModel::Word(Region::Heap),
        FaultModel::Word(Region::Stack),
        FaultModel::Word(Region::Ssr),
        FaultModel::Word(Region::Constants),
        FaultModel::Word(Region::Text),
        FaultModel::Skip,
        FaultModel::Swifi(Mutation::Source),
        FaultModel::Swifi(Mutation::Destination),
        FaultModel::Swifi(Mutation::Pointer),
        FaultModel::Swifi(Mutation::Parameter),
        FaultModel::Swifi(Mutation::Loop),
        FaultModel::Swifi(Mutation::Bit),
        FaultModel::Swifi(Mutation::Elide),
        FaultModel::Crash(Crash::DataAbort),
        FaultModel::Crash(Crash::PrefetchAbort),
        FaultModel::Crash(Crash::Undefined),
        FaultModel::Crash(Crash::Loop),
        FaultModel::Crash(Crash::Panic),
        FaultModel::InterruptLost,
        FaultModel::InterruptDoubled,
        FaultModel::Double,
    ];

    /// As on the command line and in the results.
    pub const fn name(self) -> &'static str {
        match self {
            FaultModel::Register => "register",
            FaultModel::Cpsr => "cpsr",
            FaultModel::Flip(Region::Data) => "flip-data",
            FaultModel::Flip(Region::Bss) => "flip-bss",
            FaultModel::Flip(Region::Heap) => "flip-heap",
            FaultModel::Flip(Region::Stack) => "flip-stack",
            FaultModel::Flip(Region::Ssr) => "flip-ssr",
            FaultModel::Flip(Region::Constants) => "flip-constants",
            FaultModel::Flip(Region::Text) => "flip-text",
            FaultModel::Word(Region::Data) => "word-data",
            FaultModel::Word(Region::Bss) => "word-bss",
            FaultModel::Word(Region::Heap) => "word-heap",
            FaultModel::Word(Region::Stack) => "word-stack",
            FaultModel::Word(Region::Ssr) => "word-ssr",
            FaultModel::Word(Region::Constants) => "word-constants",
            FaultModel::Word(Region::Text) => "word-text",
            FaultModel::Skip => "skip",
            FaultModel::Swifi(Mutation::Source) => "swifi-source",
            FaultModel::Swifi(Mutation::Destination) => "swifi-destination",
            FaultModel::Swifi(Mutation::Pointer) => "swifi-pointer",
            FaultModel::Swifi(Mutation::Parameter) => "swifi-parameter",
            FaultModel::Swifi(Mutation::Loop) => "swifi-loop",
            FaultModel::Swifi(Mutation::Bit) => "swifi-bit",
            FaultModel::Swifi(Mutation::Elide) => "swifi-elide",
            FaultModel::Crash(Crash::DataAbort) => "data-abort",
            FaultModel::Crash(Crash::PrefetchAbort) => "prefetch-abort",
            FaultModel::Crash(Crash::Undefined) => "undefined",
            FaultModel::Crash(Crash::Loop) => "loop",
            FaultModel::Crash(Crash::Panic) => "panic",
            FaultModel::InterruptLost => "interrupt-lost",
            FaultModel::InterruptDoubled => "interrupt-doubled",
            FaultModel::Double => "double",
        }
    }

    /// One line.
    pub const fn description(self) -> &'static str {
        match self {
            FaultModel::Register => "one bit of a register, r0 to r15, flips",
            FaultModel::Cpsr => {
                "one bit of the CPSR flips: flags or execution state; of the kernel's, also mode or interrupt masks"
            }
            FaultModel::Flip(Region::Data) => "one bit of the initialised data flips",
            FaultModel::Flip(Region::Bss) => "one bit of the zeroed data flips",
            FaultModel::Flip(Region::Heap) => "one bit of the heap flips, as far as it was ever used",
            FaultModel::Flip(Region::Stack) => "one bit of the stack flips, from the stack pointer up",
            FaultModel::Flip(Region::Ssr) => "one bit of the open SSR flips, as far as it is used",
            FaultModel::Flip(Region::Constants) => "one bit of the constants flips",
            FaultModel::Flip(Region::Text) => "one bit of the instructions flips",
            FaultModel::Word(Region::Data) => "a word of the initialised data becomes a random one",
            FaultModel::Word(Region::Bss) => "a word of the zeroed data becomes a random one",
            FaultModel::Word(Region::Heap) => "a word of the heap becomes a random one, as far as it was ever used",
            FaultModel::Word(Region::Stack) => "a word of the stack becomes a random one, from the stack pointer up",
            FaultModel::Word(Region::Ssr) => "a word of the open SSR becomes a random one, as far as it is used",
            FaultModel::Word(Region::Constants) => "a word of the constants becomes a random one",
            FaultModel::Word(Region::Text) => "an instruction becomes a random word",
            FaultModel::Skip => "an instruction is not executed, once",
            FaultModel::Swifi(Mutation::Source) => "an instruction reads another register, from then on",
            FaultModel::Swifi(Mutation::Destination) => "an instruction changes another register, from then on",
            FaultModel::Swifi(Mutation::Pointer) => "a load or store forms a garbled address, from then on",
            FaultModel::Swifi(Mutation::Parameter) => "a call finds a stale parameter, from then on",
            FaultModel::Swifi(Mutation::Loop) => "the condition of a loop is inverted, from then on",
            FaultModel::Swifi(Mutation::Bit) => "one bit of the executed instruction flips, for good",
            FaultModel::Swifi(Mutation::Elide) => "an instruction is missing, from then on",
            FaultModel::Crash(Crash::DataAbort) => "a load from an address that is not mapped",
            FaultModel::Crash(Crash::PrefetchAbort) => "a jump to an address that is not mapped",
            FaultModel::Crash(Crash::Undefined) => "an undefined instruction",
            FaultModel::Crash(Crash::Loop) => "an endless loop",
            FaultModel::Crash(Crash::Panic) => "a panic",
            FaultModel::InterruptLost => "an interrupt (device or deadline) does not reach its object",
            FaultModel::InterruptDoubled => "an interrupt (device or deadline) reaches its object twice",
            FaultModel::Double => "a crash, and another one during the recovery from it",
        }
    }

    /// Models that are reported together.
    pub const fn family(self) -> &'static str {
        match self {
            FaultModel::Register | FaultModel::Cpsr => "register",
            FaultModel::Flip(_) | FaultModel::Word(_) => "memory",
            FaultModel::Skip => "skip",
            FaultModel::Swifi(_) => "swifi",
            FaultModel::Crash(_) => "crash",
            FaultModel::InterruptLost | FaultModel::InterruptDoubled => "interrupt",
            FaultModel::Double => "double",
        }
    }

    /// Whether it strikes where interrupts reach the target: see [`Interrupts`].
    pub const fn needs_interrupts(self) -> bool {
        matches!(self, FaultModel::InterruptLost | FaultModel::InterruptDoubled)
    }

    /// Whether it can be injected into a target.
    ///
    /// # Errors
    /// Why not.
    pub fn applies(self, target: &Target) -> Result<(), String> {
        let (name, kind) = (&target.name, target.kind);
        match self {
            FaultModel::Flip(Region::Ssr) | FaultModel::Word(Region::Ssr) if !target.ssr => Err(match kind {
                Kind::Service => format!("{name} has no SSR: it keeps no state for its clients"),
                Kind::Program => format!("{name} has no SSR: it is a program"),
                Kind::Kernel => "the kernel has no SSR of its own: inject into the service whose it is".to_owned(),
            }),
            FaultModel::Flip(Region::Ssr) | FaultModel::Word(Region::Ssr) => Ok(()),
            FaultModel::Flip(region) | FaultModel::Word(region) => match (target.regions.words(region), region) {
                ((_, 0), Region::Heap) => Err(format!("{name} has no heap, or never used it")),
                ((_, 0), Region::Data) => Err(format!("{name} has no initialised data")),
                ((_, 0), Region::Bss) => Err(format!("{name} has no zeroed data")),
                ((_, 0), Region::Constants) => Err(format!("{name} has no constants")),
                ((_, 0), _) => Err(format!("{name} has none of this region")),
                _ => Ok(()),
            },
            FaultModel::Crash(Crash::Loop) if kind == Kind::Program => {
                Err(format!("{name} is a program: it may run for as long as it likes, nobody waits for its end"))
            }
            FaultModel::Crash(Crash::Loop) if target.text.endless_loops().is_empty() => {
                Err(format!("{name} has no instruction that branches to itself"))
            }
            FaultModel::Crash(Crash::Panic) if target.text.panics().is_empty() => {
                Err(format!("{name} never panics: none of its instructions calls what panics"))
            }
            FaultModel::InterruptLost | FaultModel::InterruptDoubled if !target.interrupts => Err(match kind {
                Kind::Service => format!("{name} gets no interrupts: its manifest gives it no line and no deadline"),
                Kind::Program => format!("{name} gets no interrupts: it is a program"),
                Kind::Kernel => "the kernel takes interrupts for services: inject into the service".to_owned(),
            }),
            FaultModel::Double if kind != Kind::Service => {
                Err(format!("{name} does not recover, so that nothing can fail during its recovery"))
            }
            FaultModel::Register
            | FaultModel::Cpsr
            | FaultModel::Skip
            | FaultModel::Swifi(_)
            | FaultModel::Crash(_)
            | FaultModel::InterruptLost
            | FaultModel::InterruptDoubled
            | FaultModel::Double => Ok(()),
        }
    }
}

impl fmt::Display for FaultModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<FaultModel> for &'static str {
    fn from(model: FaultModel) -> &'static str {
        model.name()
    }
}

impl TryFrom<String> for FaultModel {
    type Error = String;

    fn try_from(name: String) -> Result<FaultModel, String> {
        let found = FaultModel::ALL.into_iter().find(|model| model.name() == name);
        found.ok_or_else(|| format!("there is no fault model {name}"))
    }
}

impl ValueEnum for FaultModel {
    fn value_variants<'a>() -> &'a [Self] {
        &FaultModel::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()).help(self.description()))
    }
}
