//! The ways to carry out experiments, and the choice between them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use experiment::{Job, Observation, Planned};

use super::plan::Experiment;
use super::unit::Unit;
use super::{engine, forks};

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
        match self.engine {
            Engine::Public => engine::run(&unit.machine, &unit.golden, job, done),
            Engine::Forks | Engine::Auto => forks::run(&unit.machine, &self.plugin, job, done),
        }
    }

    /// The observations of a job, and how long they took.
    fn observe(&self, unit: &Unit<'_>, job: &Job) -> Result<(BTreeMap<String, Observation>, Duration)> {
        let (mut seen, now) = (BTreeMap::new(), Instant::now());
        self.run(unit, job, &mut |plan, observation| {
            seen.insert(plan.id.clone(), observation);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((seen, now.elapsed()))
    }

    /// Carries out the same experiments by forks and by the public interfaces. `None` if all observations agree, else the first
    /// difference.
    ///
    /// # Errors
    /// If the public interfaces fail.
    pub fn self_test(&self, unit: &Unit<'_>, experiments: &[Experiment]) -> Result<Option<String>> {
        let job = self.sample(unit, experiments);
        let public = Engines { plugin: self.plugin.clone(), parallel: self.parallel, engine: Engine::Public };
        let (expected, _) = public.observe(unit, &job).context("the self-test of the public interfaces failed")?;
        let found = match self.observe(unit, &job) {
            Ok((found, _)) => found,
            Err(error) => return Ok(Some(format!("{error:#}"))),
        };
        let other = expected.iter().find(|(id, observation)| found.get(*id) != Some(observation));
        Ok(other.map(|(id, observation)| match found.get(id) {
            Some(own) => format!("of {id}, {} differ", differences(observation, own).join(" and ")),
            None => format!("{id} was not carried out"),
        }))
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
