//! The engine that needs nothing but what stock QEMU offers: its monitor (QMP), its gdb stub, and its recorder of runs.
//!
//! Two emulators work together. The *driver* replays the golden run, and stops before the instruction that an experiment names. The state of its
//! devices and its guest's memory go to the *runner*, where the fault is injected by the gdb stub, and the guest runs on to its
//! end. Then the driver goes on to the next experiment's point. So nothing is booted again, every point is reached exactly, be it in the
//! kernel or in an object, and between fault and end nothing disturbs the guest.
//!
//! | module | what holds there |
//! |---|---|
//! | `gdb`, `qmp`, `emulator` | an emulator and how one talks to it |
//! | `state`, `memory` | what makes up a moment of the guest |
//! | `timeline`, `driver` | the golden run, and how one gets to a point of it |
//! | `striker`, `injection`, `runner` | a fault and what comes of it |
//! | `steps`, `second` | a second fault in the midst of a struck run |
//! | `baseline` | what the same would cost with one emulator for each experiment |
//!
//! **Architecture invariant:** a guest whose end is observed is never stopped between the fault and the end. A stop would let virtual time
//! jump: the main loop of QEMU takes a processor that stands for one that sleeps. Where one has to look, a recorded
//! run is replayed.

mod baseline;
mod driver;
mod emulator;
mod gdb;
mod injection;
mod memory;
mod qmp;
mod runner;
mod second;
mod standing;
mod state;
mod steps;
mod striker;
mod timeline;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use experiment::{Action, End, Injection, Job, Observation, Planned};

use crate::inject::golden::Golden;
use crate::inject::machine::Machine;
pub use baseline::baseline;
use driver::Driver;
use emulator::{Course, Emulator};
use injection::inject;
use memory::Ram;
use runner::Runner;
use second::Double;
pub use standing::{stand, trace};
use state::{State, Template};
use striker::Striker;
use timeline::{Point, Points};

/// Longest time for anything but the guest's own running.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a guest that runs is looked at.
const POLL: Duration = Duration::from_millis(5);
/// Attempts at an experiment: the emulator may fail for reasons of the host.
const ATTEMPTS: u32 = 2;

/// Where an experiment begins.
struct Start<'s> {
    /// State of the devices.
    state: &'s State,
    /// The guest's memory.
    ram: &'s Ram,
    /// Ticks at the begin mark.
    began: u32,
    /// The instruction that is about to be executed.
    point: Point,
    /// What the console has put out since the begin mark.
    console: Vec<u8>,
}

/// What all workers share.
struct Shared<'s> {
    machine: &'s Machine,
    job: &'s Job,
    points: Points<'s>,
    /// Address of the begin mark.
    begin: u32,
    course: PathBuf,
    template: Template,
    /// The experiments in the order of their points, and the next one of these.
    order: Vec<usize>,
    next: AtomicUsize,
    stop: AtomicBool,
}

/// Carries out a job; `done` gets each experiment as it comes to its end, in any order, and may break off.
///
/// # Errors
/// If an emulator fails beyond one experiment, or `done` does.
pub fn run(
    machine: &Machine,
    golden: &Golden,
    job: &Job,
    done: &mut dyn FnMut(&Planned, Observation) -> Result<ControlFlow<()>>,
) -> Result<()> {
    if job.experiments.is_empty() {
        return Ok(());
    }
    let shared = Shared::new(machine, golden, job)?;
    let workers = (job.parallel.max(1) as usize).min(job.experiments.len());
    let (sender, results) = channel();
    std::thread::scope(|scope| {
        for number in 0..workers {
            let (shared, sender) = (&shared, sender.clone());
            scope.spawn(move || {
                if let Err(error) = work(shared, number, &sender) {
                    // If nobody listens any more, another error came first.
                    let _ = sender.send(Err(error));
                }
            });
        }
        drop(sender);
        let outcome = results.into_iter().try_for_each(|result| {
            let (place, observation): (usize, Observation) = result.map_err(Some)?;
            match done(&job.experiments[place], observation) {
                Ok(ControlFlow::Continue(())) => Ok(()),
                Ok(ControlFlow::Break(())) => Err(None),
                Err(error) => Err(Some(error)),
            }
        });
        shared.stop.store(true, Ordering::SeqCst);
        match outcome {
            Ok(()) | Err(None) => Ok(()),
            Err(Some(error)) => Err(error),
        }
    })
}

impl<'s> Shared<'s> {
    fn new(machine: &'s Machine, golden: &'s Golden, job: &'s Job) -> Result<Shared<'s>> {
        let mut order: Vec<usize> = (0..job.experiments.len()).collect();
        order.sort_by_key(|place| job.experiments[*place].at);
        Ok(Shared {
            machine,
            job,
            points: Points::of(golden, job),
            begin: timeline::begin(golden)?,
            course: driver::record(machine)?,
            template: Template::make(&mut Emulator::start(machine, Course::Own)?)?,
            order,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        })
    }

    fn driver(&self) -> Result<Driver> {
        Driver::start(self.machine, &self.course, self.job, self.begin)
    }
}

/// What is done, when it is done, by one of several that share a job.
fn work(shared: &Shared<'_>, number: usize, sender: &Sender<Result<(usize, Observation)>>) -> Result<()> {
    let mut worker = Worker {
        shared,
        log: shared.machine.folder.path().join(format!("struck-{number}")),
        driver: None,
        striker: Striker::default(),
    };
    while !shared.stop.load(Ordering::SeqCst)
        && let Some(place) = shared.order.get(shared.next.fetch_add(1, Ordering::SeqCst))
    {
        let observation = worker.experiment(&shared.job.experiments[*place])?;
        if sender.send(Ok((*place, observation))).is_err() {
            break;
        }
    }
    Ok(())
}

/// One of several that share a job.
struct Worker<'s> {
    shared: &'s Shared<'s>,
    /// File for the record of a struck run.
    log: PathBuf,
    driver: Option<Driver>,
    striker: Striker,
}

impl Worker<'_> {
    fn experiment(&mut self, plan: &Planned) -> Result<Observation> {
        let point = match self.shared.points.point(plan) {
            Ok(point) => point,
            Err(why) => return Ok(nothing(why)),
        };
        let mut attempt = 0;
        loop {
            attempt += 1;
            // The way to the point is the golden run: that it fails is no observation.
            let driver = match self.driver.take() {
                Some(driver) if !driver.has_passed(point) => self.driver.insert(driver),
                _ => self.driver.insert(self.shared.driver()?),
            };
            let reached = driver.go_to(point).with_context(|| format!("on the way to {}", plan.id))?;
            if let Err(why) = reached {
                return Ok(nothing(why));
            }
            match self.strike(plan, point) {
                Ok(observation) => return Ok(observation),
                Err(_) if attempt < ATTEMPTS => self.striker = Striker::default(),
                Err(error) => {
                    self.striker = Striker::default();
                    return Ok(nothing(format!("the emulator did not survive the experiment: {error:#}")));
                }
            }
        }
    }

    /// The driver stands at the point.
    fn strike(&mut self, plan: &Planned, point: Point) -> Result<Observation> {
        let shared = self.shared;
        let job = shared.job;
        let driver = self.driver.as_mut().context("nothing leads to the point")?;
        if plan.action == Action::Look {
            // Nothing is changed, and nothing runs on.
            let first = inject(&mut driver.emulator, job, plan.action, Some(plan.pc), point.physical)?;
            let memory = memory(&driver.emulator.ram, job)?;
            let ticks = driver.emulator.ram.word(job.tick).wrapping_sub(driver.began);
            let console = driver.console()?;
            return Ok(Observation { first, second: None, end: End::Complete, ticks, console, memory });
        }
        let state = State::of(&mut driver.emulator)?;
        let console = driver.console()?;
        let start = Start { state: &state, ram: &driver.emulator.ram, began: driver.began, point, console };
        if let Some((after, second)) = plan.second {
            let double = Double { first: plan.action, after, second };
            return second::carry_out(shared, &mut self.striker, &start, &double, &self.log);
        }
        let first = self.striker.strike(shared, &start, plan.action, Some(plan.pc))?;
        let runner = self.striker.runner()?;
        let end = match first {
            Injection::Failed(_) => End::Broken,
            Injection::Done { .. } => runner.finish(job, start.began)?,
        };
        observation(runner, job, &start, first, None, end)
    }
}

/// What can be seen of a run that has come to its end.
fn observation(
    runner: &Runner,
    job: &Job,
    start: &Start<'_>,
    first: Injection,
    second: Option<Injection>,
    end: End,
) -> Result<Observation> {
    let ram = &runner.emulator.ram;
    let mut console = start.console.clone();
    console.extend(runner.console()?);
    Ok(Observation {
        first,
        second,
        end,
        ticks: ram.word(job.tick).wrapping_sub(start.began),
        console,
        memory: memory(ram, job)?,
    })
}

/// What a job wants to have of the guest's memory.
fn memory(ram: &Ram, job: &Job) -> Result<Vec<Vec<u8>>> {
    job.ranges.iter().map(|(address, length)| ram.bytes(*address, *length)).collect()
}

/// What is seen of an experiment that did not take place.
fn nothing(why: String) -> Observation {
    Observation {
        first: Injection::Failed(why),
        second: None,
        end: End::Broken,
        ticks: 0,
        console: Vec::new(),
        memory: Vec::new(),
    }
}
