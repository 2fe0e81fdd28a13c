//! Several clients at a time: waiting, fairness, progress during a recovery, what is seen of others' requests, death.

use hostile::{Role, WORK};
use rt::{Error, sys};
use victim::{ALWAYS, ARM_KEY, Attack, Hook, Peer, Strike, VictimClient};

use crate::check::{Check, Suite, Why, ensure, equal, get};
use crate::clients::{checked, expect_good, kill, spawn};
use crate::world::{Before, Witness, kernel, object, process, wait_until};

/// `ProcessInfo::state` of a process that waits.
const WAITING: u32 = 2;

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    suite.run("sharing: two clients of one busy service take turns", turns);
    suite.run("sharing: five clients of one busy service take turns", five);
    suite.run("sharing: a waiting client is killed", killed_waiting);
    suite.run("sharing: a client is killed in a call", killed_inside);
    suite.run("sharing: a client is killed in a nested request", killed_nested);
    suite.run("sharing: others run while a service recovers", progress);
    suite.run("sharing: nobody sees what is not committed", || isolated(false));
    suite.run("sharing: nobody sees what will be undone", || isolated(true));
    suite.run("sharing: a client that loses its session leaves at once", deserted);
    suite.run("sharing: clients keep crashing a service that others use", crowd);
}

/// Requests of different clients alternate, as long as there are any.
fn contend(clients: u32, times: u32) -> Check {
    let mut witness = Witness::new()?;
    let board = get!(VictimClient::bind(), "bind");
    let before = get!(board.work(0), "work");
    let mut children = [0; 8];
    for child in &mut children[..clients as usize] {
        *child = spawn(Role::Contender, times)?;
    }
    for child in &children[..clients as usize] {
        expect_good(*child, Role::Contender)?;
    }
    let changes = get!(board.work(0), "work") - before;
    // Most calls by another client than the one before, once all of them have started; a slice that ends within a call
    // lets the same client come twice.
    let least = clients * times * 5 / 8;
    ensure!(
        changes >= least,
        "{changes} changes of the client in {} calls, at least {least} expected",
        clients * times
    );
    witness.intact()
}

fn turns() -> Check {
    contend(2, 16)
}

fn five() -> Check {
    contend(5, 6)
}

/// Waits until a process waits.
fn waits(child: u32) -> Check {
    wait_until("a client in a queue", || process(child).state == WAITING)
}

fn killed_waiting() -> Check {
    let mut witness = Witness::new()?;
    let (first, second, third) = (spawn(Role::Waiter, 0)?, spawn(Role::Waiter, 0)?, spawn(Role::Waiter, 0)?);
    for round in 0..3 {
        waits(second)?;
        if round == 1 {
            kill(second)?;
            break;
        }
    }
    waits(third)?;
    kill(third)?;
    witness.intact()?;
    kill(first)?;
    witness.intact()
}

fn killed_inside() -> Check {
    let mut witness = Witness::new()?;
    let control = get!(VictimClient::bind(), "bind");
    for _ in 0..5 {
        let (opened, closed, ..) = get!(control.counts(), "counts");
        let child = spawn(Role::Waiter, 0)?;
        get!(sys::pause(3), "pause");
        // Its call runs to the end of its budget at most; then `close` runs.
        kill(child)?;
        wait_until("close of a dead client's session", || {
            control.counts().is_ok_and(|counts| (counts.0, counts.1) == (opened + 1, closed + 1))
        })?;
    }
    witness.intact()
}

fn killed_nested() -> Check {
    let mut witness = Witness::new()?;
    let ledger = get!(VictimClient::bind_to("ledger"), "bind");
    let before = Before::of("ledger")?;
    for pause in [1, 2, 3, 5] {
        let child = spawn(Role::NestedWaiter, 0)?;
        get!(sys::pause(pause), "pause");
        kill(child)?;
        // Its request was committed or never was; either way the serial service is free.
        let (_, _, first, _) = get!(ledger.state(), "ledger");
        let (_, second) = get!(ledger.add(1), "ledger");
        equal!(second, first + 1, "sum of all");
    }
    before.untouched("ledger")?;
    witness.intact()
}

/// What `bare` has counted.
fn count(bare: &VictimClient) -> Result<u32, Why> {
    Ok(get!(bare.state(), "bare").2)
}

/// A recovery takes 20 ms of processor time here; who does not need the service goes on.
fn progress() -> Check {
    let mut witness = Witness::new()?;
    let (client, bare) = (get!(VictimClient::bind_to("mayfly"), "bind"), get!(VictimClient::bind_to("bare"), "bind"));
    let counter = spawn(Role::Counter, 0)?;
    get!(client.arm(Hook::Construct, Attack::Work, WORK * 8, ALWAYS, 0, ARM_KEY), "arm");
    let before = Before::of("mayfly")?;
    let (builds, start) = (get!(client.state(), "state").3, count(&bare)?);
    // Without the failure a call is over before the counter has its turn.
    get!(client.add(1), "add");
    let quiet = count(&bare)? - start;
    let start = count(&bare)?;
    get!(client.attack(Attack::Panic, 0, builds + 1), "a request that fails once");
    let busy = count(&bare)? - start;
    get!(client.arm(Hook::Construct, Attack::None, 0, 0, 0, ARM_KEY), "disarm");
    before.since("mayfly", 1..=1, 0, 0)?;
    ensure!(busy > quiet + 1000, "the counter went on by {busy} during a recovery, by {quiet} without one");
    kill(counter)?;
    witness.intact()
}

/// A request of `relay` has changed `ledger`, which is serial, and takes its time; an observer must not see the change
/// before the request commits, and never if it does not.
fn isolated(undone: bool) -> Check {
    let mut witness = Witness::new()?;
    let (relay, ledger) = (get!(VictimClient::bind_to("relay"), "bind"), get!(VictimClient::bind_to("ledger"), "bind"));
    let bare = get!(VictimClient::bind_to("bare"), "bind");
    let route = Peer::route(&[Peer::Ledger]);
    get!(relay.pass(route, 0, Strike::NONE, 0, 0), "pass");
    let total = get!(ledger.state(), "ledger").2;
    let observer = spawn(Role::Observer, 0)?;
    let start = count(&bare)?;
    wait_until("an observer at work", || count(&bare).is_ok_and(|count| count > start + 10))?;
    if undone {
        for _ in 0..3 {
            let result = relay.pass(route, 10, Strike::after(Attack::WorkThenPanic), WORK * 4, ALWAYS);
            equal!(result, Err(kernel(Error::ServerFault)), "result of a request that is undone");
        }
        let start = count(&bare)?;
        wait_until("an observer still at work", || count(&bare).is_ok_and(|count| count > start + 10))?;
        kill(observer)?;
        equal!(get!(ledger.state(), "ledger").2, total, "sum of all");
    } else {
        let start = count(&bare)?;
        let (_, _, code) = get!(relay.pass(route, 10, Strike::after(Attack::Work), WORK * 6, ALWAYS), "pass");
        let seen = count(&bare)? - start;
        equal!(code, 0, "code");
        equal!(get!(ledger.state(), "ledger").2, total + 10, "sum of all");
        // The observer waited: it had the processor, but not the ledger.
        ensure!(seen < 1000, "{seen} looks while the ledger was retained");
        let status = get!(sys::wait(observer), "wait");
        ensure!(status > 1000 && status < 2000, "the observer ended with {status} instead of seeing the change");
    }
    witness.intact()
}

/// `close` runs for the session that was revoked, and for the one that was not.
fn deserted() -> Check {
    let mut witness = Witness::new()?;
    let own = get!(VictimClient::bind_to("lazy"), "bind");
    let (opened, closed, ..) = get!(own.counts(), "counts");
    for round in 1..=5 {
        checked(Role::Deserter, 0)?;
        let now = (opened + 2 * round, closed + 2 * round);
        wait_until("`close` of both sessions", || own.counts().is_ok_and(|counts| (counts.0, counts.1) == now))?;
    }
    witness.intact()
}

/// Crashes of some do not cost the others anything but time.
fn crowd() -> Check {
    let mut witness = Witness::new()?;
    let own = get!(VictimClient::bind_to("lazy"), "bind");
    let lost = object("lazy")?.lost_sessions;
    let open = |counts: (u32, u32, u32, u32)| counts.0 - counts.1;
    let sessions = open(get!(own.counts(), "counts"));
    let children = [spawn(Role::Crasher, 0)?, spawn(Role::Crasher, 0)?, spawn(Role::Crasher, 0)?];
    for round in 1..=300 {
        equal!(own.add(1).map(|sums| sums.0), Ok(round), "sum in round {round}");
    }
    for child in children {
        expect_good(child, Role::Crasher)?;
    }
    equal!(own.add(1).map(|sums| sums.0), Ok(301), "sum in the end");
    equal!(object("lazy")?.lost_sessions, lost, "lost sessions");
    // Every session that was opened is closed, those included that were revoked.
    wait_until("the end of the crashers' sessions", || own.counts().is_ok_and(|counts| open(counts) == sessions))?;
    checked(Role::Quota, 0)?;
    witness.intact()
}
