//! What the sacrificial services keep: a record for each session, and a board for all.

use rt::{Session, SsrState, State};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::COMMON;
use crate::events::{Diary, Orders};

/// What every session has, where the service has sessions' state at all.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Record {
    /// Sum of all amounts.
    pub sum: u32,
    /// Requests so far.
    pub requests: u32,
    /// Runs of the hook `flush`.
    pub flushes: u32,
    /// 0 while the content makes sense.
    pub spoiled: u32,
    /// Steps of the service's events with this session.
    pub steps: u32,
    /// Events of those steps.
    pub bits: u32,
}

/// Session state that fits into a page.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[ssr(pages = 1, validate = Small::holds)]
#[repr(C)]
pub struct Small {
    record: Record,
    bulk: [u32; 96],
}

impl Small {
    fn holds(&self) -> bool {
        self.record.spoiled == 0
    }
}

/// Session state of several pages.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[ssr(pages = 8, validate = Large::holds)]
#[repr(C)]
pub struct Large {
    record: Record,
    bulk: [u32; 5 * 1024],
}

impl Large {
    fn holds(&self) -> bool {
        self.record.spoiled == 0
    }
}

/// State that a [`crate::Subject`] can keep for a session.
pub trait Memory: State {
    /// The record, if there is one.
    fn record(session: &mut Session<Self>) -> Option<&mut Record>
    where
        Self: Sized;
    /// The rest; empty if there is none.
    fn bulk(session: &mut Session<Self>) -> &mut [u32]
    where
        Self: Sized;
    /// The session's number; `u32::MAX` where sessions have no state, and so no number.
    fn number(session: &Session<Self>) -> u32
    where
        Self: Sized;
}

macro_rules! memory {
    ($type:ty) => {
        impl Memory for $type {
            fn record(session: &mut Session<Self>) -> Option<&mut Record> {
                Some(&mut session.record)
            }

            fn bulk(session: &mut Session<Self>) -> &mut [u32] {
                &mut session.bulk
            }

            fn number(session: &Session<Self>) -> u32 {
                session.number()
            }
        }
    };
}
memory!(Small);
memory!(Large);

impl Memory for () {
    fn record(_: &mut Session<()>) -> Option<&mut Record> {
        None
    }

    fn bulk(_: &mut Session<()>) -> &mut [u32] {
        &mut []
    }

    fn number(_: &Session<()>) -> u32 {
        u32::MAX
    }
}

/// How a hook is armed. Nobody: `attack` = 0.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Arm {
    /// The attack's number.
    pub attack: u32,
    /// Its argument.
    pub argument: u32,
    /// Its condition.
    pub until: u32,
    /// The session concerned, `u32::MAX` for all.
    pub whom: u32,
}

/// The common region: what all sessions share.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Board {
    /// Sum of all amounts of all sessions.
    pub sum: u32,
    /// Constructors that ran to their end.
    pub builds: u32,
    /// Sessions opened.
    pub opened: u32,
    /// Sessions closed.
    pub closed: u32,
    /// The latest session that called `work`.
    pub worker: u32,
    /// How often that changed.
    pub changes: u32,
    /// Runs of the hook `flush` for any session.
    pub flushes: u32,
    /// Armed hooks, in the order of [`crate::Hook`].
    pub arms: [Arm; 7],
    /// What is done about events.
    pub plan: Orders,
    /// What was done.
    pub diary: Diary,
    /// Fills the region.
    pub rest: [u32; Board::REST],
}

impl Board {
    /// Words at the region's end.
    const REST: usize = COMMON as usize / 4 - 35 - (size_of::<Orders>() + size_of::<Diary>()) / 4;
    /// The last word, on another page than the sums.
    pub const LAST: usize = Board::REST - 1;
}

const _: () = assert!(size_of::<Board>() == COMMON as usize);
