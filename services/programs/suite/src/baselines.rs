//! Images that recover in another way, to be compared with: each does what its name says.

use rt::abi::image::Recovery;
use rt::abi::info::ObjectState;
use rt::abi::layout::{PAGE, SSR_BASE};
use rt::abi::ssr::HEADER;
use rt::abi::{Error, FailureKind};
use victim::{Attack, Peer, Strike, TRACE, VictimClient};

use crate::check::{Check, Suite, Why, ensure, equal, get};
use crate::world::{Before, Expected, kernel, object};

/// Runs the tests of an image that recovers in this way. A service fails in one of them only: it may be its end.
pub fn run(suite: &mut Suite, recovery: Recovery) {
    let name = recovery.name();
    for service in ["victim", "vault"] {
        suite.run_first(format_args!("baseline {name}: {service}: a call that fails once"), || call(recovery, service));
    }
    suite.run_first(format_args!("baseline {name}: a call that wrecks the header of its SSR"), || header(recovery));
    suite.run_first(format_args!("baseline {name}: a write behind the own SSR"), || neighbour(recovery));
    suite.run_first(format_args!("baseline {name}: a call that fails after a nested one"), || nested(recovery));
}

/// Two sessions with a service, whose sums are 5 and 7.
fn sessions(service: &str) -> Result<[VictimClient; 2], Why> {
    let clients = [get!(VictimClient::bind_to(service), "bind"), get!(VictimClient::bind_to(service), "bind")];
    equal!(clients[0].add(5), Ok((5, 5)), "sums");
    equal!(clients[1].add(7), Ok((7, 12)), "sums");
    Ok(clients)
}

/// Until when a strike is one that happens once.
fn once(client: &VictimClient) -> Result<u32, Why> {
    Ok(get!(client.state(), "state").3 + 1)
}

/// The service is given up: nobody is served any more.
fn given_up(service: &str, clients: &[VictimClient]) -> Check {
    for client in clients {
        equal!(client.state(), Err(kernel(Error::Stopped)), "result of another call");
    }
    equal!(VictimClient::bind_to(service).map(|_| ()), Err(Error::Stopped), "another session");
    equal!(object(service)?.state, ObjectState::Stopped as u32, "state");
    Ok(())
}

/// The service knows nothing any more, and serves whoever binds anew.
fn forgotten(service: &str, clients: &[VictimClient]) -> Check {
    for client in clients {
        equal!(client.state(), Err(kernel(Error::SessionLost)), "result of another call");
    }
    let fresh = get!(VictimClient::bind_to(service), "bind anew");
    equal!(fresh.add(1), Ok((1, 1)), "sums of a new session");
    Ok(())
}

fn call(recovery: Recovery, service: &str) -> Check {
    let clients = sessions(service)?;
    let before = Before::of(service)?;
    let result = clients[0].attack(Attack::Panic, 0, once(&clients[0])?);
    let changes = match recovery {
        Recovery::None => {
            equal!(result, Err(kernel(Error::Stopped)), "result of the call");
            return given_up(service, &clients);
        }
        Recovery::Blind => {
            equal!(result, Err(kernel(Error::SessionLost)), "result of the call");
            forgotten(service, &clients)?;
            return before.since(service, 1..=1, 0, 2);
        }
        // Once by the attempt that failed.
        Recovery::Kept | Recovery::Ssr => 2,
        Recovery::Rollback => 1,
    };
    equal!(result, Ok(5 + changes * TRACE), "result of the call");
    let state = |client: &VictimClient| client.state().map(|(sum, requests, all, _)| (sum, requests, all));
    equal!(state(&clients[0]), Ok((5 + changes * TRACE, 1 + changes, 12 + changes * TRACE)), "state");
    equal!(state(&clients[1]), Ok((7, 1, 12 + changes * TRACE)), "state of the other session");
    before.since(service, 1..=1, 0, 0)
}

fn header(recovery: Recovery) -> Check {
    let clients = sessions("mayfly")?;
    let result = clients[0].attack(Attack::Magic, 0, once(&clients[0])?);
    match recovery {
        Recovery::None => {
            equal!(result, Err(kernel(Error::Stopped)), "result of the call");
            given_up("mayfly", &clients)?;
        }
        Recovery::Blind => {
            equal!(result, Err(kernel(Error::SessionLost)), "result of the call");
            forgotten("mayfly", &clients)?;
        }
        Recovery::Kept | Recovery::Ssr => {
            equal!(result, Err(kernel(Error::SessionLost)), "result of the call");
            equal!(clients[1].add(0).map(|sums| sums.0), Ok(7), "sum of the other session");
        }
        Recovery::Rollback => {
            equal!(result, Ok(5 + TRACE), "result of the call");
            equal!(clients[1].add(0).map(|sums| sums.0), Ok(7), "sum of the other session");
        }
    }
    Expected { object: "mayfly", kind: FailureKind::SsrDamaged, method: None, session: None, address: None }.recorded(0)
}

fn neighbour(recovery: Recovery) -> Check {
    let address = SSR_BASE + PAGE + HEADER;
    let [own, other] = sessions("relay")?;
    let before = Before::of("relay")?;
    let mut result = own.attack(Attack::Store, address, once(&own)?);
    if recovery == Recovery::Kept {
        equal!(result, Ok(5 + TRACE), "result of the write");
        before.untouched("relay")?;
        equal!(other.state().map(|state| state.0), Ok(u32::MAX), "the sum that was written to");
        // Nothing lies there any more when that session has ended.
        drop(other);
        result = own.attack(Attack::Store, address, once(&own)?);
    } else if matches!(recovery, Recovery::Ssr | Recovery::Rollback) {
        equal!(other.state().map(|state| state.0), Ok(7), "the sum of the other session");
    }
    ensure!(result.is_ok() != matches!(recovery, Recovery::None | Recovery::Blind), "result: {result:?}");
    let (kind, address) = (FailureKind::DataAbort, Some(address));
    Expected { object: "relay", kind, method: None, session: None, address }.recorded(0)
}

fn nested(recovery: Recovery) -> Check {
    let bind = || VictimClient::bind_to("ledger");
    let pass = |client: &VictimClient, strike, until| client.pass(Peer::route(&[Peer::Lazy]), 10, strike, 0, until);
    let client = get!(bind(), "bind");
    let (own, inner, _) = get!(pass(&client, Strike::NONE, 0), "pass");
    let result = pass(&client, Strike::after(Attack::Panic), once(&client)?);
    match recovery {
        Recovery::None => {
            equal!(result, Err(kernel(Error::Stopped)), "result of the call");
            return given_up("ledger", &[client]);
        }
        Recovery::Blind => {
            equal!(result, Err(kernel(Error::SessionLost)), "result of the call");
            let client = get!(bind(), "bind anew");
            equal!(pass(&client, Strike::NONE, 0), Ok((10, inner + 20, 0)), "sums, the inner one with what failed");
        }
        Recovery::Kept | Recovery::Ssr => equal!(result, Ok((own + 20, inner + 20, 0)), "sums with what failed"),
        Recovery::Rollback => equal!(result, Ok((own + 10, inner + 10, 0)), "sums"),
    }
    Ok(())
}
