//! Events of services: upcalls and steps, what comes again after a failure, and what may come between.

use rt::{Events, sys};
use victim::{ALWAYS, ARM_KEY, Attack, Hook, Peer, Plan, Strike, VictimClient};

use crate::check::{Check, Suite, ensure, equal, get};
use crate::world::{Before, Witness, wait_until};

/// Rounds of work that take a service more than a tick.
const LONG: u32 = 300_000;
/// Ticks within which what is on its way must have come.
const SOON: u32 = 100;
/// The suite's own event.
const TOLD: Events = Events::from_bits_truncate(1 << 3);

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    suite.run("events: one that comes between two steps is not lost", between_steps);
    suite.run("events: after a failure between two steps the upcall comes first", failure_between_steps);
    suite.run_first("events: notification from the flush of an inner session", told_by_flush);
    suite.run("events: a client that waits learns that its session is lost", told_of_loss);
    suite.run("events: a session whose number is another service's by the time of the step", foreign_step);
}

/// Waits until a service has had so many upcalls since its plan was made.
fn upcalls(client: &VictimClient, count: u32) -> Check {
    wait_until("upcalls", || client.diary().is_ok_and(|diary| diary.0 >= count))
}

fn between_steps() -> Check {
    let mut witness = Witness::new()?;
    let client = get!(VictimClient::bind_to("relay"), "bind");
    let other = get!(VictimClient::bind_to("relay"), "bind");
    get!(client.plan(Plan::Rearm, 0, LONG), "plan");
    get!(client.alarm(1), "alarm");
    upcalls(&client, 2)?;
    drop(other);
    witness.intact()
}

fn failure_between_steps() -> Check {
    let mut witness = Witness::new()?;
    let clients = [0; 4].map(|_| VictimClient::bind_to("relay"));
    let client = get!(clients[0].as_ref(), "bind");
    let builds = get!(client.state(), "state").3;
    get!(client.plan(Plan::Walk, 0, LONG), "plan");
    get!(client.alarm(1), "alarm");
    get!(sys::pause(2), "pause");
    get!(client.attack(Attack::Panic, 0, builds + 1), "attack");
    wait_until("all steps", || {
        client.steps().is_ok_and(|steps| steps.0 > 0) && client.diary().is_ok_and(|diary| diary.2 >= 4)
    })?;
    equal!(get!(client.steps(), "steps").2, 0, "steps without an upcall");
    witness.intact()
}

fn told_by_flush() -> Check {
    let mut witness = Witness::new()?;
    let client = get!(VictimClient::bind_notified(TOLD), "bind");
    get!(sys::wait_events(Events::NOTIFICATIONS, 1), "wait");
    let relay = get!(VictimClient::bind_to("relay"), "bind");
    let route = Peer::route(&[Peer::Victim]);
    get!(client.arm(Hook::Flush, Attack::Tell, client.handle().index, ALWAYS, u32::MAX, ARM_KEY), "arm");
    get!(relay.pass(route, 1, Strike::before(Attack::AskFlush).at_next(), 0, ALWAYS), "pass");
    equal!(sys::wait_events(TOLD, SOON), Ok(TOLD), "events");
    get!(client.arm(Hook::Flush, Attack::None, 0, 0, 0, ARM_KEY), "disarm");
    witness.intact()
}

fn told_of_loss() -> Check {
    let mut witness = Witness::new()?;
    let control = get!(VictimClient::bind(), "bind");
    let client = get!(VictimClient::bind_notified(TOLD), "bind");
    // What earlier tests may have left.
    get!(sys::wait_events(Events::NOTIFICATIONS, 1), "wait");
    get!(control.arm(Hook::Flush, Attack::Spoil, 0, ALWAYS, client.handle().index, ARM_KEY), "arm");
    get!(client.flushed(1), "flushed");
    get!(control.arm(Hook::Flush, Attack::None, 0, 0, 0, ARM_KEY), "disarm");
    let builds = get!(control.state(), "state").3;
    get!(control.attack(Attack::Panic, 0, builds + 1), "attack");
    ensure!(client.state().is_err(), "the session is not lost");
    equal!(sys::wait_events(TOLD, SOON), Ok(TOLD), "events");
    witness.intact()
}

fn foreign_step() -> Check {
    let mut witness = Witness::new()?;
    let control = get!(VictimClient::bind_to("relay"), "bind");
    let victim = get!(VictimClient::bind_to("lazy"), "bind");
    for _ in 0..3 {
        let client = get!(VictimClient::bind_to("relay"), "bind");
        let number = client.handle().index;
        get!(control.plan(Plan::One, number, 8 * LONG), "plan");
        let before = Before::of("lazy")?;
        get!(control.alarm(1), "alarm");
        get!(sys::pause(2), "pause");
        get!(client.unbind(), "unbind");
        let other = get!(VictimClient::bind_to("lazy"), "bind");
        equal!(other.handle().index, number, "number of the new session");
        upcalls(&control, 1)?;
        wait_until("end of the event", || control.diary().is_ok_and(|diary| diary.2 + diary.3 >= 1))?;
        equal!(get!(control.diary(), "diary").3, 1, "skipped sessions");
        ensure!(VictimClient::bind_to("lazy").is_ok(), "one more session with the other service");
        ensure!(other.add(1).is_ok_and(|sums| sums.0 == 1), "the other service's session");
        ensure!(victim.add(1).is_ok(), "the other service");
        before.untouched("lazy")?;
    }
    witness.intact()
}
