//! A service with an SSR of several pages: undo by the page, checksums, the reserve of pre-images.

use rt::Error;
use rt::abi::FailureKind;
use victim::{ALWAYS, Attack, VictimClient};

use crate::check::{Check, Suite, ensure, equal, get};
use crate::world::{Before, Expected, Witness, kernel};

/// Words of the bulk of a session of `vault`.
const WORDS: u32 = 5 * 1024;
/// Words of a page.
const PAGE: u32 = 1024;
/// Number of the method `fill`.
const FILL: u32 = 13;
/// Number of the method `scribble`.
const SCRIBBLE: u32 = 15;

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    suite.run("vault: a failure undoes every page that the request wrote", undone_everywhere);
    suite.run("vault: a failure that happens once leaves the effect of one request", once);
    suite.run("vault: more pages than pre-images are reserved for", undo_exhausted);
    suite.run("vault: a damaged header after writes to many pages", damaged_header);
    suite.run("vault: a read-only method that writes", read_only);
    suite.run("vault: pages beyond `used` are not kept, and cannot be used to smuggle", beyond_used);
}

fn undone_everywhere() -> Check {
    let mut witness = Witness::new()?;
    let culprit = get!(VictimClient::bind_to("vault"), "bind");
    let digest = get!(culprit.fill(0, WORDS, 1, Attack::None, 0, 0), "fill");
    equal!(culprit.digest(), Ok(digest), "digest of what was filled");
    // One page, the border of two, all of them; each kind of end.
    for (from, count) in [(0, 1), (PAGE, PAGE), (PAGE - 8, 16), (2 * PAGE + 5, 2 * PAGE), (WORDS - 1, 1), (0, WORDS)] {
        for attack in [Attack::Panic, Attack::Load, Attack::Execute, Attack::Spin] {
            let before = Before::of("vault")?;
            equal!(
                culprit.fill(from, count, 2, attack, 0, ALWAYS),
                Err(kernel(Error::ServerFault)),
                "result of {attack:?}"
            );
            before.since("vault", 2..=3, 1, 0)?;
            equal!(culprit.digest(), Ok(digest), "digest after {attack:?} at {count} words from {from}");
        }
    }
    witness.intact()
}

fn once() -> Check {
    let mut witness = Witness::new()?;
    let (culprit, twin) = (get!(VictimClient::bind_to("vault"), "bind"), get!(VictimClient::bind_to("vault"), "bind"));
    for (from, count, seed) in [(0, WORDS, 7), (17, 2 * PAGE, 8), (4 * PAGE, PAGE, 9)] {
        let wanted = get!(twin.fill(from, count, seed, Attack::None, 0, 0), "fill");
        let (_, _, _, builds) = get!(culprit.state(), "state");
        let before = Before::of("vault")?;
        equal!(
            culprit.fill(from, count, seed, Attack::Store, 0, builds + 1),
            Ok(wanted),
            "digest of a fill that failed once"
        );
        before.since("vault", 1..=1, 0, 0)?;
        equal!(twin.digest(), Ok(wanted), "digest of the other session");
    }
    witness.intact()
}

fn undo_exhausted() -> Check {
    let mut witness = Witness::new()?;
    let culprit = get!(VictimClient::bind_to("vault"), "bind");
    let digest = get!(culprit.fill(0, WORDS, 3, Attack::None, 0, 0), "fill");
    // Six pages of the SSR and two of the common region; seven are reserved.
    let before = Before::of("vault")?;
    let result = culprit.fill(0, WORDS, 4, Attack::WritePages, 2, ALWAYS);
    equal!(result, Err(kernel(Error::ServerFault)), "result of writing to eight pages");
    before.since("vault", 2..=2, 1, 0)?;
    Expected {
        object: "vault",
        kind: FailureKind::UndoExhausted,
        method: Some(FILL),
        session: Some(culprit.handle()),
        address: None,
    }
    .recorded(0)?;
    equal!(culprit.digest(), Ok(digest), "digest after the failure");
    // The reserve is whole again.
    ensure!(culprit.fill(0, WORDS, 4, Attack::WritePages, 1, ALWAYS).is_ok(), "writing to seven pages");
    witness.intact()
}

fn damaged_header() -> Check {
    let mut witness = Witness::new()?;
    let culprit = get!(VictimClient::bind_to("vault"), "bind");
    let digest = get!(culprit.fill(0, WORDS, 5, Attack::None, 0, 0), "fill");
    for (attack, value) in [(Attack::Magic, 1), (Attack::Used, 0x8001), (Attack::Session, 0)] {
        let before = Before::of("vault")?;
        equal!(
            culprit.fill(0, WORDS, 6, attack, value, ALWAYS),
            Err(kernel(Error::ServerFault)),
            "result of {attack:?}"
        );
        before.since("vault", 2..=2, 1, 0)?;
        Expected {
            object: "vault",
            kind: FailureKind::SsrDamaged,
            method: Some(FILL),
            session: Some(culprit.handle()),
            address: None,
        }
        .recorded(0)?;
        equal!(culprit.digest(), Ok(digest), "digest after {attack:?}");
    }
    witness.intact()
}

/// A method that promised to change nothing fails when it does.
fn read_only() -> Check {
    let mut witness = Witness::new()?;
    let culprit = get!(VictimClient::bind_to("vault"), "bind");
    let digest = get!(culprit.fill(0, WORDS, 5, Attack::None, 0, 0), "fill");
    let before = Before::of("vault")?;
    equal!(culprit.scribble(), Err(kernel(Error::ServerFault)), "result of a broken promise");
    before.since("vault", 2..=2, 1, 0)?;
    let expected = Expected {
        object: "vault",
        kind: FailureKind::DataAbort,
        method: Some(SCRIBBLE),
        session: Some(culprit.handle()),
        address: None,
    };
    expected.recorded(0)?;
    equal!(culprit.digest(), Ok(digest), "digest after a broken promise");
    witness.intact()
}

/// Raises `used` over pages that no call has filled: they become part of the state as they are, and from then on are
/// undone like the others.
fn beyond_used() -> Check {
    let mut witness = Witness::new()?;
    let culprit = get!(VictimClient::bind_to("vault"), "bind");
    get!(culprit.fill(0, WORDS, 5, Attack::None, 0, 0), "fill");
    let before = Before::of("vault")?;
    // The largest `used` that is possible, then one in the midst of a page.
    for used in [8 * 4096, 7 * 4096 + 100] {
        ensure!(culprit.attack(Attack::Used, used, ALWAYS).is_ok(), "used = {used}");
    }
    before.untouched("vault")?;
    let digest_now = get!(culprit.digest(), "digest");
    equal!(culprit.fill(0, WORDS, 6, Attack::Panic, 0, ALWAYS), Err(kernel(Error::ServerFault)), "result of a panic");
    equal!(culprit.digest(), Ok(digest_now), "digest after a panic");
    witness.intact()
}
