//! The console's output, by who said what.
//!
//! Kernel and console service share the device. The kernel puts out a line of its log as a whole, but may do so between
//! any two characters of the service, which it can interrupt. Such a line begins with a name in brackets and ends with
//! a line feed, so it can be cut out wherever it stands; what is left is what the service put out, unbroken.

/// How the kernel's last words begin (`kernel/src/console.rs`).
const LAST_WORDS: [&str; 2] = ["[kernel] PANIC", "[kernel] FAULT"];

/// Characters of a line that are shown.
const QUOTED: usize = 80;

/// Who may say something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speakers {
    /// What each client's lines begin with, by its number. Empty: the console is not compared.
    pub prefixes: Vec<String>,
    /// Names of the image's services and programs, as the kernel's log has them.
    pub names: Vec<String>,
}

/// What was on the console.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The lines of each client, by the number of its prefix, without their ends.
    pub clients: Vec<Vec<String>>,
    /// Lines that nobody's prefix stands before.
    pub others: Vec<String>,
    /// Lines of the kernel's log: its own, and what programs and services say through it.
    pub log: Vec<String>,
    /// The kernel's last words.
    pub panic: Option<String>,
}

/// Tells apart who said what.
pub fn separate(output: &[u8], speakers: &Speakers) -> Text {
    let prefixes = &speakers.prefixes;
    let mut text = Text { clients: vec![Vec::new(); prefixes.len()], ..Text::default() };
    let mut rest = Vec::with_capacity(output.len());
    let mut at = 0;
    while at < output.len() {
        if let Some(length) = log_line(&output[at..], &speakers.names) {
            let line = shown(&output[at..at + length]);
            if text.panic.is_none() && LAST_WORDS.iter().any(|words| line.starts_with(words)) {
                text.panic = Some(line.clone());
            }
            text.log.push(line);
            at += length;
        } else {
            rest.push(output[at]);
            at += 1;
        }
    }
    for line in rest.split(|byte| *byte == b'\n') {
        let line = shown(line);
        // The longest that fits: one prefix may begin with another.
        let fitting = prefixes.iter().enumerate().filter(|(_, prefix)| line.starts_with(prefix.as_str()));
        match fitting.max_by_key(|(_, prefix)| prefix.len()) {
            Some((number, _)) => text.clients[number].push(line),
            None if line.is_empty() => {}
            None => text.others.push(line),
        }
    }
    text
}

/// A line without its end, every byte visible.
fn shown(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

/// Length of the line of the kernel's log that begins here, with its end.
fn log_line(bytes: &[u8], names: &[String]) -> Option<usize> {
    let inner = bytes.strip_prefix(b"[")?;
    let begins = |name: &str| inner.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"] "));
    if !["kernel", "boot"].into_iter().chain(names.iter().map(String::as_str)).any(begins) {
        return None;
    }
    Some(bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1))
}

/// Where two sequences of lines part: what was expected there and what was found, and in how many lines they differ.
pub fn difference(expected: &[String], found: &[String]) -> Option<(String, u32)> {
    if expected == found {
        return None;
    }
    let same = expected.iter().zip(found).take_while(|(expected, found)| expected == found).count();
    let tail = expected.iter().rev().zip(found.iter().rev()).take_while(|(expected, found)| expected == found).count();
    // What is the same at the end counts only as far as it is not the same at the beginning, too.
    let tail = tail.min(expected.len().min(found.len()) - same);
    let lines = (expected.len().max(found.len()) - same - tail) as u32;
    let text = match (expected.get(same), found.get(same)) {
        (Some(expected), Some(found)) => format!("{} instead of {}", quoted(found), quoted(expected)),
        (Some(expected), None) => format!("{} is missing", quoted(expected)),
        (None, found) => format!("{} more than there should be", quoted(found.map_or("", String::as_str))),
    };
    Some((text, lines))
}

/// The beginning of a line, in quotation marks.
fn quoted(line: &str) -> String {
    match line.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("\"{}...\"", &line[..end]),
        None => format!("\"{line}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(output: &str) -> Text {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let speakers = Speakers { prefixes: own(&["c1:", "c2:", "c1:x:"]), names: own(&["fs", "supervisor"]) };
        separate(output.as_bytes(), &speakers)
    }

    #[test]
    fn lines_go_to_their_clients() {
        let text = of("c1: a\r\nc2: b\r\n\r\nc1:x: c\r\nc1: d");
        assert_eq!(text.clients, [vec!["c1: a", "c1: d"], vec!["c2: b"], vec!["c1:x: c"]]);
        assert_eq!((text.others.len(), text.log.len(), text.panic), (0, 0, None));
    }

    #[test]
    fn the_kernels_log_is_cut_out_wherever_it_stands() {
        let whole = "c1: [see] what (x) [1]\r\nc2: b\r\n";
        for at in 0..=whole.len() {
            let output = format!("{}[supervisor] failure 1: fs: panic at 0x1000\r\n{}", &whole[..at], &whole[at..]);
            let text = of(&output);
            assert_eq!(text.clients[0], ["c1: [see] what (x) [1]"], "{at}");
            assert_eq!(text.clients[1], ["c2: b"], "{at}");
            assert_eq!(text.log, ["[supervisor] failure 1: fs: panic at 0x1000"], "{at}");
            assert_eq!(text.others, [""; 0], "{at}");
        }
    }

    #[test]
    fn what_belongs_to_nobody_is_kept() {
        let text = of("garbage\r\n\x01c1: a\r\n[else] where\r\n[] x\r\n[fs");
        assert_eq!(text.others, ["garbage", "\\x01c1: a", "[else] where", "[] x", "[fs"]);
        assert_eq!(text.clients[0], [""; 0]);
    }

    #[test]
    fn the_kernels_last_words_are_found() {
        let text = of("c1: a\r\n[kernel] program x ended: panic at 0x0, address 0x0\r\nc1: b\r\n[kernel] PANIC: oops");
        assert_eq!(text.panic.as_deref(), Some("[kernel] PANIC: oops"));
        assert_eq!(text.clients[0], ["c1: a", "c1: b"]);
        assert_eq!(
            of("[kernel] FAULT 4 near 0x10, status 0x1\r\n").panic.as_deref(),
            Some("[kernel] FAULT 4 near 0x10, status 0x1")
        );
        assert_eq!(of("c1: no [kernel] panic\r\n").panic, None);
    }

    #[test]
    fn differences_are_told_and_counted() {
        let lines = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let told = |expected: &str, found: &str| difference(&lines(expected), &lines(found));
        assert_eq!(told("a b c", "a b c"), None);
        assert_eq!(told("a b c", "a x c"), Some(("\"x\" instead of \"b\"".into(), 1)));
        assert_eq!(told("a b c", "a b"), Some(("\"c\" is missing".into(), 1)));
        assert_eq!(told("a b", "a b c"), Some(("\"c\" more than there should be".into(), 1)));
        assert_eq!(told("a b b c", "a b c").map(|(_, lines)| lines), Some(1));
        assert_eq!(told("a a", "a a a a").map(|(_, lines)| lines), Some(2));
        assert_eq!(told("", "a").map(|(_, lines)| lines), Some(1));
        assert_eq!(told("a b c d", "x y").map(|(_, lines)| lines), Some(4));
    }
}
