//! Which session to look at next. Derived from the sessions, never the truth: it holds for each session a time that is not
//! after its next expiry, so it has one entry a session, however many alarms there are.

use alloc::collections::{BTreeMap, BTreeSet};

/// Sessions in the order of their times.
#[derive(Default)]
pub struct Queue {
    order: BTreeSet<(u64, u32)>,
    due: BTreeMap<u32, u64>,
}

impl Queue {
    /// No session has an alarm.
    pub const fn new() -> Self {
        Queue { order: BTreeSet::new(), due: BTreeMap::new() }
    }

    /// The first session with its time.
    pub fn first(&self) -> Option<(u64, u32)> {
        self.order.first().copied()
    }

    /// The time of a session.
    pub fn due(&self, session: u32) -> Option<u64> {
        self.due.get(&session).copied()
    }

    /// Sets the time of a session. Only for who has just looked at all its alarms, in a state that nothing will undo.
    pub fn set(&mut self, session: u32, due_us: Option<u64>) {
        if self.due(session) == due_us {
            return;
        }
        self.remove(session);
        if let Some(due_us) = due_us {
            self.due.insert(session, due_us);
            self.order.insert((due_us, session));
        }
    }

    /// The session has an alarm at this time.
    pub fn advance(&mut self, session: u32, due_us: u64) {
        if self.due(session).is_none_or(|due| due_us < due) {
            self.set(session, Some(due_us));
        }
    }

    /// Forgets a session.
    pub fn remove(&mut self, session: u32) {
        if let Some(due) = self.due.remove(&session) {
            self.order.remove(&(due, session));
        }
    }

    /// Whether both halves say the same.
    pub fn is_sound(&self) -> bool {
        self.order.len() == self.due.len()
            && self.due.iter().all(|(&session, &due)| self.order.contains(&(due, session)))
    }
}
