//! One experiment for somebody to look at: a guest that stands with its fault injected, or all that it executes from there on.

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use experiment::{Injection, Job};

use super::emulator::{Course, Emulator};
use super::runner::Runner;
use super::second::{play, record};
use super::state::State;
use super::steps::{Step, Steps};
use super::striker::Striker;
use super::{Shared, Start};
use crate::inject::golden::Golden;
use crate::inject::machine::Machine;

/// A guest that stands with a fault injected. It is gone when this is dropped.
pub struct Standing {
    /// Proof of the injection.
    pub injection: Injection,
    /// Where gdb connects to: `target remote PATH`.
    pub socket: PathBuf,
    emulator: Emulator,
}

impl Standing {
    /// Waits until whoever debugs has ended the emulator.
    ///
    /// # Errors
    /// If that cannot be waited for.
    pub fn wait(mut self) -> Result<()> {
        while !self.emulator.has_ended()? {
            std::thread::sleep(super::POLL);
        }
        Ok(())
    }
}

/// An emulator in which the first experiment's fault is injected, the state that it is in, and ticks at the begin mark.
fn struck(shared: &Shared<'_>) -> Result<(Runner, Injection, State, u32)> {
    let plan = shared.job.experiments.first().context("the job has no experiment")?;
    let point = shared.points.point(plan).map_err(anyhow::Error::msg)?;
    let mut driver = shared.driver()?;
    if let Err(why) = driver.go_to(point)? {
        bail!("{why}");
    }
    let (state, console) = (State::of(&mut driver.emulator)?, driver.console()?);
    let start = Start { state: &state, ram: &driver.emulator.ram, began: driver.began, point, console };
    let mut striker = Striker::default();
    let injection = striker.strike(shared, &start, plan.action, Some(plan.pc))?;
    if let Injection::Failed(why) = injection {
        bail!("{why}");
    }
    let mut runner = striker.into_runner()?;
    let struck = State::of(&mut runner.emulator)?.in_course_of(&state);
    Ok((runner, injection, struck, driver.began))
}

/// Carries out the injection of a job's first experiment, and leaves the guest there, for gdb.
///
/// # Errors
/// If an emulator fails.
pub fn stand(machine: &Machine, golden: &Golden, job: &Job) -> Result<Standing> {
    let shared = Shared::new(machine, golden, job)?;
    let (struck, injection, state, _) = struck(&shared)?;
    // One that neither records nor replays: interrupts and timers wait while gdb makes single steps.
    let mut runner = Runner::on_course(machine, Course::Own, &shared.template)?;
    runner.load(&state, &struck.emulator.ram)?;
    let mut emulator = runner.emulator;
    emulator.gdb.leave()?;
    Ok(Standing { injection, socket: emulator.gdb_socket(), emulator })
}

/// Carries out a job's first experiment, and tells each instruction that is executed from its fault on, by virtual and physical address, until
/// `each` breaks off or the guest ends. What has no physical address is not mapped. The first failure is at
/// [`Job::recorder`].
///
/// # Errors
/// If an emulator fails, or the fault cannot be injected.
pub fn trace(
    machine: &Machine,
    golden: &Golden,
    job: &Job,
    each: &mut dyn FnMut(u32, Option<u32>) -> Result<ControlFlow<()>>,
) -> Result<Injection> {
    let shared = Shared::new(machine, golden, job)?;
    let log = machine.folder.path().join("struck");
    let (runner, injection, state, began) = struck(&shared)?;
    record(&shared, &state, &runner.emulator.ram, began, &log)?;
    let mut player = play(&shared, &state, &runner.emulator.ram, &log)?;
    let mut steps = Steps::new(&mut player.emulator, job)?;
    loop {
        let pc = steps.pc()?;
        let physical = steps.physical(pc)?;
        if each(pc, physical)?.is_break() || steps.step()? == Step::End {
            return Ok(injection);
        }
    }
}
