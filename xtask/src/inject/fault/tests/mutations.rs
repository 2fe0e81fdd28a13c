//! What mutations make of a real method, and of any instruction.

use proptest::prelude::*;

use super::super::a32::{self, NOP, PC, SP};
use super::super::swifi::{explain, mutants};
use super::super::{FaultModel, Mutation};
use super::*;

/// Addresses in the method that a mutation is for.
fn struck(mutation: Mutation) -> Vec<u32> {
    let text = method();
    let addresses = (0..METHOD.len() as u32).map(|index| CLOSE + 4 * index);
    addresses.filter(|pc| !mutants(mutation, *pc, &text).is_empty()).collect()
}

/// Addresses of instructions of these kinds.
fn named(names: &[&str]) -> Vec<u32> {
    let is_named = |word: u32| a32::decode(word).is_some_and(|encoding| names.contains(&encoding.name));
    method().instructions().filter(|(pc, word)| *pc < PANIC && is_named(*word)).map(|(pc, _)| pc).collect()
}

#[test]
fn loops_are_decided_by_the_branch_back_and_by_the_branch_out() {
    assert_eq!(struck(Mutation::Loop), [0x1_1360, 0x1_138c]);
    assert_eq!(mutants(Mutation::Loop, 0x1_1360, &method()), [0x1a00_0015]);
    assert_eq!(mutants(Mutation::Loop, 0x1_138c, &method()), [0x0aff_fff2]);
}

#[test]
fn an_unconditional_branch_back_makes_a_loop_but_decides_nothing() {
    // again: cmp r0, #0; beq out; b again; out: bx lr
    let text = only(&[0xe350_0000, 0x0a00_0000, 0xeaff_fffc, 0xe12f_ff1e]);
    let deciding: Vec<bool> = (0..4).map(|index| text.decides_loop(CLOSE + 4 * index)).collect();
    assert_eq!(deciding, [false, true, false, false]);
}

#[test]
fn a_jump_to_an_earlier_function_is_no_loop() {
    let words = [0xe350_0000, 0x0a00_0000, 0x1aff_fffc, 0xe12f_ff1e];
    let functions = [("$a", CLOSE, 0), ("f", CLOSE, 2), ("g", CLOSE + 8, 2)];
    assert!(!text(&words, &functions).decides_loop(CLOSE + 8), "bne to another function");
    assert!(text(&words, &functions[..2]).decides_loop(CLOSE + 8), "bne in the same function");
}

#[test]
fn parameters_are_what_is_set_last_before_a_call() {
    // movw r2 is completed by movt: the latter is the last to set r2.
    assert_eq!(struck(Mutation::Parameter), [0x1_13c4, 0x1_13c8, 0x1_13cc, 0x1_13d8, 0x1_13dc]);
    assert_eq!(mutants(Mutation::Parameter, 0x1_13c4, &method()), [NOP]);
}

#[test]
fn parameters_of_the_kernel_and_of_tail_calls() {
    // mov r5, #1; mov r7, #2; mov r8, #3; mov r6, #4; svc #0
    let text_of_call = only(&[0xe3a0_5001, 0xe3a0_7002, 0xe3a0_8003, 0xe3a0_6004, 0xef00_0000]);
    let sets =
        |text: &Text, count: u32| (0..count).map(|index| text.sets_parameter(CLOSE + 4 * index)).collect::<Vec<_>>();
    assert_eq!(sets(&text_of_call, 5), [true, true, false, false, false]);
    // mov r0, #1; mov r5, #1; addeq r0, r0, #1; b g; g: bx lr. The conditional one may leave the first one's value.
    let words = [0xe3a0_0001, 0xe3a0_5001, 0x0280_0001, 0xeaff_ffff, 0xe12f_ff1e];
    let tail = text(&words, &[("$a", CLOSE, 0), ("f", CLOSE, 2), ("g", CLOSE + 16, 2)]);
    assert_eq!(sets(&tail, 5), [true, false, true, false, false]);
    // Within one function the same branch is no call.
    assert_eq!(sets(&only(&words), 5), [false; 5]);
}

#[test]
fn sources_and_destinations_of_the_method() {
    let sources = struck(Mutation::Source);
    let destinations = struck(Mutation::Destination);
    assert_eq!(destinations, named(&["add", "sub", "mov", "movw", "movt", "ldr"]));
    // What reads no register but a pointer has no source.
    let constants = |pc: &u32| matches!(METHOD[(*pc - CLOSE) as usize / 4] >> 20, 0xe3a);
    let expected = named(&["add", "sub", "mov", "cmp", "str"]).into_iter().filter(|pc| !constants(pc));
    assert_eq!(sources, expected.collect::<Vec<u32>>());
}

#[test]
fn pointers_are_all_addresses_but_the_stacks() {
    assert_eq!(struck(Mutation::Pointer), named(&["ldr", "str"]));
    // ldr r1, [r0]: another base, a bit of the offset, or its sign. r0 to r15 in one bit: r1, r2, r4, r8.
    let garbled = mutants(Mutation::Pointer, 0x1_1354, &method());
    assert_eq!(garbled.len(), 4 + 12 + 1);
    assert!(garbled.contains(&0xe592_1000) && garbled.contains(&0xe590_1080) && garbled.contains(&0xe510_1000));
}

#[test]
fn bits_and_elision_are_for_every_instruction() {
    assert_eq!((struck(Mutation::Bit).len(), struck(Mutation::Elide).len()), (METHOD.len(), METHOD.len()));
    let bits = mutants(Mutation::Bit, CLOSE, &method());
    assert_eq!(bits.len(), 32);
    assert!(bits.iter().all(|word| (word ^ METHOD[0]).count_ones() == 1));
    assert_eq!(mutants(Mutation::Elide, CLOSE, &method()), [NOP]);
    assert_eq!(mutants(Mutation::Elide, CLOSE, &only(&[NOP])), [0; 0]);
}

#[test]
fn nothing_is_made_of_data_or_of_what_lies_outside() {
    let text = method();
    for model in FaultModel::ALL {
        let FaultModel::Swifi(mutation) = model else { continue };
        for pc in [CLOSE + 4 * METHOD.len() as u32, CLOSE - 4, CLOSE + 2, text.range().end, 0, u32::MAX] {
            assert_eq!(mutants(mutation, pc, &text), [0; 0], "{model} at {pc:#x}");
        }
    }
}

#[test]
fn explanations_say_which_register_became_which() {
    assert_eq!(explain(0xe1a0_0004, 0xe1a0_0009), "mov 0xe1a00004 -> 0xe1a00009 (source r4 -> r9)");
    assert_eq!(explain(0xe1a0_0004, 0xe1a0_7004), "mov 0xe1a00004 -> 0xe1a07004 (destination r0 -> r7)");
    assert_eq!(explain(0xe592_1000, 0xe590_1000), "ldr 0xe5921000 -> 0xe5901000 (base r2 -> r0)");
    assert_eq!(explain(0xe592_1000, 0xe592_1080), "ldr 0xe5921000 -> 0xe5921080 (bit 7)");
    assert_eq!(explain(0x1aff_fff2, 0x0aff_fff2), "b 0x1afffff2 -> 0x0afffff2 (the opposite condition)");
    assert_eq!(explain(0xe1a0_0004, NOP), "mov 0xe1a00004 -> 0xe320f000 (nop)");
    assert_eq!(explain(0xf57f_f05f, 0xf57f_f05e), "? 0xf57ff05f -> 0xf57ff05e (bit 0)");
}

fn operand_mutation() -> impl Strategy<Value = Mutation> {
    prop::sample::select(&[Mutation::Source, Mutation::Destination, Mutation::Pointer][..])
}

proptest! {
    /// Whatever the instruction: mutants differ from it, each is there once, and each is the same kind of instruction in
    /// which only what the mutation is for has changed.
    #[test]
    fn mutants_differ_in_what_the_mutation_is_for(condition in 0u32..15, low in 0u32..0x1000_0000, mutation in operand_mutation()) {
        let word = condition << 28 | low;
        let made = mutants(mutation, CLOSE, &only(&[word]));
        let Some(encoding) = a32::decode(word) else {
            prop_assert!(made.is_empty());
            return Ok(());
        };
        let mut sorted = made.clone();
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(sorted.len(), made.len());
        for mutant in made {
            let changed = mutant ^ word;
            prop_assert_ne!(changed, 0);
            prop_assert_eq!(a32::decode(mutant).map(|mutant| mutant.name), Some(encoding.name));
            prop_assert!(a32::predictable(mutant) || !a32::predictable(word));
            match mutation {
                Mutation::Source | Mutation::Destination => {
                    let fields = if mutation == Mutation::Source { encoding.sources } else { encoding.destinations };
                    let field = a32::fields(fields).find(|shift| changed & !(0xf << shift) == 0);
                    let register = field.map(|shift| a32::field(mutant, shift));
                    prop_assert!(register.is_some_and(|register| register != PC), "{mutant:#010x}");
                }
                _ => {
                    prop_assert_eq!((changed.count_ones(), changed & !encoding.address), (1, 0));
                    prop_assert!(![SP, PC].contains(&a32::field(word, 16)));
                }
            }
        }
    }
}
