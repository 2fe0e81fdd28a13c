//! What a moth can be started for: the argument of its start, as the test suite writes it.
#![no_std]
#![forbid(unsafe_code)]

/// Name of the program.
pub const NAME: &str = "moth";
/// Status of a moth to which something happened that must not.
pub const WRONG: u32 = 1 << 20;

macro_rules! roles {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// What a moth does, and mostly in which state it is killed. Most take a parameter of 24 bits.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Role {
            $($(#[doc = $doc])* $name,)*
        }

        const ALL: &[Role] = &[$(Role::$name,)*];
    };
}

roles! {
    /// Ends at once; the parameter is its status.
    Exit,
    /// Opens a session and ends without closing it.
    Leave,
    /// Keeps the processor.
    Spin,
    /// Gives the processor away again and again.
    Yield,
    /// Opens a session, whose notifications it does not wait for, and waits for others.
    Wait,
    /// Is in a call that takes so many ticks.
    Hold,
    /// Is in a call that takes so many ticks of a service that another one has called.
    Nest,
    /// Calls `victim` once, and again when it was on its turn.
    Call,
    /// Opens a session, closes it when it was on its turn, and so on.
    Part,
    /// Makes `victim`, which was built so often, fail once.
    Crash,
    /// Makes `victim` notify its first sessions, and stay for so many ticks before the request commits.
    Tell,
    /// Has `relay` call `victim`, which notifies the session with this number.
    TellNested,
    /// Starts another one of the same kind and ends at once, so many times.
    Chain,
    /// Starts moths until it must not, and ends at once; the status is their number. They [`Role::Await`].
    Swarm,
    /// Opens a session with `victim` and ends when it is notified.
    Await,
    /// Looks what it may wait for without the right to.
    Rights,
    /// Has `relay` wait for its own events, for so many ticks, then work; the status is what came.
    Relay,
}

impl Role {
    /// The argument that starts a moth in this role; the parameter has 24 bits.
    pub const fn with(self, parameter: u32) -> u32 {
        self as u32 | parameter << 8
    }

    /// Role and parameter of an argument.
    pub fn from_argument(argument: u32) -> Option<(Role, u32)> {
        Some((*ALL.get(argument as usize & 0xff)?, argument >> 8))
    }
}

/// Sessions that [`Role::Tell`] notifies: the first numbers.
pub const TOLD: u32 = 64;
/// Rounds of work that [`Role::Relay`] makes `relay` do: more than two ticks, less than ten.
pub const ROUNDS: u32 = 900_000;
/// The event that [`Role::Relay`] waits for.
pub const HEARD: u32 = 1 << 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_say_what_to_do() {
        for (number, role) in ALL.iter().enumerate() {
            assert_eq!(*role as usize, number);
            assert_eq!(Role::from_argument(role.with(77)), Some((*role, 77)));
        }
        assert_eq!(Role::from_argument(ALL.len() as u32), None);
    }
}
