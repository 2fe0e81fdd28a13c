//! Runs that never were: what three clients and the kernel could have said of them.

use abi::{Error, FailureKind};
use experiment::{Action, End, Injection, Observation};
use trial::{Entry, Failure, Log, MAGIC, Object, SUMMARY_MAGIC, Summary, status};
use zerocopy::{FromZeros, IntoBytes};

use crate::inject::judge::*;

pub const PREFIXES: [&str; 3] = ["c0: ", "c1: ", "c2: "];

/// A run in the making: three clients with ten steps each, processes 65 to 67, of an image with three objects.
pub struct World {
    pub logs: Vec<Log>,
    pub summary: Summary,
    pub console: String,
    pub end: End,
    pub first: Injection,
    pub second: Option<Injection>,
}

pub fn name(text: &str) -> [u8; 16] {
    let mut name = [0; 16];
    name[..text.len()].copy_from_slice(text.as_bytes());
    name
}

pub fn entry(client: u32, step: u32) -> Entry {
    let began = 1000 * step + client;
    Entry { step, status: 0, value: 0x1000 * client + step, late: 700, began, ended: began + 100 }
}

pub fn done(before: u32, after: u32) -> Injection {
    Injection::Done { action: Action::Nothing, before, after, registers: [0; 17], context: Vec::new() }
}

impl World {
    pub fn new() -> World {
        let logs = (0..3).map(|client| {
            let mut log = Log::new_zeroed();
            (log.magic, log.client, log.process, log.complete, log.count) = (MAGIC, client, 65 + client, 1, 10);
            (0..10).for_each(|step| log.entries[step as usize] = entry(client, step));
            log
        });
        let mut summary = Summary::new_zeroed();
        (summary.magic, summary.complete, summary.clients, summary.objects) = (SUMMARY_MAGIC, 1, 3, 3);
        for (index, object) in ["fs", "timer", "store"].into_iter().enumerate() {
            summary.object[index] = Object { name: name(object), ..Object::default() };
        }
        let console = (0..4).flat_map(|line| PREFIXES.map(|prefix| format!("{prefix}line {line}\r\n"))).collect();
        World { logs: logs.collect(), summary, console, end: End::Complete, first: done(1, 3), second: None }
    }

    pub fn observation(&self) -> Observation {
        let mut memory: Vec<Vec<u8>> = self.logs.iter().map(|log| log.as_bytes().to_vec()).collect();
        memory.push(self.summary.as_bytes().to_vec());
        Observation {
            first: self.first.clone(),
            second: self.second.clone(),
            end: self.end,
            ticks: 9,
            console: self.console.clone().into_bytes(),
            memory,
        }
    }

    /// Puts a call in front of the one at `index`.
    pub fn insert(&mut self, client: usize, index: usize, call: Entry) {
        let log = &mut self.logs[client];
        log.entries.copy_within(index..log.count as usize, index + 1);
        log.entries[index] = call;
        log.count += 1;
    }

    /// The call at `index` fails, and is made again.
    pub fn error(&mut self, client: usize, index: usize, error: Error) {
        let failed = Entry { status: status::KERNEL + error as u32, value: 0, ..self.logs[client].entries[index] };
        self.insert(client, index, failed);
    }

    /// The client's log ends here.
    pub fn cut(&mut self, client: usize, count: usize) {
        let log = &mut self.logs[client];
        log.entries[count..].fill(Entry::default());
        (log.count, log.complete) = (count as u32, 0);
    }

    pub fn fail(&mut self, object: &str, chain: &[u8]) {
        let mut numbers = [0xff; 8];
        numbers[..chain.len()].copy_from_slice(chain);
        self.summary.failure.copy_within(..31, 1);
        self.summary.failure[0] = Failure {
            object: name(object),
            kind: FailureKind::DataAbort as u32,
            pc: 0x1234,
            address: 8,
            method: 2,
            process: 66,
            tick: 5,
            chain: numbers,
        };
        self.summary.failures += 1;
    }
}

/// The file system is struck while it serves client 1.
pub fn struck() -> Struck {
    Struck {
        target: Target::Object,
        name: "fs".into(),
        domain: Some(3),
        client: Some(66),
        chain: vec!["fs".into()],
        action: Action::Register { register: 4, mask: 2 },
    }
}

pub fn golden() -> Run {
    golden_of(&World::new()).unwrap()
}

pub fn speakers(prefixes: &[&str]) -> Speakers {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Speakers { prefixes: own(prefixes), names: own(&["fs", "supervisor"]) }
}

pub fn golden_of(world: &World) -> anyhow::Result<Run> {
    Run::golden(&world.observation(), speakers(&PREFIXES))
}

pub fn verdict_of(struck: &Struck, change: impl FnOnce(&mut World)) -> Verdict {
    let mut world = World::new();
    change(&mut world);
    let golden = golden();
    judge(&golden, &Run::like(&golden, &world.observation()), struck)
}

pub fn verdict(change: impl FnOnce(&mut World)) -> Verdict {
    verdict_of(&struck(), change)
}

/// Outcome and explanation.
pub fn told(change: impl FnOnce(&mut World)) -> (Outcome, String) {
    let verdict = verdict(change);
    (verdict.outcome, verdict.explanation)
}

/// Golden runs in which step 4 of client 1 is refused, and step 6 at first.
pub fn with_errors() -> World {
    let mut world = World::new();
    (world.logs[1].entries[4].status, world.logs[1].entries[4].value) = (status::SERVICE + 0x101, 0);
    world.error(1, 6, Error::WouldBlock);
    world
}

pub fn verdict_with_errors(change: impl FnOnce(&mut World)) -> (Outcome, String) {
    let golden = golden_of(&with_errors()).unwrap();
    let mut world = with_errors();
    change(&mut world);
    let verdict = judge(&golden, &Run::like(&golden, &world.observation()), &struck());
    (verdict.outcome, verdict.explanation)
}
