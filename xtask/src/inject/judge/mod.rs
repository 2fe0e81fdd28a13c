//! What came of an experiment: the run with the fault beside the golden run.
//!
//! Everything that is found has an outcome; the strictest is the verdict. Clients know nothing of the judge, and the judge
//! believes nobody but the clients' logs and the kernel's account of failures:
//!
//! | found | outcome |
//! |---|---|
//! | the kernel's last words, or the system ended before its time | kernel dead |
//! | a client, or the program that gathers the results, is not at its end when the time is over | hang |
//! | a client that was not being served has an error or lost its session; a program crashed or has a damaged log; an object outside the request's chain failed | collateral |
//! | a result, or a line on the console, that is not that of the golden run, and no error told the client why; an alarm later than the bound, or something awaited that never came | silent corruption |
//! | the client that was being served was told that its session is gone; the target lost a session, or was given up, and nobody has asked it since | session lost |
//! | the client that was being served got another error that the golden run does not have | request failed |
//! | nothing of this, but a failure was detected, or an object was rebuilt | transparent |
//! | nothing | masked |
//!
//! If the target served nobody (an upcall, a constructor), an error to one client counts as one to the client that was being
//! served; an error to several is collateral damage.
//!
//! What a *program* does to itself that is the target hurts nobody else: its end is a lost session, since its state is
//! gone and its parent was told; whatever else it writes to its own log is silent corruption.

mod clients;
mod console;
mod run;
#[cfg(test)]
mod tests;

use crate::inject::model::{Action, End, Injection, Outcome};
use crate::inject::results::{Detected, Hex, Reach};

use abi::FailureKind;
use clients::Differences;
pub use console::Speakers;
use run::Client;
pub use run::{LATEST, Run};

/// What was struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A protected object.
    Object,
    /// A program.
    Program,
    /// The kernel.
    Kernel,
}

/// What the judge has to know of the fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struck {
    /// What was struck.
    pub target: Target,
    /// Its name; `kernel` for the kernel.
    pub name: String,
    /// Its number in [`abi::info::FailureInfo::chain`]; `None` for the kernel.
    pub domain: Option<u8>,
    /// The process that was being served at that moment, for a program its own; `None` in an upcall or a constructor.
    pub client: Option<u32>,
    /// Objects that may call the target or be called by it in a request, be it through others. That one of them fails, too, is within the
    /// request's chain.
    pub chain: Vec<String>,
    /// What was done.
    pub action: Action,
}

/// What came of an experiment, and why the judge says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The strictest outcome that holds.
    pub outcome: Outcome,
    /// Why, in a line; empty if nothing happened.
    pub explanation: String,
    /// What the kernel detected.
    pub detected: Vec<Detected>,
    /// How far a silent corruption reached.
    pub reach: Option<Reach>,
    /// Microseconds by which the step that suffered most took longer than in the golden run; `None` if nothing was
    /// detected, or the run did not come to its end.
    pub added_us: Option<u32>,
    /// Microseconds by which the latest alarm of the run was late.
    pub late_us: u32,
}

/// Compares a run with the golden one.
pub fn judge(golden: &Run, run: &Run, struck: &Struck) -> Verdict {
    if let Some(why) = not_injected(run, struck) {
        return Verdict::not_injected(why);
    }
    let mut judge = Judge { golden, run, struck, findings: Vec::new(), reach: Reach::default() };
    let differences: Vec<Option<Differences>> =
        golden.clients.iter().zip(&run.clients).map(|(golden, client)| judge.differences(golden, client)).collect();
    judge.kernel();
    judge.hang(&differences);
    judge.programs(&differences);
    judge.results(&differences);
    judge.console(&differences);
    judge.objects();
    let detected = judge.detected();
    let rebuilt = judge.rebuilt();
    let outcome = judge.findings.iter().map(|finding| finding.0).max();
    let outcome = outcome.unwrap_or(if detected.is_empty() && rebuilt.is_none() {
        Outcome::Masked
    } else {
        Outcome::Transparent
    });
    // The second fault strikes during the recovery from the first. Without it this is another experiment than the one
    // planned, but damage that was done is never left out.
    if let (Some(Injection::Failed(why)), Outcome::Masked | Outcome::Transparent) = (&run.second, outcome) {
        return Verdict::not_injected(format!("the second fault: {why}"));
    }
    judge.reach.clients.sort_unstable();
    judge.reach.clients.dedup();
    let explanation = match (outcome, detected.as_slice()) {
        (Outcome::Transparent, [only]) => only.to_string(),
        (Outcome::Transparent, [first, more @ ..]) => format!("{first}; {} more", more.len()),
        (Outcome::Transparent, []) => rebuilt.unwrap_or_default(),
        _ => judge.explanation(outcome),
    };
    let reach = (outcome == Outcome::SilentCorruption).then(|| judge.reach.clone());
    let told = differences.iter().flatten();
    let finished = run.end == End::Complete && !detected.is_empty();
    Verdict {
        outcome,
        explanation,
        detected,
        reach,
        added_us: finished.then(|| told.clone().map(|differences| differences.added).max().unwrap_or(0)),
        late_us: told.map(|differences| differences.late).max().unwrap_or(0),
    }
}

/// Why the fault does not count as injected, if it does not.
fn not_injected(run: &Run, struck: &Struck) -> Option<String> {
    match &run.first {
        Injection::Failed(why) => Some(why.clone()),
        Injection::Done { .. } if run.end == End::Broken => {
            Some("the emulator ended, or said something unexpected".to_owned())
        }
        Injection::Done { before, after, .. } => {
            let changes = matches!(
                struck.action,
                Action::Register { .. }
                    | Action::Memory { .. }
                    | Action::Stack { .. }
                    | Action::Ssr { .. }
                    | Action::Patch { .. }
            );
            (changes && before == after).then(|| format!("{before:#010x} was read back unchanged"))
        }
    }
}

impl Verdict {
    fn not_injected(explanation: String) -> Verdict {
        Verdict {
            outcome: Outcome::NotInjected,
            explanation,
            detected: Vec::new(),
            reach: None,
            added_us: None,
            late_us: 0,
        }
    }
}

struct Judge<'r> {
    golden: &'r Run,
    run: &'r Run,
    struck: &'r Struck,
    findings: Vec<(Outcome, String)>,
    reach: Reach,
}

impl Judge<'_> {
    fn find(&mut self, outcome: Outcome, text: String) {
        self.findings.push((outcome, text));
    }

    /// The first finding of an outcome, and how many more there are.
    fn explanation(&self, outcome: Outcome) -> String {
        let mut texts = self.findings.iter().filter(|finding| finding.0 == outcome).map(|finding| &finding.1);
        let first = texts.next().cloned().unwrap_or_default();
        match texts.count() {
            0 => first,
            more => format!("{first}; {more} more"),
        }
    }

    /// What cannot be compared, since the log is damaged, has no differences.
    fn differences(&self, golden: &Client, client: &Client) -> Option<Differences> {
        client.damage.is_none().then(|| clients::compare(golden, client))
    }

    /// Whether the target is the program of this client itself.
    fn is_itself(&self, client: &Client) -> bool {
        self.struck.target == Target::Program && self.struck.client == Some(client.process)
    }

    fn kernel(&mut self) {
        match (&self.run.console.panic, self.run.end) {
            (Some(words), _) => self.find(Outcome::KernelDead, words.clone()),
            (None, End::Exit(status)) => {
                self.find(Outcome::KernelDead, format!("the system ended with status {status}"));
            }
            (None, _) => {}
        }
    }

    fn hang(&mut self, differences: &[Option<Differences>]) {
        if self.run.end != End::Limit {
            return;
        }
        let failure = self.run.console.log.iter().rev().find(|line| line.contains("failure "));
        let last = failure.map_or_else(String::new, |line| format!(" (the last failure told of: {line})"));
        let waiting = self.run.clients.iter().zip(differences).filter(|(client, _)| !client.complete);
        let waiting: Vec<String> = waiting
            .map(|(client, differences)| {
                let step = differences.as_ref().and_then(|differences| differences.stopped_before);
                let step = step.map_or_else(String::new, |step| format!(" before the end of step {step}"));
                format!("client {} stopped{step}{last}", client.number)
            })
            .collect();
        if waiting.is_empty() {
            self.find(
                Outcome::Hang,
                format!("the clients came to their ends, the program that waits for them did not{last}"),
            );
        }
        waiting.into_iter().for_each(|text| self.find(Outcome::Hang, text));
    }

    /// Programs that ended otherwise than in the golden run, and logs that are not what their clients wrote.
    fn programs(&mut self, differences: &[Option<Differences>]) {
        let run = self.run;
        for (client, differences) in run.clients.iter().zip(differences) {
            let (number, itself) = (client.number, self.is_itself(client));
            if let Some(damage) = &client.damage {
                let outcome = if itself { Outcome::SilentCorruption } else { Outcome::Collateral };
                self.find(outcome, format!("the log of client {number} is damaged: {damage}"));
                self.reach.clients.push(number);
            }
            if let Some(text) = self.end_of(client, differences.as_ref()) {
                self.find(if itself { Outcome::SessionLost } else { Outcome::Collateral }, text);
            }
        }
        if run.end == End::Complete && run.account.is_none() {
            self.find(Outcome::Collateral, "the memory of the program that gathers the results is damaged".to_owned());
        }
    }

    /// How a client ended, if that is not how it ended in the golden run.
    fn end_of(&self, client: &Client, differences: Option<&Differences>) -> Option<String> {
        let (number, index) = (client.number, client.number as usize);
        let ended = |run: &Run| run.account.as_ref().and_then(|account| account.ended.get(index)).copied();
        let expected = ended(self.golden);
        match ended(self.run) {
            Some(status) if Some(status) != expected => {
                let kind = status.checked_sub(128).and_then(FailureKind::from_number);
                Some(match kind {
                    Some(kind) => format!("client {number} crashed: {}", kind.name()),
                    // It says itself that it did not get everything, and its log says why.
                    None if differences.is_some_and(Differences::was_told) => return None,
                    None => format!("client {number} ended with status {status}"),
                })
            }
            _ if self.run.end == End::Complete && !client.complete && client.damage.is_none() => {
                Some(format!("client {number} ended before its time"))
            }
            _ => None,
        }
    }

    /// Errors and wrong results.
    fn results(&mut self, differences: &[Option<Differences>]) {
        let run = self.run;
        let told = |differences: &&Option<Differences>| differences.as_ref().is_some_and(Differences::was_told);
        let alone = self.struck.client.is_none() && differences.iter().filter(told).count() == 1;
        for (client, differences) in run.clients.iter().zip(differences) {
            let Some(differences) = differences else { continue };
            let number = client.number;
            let served = alone || self.struck.client == Some(client.process);
            if let Some(text) = &differences.wrong {
                self.reach.clients.push(number);
                self.reach.results += differences.wrong_results;
                self.find(Outcome::SilentCorruption, format!("client {number} {text}"));
            }
            if let Some(text) = &differences.lost {
                let outcome = if served { Outcome::SessionLost } else { Outcome::Collateral };
                self.find(outcome, format!("client {number} {text}"));
            }
            if let Some(text) = &differences.failed {
                let outcome = if served { Outcome::RequestFailed } else { Outcome::Collateral };
                self.find(outcome, format!("client {number} {text}"));
            }
        }
    }

    /// Lines that a client did not write, or wrote otherwise; not those of a client whose session is gone, or whose program
    /// is.
    fn console(&mut self, differences: &[Option<Differences>]) {
        let (golden, run) = (self.golden, self.run);
        if !run.has_console() || run.end != End::Complete {
            return;
        }
        for (index, (expected, found)) in golden.console.clients.iter().zip(&run.console.clients).enumerate() {
            let position = run.clients.iter().position(|client| client.number as usize == index);
            let excused = position.is_some_and(|position| {
                !run.clients[position].complete
                    || differences[position].as_ref().is_some_and(|differences| differences.lost.is_some())
            });
            if let (false, Some((text, lines))) = (excused, console::difference(expected, found)) {
                self.console_finding(Some(index as u32), text, lines);
            }
        }
        if let Some((text, lines)) = console::difference(&golden.console.others, &run.console.others) {
            self.console_finding(None, text, lines);
        }
    }

    fn console_finding(&mut self, client: Option<u32>, text: String, lines: u32) {
        self.reach.lines += lines;
        self.reach.clients.extend(client);
        let whose = client.map_or_else(|| "a line of nobody".to_owned(), |number| format!("a line of client {number}"));
        self.find(Outcome::SilentCorruption, format!("console, {whose}: {text}"));
    }

    /// Objects that failed outside the request's chain, and what the target lost without anybody having noticed.
    fn objects(&mut self) {
        let (Some(before), Some(after)) = (&self.golden.account, &self.run.account) else { return };
        for failure in after.since(before) {
            let called = self.struck.domain.is_some_and(|domain| failure.chain.contains(&domain));
            if !called && !self.is_in_chain(&failure.object) {
                self.find(
                    Outcome::Collateral,
                    format!("{} failed: {} at {:#010x}", failure.object, failure.kind, failure.pc),
                );
            }
        }
        for object in &after.objects {
            let was = before.objects.iter().find(|other| other.name == object.name);
            let lost = object.lost_sessions.saturating_sub(was.map_or(0, |was| was.lost_sessions));
            let stopped = object.is_stopped() && !was.is_some_and(run::Object::is_stopped);
            let outcome = if self.is_in_chain(&object.name) { Outcome::SessionLost } else { Outcome::Collateral };
            if stopped {
                self.find(outcome, format!("{} is given up", object.name));
            }
            if lost > 0 {
                self.find(outcome, format!("sessions that {} lost: {lost}", object.name));
            }
        }
    }

    fn is_in_chain(&self, object: &str) -> bool {
        self.struck.name == object || self.struck.chain.iter().any(|name| name == object)
    }

    /// What the kernel recorded, the earliest first.
    fn detected(&self) -> Vec<Detected> {
        let (Some(before), Some(after)) = (&self.golden.account, &self.run.account) else { return Vec::new() };
        after
            .since(before)
            .map(|failure| Detected {
                object: failure.object.clone(),
                kind: failure.kind.clone(),
                pc: Hex(failure.pc),
                address: Hex(failure.address),
                method: Hex(failure.method),
                process: failure.process,
            })
            .collect()
    }

    /// An object that was rebuilt although no failure of it is on record.
    fn rebuilt(&self) -> Option<String> {
        let (before, after) = (self.golden.account.as_ref()?, self.run.account.as_ref()?);
        let restarts = |objects: &[run::Object], name: &str| {
            objects.iter().find(|object| object.name == name).map_or(0, |object| object.restarts)
        };
        let more = |object: &&run::Object| object.restarts > restarts(&before.objects, &object.name);
        after.objects.iter().find(more).map(|object| format!("{} was rebuilt", object.name))
    }
}
