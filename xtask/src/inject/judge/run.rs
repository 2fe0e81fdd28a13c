//! What an engine saw of a run, taken apart: the clients' logs, the kernel's summary, the console.
//!
//! The golden run says what is where. In every other run nothing is believed: a log that is not where it was, or does
//! not hold together, is damaged, and says why.

use abi::FailureKind;
use abi::info::ObjectState;
use anyhow::{Context, Result, bail, ensure};
use trial::{ENTRIES, Entry, FAILURES, Log, MAGIC, OBJECTS, SUMMARY_MAGIC, Summary};
use zerocopy::FromBytes;

use super::console::{self, Speakers, Text};
use crate::inject::model::{End, Injection, Observation};

/// How late an alarm may be, in microseconds: the bound that the timer states for a system that recovers.
pub const LATEST: u32 = 500_000;

/// Microseconds of a tick.
const TICK: u32 = 1000;

/// What lies in a part of the memory that the engine brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The log of a client.
    Log,
    /// The kernel's account.
    Summary,
}

/// What a client says of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its number in the workload.
    pub number: u32,
    /// Its process.
    pub process: u32,
    /// Whether it came to its end.
    pub complete: bool,
    /// Entries that did not fit.
    pub omitted: u32,
    /// Its calls.
    pub entries: Vec<Entry>,
    /// Why its log cannot be what the client wrote.
    pub damage: Option<String>,
}

/// A failure that the kernel recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The object.
    pub object: String,
    /// What was detected.
    pub kind: String,
    /// Where.
    pub pc: u32,
    /// Fault address.
    pub address: u32,
    /// Method, or `0x8000_0000` + hook.
    pub method: u32,
    /// Process at the outer end, 0 for none.
    pub process: u32,
    /// Milliseconds since boot.
    pub tick: u32,
    /// Domains of the request, outermost first.
    pub chain: Vec<u8>,
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// [`ObjectState`].
    pub state: u32,
    /// Rebuildings.
    pub restarts: u32,
    /// Sessions that were lost.
    pub lost_sessions: u32,
}

impl Object {
    /// Whether it was given up.
    pub fn is_stopped(&self) -> bool {
        self.state == ObjectState::Stopped as u32
    }
}

/// The kernel's account of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// How each of the first eight clients ended.
    pub ended: [u32; 8],
    /// Failures since boot.
    pub failed: u32,
    /// The latest of them, the latest first.
    pub failures: Vec<Failure>,
    /// The objects.
    pub objects: Vec<Object>,
}

impl Account {
    /// The failures that a run has more than the golden one, the earliest first; of very many, the latest.
    pub fn since<'a>(&'a self, golden: &Account) -> impl Iterator<Item = &'a Failure> {
        let more = self.failed.saturating_sub(golden.failed) as usize;
        self.failures.iter().take(more).rev()
    }
}

/// A run.
#[derive(Clone, Debug)]
pub struct Run {
    parts: Vec<Part>,
    speakers: Speakers,
    /// The fault.
    pub first: Injection,
    /// The second one, if one was asked for.
    pub second: Option<Injection>,
    /// How it ended.
    pub end: End,
    /// The clients, in the order in which the engine brings their logs.
    pub clients: Vec<Client>,
    /// The kernel's account; `None` if the program that gathers it did not come that far.
    pub account: Option<Account>,
    /// What was on the console.
    pub console: Text,
}

impl Run {
    /// A golden run: complete, without any failure, with nothing that a faulty run could be taken for.
    ///
    /// # Errors
    /// If it is not fit to be compared with, and why.
    pub fn golden(observation: &Observation, speakers: Speakers) -> Result<Run> {
        for prefix in &speakers.prefixes {
            ensure!(
                !prefix.is_empty() && !prefix.starts_with('['),
                "clients' lines must begin with something, and not with a bracket as the kernel's do: {prefix:?}"
            );
        }
        let parts = observation.memory.iter().map(|part| kind_of(part)).collect::<Result<Vec<_>>>()?;
        ensure!(parts.iter().filter(|part| **part == Part::Summary).count() == 1, "there is not exactly one summary");
        let run = Run::take_apart(observation, parts, speakers, None);
        run.fit_to_compare_with()?;
        Ok(run)
    }

    /// Another run of the same image.
    pub fn like(golden: &Run, observation: &Observation) -> Run {
        Run::take_apart(observation, golden.parts.clone(), golden.speakers.clone(), Some(golden))
    }

    /// Whether the console is compared.
    pub fn has_console(&self) -> bool {
        !self.speakers.prefixes.is_empty()
    }

    /// Results in all logs.
    pub fn results(&self) -> usize {
        self.clients.iter().map(|client| client.entries.len()).sum()
    }

    fn take_apart(observation: &Observation, parts: Vec<Part>, speakers: Speakers, golden: Option<&Run>) -> Run {
        let (mut clients, mut account) = (Vec::new(), None);
        for (index, part) in parts.iter().enumerate() {
            let bytes = observation.memory.get(index).map_or(&[][..], Vec::as_slice);
            match part {
                Part::Log => {
                    let before = golden.and_then(|golden| golden.clients.get(clients.len()));
                    clients.push(client(bytes, before));
                }
                Part::Summary => account = self::account(bytes),
            }
        }
        let console = console::separate(&observation.console, &speakers);
        Run {
            parts,
            speakers,
            first: observation.first.clone(),
            second: observation.second.clone(),
            end: observation.end,
            clients,
            account,
            console,
        }
    }

    fn fit_to_compare_with(&self) -> Result<()> {
        ensure!(self.end == End::Complete, "the run without a fault did not come to its end: {:?}", self.end);
        let account = self.account.as_ref().context("the run without a fault left no summary")?;
        // A workload may be prepared with failures; the first call begins after all of them.
        let begin = self.clients.iter().flat_map(|client| &client.entries).map(|entry| entry.began).min().unwrap_or(0);
        if let Some(failure) = account.failures.first().filter(|failure| failure.tick >= begin / TICK) {
            bail!("{} failed in the run without a fault: {} at {:#x}", failure.object, failure.kind, failure.pc);
        }
        ensure!(!self.clients.is_empty(), "the workload has no clients");
        for client in &self.clients {
            let number = client.number;
            if let Some(damage) = &client.damage {
                bail!("the log of client {number} is damaged in the run without a fault: {damage}");
            }
            ensure!(client.complete, "client {number} did not come to its end in the run without a fault");
            ensure!(client.omitted == 0, "client {number} makes more calls than its log holds: {ENTRIES}");
            ensure!(!client.entries.is_empty(), "client {number} makes no calls");
            ensure!(
                client.entries.is_sorted_by_key(|entry| entry.step),
                "client {number} does not take its steps in order"
            );
            if let Some(late) = client.entries.iter().map(|entry| entry.late).find(|late| *late > LATEST) {
                bail!("an alarm of client {number} is {late} µs late in the run without a fault");
            }
        }
        for (index, client) in self.clients.iter().enumerate() {
            let same = |other: &Client| other.number == client.number || other.process == client.process;
            ensure!(!self.clients[..index].iter().any(same), "two clients have the same number or process");
        }
        ensure!(self.console.panic.is_none(), "the kernel panicked in the run without a fault");
        Ok(())
    }
}

fn kind_of(bytes: &[u8]) -> Result<Part> {
    match bytes.first_chunk::<8>() {
        Some(&MAGIC) => Ok(Part::Log),
        Some(&SUMMARY_MAGIC) => Ok(Part::Summary),
        _ => bail!("a range of memory holds neither a log nor the summary"),
    }
}

/// A client, from its log; `golden` is what it was in the golden run.
fn client(bytes: &[u8], golden: Option<&Client>) -> Client {
    let Ok((log, _)) = Log::read_from_prefix(bytes) else {
        return damaged(golden, "it is not there");
    };
    let kept = (log.count as usize).min(ENTRIES);
    let (entries, free) = log.entries.split_at(kept);
    let client = Client {
        number: golden.map_or(log.client, |golden| golden.number),
        process: golden.map_or(log.process, |golden| golden.process),
        complete: log.complete == 1,
        omitted: log.count.saturating_sub(ENTRIES as u32),
        entries: entries.to_vec(),
        damage: None,
    };
    let known = golden.is_none_or(|golden| (golden.number, golden.process) == (log.client, log.process));
    let damage = if log.magic != MAGIC {
        Some("its first bytes are others".to_owned())
    } else if !known {
        Some(format!("it says that it is of client {}, process {:#x}", log.client, log.process))
    } else if log.complete > 1 {
        Some(format!("its mark of completeness is {:#x}", log.complete))
    } else if free.iter().any(|entry| *entry != Entry::default()) {
        Some("there is something behind its end".to_owned())
    } else if golden.is_some() && !entries.is_sorted_by_key(|entry| entry.step) {
        Some("its steps are not in order".to_owned())
    } else {
        None
    };
    Client { damage, ..client }
}

fn damaged(golden: Option<&Client>, why: &str) -> Client {
    Client {
        number: golden.map_or(0, |golden| golden.number),
        process: golden.map_or(0, |golden| golden.process),
        complete: false,
        omitted: 0,
        entries: Vec::new(),
        damage: Some(why.to_owned()),
    }
}

fn account(bytes: &[u8]) -> Option<Account> {
    let (summary, _) = Summary::read_from_prefix(bytes).ok()?;
    if summary.magic != SUMMARY_MAGIC || summary.complete != 1 {
        return None;
    }
    let name = |name: &[u8; 16]| abi::call::name_str(name).to_owned();
    let failures = summary.failure[..(summary.failures as usize).min(FAILURES)].iter();
    let objects = summary.object[..(summary.objects as usize).min(OBJECTS)].iter();
    Some(Account {
        ended: summary.ended,
        failed: summary.failures,
        failures: failures
            .map(|failure| Failure {
                object: name(&failure.object),
                kind: kind_name(failure.kind),
                pc: failure.pc,
                address: failure.address,
                method: failure.method,
                process: failure.process,
                tick: failure.tick,
                chain: failure.chain.iter().copied().take_while(|domain| *domain != 0xff).collect(),
            })
            .collect(),
        objects: objects
            .map(|object| Object {
                name: name(&object.name),
                state: object.state,
                restarts: object.restarts,
                lost_sessions: object.lost_sessions,
            })
            .collect(),
    })
}

/// The name of a kind of failure.
pub fn kind_name(number: u32) -> String {
    FailureKind::from_number(number).map_or_else(|| format!("kind {number}"), |kind| kind.name().to_owned())
}
