//! What clients can ask for.

use rt::{Error, LentRead, LentWrite, Session, Word, interface};

use crate::StoreError;

/// What has become of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was published, for the first time or anew.
    Published,
    /// It was withdrawn, by its owner or with it.
    Withdrawn,
    /// No key: of earlier withdrawals some are forgotten. What is there now can be listed.
    Missed,
}

impl Word for Change {
    fn into_word(self) -> u32 {
        self as u32
    }

    fn from_word(word: u32) -> Option<Self> {
        [Change::Published, Change::Withdrawn, Change::Missed].into_iter().find(|change| *change as u32 == word)
    }
}

/// Named values. Keys are at most [`crate::MAX_KEY`] bytes of UTF-8, values at most [`crate::MAX_VALUE`] bytes of any kind.
/// A pattern is a key, or the start of keys with a `*` behind it.
#[interface(name = "store")]
pub trait Store {
    /// Publishes a value, or another one under a key of one's own; the buffer has first the key, of so many bytes, and then the
    /// value. Returns the version of this change. Publishing the same value again is a change.
    fn publish(
        &mut self,
        session: &mut Session<Self::State>,
        key_len: u32,
        key_and_value: LentRead<'_>,
    ) -> Result<u64, StoreError>;

    /// Withdraws what the session has published under this key. Returns the version of this change.
    fn withdraw(&mut self, session: &mut Session<Self::State>, key: LentRead<'_>) -> Result<u64, StoreError>;

    /// Copies a value; returns its length, the number of the domain that owns it (objects: below 64), and its version.
    #[read_only]
    fn retrieve(
        &mut self,
        session: &mut Session<Self::State>,
        key: LentRead<'_>,
        value: LentWrite<'_>,
    ) -> Result<(u32, u32, u64), StoreError>;

    /// Copies the first key, in the order of their bytes, that is `from` or behind it (`inclusive`), or behind it; returns its
    /// length. `NotFound`: there is none. `from` can be anything, and empty.
    #[read_only]
    fn list(
        &mut self,
        session: &mut Session<Self::State>,
        inclusive: bool,
        from: LentRead<'_>,
        key: LentWrite<'_>,
    ) -> Result<u32, StoreError>;

    /// Subscribes to the keys that match a pattern: to changes from now on, with `present` also to what is there. If the session
    /// has a subscription with this pattern, it begins anew.
    fn subscribe(
        &mut self,
        session: &mut Session<Self::State>,
        present: bool,
        pattern: LentRead<'_>,
    ) -> Result<(), StoreError>;

    /// Ends a subscription.
    fn unsubscribe(&mut self, session: &mut Session<Self::State>, pattern: LentRead<'_>) -> Result<(), StoreError>;

    /// The next change of a key that the session is subscribed to: what it was, and the length of the key, which is copied.
    /// Own changes count, too. `WouldBlock`: there is none; the client is notified of the next one. `BadArgument`: the buffer has
    /// less than [`crate::MAX_KEY`] bytes.
    fn changes(&mut self, session: &mut Session<Self::State>, key: LentWrite<'_>) -> Result<(Change, u32), Error>;
}
