//! Properties of both policies, with a simulated kernel, and of the service through failures.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use rt::{Cause, Construct, Error, Service, Session};
use scheduler::{DEFAULT_SLICE, MAX_SLICE, PolicyKind, Scheduler, SchedulerError, weight_of};
use zerocopy::{FromZeros, IntoBytes};

use crate::choice::Choice;
use crate::priorities::PERIOD;
use crate::server::{Client, Grant, Manifests, Server};

thread_local! {
    static GRANTS: RefCell<BTreeMap<u32, Grant>> = const { RefCell::new(BTreeMap::new()) };
}

/// What the tests say that the manifests grant.
struct Granted;

impl Manifests for Granted {
    fn grant(slot: u32) -> Result<Grant, Error> {
        GRANTS.with_borrow(|grants| grants.get(&slot).copied().ok_or(Error::NotFound))
    }
}

fn grant(slot: u32, process: u32, priority: u32, administrator: bool) {
    GRANTS.with_borrow_mut(|grants| grants.insert(slot, Grant { process, priority, administrator }));
}

/// The service, in a system that can make it fail.
struct Bed {
    server: Option<Server<Granted>>,
    argument: u32,
}

impl Bed {
    fn new(argument: u32) -> Bed {
        let common = Box::leak(Box::new(Choice::new_zeroed()));
        Bed { server: Some(Bed::build(common, argument, Cause::Boot)), argument }
    }

    fn build(common: &'static mut Choice, argument: u32, cause: Cause) -> Server<Granted> {
        Server::new(&mut Construct::for_test(cause, argument, common.as_mut_bytes()))
    }

    fn server(&mut self) -> &mut Server<Granted> {
        self.server.as_mut().expect("there is one but while it fails")
    }

    /// A failure: everything but sessions and common region starts anew.
    fn fail<'a>(&mut self, sessions: impl IntoIterator<Item = &'a mut Session<Client>>) {
        let common = self.server.take().map(Server::into_common).expect("it runs");
        self.server = Some(Bed::build(common, self.argument, Cause::Recovery));
        for session in sessions {
            assert!(session.is_intact());
            self.server().reload(session).unwrap();
        }
    }

    fn open(&mut self, number: u32, slot: u32) -> Result<Session<Client>, Error> {
        let mut session = Session::<Client>::for_test(number);
        session.set_client_for_test(64 + slot);
        self.server().open(&mut session).map(|()| session)
    }

    /// A thread of its own process, with these parameters.
    fn thread(&mut self, slot: u32, priority: u32, weight: u32, slice: u32) -> Session<Client> {
        grant(slot, 256 + slot, 7, false);
        let mut session = self.open(slot, slot).unwrap();
        self.server().set(&mut session, priority, weight, slice).unwrap();
        session
    }
}

/// How a simulated thread behaves once it has the processor.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Runs to the end of its slice.
    Computes,
    /// Gives the processor away after so many ticks, and stays ready.
    Yields(u32),
    /// Waits after so many ticks, until so many have passed.
    Waits(u32, u32),
}

#[derive(Clone, Copy, Debug)]
struct Thread {
    priority: u32,
    weight: u32,
    slice: u32,
    way: Way,
}

fn threads(count: core::ops::Range<usize>) -> impl Strategy<Value = Vec<Thread>> {
    let way = prop_oneof![
        2 => Just(Way::Computes),
        1 => (0u32..3).prop_map(Way::Yields),
        2 => (0u32..3, 0u32..9).prop_map(|(run, wait)| Way::Waits(run, wait)),
    ];
    let thread = (0u32..8, 1u32..=256, 1..=MAX_SLICE, way).prop_map(|(priority, weight, slice, way)| Thread {
        priority,
        weight,
        slice,
        way,
    });
    proptest::collection::vec(thread, count)
}

/// A processor: asks for decisions as the kernel does, and counts who ran for how long.
struct Processor {
    threads: Vec<Thread>,
    /// When each is ready again.
    wakes: Vec<u64>,
    now: u64,
    ran: Vec<u64>,
    /// The longest time that each was ready and did not run.
    hungry: Vec<u64>,
    longest: Vec<u64>,
}

impl Processor {
    fn new(bed: &mut Bed, threads: &[Thread]) -> (Processor, Vec<Session<Client>>) {
        let sessions = (0..).zip(threads).map(|(slot, t)| bed.thread(slot, t.priority, t.weight, t.slice)).collect();
        let zeros = vec![0; threads.len()];
        let processor = Processor {
            threads: threads.to_vec(),
            wakes: zeros.clone(),
            now: 0,
            ran: zeros.clone(),
            hungry: zeros.clone(),
            longest: zeros,
        };
        (processor, sessions)
    }

    fn ready(&self) -> u64 {
        (0..self.threads.len()).filter(|slot| self.wakes[*slot] <= self.now).fold(0, |set, slot| set | 1 << slot)
    }

    /// A tick with this thread running.
    fn tick(&mut self, running: usize) {
        self.now += 1;
        for slot in 0..self.threads.len() {
            if slot == running {
                self.ran[slot] += 1;
                self.hungry[slot] = 0;
            } else if self.wakes[slot] < self.now {
                self.hungry[slot] += 1;
                self.longest[slot] = self.longest[slot].max(self.hungry[slot]);
            } else {
                self.hungry[slot] = 0;
            }
        }
    }

    fn run(&mut self, bed: &mut Bed, ticks: u64) {
        let (mut previous, mut used) = (None, 0);
        // What a thread has used of the time until it yields or waits.
        let mut spent = vec![0u32; self.threads.len()];
        // Time passes in between, too: threads that always give up at once do not stop it.
        let mut decisions = 0;
        while self.now < ticks {
            let ready = self.ready();
            if ready == 0 {
                self.tick(usize::MAX);
                continue;
            }
            let decision = bed.server().decide(ready, previous, used);
            decisions += 1;
            assert!(decision.slot < 64 && ready >> decision.slot & 1 == 1, "chose {decision:?} of {ready:#x}");
            assert!((1..=MAX_SLICE).contains(&decision.slice), "{decision:?}");
            let slot = decision.slot as usize;
            (previous, used) = (Some(decision.slot), 0);
            loop {
                let gives_up = match self.threads[slot].way {
                    Way::Computes => false,
                    Way::Yields(run) | Way::Waits(run, _) => spent[slot] >= run,
                };
                if gives_up {
                    spent[slot] = 0;
                    if let Way::Waits(_, wait) = self.threads[slot].way {
                        self.wakes[slot] = self.now + u64::from(wait) + 1;
                    }
                    // Even what takes less than a tick takes its time.
                    if decisions % 8 == 0 {
                        self.tick(slot);
                        used += 1;
                    }
                    break;
                }
                self.tick(slot);
                used += 1;
                spent[slot] += 1;
                if used >= decision.slice || self.ready() & !ready != 0 {
                    break;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the kernel says, the choice is one of those that are ready, and its slice a possible one.
    #[test]
    fn only_who_is_ready_is_chosen(
        policy in 0u32..2,
        rounds in proptest::collection::vec((any::<u64>(), any::<u64>(), proptest::option::of(0u32..70), any::<u32>()), 1..200),
        asked in threads(1..20),
    ) {
        let mut bed = Bed::new(policy);
        let _sessions: Vec<_> =
            (0..).zip(&asked).map(|(slot, t)| bed.thread(slot, t.priority, t.weight, t.slice)).collect();
        for (some, others, previous, ticks) in rounds {
            let ready = some & others;
            let decision = bed.server().decide(ready, previous, ticks);
            prop_assert!((1..=MAX_SLICE).contains(&decision.slice));
            prop_assert_eq!(decision.slot < 64 && ready >> decision.slot & 1 == 1, ready != 0);
        }
    }

    /// The bound in `priorities.rs`: who stays ready runs.
    #[test]
    fn priorities_starve_nobody(asked in threads(2..12)) {
        let mut bed = Bed::new(PolicyKind::Priorities as u32);
        let (mut processor, _sessions) = Processor::new(&mut bed, &asked);
        let bound = asked.len() as u64 * u64::from(PERIOD + MAX_SLICE + 1);
        processor.run(&mut bed, 6 * bound);
        for (slot, thread) in asked.iter().enumerate() {
            if matches!(thread.way, Way::Computes) {
                prop_assert!(processor.longest[slot] <= bound, "{slot} waited {} of {bound}", processor.longest[slot]);
            }
        }
    }

    /// Of threads that compute, those of the highest priority have all but the fair turns.
    #[test]
    fn priorities_matter(others in proptest::collection::vec(0u32..6, 1..6), slices in 1..=MAX_SLICE) {
        let mut bed = Bed::new(PolicyKind::Priorities as u32);
        let mut asked: Vec<Thread> =
            others.iter().map(|p| Thread { priority: *p, weight: 1, slice: slices, way: Way::Computes }).collect();
        asked.push(Thread { priority: 6, weight: 1, slice: slices, way: Way::Computes });
        let (mut processor, _sessions) = Processor::new(&mut bed, &asked);
        processor.run(&mut bed, 4000);
        let top = processor.ran[asked.len() - 1];
        // A fair turn in PERIOD ticks and decisions at most, and the first one.
        prop_assert!(top >= 4000 - 4000 / u64::from(PERIOD / 2) - 1, "{top} ticks of 4000");
    }

    /// The bound in `stride.rs`: shares are proportional to the weights.
    #[test]
    fn strides_share_in_proportion(asked in threads(2..12), ticks in 500u64..6000) {
        let asked: Vec<Thread> = asked.into_iter().map(|thread| Thread { way: Way::Computes, ..thread }).collect();
        let mut bed = Bed::new(PolicyKind::Stride as u32);
        let (mut processor, _sessions) = Processor::new(&mut bed, &asked);
        processor.run(&mut bed, ticks);
        let total: u64 = asked.iter().map(|thread| u64::from(thread.weight)).sum();
        let bound = (asked.len() as u64 * u64::from(MAX_SLICE)) as f64;
        for (thread, ran) in asked.iter().zip(&processor.ran) {
            let share = processor.now as f64 * f64::from(thread.weight) / total as f64;
            // Strides are whole numbers: a part in 4,000 at the largest weight.
            let error = (*ran as f64 - share).abs() - processor.now as f64 / 4000.0;
            prop_assert!(error <= bound, "{ran} ticks instead of {share} with {thread:?}");
        }
    }

    /// A thread that computes has at least its share of what is left, whatever the others do.
    #[test]
    fn strides_starve_nobody(asked in threads(1..10), weight in 1u32..=256) {
        let mut asked = asked;
        asked.push(Thread { priority: 0, weight, slice: DEFAULT_SLICE, way: Way::Computes });
        let mut bed = Bed::new(PolicyKind::Stride as u32);
        let (mut processor, _sessions) = Processor::new(&mut bed, &asked);
        processor.run(&mut bed, 20_000);
        let total: u64 = asked.iter().map(|thread| u64::from(thread.weight)).sum();
        let share = 20_000 * u64::from(weight) / total;
        let ran = processor.ran[asked.len() - 1];
        let least = share.saturating_sub(asked.len() as u64 * u64::from(MAX_SLICE) + share / 50);
        prop_assert!(ran >= least, "{ran} ticks, {share} are due");
    }

    /// Opening, setting, closing and failing in any order: what is decided from follows from the open sessions alone.
    #[test]
    fn parameters_survive_failures(
        policy in 0u32..2,
        steps in proptest::collection::vec((0u32..5, 0u32..6, 0u32..9, 0u32..300, 0u32..12), 1..60),
    ) {
        let mut bed = Bed::new(policy);
        let mut sessions: BTreeMap<u32, Session<Client>> = BTreeMap::new();
        let mut expected: BTreeMap<u32, (u32, u32, u32, u32)> = BTreeMap::new();
        for (step, slot, priority, weight, slice) in steps {
            grant(slot, 256 + slot, slot + 1, false);
            match (step, sessions.get_mut(&slot)) {
                (0, None) => {
                    sessions.insert(slot, bed.open(10 + slot, slot).unwrap());
                    expected.insert(slot, (slot + 1, weight_of(slot + 1), DEFAULT_SLICE, slot + 1));
                }
                (0, Some(_)) => prop_assert_eq!(bed.open(99, slot).err(), Some(Error::Exhausted)),
                (1, Some(session)) => {
                    bed.server().close(session);
                    sessions.remove(&slot);
                    expected.remove(&slot);
                }
                (2 | 3, Some(session)) => {
                    let result = bed.server().set(session, priority, weight, slice);
                    let allowed = if priority > slot + 1 {
                        Err(SchedulerError::Priority)
                    } else if weight == 0 || weight > weight_of(slot + 1) {
                        Err(SchedulerError::Weight)
                    } else if slice == 0 || slice > MAX_SLICE {
                        Err(SchedulerError::Slice)
                    } else {
                        expected.insert(slot, (priority, weight, slice, slot + 1));
                        Ok(())
                    };
                    prop_assert_eq!(result, allowed);
                }
                (4, _) => bed.fail(sessions.values_mut()),
                _ => {}
            }
            prop_assert_eq!(bed.server().self_test(), Ok(()));
            for (slot, session) in &mut sessions {
                prop_assert_eq!(bed.server().get(session).ok(), expected.get(slot).copied());
            }
            // Those without a session are as they were at first: all equal, so they take turns.
            let mut previous = None;
            let mut turns = [0; 3];
            for _ in 0..90 {
                let slot = bed.server().decide(0b111 << 40, previous, 4).slot;
                previous = Some(slot);
                turns[slot as usize - 40] += 1;
            }
            prop_assert!(turns.iter().all(|turns| (25..=35).contains(turns)), "{:?}", turns);
        }
    }
}

#[test]
fn a_scheduler_that_fails_every_time_still_lets_everybody_run() {
    for policy in 0..2 {
        let mut bed = Bed::new(policy);
        let mut sessions: Vec<_> = (0..4).map(|slot| bed.thread(slot, slot * 2, 1 + slot * 50, 4)).collect();
        let (mut chosen, mut previous) = (Vec::new(), None);
        for _ in 0..8 {
            bed.fail(&mut sessions);
            let decision = bed.server().decide(0b1111, previous, 1);
            previous = Some(decision.slot);
            chosen.push(decision.slot);
        }
        assert_eq!(chosen, [1, 2, 3, 0, 1, 2, 3, 0], "policy {policy}");
        // Nor is it always the one behind whoever is chosen in between.
        chosen.clear();
        for _ in 0..4 {
            bed.fail(&mut sessions);
            chosen.push(bed.server().decide(0b1111, Some(0), 1).slot);
        }
        assert_eq!(chosen, [1, 2, 3, 0], "policy {policy}");
    }
}

#[test]
fn who_is_interrupted_has_the_rest_of_its_slice() {
    let mut bed = Bed::new(PolicyKind::Priorities as u32);
    let _sessions: Vec<_> = (0..3).map(|slot| bed.thread(slot, 5, 1, 8)).collect();
    let mut decide = |ready, previous, ticks| {
        let decision = bed.server().decide(ready, previous, ticks);
        (decision.slot, decision.slice)
    };
    assert_eq!(decide(0b011, None, 0), (1, 1), "the first turn goes round");
    assert_eq!(decide(0b011, Some(1), 1), (0, 8));
    assert_eq!(decide(0b111, Some(0), 3), (0, 5), "another one becomes ready");
    assert_eq!(decide(0b111, Some(0), 0), (1, 8), "it yields");
    assert_eq!(decide(0b101, Some(1), 0), (2, 8), "it waits");
    assert_eq!(decide(0b101, Some(2), 8), (0, 8), "its slice is over");
    assert_eq!(decide(0b101, Some(0), 8), (2, 8), "its slice is over");
    assert_eq!(decide(0b101, Some(2), 8), (0, 8), "its slice is over");
    assert_eq!(decide(0b101, Some(0), 8), (2, 1), "a fair turn");
    assert_eq!(decide(0b111, Some(2), 0), (2, 1), "lasts for its tick");
    assert_eq!(decide(0b111, Some(2), 1), (1, 8), "whoever becomes ready");
}

#[test]
fn strides_charge_whoever_gives_up_in_time() {
    let mut bed = Bed::new(PolicyKind::Stride as u32);
    let _sessions: Vec<_> = (0..2).map(|slot| bed.thread(slot, 4, 64 << slot, 4)).collect();
    let mut turns = [0; 2];
    let mut previous = None;
    for _ in 0..300 {
        let decision = bed.server().decide(0b11, previous, 0);
        previous = Some(decision.slot);
        turns[decision.slot as usize] += 1;
    }
    assert_eq!(turns, [100, 200]);
}

#[test]
fn nothing_is_saved_up_by_waiting() {
    let mut bed = Bed::new(PolicyKind::Stride as u32);
    let _sessions: Vec<_> = (0..3).map(|slot| bed.thread(slot, 4, 100, 4)).collect();
    let mut previous = None;
    for _ in 0..100 {
        previous = Some(bed.server().decide(0b011, previous, 4).slot);
    }
    // The third one was away for 400 ticks; now the three take turns.
    let mut turns = [0; 3];
    for _ in 0..30 {
        previous = Some(bed.server().decide(0b111, previous, 4).slot);
        turns[previous.unwrap() as usize] += 1;
    }
    assert!(turns.iter().all(|turns| (9..=11).contains(turns)), "{turns:?}");
}

#[test]
fn the_policy_is_changed_by_who_may_and_survives() {
    let mut bed = Bed::new(0);
    grant(1, 257, 4, false);
    grant(2, 258, 4, true);
    let (mut user, mut administrator) = (bed.open(1, 1).unwrap(), bed.open(2, 2).unwrap());
    assert_eq!(bed.server().set_policy(&mut user, PolicyKind::Stride), Err(SchedulerError::NotAllowed));
    assert_eq!(bed.server().policy(&mut user), Ok(PolicyKind::Priorities));
    bed.server().set(&mut user, 2, 7, 3).unwrap();
    assert_eq!(bed.server().set_policy(&mut administrator, PolicyKind::Stride), Ok(()));
    bed.fail([&mut user, &mut administrator]);
    assert_eq!(bed.server().policy(&mut user), Ok(PolicyKind::Stride));
    assert_eq!(bed.server().get(&mut user), Ok((2, 7, 3, 4)));
    assert_eq!(bed.server().self_test(), Ok(()));
    for (argument, policy) in [(0, PolicyKind::Priorities), (1, PolicyKind::Stride), (2, PolicyKind::Priorities)] {
        let mut bed = Bed::new(argument);
        assert_eq!(bed.server().policy(&mut user), Ok(policy));
    }
}

#[test]
fn services_and_strangers_have_no_session() {
    let mut bed = Bed::new(0);
    let mut session = Session::<Client>::for_test(1);
    for client in [0, 63, 128, u32::MAX] {
        session.set_client_for_test(client);
        assert_eq!(bed.server().open(&mut session), Err(Error::NotPermitted));
    }
    assert_eq!(bed.open(2, 50).err(), Some(Error::NotFound));
}

#[test]
fn nonsense_is_not_reloaded() {
    let mut bed = Bed::new(0);
    grant(3, 259, 4, true);
    assert!(bed.open(5, 3).unwrap().is_intact());
    // Behind the header: stamp, then slot, process, limit, priority, weight, slice, administrator.
    for (word, value) in
        [(6, 64), (8, 8), (9, 5), (10, 0), (10, weight_of(4) + 1), (11, 0), (11, MAX_SLICE + 1), (12, 2)]
    {
        grant(3, 300 + word * 16 + value, 4, true);
        let mut session = bed.open(5, 3).unwrap();
        let at = word as usize * 4;
        session.bytes_for_test()[at..at + 4].copy_from_slice(&value.to_le_bytes());
        assert!(!session.is_intact(), "word {word} = {value}");
    }
}

#[test]
fn counts_are_of_the_client() {
    let mut bed = Bed::new(0);
    let mut session = bed.thread(1, 4, 1, 4);
    for (previous, ticks) in [(None, 9), (Some(1), 3), (Some(1), 4), (Some(0), 5)] {
        bed.server().decide(0b10, previous, ticks);
    }
    assert_eq!(bed.server().statistics(&mut session), Ok((4, 4, 7)));
}
