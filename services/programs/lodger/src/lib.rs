//! What a lodger can be started for.
#![no_std]
#![forbid(unsafe_code)]

/// Under this key a lodger publishes what it does, when it has set its alarms and subscribed to everything.
pub const KEY: &str = "lodger";
/// Its alarms.
pub const ALARMS: u32 = 40;
/// Status of a lodger that leaves.
pub const LEFT: u32 = 77;
/// Status of a lodger whose argument is none, or that was refused something.
pub const REFUSED: u32 = 100;

/// What a lodger does, then: the argument of its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Takes alarms and changes, and publishes anew, until it is killed.
    Stays = 0,
    /// Waits for an alarm that does not come, until it is killed.
    Waits = 1,
    /// Ends without closing anything.
    Leaves = 2,
    /// Panics.
    Panics = 3,
}

impl Way {
    /// All of them, in order of their numbers.
    pub const ALL: [Way; 4] = [Way::Stays, Way::Waits, Way::Leaves, Way::Panics];
}
