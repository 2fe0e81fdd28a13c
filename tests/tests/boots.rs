//! Whole boots: the demonstration on every processor and in every mode, refused images, the shell.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use common::{emulator, image, must, scratch, xtask};

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
        let entry = &good[start + 32 + index * size..][..size];
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
    let mut child = emulator(image(), "on").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the emulator");
    let mut input = child.stdin.take().expect("a pipe");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let (mut text, mut lines) = (String::new(), lines.iter());
    loop {
        let mut part = Vec::new();
        // A prompt is a `>` and a space at the start of a line; the demonstration's report has arrows within its lines.
        if must(output.read_until(b' ', &mut part)) == 0 {
            break;
        }
        text.push_str(&String::from_utf8_lossy(&part));
        if text.ends_with("\n> ") {
            match lines.next() {
                Some(line) => must(input.write_all(format!("{line}\r").as_bytes())),
                None => must(input.write_all(b"exit 9\r")),
            }
        }
    }
    (must(child.wait()).code(), text)
}

#[test]
fn shell_keeps_files_through_crashes() {
    let (status, text) = shell(&[
        "write /new.txt before the crash",
        "crash fs panic",
        "cat /new.txt",
        "crash console data-abort",
        "mkdir /made",
        "crash fs ssr-header end",
        "mv /new.txt /made/moved.txt",
        "cat /made/moved.txt",
        "cat /missing",
        "crash fs nonsense",
        "nonsense",
        "svc",
        "exit 7",
    ]);
    assert_eq!(status, Some(7), "{text}");
    assert!(text.matches("before the crash").count() >= 3, "typed once, shown twice: {text}");
    assert!(text.contains("no such file"), "{text}");
    let row = |line: &&str| line.starts_with("fs ") && line.contains("running");
    let row = text.lines().find(row).unwrap_or_else(|| panic!("no row for a running fs: {text}"));
    let numbers: Vec<&str> = row.split_whitespace().skip(2).take(2).collect();
    assert_eq!(numbers, ["2", "2"], "restarts and failures: {row}");
}
