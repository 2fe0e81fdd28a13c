//! What the second process does: the argument of its start.
#![no_std]
#![forbid(unsafe_code)]

/// Name of the program.
pub const NAME: &str = "pair";

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Gives the processor away so many times, and ends.
    Yield(u32),
    /// Is in `gauge` all the time, at a priority below the others', until it is killed.
    Spin,
    /// Has a session with the scheduler, and waits until it is killed.
    Wait,
}

impl Role {
    /// As the argument of the start.
    pub const fn argument(self) -> u32 {
        match self {
            Role::Yield(times) => times << 8,
            Role::Spin => 1,
            Role::Wait => 2,
        }
    }

    /// What an argument means.
    pub const fn from_argument(argument: u32) -> Option<Role> {
        match argument & 0xff {
            0 => Some(Role::Yield(argument >> 8)),
            1 => Some(Role::Spin),
            2 => Some(Role::Wait),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Role;

    #[test]
    fn arguments_say_what_to_do() {
        for role in [Role::Yield(0), Role::Yield(1000), Role::Spin, Role::Wait] {
            assert_eq!(Role::from_argument(role.argument()), Some(role));
        }
        assert_eq!(Role::from_argument(3), None);
    }
}
