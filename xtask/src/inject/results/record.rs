//! One experiment, as a line of `results.jsonl`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::inject::model::{Outcome, Recovery};

/// A word of the machine, written in hexadecimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hex(pub u32);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
        let word = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        word.map(Hex)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no hexadecimal word such as 0x0000abcd")))
    }
}

/// An experiment, and what came of it. The order of the fields is that of the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its name, which is all that a replay needs to know.
    pub id: String,
    /// Its place in the plan of the whole campaign, from 0.
    pub number: u64,
    /// The service under test, `program`, or `kernel`.
    pub service: String,
    /// The fault model.
    pub fault: String,
    /// How the image recovers.
    pub recovery: Recovery,
    /// What came of it.
    pub outcome: Outcome,
    /// When it was injected.
    pub when: When,
    /// Where.
    pub r#where: Where,
    /// Number, in the workload, of the client that was being served; none in an upcall, and while another program was served.
    pub client: Option<u32>,
    /// The method or hook that was running.
    pub method: Option<String>,
    /// The register or word before; none if it could not be injected.
    pub before: Option<Hex>,
    /// And after, read back.
    pub after: Option<Hex>,
    /// The second of a double fault.
    pub second: Option<Second>,
    /// The failures of objects that the kernel detected, the earliest first.
    pub detected: Vec<Detected>,
    /// How far a silent corruption reached.
    pub reach: Option<Reach>,
    /// Why the outcome is what it is.
    pub explanation: String,
    /// Microseconds of guest time by which the step of a client that suffered most took longer than in the golden run; none
    /// if nothing was detected, or the run did not end.
    pub added_us: Option<u32>,
    /// Microseconds by which the latest alarm was late.
    pub late_us: u32,
    /// Ticks of guest time, of a millisecond, from the beginning of the workload to the end.
    pub ticks: u32,
}

/// When a fault was injected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Before this instruction of the target, counted from 0 in the golden run.
    pub instruction: u64,
    /// Of so many.
    pub of: u64,
    /// Its address.
    pub pc: Hex,
}

/// Where a fault was injected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Where {
    /// The function that the instruction belongs to, inlined ones included.
    pub function: String,
    /// Its source file, from the root of the workspace.
    pub file: String,
    /// The line in it, 0 if not known.
    pub line: u32,
    /// What was changed: a register, a word of memory and what it belongs to, an instruction.
    pub what: String,
}

/// The second of a double fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Second {
    /// So many instructions of the target after its first failure.
    pub after_failure: u64,
    /// What was changed.
    pub what: String,
    /// The register or word before; none if it could not be injected.
    pub before: Option<Hex>,
    /// And after, read back.
    pub after: Option<Hex>,
}

/// A failure of an object that the kernel detected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detected {
    /// The object.
    pub object: String,
    /// What was detected: [`abi::FailureKind`].
    pub kind: String,
    /// Where.
    pub pc: Hex,
    /// Fault address, where the kind has one.
    pub address: Hex,
    /// Method, or `0x8000_0000` + hook.
    pub method: Hex,
    /// Process at the outer end of the request, 0 for none.
    pub process: u32,
}

impl fmt::Display for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (part, number) =
            if self.method.0 >> 31 == 0 { ("method", self.method.0) } else { ("hook", self.method.0 & !(1 << 31)) };
        write!(f, "{}: {} at {} in {part} {number}", self.object, self.kind, self.pc)
    }
}

/// How far a silent corruption reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reach {
    /// Numbers of the clients that have wrong results, in order.
    pub clients: Vec<u32>,
    /// Wrong results in all their logs.
    pub results: u32,
    /// Wrong lines on the console.
    pub lines: u32,
}
