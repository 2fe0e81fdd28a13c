//! Any requests of several clients, any passing of time, a failure at any call of the kernel and at the end of any activation: no
//! alarm is lost, early or doubled.

mod world;

use proptest::prelude::*;
use rt::{Error, LentWrite};
use timer::{Expiry, MAX_ALARMS, MIN_PERIOD_US, TIME_LIMIT_US, Timer, TimerError};
use world::{Crash, OBJECTS, Wanted, World};
use zerocopy::IntoBytes;

const CLIENTS: usize = 4;
const IDS: u32 = 6;

#[derive(Clone, Debug)]
enum Step {
    Set { client: usize, id: u32, delay: u64, period: u64 },
    SetAt { client: usize, id: u32, back: u64, ahead: u64, period: u64 },
    Cancel { client: usize, id: u32 },
    Get { client: usize, id: u32 },
    Take { client: usize },
    TakeOf { client: usize, id: u32 },
    TakeAll { client: usize, room: usize },
    Pass { us: u64 },
    Deliver { crashes: Vec<Crash>, step_us: u64 },
    Fail,
    Undone { client: usize, steps: Vec<Step>, late: bool },
    Close { client: usize },
    Lose { client: usize },
}

fn crash() -> impl Strategy<Value = Crash> {
    prop_oneof![4 => Just(Crash::Never), 3 => (1..4_u32).prop_map(Crash::In), 1 => Just(Crash::End)]
}

/// Delays and periods that meet often, and some at the borders.
fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..6_000_u64, 2 => Just(3_000), 1 => Just(TIME_LIMIT_US), 1 => Just(u64::MAX), 1 => Just(1 << 40)]
}

fn period() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => Just(0),
        3 => MIN_PERIOD_US..4_000,
        1 => Just(MIN_PERIOD_US - 1),
        1 => Just(TIME_LIMIT_US),
        1 => Just(TIME_LIMIT_US - 1)
    ]
}

fn request(client: impl Strategy<Value = usize> + Clone) -> impl Strategy<Value = Step> {
    let (c, id) = (client, 0..IDS);
    prop_oneof![
        6 => (c.clone(), id.clone(), delay(), period())
            .prop_map(|(client, id, delay, period)| Step::Set { client, id, delay, period }),
        2 => (c.clone(), id.clone(), 0..9_000_u64, delay(), period())
            .prop_map(|(client, id, back, ahead, period)| Step::SetAt { client, id, back, ahead, period }),
        2 => (c.clone(), id.clone()).prop_map(|(client, id)| Step::Cancel { client, id }),
        1 => (c.clone(), id.clone()).prop_map(|(client, id)| Step::Get { client, id }),
        3 => c.clone().prop_map(|client| Step::Take { client }),
        2 => (c.clone(), id).prop_map(|(client, id)| Step::TakeOf { client, id }),
        2 => (c, 0..40_usize).prop_map(|(client, room)| Step::TakeAll { client, room }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        10 => request(client.clone()),
        5 => (0..5_000_u64).prop_map(|us| Step::Pass { us }),
        5 => (proptest::collection::vec(crash(), 0..6), 0..400_u64)
            .prop_map(|(crashes, step_us)| Step::Deliver { crashes, step_us }),
        1 => Just(Step::Fail),
        2 => (0..OBJECTS, proptest::bool::ANY)
            .prop_flat_map(|(client, late)| (proptest::collection::vec(request(Just(client)), 1..5), Just((client, late))))
            .prop_map(|(steps, (client, late))| Step::Undone { client, steps, late }),
        1 => client.clone().prop_map(|client| Step::Close { client }),
        1 => client.prop_map(|client| Step::Lose { client }),
    ]
}

/// What a request must answer to a time and a period; else the alarm that it makes.
fn judge(due: Option<u64>, period: u64) -> Result<Wanted, TimerError> {
    match due {
        Some(due) if due < TIME_LIMIT_US && period < TIME_LIMIT_US => {
            if period > 0 && period < MIN_PERIOD_US {
                return Err(TimerError::PeriodTooShort);
            }
            Ok(Wanted { due, period, count: 0 })
        }
        _ => Err(TimerError::TooFar),
    }
}

fn set(world: &mut World, client: usize, id: u32, wanted: Result<Wanted, TimerError>, got: Result<u64, TimerError>) {
    assert_eq!(got, wanted.map(|wanted| wanted.due));
    if let Ok(wanted) = wanted {
        world.client(client).wanted.insert(id, wanted);
    }
}

/// The client takes what the model has; returns how many expiries that must be.
fn taken(world: &mut World, client: usize, id: u32) -> u64 {
    let wanted = &mut world.client(client).wanted;
    let alarm = wanted.get_mut(&id).expect("only alarms that are set can be taken");
    let count = std::mem::take(&mut alarm.count);
    if count > 0 && alarm.due == timer::alarms::NEVER {
        wanted.remove(&id);
    }
    count
}

/// The alarm whose turn it is.
fn in_turn(world: &mut World, client: usize) -> Option<u32> {
    let client = world.client(client);
    let expired = |from| client.wanted.range(from..).find(|(_, wanted)| wanted.count > 0).map(|(id, _)| *id);
    client.taken.checked_add(1).and_then(expired).or_else(|| expired(0))
}

fn expired(world: &mut World, client: usize) -> usize {
    world.client(client).wanted.values().filter(|wanted| wanted.count > 0).count()
}

fn run(world: &mut World, step: &Step, crash: Crash) {
    match *step {
        Step::Set { client, id, delay, period } => {
            let wanted = judge(world.now().checked_add(delay), period);
            let got = world.call(client, crash, |server, session| server.set(session, id, delay, period));
            set(world, client, id, wanted, got);
        }
        Step::SetAt { client, id, back, ahead, period } => {
            let at = world.now().saturating_sub(back).saturating_add(ahead);
            let wanted = judge(Some(at.max(world.now())), period);
            let got = world.call(client, crash, |server, session| server.set_at(session, id, at, period));
            set(world, client, id, wanted, got);
        }
        Step::Cancel { client, id } => {
            let got = world.call(client, crash, |server, session| server.cancel(session, id));
            let wanted = world.client(client).wanted.remove(&id);
            assert_eq!(got.map(u64::from), wanted.map(|wanted| wanted.count).ok_or(TimerError::NoSuchAlarm));
        }
        Step::Get { client, id } => {
            let got = world.call(client, crash, |server, session| server.alarm(session, id));
            let wanted = world.client(client).wanted.get(&id).copied();
            assert_eq!(got, wanted.map(|wanted| (wanted.due, wanted.period)).ok_or(TimerError::NoSuchAlarm));
        }
        Step::Take { client } => match world.call(client, crash, |server, session| server.take(session)) {
            Ok((id, count)) => {
                world.note("take");
                assert_eq!(Some(id), in_turn(world, client));
                world.client(client).taken = id;
                assert!(count > 0);
                assert_eq!(u64::from(count), taken(world, client, id));
            }
            Err(error) => {
                assert_eq!((error, expired(world, client)), (Error::WouldBlock, 0));
                world.client(client).waiting = true;
            }
        },
        Step::TakeOf { client, id } => match world.call(client, crash, |server, session| server.take_of(session, id)) {
            Ok(count) => assert_eq!(u64::from(count), taken(world, client, id)),
            Err(Error::WouldBlock) => assert_eq!(world.client(client).wanted[&id].count, 0),
            Err(error) => {
                assert_eq!((error, world.client(client).wanted.get(&id)), (Error::NotFound, None));
            }
        },
        Step::TakeAll { client, room } => {
            let (got, records) = world.call(client, crash, |server, session| {
                let mut records = [Expiry::default(); 5];
                let got = server.take_all(session, LentWrite::for_test(&mut records.as_mut_bytes()[..room]));
                (got, records)
            });
            let there = expired(world, client);
            let wanted = match there.min(room / 8) {
                _ if room < 8 => Err(Error::BadArgument),
                0 => Err(Error::WouldBlock),
                count => Ok(count as u32),
            };
            assert_eq!(got, wanted);
            world.client(client).waiting |= got == Err(Error::WouldBlock);
            for record in &records[..got.unwrap_or(0) as usize] {
                world.note("take all");
                assert_eq!(Some(record.alarm), in_turn(world, client));
                world.client(client).taken = record.alarm;
                assert_eq!(u64::from(record.count), taken(world, client, record.alarm));
            }
        }
        Step::Pass { us } => world.pass(us),
        Step::Deliver { ref crashes, step_us } => world.deliver(crashes, step_us),
        Step::Fail => world.crash(),
        Step::Undone { client, ref steps, late } => {
            let before = world.snapshot(client);
            for step in steps {
                run(world, step, crash);
            }
            world.undo(client, &before, late);
        }
        Step::Close { client } => {
            world.close(client);
            world.open(client);
        }
        Step::Lose { client } => {
            world.lose(client);
            world.check();
            world.pass(7_000);
            world.deliver(&[], 0);
            world.open(client);
        }
    }
    world.check();
}

/// In the end every alarm expires, every expiry can be taken, and the measured lateness is what it was.
fn finish(world: &mut World) {
    world.pass(20_000);
    world.deliver(&[], 0);
    for client in 0..CLIENTS {
        while let Ok((id, count)) = world.call(client, Crash::Never, |server, session| server.take(session)) {
            world.client(client).taken = id;
            assert_eq!(u64::from(count), taken(world, client, id));
        }
        assert_eq!(expired(world, client), 0);
        let late = world.client(client).late;
        assert_eq!(world.call(client, Crash::Never, |server, session| server.lateness(session)), Ok(late));
    }
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn no_alarm_is_lost_early_or_doubled(steps in proptest::collection::vec((step(), crash()), 1..80)) {
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
    let strategy = proptest::collection::vec((step(), crash()), 79);
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..100 {
        let mut world = World::new(CLIENTS);
        for (step, crash) in &strategy.new_tree(&mut runner).expect("a value").current() {
            run(&mut world, step, *crash);
        }
        for (what, times) in world.seen {
            *seen.entry(what).or_insert(0) += times;
        }
    }
    for what in
        ["crash", "crash inside", "crash at the end", "late reload", "undo", "step", "skipped", "take", "take all"]
    {
        assert!(seen.get(what).is_some_and(|times| *times > 20), "{what}: {seen:?}");
    }
}

/// 100 clients with 100 alarms each; the service fails again and again while they expire.
#[test]
fn ten_thousand_alarms() {
    let mut world = World::new(100);
    for client in 0..100 {
        for id in 0..100 {
            let delay = u64::from(id) * 977 % 50_000 + client as u64 * 13;
            let due = world.call(client, Crash::Never, |server, session| server.set(session, id, delay, 0));
            set(&mut world, client, id, judge(Some(delay), 0), due);
        }
    }
    for round in 0..60 {
        world.pass(1_000);
        world.deliver(&[Crash::Never, Crash::In(round % 4), Crash::Never, Crash::End], 0);
        world.check();
    }
    for client in 0..100 {
        assert_eq!(expired(&mut world, client), 100);
        assert!(world.client(client).late <= 1_000);
        for step in [Step::TakeAll { client, room: 40 }, Step::Take { client }] {
            run(&mut world, &step, Crash::End);
        }
        assert_eq!(expired(&mut world, client), 94);
    }
}

/// As many as a session has room for, all at once.
#[test]
fn a_full_session_is_taken_at_once() {
    let mut world = World::new(1);
    for id in 0..MAX_ALARMS as u32 {
        run(&mut world, &Step::Set { client: 0, id, delay: 500, period: 0 }, Crash::Never);
    }
    let more = world.call(0, Crash::Never, |server, session| server.set(session, u32::MAX, 0, 0));
    assert_eq!(more, Err(TimerError::TooManyAlarms));
    world.pass(500);
    world.deliver(&[Crash::In(1), Crash::In(2), Crash::End], 0);
    let mut records = vec![Expiry::default(); MAX_ALARMS + 1];
    let room = std::cell::RefCell::new(&mut records);
    let got = world.call(0, Crash::Never, |server, session| {
        server.take_all(session, LentWrite::for_test(room.borrow_mut().as_mut_bytes()))
    });
    assert_eq!(got, Ok(MAX_ALARMS as u32));
    assert!((0..MAX_ALARMS).all(|at| records[at] == Expiry { alarm: at as u32, count: 1 }));
}

/// A deadline whose event never came is set anew by a self-test.
#[test]
fn a_lost_deadline_is_found() {
    let mut world = World::new(1);
    world.deliver(&[], 0);
    run(&mut world, &Step::Set { client: 0, id: 1, delay: 2_000, period: 0 }, Crash::Never);
    world.fake.0.borrow_mut().deadline = None;
    world.pass(5_000);
    world.deliver(&[], 0);
    assert_eq!(expired(&mut world, 0), 0);
    world.probe();
    world.pass(1_000);
    world.deliver(&[], 0);
    assert_eq!(expired(&mut world, 0), 1);
}
