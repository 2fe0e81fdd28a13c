//! Single cases: integrity, exhaustion, handles, enumeration, and two requests in one server.

use abi::info::Pool;
use abi::{Error, Handle};
use proptest::prelude::*;

use super::model::platform::Machine;
use crate::*;

type Ssr = Manager<2, 8, 8, 16>;

const SERVER: ServerId = ServerId::new(0);
const REQUEST: RequestId = RequestId::new(0);
const CLIENT: u32 = 7;
const PLAIN: ServerConfig = ServerConfig { ssr_pages: 1, max_bindings: 8, ..ServerConfig::INITIAL };
const CHECKED: ServerConfig = ServerConfig { ssr_pages: 3, undo_pages: 4, common_pages: 2, integrity: true, ..PLAIN };

fn with_server(config: &ServerConfig) -> (Box<Ssr>, Machine) {
    let (mut ssr, mut machine) = (Box::new(Ssr::new()), Machine::new(1000));
    machine.make_common(SERVER, config.common_pages.into());
    ssr.register(SERVER, config, &mut machine).expect("room");
    (ssr, machine)
}

fn session(ssr: &mut Ssr, machine: &mut Machine, client: u32, nested: bool) -> BindingId {
    let b = ssr.bind(SERVER, client, 0, 0, nested, machine).expect("room");
    ssr.opened(b, machine);
    b
}

/// A call that makes an SSR `used` bytes long and fills it.
fn fill(ssr: &mut Ssr, machine: &mut Machine, b: BindingId, used: usize) {
    assert_eq!(ssr.begin(b, Some(REQUEST), machine), Ok(Begin::Ready));
    for offset in 16..used {
        store(ssr, machine, Region::Ssr(b), offset, offset as u8);
    }
    for (offset, value) in (4..).zip((used as u32).to_le_bytes()) {
        store(ssr, machine, Region::Ssr(b), offset, value);
    }
    assert_eq!(ssr.finish(SERVER, machine), Ok(()));
}

fn store(ssr: &mut Ssr, machine: &mut Machine, region: Region, offset: usize, value: u8) {
    let kind = if let Region::Ssr(_) = region { RegionKind::Ssr } else { RegionKind::Common };
    if machine.access(region, offset / PAGE_SIZE) == Access::ReadOnly {
        assert_eq!(ssr.write_fault(SERVER, kind, offset / PAGE_SIZE, machine), Ok(Fault::Opened));
    }
    machine.poke(region, offset, value);
}

fn flip(machine: &mut Machine, region: Region, offset: usize, bit: u8) {
    let value = machine.bytes(region, offset / PAGE_SIZE)[offset % PAGE_SIZE];
    machine.poke(region, offset, value ^ 1 << bit);
}

/// One whole round of `verify_next`.
fn scrub(ssr: &mut Ssr, machine: &Machine) -> Vec<Verified> {
    std::iter::successors(ssr.verify_next(SERVER, None, machine), |last| ssr.verify_next(SERVER, Some(*last), machine))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A flipped bit in a small SSR is found by the next call and by the scrub, and costs that session alone.
    #[test]
    fn a_bit_of_a_small_ssr(used in 16..=PAGE_SIZE, offset in any::<prop::sample::Index>(), bit in 0..8_u8, scrubbed: bool) {
        let (mut ssr, mut machine) = with_server(&ServerConfig { ssr_pages: 1, ..CHECKED });
        let [hit, other] = [0, 1].map(|_| session(&mut ssr, &mut machine, CLIENT, false));
        fill(&mut ssr, &mut machine, hit, used);
        fill(&mut ssr, &mut machine, other, used);
        flip(&mut machine, Region::Ssr(hit), offset.index(used), bit);
        if scrubbed {
            let (good, damaged): (Vec<_>, Vec<_>) = scrub(&mut ssr, &machine).into_iter().partition(|page| page.intact);
            prop_assert_eq!(damaged, vec![Verified { region: Region::Ssr(hit), page: 0, intact: false }]);
            prop_assert_eq!(good.len(), 3);
        } else {
            prop_assert_eq!(ssr.begin(hit, Some(REQUEST), &mut machine), Err(BeginError::Lost));
        }
        prop_assert_eq!(ssr.binding(hit).state, State::Lost);
        prop_assert_eq!(ssr.find(ssr.handle(hit), CLIENT), Ok(hit));
        prop_assert_eq!(ssr.begin(hit, Some(REQUEST), &mut machine), Err(BeginError::Lost));
        prop_assert_eq!(ssr.begin(other, Some(REQUEST), &mut machine), Ok(Begin::Ready));
    }

    /// The same for a large SSR, page by page: by the first write to the page and by the scrub.
    #[test]
    fn a_bit_of_a_large_ssr(used in 16..=3 * PAGE_SIZE, offset in any::<prop::sample::Index>(), bit in 0..8_u8, scrubbed: bool) {
        let (mut ssr, mut machine) = with_server(&CHECKED);
        let [hit, other] = [0, 1].map(|_| session(&mut ssr, &mut machine, CLIENT, false));
        fill(&mut ssr, &mut machine, hit, used);
        fill(&mut ssr, &mut machine, other, 3 * PAGE_SIZE);
        let offset = offset.index(used);
        let page = offset / PAGE_SIZE;
        flip(&mut machine, Region::Ssr(hit), offset, bit);
        if scrubbed {
            let damaged: Vec<_> = scrub(&mut ssr, &machine).into_iter().filter(|page| !page.intact).collect();
            prop_assert_eq!(damaged, vec![Verified { region: Region::Ssr(hit), page, intact: false }]);
        } else {
            prop_assert_eq!(ssr.begin(hit, Some(REQUEST), &mut machine), Ok(Begin::Ready));
            prop_assert_eq!(ssr.write_fault(SERVER, RegionKind::Ssr, page, &mut machine), Ok(Fault::Damaged));
            prop_assert_eq!(machine.access(Region::Ssr(hit), page), Access::ReadOnly);
            ssr.rollback(SERVER, &mut machine);
        }
        prop_assert_eq!(ssr.binding(hit).state, State::Lost);
        prop_assert_eq!(ssr.binding(other).state, State::Active);
        prop_assert!(scrub(&mut ssr, &machine).iter().all(|page| page.intact));
    }

    /// The same for a common region, which costs no session.
    #[test]
    fn a_bit_of_a_common_region(offset in 0..2 * PAGE_SIZE, bit in 0..8_u8) {
        let (mut ssr, mut machine) = with_server(&CHECKED);
        let b = session(&mut ssr, &mut machine, CLIENT, false);
        prop_assert_eq!(ssr.begin_object(SERVER, None), Ok(()));
        for offset in [5, PAGE_SIZE + 5] {
            store(&mut ssr, &mut machine, Region::Common(SERVER), offset, 0xcc);
        }
        prop_assert_eq!(ssr.finish(SERVER, &mut machine), Ok(()));
        prop_assert_eq!(scrub(&mut ssr, &machine).len(), 3);
        flip(&mut machine, Region::Common(SERVER), offset, bit);
        let page = offset / PAGE_SIZE;
        let damaged: Vec<_> = scrub(&mut ssr, &machine).into_iter().filter(|page| !page.intact).collect();
        prop_assert_eq!(damaged, vec![Verified { region: Region::Common(SERVER), page, intact: false }]);
        prop_assert_eq!(ssr.begin(b, Some(REQUEST), &mut machine), Ok(Begin::Ready));
        prop_assert_eq!(ssr.write_fault(SERVER, RegionKind::Common, page, &mut machine), Ok(Fault::Damaged));
        prop_assert_eq!(ssr.write_fault(SERVER, RegionKind::Common, 1 - page, &mut machine), Ok(Fault::Opened));
        prop_assert_eq!(scrub(&mut ssr, &machine).len(), 0);
        ssr.rollback(SERVER, &mut machine);
        prop_assert_eq!(ssr.binding(b).state, State::Active);
    }

    /// An enumeration meets each session that lives throughout once, whatever ends or begins meanwhile.
    #[test]
    fn enumeration_is_stable(
        ends in prop::collection::vec((0..6_usize, 0..8_u16), 0..6),
        begins in 0..6_usize,
        of_client: bool,
    ) {
        let (mut ssr, mut machine) = with_server(&PLAIN);
        ssr.register(ServerId::new(1), &PLAIN, &mut machine).expect("room");
        let mut lasting: Vec<_> = (0..8).map(|_| session(&mut ssr, &mut machine, CLIENT, false)).collect();
        lasting.retain(|b| ends.iter().all(|(_, index)| usize::from(*index) != b.index()));
        let (mut met, mut cursor) = (Vec::new(), None);
        for step in 0.. {
            cursor = if of_client { ssr.sessions_of(CLIENT, cursor) } else { ssr.next_session(SERVER, cursor) };
            let Some(b) = cursor else { break };
            met.push(b);
            for (_, index) in ends.iter().filter(|(when, _)| *when == step) {
                if ssr.binding(BindingId::new(*index)).state == State::Active {
                    ssr.revoke(BindingId::new(*index), &mut machine);
                }
            }
            if step == begins && ssr.bindings_free() > 0 {
                // In a slot that just became free: of another server and another client.
                let _ = ssr.bind(ServerId::new(1), CLIENT + 1, 0, 0, false, &mut machine).expect("room");
            }
        }
        prop_assert!(met.is_sorted_by(|a, b| a < b));
        prop_assert!(lasting.iter().all(|b| met.contains(b)), "{:?} of {:?}", met, lasting);
    }
}

/// A server whose registration runs out of frames at any point has no sessions, and still accounts for its frames.
#[test]
fn a_failed_registration_makes_no_server() {
    for config in [CHECKED, ServerConfig { ssr_pages: 1, ..CHECKED }] {
        for frames in 0.. {
            let (mut ssr, mut machine) = (Box::new(Ssr::new()), Machine::new(frames));
            machine.make_common(SERVER, 2);
            let result = ssr.register(SERVER, &config, &mut machine);
            assert_eq!((machine.live(), ssr.frames_of(SERVER)), (frames, frames));
            machine.budget = 100;
            let bound = ssr.bind(SERVER, CLIENT, 0, 0, false, &mut machine);
            if result.is_ok() {
                assert!(bound.is_ok());
                break;
            }
            assert_eq!((result, bound), (Err(Pool::Frames), Err(Pool::ServerBindings)));
        }
    }
}

/// The undo log is promised to servers once; a common region has a largest size.
#[test]
fn a_registration_beyond_the_pools_is_refused() {
    let (mut ssr, mut machine) = with_server(&ServerConfig { undo_pages: 6, ..PLAIN });
    let other = ServerId::new(1);
    assert_eq!(ssr.register(other, &ServerConfig { undo_pages: 3, ..PLAIN }, &mut machine), Err(Pool::Undo));
    let common_pages = MAX_COMMON_PAGES as u16 + 1;
    assert_eq!(ssr.register(other, &ServerConfig { common_pages, ..PLAIN }, &mut machine), Err(Pool::Frames));
    assert_eq!(ssr.register(other, &ServerConfig { undo_pages: 2, ..PLAIN }, &mut machine), Ok(()));
}

/// A bind that runs out of page tables at any page keeps nothing.
#[test]
fn a_failed_bind_keeps_nothing() {
    let (mut ssr, mut machine) = with_server(&CHECKED);
    let before = machine.live();
    for tables in 0..3 {
        machine.tables = tables;
        assert_eq!(ssr.bind(SERVER, CLIENT, 0, 0, true, &mut machine), Err(Pool::PageTables));
        assert_eq!((machine.live(), machine.ended.len()), (before, tables + 1));
        assert_eq!((ssr.sessions(SERVER), ssr.bindings_free()), (0, 8));
    }
    machine.tables = 3;
    let b = ssr.bind(SERVER, CLIENT, 0, 0, true, &mut machine).expect("room");
    assert_eq!(ssr.handle(b), Handle { index: 0, generation: 4 });
}

/// The pools that `bind` can use up.
#[test]
fn quotas_and_counts() {
    let (mut ssr, mut machine) = with_server(&ServerConfig { max_bindings: 2, ..PLAIN });
    ssr.register(ServerId::new(1), &PLAIN, &mut machine).expect("room");
    session(&mut ssr, &mut machine, CLIENT, false);
    session(&mut ssr, &mut machine, CLIENT + 1, false);
    assert_eq!(ssr.bind(SERVER, CLIENT, 0, 0, false, &mut machine), Err(Pool::ServerBindings));
    for _ in 0..6 {
        ssr.bind(ServerId::new(1), CLIENT, 0, 0, false, &mut machine).expect("room");
    }
    assert_eq!(ssr.bind(ServerId::new(1), CLIENT, 0, 0, false, &mut machine), Err(Pool::Bindings));
    assert_eq!((ssr.bindings_of(CLIENT), ssr.bindings_of(CLIENT + 1), ssr.bindings_of(CLIENT + 2)), (7, 1, 0));
    assert_eq!((ssr.sessions(SERVER), ssr.bindings_free()), (2, 0));
    let held: Vec<_> =
        std::iter::successors(ssr.sessions_of(CLIENT, None), |b| ssr.sessions_of(CLIENT, Some(*b))).collect();
    assert_eq!(held.len(), 7);
    assert!(!held.contains(&BindingId::new(1)));
}

/// Handles: forged, of others, not yet open, closing, ended, and of a later session in the same slot.
#[test]
fn handles() {
    let (mut ssr, mut machine) = with_server(&PLAIN);
    let b = ssr.bind(SERVER, CLIENT, 0, 0, false, &mut machine).expect("room");
    let handle = ssr.handle(b);
    assert_eq!(ssr.find(handle, CLIENT), Err(Error::BadHandle));
    ssr.opened(b, &mut machine);
    assert_eq!(ssr.find(handle, CLIENT), Ok(b));
    assert_eq!(ssr.find(handle, CLIENT + 1), Err(Error::BadHandle));
    for (index, generation) in [(8, 1), (u32::MAX, 1), (0, 0), (0, 2), (1, 1), (1, 0), (0, u32::MAX)] {
        assert_eq!(ssr.find(Handle { index, generation }, CLIENT), Err(Error::BadHandle));
    }
    ssr.closing(b);
    assert_eq!(ssr.find(handle, CLIENT), Err(Error::StaleHandle));
    for _ in 0..2 {
        ssr.revoke(b, &mut machine);
        assert_eq!(ssr.find(handle, CLIENT), Err(Error::StaleHandle));
    }
    assert_eq!(machine.ended, [b]);
    assert_eq!(session(&mut ssr, &mut machine, CLIENT, false), b);
    assert_eq!(ssr.find(handle, CLIENT), Err(Error::StaleHandle));
    assert_ne!(ssr.handle(b), handle);
}

/// What is not the running activation's is no page to open.
#[test]
fn foreign_faults() {
    let (mut ssr, mut machine) = with_server(&CHECKED);
    let b = session(&mut ssr, &mut machine, CLIENT, false);
    let fault = |ssr: &mut Ssr, machine: &mut Machine, kind, page| ssr.write_fault(SERVER, kind, page, machine);
    for kind in [RegionKind::Ssr, RegionKind::Common] {
        assert_eq!(fault(&mut ssr, &mut machine, kind, 0), Ok(Fault::NotOurs));
    }
    ssr.begin_object(SERVER, None).expect("idle");
    assert_eq!(fault(&mut ssr, &mut machine, RegionKind::Ssr, 0), Ok(Fault::NotOurs));
    assert_eq!(fault(&mut ssr, &mut machine, RegionKind::Common, 2), Ok(Fault::NotOurs));
    ssr.rollback(SERVER, &mut machine);
    ssr.begin(b, None, &mut machine).expect("idle");
    assert_eq!(fault(&mut ssr, &mut machine, RegionKind::Ssr, 3), Ok(Fault::NotOurs));
    assert_eq!(fault(&mut ssr, &mut machine, RegionKind::Ssr, 1), Ok(Fault::Spurious));
}

/// Ending one request leaves alone what another has open in the common region of the same server.
#[test]
fn two_requests_in_one_server() {
    for undo in [false, true] {
        let (mut ssr, mut machine) = with_server(&CHECKED);
        let [mine, other] = [0, 1].map(|client| session(&mut ssr, &mut machine, client, true));
        ssr.begin(mine, Some(REQUEST), &mut machine).expect("idle");
        assert_eq!(ssr.finish(SERVER, &mut machine), Ok(()));
        ssr.begin(other, Some(RequestId::new(1)), &mut machine).expect("not serial");
        store(&mut ssr, &mut machine, Region::Common(SERVER), 0, 0xcc);
        if undo {
            while ssr.undo_next(REQUEST, &mut machine).is_some() {}
        } else {
            while ssr.release_next(REQUEST, &mut machine).is_some() {}
        }
        assert_eq!(machine.access(Region::Common(SERVER), 0), Access::ReadWrite);
        ssr.rollback(SERVER, &mut machine);
        assert_eq!(machine.bytes(Region::Common(SERVER), 0)[0], 0);
    }
}

/// After `commit_request` nothing can be undone any more, and nobody else comes in before the release.
#[test]
fn a_commit_is_final() {
    for ssr_pages in [1, 3] {
        let (mut ssr, mut machine) = with_server(&ServerConfig { ssr_pages, serial: true, ..CHECKED });
        let b = session(&mut ssr, &mut machine, CLIENT, true);
        ssr.begin(b, Some(REQUEST), &mut machine).expect("idle");
        for region in [Region::Ssr(b), Region::Common(SERVER)] {
            store(&mut ssr, &mut machine, region, 20, 0xcc);
        }
        assert_eq!(ssr.finish(SERVER, &mut machine), Ok(()));
        ssr.commit_request(REQUEST, &mut machine);
        assert_eq!(ssr.undo_free(SERVER), 4);
        assert_eq!(ssr.begin(b, Some(RequestId::new(1)), &mut machine), Err(BeginError::Busy));
        assert_eq!((ssr.retained(REQUEST, None), ssr.retained(REQUEST, Some(b))), (Some(b), None));
        while ssr.undo_next(REQUEST, &mut machine).is_some() {}
        assert_eq!((machine.bytes(Region::Ssr(b), 0)[20], machine.bytes(Region::Common(SERVER), 0)[20]), (0xcc, 0xcc));
        assert_eq!(ssr.retained(REQUEST, None), None);
    }
}

/// A session that was lost in its `open` hook does not come to life.
#[test]
fn lost_before_it_was_opened() {
    let (mut ssr, mut machine) = with_server(&PLAIN);
    let b = ssr.bind(SERVER, CLIENT, 0, 0, false, &mut machine).expect("room");
    ssr.lose(b);
    ssr.opened(b, &mut machine);
    assert_eq!(ssr.binding(b).state, State::Lost);
}

/// A session follows its server's epoch at its reload, however many recoveries it has missed; one that is opened later
/// starts in it, even if it was made before.
#[test]
fn epochs() {
    let (mut ssr, mut machine) = with_server(&PLAIN);
    let old = session(&mut ssr, &mut machine, CLIENT, false);
    ssr.set_view(old, 0x100, 0x7000);
    let opening = ssr.bind(SERVER, CLIENT, 0, 0, false, &mut machine).expect("room");
    for epoch in 1..=2 {
        ssr.mark_reload(SERVER);
        assert_eq!((ssr.epoch(SERVER), ssr.binding(old).epoch), (epoch, 0));
        assert!(ssr.needs_reload(old) && !ssr.needs_reload(opening));
    }
    ssr.opened(opening, &mut machine);
    let new = session(&mut ssr, &mut machine, CLIENT, false);
    assert!(!ssr.needs_reload(opening) && !ssr.needs_reload(new));
    assert_eq!((ssr.binding(opening).epoch, ssr.binding(new).epoch), (2, 2));
    // The fast path is refused by the epoch alone.
    assert_ne!(ssr.binding(old).fast_generation, 0);
    ssr.reloaded(old);
    assert!(!ssr.needs_reload(old));
    assert_eq!(ssr.binding(old).epoch, 2);
    ssr.servers[SERVER.index()].epoch = u32::MAX;
    ssr.reloaded(old);
    ssr.mark_reload(SERVER);
    assert_eq!(ssr.epoch(SERVER), 0);
    assert!(ssr.needs_reload(old));
}

/// An undo makes a reload due whether or not there was a recovery before or after it.
#[test]
fn an_undo_is_followed_by_a_reload() {
    for (before, after) in [(0, 0), (1, 0), (0, 1), (2, 2)] {
        let (mut ssr, mut machine) = with_server(&PLAIN);
        (0..before).for_each(|_| ssr.mark_reload(SERVER));
        let b = session(&mut ssr, &mut machine, CLIENT, true);
        ssr.begin(b, Some(REQUEST), &mut machine).expect("idle");
        assert_eq!(ssr.finish(SERVER, &mut machine), Ok(()));
        while ssr.undo_next(REQUEST, &mut machine).is_some() {}
        (0..after).for_each(|_| ssr.mark_reload(SERVER));
        assert_eq!(ssr.begin(b, Some(REQUEST), &mut machine), Ok(Begin::NeedsReload));
        assert_eq!(ssr.finish(SERVER, &mut machine), Ok(()));
        ssr.reloaded(b);
        assert_eq!(ssr.begin(b, Some(REQUEST), &mut machine), Ok(Begin::Ready));
    }
}

/// Without protection, all other SSRs lie behind each one, one after the other, as far as there is room; and all of it is
/// always writable.
#[test]
fn exposed() {
    for ssr_pages in [0, 1, 3, 120] {
        let config = ServerConfig { ssr_pages, exposed: true, ..PLAIN };
        let (mut ssr, mut machine) = with_server(&config);
        let mut live = Vec::new();
        let check = |live: &[BindingId], machine: &Machine| {
            let mut expected = Vec::new();
            for b in live {
                let others = live.iter().filter(|other| *other != b);
                let pages = others.flat_map(|other| (0..ssr_pages.into()).map(|page| (Region::Ssr(*other), page)));
                let room = (ssr_pages.into()..256).zip(pages);
                expected.extend(room.map(|(index, (region, page))| ((*b, index), machine.page(region, page))));
                assert!((0..ssr_pages.into()).all(|page| machine.access(Region::Ssr(*b), page) == Access::ReadWrite));
            }
            expected.sort_by_key(|(at, _)| *at);
            assert_eq!(machine.exposed.iter().map(|(at, page)| (*at, *page)).collect::<Vec<_>>(), expected);
        };
        for _ in 0..4 {
            live.push(session(&mut ssr, &mut machine, CLIENT, false));
            check(&live, &machine);
        }
        for b in &live {
            assert_eq!(ssr.begin(*b, Some(REQUEST), &mut machine), Ok(Begin::Ready));
            assert_eq!(ssr.finish(SERVER, &mut machine), Ok(()));
        }
        for index in [1, 2, 0, 0] {
            check(&live, &machine);
            ssr.revoke(live.remove(index), &mut machine);
        }
        check(&live, &machine);
        assert_eq!(machine.live(), ssr.frames_of(SERVER));
    }
}
