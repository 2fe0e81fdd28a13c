//! Who runs: the scheduler's policies, and what becomes of everybody while it fails, is stopped, or is asked for too much.
//!
//! Time is counted in the kernel's ticks, and whose they were: how fast the host is does not matter.

use alloc::vec::Vec;

use hostile::Role;
use racer::{Run, Way};
use rt::abi::call::Hook;
use rt::abi::failure::{Moment, SabotageKind};
use rt::abi::info::ObjectState;
use rt::abi::{FailureKind, Sabotage};
use rt::{Error, sys};
use scheduler::{PolicyKind, SchedulerClient};
use supervisor::SupervisorClient;

use crate::check::{Check, Suite, Why, ensure, equal, get};
use crate::clients;
use crate::recovery::plausible;
use crate::supervision::lenient;
use crate::world::{Before, Witness, failure, object, process, wait_until};

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    for &kind in SabotageKind::ALL {
        for moment in [Moment::Entry, Moment::End] {
            suite.run(format_args!("scheduler: fails in a decision, {} at {moment:?}", kind.name()), || {
                fails(kind, moment)
            });
        }
    }
    suite.run("scheduler: a high priority has all but the fair turns", priorities);
    suite.run("scheduler: slices are shares within a priority", slices);
    suite.run("scheduler: nobody is starved by who yields or sleeps", || everybody(PolicyKind::Priorities));
    suite.run("scheduler: nobody is starved by who yields or sleeps, with strides", || everybody(PolicyKind::Stride));
    suite.run("scheduler: weights are shares", || weights(0));
    suite.run("scheduler: weights are shares, through ten failures", || weights(10));
    suite.run("scheduler: stopped, the kernel carries on; started, all is as before", stopped);
    suite.run("scheduler: fifty failures in a row, with everybody running", many);
    suite.run("scheduler: a client has what its manifest allows, and once", greedy);
}

/// Programs that compete for the processor.
struct Race(Vec<u32>);

impl Race {
    /// Ticks that each of them has had.
    fn ticks(&self) -> Vec<u32> {
        self.0.iter().map(|child| process(*child).ticks).collect()
    }

    /// Lets them run for so many ticks, more or less; what each of them had of it.
    fn run(&self, ticks: u32) -> Result<Vec<u32>, Why> {
        let before = self.ticks();
        get!(sys::pause(ticks), "pause");
        Ok(self.ticks().iter().zip(before).map(|(now, before)| now - before).collect())
    }
}

/// Has them compete while `body` runs.
fn race(runs: &[Run], body: impl FnOnce(&Race) -> Check) -> Check {
    let mut race = Race(Vec::new());
    let result = start(&mut race, runs).and_then(|()| body(&race));
    for child in race.0 {
        // One that ended by itself has only to be waited for; what went wrong before is what is told.
        let ended = clients::kill(child);
        if result.is_ok() {
            ended?;
        }
    }
    result
}

fn start(race: &mut Race, runs: &[Run]) -> Check {
    for run in runs {
        let child = get!(sys::spawn("racer", run.argument()), "spawn a racer");
        race.0.push(child);
        if run.weight > 0 {
            wait_until("a racer's session", || process(child).bindings == 1)?;
        }
    }
    // Now all have said what they want.
    get!(sys::pause(5), "pause");
    Ok(())
}

/// Makes the scheduler fail at its next decision.
fn sabotage(kind: SabotageKind, moment: Moment) -> Check {
    get!(sys::sabotage("scheduler", Sabotage { kind, moment }), "sabotage");
    Ok(())
}

fn fails(kind: SabotageKind, moment: Moment) -> Check {
    let mut witness = Witness::new()?;
    let patience = lenient("scheduler")?;
    race(&[Run::computes(2, 64, 4); 3], |race| {
        let before = Before::of("scheduler")?;
        sabotage(kind, moment)?;
        let ran = race.run(48)?;
        before.since("scheduler", 1..=1, 0, 0)?;
        let record = failure(0)?;
        let found = FailureKind::from_number(record.kind);
        // No session is open in a decision: there is no header to damage.
        let kind = if kind == SabotageKind::SsrHeader { SabotageKind::DataAbort } else { kind };
        ensure!(found.is_some_and(|found| plausible(kind, found)), "recorded as {found:?}");
        equal!(record.method, 0x8000_0000 | Hook::Decide as u32, "hook that failed");
        equal!((record.session, record.process), (u32::MAX, 0), "session and process that it happened under");
        let all: u32 = ran.iter().sum();
        ensure!(all >= 30, "of 48 ticks they had {ran:?}");
        ensure!(ran.iter().all(|ticks| ticks.abs_diff(all / 3) <= 8), "equals had {ran:?} ticks");
        Ok(())
    })?;
    patience.end()?;
    witness.intact()
}

fn priorities() -> Check {
    race(&[Run::computes(3, 1, 10), Run::computes(2, 1, 10), Run::computes(0, 1, 10)], |race| {
        let ran = race.run(360)?;
        let all: u32 = ran.iter().sum();
        ensure!(ran[0] * 10 >= all * 8, "of {all} ticks the highest priority had {ran:?}");
        // A fair turn in 43 ticks at the latest, for each of four (the suite, too) in turn.
        ensure!(ran[1].min(ran[2]) >= all / 43 / 4, "fair turns of {all} ticks: {ran:?}");
        Ok(())
    })
}

fn slices() -> Check {
    race(&[Run::computes(2, 1, 2), Run::computes(2, 1, 8)], |race| {
        let ran = race.run(200)?;
        ensure!((3 * ran[0]..=5 * ran[0]).contains(&ran[1]), "slices of 2 and 8 had {ran:?} ticks");
        Ok(())
    })
}

/// Makes a policy the active one, and the first one again in the end.
fn with_policy(policy: PolicyKind, body: impl FnOnce() -> Check) -> Check {
    let scheduler = get!(SchedulerClient::bind(), "bind to the scheduler");
    let before = get!(scheduler.policy(), "policy");
    get!(scheduler.set_policy(policy), "set_policy");
    equal!(scheduler.policy(), Ok(policy), "policy");
    let result = body();
    get!(scheduler.set_policy(before), "set_policy back");
    result
}

fn everybody(policy: PolicyKind) -> Check {
    with_policy(policy, || {
        let high = |way| Run { way, priority: 3, weight: 128, slice: 10 };
        let runs =
            [high(Way::Yields), high(Way::Yields), high(Way::Sleeps), high(Way::Sleeps), Run::computes(0, 32, 4)];
        race(&runs, |race| {
            // Two fair turns of each of the five, and what lies between them (the bound of `scheduler::priorities`).
            let ran = race.run(2 * 5 * 43 + 20)?;
            ensure!(ran[4] >= 2, "of 450 ticks the one that computes had {ran:?}");
            // The others' time is not theirs by ticks alone: most of a switch is the scheduler's.
            ensure!(ran[4] <= 340, "of 450 ticks the one that computes had {ran:?}");
            Ok(())
        })
    })
}

/// Strides, with so many failures meanwhile.
fn weights(failures: u32) -> Check {
    let patience = lenient("scheduler")?;
    with_policy(PolicyKind::Stride, || {
        race(&[Run::computes(0, 32, 2), Run::computes(3, 64, 2), Run::computes(0, 128, 2)], |race| {
            let before = Before::of("scheduler")?;
            let mut ran = [0; 3];
            for round in 0..10 {
                if round < failures {
                    sabotage(SabotageKind::Panic, Moment::End)?;
                }
                race.run(35)?.iter().zip(&mut ran).for_each(|(ticks, sum)| *sum += ticks);
            }
            before.since("scheduler", failures..=failures, 0, 0)?;
            let all: u32 = ran.iter().sum();
            for (ran, parts) in ran.iter().zip([1, 2, 4]) {
                // A slice for each of them, the suite included; and about one more with each failure.
                let (share, error) = (all * parts / 7, 10 + 2 * failures);
                ensure!(ran.abs_diff(share) <= error, "{ran} of {all} ticks where {share} were due");
            }
            Ok(())
        })
    })?;
    patience.end()
}

fn stopped() -> Check {
    let supervisor = get!(SupervisorClient::bind(), "bind to the supervisor");
    let scheduler = get!(SchedulerClient::bind(), "bind to the scheduler");
    get!(scheduler.set(2, 50, 7), "set");
    // Of the suite's own priority: it is the kernel's numbers that count now.
    let children = [clients::spawn(Role::Counter, 0)?, clients::spawn(Role::Counter, 0)?];
    get!(sys::pause(5), "pause");
    let before = object("scheduler")?;
    get!(supervisor.stop(b"scheduler"), "stop");
    let is = |state: ObjectState| object("scheduler").is_ok_and(|info| info.state == state as u32);
    wait_until("the scheduler's end", || is(ObjectState::Stopped))?;
    let ticks = || children.map(|child| process(child).ticks);
    let start = ticks();
    equal!(scheduler.get().map(|_| ()), Err(rt::CallError::Kernel(Error::Stopped)), "a stopped scheduler");
    get!(sys::pause(60), "pause");
    let now = ticks();
    ensure!(start.iter().zip(now).all(|(start, now)| now > start + 10), "without it they had {start:?}, then {now:?}");
    get!(supervisor.start(b"scheduler"), "start");
    wait_until("the scheduler's start", || is(ObjectState::Running))?;
    equal!(scheduler.get(), Ok((2, 50, 7, 4)), "parameters kept");
    get!(sys::pause(20), "pause");
    let (decisions, ..) = get!(scheduler.statistics(), "statistics");
    ensure!(decisions > 0, "no decision since it was started");
    for child in children {
        clients::kill(child)?;
    }
    let info = object("scheduler")?;
    ensure!(info.failures == before.failures, "an order counted as a failure");
    Ok(())
}

fn many() -> Check {
    let mut witness = Witness::new()?;
    let patience = lenient("scheduler")?;
    let before = Before::of("scheduler")?;
    race(&[Run::computes(3, 64, 4), Run::computes(2, 64, 4), Run::computes(1, 64, 4)], |race| {
        let (start, before) = (object("scheduler")?.failures, race.ticks());
        for round in 0..50 {
            sabotage(SabotageKind::ALL[round % 6], if round % 2 == 0 { Moment::Entry } else { Moment::End })?;
            wait_until("the failure", || {
                object("scheduler").is_ok_and(|info| info.failures == start + round as u32 + 1)
            })?;
        }
        let now = race.ticks();
        ensure!(before.iter().zip(&now).all(|(before, now)| now > before), "ticks {before:?}, then {now:?}");
        Ok(())
    })?;
    before.since("scheduler", 50..=50, 0, 0)?;
    patience.end()?;
    witness.intact()
}

fn greedy() -> Check {
    let run = Run { way: Way::Greedy, ..Run::computes(0, 1, 1) };
    let child = get!(sys::spawn("racer", run.argument()), "spawn a racer");
    equal!(sys::wait(child), Ok(0), "status: the line of what was not refused");
    Ok(())
}
