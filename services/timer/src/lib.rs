//! `timer`: the clock, and alarms that no failure of the service loses, brings early or doubles.
//!
//! A client sets alarms, each under a number of its own choice, once or periodically. When one is due the service counts
//! its expiry in the client's session and notifies the client; the client then takes the expiry. [`Alarms`] does that:
//!
//! ```no_run
//! # fn run() -> Result<(), rt::CallError<timer::TimerError>> {
//! use rt::Events;
//! use timer::Alarms;
//!
//! // Notifications of this session set bit 0 of the program's events.
//! let alarms = Alarms::bind(Events::from_bits_truncate(1))?;
//! alarms.set(7, 50_000, 0)?; // alarm 7, once, in 50 ms
//! alarms.set(8, 1_000, 20_000)?; // alarm 8, in 1 ms and every 20 ms from then on
//! let expiry = alarms.wait()?; // alarm 8, once
//! alarms.sleep(10_000)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! Each expiry of an alarm is counted once: not before its time, at the first tick of a millisecond at which the service can
//! run after it, whatever the service failed at meanwhile. An expiry stays until it is taken, until its alarm is set anew or
//! cancelled, or until the session ends. How late the latest one was is measured ([`TimerClient::lateness`]). A periodic
//! alarm keeps its phase; the expiries that came while nobody could look are counted, not dropped.
//!
//! # Why no failure shows
//!
//! | what | where | after a failure |
//! |---|---|---|
//! | a client's alarms and expiries not yet taken | its SSR ([`alarms`]) | as the last committed step left them |
//! | for each session a time not after its next expiry | private ([`queue`]) | derived from the SSRs, by `reload` |
//! | the one deadline | the kernel | set anew by the constructor, and by each self-test |
//!
//! An alarm expires in a step that has its session open: it is marked, its next time set, and its client notified. All
//! that takes effect when the step commits, and nothing of it before. A failure earlier leaves the alarm due, and the event is
//! delivered again; a failure later finds the alarm marked. So an expiry is neither lost nor doubled. It is never early
//! because a step looks at the clock, not at what woke it.
//!
//! The queue only says which session to open, and a time that is too early does no harm there: the step finds nothing due and
//! puts the right one in. Therefore nothing but a step and `reload` ever makes an entry later. A request that another service
//! makes can be undone after its call has returned, and with it the SSR; were the queue changed by `cancel`, it would
//! forget an alarm that comes back. The same goes for the deadline, which no rollback undoes: too early is harmless.
//! A constructor sets it to now, because only the event that follows knows all sessions again.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod alarms;
mod client;
mod interface;
pub mod queue;
pub mod server;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use client::{Alarms, SLEEP};
pub use interface::{Timer, TimerClient, TimerEntries};

/// The most alarms that a session has at once.
pub const MAX_ALARMS: usize = 160;
/// The shortest period, in microseconds: the kernel's tick. What expires more often could not be told apart.
pub const MIN_PERIOD_US: u64 = 1_000;
/// Times, delays and periods lie below this, in microseconds: 146,000 years. Twice as much is still a `u64`.
pub const TIME_LIMIT_US: u64 = 1 << 62;

rt::errors! {
    /// What can be wrong with a request to `timer`. Nothing has changed then.
    pub enum TimerError {
        /// The session has [`MAX_ALARMS`] alarms with other numbers.
        TooManyAlarms = 0x100, "too many alarms in this session: cancel one, or bind once more";
        /// The session has no alarm with this number, or it was set once and its expiry was taken.
        NoSuchAlarm = 0x101, "no alarm with this number is set";
        /// The period is not 0 and shorter than [`MIN_PERIOD_US`].
        PeriodTooShort = 0x102, "the period is shorter than 1000 us: choose a longer one, or 0 for none";
        /// The delay, the time or the period is [`TIME_LIMIT_US`] or more.
        TooFar = 0x103, "the time is too far in the future: it must lie below 2^62 us";
    }
}

/// An alarm that has expired, and how often since this was last asked. What [`TimerClient::take_all`] fills a buffer with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Expiry {
    /// The alarm's number.
    pub alarm: u32,
    /// Expiries, at least 1. Stops at `u32::MAX`.
    pub count: u32,
}
