//! What a session asked for, and how that is recognised after a failure.

use rt::SsrState;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From the disk.
    Read = 1,
    /// To the disk.
    Write = 2,
    /// To the medium, out of the device's cache.
    Sync = 3,
}

/// The latest request of a session; while it is carried out, the one in flight. All zero: none yet.
///
/// A request that fails is undone: its number goes back, and the next attempt gets the same again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[ssr(validate = Asked::holds)]
#[repr(C)]
pub struct Asked {
    first: u64,
    /// How many there were; it may start again from 0.
    number: u32,
    kind: u32,
    bytes: u32,
    sum: u32,
}

impl Asked {
    /// Notes the next request.
    pub fn next(&mut self, kind: Kind, first: u64, bytes: u32) {
        *self = Asked { first, number: self.number.wrapping_add(1), kind: kind as u32, bytes, sum: 0 };
        self.sum = self.sum();
    }

    /// The first sector.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// What it is.
    pub fn kind(&self) -> Option<Kind> {
        [Kind::Read, Kind::Write, Kind::Sync].into_iter().find(|kind| *kind as u32 == self.kind)
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }

    fn sum(&self) -> u32 {
        let words = [self.first as u32, (self.first >> 32) as u32, self.number, self.kind, self.bytes];
        words.iter().fold(0, |sum: u32, word| sum.rotate_left(5).wrapping_add(*word).wrapping_mul(0x9e37_79b1))
    }

    fn holds(&self) -> bool {
        self.sum == self.sum() && (self.kind().is_some() || *self == Asked::default())
    }
}

/// A request as it went to the device: a note in the DMA window. It stands until the next one is issued, so that what it
/// says of the disk is true as long as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Note {
    asked: Asked,
    session: u32,
    /// Requests that the device had finished before, modulo 65536; and [`Note::VALID`] in the upper half.
    before: u32,
}

impl Note {
    const VALID: u32 = 0x5d1c_0000;

    /// The note of a request, when the device has finished so many.
    pub fn of(session: u32, asked: &Asked, before: u16) -> Self {
        Note { asked: *asked, session, before: Note::VALID | u32::from(before) }
    }

    /// The request that had been finished when the device had finished `left`: not if it is none, or was still in flight.
    pub fn finished(self, left: u16) -> Option<Self> {
        let valid = self.before & 0xffff_0000 == Note::VALID && self.asked.holds();
        (valid && left == (self.before as u16).wrapping_add(1)).then_some(self)
    }

    /// Whether it is of this request.
    pub fn is_of(&self, session: u32, asked: &Asked) -> bool {
        self.session == session && self.asked == *asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_recognised_only_as_itself() {
        let mut asked = Asked::default();
        assert!(asked.holds() && asked.kind().is_none());
        asked.next(Kind::Write, 7, 512);
        assert!(asked.holds());
        let note = Note::of(3, &asked, 0xffff);
        assert!(note.finished(0).is_some_and(|note| note.is_of(3, &asked)));
        assert!(note.finished(0xffff).is_none() && note.finished(1).is_none());
        assert!(!note.is_of(4, &asked));
        let mut next = asked;
        next.next(Kind::Write, 7, 512);
        assert!(!note.is_of(3, &next), "the same again is another request");
    }

    #[test]
    fn what_is_no_note_is_none() {
        let zero = Note::read_from_bytes(&[0; size_of::<Note>()]).unwrap();
        assert!(zero.finished(1).is_none());
        let mut asked = Asked::default();
        asked.next(Kind::Read, 1 << 33, 1024);
        for bit in 0..8 * size_of::<Asked>() {
            let mut bytes = [0; size_of::<Asked>()];
            bytes.copy_from_slice(asked.as_bytes());
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!Asked::read_from_bytes(&bytes).unwrap().holds(), "bit {bit}");
        }
    }
}
