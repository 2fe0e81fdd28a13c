//! What executables and manifests tell about targets, and which models are for which of them.

use std::path::Path;

use clap::ValueEnum;

use super::super::{Crash, FaultModel, heap_in_use};
use super::*;
use crate::inject::model::Region;

/// A manifest with these lines in its table.
fn manifest(lines: &str) -> crate::image::Manifest {
    let text = format!("[package]\nname = \"x\"\n[package.metadata.service]\n{lines}\n");
    crate::image::read(Path::new("Cargo.toml"), &text, crate::board::DEFAULT)
        .unwrap_or_else(|problem| panic!("{problem:?}"))
}

fn executable() -> Vec<u8> {
    let sections = [(".rodata", 0x1_4000..0x1_4608), (".data", 0x1_5000..0x1_5004), (".bss", 0x1_5008..0x1_5020)];
    elf(&words(), &sections, &SYMBOLS)
}

#[test]
fn a_text_knows_instructions_loops_and_panics() {
    let text = method();
    assert_eq!(text.range(), CLOSE..PANIC + 12);
    assert_eq!(text.instructions().count(), METHOD.len() + TAIL.len());
    assert_eq!(text.instruction(CLOSE), Some(METHOD[0]));
    assert_eq!(text.instruction(PANIC + 8), Some(0xeaff_fffe));
    for nothing in [CLOSE - 4, CLOSE + 1, CLOSE + 4 * METHOD.len() as u32, PANIC - 4, PANIC + 12, 0, u32::MAX] {
        assert_eq!(text.instruction(nothing), None, "{nothing:#x}");
    }
    assert_eq!(text.endless_loops(), [PANIC + 8]);
    // The first sets r1 from r0 in between; what the panic needs is the place in r2.
    assert_eq!(text.panics(), [0x1_13c0, 0x1_13d4]);
}

#[test]
fn a_panic_whose_arguments_are_not_constant_is_none_to_jump_to() {
    let panic = "_ZN4core9panicking5panic17h0123456789abcdefE";
    let panics = |words: &[u32]| {
        let symbols = [("$a", CLOSE, 0), ("f", CLOSE, 2), (panic, CLOSE + 4 * words.len() as u32 - 4, 2)];
        text(words, &symbols).panics().to_vec()
    };
    // movw r0; movt r0; mov r1, #9; movw r2; movt r2; bl panic; panic: bx lr
    let good = [0xe300_0000, 0xe340_0001, 0xe3a0_1009, 0xe300_2000, 0xe340_2001, 0xebff_ffff, 0xe12f_ff1e];
    assert_eq!(panics(&good), [CLOSE]);
    let with = |index: usize, word| {
        let mut words = good;
        words[index] = word;
        panics(&words)
    };
    assert_eq!(with(2, 0xe1a0_1003), [0; 0], "mov r1, r3");
    assert_eq!(with(2, 0xe59d_1000), [0; 0], "ldr r1, [sp]");
    assert_eq!(with(2, 0x03a0_1009), [0; 0], "moveq r1, #9");
    assert_eq!(with(0, 0xe3a0_0000), [0; 0], "mov r0, #0 is no half");
    assert_eq!(with(5, 0x0bff_ffff), [0; 0], "bleq panic");
    assert_eq!(with(5, 0xeaff_ffff), [CLOSE], "a jump to it will do");
}

#[test]
fn executables_that_cannot_be_used_are_refused() {
    let refused = |symbols: &[(&str, u32, u8)]| {
        let bytes = elf(&words(), &[], symbols);
        Target::domain(&bytes, &manifest("kind = \"program\"\nstack = \"4K\""))
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default()
    };
    assert!(refused(&[]).contains("symbols were removed"));
    assert!(refused(&[("$a", CLOSE, 0), ("$t.7", CLOSE + 8, 0)]).contains("Thumb instructions at 0x00011330"));
    let whole = executable();
    let program = manifest("kind = \"program\"\nstack = \"4K\"");
    assert!(Target::domain(b"no executable", &program).is_err());
    assert!(Target::kernel(&whole).is_err_and(|error| format!("{error:#}").contains("__kernel_stack_bottom")));
    assert!((0..200).all(|length| Target::domain(&whole[..length], &program).is_err()));
}

#[test]
fn a_service_has_what_its_sections_and_its_manifest_say() {
    let lines =
        "kind = \"object\"\nheap = \"8K\"\nstack = \"4K\"\nssr_pages = 1\nmax_bindings = 4\ncalls = [\"deadline\"]";
    let target = Target::domain(&executable(), &manifest(lines)).expect("a service");
    assert_eq!((target.name.as_str(), target.kind, target.ssr, target.interrupts), ("x", Kind::Service, true, true));
    let expected = Regions {
        text: CLOSE..PANIC + 12,
        constants: 0x1_4000..0x1_4608,
        data: 0x1_5000..0x1_5004,
        bss: 0x1_5008..0x1_5020,
        heap: 0x80_0000..0x80_2000,
        stack: 0xef_f000..0xf0_0000,
    };
    assert_eq!(target.regions, expected);
    for model in FaultModel::ALL {
        assert_eq!(model.applies(&target), Ok(()), "{model}");
    }
}

#[test]
fn a_program_has_no_state_of_others_and_nobody_watches_it() {
    let target = Target::domain(&executable(), &manifest("kind = \"program\"\nstack = \"4K\"")).expect("a program");
    let refused: Vec<&str> =
        FaultModel::ALL.into_iter().filter(|model| model.applies(&target).is_err()).map(FaultModel::name).collect();
    let expected =
        ["flip-heap", "flip-ssr", "word-heap", "word-ssr", "loop", "interrupt-lost", "interrupt-doubled", "double"];
    assert_eq!(refused, expected);
}

#[test]
fn reasons_name_what_is_missing() {
    let why = |model: FaultModel, change: fn(&mut Target)| {
        let mut target = service();
        change(&mut target);
        model.applies(&target).expect_err("it does not apply")
    };
    assert_eq!(
        why(FaultModel::Flip(Region::Heap), |it| it.regions.heap.end = it.regions.heap.start),
        "console has no heap, or never used it"
    );
    assert_eq!(why(FaultModel::Word(Region::Data), |it| it.regions.data = 0..0), "console has no initialised data");
    assert_eq!(why(FaultModel::Word(Region::Bss), |it| it.regions.bss = 0..0), "console has no zeroed data");
    assert_eq!(why(FaultModel::Flip(Region::Constants), |it| it.regions.constants = 0..3), "console has no constants");
    assert!(why(FaultModel::Flip(Region::Ssr), |it| it.ssr = false).contains("keeps no state"));
    assert!(
        why(FaultModel::Flip(Region::Ssr), |it| (it.ssr, it.kind) = (false, Kind::Kernel))
            .contains("inject into the service")
    );
    assert!(why(FaultModel::InterruptLost, |it| it.interrupts = false).contains("no line and no deadline"));
    assert!(
        why(FaultModel::InterruptDoubled, |it| (it.interrupts, it.kind) = (false, Kind::Kernel))
            .contains("inject into the service")
    );
    assert!(why(FaultModel::Crash(Crash::Loop), |it| it.text = only(&[0xe320_f000])).contains("branches to itself"));
    assert!(why(FaultModel::Crash(Crash::Panic), |it| it.text = only(&[0xe320_f000])).contains("never panics"));
    assert!(why(FaultModel::Crash(Crash::Loop), |it| it.kind = Kind::Program).contains("nobody waits"));
    assert!(why(FaultModel::Double, |it| it.kind = Kind::Kernel).contains("does not recover"));
}

#[test]
fn a_heap_is_in_use_up_to_its_last_word_that_is_not_zero() {
    assert_eq!(heap_in_use(&[]), 0);
    assert_eq!(heap_in_use(&[0; 64]), 0);
    let used = |at: usize| {
        let mut heap = [0; 64];
        heap[at] = 1;
        heap_in_use(&heap)
    };
    assert_eq!((used(0), used(3), used(4), used(63)), (4, 4, 8, 64));
}

#[test]
fn words_of_a_region_are_whole() {
    let regions = service().regions;
    assert_eq!(regions.words(Region::Data), (0x1_5000, 1));
    assert_eq!(regions.words(Region::Bss), (0x1_500c, 5));
    assert_eq!(regions.words(Region::Constants), (0x1_4000, 0x608 / 4));
    assert_eq!(regions.words(Region::Ssr).1, 0);
    assert_eq!(regions.find(0x1_4004), Some(Region::Constants));
    assert_eq!(regions.find(0xef_f000), Some(Region::Stack));
    assert_eq!(regions.find(0x1_3000), None);
}

#[test]
fn names_are_unique_and_lead_back() {
    for model in FaultModel::ALL {
        assert!(model.name().bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase()), "{model}");
        assert_eq!(FaultModel::from_str(model.name(), false), Ok(model));
        let json = serde_json::to_string(&model).expect("a string");
        assert_eq!(json, format!("\"{model}\""));
        assert_eq!(serde_json::from_str::<FaultModel>(&json).ok(), Some(model));
        assert!(!model.description().is_empty());
    }
    let mut names = FaultModel::ALL.map(FaultModel::name).to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), FaultModel::ALL.len());
    assert!(
        serde_json::from_str::<FaultModel>("\"flip\"")
            .is_err_and(|error| error.to_string().contains("no fault model flip"))
    );
    let mut families: Vec<&str> = FaultModel::ALL.map(FaultModel::family).to_vec();
    families.dedup();
    assert_eq!(families, ["register", "memory", "skip", "swifi", "crash", "interrupt", "double"]);
}
