//! How directory entries travel in a lent buffer.
//!
//! Each entry is a header of [`HEADER`] bytes and the name, padded to a multiple of four: size, attributes and time
//! of change as in [`Stat`], and the length of the name, each a little-endian word.

use crate::words::{Attributes, Stat};

/// Bytes before the name.
pub const HEADER: usize = 16;
/// The most bytes of a name: 255 UTF-16 units are at most 765 bytes of UTF-8.
pub const MAX_NAME: usize = 765;
/// The cursor after the last entry.
pub const END: u32 = u32::MAX;

/// One entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// What the volume says of it.
    pub stat: Stat,
}

impl Entry<'_> {
    /// Writes it to the start of `to` and returns the number of bytes; `None` if it does not fit.
    pub fn encode(&self, to: &mut [u8]) -> Option<usize> {
        let name = self.name.as_bytes();
        let len = HEADER + name.len().next_multiple_of(4);
        let to = to.get_mut(..len)?;
        let words = [self.stat.size, self.stat.attributes.bits(), self.stat.modified, name.len() as u32];
        for (bytes, word) in to.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        to[HEADER..HEADER + name.len()].copy_from_slice(name);
        to[HEADER + name.len()..].fill(0);
        Some(len)
    }
}

/// The entries in the first bytes of a buffer, as many as `list` said it wrote.
#[derive(Clone, Debug)]
pub struct Entries<'a>(&'a [u8]);

impl<'a> Entries<'a> {
    /// Takes these bytes apart.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Entries(bytes)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    /// The next entry; bytes that are none end the iteration.
    fn next(&mut self) -> Option<Entry<'a>> {
        let word = |at: usize| {
            let bytes = self.0.get(4 * at..4 * at + 4)?;
            Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let stat = Stat { size: word(0)?, attributes: Attributes::from_bits_retain(word(1)?), modified: word(2)? };
        let end = HEADER.checked_add(word(3)? as usize)?;
        let name = core::str::from_utf8(self.0.get(HEADER..end)?).ok()?;
        self.0 = self.0.get(end.next_multiple_of(4)..)?;
        Some(Entry { name, stat })
    }
}
