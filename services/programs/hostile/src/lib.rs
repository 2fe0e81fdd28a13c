//! What a hostile client can be started for: the argument of its start, as the test suite writes it.
#![no_std]
#![forbid(unsafe_code)]

pub mod rival;

macro_rules! roles {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// What a hostile client does. Its status is 0 if everything went as it must, else the line of the first
        /// check that failed; or it is ended by the kernel, with 128 + the number of the failure's kind.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Role {
            $($(#[doc = $doc])* $name,)*
        }

        const ALL: &[Role] = &[$(Role::$name,)*];
    };
}

roles! {
    /// Binds to `victim` and `vault`, uses both, and ends with the parameter as its status, all sessions open.
    Guest,
    /// Does wrong as the case with this number (`victim::case::all`) says.
    Case,
    /// Lends ranges that are not its own, or not as it says.
    Ranges,
    /// Uses handles that are forged, stale, or another client's: the parameter is the index of one.
    Handles,
    /// Makes every call that it has no right to, and those that make no sense outside a service.
    Calls,
    /// Spawns, waits for and kills what is not its own to: the parameter is another process.
    Processes,
    /// Makes so many thousand calls at random; the seed is the parameter.
    Random,
    /// Binds until its quota is used up.
    Quota,
    /// Keeps crashing `lazy` until it loses its session, and binds again when it may.
    Crasher,
    /// Binds to `ledger`, of which the suite has all sessions that it can get: there is one left (parameter 0) or none (1).
    Newcomer,
    /// Makes requests of `relay` that fail or not, and checks that each counts once or not at all; the parameter is the
    /// number of the client and the seed ([`rival`]).
    Rival,
    /// Crashes `lazy` until it loses its session, and leaves at once.
    Deserter,
    /// Calls `work` of `victim` so many times.
    Contender,
    /// Counts on the board of `bare` until it is killed.
    Counter,
    /// Watches the sum of `ledger` until it is killed, or sees it change.
    Observer,
    /// Waits in the queue of `victim`, or is in it, until it is killed.
    Waiter,
    /// As `Waiter`, in a request of `relay` that has written to `ledger`.
    NestedWaiter,
    /// Looks at memory that nobody has written to since its start: it must be zero.
    Fresh,
    /// Looks whether registers keep their values over kernel calls, and whether any carries what it should not.
    Registers,
}

impl Role {
    /// The argument that starts a client in this role; the parameter has 24 bits.
    pub const fn with(self, parameter: u32) -> u32 {
        self as u32 | parameter << 8
    }

    /// Role and parameter of an argument.
    pub fn from_argument(argument: u32) -> Option<(Role, u32)> {
        Some((*ALL.get(argument as usize & 0xff)?, argument >> 8))
    }
}

/// Status of a client whose argument names no role.
pub const NO_ROLE: u32 = 100_000;
/// Calls that [`Role::Random`] makes.
pub const RANDOM_CALLS: u32 = 3000;
/// Rounds of work that [`Role::Contender`] and the waiters ask for at a time: more than a tick.
pub const WORK: u32 = 300_000;
