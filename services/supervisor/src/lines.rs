//! Lines in the system's log: what they say, and how many of them.
//!
//! The host's tool finds the lines of a failure by their shape and adds function, file and line to them.

use core::fmt::{self, Write};

use rt::Text;
use rt::abi::FailureKind;
use rt::abi::call::name_str;
use rt::abi::info::FailureInfo;

use crate::record::Window;

/// The longest line that the kernel takes.
pub const LINE: usize = 256;
/// Lines a second, at most: a storm of failures must not keep the console from everybody else.
pub const LINES: u32 = 50;
/// Microseconds after which they are counted anew.
pub const WINDOW: u64 = 1_000_000;
/// Bytes for a call chain: what a line with the longest numbers leaves.
const CHAIN: usize = 49;

/// A line.
pub type Line = Text<LINE>;

/// Puts a line together; what is too long is cut.
pub fn line(arguments: fmt::Arguments<'_>) -> Line {
    let mut line = Line::new();
    // `Text` cuts and never fails.
    let _ = line.write_fmt(arguments);
    line
}

/// A number, or `-` for none.
struct Number(Option<u32>);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("-"),
        }
    }
}

/// A method, decimal, or a hook as the kernel numbers them, hexadecimal.
struct Method(u32);

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >> 31 == 1 { write!(f, "{:#x}", self.0) } else { write!(f, "{}", self.0) }
    }
}

/// The first line about a failure.
pub fn failure(info: &FailureInfo) -> Line {
    let kind = FailureKind::from_number(info.kind).map_or("unknown", FailureKind::name);
    line(format_args!(
        "failure {}: {}: {kind} at {:#x} address {:#x} method {} session {} process {} tick {}",
        info.number,
        name_str(&info.object),
        info.pc,
        info.address,
        Method(info.method),
        Number((info.session != u32::MAX).then_some(info.session)),
        Number((info.process != 0).then_some(info.process)),
        info.tick
    ))
}

/// The second one: `names` are those of the domains in the chain, outermost first. A chain that is too long loses its middle.
pub fn registers<N: AsRef<str>>(info: &FailureInfo, names: impl Iterator<Item = N> + Clone) -> Line {
    let mut chain = Text::<CHAIN>::new();
    let mut put = |separator: &str, name: &str| {
        // `Text` cuts and never fails.
        let _ = write!(chain, "{separator}{name}");
    };
    let length = names.clone().map(|name| name.as_ref().len() + 1).sum::<usize>().saturating_sub(1);
    let count = names.clone().count();
    for (index, name) in names.enumerate() {
        match index {
            0 => put("", name.as_ref()),
            _ if length <= CHAIN => put(">", name.as_ref()),
            _ if index + 1 == count => put(">..>", name.as_ref()),
            _ => {}
        }
    }
    let mut line = line(format_args!(
        "failure {}: lr {:#x} sp {:#x} chain {} registers",
        info.number,
        info.registers[14],
        info.registers[13],
        chain.as_str()
    ));
    for register in &info.registers[..13] {
        let _ = write!(line, " {register:#x}");
    }
    line
}

impl Window {
    /// Whether so many lines may be written now; if not, they count as left out. Also how many the window before left out, if it
    /// has just ended.
    pub fn admit(&mut self, now: u64, lines: u32) -> (bool, u32) {
        let omitted = if self.is_over(now) { self.begin(now) } else { 0 };
        if self.written + lines > LINES {
            self.omitted = self.omitted.saturating_add(lines);
            return (false, omitted);
        }
        self.written += lines;
        (true, omitted)
    }

    /// Ends the window if its time is over and it left lines out; how many.
    pub fn end(&mut self, now: u64) -> u32 {
        if self.omitted > 0 && self.is_over(now) { self.begin(now) } else { 0 }
    }

    /// When it ends, if there is something to say then.
    pub fn ends(&self) -> Option<u64> {
        (self.omitted > 0).then_some(self.start.saturating_add(WINDOW))
    }

    fn is_over(&self, now: u64) -> bool {
        // A start in the future was never written by this code.
        now.checked_sub(self.start).is_none_or(|age| age >= WINDOW)
    }

    fn begin(&mut self, now: u64) -> u32 {
        core::mem::replace(self, Window { start: now, written: 0, omitted: 0 }).omitted
    }
}

#[cfg(test)]
mod tests {
    use rt::abi::call::pack_name;
    use zerocopy::FromZeros;

    use super::*;

    fn info() -> FailureInfo {
        FailureInfo {
            object: pack_name("fs"),
            number: 7,
            kind: FailureKind::DataAbort as u32,
            pc: 0x36c90,
            address: 0x1e0_0040,
            method: 2,
            session: 5,
            process: 321,
            tick: 9,
            registers: core::array::from_fn(|register| register as u32 * 0x11),
            cpsr: 0x10,
            chain: [0xff; 8],
        }
    }

    #[test]
    fn failures_have_the_form_that_the_host_knows() {
        assert_eq!(
            failure(&info()).as_str(),
            "failure 7: fs: data-abort at 0x36c90 address 0x1e00040 method 2 session 5 process 321 tick 9"
        );
        let nobody = FailureInfo { session: u32::MAX, process: 0, method: 0x8000_0006, kind: 99, ..info() };
        assert_eq!(
            failure(&nobody).as_str(),
            "failure 7: fs: unknown at 0x36c90 address 0x1e00040 method 0x80000006 session - process - tick 9"
        );
        assert_eq!(
            registers(&info(), ["demo", "fs"].iter()).as_str(),
            "failure 7: lr 0xee sp 0xdd chain demo>fs registers \
             0x0 0x11 0x22 0x33 0x44 0x55 0x66 0x77 0x88 0x99 0xaa 0xbb 0xcc"
        );
    }

    #[test]
    fn the_longest_lines_fit() {
        let longest = FailureInfo {
            object: *b"sixteen-letters!",
            number: u32::MAX,
            kind: FailureKind::HeapExhausted as u32,
            pc: u32::MAX,
            address: u32::MAX,
            method: u32::MAX,
            session: u32::MAX - 1,
            process: u32::MAX,
            tick: u32::MAX,
            registers: [u32::MAX; 15],
            ..info()
        };
        assert!(!failure(&longest).is_cut());
        let names = ["sixteen-letters!"; 8];
        for count in 0..=8 {
            let line = registers(&longest, names[..count].iter());
            assert!(!line.is_cut() && line.as_str().ends_with("0xffffffff"), "{}", line.as_str());
            let chain = line.as_str().split_once("chain ").unwrap().1.split_once(" registers").unwrap().0.to_owned();
            let expected = if count > 2 { [names[0], "..", names[1]].join(">") } else { names[..count].join(">") };
            assert_eq!(chain, expected);
        }
        assert!(registers(&longest, ["suite", "relay", "vault", "ledger"].iter()).as_str().contains("relay>vault"));
    }

    #[test]
    fn a_storm_is_counted_and_not_written() {
        let mut window = Window::new_zeroed();
        let start = 5 * WINDOW;
        let written = (0..200).filter(|step| window.admit(start + step, 2).0).count();
        assert_eq!((written, window.omitted, window.ends()), (25, 350, Some(start + WINDOW)));
        assert_eq!(window.end(start + WINDOW - 1), 0);
        assert_eq!(window.end(start + WINDOW), 350);
        assert_eq!((window.end(start + 3 * WINDOW), window.ends()), (0, None));
        assert_eq!(window.admit(start + 3 * WINDOW, 2), (true, 0));
        for _ in 0..100 {
            window.admit(start + 3 * WINDOW, 1);
        }
        assert_eq!(window.admit(start + 4 * WINDOW, 1), (true, 52));
        window.start = u64::MAX;
        assert_eq!(window.admit(7, 1), (true, 0));
    }
}
