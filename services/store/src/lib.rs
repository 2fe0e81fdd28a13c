//! `store`: a registry of small named values, after MINIX 3's data store. Who has something to say publishes it under a key; who
//! wants to know looks it up, or subscribes and is notified.
//!
//! ```no_run
//! # fn run() -> Result<(), rt::CallError<store::StoreError>> {
//! use rt::Events;
//! use store::{Notice, StoreClient, Subscriber};
//!
//! let store = StoreClient::bind()?;
//! store.put("driver.uart", b"ready")?;
//!
//! // Notifications of this session set bit 1 of the program's events.
//! let subscriber = Subscriber::bind(Events::from_bits_truncate(2))?;
//! subscriber.follow("driver.*", true)?; // what is there already is reported, too
//! if let Notice::Published(key) = subscriber.wait()? {
//!     let mut value = [0; store::MAX_VALUE];
//!     let state = subscriber.get(key.as_str(), &mut value)?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! An entry belongs to the session that published it first: nobody else overwrites or withdraws it, and it is withdrawn when
//! its session ends. Each change has a version, greater than all before. A subscriber is told of every key that changed and
//! matches one of its patterns, once for the latest change of the key, in the order of versions; it is notified when there is
//! something to be told. Withdrawals are remembered for those who have not yet asked, the latest 63 of all at least; who asks so late
//! that some are forgotten is told that, too ([`Change::Missed`]). No failure of the service changes any of this.
//!
//! # Where it is, and why no failure shows
//!
//! | what | where | after a failure |
//! |---|---|---|
//! | a client's entries, its patterns and how far each has been told ([`session`]) | its SSR | as the last committed request left them |
//! | what others see of the entries, and withdrawals ([`registry`]) | common region | the same, undone together with the SSRs |
//! | patterns of all sessions | private | derived from the SSRs, by `reload` |
//!
//! While one client is served no other client's SSR is in reach, so what all can see is in the common region, and the service is
//! `serial`: a request that changed something retains all of it until it commits. A session's entries in the registry are
//! compared with its SSR when it is reloaded, and mended from there.
//!
//! **No change is forgotten.** There are no marks of pending changes that could get lost: a subscription has the version up to which
//! it has been told, every place in the registry has the version of its latest change, and what lies above is what is to be told.
//!
//! **Versions never go backwards.** Let `top` be the greatest version in the registry, the one up to which withdrawals are
//! forgotten included. It never sinks from one committed state to the next: a place's version is replaced by a greater one
//! only, and a place is used for another key only when its version has been entered as forgotten. A new version is greater
//! than `top`. Whatever a client has seen of a committed state is not above `top` of that state, and what a subscription
//! is set to is a version that was found in the registry by the same request. So no version that a client has seen comes again for another
//! change, and no subscription is ahead of a change yet to come. An undone request takes `top` back to what it was, together
//! with all who saw more of it: nobody else was served in between. (The counter in private memory is only a shortcut: it is
//! `top` or greater, never what a subscription is set to.)
//!
//! **No notification is forgotten.** It leaves when the request commits, with the change. Who has to be notified is in private
//! memory, which no undo reaches; there a pattern may stay too long, but is only taken away by a step (or `reload`) of its own
//! session, which no running request retains. Such a step also notifies its own client, for changes that came while the
//! pattern was not known.
//!
//! **No entry outlives its owner.** `close` withdraws what the session had. If its state was lost instead, its entries are
//! left without owner: after a failure of the service, and when somebody else wants the key, each owner that was not reloaded is
//! asked for with a step, and if there is no such session its entries are withdrawn.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod client;
mod interface;
pub mod key;
pub mod registry;
pub mod server;
pub mod session;

pub use client::{Entry, Notice, Subscriber};
pub use interface::{Change, Store, StoreClient, StoreEntries};
pub use key::Key;

/// The most bytes of a key or a pattern.
pub const MAX_KEY: usize = 32;
/// The most bytes of a value.
pub const MAX_VALUE: usize = 64;
/// The most entries of a session.
pub const MAX_ENTRIES: usize = 16;
/// The most subscriptions of a session.
pub const MAX_SUBSCRIPTIONS: usize = 8;

rt::errors! {
    /// What can be wrong with a request to `store`. Nothing has changed then.
    pub enum StoreError {
        /// No key: 1 to [`MAX_KEY`] bytes of UTF-8 without control characters and `*`.
        BadKey = 0x100, "a key has 1 to 32 bytes of UTF-8, no control characters and no *";
        /// No pattern: a key, or the start of one (which may be empty) and a `*`.
        BadPattern = 0x101, "a pattern is a key, or the start of keys with a * behind it, of 32 bytes at most";
        /// The value has more than [`MAX_VALUE`] bytes.
        ValueTooLong = 0x102, "a value has at most 64 bytes";
        /// Nothing is published under this key; at the end of a list, no key follows.
        NotFound = 0x103, "nothing is published under this key";
        /// Another session has published under this key.
        NotOwner = 0x104, "the key belongs to another session";
        /// The session has [`MAX_ENTRIES`] entries.
        TooManyEntries = 0x105, "too many entries in this session: withdraw one, or bind once more";
        /// The session has [`MAX_SUBSCRIPTIONS`] subscriptions.
        TooManySubscriptions = 0x106, "too many subscriptions in this session: end one, or bind once more";
        /// The session has no subscription with this pattern.
        NotSubscribed = 0x107, "this session has no subscription with this pattern";
        /// The buffer is too short for what it is to hold.
        BufferTooShort = 0x108, "the buffer is too short: keys have up to 32 bytes, values up to 64";
        /// The registry is full of entries of sessions that are about to end.
        NoRoom = 0x109, "the registry is full for the moment: try again";
    }
}
