//! Sessions on the host: what a service may rely on when it is given one, and what is not given back to it.

use rt::{Opaque, OpaqueState, Session, SsrState};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[ssr(version = 2, pages = 2, validate = State::holds)]
#[repr(C)]
struct State {
    count: u32,
    limit: u32,
}

impl State {
    fn holds(&self) -> bool {
        self.count <= self.limit
    }
}

/// The same fields under another version.
mod older {
    use super::*;

    #[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
    #[ssr(version = 1, pages = 2)]
    #[repr(C)]
    pub struct State {
        pub count: u32,
        pub limit: u32,
    }
}

/// Word `index` of the header.
fn set_header(session: &mut Session<State>, index: usize, value: u32) {
    session.bytes_for_test()[4 * index..4 * index + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn opens_zeroed_and_keeps_what_is_written() {
    let mut session = Session::<State>::for_test(7);
    assert_eq!((session.number(), session.count, session.limit), (7, 0, 0));
    session.limit = 3;
    session.count = 2;
    assert!(session.is_intact());
    assert_eq!(session.bytes_for_test()[16..24], [2, 0, 0, 0, 3, 0, 0, 0]);
}

#[test]
fn the_version_is_part_of_the_tag() {
    assert_ne!(<State as SsrState>::TAG, <older::State as SsrState>::TAG);
    let mut session = Session::<State>::for_test(1);
    set_header(&mut session, 3, <older::State as SsrState>::TAG);
    assert!(!session.is_intact());
}

#[test]
fn impossible_lengths_and_contents_are_not_intact() {
    for (used, intact) in [(0, false), (16, false), (23, false), (24, true), (8192, true), (8193, false)] {
        let mut session = Session::<State>::for_test(1);
        set_header(&mut session, 1, used);
        assert_eq!(session.is_intact(), intact, "used = {used}");
    }
    let mut session = Session::<State>::for_test(1);
    session.count = 1;
    assert!(!session.is_intact());
}

#[test]
fn the_tail_grows_zeroed_and_stops_at_the_end() {
    let mut session = Session::<State>::for_test(1);
    assert_eq!(session.tail_capacity(), 8192 - 24);
    assert_eq!(session.extend_tail(b"abc"), 3);
    session.set_tail_len(5).unwrap();
    assert_eq!(session.tail(), b"abc\0\0");
    session.set_tail_len(1).unwrap();
    session.set_tail_len(3).unwrap();
    assert_eq!(session.tail(), b"a\0\0", "what was cut off does not come back");
    let (state, tail) = session.parts_mut();
    state.limit = 9;
    tail[2] = b'z';
    assert_eq!((session.limit, session.tail()), (9, &b"a\0z"[..]));
    assert_eq!(session.set_tail_len(8169), Err(rt::Error::Exhausted));
    assert_eq!(session.extend_tail(&[1; 9000]), 8192 - 24 - 3);
    assert_eq!(session.extend_tail(b"x"), 0);
    assert!(session.is_intact());
}

#[test]
fn a_flush_is_asked_for_once() {
    let mut session = Session::<()>::for_test(1);
    assert!(!session.flush_requested());
    session.request_flush();
    assert!(session.flush_requested());
}

/// A value that is no plain bytes.
#[derive(Debug, PartialEq)]
enum Phase {
    Idle,
    Busy { left: core::num::NonZeroU32 },
}

struct Machine {
    phase: Phase,
}

// SAFETY: no references, no destructor; each of its states may be restored.
unsafe impl OpaqueState for Machine {
    const PAGES: u32 = 1;
    fn create() -> Self {
        Machine { phase: Phase::Idle }
    }
}

#[test]
fn an_opaque_value_lives_in_the_region() {
    let mut session = Session::<Opaque<Machine>>::for_test(1);
    assert_eq!(session.phase, Phase::Idle);
    session.phase = Phase::Busy { left: core::num::NonZeroU32::MIN };
    assert_eq!(session.phase, Phase::Busy { left: core::num::NonZeroU32::MIN });
    assert!(session.is_intact());
    session.bytes_for_test()[12] ^= 2;
    assert!(!session.is_intact(), "another image's value");
}
