//! Programs come and go, ten thousand of them, in every state that a program can be in: nothing is left of any.

use moth::{NAME, Role, WRONG};
use rt::abi::info::{MemoryInfo, ObjectState, ProcessInfo};
use rt::{Error, sys};
use victim::{ALWAYS, ARM_KEY, Attack, Hook, VictimClient};

use crate::check::{Check, Suite, Why, ensure, equal, fail, get};
use crate::clients::{KILLED, kill};
use crate::world::{Witness, in_use, memory, process, settle, wait_until};

/// Rounds after which the pools of page tables are as large as they need to be.
const WARM: u32 = 8;
/// Rounds between two looks whether all sessions of the dead are closed.
const BATCH: u32 = 32;
/// Moths of a chain, the first one not counted.
const CHAIN: u32 = 249;
/// States of [`rt::abi::info::ProcessInfo`].
const RUNS: u32 = 1;
const WAITS: u32 = 2;

/// Runs the tests. The numbers of moths add up to ten thousand.
pub fn run(suite: &mut Suite) {
    let ends = |role: Role| move |round: u32| equal_status(start(role, round & 0xff)?, round & 0xff);
    suite.run("lifecycle: 3700 moths that end at once", || steady(3700, ends(Role::Exit)));
    suite.run("lifecycle: 1000 moths that leave a session behind", || steady(1000, ends(Role::Leave)));
    suite.run("lifecycle: 1000 moths killed before their first instruction", newborn);
    suite
        .run("lifecycle: 500 moths killed when it is not their turn", || steady(500, |_| killed_as(Role::Yield, RUNS)));
    suite.run("lifecycle: 20 moths killed in the midst of their work", || {
        steady(20, |round| {
            let child = start(Role::Spin, 0)?;
            get!(sys::pause(1 + round % 3), "pause");
            kill(child)
        })
    });
    suite.run("lifecycle: 1000 moths killed while they wait for events", || {
        steady(1000, |_| killed_as(Role::Wait, WAITS))
    });
    suite.run("lifecycle: 500 moths killed with events pending", with_events);
    suite
        .run("lifecycle: 500 moths killed in a call", || steady(500, |round| killed_inside(Role::Hold, 1 + round % 3)));
    suite.run_first("lifecycle: a session of relay with victim", || equal_status(start(Role::Nest, 1)?, 0));
    suite.run("lifecycle: 250 moths killed in a nested call", || {
        steady(250, |round| killed_inside(Role::Nest, 1 + round % 3))
    });
    suite.run("lifecycle: 780 moths killed while they wait for a busy service", queued);
    suite.run("lifecycle: 300 moths killed while a service recovers", recovering);
    suite.run("lifecycle: 200 moths that were to be notified by a request that goes on", || steady(100, notified));
    suite.run("lifecycle: 250 moths, each started by the one before, which ends", chain);
    suite.run("lifecycle: those that outlive their parent count for its parent", swarm);
}

fn start(role: Role, parameter: u32) -> Result<u32, Why> {
    Ok(get!(sys::spawn(NAME, role.with(parameter)), "spawn"))
}

fn equal_status(child: u32, status: u32) -> Check {
    equal!(sys::wait(child), Ok(status), "status of a moth");
    Ok(())
}

/// What must be the same again: frames, sessions, page tables, processes.
fn pools(info: &MemoryInfo) -> [u32; 4] {
    [info.frames_free, info.bindings_free, info.tables_free, info.processes_free]
}

/// Runs so many rounds, and counts what there is of everything before and after them. Pools that grow once and are kept
/// (page tables) have done so in some rounds before.
fn steady(rounds: u32, mut round: impl FnMut(u32) -> Check) -> Check {
    let mut witness = Witness::new()?;
    let control = get!(VictimClient::bind(), "bind");
    let idle = in_use();
    let mut baseline = None;
    for number in 0..WARM + rounds {
        if number == WARM {
            settle(idle)?;
            baseline = Some((memory()?, get!(control.counts(), "counts")));
        }
        round(number)?;
        if number % BATCH == 0 {
            settle(idle)?;
        }
    }
    settle(idle)?;
    let Some((before, counts)) = baseline else { fail!("nothing was counted") };
    let (after, counts_after) = (memory()?, get!(control.counts(), "counts"));
    equal!(pools(&after), pools(&before), "free frames, sessions, tables, processes");
    equal!(counts_after.0 - counts_after.1, counts.0 - counts.1, "sessions that victim takes for open");
    // A view for each that came: those of the dead are used again, or this would have ended long ago.
    let rollovers = after.asid_rollovers - before.asid_rollovers;
    ensure!(rollovers <= rounds * 8 / 200 + 1, "{rollovers} times all ASIDs in {rounds} rounds");
    // All of the undo log is still there.
    get!(control.attack(Attack::WritePages, 2, ALWAYS), "writing to all pages");
    witness.intact()
}

/// Waits until a process is in this state.
fn is_in(child: u32, state: u32) -> Check {
    for _ in 0..4 {
        if process(child).state == state {
            return Ok(());
        }
        get!(sys::yield_now(), "yield");
    }
    wait_until("a state", || process(child).state == state)
}

fn killed_as(role: Role, state: u32) -> Check {
    let child = start(role, 0)?;
    get!(sys::yield_now(), "yield");
    is_in(child, state)?;
    kill(child)
}

/// A moth has so many sessions, and waits.
fn waits_with(child: u32, bindings: u32) -> Check {
    wait_until("a moth that waits", || {
        let info = process(child);
        info.bindings == bindings && info.state == WAITS
    })
}

fn with_events() -> Check {
    let teller = get!(VictimClient::bind(), "bind");
    steady(500, |_| {
        let child = start(Role::Wait, 0)?;
        get!(sys::yield_now(), "yield");
        waits_with(child, 1)?;
        get!(teller.tell(0, moth::TOLD, Attack::None, 0, 0), "tell");
        kill(child)
    })
}

fn killed_inside(role: Role, ticks: u32) -> Check {
    let child = start(role, ticks)?;
    get!(sys::yield_now(), "yield");
    waits_with(child, 1)?;
    kill(child)
}

/// Many of them: others have their turn between the two calls.
fn newborn() -> Check {
    let mut early = 0;
    steady(1000, |_| {
        let child = start(Role::Exit, 0)?;
        get!(sys::kill(child), "kill");
        match get!(sys::wait(child), "wait") {
            KILLED => early += 1,
            status => equal!(status, 0, "status of a moth"),
        }
        Ok(())
    })?;
    ensure!(early >= 200, "{early} of them");
    Ok(())
}

/// Lets moths go on until all of them wait; whether they do.
fn all_wait(children: &[u32]) -> Result<bool, Why> {
    for _ in 0..2 * children.len() {
        if children.iter().all(|child| process(*child).state == WAITS) {
            return Ok(true);
        }
        get!(sys::yield_now(), "yield");
    }
    Ok(false)
}

/// Kills moths, then waits for them. One whose call was over before may have ended itself.
fn kill_all(children: &[u32]) -> Check {
    for child in children {
        get!(sys::kill(*child), "kill");
    }
    for child in children {
        let status = get!(sys::wait(*child), "wait");
        ensure!(status == KILLED || status == 0, "status {status} of a moth");
    }
    Ok(())
}

/// One is in the service for a while; others want to call it, to open a session, or to close their own.
fn queued() -> Check {
    let mut reached = 0;
    steady(195, |round| {
        let early = [start(Role::Call, 0)?, start(Role::Part, 0)?];
        get!(sys::yield_now(), "yield");
        let (holder, late) = (start(Role::Hold, 4)?, start(Role::Part, 0)?);
        let mut order = [holder, late, early[0], early[1]];
        reached += u32::from(all_wait(&order)?);
        order.rotate_left(round as usize % 4);
        kill_all(&order)
    })?;
    ensure!(reached >= 180, "all waited in {reached} rounds only");
    Ok(())
}

fn recovering() -> Check {
    let control = get!(VictimClient::bind(), "bind");
    // Its constructor takes its time.
    get!(control.arm(Hook::Construct, Attack::Wait, 3, ALWAYS, u32::MAX, ARM_KEY), "arm");
    let mut reached = 0;
    let result = steady(100, |round| {
        let early = start(Role::Call, 0)?;
        get!(sys::yield_now(), "yield");
        let builds = get!(control.state(), "state").3;
        let mut order = [start(Role::Crash, builds)?, start(Role::Part, 0)?, early];
        let all = all_wait(&order)?;
        reached += u32::from(all && crate::world::object("victim")?.state == ObjectState::Recovering as u32);
        order.rotate_left(round as usize % 3);
        kill_all(&order)
    });
    get!(control.arm(Hook::Construct, Attack::None, 0, 0, 0, ARM_KEY), "disarm");
    result?;
    ensure!(reached >= 90, "victim recovered and all waited in {reached} rounds only");
    Ok(())
}

/// A session that is to be notified has ended by the time of the commit; another one has its number perhaps.
fn notified(_: u32) -> Check {
    let listener = start(Role::Wait, 0)?;
    get!(sys::yield_now(), "yield");
    waits_with(listener, 1)?;
    let teller = start(Role::Tell, 2)?;
    get!(sys::yield_now(), "yield");
    waits_with(teller, 1)?;
    kill(listener)?;
    let told = get!(sys::wait(teller), "wait");
    ensure!((3..WRONG).contains(&told), "status {told}");
    Ok(())
}

/// A moth that nobody but the suite is left to answer for.
fn orphan() -> Result<u32, Why> {
    let mut index = 0;
    while let Ok(info) = sys::info::<ProcessInfo>(index) {
        if info.state != 0 && rt::abi::call::name_str(&info.name) == NAME {
            return Ok(info.process);
        }
        index += 1;
    }
    fail!("no moth is left")
}

/// A chain uses two slots at a time, however long it is.
fn chain() -> Check {
    let before = in_use()[1];
    equal_status(start(Role::Chain, CHAIN)?, 0)?;
    let mut most = 0;
    wait_until("the end of a chain", || {
        most = most.max(in_use()[1]);
        in_use()[1] == before
    })?;
    ensure!(most <= before + 2, "{most} processes, {before} before");
    Ok(())
}

/// Each starts two and ends; the quota of forty is used up by those that go on. They are nobody's to end or to await.
fn swarm() -> Check {
    let before = in_use()[1];
    for round in 0..20 {
        equal!(sys::wait(start(Role::Swarm, 0)?), Ok(2), "moths started in round {round}");
    }
    equal!(in_use()[1], before + 40, "processes");
    equal!(sys::spawn(NAME, Role::Exit.with(0)), Err(Error::Exhausted), "one more");
    let child = orphan()?;
    equal!(sys::kill(child), Err(Error::NoSuchProcess), "killing another one's child");
    equal!(sys::wait(child), Err(Error::NoSuchProcess), "waiting for another one's child");
    let teller = get!(VictimClient::bind(), "bind");
    wait_until("the end of all", || {
        // Those that have opened their sessions by now.
        let told = teller.tell(0, 4 * moth::TOLD, Attack::None, 0, 0);
        told.is_ok() && in_use()[1] == before
    })?;
    equal!(sys::wait(start(Role::Exit, 5)?), Ok(5), "one more then");
    Ok(())
}
