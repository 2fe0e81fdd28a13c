//! Hooks that fail: constructor, `open`, `reload`, `flush`, `close`.

use rt::abi::info::ObjectState;
use rt::abi::{FailureKind, KernelCall};
use rt::{Error, sys};
use victim::{ALWAYS, ARM_KEY, Attack, Hook, VictimClient};

use crate::check::{Check, Suite, ensure, equal, fail, get};
use crate::world::{Before, Expected, Witness, kernel, object};

/// What a failure's `method` says of a hook.
const HOOK: u32 = 0x8000_0000;
/// Every session.
const ALL: u32 = u32::MAX;
/// Ways in which hooks are made to fail, and what the kernel must take them for.
const WAYS: [(Attack, FailureKind); 5] = [
    (Attack::Panic, FailureKind::Panic),
    (Attack::Store, FailureKind::DataAbort),
    (Attack::Recurse, FailureKind::StackOverflow),
    (Attack::Spin, FailureKind::Budget),
    (Attack::Magic, FailureKind::SsrDamaged),
];

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    for service in ["victim", "vault"] {
        for (attack, kind) in WAYS {
            suite.run(format_args!("{service}: open fails once with {kind:?}"), || open_once(service, attack, kind));
            suite.run(format_args!("{service}: open keeps failing with {kind:?}"), || {
                open_always(service, attack, kind)
            });
            suite
                .run(format_args!("{service}: reload fails once with {kind:?}"), || reload_once(service, attack, kind));
            suite.run(format_args!("{service}: reload keeps failing with {kind:?}"), || {
                reload_always(service, attack, kind)
            });
            suite.run(format_args!("{service}: flush fails once with {kind:?}"), || flush_once(service, attack, kind));
            suite.run(format_args!("{service}: flush keeps failing with {kind:?}"), || {
                flush_always(service, attack, kind)
            });
            suite.run(format_args!("{service}: close keeps failing with {kind:?}"), || {
                close_always(service, attack, kind)
            });
        }
    }
    suite.run("victim: hooks that refuse", refusing);
    suite.run("victim: content that makes no sense costs its session, and no other", spoiled);
    suite.run("victim: a tag that is another service's costs its session", tagged);
    suite.run("victim: a state that makes no sense is not committed", nonsense);
    suite.run("mayfly: a constructor that fails once is built again", constructor_once);
}

/// Runs the tests after which a service is stopped for good.
pub fn run_last(suite: &mut Suite) {
    suite.run("mayfly: a constructor that keeps failing stops the service", stopped);
}

/// Arms a hook of a service, through a session of its own.
fn arm(service: &str, hook: Hook, attack: Attack, until: u32, whom: u32) -> Check {
    let client = get!(VictimClient::bind_to(service), "bind to arm");
    get!(client.arm(hook, attack, 0, until, whom, ARM_KEY), "arm");
    if attack == Attack::None || whom != ALL {
        return Ok(());
    }
    // Closing this session must not run into what it has armed.
    if hook == Hook::Close {
        core::mem::forget(client)
    } else {
        drop(client)
    }
    Ok(())
}

fn disarm(client: &VictimClient, hook: Hook) -> Check {
    get!(client.arm(hook, Attack::None, 0, 0, 0, ARM_KEY), "disarm");
    Ok(())
}

fn recorded(object: &'static str, kind: FailureKind, hook: u32) -> Check {
    Expected { object, kind, method: Some(HOOK | hook), session: None, address: None }.recorded(0)
}

fn builds(client: &VictimClient) -> u32 {
    client.state().map_or(0, |state| state.3)
}

fn open_once(service: &'static str, attack: Attack, kind: FailureKind) -> Check {
    let mut witness = Witness::new()?;
    let control = get!(VictimClient::bind_to(service), "bind");
    get!(control.add(4), "add");
    arm(service, Hook::Open, attack, builds(&control) + 1, ALL)?;
    let before = Before::of(service)?;
    let client = get!(VictimClient::bind_to(service), "bind with an `open` that fails once");
    before.since(service, 1..=1, 0, 0)?;
    recorded(service, kind, 1)?;
    disarm(&control, Hook::Open)?;
    equal!(client.add(2).map(|sums| sums.0), Ok(2), "sum of the new session");
    equal!(control.add(2).map(|sums| sums.0), Ok(6), "sum of the other session");
    witness.intact()
}

fn open_always(service: &'static str, attack: Attack, kind: FailureKind) -> Check {
    let mut witness = Witness::new()?;
    let control = get!(VictimClient::bind_to(service), "bind");
    get!(control.add(4), "add");
    let opened = get!(control.counts(), "counts").0;
    arm(service, Hook::Open, attack, ALWAYS, ALL)?;
    let before = object(service)?;
    equal!(VictimClient::bind_to(service).err(), Some(Error::ServerFault), "result of bind");
    let now = object(service)?;
    ensure!((2..=3).contains(&(now.failures - before.failures)), "{} failures", now.failures - before.failures);
    equal!(now.clients, before.clients, "sessions");
    recorded(service, kind, 1)?;
    disarm(&control, Hook::Open)?;
    equal!(get!(control.counts(), "counts").0, opened + 1, "sessions opened, the one that armed included");
    equal!(control.add(2).map(|sums| sums.0), Ok(6), "sum of the other session");
    ensure!(VictimClient::bind_to(service).is_ok(), "bind after that");
    witness.intact()
}

/// Makes a service fail once, so that its sessions are reloaded.
fn restart(client: &VictimClient) -> Check {
    let until = builds(client) + 1;
    get!(client.attack(Attack::Panic, 0, until), "a request that fails once");
    Ok(())
}

fn reload_once(service: &'static str, attack: Attack, kind: FailureKind) -> Check {
    let mut witness = Witness::new()?;
    let (control, client) =
        (get!(VictimClient::bind_to(service), "bind"), get!(VictimClient::bind_to(service), "bind"));
    get!(client.add(2), "add");
    // After the rebuilding that the request below causes, and not after the next one.
    arm(service, Hook::Reload, attack, builds(&control) + 2, client.handle().index)?;
    let before = Before::of(service)?;
    restart(&control)?;
    before.since(service, 2..=2, 0, 0)?;
    recorded(service, kind, 2)?;
    disarm(&control, Hook::Reload)?;
    equal!(client.add(2).map(|sums| sums.0), Ok(4), "sum of the session whose reload failed once");
    witness.intact()
}

fn reload_always(service: &'static str, attack: Attack, kind: FailureKind) -> Check {
    let mut witness = Witness::new()?;
    let (control, client) =
        (get!(VictimClient::bind_to(service), "bind"), get!(VictimClient::bind_to(service), "bind"));
    get!(client.add(2), "add");
    arm(service, Hook::Reload, attack, ALWAYS, client.handle().index)?;
    let before = Before::of(service)?;
    restart(&control)?;
    before.since(service, 4..=4, 0, 1)?;
    recorded(service, kind, 2)?;
    equal!(client.add(2), Err(kernel(Error::SessionLost)), "result of a call in the lost session");
    equal!(client.state(), Err(kernel(Error::SessionLost)), "result of another call in the lost session");
    equal!(client.unbind(), Ok(()), "end of the lost session");
    disarm(&control, Hook::Reload)?;
    ensure!(control.add(1).is_ok(), "the session that armed");
    witness.intact()
}

/// What a flush has noted stands although it failed, unless it left a header that nobody can trust.
fn noted(kind: FailureKind) -> u32 {
    u32::from(kind != FailureKind::SsrDamaged)
}

fn flush_once(service: &'static str, attack: Attack, kind: FailureKind) -> Check {
    let mut witness = Witness::new()?;
    let (control, client) =
        (get!(VictimClient::bind_to(service), "bind"), get!(VictimClient::bind_to(service), "bind"));
    equal!(client.flushed(2), Ok(2), "sum");
    arm(service, Hook::Flush, attack, builds(&control) + 1, client.handle().index)?;
    let before = Before::of(service)?;
    equal!(client.flushed(2), Ok(4), "result of a request whose flush fails once");
    before.since(service, 1..=1, 0, 0)?;
    recorded(service, kind, 3)?;
    disarm(&control, Hook::Flush)?;
    equal!(client.state().map(|state| (state.0, state.1)), Ok((4, 2)), "sum and requests");
    equal!(client.flushes(), Ok(2 + noted(kind)), "flushes that stand");
    witness.intact()
}

fn flush_always(service: &'static str, attack: Attack, kind: FailureKind) -> Check {
    let mut witness = Witness::new()?;
    let (control, client) =
        (get!(VictimClient::bind_to(service), "bind"), get!(VictimClient::bind_to(service), "bind"));
    arm(service, Hook::Flush, attack, ALWAYS, client.handle().index)?;
    let before = Before::of(service)?;
    equal!(client.flushed(2), Err(kernel(Error::ServerFault)), "result of a request whose flush keeps failing");
    before.since(service, 3..=3, 1, 0)?;
    recorded(service, kind, 3)?;
    // The request was committed: no rollback.
    equal!(client.state().map(|state| (state.0, state.1)), Ok((2, 1)), "sum and requests");
    disarm(&control, Hook::Flush)?;
    equal!(client.flushed(2), Ok(4), "sum after that");
    equal!(client.flushes(), Ok(1 + 3 * noted(kind)), "flushes that stand");
    witness.intact()
}

fn close_always(service: &'static str, attack: Attack, kind: FailureKind) -> Check {
    let mut witness = Witness::new()?;
    let (control, client) =
        (get!(VictimClient::bind_to(service), "bind"), get!(VictimClient::bind_to(service), "bind"));
    get!(client.add(2), "add");
    let closed = get!(control.counts(), "counts").1;
    arm(service, Hook::Close, attack, ALWAYS, client.handle().index)?;
    let before = Before::of(service)?;
    let handle = client.handle();
    equal!(client.unbind(), Ok(()), "result of unbind");
    let now = object(service)?;
    ensure!(now.failures > 0, "no failure");
    recorded(service, kind, 4)?;
    before.since(service, 2..=3, 0, 0)?;
    let mut registers = [0, 0, 0, 0, 0, 0, 0, KernelCall::Call as u32, handle.index, handle.generation, 0, 0, 0];
    victim::harm::raw_call(&mut registers);
    equal!(registers[0], Error::StaleHandle as u32, "code of a call through the handle");
    disarm(&control, Hook::Close)?;
    // The session that armed was closed; the one whose `close` never ended was not.
    equal!(get!(control.counts(), "counts").1, closed + 1, "sessions closed");
    witness.intact()
}

fn refusing() -> Check {
    let mut witness = Witness::new()?;
    let (control, client) = (get!(VictimClient::bind(), "bind"), get!(VictimClient::bind(), "bind"));
    let before = Before::of("victim")?;
    arm("victim", Hook::Open, Attack::Refuse, ALWAYS, ALL)?;
    equal!(VictimClient::bind().err(), Some(Error::WouldBlock), "result of bind");
    disarm(&control, Hook::Open)?;
    arm("victim", Hook::Flush, Attack::Refuse, ALWAYS, client.handle().index)?;
    equal!(client.flushed(3), Err(kernel(Error::WouldBlock)), "result of a request whose flush refuses");
    equal!(client.state().map(|state| state.0), Ok(3), "sum");
    disarm(&control, Hook::Flush)?;
    before.untouched("victim")?;
    arm("victim", Hook::Reload, Attack::Refuse, ALWAYS, client.handle().index)?;
    restart(&control)?;
    before.since("victim", 1..=1, 0, 1)?;
    equal!(client.state(), Err(kernel(Error::SessionLost)), "result of a call in the session that was not reloaded");
    disarm(&control, Hook::Reload)?;
    witness.intact()
}

/// Spoils a session's state in a flush, which nobody checks: it is noticed when the session is reloaded.
fn spoil(control: &VictimClient, client: &VictimClient, attack: Attack) -> Check {
    arm("victim", Hook::Flush, attack, ALWAYS, client.handle().index)?;
    ensure!(client.flushed(1).is_ok(), "spoiling goes unnoticed at first");
    disarm(control, Hook::Flush)
}

/// A method that leaves nonsense behind has failed: once, and nobody sees it; always, and its request ends with an error.
fn nonsense() -> Check {
    let mut witness = Witness::new()?;
    let (control, client) = (get!(VictimClient::bind(), "bind"), get!(VictimClient::bind(), "bind"));
    get!(client.add(5), "add");
    for attack in [Attack::Spoil, Attack::Tag] {
        let builds = get!(control.state(), "state").3;
        let (before, sum) = (Before::of("victim")?, get!(client.state(), "state").0);
        ensure!(client.attack(attack, 0x1234, builds + 1).is_ok(), "nonsense once is undone");
        before.since("victim", 1..=1, 0, 0)?;
        let before = Before::of("victim")?;
        let now = get!(client.state(), "state").0;
        ensure!(now != sum, "the method did not run");
        equal!(client.attack(attack, 0x1234, ALWAYS), Err(kernel(Error::ServerFault)), "nonsense, always");
        before.since("victim", 2..=3, 1, 0)?;
        equal!(client.state().map(|state| state.0), Ok(now), "sum after that");
    }
    witness.intact()
}

fn spoiled() -> Check {
    let mut witness = Witness::new()?;
    let (control, client) = (get!(VictimClient::bind(), "bind"), get!(VictimClient::bind(), "bind"));
    spoil(&control, &client, Attack::Spoil)?;
    let before = Before::of("victim")?;
    restart(&control)?;
    before.since("victim", 1..=1, 0, 1)?;
    equal!(client.add(1), Err(kernel(Error::SessionLost)), "result of a call in the spoiled session");
    witness.intact()
}

fn tagged() -> Check {
    let mut witness = Witness::new()?;
    let (control, client) = (get!(VictimClient::bind(), "bind"), get!(VictimClient::bind(), "bind"));
    spoil(&control, &client, Attack::Tag)?;
    let before = Before::of("victim")?;
    restart(&control)?;
    before.since("victim", 1..=1, 0, 1)?;
    equal!(client.add(1), Err(kernel(Error::SessionLost)), "result of a call in the session with another tag");
    witness.intact()
}

fn constructor_once() -> Check {
    let mut witness = Witness::new()?;
    let client = get!(VictimClient::bind_to("mayfly"), "bind");
    get!(client.add(3), "add");
    for attack in [Attack::Panic, Attack::Store, Attack::Spin] {
        let (state, before) = (get!(client.state(), "state"), Before::of("mayfly")?);
        let soon = get!(sys::time_us(), "time") as u32 + 500;
        get!(client.arm(Hook::Construct, attack, 0, soon, 0, ARM_KEY), "arm");
        let result = client.attack(Attack::Load, 0, state.3 + 1);
        equal!(result, Ok(state.0 + victim::TRACE), "result of a request after which the constructor fails once");
        before.since("mayfly", 2..=2, 0, 0)?;
        let kind = [FailureKind::Panic, FailureKind::DataAbort, FailureKind::Budget];
        ensure!(
            kind.into_iter().any(|kind| recorded("mayfly", kind, 0).is_ok()),
            "{attack:?} was recorded as something else"
        );
    }
    disarm(&client, Hook::Construct)?;
    witness.intact()
}

fn stopped() -> Check {
    let mut witness = Witness::new()?;
    let (client, other) =
        (get!(VictimClient::bind_to("mayfly"), "bind"), get!(VictimClient::bind_to("mayfly"), "bind"));
    get!(client.arm(Hook::Construct, Attack::Panic, 0, ALWAYS, 0, ARM_KEY), "arm");
    let before = object("mayfly")?;
    equal!(
        client.attack(Attack::Panic, 0, ALWAYS),
        Err(kernel(Error::Stopped)),
        "result of the request that it stopped in"
    );
    let now = object("mayfly")?;
    equal!(now.state, ObjectState::Stopped as u32, "state");
    ensure!((2..=6).contains(&(now.failures - before.failures)), "{} failures", now.failures - before.failures);
    equal!(other.add(1), Err(kernel(Error::Stopped)), "result of a call in another session");
    match VictimClient::bind_to("mayfly") {
        Err(Error::Stopped) => {}
        Err(error) => fail!("result of bind: {error:?}"),
        Ok(_) => fail!("a stopped service was bound to"),
    }
    equal!(client.unbind(), Ok(()), "end of a session with a stopped service");
    equal!(other.unbind(), Ok(()), "end of another one");
    witness.intact()
}
