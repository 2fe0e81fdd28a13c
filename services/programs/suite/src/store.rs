//! The store: entries are their owners', changes are told once, whatever fails and whoever ends.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use lodger::Way;
use rt::abi::Sabotage;
use rt::abi::failure::{Moment, SabotageKind};
use rt::{CallError, Error, Events, sys};
use store::{MAX_ENTRIES, MAX_KEY, MAX_VALUE, Notice, StoreClient, StoreError, Subscriber};

use crate::check::{Check, Suite, Why, ensure, equal, fail, get};
use crate::clients::kill;
use crate::timers::{end, lodge};
use crate::world::{Before, Witness};

/// What the notifications of sessions here set.
const CHANGE: Events = Events::from_bits_truncate(4);

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    suite.run("store: what is published can be looked up and listed", published);
    suite.run("store: an entry is its owner's", owned);
    suite.run("store: what makes no sense is refused", refused);
    suite.run("store: subscribers are told of each change, once and in order", told);
    for &kind in SabotageKind::ALL {
        for moment in [Moment::Entry, Moment::Copy, Moment::End] {
            suite.run(format_args!("store: entries and changes survive {} at {moment:?}", kind.name()), || {
                survives(kind, moment)
            });
        }
    }
    for way in Way::ALL {
        suite.run(format_args!("store: a client that {way:?} takes its entries with it"), || gone(way));
    }
    suite.run("store: a client is killed while the store recovers", killed);
    suite.run("store: all sessions, full, and their end", full);
}

fn bind() -> Result<StoreClient, Why> {
    Ok(get!(StoreClient::bind(), "bind to store"))
}

fn follow(pattern: &str) -> Result<Subscriber, Why> {
    let subscriber = get!(Subscriber::bind(CHANGE), "bind to store");
    get!(subscriber.follow(pattern, false), "subscribe");
    Ok(subscriber)
}

/// A value and its version.
fn value(store: &StoreClient, key: &str) -> Result<(Vec<u8>, u64), CallError<StoreError>> {
    store.get(key, &mut [0; MAX_VALUE]).map(|entry| (entry.value.to_vec(), entry.version))
}

const fn service<T>(error: StoreError) -> Result<T, CallError<StoreError>> {
    Err(CallError::Service(error))
}

fn keys(store: &StoreClient, start: &str) -> Result<Vec<String>, Why> {
    let mut keys = Vec::new();
    get!(
        store.each(start, |key| {
            keys.push(key.as_str().to_string());
            true
        }),
        "list"
    );
    Ok(keys)
}

fn published() -> Check {
    let (one, two) = (bind()?, bind()?);
    let first = get!(one.put("net.name", b"curios"), "publish");
    let second = get!(two.put("net.address", &[10, 0, 0, 1]), "publish");
    ensure!(second > first, "version {second} after {first}");
    equal!(value(&two, "net.name"), Ok((b"curios".to_vec(), first)), "a value of another client");
    let mut buffer = [0; MAX_VALUE];
    let owner = get!(one.get("net.name", &mut buffer), "retrieve").owner;
    ensure!(owner >= 64, "owner {owner}, which is no program");
    let third = get!(one.put("net.name", b""), "publish anew");
    equal!(value(&two, "net.name"), Ok((Vec::new(), third)), "another value");
    get!(one.put("netz", b"x"), "publish");
    equal!(keys(&two, "net.")?, ["net.address", "net.name"], "keys");
    equal!(keys(&two, "net")?, ["net.address", "net.name", "netz"], "keys");
    get!(one.withdraw(b"netz"), "withdraw");
    equal!(value(&two, "netz"), service(StoreError::NotFound), "a value that was withdrawn");
    drop(one);
    equal!(keys(&two, "net")?, ["net.address"], "keys in the end");
    Ok(())
}

fn owned() -> Check {
    let (owner, other) = (bind()?, bind()?);
    let version = get!(owner.put("mine", b"1"), "publish");
    let before = Before::of("store")?;
    equal!(other.put("mine", b"2"), service(StoreError::NotOwner), "overwriting");
    equal!(other.withdraw(b"mine"), service(StoreError::NotOwner), "withdrawing");
    // The service looks whether the owner is still there.
    get!(sys::pause(3), "pause");
    equal!(value(&other, "mine"), Ok((b"1".to_vec(), version)), "the value");
    get!(owner.withdraw(b"mine"), "withdraw");
    equal!(owner.withdraw(b"mine"), service(StoreError::NotFound), "withdrawing it again");
    get!(other.put("mine", b"2"), "publishing what nobody has");
    before.untouched("store")
}

fn refused() -> Check {
    let store = bind()?;
    for key in ["", "*", "a*", "a\n", "a key that has more bytes than keys can have"] {
        equal!(store.put(key, b""), service(StoreError::BadKey), "publishing {key:?}");
        equal!(value(&store, key), service(StoreError::BadKey), "looking up {key:?}");
    }
    equal!(store.put("key", &[0; MAX_VALUE + 1]), service(StoreError::ValueTooLong), "a long value");
    equal!(store.publish(4, b"key"), service(StoreError::BadKey), "a key that is longer than the buffer");
    equal!(store.publish(u32::MAX, b"key"), service(StoreError::BadKey), "a length without end");
    equal!(store.follow("a*b", false), service(StoreError::BadPattern), "a pattern");
    equal!(store.unsubscribe(b"a"), service(StoreError::NotSubscribed), "no subscription");
    let short = store.changes(&mut [0; MAX_KEY - 1]);
    equal!(short.map(|change| change.1), Err(CallError::Kernel(Error::BadArgument)), "a short buffer");
    equal!(Subscriber::bind(Events::empty()).err(), Some(Error::BadArgument), "a subscriber without events");
    Ok(())
}

/// The next change as (published, key).
fn change(subscriber: &Subscriber) -> Result<(bool, String), Why> {
    match get!(subscriber.wait(), "wait") {
        Notice::Published(key) => Ok((true, key.as_str().to_string())),
        Notice::Withdrawn(key) => Ok((false, key.as_str().to_string())),
        Notice::Missed => fail!("changes were missed"),
    }
}

fn told() -> Check {
    let store = bind()?;
    get!(store.put("door.1", b"shut"), "publish");
    let (doors, all) = (follow("door.*")?, follow("*")?);
    equal!(doors.next_change(), Ok(None), "a change before the subscription");
    get!(store.put("door.2", b"shut"), "publish");
    equal!(sys::wait_events(CHANGE, 50), Ok(CHANGE), "the notification");
    get!(store.put("lamp", b"on"), "publish");
    get!(store.put("door.1", b"open"), "publish");
    get!(store.put("door.2", b"open"), "publish");
    get!(store.withdraw(b"lamp"), "withdraw");
    for key in ["door.1", "door.2"] {
        equal!(change(&doors)?, (true, key.to_string()), "a change");
    }
    equal!(doors.next_change(), Ok(None), "a change too many");
    for (published, key) in [(true, "door.1"), (true, "door.2"), (false, "lamp")] {
        equal!(change(&all)?, (published, key.to_string()), "a change");
    }
    get!(all.unsubscribe(b"*"), "unsubscribe");
    get!(all.follow("door.1", true), "subscribe to what is there");
    equal!(change(&all)?, (true, "door.1".to_string()), "what is there");
    drop(store);
    for key in ["door.1", "door.2"] {
        equal!(change(&doors)?, (false, key.to_string()), "the end of a key");
    }
    equal!(change(&all)?, (false, "door.1".to_string()), "the end of a key");
    equal!((doors.next_change(), all.next_change()), (Ok(None), Ok(None)), "changes too many");
    Ok(())
}

fn survives(kind: SabotageKind, moment: Moment) -> Check {
    let mut witness = Witness::new()?;
    let (store, other, subscriber) = (bind()?, bind()?, follow("*")?);
    get!(store.put("kept", b"1"), "publish");
    get!(other.put("other", b"1"), "publish");
    get!(store.put("old", b""), "publish");
    get!(sys::pause(3), "pause");
    let before = Before::of("store")?;
    let strike = || sys::sabotage("store", Sabotage { kind, moment });
    get!(strike(), "sabotage");
    let version = get!(store.put("new", b"2"), "publish");
    get!(strike(), "sabotage");
    get!(store.withdraw(b"old"), "withdraw");
    get!(strike(), "sabotage");
    equal!(value(&other, "new"), Ok((b"2".to_vec(), version)), "the value published in the failure");
    get!(strike(), "sabotage");
    equal!(subscriber.next_change().map(|notice| notice.is_some()), Ok(true), "a change told in a failure");
    for (published, key) in [(true, "other"), (true, "new"), (false, "old")] {
        equal!(change(&subscriber)?, (published, key.to_string()), "a change");
    }
    equal!(subscriber.next_change(), Ok(None), "a change too many");
    get!(strike(), "sabotage");
    drop(store);
    for key in ["kept", "new"] {
        let (published, found) = change(&subscriber)?;
        ensure!(!published && (found == "kept" || found == "new"), "{key}: told of {found}");
    }
    equal!(keys(&other, "")?, ["other"], "keys in the end");
    before.since("store", 5..=5, 0, 0)?;
    witness.intact()
}

fn gone(way: Way) -> Check {
    let (own, subscriber) = (bind()?, follow("lodger*")?);
    get!(own.put("lodger's host", b""), "publish");
    equal!(change(&subscriber)?, (true, "lodger's host".to_string()), "a change");
    let before = Before::of("store")?;
    let child = lodge(way)?;
    end(way, child)?;
    // It may have been quick enough to have come and gone at once.
    let mut last = change(&subscriber)?;
    while last.0 {
        last = change(&subscriber)?;
    }
    equal!(last, (false, lodger::KEY.to_string()), "the last change");
    equal!(subscriber.next_change(), Ok(None), "a change too many");
    equal!(keys(&own, "lodger")?, ["lodger's host"], "keys in the end");
    get!(own.put(lodger::KEY, b"free"), "publishing what is free now");
    before.untouched("store")
}

fn killed() -> Check {
    let (own, subscriber) = (bind()?, follow(lodger::KEY)?);
    let before = Before::of("store")?;
    let kinds = [SabotageKind::EndlessLoop, SabotageKind::Panic, SabotageKind::HeapCorruption];
    for (round, kind) in (0..9).zip(kinds.into_iter().cycle()) {
        let child = lodge(Way::Stays)?;
        get!(sys::sabotage("store", Sabotage { kind, moment: Moment::End }), "sabotage");
        get!(sys::pause(1 + round % 4), "pause");
        kill(child)?;
        while change(&subscriber)?.0 {}
        equal!(subscriber.next_change(), Ok(None), "a change too many");
        equal!(keys(&own, "")?, [""; 0], "keys in the end");
    }
    before.since("store", 9..=9, 0, 0)
}

/// More than one client can have, so that the registry is as full as it gets; and a failure with all of that.
fn full() -> Check {
    let subscriber = follow("1.*")?;
    let mut clients = Vec::new();
    loop {
        match StoreClient::bind() {
            Ok(client) => clients.push(client),
            Err(Error::Exhausted) => break,
            Err(error) => fail!("bind: {error:?}"),
        }
    }
    ensure!(clients.len() >= 50, "only {} sessions", clients.len());
    for (number, client) in clients.iter().enumerate() {
        for entry in 0..MAX_ENTRIES {
            let key = alloc::format!("{number}.{entry}");
            get!(client.put(&key, key.as_bytes()), "publish {key}");
        }
        equal!(client.put("more", b""), service(StoreError::TooManyEntries), "an entry too many");
    }
    let before = Before::of("store")?;
    get!(sys::sabotage("store", Sabotage { kind: SabotageKind::Panic, moment: Moment::End }), "sabotage");
    let all = keys(&subscriber, "")?;
    equal!(all.len(), clients.len() * MAX_ENTRIES, "number of keys");
    before.since("store", 1..=1, 0, 0)?;
    for key in all.iter().step_by(7) {
        let (found, _) = get!(value(&subscriber, key), "retrieve {key}");
        ensure!(found == key.as_bytes(), "value of {key}: {found:?}");
    }
    drop(clients);
    equal!(keys(&subscriber, "")?, [""; 0], "keys in the end");
    for _ in 0..MAX_ENTRIES {
        let (published, key) = change(&subscriber)?;
        ensure!(!published && key.starts_with("1."), "told of {key}");
    }
    equal!(subscriber.next_change(), Ok(None), "a change too many");
    Ok(())
}
