//! What experiments cost with one emulator for each of them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use experiment::Job;

use super::POLL;
use super::emulator::{Course, Emulator};
use super::gdb::Guest;
use super::injection::inject;
use super::timeline::{self, Points};
use crate::inject::golden::Golden;
use crate::inject::machine::Machine;

/// Carries out a job in the plain way, one experiment after the other: starts an emulator, lets it boot to the begin mark, and from there to the
/// instruction of the experiment, injects, and lets it run to its end. How long all of that took.
///
/// It is a lower bound. To be exact, one would have to count how often the instruction's address is passed: a stop each time. Here the
/// first time is taken, so that there is one stop only; nothing but the time is asked for.
///
/// # Errors
/// If an emulator fails.
pub fn baseline(machine: &Machine, golden: &Golden, job: &Job) -> Result<Duration> {
    let points = Points::of(golden, job);
    let begin = timeline::begin(golden)?;
    let now = Instant::now();
    for plan in &job.experiments {
        let Ok(point) = points.point(plan) else { continue };
        let mut emulator = Emulator::start(machine, Course::Own)?;
        for address in [begin, point.pc] {
            emulator.gdb.set_breakpoint(address)?;
            ensure!(emulator.gdb.run()? == Guest::Stands, "{} is not reached", plan.id);
            emulator.gdb.remove_breakpoint(address)?;
        }
        inject(&mut emulator, job, plan.action, None, point.physical)?;
        emulator.gdb.resume()?;
        let began = emulator.ram.word(job.tick);
        while emulator.gdb.wait(POLL)? == Guest::Runs {
            if emulator.ram.word(job.tick).wrapping_sub(began) > job.limit {
                break;
            }
        }
    }
    Ok(now.elapsed())
}
