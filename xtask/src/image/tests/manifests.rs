//! Manifests, one at a time: what is read, what is refused.

use super::*;

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
    assert_eq!(found.rights(), abi::image::Rights::TIME | abi::image::Rights::LOG);
    assert_eq!(found.flags, abi::image::Flags::SERIAL | abi::image::Flags::INTEGRITY);
    assert_eq!((found.callees[0].value.as_str(), found.callees[0].line), ("block", 16));
    assert_eq!((found.mmio[0].value.address, found.mmio[0].line), (0x0900_0000, 22));
    assert_eq!(problems(&[found, object("block", "")]), Vec::<String>::new());
}

#[test]
fn nothing_is_granted_that_is_not_written() {
    let found = object("plain", "");
    assert!(found.rights().is_empty() && found.flags.is_empty() && found.callees.is_empty() && found.mmio.is_empty());
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
    let none = read(Path::new("services/x/Cargo.toml"), "[package]\nname = \"x\"\n", DEFAULT).expect_err("no manifest");
    assert!(none.to_string().contains("[package.metadata.service]"), "{none}");
}

/// A service that is driven one way on one board, another way on another one, and not at all on the rest.
const DRIVER: &str = "[package]\nname = \"uart\"\n\n[package.metadata.service]\nkind = \"object\"\nstack = \"8K\"\nmax_bindings = 1\n\
    interrupt_rate = 7\n[package.metadata.service.board.FIRST]\nargument = 3\nmmio = [{ address = 0x0900_0000, length = 0x1000 }]\n\
    interrupts = [33]\nreset = { register = 4, value = 5 }\n[package.metadata.service.board.SECOND]\ninterrupts = [34]\n";

fn on_board(text: &str, board: &Board) -> Result<Manifest, Problem> {
    let text = text.replace("FIRST", DEFAULT.name).replace("SECOND", OTHER.name);
    read(Path::new("Cargo.toml"), &text, board)
}

/// A board that the tables name second.
const OTHER: &Board = boards::BOARDS[0];

#[test]
fn devices_are_those_of_the_board() {
    assert_ne!(OTHER.name, DEFAULT.name);
    let first = on_board(DRIVER, DEFAULT).expect("well-formed");
    assert_eq!((first.argument.value, first.mmio.len(), first.interrupts[0].value, first.absent), (3, 1, 33, false));
    assert_eq!(
        (first.reset.map(|reset| (reset.line, reset.value.value)), first.interrupts[0].line),
        (Some((13, 5)), 12)
    );
    let second = on_board(DRIVER, OTHER).expect("well-formed");
    assert_eq!((second.argument.value, second.mmio.len(), second.interrupts[0].value), (0, 0, 34));
    assert!(second.reset.is_none() && !second.absent);
}

#[test]
fn a_service_without_a_device_is_left_out_with_those_that_call_it() {
    let third = Board { name: "third", ..*DEFAULT };
    let found = on_board(DRIVER, &third).expect("well-formed");
    assert!(found.absent && found.interrupts.is_empty());
    let set = [
        object("lines", "callees = [\"uart\", \"plain\"]"),
        object("plain", ""),
        found,
        program("user", "callees = [\"lines\", \"plain\"]"),
    ];
    assert_eq!(problems(&set), Vec::<String>::new());
    let (set, absent) = without_absent(set.to_vec());
    assert_eq!(absent, ["lines", "uart"]);
    let names: Vec<_> = set.iter().map(|manifest| manifest.name.as_str()).collect();
    assert_eq!(names, ["plain", "user"]);
    assert_eq!(set[1].callees.iter().map(|name| name.value.as_str()).collect::<Vec<_>>(), ["plain"]);
    assert_eq!(selection(&set, &["user"]).expect("all that it can have").len(), 2);
}

#[test]
fn tables_of_boards_are_checked() {
    for (from, to, place, text) in [
        ("SECOND", "nowhere", "Cargo.toml:14:", "no board is called nowhere: the boards are "),
        ("interrupt_rate = 7", "interrupts = [35]", "Cargo.toml:8:", "move it to the tables of the boards"),
        ("argument = 3", "argument = \"3\"", "Cargo.toml:10:", "invalid type"),
        ("argument = 3", "heap = 4096", "Cargo.toml:10:", "unknown field `heap`"),
        ("\"object\"", "\"program\"", "Cargo.toml:", "a program has none"),
    ] {
        let problem = on_board(&DRIVER.replace(from, to), DEFAULT).expect_err(text).to_string();
        assert!(problem.starts_with(place) && problem.contains(text), "{text}: {problem}");
    }
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
        match read(Path::new("Cargo.toml"), &text, DEFAULT) {
            Ok(manifest) => {
                read_well += 1;
                let _ = check(&[manifest], BLOBS, DEFAULT);
            }
            Err(problem) => {
                refused += 1;
                assert!(problem.line >= 1 && problem.line <= text.lines().count() + 1, "{problem}");
            }
        }
    }
    assert!(read_well > 100 && refused > 1000, "{read_well} read, {refused} refused");
}
