//! A service that misbehaves in a call: contained, undone, recovered, blamed; nobody else notices.

use rt::Error;
use victim::case::{self, Case};
use victim::harm::Probe;
use victim::{ALWAYS, Attack, TRACE, VictimClient};

use crate::check::{Check, Suite, ensure, equal, get};
use crate::world::{Before, Expected, Witness, kernel};

/// Number of the method `attack`.
const ATTACK: u32 = 3;

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    for case in case::all() {
        suite.run(format_args!("victim: {case}"), || contained("victim", &case));
    }
    // Undo by the page takes other ways through the kernel.
    for case in case::all().step_by(7) {
        suite.run(format_args!("vault: {case}"), || contained("vault", &case));
    }
    suite.run("victim: every megabyte of memory is out of reach", every_megabyte);
    suite.run("victim: wild copies are refused", wild_copies);
    suite.run("victim: copies without a lent buffer are refused", unlent_copies);
    suite.run("victim: forged and foreign handles are refused", handles);
    suite.run("victim: what the manifest does not name cannot be bound to", names);
    suite.run("victim: privileged instructions without effect", ignored);
    suite.run("victim: a heap used up can be handled", handled_heap);
}

/// An attack fails the activation each time it is tried, and the request ends with an error and without effect; one
/// that happens once is not noticed.
fn contained(service: &'static str, case: &Case) -> Check {
    let mut witness = Witness::new()?;
    let culprit = get!(VictimClient::bind_to(service), "bind");
    get!(culprit.add(5), "add");
    let (sum, requests, total, builds) = get!(culprit.state(), "state");
    let digest = get!(culprit.digest(), "digest");

    let before = Before::of(service)?;
    let result = culprit.attack(case.attack, case.argument, ALWAYS);
    equal!(result, Err(kernel(Error::ServerFault)), "result of the attack");
    before.since(service, 2..=3, 1, 0)?;
    let expected = Expected {
        object: service,
        kind: case.kind,
        method: Some(ATTACK),
        session: Some(culprit.handle()),
        address: case.address(),
    };
    expected.recorded(0)?;
    expected.recorded(1)?;
    equal!(crate::world::failure(0)?.process, crate::world::own_process()?, "process that is to blame");
    let (sum_now, requests_now, total_now, builds_now) = get!(culprit.state(), "state after the attack");
    equal!((sum_now, requests_now, total_now), (sum, requests, total), "sum, requests and sum of all after the attack");
    equal!(get!(culprit.digest(), "digest after the attack"), digest, "digest after the attack");
    ensure!((2..=3).contains(&(builds_now - builds)), "built {} times", builds_now - builds);
    equal!(get!(culprit.add(5), "add after the attack").0, sum + 5, "sum after the attack");
    witness.intact()?;

    // Once, in a session that no call was made in: the slow way in.
    let other = get!(VictimClient::bind_to(service), "bind");
    let before = Before::of(service)?;
    let result = other.attack(case.attack, case.argument, builds_now + 1);
    equal!(result, Ok(TRACE), "result of an attack that happens once");
    before.since(service, 1..=1, 0, 0)?;
    Expected { session: Some(other.handle()), ..expected }.recorded(0)?;
    let (sum_now, requests_now, total_now, builds_now) = get!(other.state(), "state after the attack");
    equal!((sum_now, requests_now), (TRACE, 1), "sum and requests after the retry");
    equal!(
        total_now,
        total.wrapping_add(5 + TRACE + if service == "victim" { 3 } else { 5 }),
        "sum of all after the retry"
    );
    equal!(get!(culprit.state(), "state of the first session").0, sum + 5, "sum of the first session");
    ensure!(builds_now > builds, "not built again");
    witness.intact()
}

/// The kernel, the boot image and all page frames (other SSRs among them) are mapped by the megabyte, and privileged only.
fn every_megabyte() -> Check {
    let mut witness = Witness::new()?;
    let culprit = get!(VictimClient::bind(), "bind");
    for (attack, offset) in [(Attack::Load, 0), (Attack::Store, 0xf_fffc)] {
        for megabyte in (case::RAM.0..case::RAM.1).step_by(1 << 20) {
            let (_, _, _, builds) = get!(culprit.state(), "state");
            let address = megabyte + offset;
            get!(culprit.attack(attack, address, builds + 1), "attack on {address:#x}");
            let expected = Expected {
                object: "victim",
                kind: rt::abi::FailureKind::DataAbort,
                method: Some(ATTACK),
                session: Some(culprit.handle()),
                address: Some(address),
            };
            expected.recorded(0)?;
        }
    }
    witness.intact()
}

fn wild_copies() -> Check {
    let mut witness = Witness::new()?;
    let culprit = get!(VictimClient::bind(), "bind");
    let before = Before::of("victim")?;
    for (number, copy) in case::COPIES.iter().enumerate() {
        let (read, mut write) = ([0x11; case::LENT as usize + 8], [0x22; case::LENT as usize + 8]);
        let result = culprit.wild_copy(number as u32, &read[..case::LENT as usize], &mut write[..case::LENT as usize]);
        let way = if copy.out { "out" } else { "in" };
        equal!(result, Ok(copy.code), "code of the copy {way} {}", copy.name);
        ensure!(write[case::LENT as usize..] == [0x22; 8], "the copy {way} {} wrote behind the lent range", copy.name);
        ensure!(
            read == [0x11; case::LENT as usize + 8],
            "the copy {way} {} wrote to what was lent for reading",
            copy.name
        );
        if copy.out && copy.code != 0 {
            ensure!(write[..4] == [0x22; 4], "the copy out {} told something", copy.name);
        }
    }
    before.untouched("victim")?;
    let (read, mut write) = ([0x5a; 700], [0; 700]);
    equal!(culprit.echo(&read, &mut write), Ok(700), "bytes of an honest copy");
    ensure!(read == write, "an honest copy arrived changed");
    witness.intact()
}

fn unlent_copies() -> Check {
    let culprit = get!(VictimClient::bind(), "bind");
    let before = Before::of("victim")?;
    for call in [rt::abi::KernelCall::CopyIn, rt::abi::KernelCall::CopyOut] {
        equal!(culprit.probe(Probe::CopyUnlent, call as u32, 0), Ok(Error::BadRange as u32), "code of {call:?}");
    }
    before.untouched("victim")
}

fn handles() -> Check {
    let mut witness = Witness::new()?;
    let (culprit, other) = (get!(VictimClient::bind(), "bind"), get!(VictimClient::bind_to("vault"), "bind"));
    let before = Before::of("victim")?;
    let bad = Error::BadHandle as u32;
    for probe in [Probe::CallHandle, Probe::Unbind] {
        for handle in [culprit.handle(), other.handle()] {
            equal!(
                culprit.probe(probe, handle.index, handle.generation),
                Ok(bad),
                "code of {probe:?} with a handle of its client"
            );
            for generation in [0, handle.generation + 1, u32::MAX] {
                equal!(
                    culprit.probe(probe, handle.index, generation),
                    Ok(bad),
                    "code of {probe:?} with generation {generation}"
                );
            }
        }
        for index in [8191, 8192, 1 << 16, 1 << 25, u32::MAX] {
            equal!(culprit.probe(probe, index, 1), Ok(bad), "code of {probe:?} with index {index}");
        }
    }
    before.untouched("victim")?;
    get!(other.add(1), "a session that was aimed at");
    witness.intact()
}

fn names() -> Check {
    let culprit = get!(VictimClient::bind(), "bind");
    let before = Before::of("victim")?;
    for (number, name) in case::NAMES.iter().enumerate() {
        let result = get!(culprit.probe(Probe::Bind, number as u32, 0), "probe");
        let expected = if number < 2 { Error::NotPermitted } else { Error::NotFound };
        equal!(result, expected as u32, "code of Bind to {name:?}");
    }
    before.untouched("victim")
}

fn ignored() -> Check {
    let culprit = get!(VictimClient::bind(), "bind");
    let before = Before::of("victim")?;
    for (number, name) in case::IGNORED.iter().enumerate() {
        let status = get!(culprit.probe(Probe::Ignored, number as u32, 0), "{name}");
        ensure!(status & 0x9f == 0x10, "{name} led to status {status:#x}");
    }
    for probe in [Probe::BigEndian, Probe::Semihosting, Probe::Thumb] {
        equal!(culprit.probe(probe, 0, 0), Ok(0), "code of {probe:?}");
    }
    for stack in [0, 2, case::KERNEL_DATA, u32::MAX] {
        equal!(culprit.probe(Probe::WildStack, stack, 0), Ok(0), "code of a call with sp {stack:#x}");
    }
    before.untouched("victim")
}

fn handled_heap() -> Check {
    let culprit = get!(VictimClient::bind(), "bind");
    let before = Before::of("victim")?;
    equal!(culprit.probe(Probe::Reserve, 1 << 20, 0), Ok(1), "refusal of a megabyte");
    equal!(culprit.probe(Probe::Reserve, 256, 0), Ok(0), "refusal of 256 bytes");
    before.untouched("victim")
}
