//! Bytes received and not yet claimed: a ring in the common region, so that they survive every failure.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes that the ring can hold.
const ROOM: usize = 2048;

/// The ring. All zero: an empty one.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Input {
    /// Bytes ever put in; wraps round.
    received: u32,
    /// Bytes ever taken out; wraps round.
    claimed: u32,
    bytes: [u8; ROOM],
}

impl Input {
    /// Forgets the content if it is impossible.
    pub fn repair(&mut self) {
        if self.len() > ROOM {
            self.claimed = self.received;
        }
    }

    fn len(&self) -> usize {
        self.received.wrapping_sub(self.claimed) as usize
    }

    /// Whether another byte fits.
    pub fn has_room(&self) -> bool {
        self.len() < ROOM
    }

    /// Puts a byte in; the caller has asked whether it fits.
    pub fn put(&mut self, byte: u8) {
        self.bytes[self.received as usize % ROOM] = byte;
        self.received = self.received.wrapping_add(1);
    }

    /// The oldest bytes, as many as lie in a row; none only if there are none.
    pub fn oldest(&self) -> &[u8] {
        let start = self.claimed as usize % ROOM;
        &self.bytes[start..(start + self.len()).min(ROOM)]
    }

    /// Takes out that many of [`Input::oldest`].
    pub fn claim(&mut self, count: usize) {
        self.claimed = self.claimed.wrapping_add(count.min(self.len()) as u32);
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn gives_back_what_was_put_in_also_across_the_end() {
        let mut input = Input::new_zeroed();
        input.received = u32::MAX - 1000;
        input.claimed = input.received;
        let mut put = 0u8;
        let mut taken = 0u8;
        for _ in 0..20 {
            while input.has_room() {
                input.put(put);
                put = put.wrapping_add(1);
            }
            for _ in 0..2 {
                let bytes = input.oldest();
                assert!(!bytes.is_empty());
                let count = bytes.len().min(1500);
                for byte in &bytes[..count] {
                    assert_eq!(*byte, taken);
                    taken = taken.wrapping_add(1);
                }
                input.claim(count);
            }
        }
    }

    #[test]
    fn forgets_the_impossible() {
        let mut input = Input::new_zeroed();
        input.received = 5;
        input.claimed = 6;
        input.repair();
        assert!(input.oldest().is_empty());
        input.put(1);
        input.repair();
        assert_eq!(input.oldest(), [1]);
    }
}
