//! Interrupts of a driver's device: each is seen, none while the line is masked, few in a tick, all after a recovery.

use bell::BellClient;
use rt::abi::Sabotage;
use rt::abi::failure::{Moment, SabotageKind};
use rt::abi::info::{Trace, TraceInfo};
use rt::sys;

use crate::check::{Check, Suite, Why, ensure, equal, get};
use crate::world::{Before, wait_until};

/// Interrupts in a tick that the manifest of `bell` allows.
const RATE: u32 = 4;

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    suite.run("interrupts: each is seen once", each);
    suite.run("interrupts: a line is masked until it is acknowledged", masked);
    suite.run("interrupts: too many in a tick go on in the next", throttled);
    suite.run("interrupts: waiting for one inside an activation", inside);
    for moment in [Moment::Entry, Moment::End] {
        for &kind in SabotageKind::ALL {
            suite.run(format_args!("interrupts: sabotage {} of the driver at {moment:?}", kind.name()), || {
                sabotaged(Sabotage { kind, moment })
            });
        }
    }
}

/// Interrupts that came as events.
fn heard(bell: &BellClient) -> Result<u32, Why> {
    Ok(get!(bell.count(), "count").0)
}

/// So many interrupts have come as events.
fn came(bell: &BellClient, count: u32) -> Check {
    wait_until("interrupts", || heard(bell) == Ok(count))
}

fn each() -> Check {
    let bell = get!(BellClient::bind(), "bind");
    let before = heard(&bell)?;
    for ring in 1..=50 {
        get!(bell.ring(), "ring");
        came(&bell, before + ring)?;
    }
    get!(sys::pause(5), "pause");
    equal!(heard(&bell)?, before + 50, "interrupts");
    Ok(())
}

fn masked() -> Check {
    let bell = get!(BellClient::bind(), "bind");
    let before = heard(&bell)?;
    get!(bell.leave_masked(true), "leave masked");
    get!(bell.ring(), "ring");
    came(&bell, before + 1)?;
    get!(bell.ring(), "ring");
    get!(sys::pause(10), "pause");
    equal!(heard(&bell)?, before + 1, "interrupts while the line is masked");
    equal!(get!(bell.wait(true, 5), "wait"), false, "an interrupt of a masked line");
    get!(bell.leave_masked(false), "acknowledge");
    came(&bell, before + 2)?;
    get!(bell.ring(), "ring");
    came(&bell, before + 3)
}

/// The ring of the kernel's latest events has so many entries of a line that stays masked.
fn throttles() -> u32 {
    (0..)
        .map_while(|index| sys::info::<TraceInfo>(index).ok())
        .filter(|entry| entry.what == Trace::Throttled as u32)
        .count() as u32
}

fn throttled() -> Check {
    let bell = get!(BellClient::bind(), "bind");
    let (before, then) = (heard(&bell)?, get!(sys::time_us(), "time"));
    get!(bell.storm(8 * RATE - 1), "storm");
    get!(bell.ring(), "ring");
    wait_until("all of a storm", || heard(&bell).is_ok_and(|heard| heard >= before + 8 * RATE))?;
    let ticks = (get!(sys::time_us(), "time") - then) / 1000;
    equal!(heard(&bell)?, before + 8 * RATE, "interrupts");
    ensure!((6..=16).contains(&ticks), "{} interrupts in {ticks} ticks", 8 * RATE);
    ensure!(throttles() > 0, "no trace of a line that stays masked");
    get!(bell.ring(), "ring");
    came(&bell, before + 8 * RATE + 1)
}

fn inside() -> Check {
    let bell = get!(BellClient::bind(), "bind");
    let (events, waited) = get!(bell.count(), "count");
    for times in 1..=3 {
        get!(sys::pause(2), "pause");
        equal!(get!(bell.wait(true, 10), "wait"), true, "an interrupt");
        equal!(get!(bell.count(), "count"), (events, waited + times), "interrupts as events, and waited for");
    }
    let then = get!(sys::time_us(), "time");
    equal!(get!(bell.wait(false, 5), "wait"), false, "an interrupt that nobody caused");
    let took = get!(sys::time_us(), "time") - then;
    ensure!((4_000..=8_000).contains(&took), "five ticks took {took} us");
    get!(bell.ring(), "ring");
    came(&bell, events + 1)
}

/// The interrupt that the failed attempt caused may be seen, too; that of the attempt that succeeded must be.
fn sabotaged(how: Sabotage) -> Check {
    let bell = get!(BellClient::bind(), "bind");
    let (count, before) = (heard(&bell)?, Before::of("bell")?);
    get!(sys::sabotage("bell", how), "sabotage");
    get!(bell.ring(), "ring");
    wait_until("the interrupt", || heard(&bell).is_ok_and(|heard| heard > count))?;
    before.since("bell", 1..=1, 0, 0)?;
    let now = heard(&bell)?;
    ensure!(now <= count + 2, "{} interrupts of two attempts", now - count);
    for ring in 1..=2 {
        get!(bell.ring(), "ring");
        came(&bell, now + ring)?;
    }
    Ok(())
}
