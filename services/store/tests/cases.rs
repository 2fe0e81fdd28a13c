//! Limits, and what random sequences seldom reach.

#[allow(dead_code)] // properties.rs uses the rest
mod world;

use rt::{Error, LentRead, LentWrite, Session};
use store::session::{self, State};
use store::{Change, MAX_ENTRIES, MAX_KEY, MAX_SUBSCRIPTIONS, MAX_VALUE, Store, StoreError};
use world::{Crash, World};
use zerocopy::IntoBytes;

fn publish(world: &mut World, client: usize, key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
    let bytes = [key, value].concat();
    world.call(client, Crash::Never, |server, session| {
        server.publish(session, key.len() as u32, LentRead::for_test(&bytes))
    })
}

fn withdraw(world: &mut World, client: usize, key: &str) -> Result<u64, StoreError> {
    let lent = || LentRead::for_test(key.as_bytes());
    world.call(client, Crash::Never, |server, session| server.withdraw(session, lent()))
}

fn retrieve(world: &mut World, key: &[u8], room: usize) -> Result<(u32, u32, u64), StoreError> {
    world.call(0, Crash::Never, |server, session| {
        let mut value = [0; MAX_VALUE];
        server.retrieve(session, LentRead::for_test(key), LentWrite::for_test(&mut value[..room]))
    })
}

fn subscribe(world: &mut World, client: usize, pattern: &str) -> Result<(), StoreError> {
    let lent = || LentRead::for_test(pattern.as_bytes());
    world.call(client, Crash::Never, |server, session| server.subscribe(session, false, lent()))
}

fn unsubscribe(world: &mut World, client: usize, pattern: &str) -> Result<(), StoreError> {
    let lent = || LentRead::for_test(pattern.as_bytes());
    world.call(client, Crash::Never, |server, session| server.unsubscribe(session, lent()))
}

fn changes(world: &mut World, client: usize) -> Result<(Change, String), Error> {
    let mut key = [0; MAX_KEY];
    let copy = std::cell::RefCell::new(&mut key);
    let got = world.call(client, Crash::Never, |server, session| {
        server.changes(session, LentWrite::for_test(&mut copy.borrow_mut()[..]))
    });
    if got == Err(Error::WouldBlock) {
        world.client(client).belief.waiting = true;
    }
    got.map(|(change, len)| (change, String::from_utf8_lossy(&key[..len as usize]).into_owned()))
}

#[test]
fn bad_arguments_have_clear_errors() {
    let mut world = World::new(2);
    let long = [b'k'; MAX_KEY + 1];
    for key in [&b""[..], b"*", b"a*", b"\xff", b"a\0", &long] {
        assert_eq!(publish(&mut world, 0, key, b"v"), Err(StoreError::BadKey), "{key:?}");
        assert_eq!(retrieve(&mut world, key, MAX_VALUE), Err(StoreError::BadKey), "{key:?}");
    }
    assert_eq!(publish(&mut world, 0, &long[1..], &[1; MAX_VALUE]), Ok(1));
    assert_eq!(publish(&mut world, 0, b"k", &[1; MAX_VALUE + 1]), Err(StoreError::ValueTooLong));
    let beyond = world.call(0, Crash::Never, |server, session| server.publish(session, 3, LentRead::for_test(b"ab")));
    assert_eq!(beyond, Err(StoreError::BadKey));
    assert_eq!(retrieve(&mut world, &long[1..], MAX_VALUE - 1), Err(StoreError::BufferTooShort));
    assert_eq!(retrieve(&mut world, &long[1..], MAX_VALUE), Ok((64, 7, 1)));
    assert_eq!(subscribe(&mut world, 0, "a*b"), Err(StoreError::BadPattern));
    assert_eq!(unsubscribe(&mut world, 0, "a*"), Err(StoreError::NotSubscribed));
    let room = world
        .call(0, Crash::Never, |server, session| server.changes(session, LentWrite::for_test(&mut [0; MAX_KEY - 1])));
    assert_eq!(room, Err(Error::BadArgument));
}

#[test]
fn a_session_has_so_many_entries_and_subscriptions() {
    let mut world = World::new(1);
    for number in 0..MAX_ENTRIES {
        publish(&mut world, 0, format!("key {number}").as_bytes(), b"1").unwrap();
    }
    assert_eq!(publish(&mut world, 0, b"one more", b""), Err(StoreError::TooManyEntries));
    publish(&mut world, 0, b"key 3", b"2").unwrap();
    withdraw(&mut world, 0, "key 5").unwrap();
    publish(&mut world, 0, b"one more", b"").unwrap();
    for number in 0..MAX_SUBSCRIPTIONS {
        assert_eq!(subscribe(&mut world, 0, &format!("{number}*")), Ok(()));
    }
    assert_eq!(subscribe(&mut world, 0, "8*"), Err(StoreError::TooManySubscriptions));
    assert_eq!(subscribe(&mut world, 0, "7*"), Ok(()));
    assert_eq!(unsubscribe(&mut world, 0, "2*"), Ok(()));
    assert_eq!(subscribe(&mut world, 0, "8*"), Ok(()));
}

/// All sessions that the manifest allows, full: every entry has its place, withdrawals are still remembered.
#[test]
fn nobody_can_use_up_what_others_need() {
    const SESSIONS: usize = 60;
    let mut world = World::new(SESSIONS);
    for round in 0..3 {
        for session in 0..SESSIONS {
            for entry in 0..MAX_ENTRIES {
                let key = format!("{session}.{entry}.{round}");
                if round > 0 {
                    withdraw(&mut world, session, &format!("{session}.{entry}.{}", round - 1)).unwrap();
                }
                publish(&mut world, session, key.as_bytes(), key.as_bytes()).unwrap();
            }
        }
    }
    world.crash();
    let entries = world.server().registry().entries().count();
    assert_eq!(entries, SESSIONS * MAX_ENTRIES);
    assert_eq!(world.server().registry().places().count(), store::registry::PLACES);
    let (len, domain, _) = retrieve(&mut world, b"59.15.2", MAX_VALUE).unwrap();
    assert_eq!((len, domain), (7, 64 + 59));
}

/// Who asks too late for all withdrawals is told so, once; who does not is told of each.
#[test]
fn forgotten_withdrawals_are_told_as_missed() {
    let mut world = World::new(3);
    publish(&mut world, 2, b"kept", b"").unwrap();
    assert_eq!(subscribe(&mut world, 0, "*"), Ok(()));
    assert_eq!(subscribe(&mut world, 1, "*"), Ok(()));
    publish(&mut world, 2, b"kept", b"again").unwrap();
    assert_eq!(changes(&mut world, 1), Ok((Change::Published, "kept".into())));
    for number in 0..1100 {
        let key = format!("brief {number}");
        publish(&mut world, 2, key.as_bytes(), b"").unwrap();
        withdraw(&mut world, 2, &key).unwrap();
        assert_eq!(changes(&mut world, 1), Ok((Change::Withdrawn, key)));
        if number % 300 == 0 {
            world.crash();
        }
    }
    assert_eq!(changes(&mut world, 1), Err(Error::WouldBlock));
    world.crash();
    assert_eq!(changes(&mut world, 0), Ok((Change::Missed, String::new())));
    assert_eq!(changes(&mut world, 0), Ok((Change::Published, "kept".into())));
    let mut withdrawn = 0;
    while let Ok(change) = changes(&mut world, 0) {
        assert_eq!(change, (Change::Withdrawn, format!("brief {}", 1100 - 1022 + withdrawn)));
        withdrawn += 1;
    }
    // One place is that of the key that is there.
    assert_eq!(withdrawn, 1022);
    // Withdrawals before the subscription are nobody's to miss.
    assert_eq!(subscribe(&mut world, 2, "*"), Ok(()));
    assert_eq!(changes(&mut world, 2), Err(Error::WouldBlock));
}

/// Subscriptions that come and go within a request that is not over take no more memory than some, and none is lost.
#[test]
fn patterns_that_come_and_go() {
    let mut world = World::new(3);
    assert_eq!(subscribe(&mut world, 0, "kept"), Ok(()));
    assert_eq!(changes(&mut world, 0), Err(Error::WouldBlock));
    let before = world.begin();
    assert_eq!(unsubscribe(&mut world, 0, "kept"), Ok(()));
    for number in 0..100 {
        assert_eq!(subscribe(&mut world, 0, &format!("{number}")), Ok(()));
        assert_eq!(unsubscribe(&mut world, 0, &format!("{number}")), Ok(()));
        assert!(world.server().patterns(0) <= 2 * MAX_SUBSCRIPTIONS);
    }
    world.undo(before, true);
    publish(&mut world, 2, b"kept", b"").unwrap();
    assert!(!world.client(0).belief.waiting, "notified");
    assert_eq!(changes(&mut world, 0), Ok((Change::Published, "kept".into())));
    // At rest the service knows exactly what there is.
    world.deliver(&[]);
    assert_eq!(unsubscribe(&mut world, 0, "kept"), Ok(()));
    world.deliver(&[]);
    assert_eq!(world.server().patterns(0), 0);
}

/// A session is lost while the service is being rebuilt, and there is nobody but its subscriber.
#[test]
fn entries_of_a_lost_session_are_withdrawn() {
    let mut world = World::new(4);
    for object in 0..world::OBJECTS {
        world.close(object, Crash::Never);
    }
    assert_eq!(subscribe(&mut world, 3, "*"), Ok(()));
    publish(&mut world, 2, b"key", b"").unwrap();
    assert_eq!(changes(&mut world, 3), Ok((Change::Published, "key".into())));
    assert_eq!(changes(&mut world, 3), Err(Error::WouldBlock));
    world.lose(2);
    world.crash();
    world.deliver(&[]);
    assert!(!world.client(3).belief.waiting, "notified");
    assert_eq!(changes(&mut world, 3), Ok((Change::Withdrawn, "key".into())));
}

/// With what is there, and without what was withdrawn before.
#[test]
fn a_subscription_begins_with_what_is_there() {
    let mut world = World::new(1);
    publish(&mut world, 0, b"b", b"").unwrap();
    publish(&mut world, 0, b"a", b"").unwrap();
    publish(&mut world, 0, b"gone", b"").unwrap();
    withdraw(&mut world, 0, "gone").unwrap();
    let all = || LentRead::for_test(b"*");
    let got = world.call(0, Crash::Never, |server, session| server.subscribe(session, true, all()));
    assert_eq!(got, Ok(()));
    for key in ["b", "a"] {
        assert_eq!(changes(&mut world, 0), Ok((Change::Published, key.into())));
    }
    assert_eq!(changes(&mut world, 0), Err(Error::WouldBlock));
}

/// The service fails while a request has ended a subscription, the request is undone, and somebody publishes before the service
/// has looked at the session again.
#[test]
fn a_subscription_that_comes_back_is_told_what_came_meanwhile() {
    let mut world = World::new(3);
    assert_eq!(subscribe(&mut world, 0, "key"), Ok(()));
    assert_eq!(changes(&mut world, 0), Err(Error::WouldBlock));
    let before = world.begin();
    assert_eq!(unsubscribe(&mut world, 0, "key"), Ok(()));
    world.crash();
    world.undo(before, true);
    publish(&mut world, 2, b"key", b"").unwrap();
    assert!(world.client(0).belief.waiting);
    world.deliver(&[]);
    assert!(!world.client(0).belief.waiting, "notified");
}

/// A version that was given out in a request that was undone is given out again: nobody is ahead of it.
#[test]
fn undone_versions_come_again() {
    let mut world = World::new(3);
    let before = world.begin();
    publish(&mut world, 0, b"undone", b"").unwrap();
    publish(&mut world, 0, b"undone", b"").unwrap();
    world.undo(before, false);
    assert_eq!(subscribe(&mut world, 2, "*"), Ok(()));
    assert_eq!(changes(&mut world, 2), Err(Error::WouldBlock));
    world.crash();
    let version = publish(&mut world, 1, b"key", b"").unwrap();
    assert_eq!(version, 1);
    assert_eq!(changes(&mut world, 2), Ok((Change::Published, "key".into())));
    withdraw(&mut world, 1, "key").unwrap();
    assert_eq!(changes(&mut world, 2), Ok((Change::Withdrawn, "key".into())));
}

/// Versions that only sessions know of any more do not come again.
#[test]
fn damage_does_not_take_versions_back() {
    let mut world = World::new(3);
    assert_eq!(publish(&mut world, 0, b"key", b"value"), Ok(1));
    assert_eq!(publish(&mut world, 1, b"gone", b""), Ok(2));
    assert_eq!(subscribe(&mut world, 2, "*"), Ok(()));
    let empty = |world: &mut World| {
        let bytes = world.server().registry().as_mut_bytes();
        bytes.fill(0);
        world.crash();
    };
    // Told up to version 2, although that was withdrawn with its session.
    world.close(1, Crash::Never);
    assert_eq!(changes(&mut world, 2), Ok((Change::Withdrawn, "gone".into())));
    empty(&mut world);
    assert_eq!(publish(&mut world, 2, b"other", b""), Ok(4));
    assert_eq!(changes(&mut world, 2), Ok((Change::Published, "other".into())));
    assert_eq!(withdraw(&mut world, 2, "other"), Ok(5));
    assert_eq!(publish(&mut world, 0, b"key", b"again"), Ok(6));
    empty(&mut world);
    assert_eq!(retrieve(&mut world, b"key", MAX_VALUE), Ok((5, 7, 6)));
    assert_eq!(publish(&mut world, 2, b"other", b""), Ok(7));
}

/// An entry that damage hid is published again when the service is rebuilt; whoever asked meanwhile is notified.
#[test]
fn a_mended_entry_is_news() {
    let mut world = World::new(3);
    assert_eq!(subscribe(&mut world, 0, "*"), Ok(()));
    assert_eq!(publish(&mut world, 1, b"other", b""), Ok(1));
    assert_eq!(publish(&mut world, 1, b"key", b""), Ok(2));
    let key = world.server().registry().places().position(|place| place.key.as_str() == "key");
    assert_eq!(key.map(|_| hide(&mut world, "key")), Some(()));
    assert_eq!(changes(&mut world, 0), Ok((Change::Published, "other".into())));
    assert_eq!(changes(&mut world, 0), Err(Error::WouldBlock));
    world.crash();
    assert!(!world.client(0).belief.waiting, "notified");
    assert_eq!(changes(&mut world, 0), Ok((Change::Published, "key".into())));
}

/// Empties the place of a key.
fn hide(world: &mut World, key: &str) {
    let registry = world.server().registry();
    let place = registry.places().find(|place| place.key.as_str() == key).expect("it is there");
    let at = place.as_bytes().as_ptr().addr() - registry.as_bytes().as_ptr().addr();
    registry.as_mut_bytes()[at..at + 128].fill(0);
}

/// A place that makes no sense may have been a withdrawal: subscribers are told that they may have missed one, once.
#[test]
fn damage_is_told_as_missed() {
    let mut world = World::new(3);
    assert_eq!(subscribe(&mut world, 0, "*"), Ok(()));
    publish(&mut world, 1, b"kept", b"").unwrap();
    publish(&mut world, 1, b"gone", b"").unwrap();
    withdraw(&mut world, 1, "gone").unwrap();
    while changes(&mut world, 0).is_ok() {}
    // Free places have bytes now that are nothing.
    let registry = world.server().registry();
    let free = registry.as_bytes().len() - 128;
    registry.as_mut_bytes()[free] = 1;
    world.crash();
    world.crash();
    let forgotten = world.server().registry().forgotten;
    assert!(forgotten > 3 && !world.client(0).belief.waiting);
    assert_eq!(changes(&mut world, 0), Ok((Change::Missed, String::new())));
    assert_eq!(changes(&mut world, 0), Err(Error::WouldBlock));
    assert!(publish(&mut world, 1, b"new", b"").is_ok_and(|version| version > forgotten));
    assert_eq!(changes(&mut world, 0), Ok((Change::Published, "new".into())));
}

/// Every field of a session, out of its bounds, is found.
#[test]
fn nonsense_is_not_sound() {
    let session = || {
        let mut world = World::new(1);
        for key in [b"one", b"two"] {
            publish(&mut world, 0, key, b"value").unwrap();
        }
        assert_eq!(subscribe(&mut world, 0, "one*"), Ok(()));
        let Some(client) = world.clients.remove(0) else { unreachable!() };
        client.session
    };
    let state = 16;
    let entries = state + size_of::<State>();
    let entry = size_of::<session::Owned>();
    let damages = [
        (state + 7, 0x40),      // told up to an impossible version
        (state + 15, 0x40),     // the same, withdrawals
        (state + 16, 33),       // length of the pattern
        (state + 18, b'\n'),    // the pattern
        (state + 8 * 56, 9),    // number of subscriptions
        (state + 8 * 56, 2),    // the second has no pattern
        (entries + 7, 0x40),    // version
        (entries + 8, 0),       // length of the key
        (entries + 9, b'*'),    // the key
        (entries + 8 + 33, 65), // length of the value
    ];
    assert!(session::is_sound(&session()));
    for (at, byte) in damages {
        let mut session: Session<State> = session();
        session.bytes_for_test()[at] = byte;
        assert!(!session::is_sound(&session), "byte {at}");
    }
    let mut twice = session();
    let bytes = twice.bytes_for_test();
    bytes.copy_within(entries..entries + entry, entries + entry);
    assert!(!session::is_sound(&twice));
    let mut torn = session();
    torn.set_tail_len(entry + 1).unwrap();
    assert!(!session::is_sound(&torn));
}
