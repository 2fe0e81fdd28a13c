//! Faults, injected into a guest that is put to the point for that.

use anyhow::{Context, Result};
use experiment::{Action, Injection};

use super::emulator::Course;
use super::injection::inject;
use super::runner::Runner;
use super::state::State;
use super::{Shared, Start};

/// The emulators that this takes, started when they are needed first.
#[derive(Default)]
pub struct Striker {
    /// The one that runs on.
    runner: Option<Runner>,
    /// One that can make single steps while timers stand still: an emulator that records cannot.
    stepper: Option<Runner>,
}

impl Striker {
    /// Injects at a point; at the instruction `expected`, if that is given. The guest stands behind that.
    ///
    /// # Errors
    /// If an emulator fails.
    pub fn strike(
        &mut self,
        shared: &Shared<'_>,
        start: &Start<'_>,
        action: Action,
        expected: Option<u32>,
    ) -> Result<Injection> {
        let (job, physical) = (shared.job, start.point.physical);
        let runner = living(&mut self.runner, || Runner::start(shared.machine, &shared.template, job))?;
        if !matches!(action, Action::Instead { .. }) {
            runner.load(start.state, start.ram)?;
            return inject(&mut runner.emulator, job, action, expected, physical);
        }
        let stepper = living(&mut self.stepper, || Runner::on_course(shared.machine, Course::Own, &shared.template))?;
        stepper.load(start.state, start.ram)?;
        let injection = inject(&mut stepper.emulator, job, action, expected, physical)?;
        let state = State::of(&mut stepper.emulator)?.in_course_of(start.state);
        runner.load(&state, &stepper.emulator.ram)?;
        Ok(injection)
    }

    /// The emulator with the guest that was struck.
    ///
    /// # Errors
    /// If none was.
    pub fn runner(&mut self) -> Result<&mut Runner> {
        self.runner.as_mut().context("nothing was injected yet")
    }

    /// The same, for good.
    ///
    /// # Errors
    /// If none was.
    pub fn into_runner(self) -> Result<Runner> {
        self.runner.context("nothing was injected yet")
    }
}

/// The one that there is, if its guest did not end it; else a new one.
fn living(place: &mut Option<Runner>, start: impl FnOnce() -> Result<Runner>) -> Result<&mut Runner> {
    let old = match place.take() {
        Some(mut runner) => (!runner.emulator.has_ended()?).then_some(runner),
        None => None,
    };
    Ok(place.insert(old.map_or_else(start, Ok)?))
}
