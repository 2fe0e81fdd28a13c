//! When to look at which session next. Derived from the sessions: a time may be too early, never too late.

use alloc::collections::{BTreeMap, BTreeSet};

/// Sessions in the order of their times, in microseconds.
#[derive(Default)]
pub struct Schedule {
    order: BTreeSet<(u64, u32)>,
    due: BTreeMap<u32, u64>,
}

impl Schedule {
    /// The first session with its time.
    pub fn first(&self) -> Option<(u64, u32)> {
        self.order.first().copied()
    }

    /// Sets the time of a session; `None`: nothing to do until something comes.
    pub fn set(&mut self, session: u32, due: Option<u64>) {
        let old = match due {
            Some(due) => self.due.insert(session, due),
            None => self.due.remove(&session),
        };
        if old == due {
            return;
        }
        if let Some(old) = old {
            self.order.remove(&(old, session));
        }
        if let Some(due) = due {
            self.order.insert((due, session));
        }
    }

    /// All that have a time are due now.
    pub fn hasten(&mut self, now: u64) {
        for (session, due) in &mut self.due {
            self.order.remove(&(*due, *session));
            *due = now.min(*due);
            self.order.insert((*due, *session));
        }
    }

    /// Whether both halves say the same.
    pub fn is_sound(&self) -> bool {
        self.order.len() == self.due.len() && self.order.iter().all(|(due, session)| self.due.get(session) == Some(due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_is_first() {
        let mut schedule = Schedule::default();
        for (session, due) in [(1, Some(30)), (2, Some(20)), (3, None), (2, Some(40)), (1, Some(30))] {
            schedule.set(session, due);
        }
        assert_eq!(schedule.first(), Some((30, 1)));
        schedule.set(1, None);
        assert_eq!(schedule.first(), Some((40, 2)));
        schedule.set(1, Some(5));
        schedule.hasten(10);
        assert_eq!(schedule.first(), Some((5, 1)));
        schedule.set(1, None);
        assert_eq!(schedule.first(), Some((10, 2)));
        assert!(schedule.is_sound());
    }
}
