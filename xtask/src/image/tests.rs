//! The checks of manifests, executables and images, with good, bad and mutated input.

use std::path::Path;

use abi::image::{Entry, Header, Kind, parse};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::manifest::{At, GiveUp};
use super::*;
use crate::board::VIRT;

/// A manifest with these lines in its table, which begins on line 4.
fn manifest(name: &str, table: &str) -> Result<Manifest, Problem> {
    let text = format!("[package]\nname = \"{name}\"\n\n[package.metadata.service]\n{table}\n");
    read(Path::new(&format!("services/{name}/Cargo.toml")), &text)
}

fn object(name: &str, more: &str) -> Manifest {
    manifest(name, &format!("kind = \"object\"\nstack = \"8K\"\nmax_bindings = 4\n{more}")).expect("well-formed")
}

fn program(name: &str, more: &str) -> Manifest {
    manifest(name, &format!("kind = \"program\"\nstack = \"8K\"\n{more}")).expect("well-formed")
}

fn problems(manifests: &[Manifest]) -> Vec<String> {
    match check(manifests, BLOBS, &VIRT) {
        Ok(()) => Vec::new(),
        Err(Problems(problems)) => problems.iter().map(Problem::to_string).collect(),
    }
}

/// The set has exactly this problem, and names the place.
fn one_problem(manifests: &[Manifest], place: &str, text: &str) {
    let found = problems(manifests);
    assert!(
        found.len() == 1 && found[0].starts_with(place) && found[0].contains(text),
        "expected {place} {text}, found {found:?}"
    );
}

#[test]
fn manifests_are_read_whole() {
    let more = "heap = 4096\ncommon = \"12M\"\ncommon_blob = \"disk\"\nssr_pages = 2\nundo_pages = 9\nserial = true\nintegrity = \"checksum\"\n\
                calls = [\"time\", \"log\"]\ncallees = [\"block\"]\nbudget = 7\nhook_budget = 8\npriority = 6\nblame_limit = 5\nblame_backoff = 44\n\
                mmio = [{ address = 0x0900_0000, length = 0x1000 }]";
    let found = object("fs", more);
    assert_eq!((found.heap.value, found.common.value, found.stack.value), (4096, 12 << 20, 8192));
    assert_eq!((found.ssr_pages.value, found.undo_pages.value, found.max_bindings.value), (2, 9, 4));
    assert_eq!((found.budget.value, found.hook_budget.value, found.priority.value), (7, 8, 6));
    assert_eq!((found.blame_limit.value, found.blame_backoff.value, found.quota_bindings.value), (5, 44, 1));
    assert_eq!(found.rights, abi::image::Rights::TIME | abi::image::Rights::LOG);
    assert_eq!(found.flags, abi::image::Flags::SERIAL | abi::image::Flags::INTEGRITY);
    assert_eq!((found.callees[0].value.as_str(), found.callees[0].line), ("block", 16));
    assert_eq!((found.mmio[0].value.address, found.mmio[0].line), (0x0900_0000, 22));
    assert_eq!(problems(&[found, object("block", "")]), Vec::<String>::new());
}

#[test]
fn nothing_is_granted_that_is_not_written() {
    let found = object("plain", "");
    assert!(found.rights.is_empty() && found.flags.is_empty() && found.callees.is_empty() && found.mmio.is_empty());
    assert_eq!((found.heap.value, found.common.value, found.ssr_pages.value, found.quota_bindings.value), (0, 0, 0, 0));
}

#[test]
fn malformed_manifests_name_the_line() {
    let cases = [
        ("kind = \"object\"\nstack = \"8K\"\nmax_bindings = 1\nheep = 1", "services/x/Cargo.toml:8:", "heep"),
        ("kind = \"object\"\nmax_bindings = 1", "services/x/Cargo.toml:4:", "stack"),
        ("kind = \"object\"\nstack = \"8K\"", "services/x/Cargo.toml:4:", "max_bindings"),
        ("kind = \"object\"\nstack = \"8 kB\"\nmax_bindings = 1", "services/x/Cargo.toml:6:", "64K"),
        ("kind = \"object\"\nstack = -4096\nmax_bindings = 1", "services/x/Cargo.toml:6:", "-4096"),
        ("kind = \"object\"\nstack = \"5000000K\"\nmax_bindings = 1", "services/x/Cargo.toml:6:", "5000000K"),
        (
            "kind = \"object\"\nstack = \"8K\"\nmax_bindings = 1\ncalls = [\"reboot\"]",
            "services/x/Cargo.toml:8:",
            "reboot",
        ),
        ("kind = \"object\"\nstack = \"8K\"\nmax_bindings = 1\nspawns = [\"y\"]", "services/x/Cargo.toml:8:", "spawns"),
        ("kind = \"program\"\nstack = \"8K\"\n\nssr_pages = 1", "services/x/Cargo.toml:8:", "ssr_pages"),
        ("kind = \"driver\"", "services/x/Cargo.toml:5:", "driver"),
        ("stack = [", "services/x/Cargo.toml:", ""),
    ];
    for (table, place, text) in cases {
        let problem = manifest("x", table).expect_err(table).to_string();
        assert!(problem.starts_with(place) && problem.contains(text), "{table}: {problem}");
    }
    let none = read(Path::new("services/x/Cargo.toml"), "[package]\nname = \"x\"\n").expect_err("no manifest");
    assert!(none.to_string().contains("[package.metadata.service]"), "{none}");
}

#[test]
fn mutated_manifests_never_panic() {
    let text = "[package]\nname = \"fs\"\n\n[package.metadata.service]\nkind = \"object\"\nheap = \"64K\"\nstack = 8192\nmax_bindings = 4\n\
                callees = [\"block\", \"fs\"]\nmmio = [{ address = 0x0900_0000, length = 0x1000 }]\ncommon = \"12M\"\ncommon_blob = \"disk\"\n";
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let alphabet = b" =\"[]{}.,0x9-_KMeb\n\xc3\xff";
    let (mut read_well, mut refused) = (0, 0);
    for _ in 0..4000 {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..1 + next() % 3 {
            let at = 40 + next() % (bytes.len() - 40);
            bytes[at] = alphabet[next() % alphabet.len()];
        }
        let Ok(text) = String::from_utf8(bytes) else { continue };
        match read(Path::new("Cargo.toml"), &text) {
            Ok(manifest) => {
                read_well += 1;
                let _ = check(&[manifest], BLOBS, &VIRT);
            }
            Err(problem) => {
                refused += 1;
                assert!(problem.line >= 1 && problem.line <= text.lines().count() + 1, "{problem}");
            }
        }
    }
    assert!(read_well > 100 && refused > 1000, "{read_well} read, {refused} refused");
}

#[test]
fn references_must_lead_somewhere() {
    one_problem(&[object("a", "callees = [\"b\"]")], "services/a/Cargo.toml:8:", "\"b\"");
    one_problem(&[program("p", "\nspawns = [\"q\"]")], "services/p/Cargo.toml:8:", "\"q\"");
    one_problem(&[object("a", "callees = [\"p\"]"), program("p", "")], "services/a/Cargo.toml:8:", "no service");
    one_problem(
        &[object("a", "common = \"4K\"\nundo_pages = 1\ncommon_blob = \"tape\"")],
        "services/a/Cargo.toml:10:",
        "tape",
    );
    one_problem(&[object("a", "common_blob = \"disk\"")], "services/a/Cargo.toml:8:", "without a common region");
}

#[test]
fn numbers_must_make_sense() {
    let cases = [
        ("heap = 100", "whole pages"),
        ("heap = \"7M\"", "room for"),
        ("undo_pages = 1\ncommon = \"14M\"", "room for"),
        ("common = \"4K\"", "undo_pages"),
        ("undo_pages = 1\nssr_pages = 257", "at most"),
        ("ssr_pages = 2", "undo_pages"),
        ("budget = 1", "at least 2"),
        ("hook_budget = 0", "at least 2"),
        ("priority = 8", "0 (lowest) to 7"),
        ("blame_limit = 0", "blame_limit"),
    ];
    for (more, text) in cases {
        let found = problems(&[object("a", more)]);
        assert!(found.len() == 1 && found[0].contains(text), "{more}: {found:?}");
    }
    let many =
        manifest("a", "kind = \"object\"\nstack = \"8K\"\nmax_bindings = 20000\nssr_pages = 1").expect("well-formed");
    one_problem(&[many], "services/a/Cargo.toml:7:", "KiB");
    let none = manifest("a", "kind = \"object\"\nstack = 0\nmax_bindings = 0").expect("well-formed");
    assert_eq!(problems(&[none]).len(), 2);
    one_problem(&[object("a-name-of-17-char", "")], "services/a-name-of-17-char/Cargo.toml:", "16");
    assert_eq!(problems(&[object("twice", ""), object("twice", "")]).len(), 2);
}

#[test]
fn policies_are_read_packed_and_judged() {
    let under = |name: &str, keys: &str| object(name, &format!("[package.metadata.service.policy]\n{keys}"));
    let plain = object("plain", "");
    let numbers = |manifest: &Manifest| {
        let policy = &manifest.policy;
        [policy.heartbeat, policy.misses, policy.min_run, policy.max_restarts, policy.backoff, policy.backoff_cap]
            .map(|number| number.value)
    };
    assert_eq!((numbers(&plain), plain.policy.give_up), ([0, 2, 50, 10, 10, 1000], GiveUp::Stop));
    let keys = "heartbeat = 500\nmisses = 3\nmin_run = 20\nmax_restarts = 4\nbackoff = 5\nbackoff_cap = 80\ngive_up = \"reboot\"\ndependants = [\"plain\"]";
    let full = under("full", keys);
    assert_eq!((numbers(&full), full.policy.give_up), ([500, 3, 20, 4, 5, 80], GiveUp::Reboot));
    assert_eq!((full.dependants[0].value.as_str(), full.dependants[0].line), ("plain", 16));

    let part = |manifest| (manifest, Executable::parse(&service(), true).expect("good"));
    let object_entry = |parts| {
        let words = aligned(&pack(&Boot { parts, blobs: Vec::new(), starts: Vec::new() }).expect("it fits together"));
        let image = parse(words.as_bytes()).expect("the kernel takes it");
        *image.entries().last().expect("there is one")
    };
    let needs_ssr = object("plain", "ssr_pages = 1");
    let with_ssr = under("full", keys);
    let with_ssr = Manifest { ssr_pages: At { value: 1, ..with_ssr.ssr_pages }, ..with_ssr };
    let entry = object_entry(vec![part(&needs_ssr), part(&with_ssr)]);
    assert_eq!((entry.dependants, entry.policy.heartbeat, entry.policy.backoff_cap), (1, 500, 80));
    assert_eq!((entry.policy.misses, entry.policy.min_run, entry.policy.max_restarts), (3, 20, 4));
    assert_eq!((entry.policy.backoff, entry.policy.give_up), (5, 1));
    assert_eq!(object_entry(vec![part(&with_ssr)]).dependants, 0, "left out of this image");

    one_problem(&[under("a", "backoff = 90\nbackoff_cap = 80")], "services/a/Cargo.toml:9:", "longer");
    one_problem(&[under("a", "backoff = 2000")], "services/a/Cargo.toml:9:", "backoff_cap, 1000");
    one_problem(&[under("a", "heartbeat = 9\nmisses = 0")], "services/a/Cargo.toml:10:", "in time");
    one_problem(&[under("a", "dependants = [\"b\"]")], "services/a/Cargo.toml:9:", "no service");
    one_problem(&[under("a", "dependants = [\"a\"]")], "services/a/Cargo.toml:9:", "itself");
    for keys in ["give_up = \"pray\"", "retries = 4", "backoff = -1"] {
        let table =
            format!("kind = \"object\"\nstack = \"8K\"\nmax_bindings = 1\n[package.metadata.service.policy]\n{keys}");
        assert_eq!(manifest("x", &table).expect_err(keys).line, 9, "{keys}");
    }
    let table = "kind = \"program\"\nstack = \"8K\"\n\n[package.metadata.service.policy]\nbackoff = 1";
    let problem = manifest("x", table).expect_err("programs have none").to_string();
    assert!(problem.starts_with("services/x/Cargo.toml:8:") && problem.contains("policy"), "{problem}");
}

#[test]
fn a_role_has_one_holder() {
    let holder = |name: &str, role: &str| object(name, &format!("role = \"{role}\""));
    assert_eq!(problems(&[holder("a", "scheduler"), holder("b", "supervisor")]), Vec::<String>::new());
    for role in ["scheduler", "supervisor"] {
        let two = [holder("a", role), holder("b", role)];
        one_problem(&two, "services/b/Cargo.toml:8:", &format!("a is the {role} already"));
    }
}

#[test]
fn registers_belong_to_one_service() {
    let uart = "mmio = [{ address = 0x0900_0000, length = 0x1000 }]";
    assert_eq!(
        problems(&[object("a", uart), object("b", "mmio = [{ address = 0x0901_0000, length = 0x1000 }]")]),
        Vec::<String>::new()
    );
    one_problem(&[object("a", uart), object("b", uart)], "services/b/Cargo.toml:8:", "a (services/a/Cargo.toml:8)");
    one_problem(
        &[object("a", "mmio = [{ address = 0x0800_0000, length = 0x1000 }]")],
        "services/a/Cargo.toml:8:",
        "interrupt controller",
    );
    for address in ["0x4000_0000", "0x47ff_f000"] {
        let range = format!("mmio = [{{ address = {address}, length = 0x1000 }}]");
        one_problem(&[object("a", &range)], "services/a/Cargo.toml:8:", "memory");
    }
    for range in ["{ address = 0x0900_0100, length = 0x1000 }", "{ address = 0x0900_0000, length = 0 }"] {
        one_problem(&[object("a", &format!("mmio = [{range}]"))], "services/a/Cargo.toml:8:", "whole pages");
    }
    assert!(manifest("a", "mmio = [{ address = 0, length = 0x1000, prefetch = 1 }]").is_err());
}

#[test]
fn orders_that_could_deadlock_are_refused() {
    let serial = |name: &str, callees: &str| object(name, &format!("serial = true\ncallees = [{callees}]"));
    let plain = |name: &str, callees: &str| object(name, &format!("callees = [{callees}]"));
    // One above the other is an order.
    assert_eq!(
        problems(&[serial("fs", "\"block\""), serial("block", ""), plain("a", "\"fs\""), plain("b", "\"fs\"")]),
        Vec::<String>::new()
    );
    // A program's calls are requests of their own.
    assert_eq!(
        problems(&[serial("fs", ""), serial("store", ""), program("p", "callees = [\"fs\", \"store\"]")]),
        Vec::<String>::new()
    );
    // Objects without state across sessions are not kept.
    assert_eq!(problems(&[plain("x", ""), plain("y", ""), plain("a", "\"x\", \"y\"")]), Vec::<String>::new());
    // Two beside each other have no order, even for one caller.
    one_problem(
        &[serial("fs", ""), serial("store", ""), plain("a", "\"fs\", \"store\"")],
        "services/a/Cargo.toml:",
        "either order",
    );
    // Around an order: block is taken before or after fs.
    let around = [serial("fs", "\"block\""), serial("block", ""), plain("a", "\"fs\", \"block\"")];
    assert!(problems(&around).iter().any(|text| text.contains("block and fs")));
    // Two callers, each with an order of its own.
    assert!(!problems(&[serial("x", "\"y\""), serial("y", "\"x\"")]).is_empty());
}

#[test]
fn a_selection_is_closed_and_in_order() {
    let all = [
        object("unused", ""),
        object("fs", "callees = [\"block\"]"),
        object("block", ""),
        program("demo", "callees = [\"fs\"]\nspawns = [\"copier\"]"),
        program("copier", "callees = [\"log\"]"),
        object("log", "callees = [\"log\"]"),
    ];
    let names = |programs: &[&str]| {
        selection(&all, programs).map(|found| found.iter().map(|manifest| manifest.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(names(&["demo"]).expect("there"), ["block", "fs", "log", "copier", "demo"]);
    assert_eq!(names(&["copier", "copier"]).expect("there"), ["log", "copier"]);
    assert!(names(&["fs"]).is_err(), "no program");
}

const TEXT: u32 = 0x10000;
const READ_EXECUTE: u32 = 5;
const READ: u32 = 4;
const READ_WRITE: u32 = 6;

/// Address, flags, bytes, bytes in memory.
type Part<'b> = (u32, u32, &'b [u8], u32);

/// An executable for ARM with these segments and symbols.
fn executable(segments: &[Part<'_>], symbols: &[(&str, u32)]) -> Vec<u8> {
    let mut names = vec![0u8];
    let mut table = vec![0u8; 16];
    for (name, value) in symbols {
        let entry = [names.len() as u32, *value, 0, 0xfff1_0010];
        table.extend(entry.iter().flat_map(|word| word.to_le_bytes()));
        names.extend(name.bytes().chain([0]));
    }
    let header_end = 52 + 32 * segments.len() as u32;
    let (mut body, mut programs): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    for (address, flags, bytes, memory) in segments {
        let words = [1, header_end + body.len() as u32, *address, *address, bytes.len() as u32, *memory, *flags, 4096];
        programs.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        body.extend(*bytes);
    }
    let table_at = header_end + body.len() as u32;
    let names_at = table_at + table.len() as u32;
    let sections_at = names_at + names.len() as u32;
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x28\0\x01\0\0\0".to_vec();
    file.extend([TEXT, 52, sections_at, 0x0500_0200].iter().flat_map(|word| word.to_le_bytes()));
    file.extend([52u16, 32, segments.len() as u16, 40, 3, 2].iter().flat_map(|half| half.to_le_bytes()));
    file.extend(programs);
    file.extend(body);
    file.extend(&table);
    file.extend(&names);
    let sections = [
        [0; 10],
        [0, 2, 0, 0, table_at, table.len() as u32, 2, 1, 4, 16],
        [0, 3, 0, 0, names_at, names.len() as u32, 0, 0, 1, 0],
    ];
    file.extend(sections.iter().flatten().flat_map(|word| word.to_le_bytes()));
    file
}

const SYMBOLS: [(&str, u32); 5] = [
    ("__po_hook", TEXT + 8),
    ("__po_methods", 3),
    ("__po_read_only_low", 4),
    ("__po_read_only_high", 1),
    ("__po_ssr_pages", 1),
];

fn service() -> Vec<u8> {
    executable(
        &[
            (TEXT, READ_EXECUTE, &[1; 40], 40),
            (TEXT + 0x1000, READ, &[2; 5000], 5000),
            (TEXT + 0x4000, READ_WRITE, &[3; 8], 9000),
        ],
        &SYMBOLS,
    )
}

#[test]
fn executables_are_stripped_to_segments() {
    let found = Executable::parse(&service(), true).expect("good");
    assert_eq!(
        (found.entry, found.hook, found.methods, found.read_only, found.ssr_pages),
        (TEXT, Some(TEXT + 8), 3, 1 << 32 | 4, 1)
    );
    assert_eq!(
        found.segments().map(|(_, part)| (part.bytes.len(), part.memory_size)),
        [(40, 40), (5000, 5000), (8, 9000)]
    );
    let found = Executable::parse(&executable(&[(TEXT, READ_EXECUTE, &[1; 4], 4)], &[]), false)
        .expect("a program needs no symbols");
    assert_eq!((found.hook, found.data.memory_size), (None, 0));
}

#[test]
fn executables_that_cannot_be_protected_are_refused() {
    let text = (TEXT, READ_EXECUTE, &[1u8; 4][..], 4);
    let cases: [(&[Part<'_>], &str); 6] = [
        (&[(TEXT, 7, &[1; 4], 4)], "writable and executable"),
        (&[text, (TEXT + 0x1004, READ, &[1; 4], 4)], "begin on a page"),
        (&[(0x1000, READ_EXECUTE, &[1; 4], 4)], "outside the room"),
        (&[text, (0x7f_f000, READ_WRITE, &[1; 4], 8192)], "outside the room"),
        (&[text, (TEXT + 0x1000, READ, &[1; 4], 4), (TEXT + 0x2000, READ, &[1; 4], 4)], "more than one"),
        (&[(TEXT, READ, &[1; 4], 4)], "no executable segment"),
    ];
    for (segments, reason) in cases {
        let error = format!("{:#}", Executable::parse(&executable(segments, &SYMBOLS), true).expect_err(reason));
        assert!(error.contains(reason), "{error}");
    }
    let error = Executable::parse(&executable(&[text], &SYMBOLS[1..]), true).expect_err("no hook").to_string();
    assert!(error.contains("__po_hook"), "{error}");
    assert!(Executable::parse(b"#!/bin/sh\n", false).is_err());
}

#[test]
fn truncated_and_mutated_executables_never_panic() {
    let good = service();
    for length in 0..good.len() {
        let _ = Executable::parse(&good[..length], true);
    }
    for at in 0..good.len().min(180) {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            let _ = Executable::parse(&bad, true);
        }
    }
}

fn packed(disk: &[u8]) -> Vec<u8> {
    let manifests = [
        object(
            "fs",
            "heap = \"64K\"\ncommon = \"16K\"\ncommon_blob = \"disk\"\nundo_pages = 2\nssr_pages = 1\nserial = true\ncalls = [\"log\"]",
        ),
        program("demo", "callees = [\"fs\"]\ncalls = [\"shutdown\"]"),
    ];
    let parts = vec![
        (&manifests[0], Executable::parse(&service(), true).expect("good")),
        (&manifests[1], Executable::parse(&executable(&[(TEXT, READ_EXECUTE, &[1; 4], 4)], &[]), false).expect("good")),
    ];
    let starts = vec![Start { program: "demo", instances: 2, argument: 77 }];
    pack(&Boot { parts, blobs: vec![Blob { name: "disk", bytes: disk.to_vec() }], starts }).expect("it fits together")
}

/// Bytes on the boundary that the kernel's parser wants.
fn aligned(image: &[u8]) -> Vec<u64> {
    let mut words = vec![0u64; image.len() / 8];
    words.as_mut_bytes().copy_from_slice(&image[..image.len() / 8 * 8]);
    words
}

#[test]
fn the_kernel_finds_what_was_packed() {
    let disk: Vec<u8> = (0..5000u32).map(|number| number as u8).collect();
    let words = aligned(&packed(&disk));
    let image = parse(words.as_bytes()).expect("the kernel takes it");
    let [fs, demo, blob] = image.entries() else { panic!("three entries") };
    assert_eq!(abi::call::name_str(&fs.name), "fs");
    assert_eq!((fs.kind, demo.kind, blob.kind), (Kind::Object as u32, Kind::Program as u32, Kind::Blob as u32));
    assert_eq!((fs.methods, fs.read_only, fs.heap, fs.common, fs.common_blob), (3, 1 << 32 | 4, 65536, 16384, 2));
    assert_eq!((fs.max_bindings, fs.ssr_pages, fs.undo_pages, fs.autostart), (4, 1, 2, 0));
    assert_eq!((demo.callees, demo.autostart, demo.argument, demo.quota_bindings), (1, 2, 77, 1));
    assert_eq!(image.segment(&fs.rodata), [2; 5000]);
    assert_eq!(image.segment(&blob.data), disk);
}

#[test]
fn every_flipped_bit_of_the_table_is_refused() {
    let good = packed(&[7; 100]);
    let table = size_of::<Header>() + 3 * size_of::<Entry>();
    for at in 0..table {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(parse(aligned(&bad).as_bytes()).is_err(), "byte {at}");
    }
    for length in (0..good.len()).step_by(512) {
        assert!(parse(aligned(&good[..length]).as_bytes()).is_err(), "{length} bytes");
    }
}

#[test]
fn a_hostile_table_with_a_good_checksum_never_panics() {
    let good = packed(&[7; 100]);
    let head = size_of::<Header>();
    let table = head + 3 * size_of::<Entry>();
    let mut refused = 0;
    for at in (head..table).step_by(4) {
        for value in [0u32, 1, 0x8000_0000, 0xffff_f000, u32::MAX] {
            let mut bad = good.clone();
            bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let mut header = Header::new_zeroed();
            header.as_mut_bytes().copy_from_slice(&bad[..head]);
            header.checksum = abi::image::table_checksum(&header, &bad[head..table]);
            bad[..head].copy_from_slice(header.as_bytes());
            refused += usize::from(parse(aligned(&bad).as_bytes()).is_err());
        }
    }
    assert!(refused > 300, "{refused} refused");
    assert!(Header::ref_from_prefix(aligned(&good).as_bytes()).is_ok());
}

#[test]
fn what_does_not_fit_together_is_not_packed() {
    let manifests =
        [object("fs", "common = \"4K\"\ncommon_blob = \"disk\"\nundo_pages = 2\nssr_pages = 1"), object("small", "")];
    let parsed = Executable::parse(&service(), true).expect("good");
    let boot = |manifest, length, starts| Boot {
        parts: vec![(manifest, parsed.clone())],
        blobs: vec![Blob { name: "disk", bytes: vec![1; length] }],
        starts,
    };
    assert!(pack(&boot(&manifests[0], 4096, Vec::new())).is_ok());
    assert!(pack(&boot(&manifests[0], 4097, Vec::new())).expect_err("too large").to_string().contains("larger"));
    assert!(
        pack(&boot(&manifests[1], 1, Vec::new()))
            .expect_err("no SSR")
            .to_string()
            .contains("services/small/Cargo.toml")
    );
    let start = Start { program: "demo", instances: 1, argument: 0 };
    assert!(pack(&boot(&manifests[0], 1, vec![start])).expect_err("no program").to_string().contains("demo"));
}
