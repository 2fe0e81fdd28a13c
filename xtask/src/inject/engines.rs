//! The ways to carry out experiments.

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Result;
use experiment::{Job, Observation, Planned};

use super::forks;
use super::unit::Unit;

/// What campaigns are carried out with.
pub struct Engines {
    /// The plugin.
    pub plugin: PathBuf,
    /// Experiments at the same time.
    pub parallel: u32,
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
        forks::run(&unit.machine, &self.plugin, job, done)
    }
}
