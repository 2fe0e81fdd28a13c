//! Failures with function, file and line: what the system prints about a failure, symbolised as it passes.
//!
//! The system itself knows addresses only; the executables with their debug information stay on the host. An
//! [`Annotator`] stands in the stream of what a guest prints. It lets every byte through at once, and puts lines of
//! its own behind those that tell of a failure ([`record`] knows them).

mod record;
mod symbols;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use abi::{FailureKind, Hook, layout};

use record::{Fault, Record};
use symbols::Place;
pub use symbols::{Executables, Symbols};

/// The longest line that is looked at, in bytes.
const LONGEST: usize = 4096;
/// Failures whose second line may still come.
const REMEMBERED: usize = 64;
/// Bit of the method in a failure that tells a hook from a method.
const HOOK: u32 = 1 << 31;

/// Finds complete lines in a stream that passes in pieces, and puts lines behind them.
#[derive(Default)]
struct Lines {
    /// The start of a line whose end has not passed yet.
    line: Vec<u8>,
}

impl Lines {
    /// Passes bytes on. `explain` gets each line that they complete, without its end; what it returns follows as lines.
    fn push(&mut self, bytes: &[u8], mut explain: impl FnMut(&str) -> Vec<String>, pass: &mut impl FnMut(&[u8])) {
        let mut passed = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if *byte != b'\n' {
                // Of a longer line the start is kept, which is enough to see that it is none of those looked for.
                if self.line.len() <= LONGEST {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let (text, end) = match line.strip_suffix(b"\r") {
                Some(text) => (text, "\r\n"),
                None => (line.as_slice(), "\n"),
            };
            if text.len() > LONGEST {
                continue;
            }
            let added = explain(&String::from_utf8_lossy(text));
            if !added.is_empty() {
                pass(&bytes[passed..=at]);
                passed = at + 1;
                let added: String = added.into_iter().map(|text| format!("    {text}{end}")).collect();
                pass(added.as_bytes());
            }
        }
        if passed < bytes.len() {
            pass(&bytes[passed..]);
        }
    }
}

/// Puts function, file and line behind the lines that tell of failures. Everything else passes as it comes.
pub struct Annotator<'f> {
    lines: Lines,
    explainer: Explainer<'f>,
}

impl<'f> Annotator<'f> {
    /// One that knows these executables.
    pub fn new(executables: &'f Executables) -> Annotator<'f> {
        Annotator { lines: Lines::default(), explainer: Explainer::new(executables) }
    }

    /// Passes bytes on, at once and all of them, with what is to be added.
    pub fn push(&mut self, bytes: &[u8], mut pass: impl FnMut(&[u8])) {
        self.lines.push(bytes, |line| self.explainer.explain(line), &mut pass);
    }

    /// The stream is over: a last line may lack its end.
    pub fn finish(&mut self, pass: impl FnMut(&[u8])) {
        if !self.lines.line.is_empty() {
            self.push(b"\n", pass);
        }
    }
}

/// Knows what the lines mean.
struct Explainer<'f> {
    executables: &'f Executables,
    loaded: BTreeMap<String, Symbols<'f>>,
    /// Number, object and fault of the latest failures.
    failures: VecDeque<(u32, String, Fault)>,
}

impl<'f> Explainer<'f> {
    fn new(executables: &'f Executables) -> Explainer<'f> {
        Explainer { executables, loaded: BTreeMap::new(), failures: VecDeque::new() }
    }

    /// What to add to a line.
    fn explain(&mut self, line: &str) -> Vec<String> {
        match Record::parse(line) {
            Some(Record::Failure { number, object, fault, method }) => {
                if self.failures.len() == REMEMBERED {
                    self.failures.pop_front();
                }
                self.failures.push_back((number, object.to_owned(), fault));
                self.with(object, |symbols| {
                    let mut lines = at_fault(symbols, fault);
                    lines.extend(method.and_then(|method| entered(symbols, method)));
                    lines
                })
            }
            Some(Record::Registers { number, lr, registers }) => {
                // The latest of this number: the system may have been started anew, or tell of a failure again.
                let found = self.failures.iter().rposition(|(other, ..)| *other == number);
                let Some((_, object, fault)) = found.and_then(|at| self.failures.remove(at)) else { return Vec::new() };
                self.with(&object, |symbols| match panicked(symbols, fault, &registers) {
                    Some(place) => vec![format!("at {place}")],
                    None => caller(symbols, fault, lr),
                })
            }
            Some(Record::Ended { program, fault }) => self.with(program, |symbols| at_fault(symbols, fault)),
            Some(Record::Kernel { pc }) => self.with(crate::guest::KERNEL, |symbols| code(symbols, "at", pc)),
            None => Vec::new(),
        }
    }

    /// Asks the symbols of a service or program; says so if there are none.
    fn with(&mut self, name: &str, ask: impl FnOnce(&Symbols<'_>) -> Vec<String>) -> Vec<String> {
        if !self.loaded.contains_key(name) {
            match self.executables.symbols(name) {
                Ok(symbols) => self.loaded.insert(name.to_owned(), symbols),
                Err(error) => return vec![format!("no symbols of {name}: {error:#}")],
            };
        }
        self.loaded.get(name).map(ask).unwrap_or_default()
    }
}

/// Where a fault happened, and what it wanted there.
fn at_fault(symbols: &Symbols<'_>, fault: Fault) -> Vec<String> {
    // A panic ends in the runtime's handler, wherever it began: the registers tell.
    let mut lines = if fault.kind == FailureKind::Panic { Vec::new() } else { code(symbols, "at", fault.pc) };
    if matches!(fault.kind, FailureKind::DataAbort | FailureKind::Alignment | FailureKind::StackOverflow) {
        lines.push(format!("address {:#x}: {}", fault.address, region(symbols, fault.address)));
    }
    lines
}

/// An address of code, with all functions that were inlined there.
fn code(symbols: &Symbols<'_>, what: &str, pc: u32) -> Vec<String> {
    if !symbols.is_code(pc) {
        return vec![format!("{what} {pc:#x}, where no code is")];
    }
    let places = symbols.places(pc);
    let shown = |(depth, place): (usize, &Place)| match depth {
        0 => format!("{what} {place}"),
        _ => format!("  inlined into {place}"),
    };
    places.iter().enumerate().map(shown).collect()
}

/// Who called the function that failed, as far as the link register tells.
fn caller(symbols: &Symbols<'_>, fault: Fault, lr: u32) -> Vec<String> {
    if !symbols.is_return_address(lr) {
        return Vec::new();
    }
    // The call itself, not what follows it: that may belong to another line, or to another function.
    let call = lr - 4;
    let own = symbols.function_start(fault.pc).is_some_and(|start| Some(start) == symbols.function_start(call));
    // A function that has made calls itself has put the way back to its caller on the stack.
    code(symbols, if own { "latest call at" } else { "called from" }, call)
}

/// Where a panic began: the runtime's handler names it in r2 to r4 (address and length of the file's name, line).
fn panicked(symbols: &Symbols<'_>, fault: Fault, registers: &[u32]) -> Option<Place> {
    let [_, _, file, length, line, ..] = *registers else { return None };
    if fault.kind != FailureKind::Panic {
        return None;
    }
    let file = symbols.text(file, length).filter(|file| file.ends_with(".rs"))?;
    Some(symbols.place_of(file, line))
}

/// What the kernel had entered the object for.
fn entered(symbols: &Symbols<'_>, method: u32) -> Option<String> {
    match method.checked_sub(HOOK) {
        Some(hook) => {
            Hook::try_from(hook).ok().map(|hook| format!("in the hook {}", format!("{hook:?}").to_lowercase()))
        }
        None => symbols.method(method).map(|name| format!("in the method {name}")),
    }
}

/// What lies at an address of a domain (`abi::layout`).
fn region(symbols: &Symbols<'_>, address: u32) -> String {
    let (name, base) = match address {
        0..layout::PAGE => return "the first page, which is never mapped (a null pointer?)".to_owned(),
        layout::IMAGE_BASE..layout::IMAGE_END if !symbols.is_image(address) => return "behind the image".to_owned(),
        layout::IMAGE_BASE..layout::IMAGE_END => {
            return symbols.symbol(address).map_or_else(|| "image".to_owned(), |name| format!("image, {name}"));
        }
        layout::HEAP_BASE..layout::HEAP_END => ("heap", layout::HEAP_BASE),
        layout::HEAP_END..layout::STACK_TOP => {
            return format!("stack, {:#x} below its top", layout::STACK_TOP - address);
        }
        layout::COMMON_BASE..layout::COMMON_END => ("common region", layout::COMMON_BASE),
        layout::SSR_BASE..layout::MMIO_BASE => ("SSR", layout::SSR_BASE),
        layout::MMIO_BASE..layout::MMIO_END => ("device registers", layout::MMIO_BASE),
        layout::USER_END.. => return "outside the address space of a domain".to_owned(),
        _ => return "between the regions of a domain".to_owned(),
    };
    format!("{name} + {:#x}", address - base)
}
