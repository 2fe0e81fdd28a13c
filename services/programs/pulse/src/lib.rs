//! What a client's own books say about a periodic alarm: which expiries are due, and which were taken.
#![no_std]
#![forbid(unsafe_code)]

/// Under this key the demonstration publishes that its clients are to come to an end.
pub const STOP: &str = "demo.stop";
/// Clients that set alarms.
pub const PULSES: u32 = 3;

/// A periodic alarm, as its client counts it.
#[derive(Clone, Copy, Debug)]
pub struct Periodic {
    /// Its number.
    pub alarm: u32,
    /// When it was first due, in microseconds since boot.
    pub first: u64,
    /// Its period, in microseconds.
    pub period: u64,
    /// Expiries taken so far.
    pub taken: u64,
}

impl Periodic {
    /// Counts expiries that were taken at a time. Whether all of them were due by then: one that was doubled would not be.
    pub fn take(&mut self, count: u32, now: u64) -> bool {
        self.taken += u64::from(count);
        count > 0 && self.first + (self.taken - 1) * self.period <= now
    }

    /// Whether the time at which the service says that it is due next is that of the first expiry not yet taken: one
    /// that was lost would leave it later, one that was doubled earlier.
    pub fn agrees(&self, next: u64) -> bool {
        next == self.first + self.taken * self.period
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_early_or_doubled_shows() {
        let mut alarm = Periodic { alarm: 1, first: 1000, period: 500, taken: 0 };
        assert!(alarm.agrees(1000));
        assert!(alarm.take(1, 1000) && alarm.agrees(1500));
        assert!(alarm.take(2, 2100) && alarm.agrees(2500));
        assert!(!alarm.agrees(3000), "lost");
        assert!(!alarm.agrees(2000), "doubled");
        assert!(!alarm.take(1, 2499), "early");
        assert!(!alarm.take(0, 9999), "nothing");
    }
}
