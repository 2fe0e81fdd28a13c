//! Streams in pieces of any size, lines of every sort, and two executables: this test itself, which has debug
//! information, and a service of a few instructions, which has symbols only.

use std::hint::black_box;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSymbol};
use proptest::prelude::*;

use super::record::{Fault, Record};
use super::symbols::{Place, Symbols};
use super::*;

/// Where the service lies.
const TEXT: u32 = layout::IMAGE_BASE;
/// What the tests of streams add; no stream has its first character.
const MARK: &str = "\u{1}added";

/// Passes a stream in pieces; checks that none of it is kept back. Returns what came out.
fn passed(pieces: &[&[u8]], mut explain: impl FnMut(&str) -> Vec<String>) -> Vec<u8> {
    let mut lines = Lines::default();
    let (mut into, mut out): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    for piece in pieces {
        lines.push(piece, &mut explain, &mut |bytes| out.extend(bytes));
        into.extend(*piece);
        assert_eq!(without_marks(&out), into);
    }
    out
}

/// A stream without what was added to it.
fn without_marks(bytes: &[u8]) -> Vec<u8> {
    let mut rest = bytes.to_vec();
    for added in [format!("    {MARK}\r\n"), format!("    {MARK}\n")] {
        while let Some(at) = rest.windows(added.len()).position(|window| window == added.as_bytes()) {
            rest.drain(at..at + added.len());
        }
    }
    rest
}

/// Cuts at these places, wherever they are within the bytes.
fn pieces<'b>(mut bytes: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, rest) = bytes.split_at(cut % (bytes.len() + 1));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

/// Bytes of a console: text, ends of lines of both sorts, what is no UTF-8, and lines to be explained.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        prop::collection::vec(2..=u8::MAX, 0..12),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"shell> ".to_vec()),
        Just(b"!explain me\r\n".to_vec()),
        Just(b"!explain me\n".to_vec()),
    ];
    prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

fn marked(line: &str) -> Vec<String> {
    if line.contains("!explain me") { vec![MARK.to_owned()] } else { Vec::new() }
}

proptest! {
    #[test]
    fn every_byte_passes_at_once_and_pieces_make_no_difference(bytes in stream(), cuts in prop::collection::vec(any::<usize>(), 0..9)) {
        let whole = passed(&[&bytes], marked);
        let ends = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let wanted = ends.filter(|line| line.windows(11).any(|window| window == b"!explain me")).count();
        let added = whole.windows(MARK.len()).filter(|window| *window == MARK.as_bytes()).count();
        prop_assert_eq!(added, wanted);
        prop_assert_eq!(passed(&pieces(&bytes, &cuts), marked), whole);
        prop_assert_eq!(passed(&pieces(&bytes, &cuts), |_| Vec::new()), bytes);
    }

    #[test]
    fn no_line_upsets_the_parser(line in "(.*(failure|lr|at|:| |0x|[0-9a-f]){1,9})*") {
        let _ = Record::parse(&line);
    }
}

#[test]
fn lines_are_added_behind_the_line_with_its_own_end() {
    let explain = |line: &str| if line == "a" { vec!["b".to_owned(), "c".to_owned()] } else { Vec::new() };
    for (bytes, wanted) in
        [("a\r\n> ", "a\r\n    b\r\n    c\r\n> "), ("x\na\na", "x\na\n    b\n    c\na"), ("aa\n\na\r", "aa\n\na\r")]
    {
        let mut out = Vec::new();
        Lines::default().push(bytes.as_bytes(), explain, &mut |bytes| out.extend(bytes));
        assert_eq!(String::from_utf8_lossy(&out), wanted);
    }
}

#[test]
fn lines_beyond_all_measure_are_not_kept() {
    let mut lines = Lines::default();
    let mut count = 0;
    for _ in 0..1000 {
        lines.push(&[b'x'; 1000], |_| panic!("no line has ended"), &mut |bytes| count += bytes.len());
    }
    assert!(lines.line.len() <= LONGEST + 1);
    lines.push(b"\nshort\n", |line| vec![line.to_owned()], &mut |bytes| count += bytes.len());
    assert_eq!(count, 1_000_000 + "\nshort\n    short\n".len());
}

#[test]
fn records_are_found() {
    let fault = |kind, pc, address| Fault { kind, pc, address };
    let line = "shell> [supervisor] failure 7: fs: data-abort at 0x36c90 address 0x1e00040 method 2 session 5 process - tick 9";
    let object = Record::Failure {
        number: 7,
        object: "fs",
        fault: fault(FailureKind::DataAbort, 0x36c90, 0x01e0_0040),
        method: Some(2),
    };
    assert_eq!(Record::parse(line), Some(object));
    let line = "[supervisor] failure 7: lr 0x110f0 sp 0xeffe00 chain demo>fs registers 0x0 0xffffffff 12";
    let registers = Record::Registers { number: 7, lr: 0x110f0, registers: vec![0, u32::MAX, 12] };
    assert_eq!(Record::parse(line), Some(registers));
    let line = "[kernel] program hostile ended: undefined at 0x15ed8, address 0xffc";
    let ended = Record::Ended { program: "hostile", fault: fault(FailureKind::Undefined, 0x15ed8, 0xffc) };
    assert_eq!(Record::parse(line), Some(ended));
    let line = "[kernel] FAULT 4 near 0x40010100, status 0x10, data (1, 2), prefetch None";
    assert_eq!(Record::parse(line), Some(Record::Kernel { pc: 0x4001_0100 }));
    for other in [
        "",
        "[suite] test vault: a failure undoes every page that the request wrote ... ok",
        "failure 1: ",
        "failure 1: fs: data-abort at",
        "failure 1: fs: data-abort at 0x1ffffffff address 0x0",
        "failure 1: fs: mishap at 0x10000 address 0x0",
        "failure 1: lr",
        "[kernel] program demo ended: heap used up",
        "[kernel] FAULT 4 near",
    ] {
        assert_eq!(Record::parse(other), None, "{other}");
    }
}

/// A service whose table leads to three functions, the last two of which are one. Behind them data.
fn service() -> Vec<u8> {
    let code: [u32; 12] = [
        0xe6ff_c477, // the entry: uxth r12, r7, ror #8
        0xe08f_f18c, // add pc, pc, r12, lsl #3
        0xe7f0_00f0, // udf #0
        0xea00_0004, // b alpha
        0xe320_f000, // nop
        0xe92d_0030, // push {r4, r5}
        0xea00_0002, // b beta
        0xea00_0001, // b beta
        0xe320_f000, // nop
        0xeb00_0000, // alpha: bl beta
        0xef00_0000, // svc #0
        0xef00_0000, // beta: svc #0
    ];
    let mut text: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    let file = text.len() as u32;
    text.extend(b"services/x/src/main.rs");
    assert_eq!(file, 48, "the name of a source file lies behind the code");
    // Name, address, size, section: 1 is the text, 0xfff1 none.
    let symbols = [
        ("__po_call", TEXT, 36, 1),
        ("_ZN1x1y8XEntries5alpha17h0123456789abcdefE", TEXT + 36, 8, 1),
        ("_ZN1x1y8XEntries4beta17h0123456789abcdefE", TEXT + 44, 4, 1),
        ("_ZN1x1y8XEntries5gamma17h0123456789abcdefE", TEXT + 44, 4, 1),
        ("__po_methods", 3, 0, 0xfff1),
    ];
    let (mut names, mut table) = (vec![0u8], vec![0u8; 16]);
    for (name, value, size, section) in symbols {
        let words = [names.len() as u32, value, size, section << 16 | 0x12];
        table.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        names.extend(name.bytes().chain([0]));
    }
    let text_at = 52 + 32;
    let table_at = text_at + text.len() as u32;
    let names_at = table_at + table.len() as u32;
    let sections_at = names_at + names.len() as u32;
    let mut bytes = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x28\0\x01\0\0\0".to_vec();
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    bytes.extend(words(&[TEXT, 52, sections_at, 0x0500_0200, 32 << 16 | 52, 40 << 16 | 1, 3 << 16 | 4]));
    bytes.extend(words(&[1, text_at, TEXT, TEXT, text.len() as u32, text.len() as u32, 5, 4096]));
    let sections = [
        [0; 10],
        [0, 1, 6, TEXT, text_at, text.len() as u32, 0, 0, 4, 0],
        [0, 2, 0, 0, table_at, table.len() as u32, 3, 1, 4, 16],
        [0, 3, 0, 0, names_at, names.len() as u32, 0, 0, 1, 0],
    ];
    bytes.extend([text, table, names].concat());
    bytes.extend(words(sections.as_flattened()));
    bytes
}

/// What is added to these lines, all about a service `x`.
fn explained(lines: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x");
    std::fs::write(&path, service()).expect("a file");
    let executables = Executables::from_iter([("x".to_owned(), path), ("gone".to_owned(), folder.path().join("gone"))]);
    let mut explainer = Explainer::new(&executables);
    lines.iter().flat_map(|line| explainer.explain(line)).collect()
}

#[test]
fn methods_have_the_names_that_the_table_leads_to() {
    let bytes = service();
    let symbols = Symbols::parse(&bytes).expect("an executable");
    assert_eq!(symbols.method(0).as_deref(), Some("alpha"));
    assert_eq!((symbols.method(1), symbols.method(2)), (None, None), "beta and gamma cannot be told apart");
    assert_eq!((symbols.method(3), symbols.method(u32::MAX)), (None, None));
}

#[test]
fn failures_are_explained() {
    let abort = "failure 1: x: data-abort at 0x1002c address 0x1e00010 method 0 session - process - tick 1";
    let lines = explained(&[abort]);
    assert!(["beta", "gamma"].map(|name| format!("at x::y::XEntries::{name}")).contains(&lines[0]), "{lines:?}");
    assert_eq!(lines[1..], ["address 0x1e00010: SSR + 0x10", "in the method alpha"]);
    let more = "failure 1: lr 0x10028 sp 0x0 chain x registers 0x0";
    assert_eq!(explained(&[abort, more])[3..], ["called from x::y::XEntries::alpha"]);
    assert!(explained(&[more]).is_empty(), "nothing is known of this failure");
    // The link register holds no way back, or one that is not the caller's.
    assert_eq!(explained(&[abort, "failure 1: lr 0x10024 sp 0x0 chain x registers 0x0"]).len(), 3);
    let own = "failure 1: x: undefined at 0x10028 address 0x0 method 0x80000002 session - process - tick 1";
    assert_eq!(
        explained(&[own, more]),
        ["at x::y::XEntries::alpha+0x4", "in the hook reload", "latest call at x::y::XEntries::alpha"]
    );
    let lost = "failure 1: x: prefetch-abort at 0xdead0000 address 0xdead0000 method 9 session - process - tick 1";
    assert_eq!(explained(&[lost, more]), ["at 0xdead0000, where no code is", "called from x::y::XEntries::alpha"]);
}

#[test]
fn the_latest_failure_of_a_number_counts() {
    let failure = |kind, pc| format!("failure 1: x: {kind} at {pc:#x} address 0x0 method 9 session - process - tick 1");
    let more = "failure 1: lr 0x10028 sp 0x0 chain x registers 0x0";
    let lines = explained(&[&failure("undefined", TEXT + 44), &failure("undefined", TEXT + 40), more]);
    assert_eq!(lines[2], "latest call at x::y::XEntries::alpha");
}

#[test]
fn panics_have_the_place_that_the_runtime_names() {
    let failure = "failure 1: x: panic at 0x10028 address 0x0 method 0 session - process - tick 1";
    let registers = "failure 1: lr 0x0 sp 0x0 chain x registers 0xeff000 0x10 0x10030 0x16 0x2a 0x0";
    assert_eq!(
        explained(&[failure, registers]),
        ["in the method alpha", "at a function without a name (services/x/src/main.rs:42)"]
    );
    for other in ["0x0 0x0 0x10000 0x4 0x1", "0x0 0x0 0x10030 0xffffffff 0x1", "0x0 0x0 0x10030"] {
        let registers = format!("failure 1: lr 0x10028 sp 0x0 chain x registers {other}");
        assert_eq!(explained(&[failure, &registers])[1], "latest call at x::y::XEntries::alpha", "{other}");
    }
}

#[test]
fn programs_and_what_has_no_symbols() {
    assert_eq!(
        explained(&["[kernel] program x ended: data-abort at 0x10000, address 0x0"]),
        ["at __po_call", "address 0x0: the first page, which is never mapped (a null pointer?)"]
    );
    let lines = explained(&[
        "[kernel] program nobody ended: data-abort at 0x10000, address 0x0",
        "[kernel] program gone ended: data-abort at 0x10000, address 0x0",
    ]);
    assert!(lines[0].starts_with("no symbols of nobody: no service or program"), "{lines:?}");
    assert!(lines[1].starts_with("no symbols of gone: cannot read"), "{lines:?}");
}

#[test]
fn regions_have_their_names() {
    let bytes = service();
    let symbols = Symbols::parse(&bytes).expect("an executable");
    for (address, name) in [
        (0xffc, "the first page"),
        (layout::PAGE, "between"),
        (TEXT + 38, "image, x::y::XEntries::alpha+0x2"),
        (TEXT + 0x1000, "behind the image"),
        (layout::HEAP_BASE + 4, "heap + 0x4"),
        (layout::STACK_TOP - 16, "stack, 0x10 below"),
        (layout::STACK_TOP, "between"),
        (layout::COMMON_BASE, "common region + 0x0"),
        (layout::MMIO_BASE - 1, "SSR + 0xfffff"),
        (layout::MMIO_END - 1, "device registers + 0xfffff"),
        (layout::USER_END, "outside"),
        (u32::MAX, "outside"),
    ] {
        let found = region(&symbols, address);
        assert!(found.starts_with(name), "{address:#x}: {found}");
    }
}

#[test]
fn damaged_executables_are_refused_or_read() {
    let good = service();
    let try_all = |bytes: &[u8]| {
        if let Ok(symbols) = Symbols::parse(bytes) {
            let _ = (symbols.method(0), symbols.places(TEXT + 36), symbols.place_of("x.rs", 1), symbols.symbol(TEXT));
        }
    };
    (0..good.len()).for_each(|length| try_all(&good[..length]));
    for at in 0..good.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            try_all(&bad);
        }
    }
}

/// The two functions that follow begin and end within so many lines.
const LANDMARKS: std::ops::Range<u32> = line!()..line!() + 14;

/// Stands in the host's executable with a function inlined into it.
#[inline(never)]
fn landmark(value: u32) -> u32 {
    inlined_landmark(black_box(value)) + 1
}

#[inline(always)]
fn inlined_landmark(value: u32) -> u32 {
    let doubled = black_box(value) * 2;
    black_box(doubled)
}

#[test]
fn functions_files_and_lines_come_from_the_debug_information() {
    assert_eq!(landmark(1), 3);
    let path = std::env::current_exe().expect("this test");
    let bytes = std::fs::read(path).expect("readable");
    let symbols = Symbols::parse(&bytes).expect("an executable");
    let file = object::File::parse(&*bytes).expect("an executable");
    let symbol = file.symbols().find(|symbol| symbol.name().is_ok_and(|name| name.contains("tests8landmark")));
    let symbol = symbol.expect("it is never inlined");
    let start = u32::try_from(symbol.address()).expect("executables are linked to low addresses");
    assert!(symbols.is_code(start));
    let all: Vec<Vec<Place>> = (start..start + symbol.size() as u32).map(|address| symbols.places(address)).collect();
    let is = |place: &Place, name: &str| {
        let ours = |(file, line): &(PathBuf, u32)| {
            file == Path::new("xtask/src/postmortem/tests.rs") && LANDMARKS.contains(line)
        };
        place.function == Some(format!("xtask::postmortem::tests::{name}")) && place.line.as_ref().is_some_and(ours)
    };
    assert!(is(&all[0][0], "landmark") && all[0].len() == 1, "{all:?}");
    // Instructions that the compiler made up have no line.
    let inlined = all.iter().filter_map(|places| places.iter().rev().nth(1)).find(|place| place.line.is_some());
    let inlined = inlined.expect("it is always inlined");
    assert!(is(inlined, "inlined_landmark"), "{inlined}");
    // And back: the line names the function, however the file is spelled.
    let line = inlined.line.as_ref().map_or(0, |(_, line)| *line);
    for file in [PathBuf::from(file!()), Path::new(env!("CARGO_MANIFEST_DIR")).join("src/postmortem/tests.rs")] {
        let place = symbols.place_of(&file.display().to_string(), line);
        assert!(is(&place, "inlined_landmark"), "{place}");
    }
    assert_eq!(symbols.place_of(file!(), 1).function, None);
}
