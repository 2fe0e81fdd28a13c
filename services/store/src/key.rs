//! Keys and patterns, as they lie in sessions and in the registry.

use rt::LentRead;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{MAX_KEY, MAX_VALUE, StoreError};

/// A key or a pattern.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Key {
    len: u8,
    /// Zero behind the text.
    bytes: [u8; MAX_KEY],
}

/// A value.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Value {
    len: u8,
    /// Zero behind the value.
    bytes: [u8; MAX_VALUE],
}

impl Key {
    /// The text; empty if the bytes are none, which only damage can bring about.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_text()).unwrap_or_default()
    }

    pub(crate) fn as_text(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).min(MAX_KEY)]
    }

    /// A key or pattern of these bytes, if there are not too many.
    pub(crate) fn of(text: &[u8]) -> Option<Key> {
        let mut bytes = [0; MAX_KEY];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Key { len: text.len() as u8, bytes })
    }

    /// What the client lent, up to `len` bytes from the start.
    fn lent(from: &LentRead<'_>, len: usize) -> Option<Key> {
        let mut bytes = [0; MAX_KEY];
        from.copy(0, bytes.get_mut(..len)?).ok()?;
        Some(Key { len: len as u8, bytes })
    }

    /// The key that the client lent, in the first `len` bytes.
    ///
    /// # Errors
    /// [`StoreError::BadKey`].
    pub(crate) fn lent_key(from: &LentRead<'_>, len: usize) -> Result<Key, StoreError> {
        Key::lent(from, len).filter(Key::is_key).ok_or(StoreError::BadKey)
    }

    /// The pattern that the client lent.
    ///
    /// # Errors
    /// [`StoreError::BadPattern`].
    pub(crate) fn lent_pattern(from: &LentRead<'_>) -> Result<Key, StoreError> {
        Key::lent(from, from.len()).filter(Key::is_pattern).ok_or(StoreError::BadPattern)
    }

    /// Whether entries can have it.
    pub fn is_key(&self) -> bool {
        self.len > 0 && self.is_plain(self.len.into())
    }

    /// Whether subscriptions can have it.
    pub fn is_pattern(&self) -> bool {
        self.is_key() || (self.as_text().ends_with(b"*") && self.is_plain(usize::from(self.len) - 1))
    }

    /// Whether there are the usual characters, up to `end`, and zeros behind the text.
    fn is_plain(&self, end: usize) -> bool {
        let text = self.bytes.get(..end).and_then(|text| core::str::from_utf8(text).ok());
        let rest = self.bytes.get(self.len.into()..);
        text.is_some_and(|text| !text.contains(|c: char| c.is_control() || c == '*'))
            && rest.is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
    }

    /// Whether a key matches this pattern.
    pub fn matches(&self, key: &Key) -> bool {
        match self.as_text().strip_suffix(b"*") {
            Some(start) => key.as_text().starts_with(start),
            None => self == key,
        }
    }

    /// FNV-1a of the text.
    pub(crate) fn hash(&self) -> u32 {
        self.as_text().iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Value {
    /// No bytes.
    pub(crate) const EMPTY: Value = Value { len: 0, bytes: [0; MAX_VALUE] };

    /// What the client lent, from `at` on.
    ///
    /// # Errors
    /// [`StoreError::ValueTooLong`].
    pub(crate) fn lent(from: &LentRead<'_>, at: usize) -> Result<Value, StoreError> {
        let len = from.len().saturating_sub(at);
        let mut bytes = [0; MAX_VALUE];
        let to = bytes.get_mut(..len).ok_or(StoreError::ValueTooLong)?;
        from.copy(at, to).map_err(|_| StoreError::ValueTooLong)?;
        Ok(Value { len: len as u8, bytes })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).min(MAX_VALUE)]
    }

    /// Whether the length is possible.
    pub(crate) fn is_sound(&self) -> bool {
        usize::from(self.len) <= MAX_VALUE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::of(text.as_bytes()).unwrap()
    }

    #[test]
    fn keys_and_patterns_are_told_from_other_bytes() {
        let long = "ä".repeat(16);
        for good in ["a", "driver.uart", "ä b", &long] {
            assert!(key(good).is_key() && key(good).is_pattern(), "{good:?}");
        }
        for pattern in ["*", "driver.*", "ä*"] {
            assert!(!key(pattern).is_key() && key(pattern).is_pattern(), "{pattern:?}");
        }
        for bad in ["", "a\n", "*a", "a**", "\u{7f}"] {
            assert!(!key(bad).is_key() && !key(bad).is_pattern(), "{bad:?}");
        }
        assert!(Key::of(&[b'a'; 33]).is_none());
        assert!(!Key::of(b"\xc3").unwrap().is_key() && !Key::of(b"\xc3*").unwrap().is_pattern());
        assert!(!Key { len: 33, bytes: [b'a'; 32] }.is_key());
        assert!(!Key { len: 1, bytes: [b'a'; 32] }.is_key());
    }

    #[test]
    fn patterns_match_keys_and_starts_of_keys() {
        for (pattern, text, matches) in [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("a.*", "a.b", true),
            ("a.*", "a.", true),
            ("a.*", "a", false),
            ("*", "anything", true),
        ] {
            assert_eq!(key(pattern).matches(&key(text)), matches, "{pattern} {text}");
        }
    }
}
