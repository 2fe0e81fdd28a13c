//! The lines in which the system tells of failures.
//!
//! They may stand behind other output of the same line, for instance a prompt. What a line has beyond the fields that
//! are known here is ignored.

use abi::FailureKind;

/// What such a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'l> {
    /// `failure NUMBER: OBJECT: KIND at PC address ADDRESS method METHOD ...`: a service failed.
    Failure {
        /// Ordinal since boot.
        number: u32,
        /// The service.
        object: &'l str,
        /// Where, and of what kind.
        fault: Fault,
        /// Method, or `0x8000_0000` + hook.
        method: Option<u32>,
    },
    /// `failure NUMBER: lr LR ... registers R0 R1 ...`: more about the same failure.
    Registers {
        /// Ordinal since boot.
        number: u32,
        /// The link register.
        lr: u32,
        /// r0 and what follows, as far as the line has them.
        registers: Vec<u32>,
    },
    /// `[kernel] program NAME ended: KIND at PC, address ADDRESS`.
    Ended {
        /// The program.
        program: &'l str,
        /// Where, and of what kind.
        fault: Fault,
    },
    /// `[kernel] FAULT REASON near PC, ...`: the kernel itself.
    Kernel {
        /// Where.
        pc: u32,
    },
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was detected.
    pub kind: FailureKind,
    /// Program counter.
    pub pc: u32,
    /// Address of the access, where the kind has one.
    pub address: u32,
}

impl<'l> Record<'l> {
    /// The record in a line, if it has one.
    pub fn parse(line: &'l str) -> Option<Record<'l>> {
        if let Some((_, rest)) = line.split_once("[kernel] FAULT ") {
            return Some(Record::Kernel { pc: value(rest, "near")? });
        }
        if let Some((_, rest)) = line.split_once("[kernel] program ") {
            let (program, rest) = rest.split_once(" ended: ")?;
            return Some(Record::Ended { program, fault: Fault::parse(rest)? });
        }
        // The word may be part of other text before it: the last one counts.
        let (_, rest) = line.rsplit_once("failure ")?;
        let (ordinal, rest) = rest.split_once(": ")?;
        let ordinal = ordinal.parse().ok()?;
        if rest.starts_with("lr ") {
            let registers = rest.split_once("registers ").map_or("", |(_, registers)| registers);
            let registers = registers.split_whitespace().map_while(number).collect();
            return Some(Record::Registers { number: ordinal, lr: value(rest, "lr")?, registers });
        }
        let (object, rest) = rest.split_once(": ")?;
        let fault = Fault::parse(rest)?;
        Some(Record::Failure { number: ordinal, object, fault, method: value(rest, "method") })
    }
}

impl Fault {
    /// `KIND at PC address ADDRESS`, with or without commas.
    fn parse(text: &str) -> Option<Fault> {
        let kind = FailureKind::from_name(text.split_whitespace().next()?)?;
        Some(Fault { kind, pc: value(text, "at")?, address: value(text, "address").unwrap_or(0) })
    }
}

/// The number behind a word.
fn value(text: &str, name: &str) -> Option<u32> {
    text.split_whitespace().skip_while(|word| *word != name).nth(1).and_then(number)
}

/// A number, decimal or hexadecimal with `0x`, with or without a comma behind it.
fn number(text: &str) -> Option<u32> {
    let text = text.trim_end_matches([',', ';']);
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
