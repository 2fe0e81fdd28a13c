//! The ways to carry out experiments, and the choice between them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use experiment::{End, Job, Observation, Planned};

use super::plan::Experiment;
use super::unit::Unit;
use super::{engine, forks};
use crate::host;

/// How often experiments that were observed differently are repeated in a self-test.
const REPETITIONS: u32 = 2;
/// At most one in so many may need that.
const STEADY: usize = 4;

/// How experiments are carried out. The results are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// By forks if the emulator passes the self-test, else by the public interfaces.
    Auto,
    /// The emulator forks itself at each point: fast, but needs functions of it that are no public interface.
    Forks,
    /// By QEMU's monitor, gdb stub and recorder of runs.
    Public,
}

/// What campaigns are carried out with.
pub struct Engines {
    /// The plugin.
    pub plugin: PathBuf,
    /// Experiments at the same time.
    pub parallel: u32,
    /// Which one.
    pub engine: Engine,
}

impl Engines {
    /// Carries out a job on a unit; `done` gets each experiment as it comes to its end, and may break off.
    ///
    /// # Errors
    /// If the emulator fails, or `done` does.
    pub fn run(
        &self,
        unit: &Unit<'_>,
        job: &Job,
        done: &mut dyn FnMut(&Planned, Observation) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut done = |plan: &Planned, observation| done(plan, bounded(observation, job.limit));
        match self.engine {
            Engine::Public => engine::run(&unit.machine, &unit.golden, job, &mut done),
            Engine::Forks | Engine::Auto => forks::run(&unit.machine, &self.plugin, job, &mut done),
        }
    }

    /// The observations of a job, and how long they took.
    fn observe(&self, unit: &Unit<'_>, job: &Job) -> Result<(Seen, Duration)> {
        let (mut seen, now) = (Seen::new(), Instant::now());
        self.run(unit, job, &mut |plan, observation| {
            seen.insert(plan.id.clone(), observation);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((seen, now.elapsed()))
    }

    /// Carries out the same experiments by forks and by the public interfaces. `None` if the forks are as good, else what speaks
    /// against them. Tells of observations that agreed only when they were repeated.
    ///
    /// # Errors
    /// If the public interfaces fail.
    pub fn self_test(&self, unit: &Unit<'_>, experiments: &[Experiment]) -> Result<Option<String>> {
        let public = Engines { plugin: self.plugin.clone(), parallel: self.parallel, engine: Engine::Public };
        let mut expected = |job: &Job| Ok(public.observe(unit, job)?.0);
        let mut found = |job: &Job| Ok(self.observe(unit, job)?.0);
        Ok(match compare(self.sample(unit, experiments), &mut expected, &mut found)? {
            Tested::Same => None,
            Tested::Unsteady(why) => {
                host::say(&format!(
                    "self-test: by forks and by the public interfaces {why}; repeated, they agree, so that this is not held \
                     against the forks"
                ));
                None
            }
            Tested::Different(why) => Some(why),
        })
    }

    /// How many experiments a second each way carries out, and one emulator for each experiment: measured one after the
    /// other, one experiment at a time.
    ///
    /// # Errors
    /// If one of the ways fails.
    pub fn rates(&self, unit: &Unit<'_>, experiments: &[Experiment]) -> Result<Vec<(&'static str, f64)>> {
        let job = Job { parallel: 1, ..self.sample(unit, experiments) };
        if job.experiments.is_empty() {
            bail!("there is nothing to measure with");
        }
        let rate = |time: Duration| job.experiments.len() as f64 / time.as_secs_f64();
        let plain = rate(engine::baseline(&unit.machine, &unit.golden, &job)?);
        let one = |engine| Engines { plugin: self.plugin.clone(), parallel: 1, engine }.observe(unit, &job);
        let (_, public) = one(Engine::Public)?;
        let (_, forks) = one(Engine::Forks)?;
        Ok(vec![("one emulator each", plain), ("public interfaces", rate(public)), ("forks", rate(forks))])
    }

    /// A job of these experiments.
    fn sample(&self, unit: &Unit<'_>, experiments: &[Experiment]) -> Job {
        let mut own: Vec<Planned> = experiments.iter().map(|one| one.planned.clone()).collect();
        own.sort_by_key(|plan| plan.at);
        unit.job(own, self.parallel)
    }
}

/// Observations by the names of their experiments.
type Seen = BTreeMap<String, Observation>;

/// What came of a self-test.
#[derive(Debug, PartialEq, Eq)]
enum Tested {
    /// All observations agree.
    Same,
    /// Those that did not agree at first did when they were repeated: the first that did not.
    Unsteady(String),
    /// They do not agree: the first that does not.
    Different(String),
}

/// Observes a job in two ways, and repeats what was observed differently: an emulator on a loaded host may be otherwise once,
/// but not again and again, and not often.
///
/// # Errors
/// If the expected observations cannot be made. That the others cannot is a difference.
fn compare(
    mut job: Job,
    expected: &mut dyn FnMut(&Job) -> Result<Seen>,
    found: &mut dyn FnMut(&Job) -> Result<Seen>,
) -> Result<Tested> {
    let most = job.experiments.len() / STEADY;
    let mut first = None;
    for _ in 0..=REPETITIONS {
        let expected = expected(&job).context("the self-test of the public interfaces failed")?;
        let found = match found(&job) {
            Ok(found) => found,
            Err(error) => return Ok(Tested::Different(format!("{error:#}"))),
        };
        job.experiments.retain(|plan| !matches!((expected.get(&plan.id), found.get(&plan.id)), (Some(one), Some(other)) if agree(one, other)));
        let Some(plan) = job.experiments.first() else {
            return Ok(first.map_or(Tested::Same, Tested::Unsteady));
        };
        let why = match (expected.get(&plan.id), found.get(&plan.id)) {
            (Some(one), Some(other)) => format!("of {}, {} differ", plan.id, differences(one, other).join(" and ")),
            _ => format!("{} was not carried out", plan.id),
        };
        if job.experiments.len() > most {
            return Ok(Tested::Different(why));
        }
        first.get_or_insert(why);
    }
    Ok(first.map_or(Tested::Same, Tested::Different))
}

/// The observation, without how far beyond its limit a run that hung was stopped: that is chance.
fn bounded(observation: Observation, limit: u32) -> Observation {
    match observation.end {
        End::Limit => Observation { ticks: observation.ticks.min(limit), ..observation },
        _ => observation,
    }
}

/// Whether two observations are the same, as far as they are determined: a run that hung was stopped somewhere beyond its
/// limit, and what its console and its clients' logs got there is chance.
fn agree(one: &Observation, other: &Observation) -> bool {
    if (one.end, other.end) != (End::Limit, End::Limit) {
        return one == other;
    }
    let console = one.console.starts_with(&other.console) || other.console.starts_with(&one.console);
    console && (&one.first, &one.second, one.ticks) == (&other.first, &other.second, other.ticks)
}

/// What differs in two observations, for people.
fn differences(expected: &Observation, found: &Observation) -> Vec<String> {
    let parts = [
        ("the injections", expected.first == found.first && expected.second == found.second),
        ("the ends", expected.end == found.end),
        ("the console's lines", expected.console == found.console),
        ("the clients' logs", expected.memory == found.memory),
    ];
    let mut names: Vec<String> =
        parts.into_iter().filter(|(_, equal)| !equal).map(|(name, _)| name.to_owned()).collect();
    if expected.ticks != found.ticks {
        names.push(format!("the ticks ({} and {})", expected.ticks, found.ticks));
    }
    names
}

#[cfg(test)]
mod tests {
    use experiment::{Action, Injection};

    use super::*;

    fn job(number: usize) -> Job {
        let plan =
            |number| Planned { id: format!("{number}"), at: number, pc: 0, action: Action::Nothing, second: None };
        Job {
            target: Vec::new(),
            vectors: (0, 0),
            kernel: (0, 0),
            recorder: 0,
            tick: 0,
            limit: 100,
            ranges: Vec::new(),
            context: Vec::new(),
            experiments: (0..number as u64).map(plan).collect(),
            parallel: 1,
        }
    }

    fn observation(ticks: u32) -> Observation {
        let first = Injection::Failed(String::new());
        Observation { first, second: None, end: End::Complete, ticks, console: b"abc".to_vec(), memory: vec![vec![1]] }
    }

    fn seen(job: &Job) -> Seen {
        job.experiments.iter().map(|plan| (plan.id.clone(), observation(7))).collect()
    }

    /// Compares with observations of which those of `others` are different for so many times. What came of it, and how many
    /// experiments were carried out in each turn.
    fn with(others: &[&str], times: usize) -> (Tested, Vec<usize>) {
        let mut turns = Vec::new();
        let mut found = |job: &Job| {
            let mut seen = seen(job);
            if turns.len() < times {
                seen.iter_mut().filter(|(id, _)| others.contains(&id.as_str())).for_each(|(_, one)| one.ticks = 8);
            }
            turns.push(job.experiments.len());
            Ok(seen)
        };
        let tested = compare(job(8), &mut |job| Ok(seen(job)), &mut found).expect("nothing fails");
        (tested, turns)
    }

    #[test]
    fn what_differs_once_is_repeated_and_told_of() {
        assert_eq!(with(&[], 1), (Tested::Same, vec![8]));
        let why = "of 2, the ticks (7 and 8) differ".to_owned();
        assert_eq!(with(&["2", "5"], 1), (Tested::Unsteady(why.clone()), vec![8, 2]));
        assert_eq!(with(&["2", "5"], 2), (Tested::Unsteady(why.clone()), vec![8, 2, 2]));
        assert_eq!(with(&["2", "5"], 3), (Tested::Different(why.clone()), vec![8, 2, 2]));
        // Too many for chance.
        assert_eq!(with(&["2", "5", "6"], 1), (Tested::Different(why), vec![8]));
    }

    #[test]
    fn what_is_not_carried_out_differs() {
        let mut fails = |_: &Job| bail!("no such function");
        let tested = compare(job(8), &mut |job| Ok(seen(job)), &mut fails).expect("a difference");
        assert_eq!(tested, Tested::Different("no such function".to_owned()));
        assert!(compare(job(8), &mut fails, &mut |job| Ok(seen(job))).is_err());
        let mut lacks = |job: &Job| {
            let mut seen = seen(job);
            seen.remove("3");
            Ok(seen)
        };
        let tested = compare(job(8), &mut |job| Ok(seen(job)), &mut lacks).expect("a difference");
        assert_eq!(tested, Tested::Different("3 was not carried out".to_owned()));
    }

    #[test]
    fn how_far_a_run_went_that_hung_is_chance() {
        let hung = |ticks, console: &[u8], memory| Observation {
            end: End::Limit,
            console: console.to_vec(),
            memory: vec![vec![memory]],
            ..observation(ticks)
        };
        let (one, other) = (hung(104, b"ab", 1), hung(105, b"abc", 2));
        assert!(!agree(&one, &other));
        let (one, other) = (bounded(one, 100), bounded(other, 100));
        assert_eq!((one.ticks, other.ticks), (100, 100));
        assert!(agree(&one, &other) && agree(&other, &one));
        assert!(!agree(&one, &hung(100, b"b", 1)));
        // One that sleeps for ever does so before its limit.
        assert_eq!(bounded(hung(40, b"", 1), 100).ticks, 40);
        // All others are determined in full.
        assert_eq!(bounded(observation(104), 100).ticks, 104);
        assert!(!agree(&one, &Observation { end: End::Complete, ..one.clone() }));
        assert!(!agree(&observation(7), &Observation { memory: vec![vec![2]], ..observation(7) }));
    }
}
