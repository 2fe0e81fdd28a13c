//! Experiments: the same for the same seed, spread evenly, and what each model says.

use std::collections::BTreeMap;

use abi::{Events, Hook};
use proptest::prelude::*;

use super::super::a32;
use super::super::draw::Drawn;
use super::super::swifi::mutants;
use super::super::{Candidates, Crash, FaultModel, Interrupts, Mutation, Seed, describe, interrupts_in};
use super::*;
use crate::inject::model::{Action, Region};

/// No interrupts.
static NONE: Interrupts = Interrupts { upcalls: Vec::new(), waiting: 0 };

/// The method once through: the loop twice, then out by the first panic.
fn executed() -> Vec<u32> {
    let words = |range: Range<u32>| range.step_by(4);
    words(CLOSE..0x1_1390).chain(words(0x1_135c..0x1_13a8)).chain(words(0x1_13c0..0x1_13d4)).collect()
}

/// One upcall.
fn interrupts() -> Interrupts {
    Interrupts { upcalls: vec![(5, Events::DEADLINE.bits())], waiting: 0x4010_0000 }
}

fn draw(model: FaultModel, campaign: u64, number: u64) -> Drawn {
    let (target, executed, interrupts) = (service(), executed(), interrupts());
    let candidates = Candidates::new(model, &target, &executed, &interrupts).expect("candidates");
    candidates.draw(&Seed { campaign, service: &target.name, number })
}

/// Many experiments of a model.
fn many(model: FaultModel, count: u64) -> Vec<Drawn> {
    let (target, executed, interrupts) = (service(), executed(), interrupts());
    let candidates = Candidates::new(model, &target, &executed, &interrupts).expect("candidates");
    (0..count).map(|number| candidates.draw(&Seed { campaign: 7, service: &target.name, number })).collect()
}

/// Pearson's statistic of counts that should be equal, and its degrees of freedom.
fn chi_squared<K>(counts: &BTreeMap<K, u64>, kinds: usize) -> (f64, usize) {
    let total: u64 = counts.values().sum();
    let expected = total as f64 / kinds as f64;
    let missing = (kinds - counts.len()) as f64 * expected;
    let seen: f64 = counts.values().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
    (seen + missing, kinds - 1)
}

/// Whether counts look equal: within four standard deviations of what the statistic is for equal ones.
fn assert_even<K>(what: &str, counts: &BTreeMap<K, u64>, kinds: usize) {
    assert!(counts.len() <= kinds, "{what}: {} of {kinds}", counts.len());
    let (statistic, freedom) = chi_squared(counts, kinds);
    let bound = freedom as f64 + 4.0 * (2.0 * freedom as f64).sqrt();
    assert!(statistic <= bound, "{what}: {statistic} with {freedom} degrees of freedom");
}

fn count<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, u64> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_insert(0) += 1);
    counts
}

#[test]
fn points_are_spread_evenly_over_what_was_executed() {
    let all = executed();
    let drawn = many(FaultModel::Register, 20_000);
    assert!(drawn.iter().all(|drawn| all[drawn.at as usize] == drawn.pc));
    assert_even("points", &count(drawn.iter().map(|drawn| drawn.at)), all.len());
    // An instruction in the loop is struck twice as often: it was executed twice.
    let text = method();
    for mutation in [Mutation::Source, Mutation::Pointer, Mutation::Loop, Mutation::Elide] {
        let drawn = many(FaultModel::Swifi(mutation), 20_000);
        let fitting = all.iter().filter(|pc| !mutants(mutation, **pc, &text).is_empty()).count();
        assert_even(&format!("{mutation:?}"), &count(drawn.iter().map(|drawn| drawn.at)), fitting);
    }
}

#[test]
fn registers_and_bits_are_spread_evenly() {
    let drawn = many(FaultModel::Register, 20_000);
    let flips = count(drawn.iter().map(|drawn| match drawn.action {
        Action::Register { register, mask } if mask.is_power_of_two() => (register, mask),
        other => panic!("{other:?}"),
    }));
    assert_even("registers", &flips, 16 * 32);
    let drawn = many(FaultModel::Cpsr, 10_000);
    let flips = count(drawn.iter().map(|drawn| match drawn.action {
        Action::Register { register: 16, mask } if mask.is_power_of_two() => mask,
        other => panic!("{other:?}"),
    }));
    assert_even("CPSR", &flips, 20);
}

#[test]
fn words_and_bits_of_regions_are_spread_evenly() {
    let regions = service().regions;
    for region in [Region::Data, Region::Bss, Region::Heap, Region::Constants, Region::Text] {
        let (first, words) = regions.words(region);
        let address = |drawn: &Drawn, kept: u32| match drawn.action {
            Action::Memory { address, keep, flip } if keep == kept => (address, flip),
            other => panic!("{region:?}: {other:?}"),
        };
        let flips = many(FaultModel::Flip(region), 20_000);
        let flips = || flips.iter().map(|drawn| address(drawn, u32::MAX));
        assert!(flips().all(|(address, mask)| mask.is_power_of_two() && (address - first).is_multiple_of(4)));
        assert_even("words", &count(flips().map(|(address, _)| address)), words as usize);
        assert_even("bits", &count(flips().map(|(_, mask)| mask)), 32);
        let random = many(FaultModel::Word(region), 5_000);
        let values = count(random.iter().map(|drawn| address(drawn, 0).1 >> 27));
        assert_even("values", &values, 32);
    }
}

#[test]
fn words_of_stack_and_ssr_are_left_to_the_injection() {
    let stack = service().regions.stack;
    for (model, kept) in [(FaultModel::Flip(Region::Stack), u32::MAX), (FaultModel::Word(Region::Stack), 0)] {
        for drawn in many(model, 100) {
            let Action::Stack { low, top, keep, flip, .. } = drawn.action else { panic!("{drawn:?}") };
            assert_eq!((low, top, keep), (stack.start, stack.end, kept));
            assert!(kept == 0 || flip.is_power_of_two());
        }
    }
    let drawn = many(FaultModel::Flip(Region::Ssr), 10_000);
    let words = count(drawn.iter().map(|drawn| match drawn.action {
        Action::Ssr { nth, keep: u32::MAX, flip } if flip.is_power_of_two() => nth % 100,
        other => panic!("{other:?}"),
    }));
    assert_even("words of an SSR", &words, 100);
}

#[test]
fn crashes_are_what_they_say() {
    let first = |crash| many(FaultModel::Crash(crash), 50);
    for drawn in first(Crash::DataAbort) {
        let Action::Instead { word } = drawn.action else { panic!("{drawn:?}") };
        let encoding = a32::decode(word).expect("an instruction");
        // The offset is the base register itself, unshifted, and subtracted before the access, whatever the flags are.
        assert_eq!((encoding.name, a32::always(word), a32::predictable(word)), ("ldr", true, true));
        assert_eq!(a32::field(word, 16), a32::field(word, 0));
        assert_eq!(word & (1 << 23 | 1 << 21 | 0xfe0), 0);
        assert_eq!(word & (1 << 25 | 1 << 24), 1 << 25 | 1 << 24);
    }
    for drawn in first(Crash::Undefined) {
        let Action::Instead { word } = drawn.action else { panic!("{drawn:?}") };
        assert_eq!((a32::decode(word).map(|encoding| encoding.name), a32::always(word)), (Some("udf"), true));
    }
    for drawn in first(Crash::PrefetchAbort) {
        assert!(matches!(drawn.action, Action::Jump { pc } if pc < abi::layout::PAGE && pc.is_multiple_of(4)));
    }
    assert!(first(Crash::Loop).iter().all(|drawn| drawn.action == Action::Jump { pc: PANIC + 8 }));
    let panics = count(first(Crash::Panic).iter().map(|drawn| match drawn.action {
        Action::Jump { pc } => pc,
        other => panic!("{other:?}"),
    }));
    assert_eq!(panics.into_keys().collect::<Vec<_>>(), [0x1_13c0, 0x1_13d4]);
}

#[test]
fn double_faults_are_any_two_crashes_the_second_during_the_recovery() {
    let drawn = many(FaultModel::Double, 5_000);
    let second = |drawn: &Drawn| drawn.second.expect("a second fault");
    assert!(drawn.iter().all(|drawn| second(drawn).0 < service().recovery));
    assert_even("when", &count(drawn.iter().map(|drawn| second(drawn).0 / 50)), 10);
    // Two of the six jumps are panics, which are drawn as one kind.
    let kind = |action: Action| match action {
        Action::Jump { pc: 0x1_13c0 | 0x1_13d4 } => "panic".to_owned(),
        other => format!("{other:?}"),
    };
    assert_even("which", &count(drawn.iter().map(|drawn| (kind(drawn.action), kind(second(drawn).1)))), 25);
    assert!(many(FaultModel::Skip, 100).iter().all(|drawn| drawn.second.is_none()));
}

#[test]
fn double_faults_use_only_crashes_that_apply() {
    let mut target = service();
    target.text = only(&[0xe320_f000]);
    let candidates = Candidates::new(FaultModel::Double, &target, &[CLOSE], &NONE).expect("candidates");
    for number in 0..200 {
        let drawn = candidates.draw(&Seed { campaign: 1, service: "x", number });
        for action in [Some(drawn.action), drawn.second.map(|(_, action)| action)] {
            assert!(matches!(action, Some(Action::Instead { .. } | Action::Jump { pc: 0x100 })), "{action:?}");
        }
    }
}

#[test]
fn skips_and_mutations_belong_to_their_instruction() {
    assert!(many(FaultModel::Skip, 500).iter().all(|drawn| drawn.action == Action::Jump { pc: drawn.pc + 4 }));
    let text = method();
    for model in FaultModel::ALL {
        let FaultModel::Swifi(mutation) = model else { continue };
        for drawn in many(model, 500) {
            let Action::Patch { word } = drawn.action else { panic!("{model}: {drawn:?}") };
            assert!(mutants(mutation, drawn.pc, &text).contains(&word), "{model}: {drawn:?}");
        }
    }
}

#[test]
fn what_was_not_executed_is_not_struck() {
    let target = service();
    let loops = FaultModel::Swifi(Mutation::Loop);
    let none =
        Candidates::new(loops, &target, &[CLOSE, CLOSE + 4], &NONE).map(|_| ()).expect_err("nothing decides a loop");
    assert_eq!(none, "console executed no instruction that swifi-loop is for");
    assert!(Candidates::new(FaultModel::Register, &target, &[], &NONE).is_err());
    let lost =
        Candidates::new(FaultModel::InterruptLost, &target, &executed(), &NONE).map(|_| ()).expect_err("no interrupt");
    assert_eq!(lost, "console got no interrupt in the golden run");
    let one = Candidates::new(loops, &target, &[CLOSE, 0x1_138c, 0x4001_0000], &NONE).expect("one");
    assert_eq!(one.count(), 1);
    assert_eq!(one.draw(&Seed { campaign: 0, service: "console", number: 0 }).at, 1);
}

#[test]
fn interrupts_are_lines_and_deadlines() {
    let upcall = |hook: Hook, events: Events, skipped| {
        let mut registers = [0; 17];
        (registers[0], registers[1], registers[7]) = (events.bits(), skipped, 0x300 | hook as u32);
        interrupts_in(&registers)
    };
    for interrupt in [Events::line(0), Events::line(3), Events::DEADLINE, Events::DEADLINE | Events::line(1)] {
        assert_eq!(upcall(Hook::Event, interrupt, 0), Some(interrupt.bits()));
        assert_eq!(upcall(Hook::Event, interrupt | Events::HEARTBEAT, 0), Some(interrupt.bits()));
        assert_eq!(upcall(Hook::Event, interrupt, 3), None, "a session is skipped: the events came before");
        assert_eq!(upcall(Hook::Step, interrupt, 0), None);
    }
    for other in [Events::HEARTBEAT, Events::FAILURE, Events::CHILD, Events::NOTIFICATIONS, Events::empty()] {
        assert_eq!(upcall(Hook::Event, other, 0), None, "{other:?}");
    }
}

#[test]
fn an_interrupt_is_lost_to_the_object_or_waits_for_it_again() {
    let (target, executed) = (service(), executed());
    let (line, deadline) = (Events::line(0).bits(), Events::DEADLINE.bits());
    let interrupts =
        Interrupts { upcalls: vec![(3, line), (9, line | deadline), (30, deadline)], waiting: 0x4011_2345 };
    let drawn = |model| {
        let candidates = Candidates::new(model, &target, &executed, &interrupts).expect("candidates");
        assert_eq!(candidates.count(), 3);
        (0..3000).map(|number| candidates.draw(&Seed { campaign: 3, service: "t", number })).collect::<Vec<Drawn>>()
    };
    let bits =
        |drawn: &Drawn| interrupts.upcalls.iter().find(|(at, _)| u64::from(*at) == drawn.at).expect("an upcall").1;
    let lost = drawn(FaultModel::InterruptLost);
    assert!(lost.iter().all(|lost| lost.action == Action::Register { register: 0, mask: bits(lost) }));
    assert!(lost.iter().all(|lost| lost.pc == executed[lost.at as usize]));
    assert_even("lost interrupts", &count(lost.iter().map(|lost| lost.at)), 3);
    for doubled in drawn(FaultModel::InterruptDoubled) {
        let bits = bits(&doubled);
        let Action::Memory { address: 0x4011_2345, keep, flip } = doubled.action else { panic!("{doubled:?}") };
        assert_eq!([0, bits, u32::MAX, 1].map(|before| before & keep ^ flip), [bits, bits, u32::MAX, 1 | bits]);
    }
}

#[test]
fn descriptions() {
    let target = service();
    let of = |action: Action| describe(&action, CLOSE, &target);
    assert_eq!(of(Action::Register { register: 5, mask: 1 << 13 }), "r5 bit 13");
    assert_eq!(of(Action::Register { register: 16, mask: 1 << 5 }), "CPSR bit 5 (T)");
    assert_eq!(of(Action::Register { register: 16, mask: 1 << 31 }), "CPSR bit 31 (N)");
    assert_eq!(of(Action::Memory { address: 0x80_0004, keep: !0, flip: 8 }), "heap 0x00800004 bit 3");
    assert_eq!(of(Action::Memory { address: 0x1_4000, keep: 0, flip: 8 }), "constants 0x00014000 overwritten");
    assert_eq!(of(Action::Memory { address: 0x1e0_0010, keep: 0, flip: 8 }), "SSR 0x01e00010 overwritten");
    assert_eq!(of(Action::Memory { address: 4, keep: 0, flip: 8 }), "memory 0x00000004 overwritten");
    let waiting = Action::Memory { address: 0x4011_0000, keep: !0x1_0000, flip: 0x1_0000 };
    assert_eq!(of(waiting), "events that wait for the object 0x40110000, 0x00010000 set");
    assert_eq!(of(Action::Jump { pc: CLOSE + 4 }), "instruction skipped");
    assert_eq!(of(Action::Jump { pc: 0x100 }), "jump to 0x00000100");
    assert_eq!(of(Action::Patch { word: a32::NOP }), "stm 0xe92d4830 -> 0xe320f000 (nop)");
    assert_eq!(of(Action::Instead { word: 0xe7f0_00f0 }), "executes 0xe7f000f0 instead, once");
    let stack = Action::Stack { nth: 6, low: 0xef_e000, top: 0xf0_0000, keep: !0, flip: 2 };
    assert_eq!(of(stack), "stack, word 6 modulo those in use, bit 1");
    assert_eq!(of(Action::Ssr { nth: 6, keep: 0, flip: 2 }), "SSR, word 6 modulo those in use, overwritten");
}

/// What these seeds mean, once and for all: results that name them can be repeated.
#[test]
fn seeds_keep_their_meaning() {
    let known = |model, number| {
        let drawn = draw(model, 1, number);
        format!("{} {:x} {}", drawn.at, drawn.pc, describe(&drawn.action, drawn.pc, &service()))
    };
    let expected = [
        (FaultModel::Register, 0, "7 11344 r8 bit 28"),
        (FaultModel::Register, 1, "15 11364 r3 bit 29"),
        (FaultModel::Flip(Region::Heap), 0, "6 11340 heap 0x00800014 bit 10"),
        (FaultModel::Word(Region::Stack), u64::MAX, "28 11364 stack, word 618284582 modulo those in use, overwritten"),
        (FaultModel::Swifi(Mutation::Source), 5, "5 1133c cmp 0xe35e0000 -> 0xe35d0000 (source r14 -> r13)"),
        (FaultModel::Crash(Crash::Panic), 0, "31 11370 jump to 0x000113d4"),
    ];
    for (model, number, experiment) in expected {
        assert_eq!(known(model, number), experiment, "{model} {number}");
    }
}

proptest! {
    #[test]
    fn an_experiment_depends_on_its_seed_alone(campaign: u64, number: u64, model in prop::sample::select(&FaultModel::ALL[..])) {
        prop_assert_eq!(draw(model, campaign, number), draw(model, campaign, number));
    }
}

#[test]
fn every_part_of_a_seed_counts() {
    let (target, executed) = (service(), executed());
    let candidates =
        Candidates::new(FaultModel::Word(Region::Constants), &target, &executed, &NONE).expect("candidates");
    let draw = |campaign, service: &str, number| candidates.draw(&Seed { campaign, service, number });
    let one = draw(1, "fs", 1);
    for other in [draw(2, "fs", 1), draw(1, "store", 1), draw(1, "fs", 2)] {
        assert_ne!(one, other);
    }
}
