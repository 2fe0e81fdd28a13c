//! Random sequences of everything that can happen, against a model; and single cases.

mod cases;
mod model;
mod sets;

use model::{SERVERS, World};
use proptest::prelude::*;

use crate::{Manager, ServerConfig, ServerId};

impl<const S: usize, const B: usize, const U: usize, const R: usize> Manager<S, B, U, R> {
    /// Entries of a server's reserve that hold no pre-image.
    fn undo_free(&self, server: ServerId) -> usize {
        std::iter::successors(self.servers[server.index()].reserve, |id| self.undo[id.index()].next).count()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Bind { server: usize, client: u32, frames: Option<usize> },
    Open { choice: usize, seed: usize },
    Call { request: usize, choice: usize },
    Fast { request: usize, choice: usize, adopt: bool },
    Write { request: usize, seed: usize },
    Resize { request: usize, to: usize },
    Return { request: usize, flush: bool },
    Fail { request: usize, broken_header: bool },
    Abort { request: usize },
    Hook { choice: usize, seed: usize, upcall: bool, fails: bool },
    Recover { server: usize, lazy: bool, again: bool },
    Closing { choice: usize },
    Lose { choice: usize },
    Revoke { choice: usize },
    View { choice: usize },
    Events { choice: usize },
    Rollover,
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let (server, request, choice, seed) = (0..SERVERS, 0..model::REQUESTS, 0..64_usize, 0..100_000_usize);
    let frames = prop_oneof![3 => Just(None), 1 => (0..5_usize).prop_map(Some)];
    prop_oneof![
        4 => (server.clone(), client(), frames).prop_map(|(server, client, frames)| Bind { server, client, frames }),
        4 => (choice.clone(), seed.clone()).prop_map(|(choice, seed)| Open { choice, seed }),
        14 => (request.clone(), choice.clone()).prop_map(|(request, choice)| Call { request, choice }),
        8 => (request.clone(), choice.clone(), any::<bool>()).prop_map(|(request, choice, adopt)| Fast { request, choice, adopt }),
        16 => (request.clone(), seed.clone()).prop_map(|(request, seed)| Write { request, seed }),
        6 => (request.clone(), seed.clone()).prop_map(|(request, to)| Resize { request, to }),
        12 => (request.clone(), any::<bool>()).prop_map(|(request, flush)| Return { request, flush }),
        4 => (request.clone(), any::<bool>()).prop_map(|(request, broken_header)| Fail { request, broken_header }),
        2 => request.prop_map(|request| Abort { request }),
        3 => (choice.clone(), seed, any::<bool>(), any::<bool>())
            .prop_map(|(choice, seed, upcall, fails)| Hook { choice, seed, upcall, fails }),
        2 => (server, any::<bool>(), any::<bool>()).prop_map(|(server, lazy, again)| Recover { server, lazy, again }),
        1 => choice.clone().prop_map(|choice| Closing { choice }),
        1 => choice.clone().prop_map(|choice| Lose { choice }),
        1 => choice.clone().prop_map(|choice| Revoke { choice }),
        4 => choice.clone().prop_map(|choice| View { choice }),
        1 => choice.prop_map(|choice| Events { choice }),
        1 => Just(Rollover),
    ]
}

fn config() -> impl Strategy<Value = ServerConfig> {
    let ssr_pages = prop_oneof![1 => Just(0_u16), 3 => Just(1), 2 => Just(2), 2 => Just(3)];
    let integrity = prop::bool::weighted(0.3);
    (ssr_pages, 1..6_u16, 0..3_u16, 2..5_u16, any::<bool>(), integrity).prop_map(
        |(ssr_pages, undo_pages, common_pages, max_bindings, serial, integrity)| ServerConfig {
            ssr_pages,
            undo_pages,
            common_pages,
            max_bindings,
            serial,
            integrity,
            exposed: false,
        },
    )
}

/// Number of a client, more often of an object than of a program; seldom of an earlier one with the same index, which
/// makes no calls.
fn client() -> impl Strategy<Value = u32> {
    (prop_oneof![7 => Just(model::GENERATION), 1 => Just(0)], 0..model::CLIENTS as u32)
        .prop_map(|(generation, index)| generation | index)
}

fn run(world: &mut World, step: &Step) {
    match *step {
        Step::Bind { server, client, frames } => world.bind(server, client, frames),
        Step::Open { choice, seed } => world.open(choice, seed),
        Step::Call { request, choice } => world.call(request, choice),
        Step::Fast { request, choice, adopt } => world.fast(request, choice, adopt),
        Step::Write { request, seed } => world.write(request, seed),
        Step::Resize { request, to } => world.resize(request, to),
        Step::Return { request, flush } => world.ret(request, flush),
        Step::Fail { request, broken_header } => world.fail(request, broken_header),
        Step::Abort { request } => world.abort(request),
        Step::Hook { choice, seed, upcall, fails } => world.hook(choice, seed, upcall, fails),
        Step::Recover { server, lazy, again } => world.recover(server, lazy, again),
        Step::Closing { choice } => world.closing(choice),
        Step::Lose { choice } => world.lose(choice),
        Step::Revoke { choice } => world.revoke(choice),
        Step::View { choice } => world.view(choice),
        Step::Events { choice } => world.events(choice),
        Step::Rollover => world.rollover(),
    }
}

/// Programs and servers with sessions in several of the servers, all with views.
fn populate(world: &mut World, seed: usize) {
    for index in 0..model::BINDINGS {
        let client = model::GENERATION | ((seed + 3 * index) % model::CLIENTS) as u32;
        world.bind((seed / 8 + index) % SERVERS, client, None);
        world.open(0, seed + 7 * index);
    }
    (0..model::BINDINGS).for_each(|index| world.view(index));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    /// No sequence opens two SSRs of a server, leaks a frame, keeps a third pre-image, restores wrong bytes, or revives
    /// a stale handle.
    #[test]
    fn whatever_happens(
        configs in proptest::array::uniform5(config()),
        seed in 0..1000_usize,
        steps in proptest::collection::vec(step(), 1..160),
    ) {
        let mut world = World::new(&configs);
        populate(&mut world, seed);
        world.check();
        for step in &steps {
            run(&mut world, step);
            world.check();
        }
        world.tear_down();
    }
}

/// The random sequences reach what they are meant to reach.
#[test]
fn nothing_is_missed() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let mut seen = std::collections::BTreeMap::<&str, usize>::new();
    for seed in 0..200 {
        let configs = proptest::array::uniform5(config()).new_tree(&mut runner).expect("a value").current();
        let mut world = World::new(&configs);
        populate(&mut world, seed);
        for _ in 0..150 {
            let step = step().new_tree(&mut runner).expect("a value").current();
            run(&mut world, &step);
        }
        world.tear_down();
        for (what, count) in world.seen {
            *seen.entry(what).or_default() += count;
        }
    }
    for what in [
        "call",
        "nested call",
        "fast",
        "adopted",
        "opened",
        "undo exhausted",
        "grown",
        "shrunk",
        "damaged header",
        "rollback",
        "escalated",
        "undone",
        "released",
        "flush",
        "reload",
        "two recoveries without a reload",
        "upcall",
        "busy",
        "lost",
        "bind failed",
        "revoked",
        "revoke deferred",
    ] {
        assert!(seen.get(what).is_some_and(|count| *count >= 10), "hardly ever: {what}; {seen:?}");
    }
    println!("{seen:?}");
}
