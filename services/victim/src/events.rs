//! Events of the sacrificial services: what they do about them, and what they note.
//!
//! The notes are in the common region: those of an upcall or a step that failed are undone with it.

use rt::{Error, Events, Word, sys};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::attack::words;

/// Sessions have numbers below this.
const NUMBERS: usize = 8192;

words! {
    /// What a service does when events come. Every upcall keeps the processor for the rounds of the plan first.
    Plan {
        /// Notes them.
        Note,
        /// A step with the session whose number is the argument; it keeps the processor for the rounds.
        One,
        /// A step with each of its sessions; each keeps the processor for the rounds.
        Walk,
        /// A step with each of its sessions, which notifies that session.
        Tell,
        /// A step with each of its sessions, the very first of which sets a deadline that has passed already and keeps the
        /// processor for the rounds.
        Rearm,
        /// A step with each of its sessions, which calls the [`crate::Peer`] that is the argument.
        Call,
    }
}

/// A [`Plan`], as it is kept.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Orders {
    /// The plan's word.
    pub plan: u32,
    /// Its argument.
    pub argument: u32,
    /// Its rounds.
    pub rounds: u32,
    /// [`Plan::Rearm`]: 0 before the first step.
    pub first: u32,
}

impl Orders {
    /// The plan.
    pub fn plan(&self) -> Plan {
        Plan::from_word(self.plan).unwrap_or(Plan::Note)
    }
}

/// What happened since the plan was made.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Diary {
    /// Upcalls with events.
    pub upcalls: u32,
    /// The events of all of them.
    pub bits: u32,
    /// Steps.
    pub steps: u32,
    /// Steps that no upcall since the service was built had led to.
    pub strays: u32,
    /// Sessions that could not be opened for a step.
    pub skipped: u32,
    /// The latest of them.
    pub last_skipped: u32,
    /// Notifications that the kernel refused.
    pub refused: u32,
    /// Calls of other services that failed.
    pub failed: u32,
    /// When the deadline is due.
    pub due: [u32; 2],
    /// Deadlines that came.
    pub alarms: u32,
    /// Those that came too soon.
    pub early: u32,
    /// Microseconds that one came too late at most.
    pub late: u32,
}

impl Diary {
    /// An upcall.
    pub fn upcall(&mut self, events: Events) {
        self.upcalls += 1;
        self.bits |= events.bits();
        let due = u64::from(self.due[1]) << 32 | u64::from(self.due[0]);
        if events.contains(Events::DEADLINE)
            && due != 0
            && let Ok(now) = sys::time_us()
        {
            self.alarms += 1;
            self.early += u32::from(now < due);
            self.late = self.late.max(now.saturating_sub(due) as u32);
            self.due = [0; 2];
        }
    }

    /// A step; whether the service knows why.
    pub fn step(&mut self, expected: bool) {
        self.steps += 1;
        self.strays += u32::from(!expected);
    }

    /// A session that could not be opened.
    pub fn skipped(&mut self, session: u32, _: Events) {
        self.skipped += 1;
        self.last_skipped = session;
    }

    /// The outcome of a notification.
    pub fn told(&mut self, result: Result<(), Error>) {
        self.refused += u32::from(result.is_err());
    }
}

/// A set of sessions.
pub struct Known {
    words: [u32; NUMBERS / 32],
}

impl Known {
    /// None.
    pub const fn new() -> Self {
        Known { words: [0; NUMBERS / 32] }
    }

    /// Takes a session in or out. Where sessions have no number there is nothing to know.
    pub fn put(&mut self, session: u32, known: bool) {
        if let Some(word) = self.words.get_mut(session as usize / 32) {
            *word = *word & !(1 << (session % 32)) | u32::from(known) << (session % 32);
        }
    }

    /// The first session behind this one, or of all.
    pub fn after(&self, last: Option<u32>) -> Option<u32> {
        let from = last.map_or(0, |last| last.saturating_add(1));
        let mut bits = self.words.get(from as usize / 32)? & u32::MAX << (from % 32);
        let mut word = from / 32;
        while bits == 0 {
            word += 1;
            bits = *self.words.get(word as usize)?;
        }
        Some(word * 32 + bits.trailing_zeros())
    }
}
