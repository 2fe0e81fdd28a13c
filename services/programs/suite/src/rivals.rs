//! Three clients at once, and sabotage of the services that they use, at random: the outcome is that of one after the other.

use hostile::Role;
use hostile::rival::{COLUMN, COUNTED, REQUESTS, Random, Rival};
use rt::abi::Sabotage;
use rt::abi::failure::{Moment, SabotageKind};
use rt::sys;
use victim::{Peer, Strike, VictimClient};

use crate::check::{Check, Suite, Why, equal, fail, get};
use crate::clients::spawn;
use crate::world::Witness;

/// Tournaments.
const SEEDS: u32 = 120;
/// Those of one test.
const SEEDS_A_TEST: u32 = 20;
/// Sabotage that is over soon: an endless loop takes all of a budget.
const KINDS: [SabotageKind; 5] = [
    SabotageKind::Panic,
    SabotageKind::DataAbort,
    SabotageKind::Undefined,
    SabotageKind::SsrHeader,
    SabotageKind::PrefetchAbort,
];

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    suite.run_first("rivals: seed 0", || tournament(0));
    for first in (1..=SEEDS).step_by(SEEDS_A_TEST as usize) {
        let seeds = first..first + SEEDS_A_TEST;
        suite.run(format_args!("rivals: seeds {} to {}", seeds.start, seeds.end - 1), || {
            seeds.clone().try_for_each(tournament)
        });
    }
}

/// The sum of `relay` at a service behind it.
fn inner_sum(relay: &VictimClient, inner: Peer) -> Result<u32, Why> {
    let (_, sum, code) = get!(relay.pass(Peer::route(&[inner]), 0, Strike::NONE, 0, 0), "pass");
    equal!(code, 0, "code");
    Ok(sum)
}

fn tournament(seed: u32) -> Check {
    let mut witness = Witness::new()?;
    let relay = get!(VictimClient::bind_to("relay"), "bind");
    let sums = || Ok::<_, Why>([inner_sum(&relay, Peer::Victim)?, inner_sum(&relay, Peer::Ledger)?]);
    let before = sums()?;
    let rivals = [spawn(Role::Rival, 1 | seed << 2)?, spawn(Role::Rival, 2 | seed << 2)?];
    let mut random = Random::new(!seed);
    let mut own = match Rival::new(0, seed) {
        Ok(rival) => rival,
        Err(wrong) => fail!("seed {seed}: {wrong:?}"),
    };
    for request in 0..REQUESTS {
        if random.below(2) == 0 {
            let service = ["relay", "victim", "ledger"][random.below(3) as usize];
            let kind = KINDS[random.below(KINDS.len() as u32) as usize];
            let moment = [Moment::Entry, Moment::End][random.below(2) as usize];
            get!(sys::sabotage(service, Sabotage { kind, moment }), "sabotage");
        }
        get!(own.request(), "seed {seed}, request {request}");
        get!(sys::pause(random.below(3)), "pause");
    }
    let mut counts = [own.counts(), 0, 0];
    for (rival, count) in rivals.into_iter().zip(&mut counts[1..]) {
        let status = get!(sys::wait(rival), "wait");
        let Some(counted) = status.checked_sub(COUNTED) else { fail!("seed {seed}: status {status} of a rival") };
        *count = counted;
    }
    drop(own);
    // What was asked for and did not strike yet, strikes now.
    for service in ["relay", "victim", "ledger"] {
        let client = get!(VictimClient::bind_to(service), "bind");
        get!(client.state(), "state");
    }
    for (inner, (now, then)) in sums()?.into_iter().zip(before).enumerate() {
        let of = |count: u32| count >> (12 * inner as u32) & 0xfff;
        let sum: u32 = counts.iter().zip(0..).map(|(count, number)| of(*count) << (number * COLUMN)).sum();
        equal!(now.wrapping_sub(then), sum, "seed {seed}: what all did at inner service {inner}");
        // Sums that look like addresses are not for the tests that come after this one.
        let route = Peer::route(&[[Peer::Victim, Peer::Ledger][inner]]);
        let result = relay.pass(route, sum.wrapping_neg(), Strike::NONE, 0, 0);
        equal!(result.map(|result| (result.1, result.2)), Ok((then, 0)), "seed {seed}: the sum at {inner} taken back");
    }
    witness.intact()
}
