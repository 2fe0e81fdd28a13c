//! `tally`: the example of a stateful service. What a client added survives every failure of the service.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use rt::{Construct, Service, Session, SsrState};
use tally::{Tally, TallyError};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What each client has: it lives in the client's own Server State Region.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[ssr(validate = History::holds)]
#[repr(C)]
struct History {
    sum: u32,
    count: u32,
    /// The amounts that can be taken back, oldest first.
    recent: [u32; 8],
    remembered: u32,
}

impl History {
    fn holds(&self) -> bool {
        self.remembered <= 8 && self.remembered <= self.count
    }
}

/// The service itself keeps nothing.
struct Counter;

impl Service for Counter {
    type State = History;

    fn new(_: &mut Construct) -> Self {
        Counter
    }
}

impl Tally for Counter {
    fn add(&mut self, history: &mut Session<History>, amount: u32) -> Result<u32, TallyError> {
        history.sum = history.sum.checked_add(amount).ok_or(TallyError::Overflow)?;
        history.count += 1;
        history.recent.rotate_left(1);
        history.recent[7] = amount;
        history.remembered = (history.remembered + 1).min(8);
        Ok(history.sum)
    }

    fn sum(&mut self, history: &mut Session<History>) -> Result<(u32, u32), TallyError> {
        Ok((history.sum, history.count))
    }

    fn undo(&mut self, history: &mut Session<History>) -> Result<u32, TallyError> {
        history.remembered = history.remembered.checked_sub(1).ok_or(TallyError::Empty)?;
        let amount = history.recent[7];
        history.recent.rotate_right(1);
        history.sum -= amount;
        history.count -= 1;
        Ok(amount)
    }
}

rt::service!(Counter: tally::Tally);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_outlives_the_service() {
        let mut history = Session::for_test(1);
        for amount in 1..=10 {
            Counter.add(&mut history, amount).unwrap();
        }
        assert_eq!(Counter.sum(&mut history), Ok((55, 10)));
        assert_eq!(Counter.undo(&mut history), Ok(10));
        assert_eq!(Counter.undo(&mut history), Ok(9));
        assert_eq!(Counter.sum(&mut history), Ok((36, 8)));
    }

    #[test]
    fn errors_leave_the_history_as_it_was() {
        let mut history = Session::for_test(1);
        assert_eq!(Counter.undo(&mut history), Err(TallyError::Empty));
        Counter.add(&mut history, u32::MAX).unwrap();
        assert_eq!(Counter.add(&mut history, 1), Err(TallyError::Overflow));
        assert_eq!(Counter.sum(&mut history), Ok((u32::MAX, 1)));
    }

    #[test]
    fn nonsense_is_not_reloaded() {
        let mut history = Session::<History>::for_test(1);
        assert!(history.is_intact());
        history.remembered = 9;
        assert!(!history.is_intact());
    }
}
