//! An emulator that is put to a point, struck there, and runs on to its end: once for each experiment, without ever booting again.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use experiment::{End, Job};
use serde_json::json;

use super::emulator::{Course, Emulator};
use super::gdb::Guest;
use super::memory::Ram;
use super::state::{Slot, State, Template};
use crate::inject::machine::{Machine, SHIFT};

/// A file that takes everything.
const NOWHERE: &str = "/dev/null";
/// The instruction by which the kernel asks the emulator for something: `svc 0x123456` (Semihosting for AArch32).
const SEMIHOSTING: u32 = 0xef12_3456;
/// What it asks for: the end, with a reason.
const EXIT: u32 = 0x18;
/// The end, with a reason and a status in memory.
const EXIT_EXTENDED: u32 = 0x20;
/// The reason that is no failure.
const APPLICATION_EXIT: u32 = 0x2_0026;
/// How long the guest may go on without a tick before it is looked at whether it still does anything.
const STANDSTILL: Duration = Duration::from_secs(1);
/// Instructions a tick of a millisecond.
const INSTRUCTIONS_A_TICK: u64 = 1_000_000 >> SHIFT;
/// Ticks that a run may exceed its limit by before it is stopped: then it has, whatever comes of it.
const MARGIN: u32 = 4;

/// See the module.
pub struct Runner {
    /// The emulator.
    pub emulator: Emulator,
    slot: Slot,
    /// Bytes that its console had put out before the present experiment.
    console: u64,
    /// Where the kernel asks the emulator for its end, if the guest is to stop there.
    exits: Vec<u32>,
}

impl Runner {
    /// Starts one that is put to many moments, and stops where the kernel ends the system.
    ///
    /// What it records is thrown away: it records because only then the emulator's threads take turns. Else its main loop may look whether the
    /// processor sleeps while that is about to, and before the instructions up to there are counted: the next timer then comes late, in one run
    /// of a hundred, and another one each time.
    ///
    /// # Errors
    /// If that fails, or the kernel has no such place.
    pub fn start(machine: &Machine, template: &Template, job: &Job) -> Result<Runner> {
        let mut runner = Runner::with(machine, Course::Record(Path::new(NOWHERE)), template, true)?;
        // Its memory holds the image, which no fault has changed yet.
        runner.exits = exits(&runner.emulator.ram, job)?;
        for address in &runner.exits {
            runner.emulator.gdb.set_breakpoint(*address)?;
        }
        Ok(runner)
    }

    /// Starts one that is put to one moment, and records or replays from there; or to many, and goes some single steps from
    /// there.
    ///
    /// # Errors
    /// If that fails.
    pub fn on_course(machine: &Machine, course: Course<'_>, template: &Template) -> Result<Runner> {
        Runner::with(machine, course, template, false)
    }

    fn with(machine: &Machine, course: Course<'_>, template: &Template, again: bool) -> Result<Runner> {
        let mut emulator = Emulator::start(machine, course)?;
        let slot = Slot::new(&mut emulator, template, again)?;
        Ok(Runner { emulator, slot, console: 0, exits: Vec::new() })
    }

    /// Puts it to a moment: the state of its devices, and its memory.
    ///
    /// # Errors
    /// If that fails.
    pub fn load(&mut self, state: &State, ram: &Ram) -> Result<()> {
        self.slot.load(&mut self.emulator, state)?;
        self.emulator.ram.become_like(ram)?;
        self.console = self.emulator.console_length();
        Ok(())
    }

    /// The guest is about to go on.
    pub fn goes_on(&mut self) {
        self.slot.goes_on();
    }

    /// Runs on to the end: to where it is to stop, or until the guest has ended the emulator.
    ///
    /// # Errors
    /// If the emulator fails.
    pub fn finish(&mut self, job: &Job, began: u32) -> Result<End> {
        self.slot.goes_on();
        let late = |ram: &Ram| ram.word(job.tick).wrapping_sub(began).wrapping_sub(job.limit);
        let mut still = Still::new(self.emulator.ram.word(job.tick));
        self.emulator.gdb.resume()?;
        let end = loop {
            match self.emulator.gdb.wait(super::POLL)? {
                Guest::Stands => break self.ended()?,
                Guest::Gone => match self.emulator.status()? {
                    Some(status) => break End::Exit(status),
                    None => bail!("the emulator was ended by a signal"),
                },
                Guest::Runs => {}
            }
            // More than half of the range means that the limit is still ahead.
            let beyond = late(&self.emulator.ram) as i32 > MARGIN as i32;
            if beyond || still.lasts(&mut self.emulator, job)? {
                stop(&mut self.emulator)?;
                return Ok(End::Limit);
            }
        };
        let beyond = late(&self.emulator.ram) as i32 > 0;
        Ok(if end == End::Complete && beyond { End::Limit } else { end })
    }

    /// How the guest has ended the system: it stands where it is about to.
    fn ended(&mut self) -> Result<End> {
        let registers = self.emulator.gdb.registers()?;
        let pc = registers[15];
        ensure!(self.exits.contains(&pc), "the guest stopped at {pc:#x} without a reason");
        let (operation, parameter) = (registers[0], registers[1]);
        let reason = |reason| if reason == APPLICATION_EXIT { 0 } else { 1 };
        let status = match operation {
            EXIT => reason(parameter),
            EXIT_EXTENDED => {
                let gdb = &mut self.emulator.gdb;
                let block = gdb.word(parameter)?.zip(gdb.word(parameter.wrapping_add(4))?);
                let (why, status) = block.context("the guest ends the system without saying how")?;
                if reason(why) == 0 { status as i32 } else { 1 }
            }
            _ => bail!("the guest asks the emulator for operation {operation:#x}"),
        };
        Ok(if status == 0 { End::Complete } else { End::Exit(status) })
    }

    /// What the console has put out since the moment that was loaded.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn console(&self) -> Result<Vec<u8>> {
        self.emulator.console(self.console)
    }
}

/// Stops a guest that runs.
fn stop(emulator: &mut Emulator) -> Result<()> {
    emulator.qmp.execute("stop", json!({}))?;
    ensure!(emulator.gdb.wait(super::PATIENCE)? == Guest::Stands, "the guest does not stop");
    Ok(())
}

/// The instructions of the kernel by which the system is ended.
fn exits(ram: &Ram, job: &Job) -> Result<Vec<u32>> {
    let text = ram.bytes(job.kernel.0, job.kernel.1 - job.kernel.0)?;
    let words = text.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
    let exits: Vec<u32> = (job.kernel.0..)
        .step_by(4)
        .zip(words)
        .filter(|(_, word)| *word == SEMIHOSTING)
        .map(|(address, _)| address)
        .collect();
    ensure!(!exits.is_empty(), "the kernel has no way to end the system");
    Ok(exits)
}

/// Whether a guest without ticks still does anything.
struct Still {
    /// The last tick.
    tick: u32,
    /// When it, or a look, was.
    since: Instant,
    /// Instructions at the first look without a tick, and at the last one.
    looks: Option<(u64, u64)>,
}

impl Still {
    fn new(tick: u32) -> Still {
        Still { tick, since: Instant::now(), looks: None }
    }

    /// Looks, if it is time to. True if the guest has not ticked for as many instructions as its limit allows, or sleeps for ever.
    fn lasts(&mut self, emulator: &mut Emulator, job: &Job) -> Result<bool> {
        let tick = emulator.ram.word(job.tick);
        if tick != self.tick {
            *self = Still::new(tick);
            return Ok(false);
        }
        if self.since.elapsed() < STANDSTILL {
            return Ok(false);
        }
        stop(emulator)?;
        let now = State::of(emulator)?.instructions()?;
        let (first, last) = self.looks.unwrap_or((now, 0));
        if now - first > u64::from(job.limit) * INSTRUCTIONS_A_TICK || now == last {
            emulator.gdb.resume()?;
            return Ok(true);
        }
        self.looks = Some((first, now));
        self.since = Instant::now();
        emulator.gdb.resume()?;
        Ok(false)
    }
}
