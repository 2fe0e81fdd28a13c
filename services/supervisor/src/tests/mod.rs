//! The supervisor in a model of the system.

mod methods;
mod world;

use proptest::prelude::*;
use rt::abi::Control;
use rt::abi::image::Policy;
use rt::abi::info::ObjectState;
use supervisor::{LogEntry, Standing, Verdict};
use zerocopy::IntoBytes;

use world::{Bed, POLICY};

const RUNNING: u32 = ObjectState::Running as u32;
const STOPPED: u32 = ObjectState::Stopped as u32;
const HELD: u32 = ObjectState::Held as u32;

/// The log, earliest first.
fn entries(bed: &mut Bed) -> Vec<LogEntry> {
    let common = bed.common();
    (common.earliest()..=common.latest()).filter_map(|sequence| common.entry(sequence).copied()).collect()
}

fn verdicts(bed: &mut Bed) -> Vec<Verdict> {
    entries(bed).iter().map(|entry| Verdict::ALL[entry.verdict as usize]).collect()
}

fn said(lines: &[String], text: &str) -> usize {
    lines.iter().filter(|line| line.contains(text)).count()
}

#[test]
fn a_crash_loop_is_held_longer_and_longer_and_given_up() {
    let mut bed = Bed::new(&[("fs", POLICY), ("console", POLICY)]);
    bed.fail(0, 0);
    assert_eq!((bed.state(0), bed.orders()), (RUNNING, vec![]), "a transient: it had run for a second");
    bed.pass(49);
    bed.fail(0, 0);
    assert_eq!((bed.state(0), bed.orders()), (RUNNING, vec![]), "the first short run");
    for (hold, pause) in [(10, 0), (20, 49), (40, 7), (50, 0)] {
        bed.pass(pause);
        bed.fail(0, 0);
        assert_eq!(bed.orders(), [("fs".to_owned(), Control::Hold)]);
        bed.pass(hold - 1);
        assert_eq!((bed.state(0), bed.orders()), (HELD, vec![]), "held for less than {hold} ms");
        bed.pass(1);
        assert_eq!((bed.state(0), bed.orders()), (RUNNING, vec![("fs".to_owned(), Control::Start)]));
    }
    bed.fail(0, 0);
    assert_eq!((bed.state(0), bed.orders()), (STOPPED, vec![("fs".to_owned(), Control::Stop)]));
    bed.pass(100_000);
    assert_eq!((bed.state(0), bed.orders()), (STOPPED, vec![]));
    assert_eq!(bed.common().records[0].standing(), Standing::GivenUp);
    let lines = bed.lines();
    assert_eq!(said(&lines, "fs is held for"), 4);
    assert_eq!(said(&lines, "fs starts again"), 4);
    assert_eq!(said(&lines, "fs is given up: 6 short runs in a row; it is stopped"), 1);
    use Verdict::{GivenUp, Held, ShortRun, Transient};
    assert_eq!(verdicts(&mut bed), [Transient, ShortRun, Held, Held, Held, Held, GivenUp]);
    assert_eq!(bed.state(1), RUNNING);
}

#[test]
fn transients_and_clients_faults_are_left_to_the_kernel() {
    let mut bed = Bed::new(&[("fs", POLICY)]);
    for _ in 0..20 {
        bed.pass(50);
        bed.fail(0, 0);
    }
    for _ in 0..20 {
        bed.fail(0, 70);
    }
    assert_eq!((bed.state(0), bed.orders()), (RUNNING, vec![]));
    let mut expected = [Verdict::Transient; 40];
    expected[20..].fill(Verdict::Client);
    assert_eq!(verdicts(&mut bed), expected);
    bed.fail(0, 71);
    assert_eq!(bed.orders(), [("fs".to_owned(), Control::Hold)], "a second client");
}

#[test]
fn failures_while_it_is_held_make_it_longer() {
    let mut bed = Bed::new(&[("fs", POLICY)]);
    for _ in 0..3 {
        bed.world.0.borrow_mut().fail(0, 0);
    }
    bed.settle();
    assert_eq!(verdicts(&mut bed), [Verdict::Transient, Verdict::ShortRun, Verdict::Held]);
    bed.pass(5);
    bed.fail(0, 0);
    bed.pass(19);
    assert_eq!(bed.state(0), HELD);
    bed.pass(1);
    assert_eq!(bed.state(0), RUNNING);
}

#[test]
fn the_time_in_which_it_was_held_is_no_run() {
    let mut bed = Bed::new(&[("fs", Policy { backoff: 500, backoff_cap: 500, ..POLICY })]);
    (0..3).for_each(|_| bed.fail(0, 0));
    for held in 2..5 {
        assert_eq!(bed.common().records[0].row.short_runs, held);
        // It fails in its constructor, right after its start and before anybody could look at it.
        let start = bed.common().records[0].held_until;
        bed.world.0.borrow_mut().now = start;
        bed.wake();
        bed.wake();
        assert_eq!(bed.state(0), RUNNING);
        bed.fail(0, 0);
    }
    assert_eq!(bed.common().records[0].row.short_runs, 5);
}

#[test]
fn a_self_test_does_not_replace_another_order() {
    let mut bed = Bed::new(&[("block", POLICY), ("fs", Policy { heartbeat: 10, ..POLICY })]);
    bed.world.0.borrow_mut().entries[0].dependants = 0b10;
    bed.rebuild(None);
    bed.settle();
    (0..3).for_each(|_| bed.fail(0, 0));
    bed.orders();
    // The back-off and the period end at the same time.
    bed.pass(10);
    let order = |name: &str, what| (name.to_owned(), what);
    assert_eq!(bed.orders(), [order("block", Control::Start), order("fs", Control::Restart)]);
}

#[test]
fn giving_up_can_mean_the_board() {
    let mut bed = Bed::new(&[("fs", Policy { give_up: 1, max_restarts: 1, ..POLICY })]);
    bed.fail(0, 0);
    bed.fail(0, 0);
    assert_eq!(bed.world.0.borrow().reboots, 1);
    assert_eq!(said(&bed.lines(), "the board starts anew"), 1);
}

#[test]
fn dependants_follow_what_was_held_and_nothing_else() {
    let mut bed = Bed::new(&[("block", POLICY), ("fs", POLICY), ("net", POLICY), ("log", POLICY)]);
    bed.world.0.borrow_mut().entries[0].dependants = 0b11110;
    bed.world.0.borrow_mut().objects[2].state = STOPPED;
    bed.rebuild(None);
    bed.settle();
    assert_eq!(bed.common().records[2].standing(), Standing::GivenUp, "the kernel had stopped it");
    bed.orders();
    bed.fail(0, 0);
    bed.fail(0, 0);
    assert_eq!(bed.orders(), [], "rebuilt at once: nobody noticed");
    bed.fail(0, 0);
    bed.pass(10);
    let order = |name: &str, what| (name.to_owned(), what);
    let expected = [
        order("block", Control::Hold),
        order("block", Control::Start),
        order("fs", Control::Restart),
        order("log", Control::Restart),
    ];
    assert_eq!(bed.orders(), expected);
    assert_eq!(verdicts(&mut bed).len(), 3, "a restart is no failure");
}

#[test]
fn who_does_not_answer_is_restarted() {
    let heartbeat = Policy { heartbeat: 100, ..POLICY };
    let mut bed = Bed::new(&[("timer", heartbeat), ("fs", POLICY)]);
    bed.pass(1000);
    let probes = bed.orders();
    assert_eq!(probes.len(), 10, "the first after a period");
    assert!(probes.iter().all(|order| *order == ("timer".to_owned(), Control::Probe)));
    bed.world.0.borrow_mut().answers[0] = false;
    bed.pass(290);
    assert!(bed.orders().iter().all(|order| order.1 == Control::Probe), "asked, and two periods to answer");
    bed.pass(20);
    assert_eq!(bed.orders(), [("timer".to_owned(), Control::Restart)]);
    assert_eq!(verdicts(&mut bed), [Verdict::Restarted]);
    assert_eq!(said(&bed.lines(), "timer did not answer 2 self-tests"), 1);
    // It never answers again: no run has any length, so that is a crash loop.
    bed.pass(10_000);
    use Verdict::{GivenUp, Held, Restarted};
    assert_eq!(verdicts(&mut bed), [Restarted, Restarted, Held, Held, Held, Held, GivenUp]);
    assert_eq!(bed.state(0), STOPPED);
    assert!(entries(&mut bed).iter().all(|entry| entry.number == 0 && entry.stack_used == 100));
}

#[test]
fn an_answer_in_time_is_an_answer() {
    let mut bed = Bed::new(&[("timer", Policy { heartbeat: 100, misses: 3, ..POLICY })]);
    for _ in 0..20 {
        bed.world.0.borrow_mut().answers[0] = false;
        bed.pass(300);
        bed.world.0.borrow_mut().answers[0] = true;
        bed.world.0.borrow_mut().objects[0].probed = 0;
        bed.pass(100);
    }
    assert_eq!(verdicts(&mut bed), []);
}

#[test]
fn what_somebody_else_held_is_started() {
    let mut bed = Bed::new(&[("fs", POLICY)]);
    bed.world.0.borrow_mut().objects[0].state = HELD;
    bed.settle();
    assert_eq!(bed.common().records[0].standing(), Standing::Held);
    bed.pass(49);
    assert_eq!(bed.state(0), HELD);
    bed.pass(1);
    assert_eq!(bed.state(0), RUNNING);
}

#[test]
fn a_forgotten_failure_is_missed_and_said() {
    let mut bed = Bed::new(&[("fs", Policy::default())]);
    bed.fail(0, 0);
    bed.lines();
    (0..100).for_each(|_| bed.world.0.borrow_mut().fail(0, 0));
    // Newer ones push out what was just about to be read.
    bed.world.0.borrow_mut().between = vec![(0, 0); 5];
    bed.settle();
    let entries = entries(&mut bed);
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>()[..2], [1, entries[1].number]);
    let total: u32 = entries.iter().map(|entry| 1 + entry.missed).sum();
    assert_eq!((total, entries.last().unwrap().number), (106, 106));
    assert!(entries.len() >= 28, "{} read", entries.len());
    assert!(said(&bed.lines(), "were overwritten unread") >= 1);
}

#[test]
fn a_storm_does_not_flood_the_log() {
    let mut bed = Bed::new(&[("fs", Policy::default())]);
    bed.pass(5000);
    bed.lines();
    for _ in 0..100 {
        (0..20).for_each(|_| bed.world.0.borrow_mut().fail(0, 0));
        bed.settle();
        bed.pass(1);
    }
    assert_eq!(bed.lines().len(), 50);
    bed.pass(1000);
    assert_eq!(bed.lines(), ["3950 lines were left out: too many within a second"]);
    let numbers: Vec<u32> = entries(&mut bed).iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, (2000 - 127..=2000).collect::<Vec<_>>());
}

#[test]
fn lines_tell_of_each_failure_as_the_host_wants_it() {
    let mut bed = Bed::new(&[("fs", POLICY)]);
    bed.lines();
    bed.fail(0, 70);
    bed.fail(0, 75);
    bed.fail(0, 0);
    let lines = bed.lines();
    assert_eq!(
        lines[..2],
        [
            "failure 1: fs: panic at 0x10001 address 0x0 method 1 session 1070 process 70 tick 1000".to_owned(),
            "failure 1: lr 0x0 sp 0x0 chain demo>fs registers 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0"
                .to_owned(),
        ]
    );
    assert!(lines[3].contains("chain ?>fs "), "the slot has another process by now: {}", lines[3]);
    assert!(lines.iter().any(|line| line.contains("chain fs ")), "nobody's request: {lines:?}");
}

#[test]
fn its_own_failures_are_logged_and_not_judged() {
    let mut bed = Bed::new(&[("fs", POLICY)]);
    for _ in 0..20 {
        bed.fail(1, 0);
    }
    assert_eq!(bed.orders(), []);
    assert_eq!(verdicts(&mut bed), [Verdict::Unjudged; 20]);
}

/// What happens to the system.
#[derive(Clone, Debug)]
enum Event {
    /// This object fails under this process.
    Fail(usize, u32),
    /// So many milliseconds pass.
    Pass(u64),
    /// This object answers self-tests from now on, or not.
    Answer(usize, bool),
    /// The supervisor is woken for nothing.
    Wake,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0usize..4, prop_oneof![Just(0u32), 70u32..73]).prop_map(|(object, process)| Event::Fail(object, process)),
        2 => (0u64..120).prop_map(Event::Pass),
        1 => (0usize..3, any::<bool>()).prop_map(|(object, answers)| Event::Answer(object, answers)),
        1 => Just(Event::Wake),
    ];
    proptest::collection::vec((event, 0u32..80), 1..60)
        .prop_map(|events| events.into_iter().map(|(event, _)| event).collect())
}

fn play(bed: &mut Bed, event: &Event) {
    match *event {
        Event::Fail(object, process) => bed.world.0.borrow_mut().fail(object, process),
        Event::Pass(ms) => bed.pass(ms),
        Event::Answer(object, answers) => {
            let mut world = bed.world.0.borrow_mut();
            world.answers[object] = answers;
            if answers {
                world.objects[object].probed = 0;
            }
        }
        Event::Wake => bed.settle(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// A supervisor that fails anywhere, any number of times, knows and decides what one that never fails does: the common
    /// regions are the same in the end, byte by byte, and no failure is missing or doubled in the log.
    #[test]
    fn its_own_failures_change_nothing(
        events in events(),
        crashes in proptest::collection::vec(proptest::option::of(1u32..80), 60),
    ) {
        let services = [
            ("timer", Policy { heartbeat: 20, ..POLICY }),
            ("fs", POLICY),
            ("net", Policy { heartbeat: 30, misses: 1, max_restarts: 0, ..POLICY }),
        ];
        let mut twins = [Bed::new(&services), Bed::new(&services)];
        for twin in &mut twins {
            twin.world.0.borrow_mut().entries[0].dependants = 0b010;
            twin.rebuild(None);
            twin.settle();
        }
        for (event, crash) in events.iter().zip(crashes) {
            let [well, ill] = &mut twins;
            play(well, event);
            ill.world.0.borrow_mut().fails_in = crash;
            play(ill, event);
        }
        for twin in &mut twins {
            twin.world.0.borrow_mut().fails_in = None;
            twin.settle();
        }
        let [well, ill] = &mut twins;
        prop_assert!(well.common().as_bytes() == ill.common().as_bytes());
        let numbers: Vec<u32> = entries(ill).iter().map(|entry| entry.number).filter(|number| *number != 0).collect();
        let count = ill.world.0.borrow().failures.len() as u32;
        prop_assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
        let states = |bed: &Bed| (0..4).map(|object| bed.state(object)).collect::<Vec<_>>();
        prop_assert_eq!(states(well), states(ill));
        // Nobody is held for ever.
        (0..3).for_each(|object| play(ill, &Event::Answer(object, true)));
        ill.pass(60);
        for (object, state) in states(ill).into_iter().enumerate() {
            prop_assert_ne!(state, HELD, "object {} is held", object);
        }
    }
}
