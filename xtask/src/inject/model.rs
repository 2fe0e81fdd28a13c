//! The terms of a campaign: what is done to whom, when, and what came of it.

use std::fmt;

pub use experiment::{Action, End, Injection, Observation};
use serde::{Deserialize, Serialize};

/// What came of an experiment: exactly one of these. Of several that hold, the last in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The fault could not be injected.
    NotInjected,
    /// No effect: nothing detected, all results those of the golden run.
    Masked,
    /// Detected and recovered; all results those of the golden run.
    Transparent,
    /// A request of the client that was being served got a clear error; no state was lost.
    RequestFailed,
    /// The session that was being served is gone, and its client was told.
    SessionLost,
    /// Wrong results without an error.
    SilentCorruption,
    /// A client that was not being served got an error or lost its session, or an object outside the request's chain failed.
    Collateral,
    /// A client did not come to its end.
    Hang,
    /// The kernel panicked, or ended the system.
    KernelDead,
}

impl Outcome {
    /// All of them, in order.
    pub const ALL: [Outcome; 9] = [
        Outcome::NotInjected,
        Outcome::Masked,
        Outcome::Transparent,
        Outcome::RequestFailed,
        Outcome::SessionLost,
        Outcome::SilentCorruption,
        Outcome::Collateral,
        Outcome::Hang,
        Outcome::KernelDead,
    ];

    /// As in the results.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::NotInjected => "not_injected",
            Outcome::Masked => "masked",
            Outcome::Transparent => "transparent",
            Outcome::RequestFailed => "request_failed",
            Outcome::SessionLost => "session_lost",
            Outcome::SilentCorruption => "silent_corruption",
            Outcome::Collateral => "collateral",
            Outcome::Hang => "hang",
            Outcome::KernelDead => "kernel_dead",
        }
    }

    /// Whether it had an effect: all but masked (and what was not injected).
    pub const fn manifested(self) -> bool {
        !matches!(self, Outcome::NotInjected | Outcome::Masked)
    }

    /// Whether it manifested and somebody was told: all but silent corruption.
    pub const fn detected(self) -> bool {
        self.manifested() && !matches!(self, Outcome::SilentCorruption)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How the image recovers: ours, and what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Recovery {
    /// A service that fails is given up.
    None,
    /// It is started anew; all state of its clients is gone.
    Blind,
    /// It is started anew; its clients' state stays, but every page of it is always writable, and nothing is rolled back.
    Kept,
    /// One client's region at a time, but nothing is rolled back.
    Ssr,
    /// One client's region at a time, and the request is undone: ours.
    Rollback,
}

impl Recovery {
    /// All of them, in order.
    pub const ALL: [Recovery; 5] = [Recovery::None, Recovery::Blind, Recovery::Kept, Recovery::Ssr, Recovery::Rollback];

    /// As on the command line and in the results.
    pub const fn name(self) -> &'static str {
        match self {
            Recovery::None => "none",
            Recovery::Blind => "blind",
            Recovery::Kept => "kept",
            Recovery::Ssr => "ssr",
            Recovery::Rollback => "rollback",
        }
    }
}

impl From<Recovery> for abi::image::Recovery {
    /// As the boot image has it.
    fn from(recovery: Recovery) -> Self {
        match recovery {
            Recovery::None => Self::None,
            Recovery::Blind => Self::Blind,
            Recovery::Kept => Self::Kept,
            Recovery::Ssr => Self::Ssr,
            Recovery::Rollback => Self::Rollback,
        }
    }
}

/// Regions of an object's memory that faults strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Region {
    /// Initialised data.
    Data,
    /// Zeroed data.
    Bss,
    /// Heap, as far as it has ever been used.
    Heap,
    /// Stack, from the stack pointer up.
    Stack,
    /// The region of the client that is being served, as far as it is used.
    Ssr,
    /// Constants.
    Constants,
    /// Instructions.
    Text,
}
