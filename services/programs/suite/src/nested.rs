//! Requests that go through several services: undone as one, retried as one, and nobody restarted for another's fault.

use alloc::format;

use rt::abi::failure::{Moment, SabotageKind};
use rt::abi::{FailureKind, Sabotage};
use rt::{CallError, Error, sys};
use victim::{ALWAYS, ARM_KEY, Attack, Hook, Peer, Strike, VictimClient, VictimError};

use crate::check::{Check, Suite, Why, ensure, equal, get};
use crate::world::{Before, Expected, Witness, kernel};

/// Argument of strikes: an address that nobody has, and a value that no header has.
const WILD: u32 = 0xffff_fff0;

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    suite.run_first("nested: too many services", too_deep);
    suite.run_first("nested: a service that is active in the request is not entered again", reentry);
    suite.run_first("nested: effects of all services of a request", commits);
    for after in [false, true] {
        let when = if after { "after" } else { "before" };
        suite.run(format_args!("nested: the outer service fails once {when} its call"), || outer_fails_once(after));
        suite.run(format_args!("nested: the outer service keeps failing {when} its call"), || {
            outer_keeps_failing(after)
        });
    }
    suite.run("nested: the inner service fails once", inner_fails_once);
    suite.run("nested: the inner service keeps failing", inner_keeps_failing);
    suite.run_first("nested: the one in the middle fails once after its call", middle_fails_once);
    suite.run("nested: the one in the middle keeps failing after its call", middle_keeps_failing);
    for &kind in SabotageKind::ALL {
        suite.run(format_args!("nested: sabotage {} at the end of the outer service", kind.name()), || {
            sabotaged("relay", kind)
        });
        suite.run(format_args!("nested: sabotage {} at the end of the inner service", kind.name()), || {
            sabotaged("victim", kind)
        });
    }
    suite.run_first("nested: a serial service in the middle fails", serial_in_the_middle);
    suite.run("nested: a lost session is told to the service that held it, and bound to again", lost_inside);
    suite.run("nested: flush of an inner session after the commit", inner_flush);
}

/// Services of which the first calls the second: small and large state, serial or not, reloaded at once or lazily.
const PAIRS: [(Peer, Peer); 6] = [
    (Peer::Relay, Peer::Victim),
    (Peer::Relay, Peer::Ledger),
    (Peer::Relay, Peer::Tally),
    (Peer::Victim, Peer::Vault),
    (Peer::Vault, Peer::Ledger),
    (Peer::Ledger, Peer::Lazy),
];

/// The session with an outer service, and what stands behind it: a request changes both by the same amount.
struct Pair {
    client: VictimClient,
    outer: &'static str,
    inner: Peer,
    sums: (u32, u32),
}

impl Pair {
    fn of((outer, inner): (Peer, Peer)) -> Result<Self, Why> {
        let client = get!(VictimClient::bind_to(outer.name()), "bind to {}", outer.name());
        let (own, inner_sum, code) = get!(client.pass(Peer::route(&[inner]), 0, Strike::NONE, 0, 0), "pass");
        equal!(code, 0, "code of the first call");
        Ok(Pair { client, outer: outer.name(), inner, sums: (own, inner_sum) })
    }

    fn pass(&self, amount: u32, strike: Strike, until: u32) -> Result<(u32, u32, u32), CallError<VictimError>> {
        self.client.pass(Peer::route(&[self.inner]), amount, strike, WILD, until)
    }

    /// The sums have grown by so much, and the request works.
    fn grown(&mut self, own: u32, inner: u32) -> Check {
        let (own_sum, inner_sum, code) = get!(self.pass(0, Strike::NONE, 0), "pass");
        equal!(code, 0, "code of the call");
        equal!(
            (own_sum, inner_sum),
            (self.sums.0 + own, self.sums.1 + inner),
            "sums of relay and {}",
            self.inner.name()
        );
        self.sums = (own_sum, inner_sum);
        Ok(())
    }
}

/// How often a service was built.
fn builds(service: &str) -> Result<u32, Why> {
    let client = get!(VictimClient::bind_to(service), "bind to {service}");
    client.state().map(|state| state.3).map_err(|error| format!("state of {service}: {error:?}"))
}

/// Reloads of a service since it was built; `None` for the one that does not count them.
fn reloads(service: Peer) -> Result<Option<u32>, Why> {
    if service == Peer::Tally {
        return Ok(None);
    }
    let client = get!(VictimClient::bind_to(service.name()), "bind to {}", service.name());
    Ok(Some(get!(client.counts(), "counts").2))
}

fn commits() -> Check {
    for services in PAIRS {
        let mut pair = Pair::of(services)?;
        for amount in 1..20 {
            let (own, inner, code) = get!(pair.pass(amount, Strike::NONE, 0), "pass");
            equal!((own, inner, code), (pair.sums.0 + amount, pair.sums.1 + amount, 0), "sums and code");
            pair.sums = (own, inner);
        }
        pair.grown(0, 0)?;
    }
    Ok(())
}

fn strike(after: bool, attack: Attack) -> Strike {
    if after { Strike::after(attack) } else { Strike::before(attack) }
}

fn outer_fails_once(after: bool) -> Check {
    let mut witness = Witness::new()?;
    for services in PAIRS {
        let mut pair = Pair::of(services)?;
        for attack in [Attack::Panic, Attack::Load, Attack::Recurse, Attack::Spin, Attack::Magic] {
            let (before, healthy) = (Before::of(pair.outer)?, Before::of(pair.inner.name())?);
            let reloaded = reloads(pair.inner)?;
            let result = get!(pair.pass(10, strike(after, attack), builds(pair.outer)? + 1), "pass with {attack:?}");
            equal!(result, (pair.sums.0 + 10, pair.sums.1 + 10, 0), "sums and code with {attack:?}");
            before.since(pair.outer, 1..=1, 0, 0)?;
            healthy.untouched(pair.inner.name())?;
            // Healthy, it is not rebuilt, but the session whose request was undone is reloaded, once. A damaged header
            // shows at the end only.
            let undone = after || attack == Attack::Magic;
            equal!(reloads(pair.inner)?, reloaded.map(|count| count + u32::from(undone)), "reloads with {attack:?}");
            pair.grown(10, 10)?;
        }
    }
    witness.intact()
}

fn outer_keeps_failing(after: bool) -> Check {
    let mut witness = Witness::new()?;
    for services in PAIRS {
        let mut pair = Pair::of(services)?;
        for attack in [Attack::Panic, Attack::Store, Attack::Used] {
            let (before, healthy) = (Before::of(pair.outer)?, Before::of(pair.inner.name())?);
            let result = pair.pass(10, strike(after, attack), ALWAYS);
            equal!(result, Err(kernel(Error::ServerFault)), "result with {attack:?}");
            before.since(pair.outer, 2..=2, 1, 0)?;
            healthy.untouched(pair.inner.name())?;
            pair.grown(0, 0)?;
        }
    }
    witness.intact()
}

fn inner_fails_once() -> Check {
    let mut witness = Witness::new()?;
    for services in PAIRS.into_iter().filter(|pair| pair.1 != Peer::Tally) {
        let mut pair = Pair::of(services)?;
        for attack in [Attack::Panic, Attack::Execute, Attack::Spin, Attack::Session] {
            let (healthy, before) = (Before::of(pair.outer)?, Before::of(pair.inner.name())?);
            let result = pair.pass(10, Strike::before(attack).at_next(), builds(pair.inner.name())? + 1);
            equal!(get!(result, "pass"), (pair.sums.0 + 10, pair.sums.1 + 10, 0), "sums and code with {attack:?}");
            before.since(pair.inner.name(), 1..=1, 0, 0)?;
            healthy.untouched(pair.outer)?;
            pair.grown(10, 10)?;
        }
    }
    witness.intact()
}

fn inner_keeps_failing() -> Check {
    let mut witness = Witness::new()?;
    for services in PAIRS.into_iter().filter(|pair| pair.1 != Peer::Tally) {
        let mut pair = Pair::of(services)?;
        for attack in [Attack::Panic, Attack::Load, Attack::Used] {
            let (healthy, before) = (Before::of(pair.outer)?, Before::of(pair.inner.name())?);
            let result = pair.pass(10, Strike::before(attack).at_next(), ALWAYS);
            // The outer service is told, and goes on: its own effect stands.
            equal!(
                get!(result, "pass"),
                (pair.sums.0 + 10, 0, Error::ServerFault as u32),
                "sums and code with {attack:?}"
            );
            before.since(pair.inner.name(), 2..=2, 1, 0)?;
            healthy.untouched(pair.outer)?;
            pair.grown(10, 0)?;
        }
    }
    witness.intact()
}

/// relay, victim, tally: victim fails when tally has already added.
fn middle_fails_once() -> Check {
    let mut witness = Witness::new()?;
    let relay = get!(VictimClient::bind_to("relay"), "bind");
    let route = Peer::route(&[Peer::Victim, Peer::Tally]);
    let mut sums = get!(relay.pass(route, 1, Strike::NONE, 0, 0), "pass");
    equal!(sums.2, 0, "code");
    for attack in [Attack::Panic, Attack::Load, Attack::Magic, Attack::Spin] {
        let (tally, victim) = (Before::of("tally")?, crate::world::object("victim")?);
        let until = builds("victim")? + 1;
        let result = get!(relay.pass(route, 10, Strike::after(attack).at_next(), 0, until), "pass with {attack:?}");
        equal!(result, (sums.0 + 10, sums.1 + 10, 0), "sums and code with {attack:?}");
        sums = result;
        tally.untouched("tally")?;
        equal!(crate::world::object("victim")?.failures, victim.failures + 1, "failures of victim");
        let expected =
            Expected { object: "victim", kind: FailureKind::Panic, method: Some(8), session: None, address: None };
        if attack == Attack::Panic {
            expected.recorded(0)?;
        }
    }
    witness.intact()
}

fn middle_keeps_failing() -> Check {
    let mut witness = Witness::new()?;
    let relay = get!(VictimClient::bind_to("relay"), "bind");
    let route = Peer::route(&[Peer::Victim, Peer::Tally]);
    let sums = get!(relay.pass(route, 1, Strike::NONE, 0, 0), "pass");
    let tally = Before::of("tally")?;
    for attack in [Attack::Panic, Attack::Store] {
        let result = relay.pass(route, 10, Strike::after(attack).at_next(), 0, ALWAYS);
        ensure!(
            result == Err(kernel(Error::ServerFault))
                || result.is_ok_and(|result| result.2 == Error::ServerFault as u32),
            "result with {attack:?}: {result:?}"
        );
        let kept = u32::from(result.is_ok()) * 10;
        let now = get!(relay.pass(route, 0, Strike::NONE, 0, 0), "pass");
        ensure!(now.0 == sums.0 + kept || now.0 == sums.0, "sum of relay: {now:?} after {sums:?}");
        equal!((now.1, now.2), (sums.1, 0), "sum of tally and code after {attack:?}");
    }
    tally.untouched("tally")?;
    witness.intact()
}

fn sabotaged(service: &str, kind: SabotageKind) -> Check {
    let mut witness = Witness::new()?;
    let mut relay = Pair::of(PAIRS[0])?;
    let other = if service == "relay" { "victim" } else { "relay" };
    let (before, healthy) = (Before::of(service)?, Before::of(other)?);
    get!(sys::sabotage(service, Sabotage { kind, moment: Moment::End }), "sabotage");
    let result = get!(relay.pass(10, Strike::NONE, 0), "pass");
    equal!(result, (relay.sums.0 + 10, relay.sums.1 + 10, 0), "sums and code");
    before.since(service, 1..=1, 0, 0)?;
    healthy.untouched(other)?;
    relay.grown(10, 10)?;
    witness.intact()
}

/// victim, vault, ledger, lazy: the serial one has changed its common region and called on when it fails.
fn serial_in_the_middle() -> Check {
    let mut witness = Witness::new()?;
    let victim = get!(VictimClient::bind(), "bind");
    let ledger = get!(VictimClient::bind_to("ledger"), "bind to ledger");
    let route = Peer::route(&[Peer::Vault, Peer::Ledger, Peer::Lazy]);
    let first = get!(victim.pass(route, 1, Strike::NONE, 0, 0), "pass");
    equal!(first.2, 0, "code");
    let total = get!(ledger.state(), "ledger").2;
    for after in [false, true] {
        let until = builds("ledger")? + 1;
        let strike = strike(after, Attack::Panic).at_next().at_next();
        let before = get!(victim.pass(route, 0, Strike::NONE, 0, 0), "pass");
        let result = get!(victim.pass(route, 10, strike, 0, until), "pass");
        equal!(result, (before.0 + 10, before.1 + 10, 0), "sums and code");
    }
    equal!(get!(ledger.state(), "ledger").2, total + 20, "sum of all at ledger");
    witness.intact()
}

fn reentry() -> Check {
    let relay = get!(VictimClient::bind_to("relay"), "bind");
    let (before, victim) = (Before::of("relay")?, Before::of("victim")?);
    let refused = Error::Reentry as u32;
    for _ in 0..2 {
        let result =
            get!(relay.pass(Peer::route(&[Peer::Victim, Peer::Relay]), 1, Strike::NONE, 0, 0), "relay, victim, relay");
        equal!(result.2, refused, "code of relay, victim, relay");
        let result = get!(relay.pass(Peer::route(&[Peer::Relay]), 1, Strike::NONE, 0, 0), "relay, relay");
        equal!(result.2, refused, "code of relay, relay");
    }
    let client = get!(VictimClient::bind(), "bind");
    let result =
        get!(client.pass(Peer::route(&[Peer::Relay, Peer::Victim]), 1, Strike::NONE, 0, 0), "victim, relay, victim");
    equal!(result.2, refused, "code of victim, relay, victim");
    // The other way round it is allowed.
    let result =
        get!(client.pass(Peer::route(&[Peer::Relay, Peer::Tally]), 1, Strike::NONE, 0, 0), "victim, relay, tally");
    equal!(result.2, 0, "code of victim, relay, tally");
    before.untouched("relay")?;
    victim.untouched("victim")
}

fn too_deep() -> Check {
    let chain = [Peer::Vault, Peer::Ledger, Peer::Lazy, Peer::Bare, Peer::Mayfly, Peer::Tally];
    let mut longer = [Peer::Victim; 7];
    longer[1..].copy_from_slice(&chain);
    let (victim, relay) = (get!(VictimClient::bind(), "bind"), get!(VictimClient::bind_to("relay"), "bind"));
    let names = ["relay", "victim", "vault", "ledger", "lazy", "bare", "mayfly", "tally"];
    let before = names.map(Before::of);
    // mayfly's session with tally does not exist yet: the attempt to open it is what goes too deep.
    let result = get!(relay.pass(Peer::route(&longer), 1, Strike::NONE, 0, 0), "eight services");
    equal!(result.2, Error::TooDeep as u32, "code of eight services");
    let result = get!(victim.pass(Peer::route(&chain), 1, Strike::NONE, 0, 0), "seven services");
    equal!((result.1, result.2), (1, 0), "sum of tally and code of seven services");
    let result = get!(relay.pass(Peer::route(&longer), 1, Strike::NONE, 0, 0), "eight services again");
    equal!(result.2, Error::TooDeep as u32, "code of eight services again");
    let result = get!(victim.pass(Peer::route(&chain), 1, Strike::NONE, 0, 0), "seven services again");
    equal!((result.1, result.2), (2, 0), "sum of tally and code of seven services again");
    for (before, name) in before.iter().zip(names) {
        get!(before.as_ref(), "record of {name}").untouched(name)?;
    }
    Ok(())
}

fn lost_inside() -> Check {
    let mut witness = Witness::new()?;
    let mut relay = Pair::of(PAIRS[0])?;
    // The inner session's content makes no sense from its flush on; nobody looks until it is reloaded.
    let control = get!(VictimClient::bind(), "bind");
    get!(control.arm(Hook::Flush, Attack::Spoil, 0, ALWAYS, u32::MAX, ARM_KEY), "arm");
    let result = get!(relay.pass(10, Strike::before(Attack::AskFlush).at_next(), ALWAYS), "pass");
    get!(control.arm(Hook::Flush, Attack::None, 0, 0, 0, ARM_KEY), "disarm");
    equal!(result.2, 0, "code");
    relay.sums.0 += 10;
    let other = get!(VictimClient::bind(), "bind");
    get!(sys::sabotage("victim", Sabotage { kind: SabotageKind::Panic, moment: Moment::Entry }), "sabotage");
    get!(other.add(1), "add");
    let result = get!(relay.pass(10, Strike::NONE, 0), "pass");
    equal!(result, (relay.sums.0 + 10, 0, Error::SessionLost as u32), "sums and code");
    // Bound again: the account starts anew, that of the outer session does not.
    let result = get!(relay.pass(10, Strike::NONE, 0), "pass");
    equal!(result, (relay.sums.0 + 20, 10, 0), "sums and code in a new session");
    witness.intact()
}

/// The flush of an inner session happens when the outermost call has committed, once, whatever fails before or in it.
fn inner_flush() -> Check {
    let mut witness = Witness::new()?;
    let mut relay = Pair::of(PAIRS[0])?;
    let control = get!(VictimClient::bind(), "bind");
    let flushes = || control.counts().map(|counts| counts.3);
    let before = get!(flushes(), "counts");
    let ask = Strike::before(Attack::AskFlush).at_next();
    equal!(get!(relay.pass(1, ask, ALWAYS), "pass").2, 0, "code");
    equal!(flushes(), Ok(before + 1), "flushes after a request that asks for one");
    // The outer service fails when the inner one has asked.
    get!(sys::sabotage("relay", Sabotage { kind: SabotageKind::Panic, moment: Moment::End }), "sabotage");
    equal!(get!(relay.pass(1, ask, ALWAYS), "pass").2, 0, "code");
    equal!(flushes(), Ok(before + 2), "flushes after a request that was tried twice");
    // The flush itself fails once, and is done again.
    let until = get!(control.state(), "state").3 + 1;
    get!(control.arm(Hook::Flush, Attack::Panic, 0, until, u32::MAX, ARM_KEY), "arm");
    let failures = Before::of("victim")?;
    equal!(get!(relay.pass(1, ask, ALWAYS), "pass").2, 0, "code");
    failures.since("victim", 1..=1, 0, 0)?;
    get!(control.arm(Hook::Flush, Attack::None, 0, 0, 0, ARM_KEY), "disarm");
    // What the one that failed has noted stands.
    equal!(flushes(), Ok(before + 4), "flushes after one that failed once");
    relay.grown(3, 3)?;
    witness.intact()
}
