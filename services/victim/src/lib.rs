//! The sacrificial services of the isolation tests: one interface, and one implementation ([`Subject`]) that keeps
//! honest accounts and misbehaves in whatever way it is asked to.
//!
//! The packages `victim`, `vault`, `ledger`, `lazy`, `bare`, `mayfly` and `relay` are this implementation under
//! different manifests, each for another policy of the kernel. Nothing else in the system uses them.
#![no_std]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
extern crate alloc;

mod attack;
pub mod case;
mod events;
pub mod harm;
mod instructions;
mod memory;
mod peers;
mod subject;

pub use attack::{Attack, Hook, Strike};
pub use events::Plan;
pub use memory::{Large, Memory, Small};
pub use peers::Peer;
pub use subject::Subject;

use rt::{LentRead, LentWrite, Session, interface};

rt::errors! {
    /// What a sacrificial service says no to.
    pub enum VictimError {
        /// The service keeps nothing of the kind.
        Absent = 0x100, "this service has no such state";
        /// No such case, place or number.
        Unknown = 0x101, "there is no such case";
    }
}

/// Bytes of heap that the manifests of the sacrificial services and of the hostile client ask for.
pub const HEAP: u32 = 16 << 10;
/// Bytes of stack that they ask for.
pub const STACK: u32 = 8 << 10;
/// Bytes of common region that the services ask for.
pub const COMMON: u32 = 8 << 10;
/// What `attack` adds to the sums before it strikes: an undo that is not exact shows.
pub const TRACE: u32 = 1_000_000;
/// Methods of the interface.
pub const METHODS: u32 = 24;
/// Last argument of `arm`: a client that calls at random does not arm anything.
pub const ARM_KEY: u32 = 0x5afe_c0de;
/// `until` of a strike that happens at every attempt.
pub const ALWAYS: u32 = u32::MAX;

/// Accounts, and misbehaviour on request.
///
/// A strike has a condition `until`: it happens while the service was built fewer than `until` times. So a strike
/// with `until` = builds so far + 1 happens once, and the retried request finds an honest service.
#[interface(name = "victim")]
pub trait Victim {
    /// Adds to the sum of the session and to the sum of all; returns both.
    fn add(&mut self, session: &mut Session<Self::State>, amount: u32) -> Result<(u32, u32), VictimError>;
    /// Sum of the session, its requests so far, sum of all, times that the service was built.
    #[read_only]
    fn state(&mut self, session: &mut Session<Self::State>) -> Result<(u32, u32, u32, u32), VictimError>;
    /// Sessions opened and closed ever, reloads since the service was built, flushes of all sessions.
    #[read_only]
    fn counts(&mut self, session: &mut Session<Self::State>) -> Result<(u32, u32, u32, u32), VictimError>;
    /// Adds [`TRACE`] to everything that can be undone, then strikes; returns the session's sum.
    fn attack(
        &mut self,
        session: &mut Session<Self::State>,
        attack: Attack,
        argument: u32,
        until: u32,
    ) -> Result<u32, VictimError>;
    /// Makes a hook of one session (or of all: `u32::MAX`) strike. The constructor's `until` is a time: see [`Subject`].
    fn arm(
        &mut self,
        session: &mut Session<Self::State>,
        hook: Hook,
        attack: Attack,
        argument: u32,
        until: u32,
        whom: u32,
        key: u32,
    ) -> Result<(), VictimError>;
    /// Keeps the processor for some rounds of an empty loop; returns how often the client of `work` has changed.
    fn work(&mut self, session: &mut Session<Self::State>, rounds: u32) -> Result<u32, VictimError>;
    /// Flushes of this session.
    #[read_only]
    fn flushes(&mut self, session: &mut Session<Self::State>) -> Result<u32, VictimError>;
    /// As `add`, and asks for the hook `flush`.
    fn flushed(&mut self, session: &mut Session<Self::State>, amount: u32) -> Result<u32, VictimError>;
    /// As `add`, then the same at the next service of the route ([`Peer`]s, four bits each, from the lowest on), and
    /// so on. Returns the own sum, the innermost sum, and the error that a call on the way ended with.
    fn pass(
        &mut self,
        session: &mut Session<Self::State>,
        route: u32,
        amount: u32,
        strike: Strike,
        argument: u32,
        until: u32,
    ) -> Result<(u32, u32, u32), VictimError>;
    /// As `pass`, but the first service of the route is called so many times; the strike of a service behind this one
    /// happens at the last time.
    fn fan(
        &mut self,
        session: &mut Session<Self::State>,
        route: u32,
        times: u32,
        amount: u32,
        strike: Strike,
        argument: u32,
        until: u32,
    ) -> Result<(u32, u32, u32), VictimError>;
    /// Makes the copy that [`case::COPIES`] describes under this number; returns the kernel's code.
    fn wild_copy(
        &mut self,
        session: &mut Session<Self::State>,
        number: u32,
        read: LentRead<'_>,
        write: LentWrite<'_>,
    ) -> Result<u32, VictimError>;
    /// Copies what is lent for reading to what is lent for writing; returns the number of bytes.
    fn echo(
        &mut self,
        session: &mut Session<Self::State>,
        read: LentRead<'_>,
        write: LentWrite<'_>,
    ) -> Result<u32, VictimError>;
    /// Does something that must have no effect or be refused; see [`harm::Probe`].
    fn probe(
        &mut self,
        session: &mut Session<Self::State>,
        probe: harm::Probe,
        first: u32,
        second: u32,
    ) -> Result<u32, VictimError>;
    /// Writes a pattern to words of the session's bulk, then strikes; returns the digest.
    fn fill(
        &mut self,
        session: &mut Session<Self::State>,
        from: u32,
        count: u32,
        seed: u32,
        attack: Attack,
        argument: u32,
        until: u32,
    ) -> Result<u64, VictimError>;
    /// A checksum over the session's bulk.
    #[read_only]
    fn digest(&mut self, session: &mut Session<Self::State>) -> Result<u64, VictimError>;
    /// Breaks the promise to be read-only: writes to the session's bulk.
    #[read_only]
    fn scribble(&mut self, session: &mut Session<Self::State>) -> Result<u32, VictimError>;
    /// Says what is to be done when events come; forgets what was noted of earlier ones.
    fn plan(
        &mut self,
        session: &mut Session<Self::State>,
        plan: Plan,
        argument: u32,
        rounds: u32,
    ) -> Result<(), VictimError>;
    /// Upcalls, the events of all of them, steps, sessions that were skipped.
    #[read_only]
    fn diary(&mut self, session: &mut Session<Self::State>) -> Result<(u32, u32, u32, u32), VictimError>;
    /// Steps with this session and the events of those; steps of all sessions that no upcall led to; the session that
    /// was skipped last.
    #[read_only]
    fn steps(&mut self, session: &mut Session<Self::State>) -> Result<(u32, u32, u32, u32), VictimError>;
    /// Notifies the sessions from `first` on, then strikes; returns how many there were, and how many numbers are not of
    /// sessions of this service.
    fn tell(
        &mut self,
        session: &mut Session<Self::State>,
        first: u32,
        count: u32,
        attack: Attack,
        argument: u32,
        until: u32,
    ) -> Result<(u32, u32), VictimError>;
    /// Opens a session with another service, whose notifications set these events.
    fn listen(&mut self, session: &mut Session<Self::State>, peer: Peer, events: u32) -> Result<u32, VictimError>;
    /// Sets the deadline, in microseconds since boot; 0 = never.
    fn alarm(&mut self, session: &mut Session<Self::State>, at: u64) -> Result<(), VictimError>;
    /// Deadlines that came; how many of them were early; by how many microseconds one was late at most.
    #[read_only]
    fn alarms(&mut self, session: &mut Session<Self::State>) -> Result<(u32, u32, u32), VictimError>;
    /// Waits inside the activation, then keeps the processor for some rounds; returns the events that came, and the kernel's
    /// code.
    fn wait(
        &mut self,
        session: &mut Session<Self::State>,
        events: u32,
        ticks: u32,
        rounds: u32,
    ) -> Result<(u32, u32), VictimError>;
}
