//! Which session a packet is for. Derived from the sessions, never the truth: `reload` makes it anew.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// What a key names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A connection, by all four of its numbers.
    #[default]
    Tcp,
    /// A port at which connections are accepted.
    Listener,
    /// A UDP port.
    Udp,
    /// An identifier of echo requests.
    Echo,
}

/// What a packet is found by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What it names.
    pub kind: Kind,
    /// The own port, or identifier.
    pub local_port: u16,
    /// The peer's port; of connections only, like the addresses.
    pub remote_port: u16,
    /// The peer's address, an IPv4 address in the first four bytes.
    pub remote: [u8; 16],
    /// The own address.
    pub local: [u8; 16],
}

impl Key {
    /// A key that is a number of ours alone.
    pub fn port(kind: Kind, port: u16) -> Self {
        Key { kind, local_port: port, ..Key::default() }
    }
}

/// The sessions by key.
#[derive(Default)]
pub struct Table {
    sessions: BTreeMap<Key, u32>,
    keys: BTreeMap<u32, Vec<Key>>,
}

impl Table {
    /// The session with this key.
    pub fn find(&self, key: &Key) -> Option<u32> {
        self.sessions.get(key).copied()
    }

    /// Whether the key, or for a connection's key its port, is in use by any session.
    pub fn has_port(&self, kind: Kind, port: u16) -> bool {
        let first = Key::port(kind, port);
        self.sessions.range(first..).next().is_some_and(|(key, _)| key.kind == kind && key.local_port == port)
    }

    /// Says which keys a session has. One that another session has stays that one's.
    pub fn set(&mut self, session: u32, keys: &[Key]) {
        let old = self.keys.entry(session).or_default();
        if old == keys {
            return;
        }
        for key in old.iter() {
            if self.sessions.get(key) == Some(&session) {
                self.sessions.remove(key);
            }
        }
        for key in keys {
            self.sessions.entry(*key).or_insert(session);
        }
        old.clear();
        old.extend_from_slice(keys);
    }

    /// Forgets a session.
    pub fn remove(&mut self, session: u32) {
        self.set(session, &[]);
        self.keys.remove(&session);
    }

    /// Whether both halves say the same.
    pub fn is_sound(&self) -> bool {
        self.sessions.iter().all(|(key, session)| self.keys.get(session).is_some_and(|keys| keys.contains(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_found_by_what_it_has_now() {
        let mut table = Table::default();
        let listener = Key::port(Kind::Listener, 80);
        let connection = Key { local_port: 80, remote_port: 5000, remote: [7; 16], ..Key::default() };
        table.set(1, &[listener, connection]);
        assert_eq!((table.find(&listener), table.find(&connection)), (Some(1), Some(1)));
        assert!(table.has_port(Kind::Tcp, 80) && table.has_port(Kind::Listener, 80));
        assert!(!table.has_port(Kind::Tcp, 79) && !table.has_port(Kind::Tcp, 81) && !table.has_port(Kind::Udp, 80));
        table.set(2, &[listener]);
        assert_eq!(table.find(&listener), Some(1));
        table.set(1, &[connection]);
        assert_eq!((table.find(&listener), table.find(&connection)), (None, Some(1)));
        assert!(table.is_sound());
        table.remove(1);
        assert_eq!(table.find(&connection), None);
    }
}
