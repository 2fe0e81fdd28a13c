//! A clock of microseconds from a counter of 32 bits that runs freely and wraps round.

use core::sync::atomic::{AtomicU32, Ordering};

/// Counts the rounds of a counter. It must be asked at least once in each half of a round; the tick does.
pub struct Clock {
    last: AtomicU32,
    rounds: AtomicU32,
    hertz: u32,
}

impl Clock {
    /// The clock of a counter with this frequency.
    pub const fn new(hertz: u32) -> Self {
        Clock { last: AtomicU32::new(0), rounds: AtomicU32::new(0), hertz }
    }

    /// Microseconds, when the counter, which counts upwards, has this value.
    ///
    /// The kernel asks with interrupts masked, on one processor: nothing comes between load and store.
    pub fn at(&self, count: u32) -> u64 {
        let mut rounds = self.rounds.load(Ordering::Relaxed);
        if count < self.last.load(Ordering::Relaxed) {
            rounds = rounds.wrapping_add(1);
            self.rounds.store(rounds, Ordering::Relaxed);
        }
        self.last.store(count, Ordering::Relaxed);
        let count = u64::from(rounds) << 32 | u64::from(count);
        let (seconds, rest) = (count / u64::from(self.hertz), count % u64::from(self.hertz));
        seconds * 1_000_000 + rest * 1_000_000 / u64::from(self.hertz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_of_the_counter_is_seen() {
        let clock = Clock::new(24_000_000);
        assert_eq!(clock.at(24), 1);
        assert_eq!(clock.at(24_000_000), 1_000_000);
        assert_eq!(clock.at(u32::MAX), 178_956_970);
        let mut last = clock.at(u32::MAX);
        for round in 1..5u64 {
            for count in [0, 1 << 30, 1 << 31, u32::MAX] {
                let now = clock.at(count);
                assert!(now >= last);
                assert_eq!(now, ((round << 32) + u64::from(count)) / 24);
                last = now;
            }
        }
    }

    #[test]
    fn slow_counters_and_long_times() {
        let clock = Clock::new(32_768);
        assert_eq!(clock.at(32_768), 1_000_000);
        assert_eq!(clock.at(1), (1u64 << 32) * 1_000_000 / 32_768 + 30);
    }
}
