//! A second fault, some instructions after the first one was noticed.
//!
//! Where that is shows in the course of the struck run only, and looking must not disturb it. So the run is recorded with its first fault, then
//! replayed, which may be stopped at will; from the place found there the emulator goes on that strikes first faults, too.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use experiment::{Action, End, Injection, Job, Observation};

use super::emulator::{Course, Emulator};
use super::memory::Ram;
use super::runner::Runner;
use super::state::State;
use super::steps::{Step, Steps};
use super::striker::Striker;
use super::timeline::Point;
use super::{Shared, Start, observation};

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
    shared: &Shared<'_>,
    striker: &mut Striker,
    start: &Start<'_>,
    double: &Double,
    log: &Path,
) -> Result<Observation> {
    let job = shared.job;
    let begun = Instant::now();
    let first = striker.strike(shared, start, double.first, Some(start.point.pc))?;
    let runner = striker.runner()?;
    if let Injection::Failed(_) = first {
        return observation(runner, job, start, first, missed(), End::Broken);
    }
    let state = State::of(&mut runner.emulator)?.in_course_of(start.state);
    let (recorder, end) = record(shared, &state, &runner.emulator.ram, start.began, log)?;
    let alone = observation(&recorder, job, start, first.clone(), missed(), end)?;
    let patience = begun.elapsed() * 2 + PATIENCE;
    let mut player = play(shared, &state, &runner.emulator.ram, log)?;
    // The recorder has ended, and its guest's memory is free.
    let spare = &recorder.emulator.ram;
    let Some((state, point)) = reach(&mut player.emulator, spare, job, double.after, patience)? else {
        return Ok(alone);
    };
    let mut console = start.console.clone();
    console.extend(player.console()?);
    let state = state.in_course_of(start.state);
    let then = Start { state: &state, ram: spare, began: start.began, point, console };
    let second = striker.strike(shared, &then, double.second, None)?;
    let runner = striker.runner()?;
    let end = runner.finish(job, start.began)?;
    observation(runner, job, &then, first, Some(second), end)
}

/// What is told of a second fault that was planned, and for which there was no place.
fn missed() -> Option<Injection> {
    Some(Injection::Failed("the point was not reached".to_owned()))
}

/// Records a run from a moment to its end, and how that was.
///
/// # Errors
/// If the emulator fails.
pub fn record(shared: &Shared<'_>, state: &State, ram: &Ram, began: u32, log: &Path) -> Result<(Runner, End)> {
    let mut recorder = Runner::on_course(shared.machine, Course::Record(log), &shared.template)?;
    recorder.load(state, ram)?;
    // Without a stop at its end: the record is complete when the emulator has ended.
    let end = match recorder.finish(shared.job, began)? {
        End::Exit(0) => End::Complete,
        end => end,
    };
    recorder.emulator.quit()?;
    Ok((recorder, end))
}

/// An emulator that is about to replay that.
///
/// # Errors
/// If it fails.
pub fn play(shared: &Shared<'_>, state: &State, ram: &Ram, log: &Path) -> Result<Runner> {
    let mut player = Runner::on_course(shared.machine, Course::Replay(log), &shared.template)?;
    player.load(state, ram)?;
    player.goes_on();
    Ok(player)
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
            Step::Instruction => return Ok(Some((state, Point { count: 0, pc, physical, aborts: false }))),
            Step::Interrupt => {}
            Step::End => return Ok(None),
        }
    }
}
