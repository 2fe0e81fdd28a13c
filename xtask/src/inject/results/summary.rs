//! How often what came of it.

use std::ops::AddAssign;

use serde::Serialize;

use super::campaign::Configuration;
use super::record::Record;
use crate::inject::model::{Outcome, Recovery};
use crate::inject::statistics::{Share, wilson};

/// How many experiments had which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Outcome::ALL.len()]);

impl Counts {
    /// Of these records.
    pub fn of<'r>(records: impl IntoIterator<Item = &'r Record>) -> Counts {
        let mut counts = Counts::default();
        records.into_iter().for_each(|record| counts.add(record.outcome));
        counts
    }

    /// One more.
    pub fn add(&mut self, outcome: Outcome) {
        self.0[outcome as usize] += 1;
    }

    /// How many had this one.
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize]
    }

    fn sum(&self, of: impl Fn(Outcome) -> bool) -> u64 {
        Outcome::ALL.into_iter().filter(|outcome| of(*outcome)).map(|outcome| self.get(outcome)).sum()
    }

    /// Experiments.
    pub fn experiments(&self) -> u64 {
        self.sum(|_| true)
    }

    /// Those whose fault was injected.
    pub fn injected(&self) -> u64 {
        self.sum(|outcome| outcome != Outcome::NotInjected)
    }

    /// Those that had an effect.
    pub fn manifested(&self) -> u64 {
        self.sum(Outcome::manifested)
    }

    /// Those that had an effect and were noticed.
    pub fn detected(&self) -> u64 {
        self.sum(Outcome::detected)
    }

    /// Those that were recovered from: transparent ones.
    pub fn recovered(&self) -> u64 {
        self.get(Outcome::Transparent)
    }

    /// Recovered of detected.
    pub fn recovered_of_detected(&self) -> Option<Share> {
        wilson(self.recovered(), self.detected())
    }

    /// Recovered of manifested.
    pub fn recovered_of_manifested(&self) -> Option<Share> {
        wilson(self.recovered(), self.manifested())
    }

    /// Silent corruption of injected.
    pub fn silent_of_injected(&self) -> Option<Share> {
        wilson(self.get(Outcome::SilentCorruption), self.injected())
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }
}

/// The experiments of one way to recover, service and fault model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// How the image recovers.
    pub recovery: Recovery,
    /// The service under test.
    pub service: String,
    /// The fault model.
    pub fault: String,
    /// What came of them.
    pub counts: Counts,
}

/// The groups that have experiments, in the order of the configuration.
pub fn groups(configuration: &Configuration, records: &[Record]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for recovery in &configuration.recovery {
        for service in &configuration.services {
            for fault in &configuration.faults {
                let (recovery, service, fault) = (*recovery, service.clone(), fault.clone());
                groups.push(Group { recovery, service, fault, counts: Counts::default() });
            }
        }
    }
    for record in records {
        let own = |group: &Group| {
            (group.recovery, group.service.as_str(), group.fault.as_str())
                == (record.recovery, record.service.as_str(), record.fault.as_str())
        };
        match groups.iter_mut().find(|group| own(group)) {
            Some(group) => group.counts.add(record.outcome),
            // Such as the control, which is no fault model that can be asked for.
            None => groups.push(Group {
                recovery: record.recovery,
                service: record.service.clone(),
                fault: record.fault.clone(),
                counts: Counts::of([record]),
            }),
        }
    }
    groups.retain(|group| group.counts.experiments() > 0);
    groups
}

/// The sum over the groups that are chosen.
pub fn total<'g>(groups: impl IntoIterator<Item = &'g Group>) -> Counts {
    let mut counts = Counts::default();
    groups.into_iter().for_each(|group| counts += group.counts);
    counts
}

/// A group as `--json` prints it.
#[derive(Serialize)]
struct Line<'g> {
    recovery: Recovery,
    service: &'g str,
    fault: &'g str,
    experiments: u64,
    injected: u64,
    manifested: u64,
    detected: u64,
    recovered: u64,
    masked: u64,
    transparent: u64,
    request_failed: u64,
    session_lost: u64,
    silent_corruption: u64,
    collateral: u64,
    hang: u64,
    kernel_dead: u64,
    not_injected: u64,
    recovered_of_detected: Option<Share>,
    recovered_of_manifested: Option<Share>,
    silent_of_injected: Option<Share>,
}

/// One line of JSON for each group.
///
/// # Errors
/// None that comes from outside.
pub fn json(groups: &[Group]) -> serde_json::Result<String> {
    let mut text = String::new();
    for Group { recovery, service, fault, counts } in groups {
        let line = Line {
            recovery: *recovery,
            service,
            fault,
            experiments: counts.experiments(),
            injected: counts.injected(),
            manifested: counts.manifested(),
            detected: counts.detected(),
            recovered: counts.recovered(),
            masked: counts.get(Outcome::Masked),
            transparent: counts.get(Outcome::Transparent),
            request_failed: counts.get(Outcome::RequestFailed),
            session_lost: counts.get(Outcome::SessionLost),
            silent_corruption: counts.get(Outcome::SilentCorruption),
            collateral: counts.get(Outcome::Collateral),
            hang: counts.get(Outcome::Hang),
            kernel_dead: counts.get(Outcome::KernelDead),
            not_injected: counts.get(Outcome::NotInjected),
            recovered_of_detected: counts.recovered_of_detected(),
            recovered_of_manifested: counts.recovered_of_manifested(),
            silent_of_injected: counts.silent_of_injected(),
        };
        text.push_str(&serde_json::to_string(&line)?);
        text.push('\n');
    }
    Ok(text)
}
