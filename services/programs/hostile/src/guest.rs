//! Roles that use services by their interfaces, well or ill.

use hostile::WORK;
use hostile::rival::{self, Rival};
use rt::abi::layout::{HEAP_BASE, STACK_TOP};
use rt::{CallError, Error, sys};
use tally::TallyClient;
use victim::{ALWAYS, Attack, HEAP, Peer, STACK, Strike, VictimClient, case, harm};

use crate::{Checked, Line, ensure};

/// Lines of this file begin here.
const FILE: u32 = 1000;
/// Attempts to bind again before the back-off is said to have no end.
const PATIENCE: u32 = 2_000_000;

/// Uses what it binds to and leaves without a word.
pub fn guest(status: u32) -> Checked {
    let (Ok(victim), Ok(vault), Ok(tally)) =
        (VictimClient::bind(), VictimClient::bind_to("vault"), TallyClient::bind())
    else {
        return Err(Line(FILE + line!()));
    };
    ensure!(victim.add(3).is_ok_and(|(sum, _)| sum == 3));
    ensure!(vault.add(4).is_ok_and(|(sum, _)| sum == 4));
    ensure!(tally.add(5) == Ok(5));
    core::mem::forget((victim, vault, tally));
    sys::exit(status)
}

/// Does wrong itself.
pub fn case(number: u32) -> Checked {
    match case::all().nth(number as usize) {
        Some(case) => harm::strike(case.attack, case.argument),
        None => sys::exit(hostile::NO_ROLE),
    }
    // What should have ended it did not.
    Err(Line(FILE + line!()))
}

/// The quota of sessions is a limit with a clear error, and what is closed can be opened again.
pub fn quota() -> Checked {
    const QUOTA: usize = 6;
    let mut sessions = [const { None }; QUOTA];
    for session in &mut sessions {
        *session = VictimClient::bind().ok();
        ensure!(session.is_some());
    }
    ensure!(VictimClient::bind().err() == Some(Error::Exhausted));
    ensure!(TallyClient::bind().err() == Some(Error::Exhausted));
    sessions[QUOTA / 2] = None;
    ensure!(TallyClient::bind().is_ok());
    ensure!(sessions.iter().flatten().all(|session| session.add(1).is_ok_and(|(sum, _)| sum == 1)));
    Ok(())
}

/// The last sessions of a service are for those who have none.
pub fn newcomer(left: u32) -> Checked {
    let first = VictimClient::bind_to("ledger");
    if left == 1 {
        ensure!(first.err() == Some(Error::Exhausted));
        return Ok(());
    }
    let Ok(first) = first else { return Err(Line(FILE + line!())) };
    ensure!(VictimClient::bind_to("ledger").err() == Some(Error::Exhausted));
    // The observers are there to see changes.
    ensure!(first.add(0).is_ok_and(|(sum, _)| sum == 0));
    // One for one it may have.
    ensure!(first.unbind().is_ok());
    ensure!(VictimClient::bind_to("ledger").is_ok());
    Ok(())
}

/// Takes part in a tournament; the status says how often it counted.
pub fn rival(parameter: u32) -> Checked {
    let (number, seed) = (parameter & 3, parameter >> 2);
    let Ok(mut rival) = Rival::new(number, seed) else { return Err(Line(FILE + line!())) };
    for _ in 0..rival::REQUESTS {
        ensure!(rival.request().is_ok());
        ensure!(sys::yield_now().is_ok());
    }
    sys::exit(rival::COUNTED + rival.counts())
}

/// Loses its session for what it does, and nothing else.
pub fn crasher() -> Checked {
    let (Ok(lazy), Ok(other)) = (VictimClient::bind_to("lazy"), VictimClient::bind_to("lazy")) else {
        return Err(Line(FILE + line!()));
    };
    let Ok(tally) = TallyClient::bind() else { return Err(Line(FILE + line!())) };
    ensure!(tally.add(1) == Ok(1) && other.add(1).is_ok_and(|(sum, _)| sum == 1));
    let crash = |session: &VictimClient| session.attack(Attack::Panic, 0, ALWAYS);
    // The manifest says: three, whichever session they come from.
    ensure!(crash(&lazy) == Err(CallError::Kernel(Error::ServerFault)));
    ensure!(crash(&other) == Err(CallError::Kernel(Error::ServerFault)));
    ensure!(crash(&lazy) == Err(CallError::Kernel(Error::Blamed)));
    ensure!(crash(&lazy).is_err_and(|error| error.session_is_gone()));
    ensure!(lazy.state().is_err_and(|error| error.session_is_gone()));
    ensure!(VictimClient::bind_to("lazy").err() == Some(Error::Blamed));
    // Other services take it as before.
    ensure!(tally.add(1) == Ok(2));
    for _ in 0..PATIENCE {
        match VictimClient::bind_to("lazy") {
            Err(Error::Blamed) => {}
            Ok(again) => {
                ensure!(again.add(7).is_ok_and(|(sum, _)| sum == 7));
                return Ok(());
            }
            Err(_) => return Err(Line(FILE + line!())),
        }
    }
    Err(Line(FILE + line!()))
}

/// Loses a session, has another one, and does not wait for the end of either.
pub fn deserter() -> Checked {
    let (Ok(lazy), Ok(other)) = (VictimClient::bind_to("lazy"), VictimClient::bind_to("lazy")) else {
        return Err(Line(FILE + line!()));
    };
    let crash = || lazy.attack(Attack::Panic, 0, ALWAYS);
    ensure!((0..10).any(|_| crash() == Err(CallError::Kernel(Error::Blamed))));
    core::mem::forget((lazy, other));
    Ok(())
}

/// Shares a busy service.
pub fn contender(times: u32) -> Checked {
    let Ok(victim) = VictimClient::bind() else { return Err(Line(FILE + line!())) };
    for _ in 0..times {
        ensure!(victim.work(WORK).is_ok());
    }
    ensure!(victim.state().is_ok_and(|(sum, requests, _, _)| sum == times && requests == times));
    Ok(())
}

/// Makes progress where everyone can see it.
pub fn counter() -> Checked {
    let Ok(bare) = VictimClient::bind_to("bare") else { return Err(Line(FILE + line!())) };
    loop {
        let Ok((sum, _)) = bare.add(1) else { return Err(Line(FILE + line!())) };
        // For different lengths of time: with a rhythm of their own, two of these could keep step with the clock, by which it is
        // measured who runs.
        (0..sum.wrapping_mul(2_654_435_761) >> 23).for_each(|_| core::hint::black_box(()));
    }
}

/// Sees what is committed, and only that.
pub fn observer() -> Checked {
    let (Ok(ledger), Ok(bare)) = (VictimClient::bind_to("ledger"), VictimClient::bind_to("bare")) else {
        return Err(Line(FILE + line!()));
    };
    let look = || ledger.state().map(|(_, _, total, _)| total);
    let first = look();
    ensure!(first.is_ok());
    loop {
        ensure!(look() == first);
        ensure!(bare.add(1).is_ok());
    }
}

/// Is killed while it waits.
pub fn waiter() -> Checked {
    let Ok(victim) = VictimClient::bind() else { return Err(Line(FILE + line!())) };
    loop {
        ensure!(victim.work(WORK).is_ok());
    }
}

/// Is killed while it is in a nested request.
pub fn nested_waiter() -> Checked {
    let Ok(relay) = VictimClient::bind_to("relay") else { return Err(Line(FILE + line!())) };
    let route = Peer::route(&[Peer::Ledger]);
    loop {
        ensure!(relay.pass(route, 1, Strike::after(Attack::Work), WORK, ALWAYS).is_ok());
    }
}

/// What was another process's before is not to be found.
pub fn fresh() -> Checked {
    // The allocator's first record lies at the start of the heap; the stack is in use at its top.
    let unused = [(HEAP_BASE + 64, HEAP_BASE + HEAP), (STACK_TOP - STACK, STACK_TOP - STACK / 2)];
    for (start, end) in unused {
        ensure!((start..end).step_by(4).all(|address| harm::load(address) == 0));
    }
    Ok(())
}
