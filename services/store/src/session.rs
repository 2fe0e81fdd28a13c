//! What a client has, as it lies in its Server State Region: [`State`], then in the tail one [`Owned`] after the other.

use alloc::vec::Vec;

use rt::{Session, SsrState};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::key::{Key, Value};
use crate::registry::VERSION_LIMIT;
use crate::{MAX_ENTRIES, MAX_SUBSCRIPTIONS, StoreError};

/// Bytes of an entry.
const SIZE: usize = size_of::<Owned>();

/// The fixed part of a session.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[ssr(pages = 1)]
#[repr(C)]
pub struct State {
    subscriptions: [Subscription; MAX_SUBSCRIPTIONS],
    /// How many of them there are.
    count: u32,
    /// Number of the client's domain.
    pub domain: u32,
}

/// A subscription.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Subscription {
    /// The version up to which changes have been told.
    pub seen: u64,
    /// Withdrawals up to this version are not told: the client did not know the key, or was told that it may have missed some.
    pub since: u64,
    /// Which keys.
    pub pattern: Key,
    unused: [u8; 7],
}

/// An entry of this session.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Owned {
    /// The version of its latest change.
    pub version: u64,
    /// Its key.
    pub key: Key,
    /// Its value.
    pub value: Value,
    unused: [u8; 6],
}

const _: () = {
    let room = rt::abi::layout::PAGE as usize - rt::abi::ssr::HEADER as usize - size_of::<State>();
    assert!(MAX_ENTRIES * SIZE <= room, "the entries do not fit into the page");
    assert!(size_of::<State>().is_multiple_of(align_of::<Owned>()));
};

/// The entries. A tail that is not made of whole entries panics: the failure is this session's own.
pub fn entries(session: &Session<State>) -> &[Owned] {
    <[Owned]>::ref_from_bytes(session.tail()).expect("the tail holds whole entries")
}

fn entries_mut(session: &mut Session<State>) -> &mut [Owned] {
    <[Owned]>::mut_from_bytes(session.tail_mut()).expect("the tail holds whole entries")
}

fn find(session: &Session<State>, key: &Key) -> Option<usize> {
    entries(session).iter().position(|entry| entry.key == *key)
}

/// Whether a restored session makes sense.
pub fn is_sound(session: &Session<State>) -> bool {
    let Ok(entries) = <[Owned]>::ref_from_bytes(session.tail()) else { return false };
    let sound =
        |entry: &Owned| (1..VERSION_LIMIT).contains(&entry.version) && entry.key.is_key() && entry.value.is_sound();
    let once = |(at, entry): (usize, &Owned)| entries[..at].iter().all(|other| other.key != entry.key);
    let patterns = session.subscriptions.get(..session.count as usize);
    entries.len() <= MAX_ENTRIES
        && entries.iter().all(sound)
        && entries.iter().enumerate().all(once)
        && patterns.is_some_and(|patterns| {
            patterns.iter().all(|subscription| {
                subscription.pattern.is_pattern() && subscription.seen.max(subscription.since) < VERSION_LIMIT
            })
        })
}

/// Whether one more key can be published.
pub fn has_room_for(session: &Session<State>, key: &Key) -> bool {
    entries(session).len() < MAX_ENTRIES || find(session, key).is_some()
}

/// Enters a value. There must be room for it.
///
/// # Errors
/// [`StoreError::TooManyEntries`].
pub fn put(session: &mut Session<State>, key: &Key, value: &Value, version: u64) -> Result<(), StoreError> {
    let at = match find(session, key) {
        Some(at) => at,
        None => {
            let count = entries(session).len();
            if count >= MAX_ENTRIES {
                return Err(StoreError::TooManyEntries);
            }
            session.set_tail_len((count + 1) * SIZE).map_err(|_| StoreError::TooManyEntries)?;
            count
        }
    };
    entries_mut(session)[at] = Owned { version, key: *key, value: *value, unused: [0; 6] };
    Ok(())
}

/// Removes an entry; whether there was one.
pub fn remove(session: &mut Session<State>, key: &Key) -> bool {
    let Some(at) = find(session, key) else { return false };
    let entries = entries_mut(session);
    let left = entries.len() - 1;
    entries.swap(at, left);
    // A tail can always be shortened.
    let _ = session.set_tail_len(left * SIZE);
    true
}

/// The subscriptions.
pub fn subscriptions(session: &Session<State>) -> &[Subscription] {
    session.subscriptions.get(..session.count as usize).unwrap_or_default()
}

/// The subscriptions, to change how far they are.
pub fn subscriptions_mut(session: &mut Session<State>) -> &mut [Subscription] {
    let count = session.count as usize;
    session.subscriptions.get_mut(..count).unwrap_or_default()
}

/// The patterns.
pub fn patterns(session: &Session<State>) -> Vec<Key> {
    subscriptions(session).iter().map(|subscription| subscription.pattern).collect()
}

/// Begins a subscription, or begins it anew.
///
/// # Errors
/// [`StoreError::TooManySubscriptions`].
pub fn subscribe(session: &mut Session<State>, pattern: &Key, seen: u64, since: u64) -> Result<(), StoreError> {
    let at = subscriptions(session).iter().position(|subscription| subscription.pattern == *pattern);
    let at = at.unwrap_or(session.count as usize);
    let place = session.subscriptions.get_mut(at).ok_or(StoreError::TooManySubscriptions)?;
    *place = Subscription { seen, since, pattern: *pattern, unused: [0; 7] };
    session.count = session.count.max(at as u32 + 1);
    Ok(())
}

/// Ends a subscription.
///
/// # Errors
/// [`StoreError::NotSubscribed`].
pub fn unsubscribe(session: &mut Session<State>, pattern: &Key) -> Result<(), StoreError> {
    let subscriptions = subscriptions_mut(session);
    let at = subscriptions.iter().position(|subscription| subscription.pattern == *pattern);
    let at = at.ok_or(StoreError::NotSubscribed)?;
    subscriptions[at..].rotate_left(1);
    session.count -= 1;
    let last = session.count as usize;
    session.subscriptions[last] = Subscription::new_zeroed();
    Ok(())
}
