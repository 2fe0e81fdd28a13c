//! Many sessions and processes: ASIDs, pools, quotas, and that everything comes back.

use alloc::vec::Vec;

use hostile::Role;
use rt::abi::KernelCall;
use rt::abi::call::{name_words, pack_name};
use rt::abi::info::{MemoryInfo, Pool};
use rt::{Error, sys};
use victim::{Attack, VictimClient};

use crate::check::{Check, Suite, ensure, equal, get};
use crate::clients::{call, checked, kill, spawn};
use crate::world::{Before, Witness, in_use, memory, process, settle, wait_until};

/// Sessions open at once: more than there are ASIDs.
const SESSIONS: usize = 340;
/// Processes started and ended, one after the other.
const CYCLES: u32 = 200;

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    suite.run("sessions: more than there are ASIDs, through crashes", many);
    suite.run("sessions: the quota of the client", quota);
    suite.run("sessions: what a service accepts", accepted);
    suite.run("sessions: a new one starts with zeros, whoever had its memory before", zeroed);
    suite.run("processes: a new one starts with zeros, whoever had its memory before", || checked(Role::Fresh, 0));
    suite.run("processes: everything comes back after 200 of them", cycles);
    suite.run("processes: everything comes back after 40 killed ones", killed);
    suite.run("processes: the quota of children", children);
}

/// Each session keeps its own state while the ASIDs start anew several times and the service is rebuilt. Others are in
/// the midst of calls meanwhile: their contexts lose their ASIDs, too.
fn many() -> Check {
    let mut witness = Witness::new()?;
    let others = [spawn(Role::Counter, 0)?, spawn(Role::NestedWaiter, 0)?, spawn(Role::Counter, 0)?];
    let rollovers = memory()?.asid_rollovers;
    let before = Before::of("victim")?;
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        clients.push(get!(VictimClient::bind(), "bind"));
    }
    for round in 1..=6 {
        for (client, amount) in clients.iter().zip(1u32..) {
            equal!(
                client.add(amount).map(|sums| sums.0),
                Ok(round * amount),
                "sum of session {amount} in round {round}"
            );
        }
        let culprit = &clients[(round as usize * 57) % SESSIONS];
        let (sum, _, _, builds) = get!(culprit.state(), "state");
        equal!(
            culprit.attack(Attack::Store, 0, builds + 1),
            Ok(sum + victim::TRACE),
            "result of a failure in round {round}"
        );
        // Back to what the others expect.
        get!(culprit.add(victim::TRACE.wrapping_neg()), "add");
    }
    for (client, amount) in clients.iter().zip(1u32..) {
        equal!(client.state().map(|state| state.0), Ok(6 * amount), "sum of session {amount} in the end");
    }
    before.since("victim", 6..=6, 0, 0)?;
    let rollovers = memory()?.asid_rollovers - rollovers;
    ensure!(rollovers > 0, "the ASIDs did not start anew");
    for other in others {
        kill(other)?;
    }
    witness.intact()
}

/// Tries to open a session; returns the error's code and the pool that it names.
fn bind(service: &str) -> (u32, u32) {
    call(KernelCall::Bind, &name_words(&pack_name(service)))
}

/// Opens sessions until there is an error; returns how many, and the error.
fn open_all(service: &str, clients: &mut Vec<VictimClient>) -> Result<(), Error> {
    loop {
        clients.push(VictimClient::bind_to(service)?);
    }
}

fn quota() -> Check {
    let mut witness = Witness::new()?;
    let mut clients = Vec::new();
    equal!(open_all("victim", &mut clients), Err(Error::Exhausted), "end of the sessions");
    // The manifest says 380; the witness has three.
    equal!(clients.len(), 377, "sessions");
    equal!(bind("bare"), (Error::Exhausted as u32, Pool::ClientBindings as u32), "a session with another service");
    witness.intact()?;
    get!(clients.swap_remove(100).unbind(), "unbind");
    ensure!(VictimClient::bind_to("bare").is_ok(), "a session instead of another one");
    ensure!(clients.iter().all(|client| client.add(1).map(|sums| sums.0) == Ok(1)), "a session does not work");
    drop(clients);
    witness.intact()
}

fn accepted() -> Check {
    let mut witness = Witness::new()?;
    let mut clients = Vec::new();
    equal!(open_all("ledger", &mut clients), Err(Error::Exhausted), "end of the sessions");
    // Eight are accepted, but nobody who has one gets the last; other services may have two.
    ensure!((5..=7).contains(&clients.len()), "{} sessions", clients.len());
    equal!(bind("ledger"), (Error::Exhausted as u32, Pool::ServerBindings as u32), "one more session");
    ensure!(VictimClient::bind_to("bare").is_ok(), "a session with another service");
    checked(Role::Newcomer, 0)?;
    let observer = spawn(Role::Observer, 0)?;
    wait_until("sessions of an observer", || process(observer).bindings == 2)?;
    // Now there is none for anybody.
    let all = in_use()[0];
    checked(Role::Newcomer, 1)?;
    kill(observer)?;
    wait_until("a session", || in_use()[0] + 2 == all)?;
    checked(Role::Newcomer, 0)?;
    equal!(bind("ledger"), (Error::Exhausted as u32, Pool::ServerBindings as u32), "one more session still");
    clients.truncate(2);
    ensure!(VictimClient::bind_to("ledger").is_ok(), "a session after others were closed");
    witness.intact()
}

fn zeroed() -> Check {
    for service in ["victim", "vault"] {
        let zeros = get!(get!(VictimClient::bind_to(service), "bind").digest(), "digest");
        for round in 0..4 {
            let client = get!(VictimClient::bind_to(service), "bind");
            equal!(client.digest(), Ok(zeros), "digest of a new session with {service}, round {round}");
            equal!(client.state().map(|state| (state.0, state.1)), Ok((0, 0)), "sum and requests");
            get!(client.fill(0, 96, 0xfeed, Attack::None, 0, 0), "fill");
            get!(client.add(1000), "add");
        }
    }
    Ok(())
}

/// Page frames free; those in pools of page tables do not come back, and need not.
fn frames(info: &MemoryInfo) -> u32 {
    info.frames_free
}

fn cycles() -> Check {
    let mut witness = Witness::new()?;
    let before = in_use();
    let control = get!(VictimClient::bind(), "bind");
    let mut baseline = None;
    for cycle in 0..CYCLES {
        let child = spawn(Role::Guest, cycle)?;
        equal!(sys::wait(child), Ok(cycle), "status of client {cycle}");
        if cycle == 3 {
            // By now the pools of page tables are as large as they need to be.
            wait_until("sessions that end", || in_use()[0] == before[0] + 1)?;
            baseline = Some((memory()?, get!(control.counts(), "counts")));
        }
    }
    wait_until("sessions that end", || in_use()[0] == before[0] + 1)?;
    let Some((memory_then, counts_then)) = baseline else { return Ok(()) };
    let (memory_now, counts_now) = (memory()?, get!(control.counts(), "counts"));
    equal!(frames(&memory_now), frames(&memory_then), "free page frames");
    equal!(memory_now.bindings_free, memory_then.bindings_free, "free bindings");
    equal!(memory_now.tables_free, memory_then.tables_free, "free page tables");
    equal!(memory_now.processes_free, memory_then.processes_free, "free processes");
    equal!(counts_now.0 - counts_then.0, CYCLES - 4, "sessions opened");
    equal!(counts_now.1 - counts_then.1, CYCLES - 4, "sessions closed");
    witness.intact()
}

fn killed() -> Check {
    let mut witness = Witness::new()?;
    let before = in_use();
    let mut baseline = 0;
    for round in 0..40 {
        let role = [Role::Waiter, Role::Counter, Role::NestedWaiter, Role::Random][round % 4];
        let child = spawn(role, round as u32)?;
        get!(sys::pause(round as u32 % 3), "pause");
        kill(child)?;
        if round == 7 || round == 39 {
            settle(before)?;
            let frames = frames(&memory()?);
            if round == 7 {
                baseline = frames;
            } else {
                equal!(frames, baseline, "free page frames");
            }
        }
    }
    witness.intact()
}

fn children() -> Check {
    let mut witness = Witness::new()?;
    let mut children = Vec::new();
    let error = loop {
        match sys::spawn("hostile", Role::Guest.with(1)) {
            Ok(child) => children.push(child),
            Err(error) => break error,
        }
    };
    equal!(error, Error::Exhausted, "end of the children");
    let result = call(KernelCall::Spawn, &name_words(&pack_name("hostile")));
    equal!(result, (Error::Exhausted as u32, Pool::Processes as u32), "one more child");
    equal!(children.len(), 40, "children, of which the manifest allows 40");
    // Some wait for a session to be free: `vault` accepts eight. Those fail, and say so.
    for child in children {
        let status = get!(sys::wait(child), "wait");
        ensure!(status == 1 || (1000..2000).contains(&status), "status {status}");
    }
    let child = get!(sys::spawn("hostile", Role::Guest.with(7)), "spawn");
    equal!(sys::wait(child), Ok(7), "status of one more child");
    witness.intact()
}
