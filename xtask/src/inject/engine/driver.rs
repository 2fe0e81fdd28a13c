//! The golden run, replayed: an emulator that can be stopped before any instruction of it.
//!
//! It replays what an undisturbed run has recorded, and is told after how many instructions to stop (`replay-break`). Stops, breakpoints and
//! single steps do not matter to a run that is replayed; in any other run each of them lets virtual time jump.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use experiment::Job;
use serde_json::json;

use super::emulator::{Course, Emulator};
use super::gdb::Guest;
use super::timeline::Point;
use crate::inject::machine::Machine;

/// Records an undisturbed run from power on to its end, and says where; once for a machine.
///
/// # Errors
/// If the run does not come to its end.
pub fn record(machine: &Machine) -> Result<PathBuf> {
    let path = machine.folder.path().join("course");
    if path.is_file() {
        return Ok(path);
    }
    let part = machine.folder.path().join("course.part");
    let mut emulator = Emulator::start(machine, Course::Record(&part))?;
    emulator.gdb.resume()?;
    while emulator.gdb.wait(super::POLL)? == Guest::Runs {}
    ensure!(emulator.status()? == Some(0), "the golden run cannot be recorded: the system failed");
    std::fs::rename(&part, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// See the module.
pub struct Driver {
    /// The emulator.
    pub emulator: Emulator,
    /// Ticks at the begin mark.
    pub began: u32,
    /// Instructions executed before the begin mark.
    begin: u64,
    /// Instructions executed.
    now: u64,
    /// What the console had put out at the begin mark.
    console: u64,
}

impl Driver {
    /// Replays up to the begin mark, at a virtual address.
    ///
    /// # Errors
    /// If that is not reached.
    pub fn start(machine: &Machine, course: &Path, job: &Job, begin: u32) -> Result<Driver> {
        let mut emulator = Emulator::start(machine, Course::Replay(course))?;
        let gdb = &mut emulator.gdb;
        gdb.set_breakpoint(begin)?;
        // Other domains have other instructions there.
        while {
            ensure!(gdb.run()? == Guest::Stands, "the begin mark is not reached");
            gdb.word(begin)? != Some(trial::mark::BEGIN)
        } {
            // Past the breakpoint.
            gdb.step()?;
        }
        gdb.remove_breakpoint(begin)?;
        let now = instructions(&mut emulator)?;
        let (began, console) = (emulator.ram.word(job.tick), emulator.console_length());
        Ok(Driver { emulator, began, begin: now, now, console })
    }

    /// Whether a point lies before the present moment.
    pub fn has_passed(&self, point: Point) -> bool {
        self.begin + point.count < self.now
    }

    /// Goes on to a point.
    ///
    /// # Errors
    /// If that cannot be done. Within that, if something else than expected is there: what.
    pub fn go_to(&mut self, point: Point) -> Result<Result<(), String>> {
        let wanted = self.begin + point.count;
        // What aborts is not counted, and the replayer may do it before it stops: such an instruction is come to from the one before.
        let stop = wanted - u64::from(point.aborts);
        if self.now < stop {
            self.emulator.qmp.execute("replay-break", json!({ "icount": stop }))?;
            match self.emulator.gdb.run()? {
                Guest::Stands => {}
                Guest::Runs | Guest::Gone => bail!("the golden run cannot be replayed up to instruction {stop}"),
            }
            self.now = instructions(&mut self.emulator)?;
            ensure!(self.now == stop, "the emulator stopped at instruction {} instead of {stop}", self.now);
        }
        if self.now < wanted || self.emulator.gdb.pc()? != point.pc {
            // Else an exception that was due was not taken yet.
            self.emulator.gdb.step()?;
            self.now = instructions(&mut self.emulator)?;
        }
        let pc = self.emulator.gdb.pc()?;
        Ok(if pc == point.pc { Ok(()) } else { Err(unexpected(pc, point.pc)) })
    }

    /// What the console has put out since the begin mark.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn console(&self) -> Result<Vec<u8>> {
        self.emulator.console(self.console)
    }
}

/// What is wrong if the guest is somewhere else.
pub fn unexpected(pc: u32, expected: u32) -> String {
    format!("the instruction there is at {pc:#x}, not at {expected:#x}")
}

/// Instructions that an emulator that replays has executed.
fn instructions(emulator: &mut Emulator) -> Result<u64> {
    let answer = emulator.qmp.execute("query-replay", json!({}))?;
    answer["icount"].as_u64().context("the emulator does not say how far it has come")
}
