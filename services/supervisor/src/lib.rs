//! Interface of the supervisor: the state of the services, orders to them, their restart policies, and the failure log.
#![no_std]
#![forbid(unsafe_code)]

use rt::abi::image::Policy;
use rt::{LentRead, LentWrite, Session, Word};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Failures that the log remembers.
pub const LOG_ENTRIES: usize = 128;
/// The longest time that a policy can name, in ticks of a millisecond: an hour.
pub const MAX_TIME: u32 = 3_600_000;
/// The shortest time between two self-tests, in ticks: more would be a load.
pub const MIN_HEARTBEAT: u32 = 10;

rt::errors! {
    /// What a request to the supervisor can fail with.
    pub enum SupervisorError {
        /// No service has this name.
        NoService = 0x100, "no such service";
        /// The supervisor gives no orders to itself: who would start it again?
        Itself = 0x101, "the supervisor gives no orders to itself";
        /// It is held or stopped: it can be started, not restarted.
        NotRunning = 0x102, "the service is held or stopped: start it";
        /// It runs already.
        Running = 0x103, "the service runs already";
        /// A policy with this value makes no sense.
        BadPolicy = 0x104, "the policy would make no sense: a back-off is at most its cap, a time at most an hour, a heartbeat 0 or at least 10 ms";
        /// The lent buffer does not hold even one record, or could not be copied.
        BadBuffer = 0x105, "the lent buffer is too short";
    }
}

/// Passes the values by their numbers.
macro_rules! words {
    ($($type:ident),+) => {
        $(impl Word for $type {
            fn into_word(self) -> u32 {
                self as u32
            }
            fn from_word(word: u32) -> Option<Self> {
                $type::from_number(word)
            }
        })+
    };
}

words!(Standing, Verdict, PolicyField);

rt::abi::kinds! {
    /// How the supervisor stands to a service.
    Standing {
        /// It watches it.
        Watched = 0, "watched";
        /// It holds it until its back-off is over.
        Held = 1, "held";
        /// It has given it up.
        GivenUp = 2, "given-up";
        /// It was ordered to stop it.
        Stopped = 3, "stopped";
        /// It is the service.
        Itself = 4, "itself";
    }
}

rt::abi::kinds! {
    /// What the supervisor made of a failure.
    Verdict {
        /// The service had run long enough: nothing but the rebuilding that the kernel has done.
        Transient = 0, "transient";
        /// It happened under one client's requests only: that client's fault, with which the kernel deals.
        Client = 1, "client";
        /// A short run, counted.
        ShortRun = 2, "short-run";
        /// A short run, and the service is held.
        Held = 3, "held";
        /// A short run too many: the service is given up.
        GivenUp = 4, "given-up";
        /// It did not answer its self-tests, and was restarted.
        Restarted = 5, "restarted";
        /// The supervisor's own failure, or one of a service that is given up or stopped already.
        Unjudged = 6, "unjudged";
    }
}

rt::abi::kinds! {
    /// A field of [`Policy`], all of whose times are in ticks of a millisecond.
    PolicyField {
        /// [`Policy::heartbeat`]: 0, or [`MIN_HEARTBEAT`] to [`MAX_TIME`].
        Heartbeat = 0, "heartbeat";
        /// [`Policy::misses`]: at least 1.
        Misses = 1, "misses";
        /// [`Policy::min_run`]: at most [`MAX_TIME`].
        MinRun = 2, "min-run";
        /// [`Policy::max_restarts`].
        MaxRestarts = 3, "max-restarts";
        /// [`Policy::backoff`]: at most the cap.
        Backoff = 4, "backoff";
        /// [`Policy::backoff_cap`]: at least the back-off, at most [`MAX_TIME`].
        BackoffCap = 5, "backoff-cap";
        /// [`Policy::give_up`]: 0 or 1.
        GiveUp = 6, "give-up";
    }
}

impl PolicyField {
    /// This field of a policy.
    pub const fn of(self, policy: &Policy) -> u32 {
        match self {
            PolicyField::Heartbeat => policy.heartbeat,
            PolicyField::Misses => policy.misses,
            PolicyField::MinRun => policy.min_run,
            PolicyField::MaxRestarts => policy.max_restarts,
            PolicyField::Backoff => policy.backoff,
            PolicyField::BackoffCap => policy.backoff_cap,
            PolicyField::GiveUp => policy.give_up,
        }
    }

    /// Sets this field of a policy.
    pub const fn set(self, policy: &mut Policy, value: u32) {
        let field = match self {
            PolicyField::Heartbeat => &mut policy.heartbeat,
            PolicyField::Misses => &mut policy.misses,
            PolicyField::MinRun => &mut policy.min_run,
            PolicyField::MaxRestarts => &mut policy.max_restarts,
            PolicyField::Backoff => &mut policy.backoff,
            PolicyField::BackoffCap => &mut policy.backoff_cap,
            PolicyField::GiveUp => &mut policy.give_up,
        };
        *field = value;
    }
}

/// A service, as [`Supervisor::list`] and [`Supervisor::show`] tell of it: 100 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ServiceInfo {
    /// Name, zero padded.
    pub name: [u8; 16],
    /// [`rt::abi::info::ObjectState`].
    pub state: u32,
    /// [`Standing`].
    pub standing: u32,
    /// Recoveries since boot, those without a failure included, those for an error that was doubted not.
    pub restarts: u32,
    /// How often it was rebuilt, and a method run again, because its error was doubted.
    pub doubts: u32,
    /// Failures since boot.
    pub failures: u32,
    /// Short runs in a row that count against it.
    pub short_runs: u32,
    /// When it is started again, in milliseconds since boot; 0 = it is not held.
    pub held_until: u32,
    /// Calls that were retried after a recovery.
    pub retried: u32,
    /// Requests that ended with an error because it kept failing.
    pub failed_requests: u32,
    /// Sessions that were lost.
    pub lost_sessions: u32,
    /// Open sessions.
    pub clients: u32,
    /// Bytes of memory.
    pub memory: u32,
    /// Bytes of stack that were ever used.
    pub stack_used: u32,
    /// 1: the policy is not that of the manifest any more.
    pub changed: u32,
    /// The policy in force.
    pub policy: Policy,
}

/// A failure in the log: 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct LogEntry {
    /// Name of the service, zero padded.
    pub object: [u8; 16],
    /// Ordinal in this log, from 1.
    pub sequence: u32,
    /// The kernel's ordinal of the failure; 0 for self-tests that were not answered, which the supervisor itself noticed.
    pub number: u32,
    /// Failures right before this one that the kernel had forgotten before they could be read.
    pub missed: u32,
    /// [`rt::abi::FailureKind`].
    pub kind: u32,
    /// [`Verdict`].
    pub verdict: u32,
    /// Ticks of a millisecond since boot.
    pub tick: u32,
    /// Where: program counter.
    pub pc: u32,
    /// Method number, or `0x8000_0000` + hook number.
    pub method: u32,
    /// Session that it happened under, `u32::MAX` for none.
    pub session: u32,
    /// Process at the outer end of the request, 0 for none.
    pub process: u32,
    /// Bytes of the service's stack that had ever been used by then.
    pub stack_used: u32,
    /// 0.
    pub unused: u32,
}

/// State of the services, orders, policies, log. Whoever's manifest names the supervisor as a callee may use all of it:
/// nobody who merely wants to look has a reason to be granted it, as the kernel call `info` tells as much.
///
/// Orders are carried out when nobody is in the service, which may be after the request.
///
/// Names are lent: 1 to 16 bytes, as in the manifests.
#[rt::interface(name = "supervisor")]
pub trait Supervisor {
    /// Writes [`ServiceInfo`] of the services from the index `first` on to the buffer, as many as fit and as there are; returns
    /// how many.
    #[read_only]
    fn list(
        &mut self,
        session: &mut Session<Self::State>,
        first: u32,
        to: LentWrite<'_>,
    ) -> Result<u32, SupervisorError>;
    /// Writes the [`ServiceInfo`] of a service to the buffer.
    #[read_only]
    fn show(
        &mut self,
        session: &mut Session<Self::State>,
        name: LentRead<'_>,
        to: LentWrite<'_>,
    ) -> Result<(), SupervisorError>;
    /// Rebuilds a service that runs, without a fault of its own: it is not counted as one. Its clients notice nothing.
    fn restart(&mut self, session: &mut Session<Self::State>, name: LentRead<'_>) -> Result<(), SupervisorError>;
    /// Stops a service: its callers get `Stopped` until it is started. What its sessions hold is kept.
    fn stop(&mut self, session: &mut Session<Self::State>, name: LentRead<'_>) -> Result<(), SupervisorError>;
    /// Starts a service that is stopped, given up, or held, with a clean record; then its dependants are restarted.
    fn start(&mut self, session: &mut Session<Self::State>, name: LentRead<'_>) -> Result<(), SupervisorError>;
    /// Writes [`LogEntry`]s to the buffer, the latest first, but for the latest `skip`, as many as fit and as there are; returns
    /// how many.
    #[read_only]
    fn log(&mut self, session: &mut Session<Self::State>, skip: u32, to: LentWrite<'_>)
    -> Result<u32, SupervisorError>;
    /// Writes the [`LogEntry`]s that this session has not read yet to the buffer, the earliest first, as many as fit. Returns how
    /// many, and how many more the log had forgotten by then.
    fn log_next(
        &mut self,
        session: &mut Session<Self::State>,
        to: LentWrite<'_>,
    ) -> Result<(u32, u32), SupervisorError>;
    /// Changes the policy of a service until the system starts anew.
    fn set_policy(
        &mut self,
        session: &mut Session<Self::State>,
        field: PolicyField,
        value: u32,
        name: LentRead<'_>,
    ) -> Result<(), SupervisorError>;
    /// Gives a service the policy of its manifest back.
    fn reset_policy(&mut self, session: &mut Session<Self::State>, name: LentRead<'_>) -> Result<(), SupervisorError>;
}
