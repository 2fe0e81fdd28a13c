//! Long chains of services, and several calls of one service in a request: exact to the last one.

use rt::Error;
use rt::abi::FailureKind;
use victim::{ALWAYS, Attack, Peer, Strike, VictimClient};

use crate::check::{Check, Suite, Why, ensure, equal, get};
use crate::world::{Before, Expected, Witness, failure, kernel, object};

/// The longest chain there is.
const CHAIN: [Peer; 7] = [Peer::Victim, Peer::Vault, Peer::Ledger, Peer::Lazy, Peer::Bare, Peer::Mayfly, Peer::Tally];

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    for (hop, peer) in CHAIN.iter().enumerate().take(6) {
        for after in [false, true] {
            let when = if after { "after" } else { "before" };
            suite.run_first(format_args!("chain: {} fails once {when} its call", peer.name()), || once(hop, after));
            suite.run(format_args!("chain: {} keeps failing {when} its call", peer.name()), || always(hop, after));
        }
    }
    for outer in [Peer::Relay, Peer::Victim, Peer::Vault] {
        suite.run(format_args!("fan: several calls of one service by {}", outer.name()), || several(outer));
    }
    suite.run("fan: an endless loop of nested calls", endless);
}

/// The session with the first service of the chain.
struct Chain {
    client: VictimClient,
}

impl Chain {
    fn new() -> Result<Self, Why> {
        Ok(Chain { client: get!(VictimClient::bind_to(CHAIN[0].name()), "bind") })
    }

    /// The sums along the chain: each service's account with the one before it. `bare` has none.
    fn sums(&self) -> Result<[u32; CHAIN.len()], Why> {
        let mut sums = [0; CHAIN.len()];
        for (length, sum) in sums.iter_mut().enumerate() {
            let (own, inner, code) = get!(self.pass(length, 0, Strike::NONE, 0), "pass");
            equal!(code, 0, "code of a request over {length} calls");
            *sum = if length == 0 { own } else { inner };
        }
        Ok(sums)
    }

    /// A request that goes over so many calls.
    fn pass(
        &self,
        length: usize,
        amount: u32,
        strike: Strike,
        until: u32,
    ) -> Result<(u32, u32, u32), rt::CallError<victim::VictimError>> {
        self.client.pass(Peer::route(&CHAIN[1..=length]), amount, strike, 0, until)
    }
}

/// The sums with an amount added from the first to the last-th; `bare` keeps none.
fn grown(mut sums: [u32; CHAIN.len()], last: usize, amount: u32) -> [u32; CHAIN.len()] {
    for (sum, peer) in sums.iter_mut().zip(CHAIN).take(last + 1) {
        *sum += if peer == Peer::Bare { 0 } else { amount };
    }
    sums
}

fn strike(hop: usize, after: bool) -> Strike {
    Strike { attack: Attack::Panic, hop: hop as u8, after }
}

/// How often a service was built.
fn builds(peer: Peer) -> Result<u32, Why> {
    let client = get!(VictimClient::bind_to(peer.name()), "bind");
    Ok(get!(client.state(), "state").3)
}

/// Every service of the chain sees the request once.
fn once(hop: usize, after: bool) -> Check {
    let mut witness = Witness::new()?;
    let chain = Chain::new()?;
    let before = chain.sums()?;
    let failures = failure(0)?.number;
    let (_, _, code) = get!(chain.pass(6, 10, strike(hop, after), builds(CHAIN[hop])? + 1), "pass");
    equal!(code, 0, "code");
    equal!(chain.sums()?, grown(before, 6, 10), "sums");
    equal!(failure(0)?.number, failures + 1, "failures");
    let name = CHAIN[hop].name();
    Expected { object: name, kind: FailureKind::Panic, method: None, session: None, address: None }.recorded(0)?;
    witness.intact()
}

/// Nothing of the request is left at the service that fails, nor behind it.
fn always(hop: usize, after: bool) -> Check {
    let mut witness = Witness::new()?;
    let chain = Chain::new()?;
    let before = chain.sums()?;
    let failures = object(CHAIN[hop].name())?.failures;
    let result = chain.pass(6, 10, strike(hop, after), ALWAYS);
    let now = chain.sums()?;
    if after {
        // Calls behind it had taken effect: the request is undone as a whole.
        equal!(result, Err(kernel(Error::ServerFault)), "result");
        equal!(now, before, "sums");
    } else if hop == 0 {
        equal!(result, Err(kernel(Error::ServerFault)), "result");
        equal!(now, before, "sums");
    } else {
        // The service before it is told, and goes on.
        equal!(get!(result, "pass").2, Error::ServerFault as u32, "code");
        equal!(now, grown(before, hop - 1, 10), "sums");
    }
    equal!(object(CHAIN[hop].name())?.failures, failures + 2, "failures");
    witness.intact()
}

/// A service that is called several times in a request: its account is undone to what it was before the first call, or,
/// if one call fails by itself, to what it was before that one.
fn several(outer: Peer) -> Check {
    let mut witness = Witness::new()?;
    let client = get!(VictimClient::bind_to(outer.name()), "bind");
    let inner = match outer {
        Peer::Victim => Peer::Vault,
        Peer::Vault => Peer::Ledger,
        _ => Peer::Victim,
    };
    let route = Peer::route(&[inner]);
    let fan = |times, strike, until| client.fan(route, times, 7, strike, 0, until);
    let (own, sum, code) = get!(fan(1, Strike::NONE, 0), "one call");
    equal!(code, 0, "code");
    equal!(fan(5, Strike::NONE, 0), Ok((own + 7, sum + 35, 0)), "result of five calls");
    let until = builds(outer)? + 1;
    equal!(
        fan(5, Strike::after(Attack::Panic), until),
        Ok((own + 14, sum + 70, 0)),
        "five calls, then a failure, once"
    );
    let result = fan(5, Strike::after(Attack::Panic), ALWAYS);
    equal!(result, Err(kernel(Error::ServerFault)), "five calls, then a failure, each time");
    let until = builds(inner)? + 1;
    let result = fan(5, Strike::before(Attack::Panic).at_next(), until);
    equal!(result, Ok((own + 21, sum + 105, 0)), "five calls, of which the last fails once");
    let result = fan(5, Strike::before(Attack::Panic).at_next(), ALWAYS);
    equal!(result, Ok((own + 28, 0, Error::ServerFault as u32)), "five calls, of which the last keeps failing");
    equal!(fan(1, Strike::NONE, 0), Ok((own + 35, sum + 105 + 28 + 7, 0)), "result in the end");
    witness.intact()
}

/// Time in nested calls is not the caller's, but its own is: it comes to its end, and nothing is left of all the calls.
fn endless() -> Check {
    let mut witness = Witness::new()?;
    let relay = get!(VictimClient::bind_to("relay"), "bind");
    let route = Peer::route(&[Peer::Tally]);
    let (own, sum, code) = get!(relay.pass(route, 1, Strike::NONE, 0, 0), "pass");
    equal!(code, 0, "code");
    let (before, tally) = (Before::of("relay")?, Before::of("tally")?);
    let result = relay.pass(route, 1, Strike::before(Attack::CallForever), 0, ALWAYS);
    ensure!(result == Err(kernel(Error::ServerFault)), "result: {result:?}");
    before.since("relay", 2..=3, 1, 0)?;
    tally.untouched("tally")?;
    Expected { object: "relay", kind: FailureKind::Budget, method: None, session: None, address: None }.recorded(0)?;
    equal!(relay.pass(route, 1, Strike::NONE, 0, 0), Ok((own + 1, sum + 1, 0)), "sums and code after that");
    witness.intact()
}
