//! Waiting for events, notifications and deadlines; and what of them a failure may take away: nothing.

use alloc::vec::Vec;

use moth::{HEARD, NAME, ROUNDS, Role};
use rt::abi::Sabotage;
use rt::abi::failure::{Moment, SabotageKind};
use rt::client::Binding;
use rt::{Error, Events, sys};
use victim::{ALWAYS, ARM_KEY, Attack, Hook, Peer, Plan, Strike, VictimClient};

use crate::check::{Check, Suite, Why, ensure, equal, get};
use crate::clients::kill;
use crate::world::{Before, Witness, kernel, process, wait_until};

/// Ticks within which what is on its way must have come.
const SOON: u32 = 100;
/// An event of the suite.
const TOLD: Events = Events::from_bits_truncate(1 << 3);
/// Another one.
const OTHER: Events = Events::from_bits_truncate(1 << 4);
/// State of a process that waits.
const WAITS: u32 = 2;

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    suite.run("waiting: events that are set before, and which of them are taken", set_before);
    suite.run("waiting: time-outs", time_outs);
    suite.run("waiting: errors, and the right to pause", errors);
    suite.run("waiting: a program is killed meanwhile", killed);
    suite.run_first("waiting: in an activation, for an event that comes", || in_activation(true));
    suite.run("waiting: in an activation, for one that does not", || in_activation(false));
    suite.run("notification: when the request commits, not before", at_commit);
    suite.run_first("notification: when the outermost request commits, not before", at_outermost_commit);
    suite.run("notification: more sessions than a request can name", many);
    for moment in [Moment::Entry, Moment::Copy, Moment::End] {
        for &kind in SabotageKind::ALL {
            suite.run(format_args!("notification: sabotage {} at {moment:?}", kind.name()), || {
                sabotaged(Sabotage { kind, moment })
            });
        }
    }
    suite.run("notification: sabotage of the upcall and of steps", sabotaged_steps);
    suite.run("deadline: never early, at most two ticks late", deadlines);
    suite.run("deadline: replaced and cancelled", replaced);
    suite.run("events: an upcall that always fails has its events dropped", failing_upcall);
    suite.run("events: a step that always fails costs its session", failing_step);
}

/// Takes what earlier tests may have left.
fn drained() -> Check {
    get!(sys::wait_events(Events::NOTIFICATIONS, 1), "wait");
    Ok(())
}

fn notified(events: Events) -> Result<VictimClient, Why> {
    Ok(get!(VictimClient::bind_notified(events), "bind"))
}

/// Microseconds that something takes.
fn took(what: impl FnOnce() -> Check) -> Result<u64, Why> {
    let then = get!(sys::time_us(), "time");
    what()?;
    Ok(get!(sys::time_us(), "time") - then)
}

fn set_before() -> Check {
    drained()?;
    let (first, second) = (notified(TOLD)?, notified(OTHER)?);
    let tell = |client: &VictimClient| first.tell(client.handle().index, 1, Attack::None, 0, 0);
    for _ in 0..3 {
        equal!(tell(&first), Ok((1, 0)), "notifications");
        equal!(tell(&second), Ok((1, 0)), "notifications");
    }
    equal!(sys::wait_events(TOLD, 0), Ok(TOLD), "the event that was waited for");
    equal!(sys::wait_events(TOLD, 1), Ok(Events::empty()), "it again");
    equal!(sys::wait_events(TOLD | OTHER, 0), Ok(OTHER), "the one that was not waited for");
    get!(tell(&first), "tell");
    get!(tell(&second), "tell");
    equal!(sys::wait_events(TOLD | OTHER, 0), Ok(TOLD | OTHER), "both");
    equal!(sys::wait_events(Events::NOTIFICATIONS, 1), Ok(Events::empty()), "all");
    Ok(())
}

fn time_outs() -> Check {
    drained()?;
    for ticks in [1, 2, 3, 10, 50] {
        for events in [Events::empty(), TOLD, Events::NOTIFICATIONS] {
            let us = took(|| {
                equal!(sys::wait_events(events, ticks), Ok(Events::empty()), "events");
                Ok(())
            })?;
            let (least, most) = (u64::from(ticks - 1) * 1000, u64::from(ticks + 1) * 1000);
            ensure!((least..=most).contains(&us), "{ticks} ticks took {us} us");
        }
    }
    Ok(())
}

fn errors() -> Check {
    equal!(sys::wait_events(Events::empty(), 0), Err(Error::BadArgument), "nothing to wait for");
    let client = get!(VictimClient::bind(), "bind");
    for events in [0, TOLD.bits(), u32::MAX] {
        equal!(client.wait(events, 0, 0), Ok((0, Error::BadArgument as u32)), "no limit of time in a service");
    }
    let child = get!(sys::spawn(NAME, Role::Rights.with(0)), "spawn");
    equal!(sys::wait(child), Ok(0), "status of a program without the right");
    Ok(())
}

fn killed() -> Check {
    let mut witness = Witness::new()?;
    for _ in 0..10 {
        let child = get!(sys::spawn(NAME, Role::Wait.with(0)), "spawn");
        wait_until("a program that waits", || process(child).bindings == 1 && process(child).state == WAITS)?;
        kill(child)?;
    }
    witness.intact()
}

/// What an activation did not wait of the time that it might have is its own again; what it waited is not.
fn in_activation(comes: bool) -> Check {
    let mut witness = Witness::new()?;
    let relay = get!(VictimClient::bind_to("relay"), "bind");
    let teller = get!(VictimClient::bind(), "bind");
    let session = get!(relay.listen(Peer::Victim, HEARD), "listen");
    let before = Before::of("relay")?;
    // The budget is twenty.
    let child = get!(sys::spawn(NAME, Role::Relay.with(19)), "spawn");
    wait_until("a program that waits", || process(child).state == WAITS)?;
    if comes {
        get!(sys::pause(2), "pause");
        equal!(teller.tell(session, 1, Attack::None, 0, 0), Ok((1, 0)), "notifications");
        equal!(sys::wait(child), Ok(HEARD), "events");
        before.untouched("relay")?;
        return witness.intact();
    }
    equal!(sys::wait(child), Ok(moth::WRONG + 1), "status of a program whose call fails");
    before.since("relay", 2..=3, 1, 0)?;
    // Less than all of it leaves enough.
    let rounds = ROUNDS / 2;
    equal!(relay.wait(HEARD, 10, rounds), Ok((0, 0)), "half of the budget");
    get!(relay.listen(Peer::Victim, 0), "listen");
    witness.intact()
}

fn at_commit() -> Check {
    drained()?;
    let mut witness = Witness::new()?;
    let _client = notified(TOLD)?;
    let mut inside = 0;
    for _ in 0..10 {
        let teller = get!(sys::spawn(NAME, Role::Tell.with(4)), "spawn");
        for _ in 0..SOON {
            let events = get!(sys::wait_events(TOLD, 1), "wait");
            // It waits nowhere but in its call, so that nothing was committed when the events were taken.
            let waits = process(teller).state == WAITS;
            ensure!(events.is_empty() || !waits, "events before the commit");
            inside += u32::from(waits);
            if !events.is_empty() {
                break;
            }
        }
        ensure!(get!(sys::wait(teller), "wait") < moth::WRONG, "the teller failed");
        equal!(sys::wait_events(TOLD, 1), Ok(Events::empty()), "the events again");
    }
    ensure!(inside >= 5, "the tellers were seen in their calls {inside} times only");
    witness.intact()
}

/// The outer service stays in an endless loop until its budget is used up, when the inner one has notified; then the
/// request is tried again.
fn at_outermost_commit() -> Check {
    let mut witness = Witness::new()?;
    let client = notified(TOLD)?;
    let route = Peer::route(&[Peer::Victim]);
    let relay = get!(VictimClient::bind_to("relay"), "bind");
    get!(relay.pass(route, 1, Strike::NONE, 0, 0), "pass");
    drained()?;
    let endless = Sabotage { kind: SabotageKind::EndlessLoop, moment: Moment::End };
    get!(sys::sabotage("relay", endless), "sabotage");
    let before = Before::of("relay")?;
    let teller = get!(sys::spawn(NAME, Role::TellNested.with(client.handle().index)), "spawn");
    // Its slice is shorter than its budget.
    equal!(sys::wait_events(TOLD, 6), Ok(Events::empty()), "events before the commit");
    equal!(before.failures("relay")?, 0, "failures before the commit");
    equal!(sys::wait_events(TOLD, SOON), Ok(TOLD), "events after it");
    equal!(sys::wait(teller), Ok(0), "status of the teller");
    before.since("relay", 1..=1, 0, 0)?;
    witness.intact()
}

fn many() -> Check {
    drained()?;
    let mut witness = Witness::new()?;
    let teller = get!(VictimClient::bind(), "bind");
    let mut clients = Vec::new();
    for bit in 0..16 {
        clients.push(notified(Events::from_bits_truncate(1 << bit))?);
    }
    let last = clients.iter().map(|client| client.handle().index).max().unwrap_or(0);
    for count in [7, 8, 9, 16] {
        drained()?;
        for client in &clients[..count] {
            // One a request, to compare.
            get!(teller.tell(client.handle().index, 1, Attack::None, 0, 0), "tell");
        }
        let all = Events::from_bits_truncate((1 << count) - 1);
        equal!(sys::wait_events(Events::NOTIFICATIONS, SOON), Ok(all), "events of {count} requests");
    }
    let (told, refused) = get!(teller.tell(0, last + 1, Attack::None, 0, 0), "tell");
    ensure!(told >= 18 && told + refused == last + 1, "{told} notifications, {refused} refused");
    equal!(sys::wait_events(Events::NOTIFICATIONS, SOON), Ok(Events::NOTIFICATIONS), "events of one request");
    witness.intact()
}

fn sabotaged(how: Sabotage) -> Check {
    drained()?;
    let client = notified(TOLD)?;
    let before = Before::of("victim")?;
    get!(sys::sabotage("victim", how), "sabotage");
    equal!(client.tell(client.handle().index, 1, Attack::None, 0, 0), Ok((1, 0)), "notifications");
    equal!(sys::wait_events(TOLD, SOON), Ok(TOLD), "events");
    before.since("victim", 1..=1, 0, 0)
}

/// The upcall, and each of the steps, each of which notifies its session, fails once.
fn sabotaged_steps() -> Check {
    let mut witness = Witness::new()?;
    let control = get!(VictimClient::bind_to("relay"), "bind");
    let [first, second] = [TOLD, OTHER].map(|events| Binding::open("relay", events));
    let (first, second) = (get!(first, "bind"), get!(second, "bind"));
    let numbers = [control.handle().index, first.handle().index, second.handle().index];
    for (hook, whom) in [(Hook::Event, u32::MAX)].into_iter().chain(numbers.map(|number| (Hook::Step, number))) {
        for attack in [Attack::Panic, Attack::Spin, Attack::Recurse] {
            drained()?;
            get!(control.plan(Plan::Tell, 0, 0), "plan");
            let builds = get!(control.state(), "state").3;
            let before = Before::of("relay")?;
            get!(control.arm(hook, attack, 0, builds + 1, whom, ARM_KEY), "arm");
            get!(control.alarm(1), "alarm");
            wait_until("steps", || control.diary().is_ok_and(|diary| diary.2 >= 3))?;
            equal!(sys::wait_events(TOLD, SOON), Ok(TOLD), "events of one session");
            equal!(sys::wait_events(OTHER, SOON), Ok(OTHER), "events of the other");
            before.since("relay", 1..=1, 0, 0)?;
            get!(control.arm(hook, Attack::None, 0, 0, whom, ARM_KEY), "disarm");
        }
    }
    get!(control.plan(Plan::Note, 0, 0), "plan");
    witness.intact()
}

/// Waits for the deadline; returns by how much it was late.
fn alarm(relay: &VictimClient, count: u32) -> Result<u32, Why> {
    wait_until("a deadline", || relay.alarms().is_ok_and(|alarms| alarms.0 == count))?;
    let (_, early, late) = get!(relay.alarms(), "alarms");
    equal!(early, 0, "early deadlines");
    Ok(late)
}

fn deadlines() -> Check {
    let relay = get!(VictimClient::bind_to("relay"), "bind");
    get!(relay.plan(Plan::Note, 0, 0), "plan");
    for (count, us) in (1..).zip([1, 300, 999, 1_000, 1_001, 1_700, 2_000, 3_333, 7_777, 25_000]) {
        get!(relay.alarm(get!(sys::time_us(), "time") + us), "alarm");
        get!(sys::pause(us as u32 / 1000 + 3), "pause");
        let late = alarm(&relay, count)?;
        ensure!(late <= 2_000, "{late} us late");
    }
    // In the past: at the next tick.
    get!(relay.plan(Plan::Note, 0, 0), "plan");
    get!(relay.alarm(1), "alarm");
    get!(sys::pause(2), "pause");
    equal!(get!(relay.alarms(), "alarms").0, 1, "deadlines that were in the past");
    Ok(())
}

fn replaced() -> Check {
    let relay = get!(VictimClient::bind_to("relay"), "bind");
    let now = || sys::time_us();
    for (first, second) in [(3_000, 20_000), (20_000, 3_000)] {
        get!(relay.plan(Plan::Note, 0, 0), "plan");
        get!(relay.alarm(get!(now(), "time") + first), "alarm");
        get!(relay.alarm(get!(now(), "time") + second), "alarm");
        get!(sys::pause(30), "pause");
        ensure!(alarm(&relay, 1)? <= 2_000, "late");
        equal!(get!(relay.diary(), "diary").0, 1, "upcalls");
    }
    get!(relay.plan(Plan::Note, 0, 0), "plan");
    get!(relay.alarm(get!(now(), "time") + 3_000), "alarm");
    get!(relay.alarm(0), "cancel");
    get!(sys::pause(10), "pause");
    equal!(get!(relay.diary(), "diary").0, 0, "upcalls after the deadline was cancelled");
    Ok(())
}

fn failing_upcall() -> Check {
    let mut witness = Witness::new()?;
    let relay = get!(VictimClient::bind_to("relay"), "bind");
    get!(relay.add(7), "add");
    for attack in [Attack::Panic, Attack::Store, Attack::Spin] {
        get!(relay.plan(Plan::Note, 0, 0), "plan");
        let before = Before::of("relay")?;
        get!(relay.arm(Hook::Event, attack, 0xffff_fff0, ALWAYS, u32::MAX, ARM_KEY), "arm");
        get!(relay.alarm(1), "alarm");
        wait_until("three failures", || before.failures("relay").is_ok_and(|count| count >= 3))?;
        get!(relay.arm(Hook::Event, Attack::None, 0, 0, 0, ARM_KEY), "disarm");
        get!(sys::pause(5), "pause");
        before.since("relay", 3..=3, 0, 0)?;
        equal!(get!(relay.diary(), "diary").0, 0, "upcalls that went well");
        get!(relay.alarm(1), "alarm");
        wait_until("an upcall", || relay.diary().is_ok_and(|diary| diary.0 == 1))?;
    }
    equal!(relay.state().map(|state| state.0), Ok(7), "sum");
    witness.intact()
}

fn failing_step() -> Check {
    let mut witness = Witness::new()?;
    let control = get!(VictimClient::bind_to("relay"), "bind");
    let clients = [VictimClient::bind_to("relay"), VictimClient::bind_to("relay"), VictimClient::bind_to("relay")];
    for client in &clients {
        get!(get!(client.as_ref(), "bind").add(5), "add");
    }
    let loser = get!(clients[1].as_ref(), "bind");
    get!(control.plan(Plan::Walk, 0, 0), "plan");
    let before = Before::of("relay")?;
    get!(control.arm(Hook::Step, Attack::Panic, 0, ALWAYS, loser.handle().index, ARM_KEY), "arm");
    get!(control.alarm(1), "alarm");
    wait_until("a session that is lost", || before.lost("relay").is_ok_and(|count| count == 1))?;
    for client in [0, 2] {
        let client = get!(clients[client].as_ref(), "bind");
        wait_until("a step", || client.steps().is_ok_and(|steps| steps.0 > 0))?;
        equal!(client.state().map(|state| state.0), Ok(5), "sum of another session");
    }
    equal!(loser.state(), Err(kernel(Error::SessionLost)), "the session whose step fails");
    before.since("relay", 3..=3, 0, 1)?;
    get!(control.arm(Hook::Step, Attack::None, 0, 0, 0, ARM_KEY), "disarm");
    get!(control.plan(Plan::Note, 0, 0), "plan");
    get!(control.alarm(1), "alarm");
    wait_until("an upcall", || control.diary().is_ok_and(|diary| diary.0 == 1))?;
    witness.intact()
}
