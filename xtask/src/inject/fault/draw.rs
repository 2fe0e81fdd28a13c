//! Which experiments a seed means.

use abi::{Events, Hook};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::target::{Kind, Target};
use super::text::WORD;
use super::{Crash, FaultModel, swifi};
use crate::inject::model::{Action, Region};

/// What the hash of a seed begins with. Whoever changes what is drawn, or in what order, counts it up: the same seed
/// then means other experiments.
const SCHEME: &[u8] = b"curios-rs fault injection 1";
/// An address in page 0, which is never mapped, neither for domains nor for the kernel.
const UNMAPPED: u32 = 0x100;
/// `ldr r0, [r1, -r1]` (A8.8.66): loads from address 0, whatever the registers hold.
const LOAD_FROM_0: u32 = 0xe711_0001;
/// `udf #0` (A8.8.247).
const UNDEFINED: u32 = 0xe7f0_00f0;
/// Registers to flip: r0 to r15.
const REGISTERS: u8 = 16;
/// [`Action::Register`]'s number of the CPSR.
pub const CPSR: u8 = 16;
/// The bits of the CPSR that belong to user mode: N, Z, C, V, Q, IT, J, GE, E and T.
const USER_BITS: u32 = 0xff0f_fe20;
/// Far above the number of words that any stack or SSR has: a number below it, modulo theirs, is any of them with the same
/// likelihood, but for less than one in ten thousand.
const MANY: u32 = 1 << 30;

/// All that is random about an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed<'a> {
    /// The campaign's.
    pub campaign: u64,
    /// Name of the service (program, kernel).
    pub service: &'a str,
    /// Number of the experiment among those of this service and fault model. The same faults strike whatever way to recover
    /// the image was built for.
    pub number: u64,
}

impl Seed<'_> {
    /// The generator of an experiment: ChaCha with 8 rounds, its key the SHA-256 of scheme, service and fault model (each
    /// after its length in 4 bytes), campaign's seed and number (8 bytes each), little endian.
    fn generator(&self, model: FaultModel) -> ChaCha8Rng {
        let mut hash = Sha256::new();
        for text in [SCHEME, self.service.as_bytes(), model.name().as_bytes()] {
            hash.update((text.len() as u32).to_le_bytes());
            hash.update(text);
        }
        hash.update(self.campaign.to_le_bytes());
        hash.update(self.number.to_le_bytes());
        ChaCha8Rng::from_seed(hash.finalize().into())
    }
}

/// An experiment as it was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Which of the executed instructions, from 0.
    pub at: u64,
    /// Its address.
    pub pc: u32,
    /// What happens there.
    pub action: Action,
    /// A second fault: after so many of the target's instructions from its first failure on, and what.
    pub second: Option<(u64, Action)>,
}

/// The executed instructions that a fault model can strike at.
pub struct Candidates<'a> {
    model: FaultModel,
    target: &'a Target,
    executed: &'a [u32],
    /// Which of those executed; `None` for all.
    eligible: Option<Vec<u32>>,
    interrupts: &'a Interrupts,
}

/// Interrupts that reached the target in the golden run: device lines, and the clock at its deadline.
///
/// A fault in one strikes at the upcall that brings it, which is where the kernel is through with it: a lost one is missing
/// from the events that the object gets, while the kernel takes it for delivered; a doubled one is pending again, so that
/// another upcall brings it when this one is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interrupts {
    /// For each upcall that brought interrupts, in order: which of the executed instructions was its first one, and the
    /// [interrupts](interrupts_in).
    pub upcalls: Vec<(u32, u32)>,
    /// Address of the kernel's word that holds the events that wait for the target.
    pub waiting: u32,
}

impl<'a> Candidates<'a> {
    /// Finds them among the addresses of the instructions that the target executed in the golden run, in their order. The
    /// `interrupts` matter only to a model that [needs](FaultModel::needs_interrupts) them.
    ///
    /// # Errors
    /// If the model does not apply to the target, or the target executed nothing that it applies to.
    pub fn new(
        model: FaultModel,
        target: &'a Target,
        executed: &'a [u32],
        interrupts: &'a Interrupts,
    ) -> Result<Candidates<'a>, String> {
        model.applies(target)?;
        let eligible = match model {
            FaultModel::Swifi(mutation) => {
                let range = target.text.range();
                let fits: Vec<bool> = range
                    .clone()
                    .step_by(WORD as usize)
                    .map(|pc| !swifi::mutants(mutation, pc, &target.text).is_empty())
                    .collect();
                let fits = |pc: u32| {
                    let index = pc.checked_sub(range.start).map(|offset| (offset / WORD) as usize);
                    index.and_then(|index| fits.get(index)).is_some_and(|fits| *fits)
                };
                Some((0..).zip(executed).filter(|(_, pc)| fits(**pc)).map(|(at, _)| at).collect::<Vec<u32>>())
            }
            model if model.needs_interrupts() => {
                let known = interrupts.upcalls.iter().map(|(at, _)| *at);
                Some(known.filter(|at| (*at as usize) < executed.len()).collect())
            }
            _ => None,
        };
        let candidates = Candidates { model, target, executed, eligible, interrupts };
        match candidates.count() {
            0 if model.needs_interrupts() => Err(format!("{} got no interrupt in the golden run", target.name)),
            0 => Err(format!("{} executed no instruction that {model} is for", target.name)),
            _ => Ok(candidates),
        }
    }

    /// How many there are; never 0.
    pub fn count(&self) -> usize {
        self.eligible.as_ref().map_or(self.executed.len(), Vec::len)
    }

    /// Draws an experiment: first one of the candidates, all of them equally likely, then what happens there.
    pub fn draw(&self, seed: &Seed) -> Drawn {
        let mut random = seed.generator(self.model);
        let chosen = random.random_range(0..self.count());
        let at = self.eligible.as_ref().map_or(chosen, |eligible| eligible[chosen] as usize);
        let pc = self.executed[at];
        let (action, second) = match self.model {
            FaultModel::Double => {
                let first = self.crash(&mut random);
                let after = random.random_range(0..self.target.recovery.max(1));
                (first, Some((after, self.crash(&mut random))))
            }
            FaultModel::InterruptLost => (Action::Register { register: 0, mask: self.interrupts_of(chosen) }, None),
            FaultModel::InterruptDoubled => {
                let bits = self.interrupts_of(chosen);
                (Action::Memory { address: self.interrupts.waiting, keep: !bits, flip: bits }, None)
            }
            model => (action(model, pc, self.target, &mut random), None),
        };
        Drawn { at: at as u64, pc, action, second }
    }

    /// What a chosen upcall brings.
    fn interrupts_of(&self, chosen: usize) -> u32 {
        self.interrupts.upcalls.get(chosen).map_or(0, |(_, bits)| *bits)
    }

    /// Any of the crashes that apply to the target.
    fn crash(&self, random: &mut ChaCha8Rng) -> Action {
        let applies = |crash: &Crash| FaultModel::Crash(*crash).applies(self.target).is_ok();
        let crashes: Vec<Crash> = Crash::ALL.into_iter().filter(applies).collect();
        crashes.choose(random).map_or(Action::Nothing, |crash| force(*crash, self.target, random))
    }
}

/// What a model does at an instruction that needs nothing else to be known.
fn action(model: FaultModel, pc: u32, target: &Target, random: &mut ChaCha8Rng) -> Action {
    match model {
        FaultModel::Register => Action::Register { register: random.random_range(0..REGISTERS), mask: one_bit(random) },
        FaultModel::Cpsr => Action::Register { register: CPSR, mask: cpsr_bit(target.kind, random) },
        FaultModel::Flip(region) => {
            let place = place(region, target, random);
            change(place, u32::MAX, one_bit(random))
        }
        FaultModel::Word(region) => {
            let place = place(region, target, random);
            change(place, 0, random.random())
        }
        FaultModel::Skip => Action::Jump { pc: pc.wrapping_add(WORD) },
        FaultModel::Swifi(mutation) => match swifi::mutants(mutation, pc, &target.text).choose(random) {
            Some(word) => Action::Patch { word: *word },
            None => Action::Nothing,
        },
        FaultModel::Crash(crash) => force(crash, target, random),
        FaultModel::InterruptLost | FaultModel::InterruptDoubled | FaultModel::Double => Action::Nothing,
    }
}

/// A bit of the CPSR: of the kernel any, of what runs in user mode one that belongs to it. Mode and interrupt masks are the
/// kernel's own, which user mode cannot change (ARM ARM, B1.3.3): faults of theirs are faults of the kernel.
fn cpsr_bit(kind: Kind, random: &mut ChaCha8Rng) -> u32 {
    let bits = if kind == Kind::Kernel { u32::MAX } else { USER_BITS };
    let places: Vec<u32> = (0..u32::BITS).filter(|place| bits >> place & 1 == 1).collect();
    places.choose(random).map_or(0, |place| 1 << place)
}

fn one_bit(random: &mut ChaCha8Rng) -> u32 {
    1 << random.random_range(0..u32::BITS)
}

/// Where a word lies.
enum Place {
    At(u32),
    Stack { nth: u32, low: u32, top: u32 },
    Ssr { nth: u32 },
}

/// A word of a region, all of them equally likely.
fn place(region: Region, target: &Target, random: &mut ChaCha8Rng) -> Place {
    match region {
        Region::Stack => {
            let stack = &target.regions.stack;
            Place::Stack { nth: random.random_range(0..MANY), low: stack.start, top: stack.end }
        }
        Region::Ssr => Place::Ssr { nth: random.random_range(0..MANY) },
        _ => {
            let (first, words) = target.regions.words(region);
            Place::At(first + random.random_range(0..words) * WORD)
        }
    }
}

fn change(place: Place, keep: u32, flip: u32) -> Action {
    match place {
        Place::At(address) => Action::Memory { address, keep, flip },
        Place::Stack { nth, low, top } => Action::Stack { nth, low, top, keep, flip },
        Place::Ssr { nth } => Action::Ssr { nth, keep, flip },
    }
}

/// Fails. The kind applies to the target.
fn force(crash: Crash, target: &Target, random: &mut ChaCha8Rng) -> Action {
    let mut one_of = |places: &[u32]| places.choose(random).map_or(Action::Nothing, |pc| Action::Jump { pc: *pc });
    match crash {
        Crash::DataAbort => Action::Instead { word: LOAD_FROM_0 },
        Crash::PrefetchAbort => Action::Jump { pc: UNMAPPED },
        Crash::Undefined => Action::Instead { word: UNDEFINED },
        Crash::Loop => one_of(target.text.endless_loops()),
        Crash::Panic => one_of(target.text.panics()),
    }
}

/// The interrupts among what an upcall brings, with r0 to r15 and the CPSR as they are at the [hook](Target::hook)'s first
/// instruction; `None` if there are none, or another hook is entered (`abi::Hook`: r7 says which, r0 holds the events).
pub fn interrupts_in(registers: &[u32; 17]) -> Option<u32> {
    let [events, skipped, ..] = *registers;
    let upcall = registers[7] & 0xff == Hook::Event as u32 && skipped == 0;
    let interrupts = events & (Events::LINES | Events::DEADLINE).bits();
    (upcall && interrupts != 0).then_some(interrupts)
}
