//! What a racer can be started for: the argument of its start, as the test suite writes it.
#![no_std]
#![forbid(unsafe_code)]

/// Priority in its manifest.
pub const PRIORITY: u32 = 5;

/// What a racer does until it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Computes.
    Computes = 0,
    /// Gives the processor away, again and again.
    Yields = 1,
    /// Sleeps for a tick, again and again.
    Sleeps = 2,
    /// Asks the scheduler for what it must not have, and ends: 0 if all of it was refused, else the line of the request.
    Greedy = 3,
}

/// How a racer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// What it does.
    pub way: Way,
    /// Its priority, 0 to 7.
    pub priority: u32,
    /// Its weight, below 4096; 0: it has no session with the scheduler.
    pub weight: u32,
    /// Its slice in ticks, below 256.
    pub slice: u32,
}

impl Run {
    /// One that computes.
    pub const fn computes(priority: u32, weight: u32, slice: u32) -> Run {
        Run { way: Way::Computes, priority, weight, slice }
    }

    /// The argument that starts it.
    pub const fn argument(self) -> u32 {
        self.way as u32 | self.priority << 4 | self.weight << 8 | self.slice << 20
    }

    /// What an argument starts; `None` for one that starts nothing.
    pub fn from_argument(argument: u32) -> Option<Run> {
        let way = *[Way::Computes, Way::Yields, Way::Sleeps, Way::Greedy].get(argument as usize & 0xf)?;
        Some(Run { way, priority: argument >> 4 & 0xf, weight: argument >> 8 & 0xfff, slice: argument >> 20 & 0xff })
    }
}

/// Status of a racer whose argument starts nothing.
pub const NO_RUN: u32 = 100_000;
/// Status of a racer that the scheduler refused.
pub const REFUSED: u32 = 100_001;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_carry_everything() {
        for way in [Way::Computes, Way::Yields, Way::Sleeps, Way::Greedy] {
            let run = Run { way, priority: 7, weight: 192, slice: 10 };
            assert_eq!(Run::from_argument(run.argument()), Some(run));
        }
        assert_eq!(Run::from_argument(4), None);
    }
}
