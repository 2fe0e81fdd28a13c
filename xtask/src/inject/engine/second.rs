//! A second fault, some instructions after the first one was noticed.
//!
//! Where that is shows in the course of the struck run only, and looking must not disturb it. So the run is recorded with its first fault, then
//! replayed, which may be stopped at will; from the place found there an emulator that neither records nor replays goes on.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use experiment::{Action, End, Injection, Job, Observation};

use super::emulator::{Course, Emulator};
use super::injection::inject;
use super::memory::Ram;
use super::runner::Runner;
use super::state::{State, Template};
use super::steps::{Step, Steps};
use super::timeline::Point;
use super::{Start, observation};
use crate::inject::machine::Machine;

/// What a replay may take longer than the run that it repeats.
const PATIENCE: Duration = Duration::from_secs(10);

/// The two faults.
pub struct Double {
    /// What is done first.
    pub first: Action,
    /// After so many of the target's instructions from the record of a failure on.
    pub after: u64,
    /// What is done then.
    pub second: Action,
}

/// Carries it out. `log` is a file for the record.
///
/// # Errors
/// If an emulator fails.
pub fn carry_out(
    machine: &Machine,
    template: &Template,
    runner: &mut Runner,
    job: &Job,
    start: &Start<'_>,
    double: &Double,
    log: &Path,
) -> Result<Observation> {
    let begun = Instant::now();
    let (first, struck) = strike(runner, job, start, double.first)?;
    if let Injection::Failed(_) = first {
        return observation(runner, job, start, first, None, End::Broken);
    }
    let mut recorder = Runner::start(machine, Course::Record(log), template)?;
    recorder.load(&struck, &runner.emulator.ram)?;
    // Without a stop at its end: the record is complete when the emulator has ended.
    let end = match recorder.finish(job, start.began)? {
        End::Exit(0) => End::Complete,
        end => end,
    };
    recorder.emulator.quit()?;
    let alone = observation(&recorder, job, start, first.clone(), None, end)?;
    let patience = begun.elapsed() * 2 + PATIENCE;
    let mut player = Runner::start(machine, Course::Replay(log), template)?;
    player.load(&struck, &runner.emulator.ram)?;
    player.goes_on();
    // The recorder has ended, and its guest's memory is free.
    let spare = &recorder.emulator.ram;
    let Some((state, point)) = reach(&mut player.emulator, spare, job, double.after, patience)? else {
        return Ok(alone);
    };
    let mut console = start.console.clone();
    console.extend(player.console()?);
    let then = Start { state: &state, ram: spare, began: start.began, point, console };
    runner.load(then.state, then.ram)?;
    runner.watch_end(job)?;
    let second = inject(&mut runner.emulator, job, double.second, None, point.physical)?;
    let end = runner.finish(job, start.began)?;
    observation(runner, job, &then, first, Some(second), end)
}

/// Injects the first fault, and says how things are then.
///
/// # Errors
/// If the emulator fails.
pub fn strike(runner: &mut Runner, job: &Job, start: &Start<'_>, action: Action) -> Result<(Injection, State)> {
    runner.load(start.state, start.ram)?;
    let emulator = &mut runner.emulator;
    let injection = inject(emulator, job, action, Some(start.point.pc), start.point.physical)?;
    Ok((injection, State::of(emulator)?))
}

/// Replays until a failure was recorded and the target has executed `after` more instructions, and says how things are there. None if that
/// never comes. `spare` is overwritten: what the guest's memory holds there is in it.
fn reach(
    emulator: &mut Emulator,
    spare: &Ram,
    job: &Job,
    after: u64,
    patience: Duration,
) -> Result<Option<(State, Point)>> {
    let mut count = 0;
    let mut steps = Steps::new(emulator, job)?;
    if !steps.run_to(job.recorder, patience)? {
        return Ok(None);
    }
    loop {
        if !steps.leave_kernel(patience)? {
            return Ok(None);
        }
        let pc = steps.pc()?;
        let physical = steps.physical(pc)?;
        let target =
            physical.filter(|physical| job.target.iter().any(|(start, end)| start <= physical && physical < end));
        let Some(physical) = target else {
            if !steps.enter_kernel(job.vectors, patience)? {
                return Ok(None);
            }
            continue;
        };
        if count < after {
            match steps.step()? {
                Step::Instruction => count += 1,
                Step::Interrupt => {}
                Step::End => return Ok(None),
            }
            continue;
        }
        // Only a step shows whether this instruction is executed now, or after an interrupt.
        let state = steps.look(spare)?;
        match steps.step()? {
            Step::Instruction => return Ok(Some((state, Point { count: 0, pc, physical }))),
            Step::Interrupt => {}
            Step::End => return Ok(None),
        }
    }
}
