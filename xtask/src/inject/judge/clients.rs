//! A client's calls beside those of the golden run.

use abi::Error;
use trial::{Entry, status};

use super::run::{Client, LATEST};

/// How a client's results differ from those of the golden run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// The first error that the golden run does not have.
    pub failed: Option<String>,
    /// The first that told the client that its session is gone.
    pub lost: Option<String>,
    /// The first result that is wrong, and no error told the client why.
    pub wrong: Option<String>,
    /// Results that are wrong like this.
    pub wrong_results: u32,
    /// The step before which the client stopped, if it did not come to its end.
    pub stopped_before: Option<u32>,
    /// Microseconds by which the step that suffered most took longer.
    pub added: u32,
    /// Microseconds by which the latest alarm was late.
    pub late: u32,
}

/// Compares step by step.
///
/// A step is one call, and what the client did about its errors: it calls again. An error that the golden run has at the
/// same step is a result like any other, however often it came (who polls gets it more often while a service recovers).
/// Once a client was told that its session is gone, what it finds different is no longer wrong: it knows.
pub fn compare(golden: &Client, run: &Client) -> Differences {
    let mut found = Differences::default();
    let mut rest = run.entries.as_slice();
    for expected in golden.entries.chunk_by(|a, b| a.step == b.step) {
        let step = expected[0].step;
        // Steps that the golden run does not have: the loops that the client takes are not those of the golden run.
        let stray = rest.iter().take_while(|entry| entry.step < step).count();
        rest[..stray].iter().for_each(|entry| found.wrong(entry.step, "a call that there should not be".to_owned()));
        let (calls, further) =
            rest[stray..].split_at(rest[stray..].iter().take_while(|entry| entry.step == step).count());
        rest = further;
        if calls.is_empty() {
            if !run.complete && rest.is_empty() {
                found.stopped_before = Some(step);
                return found;
            }
            let why =
                if run.omitted > 0 { "the result is not known: the log is full" } else { "the call was left out" };
            found.wrong(step, why.to_owned());
            continue;
        }
        found.step(step, expected, calls);
    }
    rest.iter().for_each(|entry| found.wrong(entry.step, "a call that there should not be".to_owned()));
    found
}

impl Differences {
    /// Whether an error told the client of something.
    pub fn was_told(&self) -> bool {
        self.failed.is_some() || self.lost.is_some()
    }

    fn wrong(&mut self, step: u32, what: String) {
        if self.lost.is_none() {
            self.wrong.get_or_insert_with(|| format!("step {step}: {what}"));
            self.wrong_results += 1;
        }
    }

    /// A call without success. That nothing came is no error that anybody told the client of.
    fn without_success(&mut self, step: u32, status: u32) {
        match status {
            status::TIMEOUT.. => self.wrong(step, "what the client waited for did not come".to_owned()),
            error if session_is_gone(error) => {
                self.lost.get_or_insert_with(|| format!("step {step}: {}", status_text(error)));
            }
            error => {
                self.failed.get_or_insert_with(|| format!("step {step}: {}", status_text(error)));
            }
        }
    }

    fn step(&mut self, step: u32, expected: &[Entry], calls: &[Entry]) {
        let known = |entry: &&Entry| entry.status == 0 || expected.iter().any(|other| other.status == entry.status);
        calls.iter().filter(|entry| !known(entry)).for_each(|entry| self.without_success(step, entry.status));
        let (expected_results, found) = (results(expected.iter()), results(calls.iter().filter(known)));
        let succeeds = expected_results.first().is_some_and(|(status, _)| *status == 0);
        let last_error = calls.iter().rev().find(|entry| entry.status != 0 && (succeeds || !known(entry)));
        for index in 0..expected_results.len().max(found.len()) {
            match (expected_results.get(index), found.get(index), last_error) {
                (Some(expected), Some(found), _) if expected == found => {}
                // The client gave up, since it got nothing but errors: most are told of already.
                (Some(_), found, Some(error)) if found.is_none_or(|(status, _)| *status != 0) => {
                    if known(&error) {
                        self.without_success(step, error.status);
                    }
                }
                (Some(expected), Some(found), _) => {
                    self.wrong(step, format!("{} instead of {}", text(found), text(expected)))
                }
                (Some(expected), None, _) => self.wrong(step, format!("no call with {}", text(expected))),
                (None, Some(found), _) => self.wrong(step, format!("{} more than there should be", text(found))),
                (None, None, _) => {}
            }
        }
        self.added = self.added.max(duration(calls).saturating_sub(duration(expected)));
        let late = calls.iter().filter(|entry| entry.status == 0).map(|entry| entry.late).max().unwrap_or(0);
        if late > LATEST {
            self.wrong(step, format!("an alarm {late} µs late, more than the {LATEST} that are allowed"));
        }
        self.late = self.late.max(late);
    }
}

/// What came of a step: the values of the calls that succeeded; if none did, the errors, one that repeats itself once.
fn results<'e>(calls: impl Iterator<Item = &'e Entry>) -> Vec<(u32, u32)> {
    let calls: Vec<&Entry> = calls.collect();
    let values: Vec<_> = calls.iter().filter(|entry| entry.status == 0).map(|entry| (0, entry.value)).collect();
    if !values.is_empty() {
        return values;
    }
    let mut errors: Vec<_> = calls.iter().map(|entry| (entry.status, 0)).collect();
    errors.dedup();
    errors
}

/// From the beginning of the first call of a step to the end of its last.
fn duration(calls: &[Entry]) -> u32 {
    match calls {
        [first, .., last] => last.ended.wrapping_sub(first.began),
        [only] => only.ended.wrapping_sub(only.began),
        [] => 0,
    }
}

fn text((status, value): &(u32, u32)) -> String {
    match status {
        0 => format!("value {value:#x}"),
        status => format!("error {}", status_text(*status)),
    }
}

/// What a status says.
fn status_text(number: u32) -> String {
    match number {
        status::TIMEOUT.. => "nothing came".to_owned(),
        status::PROTOCOL.. => format!("a reply that the interface does not know, {:#x}", number - status::PROTOCOL),
        status::SERVICE.. => format!("the service's error {:#x}", number - status::SERVICE),
        status::KERNEL.. => match Error::from_code(number - status::KERNEL) {
            Some(error) => format!("{error:?} ({error})"),
            None => format!("the kernel's error {}", number - status::KERNEL),
        },
        _ => format!("status {number:#x}"),
    }
}

/// Whether a status tells a client that its session is gone: binding again is all that can help, if anything does.
fn session_is_gone(number: u32) -> bool {
    let error = number.checked_sub(status::KERNEL).and_then(Error::from_code);
    matches!(error, Some(Error::SessionLost | Error::StaleHandle | Error::BadHandle | Error::Blamed | Error::Stopped))
}
