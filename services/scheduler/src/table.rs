//! What is known of each process slot: derived from the sessions that are open, and nothing else.
//!
//! A slot can be used again before the session of its former process is closed; and after a failure sessions are reloaded in
//! any order. So each session has a stamp, later ones higher ones: the latest session of a slot counts.

use scheduler::{DEFAULT_PRIORITY, DEFAULT_SLICE, weight_of};

/// Process slots.
pub const SLOTS: usize = 64;

/// What a process asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// 0 (lowest) to 7.
    pub priority: u32,
    /// Its share in proportion to others', at least 1.
    pub weight: u32,
    /// Ticks that it runs before others of its priority do, at least 1.
    pub slice: u32,
}

impl Parameters {
    /// Those of a manifest with this priority.
    pub const fn of(priority: u32) -> Self {
        Parameters { priority, weight: weight_of(priority), slice: DEFAULT_SLICE }
    }

    /// Those of a process without a session.
    pub const DEFAULT: Parameters = Parameters::of(DEFAULT_PRIORITY);
}

/// The session that speaks for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    stamp: u64,
    session: u32,
    process: u32,
}

/// A session, as the table knows it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The client's process slot.
    pub slot: u32,
    /// Number of the session.
    pub session: u32,
    /// Number of the client's process.
    pub process: u32,
    /// When it was opened, counted in sessions.
    pub stamp: u64,
    /// What it asked for.
    pub parameters: Parameters,
}

/// The parameters of all slots.
pub struct Table {
    parameters: [Parameters; SLOTS],
    owners: [Option<Owner>; SLOTS],
    next_stamp: u64,
}

impl Table {
    /// No sessions.
    pub const fn new() -> Self {
        Table { parameters: [Parameters::DEFAULT; SLOTS], owners: [None; SLOTS], next_stamp: 1 }
    }

    /// The parameters of a slot.
    pub fn get(&self, slot: usize) -> Parameters {
        self.parameters[slot % SLOTS]
    }

    /// The stamp of the next session.
    pub fn next_stamp(&self) -> u64 {
        self.next_stamp
    }

    /// Whether a process has a session.
    pub fn has_process(&self, slot: u32, process: u32) -> bool {
        self.owners.get(slot as usize).is_some_and(|owner| owner.is_some_and(|owner| owner.process == process))
    }

    /// Enters a session, or what it asks for now. Whether the parameters of its slot are others than before.
    pub fn enter(&mut self, entry: &Entry) -> bool {
        self.next_stamp = self.next_stamp.max(entry.stamp.saturating_add(1));
        let slot = entry.slot as usize % SLOTS;
        if self.owners[slot].is_some_and(|owner| owner.stamp > entry.stamp) {
            return false;
        }
        self.owners[slot] = Some(Owner { stamp: entry.stamp, session: entry.session, process: entry.process });
        core::mem::replace(&mut self.parameters[slot], entry.parameters) != entry.parameters
    }

    /// Removes a session. Whether the parameters of its slot are others than before.
    pub fn leave(&mut self, slot: u32, session: u32) -> bool {
        let slot = slot as usize % SLOTS;
        if self.owners[slot].is_none_or(|owner| owner.session != session) {
            return false;
        }
        self.owners[slot] = None;
        core::mem::replace(&mut self.parameters[slot], Parameters::DEFAULT) != Parameters::DEFAULT
    }

    /// Whether it can be a table: whoever has no session has the defaults.
    pub fn is_sound(&self) -> bool {
        let pairs = self.owners.iter().zip(&self.parameters);
        pairs.clone().all(|(owner, parameters)| owner.is_some() || *parameters == Parameters::DEFAULT)
            && self.parameters.iter().all(|parameters| parameters.priority < 8 && parameters.weight > 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(slot: u32, session: u32, stamp: u64, priority: u32) -> Entry {
        Entry { slot, session, process: stamp as u32 * 256 + slot, stamp, parameters: Parameters::of(priority) }
    }

    #[test]
    fn the_latest_session_of_a_slot_counts() {
        let mut table = Table::new();
        assert!(table.enter(&entry(3, 9, 5, 2)));
        assert!(!table.enter(&entry(3, 1, 4, 7)), "an older one of a process that has ended");
        assert_eq!((table.get(3).priority, table.next_stamp()), (2, 6));
        assert!(!table.leave(3, 1));
        assert!(table.enter(&entry(3, 2, 6, 1)));
        assert!(!table.leave(3, 9));
        assert!(table.has_process(3, 6 * 256 + 3) && !table.has_process(3, 5 * 256 + 3));
        assert!(table.leave(3, 2));
        assert_eq!(table.get(3), Parameters::DEFAULT);
        assert!(table.is_sound());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// In whatever order the sessions are reloaded, the table is the same.
        #[test]
        fn reloading_gives_the_same_table(
            sessions in proptest::collection::vec((0u32..6, 0u32..8), 1..12),
            order in any::<[u8; 12]>(),
            closed in any::<u16>(),
        ) {
            let mut table = Table::new();
            let mut open = Vec::new();
            for (session, (slot, priority)) in (0..).zip(sessions) {
                let entry = entry(slot, session, table.next_stamp(), priority);
                table.enter(&entry);
                open.push(entry);
            }
            // A process that ends is closed before its slot's next session is, or after it, but never reloaded then.
            let latest = |entry: &Entry, all: &[Entry]| all.iter().all(|o| o.slot != entry.slot || o.stamp <= entry.stamp);
            let kept: Vec<Entry> = open
                .iter()
                .filter(|entry| closed >> entry.session & 1 == 0 || latest(entry, &open))
                .copied()
                .collect();
            for entry in open.iter().filter(|entry| !kept.iter().any(|kept| kept.session == entry.session)) {
                table.leave(entry.slot, entry.session);
            }
            let mut shuffled: Vec<(u8, Entry)> = order.into_iter().zip(kept).collect();
            shuffled.sort_by_key(|(key, _)| *key);
            let mut rebuilt = Table::new();
            shuffled.iter().for_each(|(_, entry)| { rebuilt.enter(entry); });
            prop_assert_eq!(rebuilt.parameters, table.parameters);
            prop_assert_eq!(rebuilt.owners, table.owners);
            prop_assert_eq!(rebuilt.next_stamp, table.next_stamp);
            prop_assert!(rebuilt.is_sound());
        }
    }
}
