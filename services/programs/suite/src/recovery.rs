//! Failures that strike once, in every way and at every moment that the kernel can ask for: no client notices.

use rt::abi::failure::{Moment, SabotageKind};
use rt::abi::{FailureKind, Sabotage};
use rt::{Error, sys};
use victim::harm::Probe;
use victim::{Attack, VictimClient, case};

use crate::check::{Check, Suite, ensure, equal, get};
use crate::world::{Before, Witness, failure};

/// Bytes that the sabotaged `echo` moves.
const BYTES: usize = 600;

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    for service in ["victim", "vault"] {
        for &kind in SabotageKind::ALL {
            for moment in [Moment::Entry, Moment::Copy, Moment::End] {
                suite.run(format_args!("{service}: sabotage {} at {moment:?}", kind.name()), || {
                    invisible(service, kind, moment)
                });
            }
        }
    }
    suite.run("tally: the example survives every kind of sabotage", example);
    suite.run("lazy: a session is reloaded when it is used next", lazy);
    suite.run("victim: what is not state is as built after a recovery", rebuilt);
    suite.run("sabotage: unknown services and kinds are refused", refused);
    suite.run("victim: hundred failures in a row, one a request", hundred);
}

/// Whether a failure can be what came of a sabotage.
pub fn plausible(kind: SabotageKind, found: FailureKind) -> bool {
    use FailureKind as F;
    match kind {
        SabotageKind::Panic => found == F::Panic,
        SabotageKind::DataAbort | SabotageKind::ForeignSsr | SabotageKind::KernelWrite => found == F::DataAbort,
        SabotageKind::PrefetchAbort | SabotageKind::JumpToData => found == F::PrefetchAbort,
        SabotageKind::Undefined => found == F::Undefined,
        SabotageKind::Alignment => found == F::Alignment,
        SabotageKind::StackOverflow => found == F::StackOverflow,
        SabotageKind::EndlessLoop => found == F::Budget,
        // Where the allocator stumbles over what was written is its own affair.
        SabotageKind::HeapCorruption => {
            matches!(found, F::DataAbort | F::Panic | F::HeapExhausted | F::Alignment | F::Budget)
        }
        SabotageKind::SsrHeader => found == F::SsrDamaged,
    }
}

fn invisible(service: &str, kind: SabotageKind, moment: Moment) -> Check {
    let mut witness = Witness::new()?;
    let client = get!(VictimClient::bind_to(service), "bind");
    get!(client.add(5), "add");
    let before = Before::of(service)?;
    get!(sys::sabotage(service, Sabotage { kind, moment }), "sabotage");
    if moment == Moment::Copy {
        let mut sent = [0; BYTES];
        sent.iter_mut().zip(0..).for_each(|(byte, index): (&mut u8, u32)| *byte = index as u8 ^ kind as u8);
        let mut got = [0; BYTES];
        equal!(client.echo(&sent, &mut got), Ok(BYTES as u32), "result of echo");
        ensure!(got == sent, "echo returned other bytes");
        equal!(client.state().map(|state| (state.0, state.1)), Ok((5, 1)), "sum and requests");
    } else {
        equal!(client.add(6).map(|sums| sums.0), Ok(11), "result of add");
        equal!(client.state().map(|state| (state.0, state.1)), Ok((11, 2)), "sum and requests");
    }
    before.since(service, 1..=1, 0, 0)?;
    let found = FailureKind::from_number(failure(0)?.kind);
    ensure!(found.is_some_and(|found| plausible(kind, found)), "recorded as {found:?}");
    witness.intact()
}

fn example() -> Check {
    let client = get!(tally::TallyClient::bind(), "bind");
    let mut sum = 0;
    for &kind in SabotageKind::ALL {
        for moment in [Moment::Entry, Moment::End] {
            get!(sys::sabotage("tally", Sabotage { kind, moment }), "sabotage");
            sum += 3;
            equal!(client.add(3), Ok(sum), "sum after {} at {moment:?}", kind.name());
        }
    }
    equal!(client.undo(), Ok(3), "the latest amount");
    equal!(client.sum(), Ok((sum - 3, 2 * SabotageKind::ALL.len() as u32 - 1)), "sum and count");
    Ok(())
}

fn lazy() -> Check {
    let clients = [(); 3].map(|()| VictimClient::bind_to("lazy"));
    for (client, amount) in clients.iter().zip(1..) {
        let client = get!(client.as_ref(), "bind");
        equal!(client.add(amount).map(|sums| sums.0), Ok(amount), "sum");
    }
    let [first, second, third] = &clients;
    let (first, second, third) = (get!(first, "bind"), get!(second, "bind"), get!(third, "bind"));
    get!(sys::sabotage("lazy", Sabotage { kind: SabotageKind::Panic, moment: Moment::End }), "sabotage");
    equal!(first.add(1).map(|sums| sums.0), Ok(2), "sum after a failure");
    // Reloads since the service was built: the first one, the second one (which asks), then the third.
    equal!(second.counts().map(|counts| counts.2), Ok(2), "reloads after the second session's first call");
    equal!(second.counts().map(|counts| counts.2), Ok(2), "reloads after the second session's second call");
    equal!(third.add(1).map(|sums| sums.0), Ok(4), "sum of the third session");
    equal!(first.counts().map(|counts| counts.2), Ok(3), "reloads in the end");
    Ok(())
}

/// Data, zeroed data and heap start anew; nothing of the failed request or of those before it is left in them.
fn rebuilt() -> Check {
    let client = get!(VictimClient::bind(), "bind");
    let private = || client.probe(Probe::Private, 0, 0);
    let restart = || -> Check {
        let (_, _, _, builds) = get!(client.state(), "state");
        ensure!(client.attack(Attack::ExhaustHeap, 0, builds + 1).is_ok(), "a request that fails once");
        Ok(())
    };
    restart()?;
    for _ in 0..3 {
        equal!(private(), Ok(case::BUILT), "private data at first");
        equal!(private(), Ok(case::BUILT + 2), "private data then");
        equal!(client.probe(Probe::Reserve, victim::HEAP / 2, 0), Ok(0), "refusal of half of the heap");
        restart()?;
    }
    Ok(())
}

fn refused() -> Check {
    let sabotage = Sabotage { kind: SabotageKind::Panic, moment: Moment::Entry };
    for name in ["no-such-service", "suite", "", "victim2"] {
        equal!(sys::sabotage(name, sabotage), Err(Error::NotFound), "sabotage of {name:?}");
    }
    let before = Before::of("victim")?;
    let [r0, r1, r2, r3] = rt::abi::call::name_words(&rt::abi::call::pack_name("victim"));
    for word in [0, 0xff, 13, 0x301, 1 << 31, u32::MAX] {
        let mut registers = [r0, r1, r2, r3, word, 0, 0, rt::abi::KernelCall::Sabotage as u32, 0, 0, 0, 0, 0];
        victim::harm::raw_call(&mut registers);
        equal!(registers[0], Error::BadArgument as u32, "code for the sabotage {word:#x}");
    }
    let client = get!(VictimClient::bind(), "bind");
    get!(client.add(1), "add");
    before.untouched("victim")
}

/// The policy has no limit that an innocent client could run into: what recovers recovers again.
fn hundred() -> Check {
    let mut witness = Witness::new()?;
    let client = get!(VictimClient::bind(), "bind");
    let before = Before::of("victim")?;
    for round in 0..100 {
        let kind = SabotageKind::ALL[round as usize % 6];
        get!(sys::sabotage("victim", Sabotage { kind, moment: Moment::End }), "sabotage");
        equal!(client.add(2).map(|sums| sums.0), Ok(2 * (round + 1)), "sum in round {round}");
    }
    before.since("victim", 100..=100, 0, 0)?;
    witness.intact()
}
