//! Any requests of several clients, nested ones that are undone, sessions that end or are lost, damage to the registry, a failure at any
//! call of the kernel and at the end of any activation: everybody sees what is published, and is told of each change.

mod world;

use proptest::prelude::*;
use rt::{Error, LentRead, LentWrite};
use store::{Change, Key, MAX_KEY, MAX_VALUE, Store, StoreError};
use world::{Crash, OBJECTS, World, matches};
use zerocopy::IntoBytes;

const CLIENTS: usize = 4;
const KEYS: [&str; 6] = ["a", "a.x", "a.y", "b.x", "b.yy", "c"];
const PATTERNS: [&str; 6] = ["*", "a*", "a.*", "b.x", "b.*", "c"];

#[derive(Clone, Debug)]
enum Step {
    Publish { client: usize, key: &'static str, value: Vec<u8> },
    Withdraw { client: usize, key: &'static str },
    Retrieve { client: usize, key: &'static str },
    List { client: usize, start: &'static str },
    Subscribe { client: usize, pattern: &'static str, present: bool },
    Unsubscribe { client: usize, pattern: &'static str },
    Changes { client: usize, times: u32 },
    Deliver { crashes: Vec<Crash> },
    Fail,
    Nested { steps: Vec<(Step, Crash)>, undone: bool, late: bool },
    Close { client: usize },
    Lose { client: usize, noticed: bool },
    Damage { choice: usize, byte: usize, bit: u32 },
}

fn crash() -> impl Strategy<Value = Crash> {
    prop_oneof![5 => Just(Crash::Never), 2 => (1..4_u32).prop_map(Crash::In), 1 => Just(Crash::End)]
}

fn request(client: impl Strategy<Value = usize> + Clone) -> impl Strategy<Value = Step> {
    let c = || client.clone();
    let key = || proptest::sample::select(&KEYS[..]);
    let pattern = || proptest::sample::select(&PATTERNS[..]);
    prop_oneof![
        6 => (c(), key(), proptest::collection::vec(any::<u8>(), 0..4))
            .prop_map(|(client, key, value)| Step::Publish { client, key, value }),
        3 => (c(), key()).prop_map(|(client, key)| Step::Withdraw { client, key }),
        1 => (c(), key()).prop_map(|(client, key)| Step::Retrieve { client, key }),
        1 => (c(), proptest::sample::select(&["", "a", "b.", "c"][..]))
            .prop_map(|(client, start)| Step::List { client, start }),
        4 => (c(), pattern(), any::<bool>())
            .prop_map(|(client, pattern, present)| Step::Subscribe { client, pattern, present }),
        2 => (c(), pattern()).prop_map(|(client, pattern)| Step::Unsubscribe { client, pattern }),
        6 => (c(), prop_oneof![1..4_u32, Just(20)]).prop_map(|(client, times)| Step::Changes { client, times }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    let nested = proptest::collection::vec((request(0..OBJECTS), crash()), 1..8);
    prop_oneof![
        16 => request(client.clone()),
        4 => proptest::collection::vec(crash(), 0..6).prop_map(|crashes| Step::Deliver { crashes }),
        1 => Just(Step::Fail),
        4 => (nested, any::<bool>(), any::<bool>())
            .prop_map(|(steps, undone, late)| Step::Nested { steps, undone, late }),
        1 => client.clone().prop_map(|client| Step::Close { client }),
        1 => (client, any::<bool>()).prop_map(|(client, noticed)| Step::Lose { client, noticed }),
        1 => (0..6_usize, 0..118_usize, 0..8_u32).prop_map(|(choice, byte, bit)| Step::Damage { choice, byte, bit }),
    ]
}

/// A change that was told.
fn told(world: &mut World, client: usize, change: Change, key: &[u8]) {
    world.note("told");
    let key = std::str::from_utf8(key).expect("keys are texts");
    if change == Change::Missed {
        world.note("missed");
        let truth = world.truth.clone();
        for known in world.client(client).belief.known.values_mut() {
            known.retain(|key, _| truth.contains_key(key));
        }
        return;
    }
    let place = *world.server().registry().find(&key_of(key)).expect("what is told of is there");
    let published = world.truth.get(key).map(|published| published.2);
    let belief = &mut world.client(client).belief;
    assert!(belief.known.keys().any(|pattern| matches(pattern, key)));
    assert!(belief.told.last().is_none_or(|last| *last < place.version), "in order, each once");
    belief.told.insert(place.version);
    assert_eq!(published, (change == Change::Published).then_some(place.version));
    for (_, known) in belief.known.iter_mut().filter(|(pattern, _)| matches(pattern, key)) {
        known.remove(key);
        known.extend(published.map(|version| (key.to_owned(), version)));
    }
}

fn key_of(text: &str) -> Key {
    let mut bytes = [0; 1 + MAX_KEY];
    bytes[0] = text.len() as u8;
    bytes[1..=text.len()].copy_from_slice(text.as_bytes());
    zerocopy::transmute!(bytes)
}

fn publish(world: &mut World, client: usize, crash: Crash, key: &str, value: &[u8]) -> Result<u64, StoreError> {
    let bytes = [key.as_bytes(), value].concat();
    world.call(client, crash, |server, session| server.publish(session, key.len() as u32, LentRead::for_test(&bytes)))
}

fn changed(world: &mut World, version: u64) {
    assert!(version > world.greatest, "versions never go backwards");
    world.greatest = version;
}

fn run(world: &mut World, step: &Step, crash: Crash) {
    match *step {
        Step::Publish { client, key, ref value } => {
            let got = publish(world, client, crash, key, value);
            match world.truth.get(key) {
                Some((owner, ..)) if *owner != client as u32 => assert_eq!(got, Err(StoreError::NotOwner)),
                _ => {
                    let version = got.expect("there is room");
                    changed(world, version);
                    world.truth.insert(key.to_owned(), (client as u32, value.clone(), version));
                }
            }
        }
        Step::Withdraw { client, key } => {
            let got = world
                .call(client, crash, |server, session| server.withdraw(session, LentRead::for_test(key.as_bytes())));
            match world.truth.get(key) {
                None => assert_eq!(got, Err(StoreError::NotFound)),
                Some((owner, ..)) if *owner != client as u32 => assert_eq!(got, Err(StoreError::NotOwner)),
                Some(_) => {
                    changed(world, got.expect("it is the client's own"));
                    world.truth.remove(key);
                }
            }
        }
        Step::Retrieve { client, key } => {
            let (got, value) = world.call(client, crash, |server, session| {
                let mut value = [0; MAX_VALUE];
                let lent = LentRead::for_test(key.as_bytes());
                (server.retrieve(session, lent, LentWrite::for_test(&mut value)), value)
            });
            let wanted = world.truth.get(key).ok_or(StoreError::NotFound);
            assert_eq!(got.map(|(len, _, version)| (&value[..len as usize], version)), wanted.map(|w| (&*w.1, w.2)));
        }
        Step::List { client, start } => list(world, client, crash, start),
        Step::Subscribe { client, pattern, present } => {
            let lent = || LentRead::for_test(pattern.as_bytes());
            let got = world.call(client, crash, |server, session| server.subscribe(session, present, lent()));
            assert_eq!(got, Ok(()));
            // It is told what is there, or looks for itself.
            let known = if present { Default::default() } else { world.matching(pattern) };
            let belief = &mut world.client(client).belief;
            belief.known.insert(pattern.to_owned(), known);
            belief.told.clear();
            belief.waiting = false;
        }
        Step::Unsubscribe { client, pattern } => {
            let lent = || LentRead::for_test(pattern.as_bytes());
            let got = world.call(client, crash, |server, session| server.unsubscribe(session, lent()));
            let belief = &mut world.client(client).belief;
            let wanted = belief.known.remove(pattern).map(|_| ()).ok_or(StoreError::NotSubscribed);
            assert_eq!(got, wanted);
        }
        Step::Changes { client, times } => {
            for _ in 0..times {
                let (got, key) = world.call(client, crash, |server, session| {
                    let mut key = [0; MAX_KEY];
                    (server.changes(session, LentWrite::for_test(&mut key)), key)
                });
                match got {
                    Ok((change, len)) => told(world, client, change, &key[..len as usize]),
                    Err(error) => {
                        assert_eq!(error, Error::WouldBlock);
                        let belief = world.client(client).belief.clone();
                        world.check_belief(&belief);
                        world.client(client).belief.waiting = true;
                        break;
                    }
                }
            }
        }
        Step::Deliver { ref crashes } => world.deliver(crashes),
        Step::Fail => world.crash(),
        Step::Nested { ref steps, undone, late } => {
            let before = world.begin();
            for (step, crash) in steps {
                run(world, step, *crash);
            }
            if undone { world.undo(before, late) } else { world.commit() }
        }
        Step::Close { client } => {
            world.close(client, crash);
            world.check();
            world.open(client);
        }
        Step::Lose { client, noticed } => lose(world, client, noticed),
        Step::Damage { choice, byte, bit } => {
            let registry = world.server().registry();
            let Some(key) = registry.entries().nth(choice).map(|place| place.key) else { return };
            let at = registry.find(&key).expect("an entry").as_bytes().as_ptr().addr() + byte;
            let bytes = registry.as_mut_bytes();
            let at = at - bytes.as_ptr().addr();
            bytes[at] ^= 1 << bit;
            world.note("damage");
            world.crash();
            world.deliver(&[]);
        }
    }
    world.check();
}

fn list(world: &mut World, client: usize, crash: Crash, start: &str) {
    let (mut found, mut from, mut inclusive) = (Vec::new(), start.as_bytes().to_vec(), true);
    loop {
        let (got, key) = world.call(client, crash, |server, session| {
            let mut key = [0; MAX_KEY];
            let lent = LentRead::for_test(&from);
            (server.list(session, inclusive, lent, LentWrite::for_test(&mut key)), key)
        });
        let Ok(len) = got else { break };
        from = key[..len as usize].to_vec();
        inclusive = false;
        found.push(String::from_utf8(from.clone()).expect("keys are texts"));
    }
    let wanted: Vec<_> = world.truth.range(start.to_owned()..).map(|(key, _)| key.clone()).collect();
    assert_eq!(found, wanted);
}

/// A session is lost. What it had published is withdrawn when the service has failed, when somebody wants one of the keys, or
/// when its number is used again.
fn lose(world: &mut World, client: usize, noticed: bool) {
    world.deliver(&[]);
    let ghost = world.truth.iter().find(|(_, (owner, ..))| *owner == client as u32).map(|(key, _)| key.clone());
    world.lose(client);
    if noticed {
        world.crash();
    } else if let Some(key) = ghost {
        let got = publish(world, (client + 1) % CLIENTS, Crash::Never, &key, b"");
        assert_eq!(got, Err(StoreError::NotOwner));
    }
    if noticed || client.is_multiple_of(2) {
        world.deliver(&[Crash::In(1), Crash::Never, Crash::End]);
        assert!(world.truth.values().all(|(owner, ..)| *owner != client as u32));
        world.check();
    }
    world.open(client);
}

fn finish(world: &mut World) {
    world.deliver(&[]);
    world.check();
    for client in 0..CLIENTS {
        run(world, &Step::Changes { client, times: 40 }, Crash::Never);
        assert!(world.client(client).belief.waiting);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn everybody_sees_what_is_published(steps in proptest::collection::vec((step(), crash()), 1..60)) {
        let mut world = World::new(CLIENTS);
        world.check();
        for (step, crash) in &steps {
            run(&mut world, step, *crash);
        }
        finish(&mut world);
    }
}

/// The random sequences reach what they are meant to reach.
#[test]
fn nothing_is_missed() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let strategy = proptest::collection::vec((step(), crash()), 59);
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..50 {
        let mut world = World::new(CLIENTS);
        for (step, crash) in &strategy.new_tree(&mut runner).expect("a value").current() {
            run(&mut world, step, *crash);
        }
        finish(&mut world);
        for (what, times) in world.seen {
            *seen.entry(what).or_insert(0) += times;
        }
    }
    let all = [
        "crash",
        "crash inside",
        "crash at the end",
        "late reload",
        "commit",
        "undo",
        "step",
        "skipped",
        "told",
        "missed",
        "damage",
    ];
    for what in all {
        assert!(seen.get(what).is_some_and(|times| *times > 20), "{what}: {seen:?}");
    }
}
