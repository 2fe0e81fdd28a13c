//! Whole boots: the demonstration on every processor and in every mode, refused images, the shell.

mod common;

use std::fs;
use std::process::Stdio;

use abi::image::Header;
use common::{converse, emulator, image, must, scratch, xtask};

/// The demonstration, with so few failures that it is over soon: two of each kind.
const SHORT: [&str; 4] = ["run", "--failures", "24", "--seed"];

fn demonstration(arguments: &[&str]) -> String {
    let output = xtask().args(SHORT).args(arguments).output().expect("xtask starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("[demo] every promise held"), "{text}");
    text
}

/// The lines of the demonstration itself: what the clients print may be cut short by a crash of the console.
fn told(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("[demo]")).collect()
}

#[test]
fn demonstration_is_the_same_for_the_same_seed() {
    let (first, second) = (demonstration(&["3"]), demonstration(&["3"]));
    assert_eq!(told(&first), told(&second));
    assert!(first.contains("[demo] all                    24        24"), "{first}");
    assert!(first.contains("the supervisor's log lists 24 failures of 24, 0 of them wrongly"), "{first}");
    assert_ne!(first, demonstration(&["4"]), "another seed, another course");
}

#[test]
fn cortex_a7() {
    demonstration(&["5", "--cpu", "cortex-a7"]);
}

#[test]
fn started_in_hyp() {
    demonstration(&["6", "--hyp"]);
    demonstration(&["6", "--hyp", "--cpu", "cortex-a7"]);
}

#[test]
fn cortex_a8() {
    let text = demonstration(&["7", "--board", "cubieboard"]);
    assert!(text.contains("on cubieboard"), "{text}");
}

/// Boots a file and returns the exit status and what it printed.
fn boot(file: &std::path::Path) -> (Option<i32>, String) {
    let output = emulator(file, "off").stdin(Stdio::null()).output().expect("the emulator starts");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn damaged_image_is_refused_by_name() {
    let (folder, good) = (scratch(), must(fs::read(image())));
    let start = good.windows(8).position(|bytes| bytes == b"CURIOSIM").expect("a boot image");
    let file = folder.path().join("damaged.bin");
    let refused = |at: usize, expected: &str| {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        must(fs::write(&file, &bad));
        let (status, text) = boot(&file);
        assert_eq!(status, Some(101), "{text}");
        assert!(text.contains("boot image") && text.contains(expected), "{expected}: {text}");
    };
    refused(start, "Magic");
    refused(start + 40, "TableChecksum");
    // Each byte behind the table belongs to a segment of some entry: the kernel names it.
    let entries = u32::from_le_bytes(good[start + 16..start + 20].try_into().expect("four bytes")) as usize;
    let size = u32::from_le_bytes(good[start + 20..start + 24].try_into().expect("four bytes")) as usize;
    for index in 0..entries {
        let entry = &good[start + size_of::<Header>() + index * size..][..size];
        let end = entry.iter().position(|byte| *byte == 0).unwrap_or(16).min(16);
        let name = String::from_utf8_lossy(&entry[..end]).into_owned();
        let kind = u32::from_le_bytes(entry[16..20].try_into().expect("four bytes"));
        // The text of a service or program comes first among its segments, a blob has only data.
        let segment = if kind == 3 { 40 + 48 } else { 40 };
        let offset = u32::from_le_bytes(entry[segment + 4..segment + 8].try_into().expect("four bytes")) as usize;
        refused(start + offset + 100, &format!("{name}: {}", if kind == 3 { "data" } else { "text" }));
    }
}

#[test]
fn truncated_image_is_refused() {
    let (folder, good) = (scratch(), must(fs::read(image())));
    let start = good.windows(8).position(|bytes| bytes == b"CURIOSIM").expect("a boot image");
    let file = folder.path().join("short.bin");
    for length in [start, start + 16, start + 0x3000, good.len() - 0x20_0000] {
        must(fs::write(&file, &good[..length]));
        let (status, text) = boot(&file);
        assert_eq!(status, Some(101), "{length}: {text}");
        assert!(text.contains("boot image"), "{text}");
    }
}

/// Talks to the shell: waits for a prompt before each line, and returns all that was said, with the exit status.
fn shell(lines: &[&str]) -> (Option<i32>, String) {
    shell_on(&[], lines)
}

/// The same on a machine with these options.
fn shell_on(options: &[&str], lines: &[&str]) -> (Option<i32>, String) {
    let mut command = emulator(image(), "on");
    command.args(options);
    converse(command, lines)
}

#[test]
fn shell_keeps_files_through_crashes() {
    let (status, text) = shell(&[
        "write /new.txt before the crash",
        "svc crash fs panic",
        "cat /new.txt",
        "svc crash console data-abort",
        "mkdir /made",
        "svc crash fs ssr-header end",
        "mv /new.txt /made/moved.txt",
        "cat /made/moved.txt",
        "cat /missing",
        "svc crash fs nonsense",
        "nonsense",
        "svc",
        "exit 7",
    ]);
    assert_eq!(status, Some(7), "{text}");
    assert!(text.matches("before the crash").count() >= 3, "typed once, shown twice: {text}");
    assert!(text.contains("no such file"), "{text}");
    let row = |line: &&str| line.starts_with("fs ") && line.contains("running");
    let row = text.lines().find(row).unwrap_or_else(|| panic!("no row for a running fs: {text}"));
    let numbers: Vec<u32> = row.split_whitespace().skip(3).take(2).filter_map(|number| number.parse().ok()).collect();
    // The damaged header may belong to a call that returns an error: that is doubted before the header is looked at, and undone
    // without being a failure.
    let [failures, restarts] = numbers[..] else { panic!("no failures and restarts: {row}") };
    assert!((1..=2).contains(&failures) && restarts == failures, "failures and restarts: {row}");
}

/// What was said behind this line of the shell's, up to the next prompt.
#[track_caller]
fn answer<'t>(text: &'t str, line: &str) -> &'t str {
    let (_, rest) = text.split_once(&format!("> {line}")).unwrap_or_else(|| panic!("{line} was not typed: {text}"));
    rest.split_once("\n> ").map_or(rest, |(answer, _)| answer)
}

#[test]
fn shell_orders_services_about() {
    let (status, text) = shell(&[
        "svc stop fs",
        "ls /notes",
        "svc start fs",
        "ls /notes/archive",
        "svc restart console",
        "svc show console",
        "svc crash timer panic",
        "uptime",
        "svc log",
        "svc policy fs backoff 20 give-up reboot",
        "svc policy fs nonsense 1",
        "svc policy fs default",
        "svc stop console",
        "svc restart nothing",
        "svc list",
        "exit 3",
    ]);
    assert_eq!(status, Some(3), "{text}");
    for (line, expected) in [
        ("svc stop fs", "fs is stopped"),
        ("ls /notes", "fs: the service is stopped"),
        ("svc start fs", "fs is running"),
        ("ls /notes/archive", "2008"),
        ("svc restart console", "console is rebuilt"),
        ("svc show console", "failures: 0, 0 short runs in a row; restarts: 1"),
        ("uptime", "up 0:00:"),
        ("svc log", "timer         panic in method"),
        ("svc policy fs backoff 20 give-up reboot", "(not that of the manifest): "),
        ("svc policy fs backoff 20 give-up reboot", "backoff 20 backoff-cap 100 give-up reboot"),
        ("svc policy fs nonsense", "no such key"),
        ("svc policy fs default", "policy: heartbeat 0"),
        ("svc stop console", "could not go on"),
        ("svc restart nothing", "no such service"),
    ] {
        assert!(answer(&text, line).contains(expected), "{line}: {expected:?} is not in {text}");
    }
}

#[test]
fn shell_sets_alarms_and_keeps_a_registry() {
    let (status, text) = shell(&[
        "alarm 20 30",
        "svc crash timer data-abort",
        "sleep 100",
        "alarm cancel 1",
        "store watch a*",
        "store put a.b hello world",
        "svc crash store panic",
        "store get a.b",
        "store rm a.b",
        "store get a.b",
        "nice 3 40 2",
        "nice 7",
        "policy stride",
        "svc crash scheduler panic",
        "policy",
        "ps",
        "trace",
        "exit 4",
    ]);
    assert_eq!(status, Some(4), "{text}");
    for (line, expected) in [
        ("alarm 20 30", "alarm 1 is due at "),
        ("sleep 100", "alarm 1 is due, 3 times"),
        ("alarm cancel 1", "is cancelled"),
        ("store put a.b hello world", "store: a.b has a new value"),
        ("store get a.b", "hello world (version "),
        ("store rm a.b", "store: a.b is gone"),
        ("nice 3 40 2", "priority 3 (at most 5), weight 40, slice 2 ms"),
        ("nice 7", "above the one in the manifest"),
        ("policy stride", "scheduled by stride"),
        ("policy\r", "scheduled by stride"),
        ("ps", "shell "),
        ("trace", "scheduler runs again"),
    ] {
        assert!(answer(&text, line).contains(expected), "{line}: {expected:?} is not in {text}");
    }
    assert_eq!(text.matches("nothing is published under this key").count(), 1, "{text}");
}

#[test]
fn failures_are_shown_with_function_file_and_line() {
    let text = demonstration(&["3"]);
    let place = |line: &str| line.trim().starts_with("at ") && line.contains("(services/rt/src/sabotage.rs:");
    assert!(text.lines().any(place), "{text}");
    assert!(text.lines().any(|line| line.starts_with("[supervisor] failure 1: ")), "{text}");
}

#[test]
fn the_board_starts_anew_by_policy() {
    for options in [&[][..], &["-machine", "virtualization=on"]] {
        let (status, text) = shell_on(
            options,
            &[
                "svc policy fs heartbeat 20 max-restarts 1 min-run 3600000 give-up reboot",
                "svc crash fs panic",
                "sleep 5000",
                "uptime",
                "exit 6",
            ],
        );
        assert_eq!(status, Some(6), "{text}");
        assert!(text.contains("fs is given up: 1 short runs in a row; the board starts anew"), "{text}");
        assert_eq!(text.matches("[boot] curios-rs").count(), 2, "{text}");
        assert!(answer(&text, "uptime").contains("up 0:00:00."), "a new clock: {text}");
    }
}
