//! Several frames in one buffer: records of a header and a frame, each padded to [`ALIGN`] bytes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Frames begin at multiples of this.
pub const ALIGN: usize = 8;

/// What stands before each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// Of a received frame: its number, by which it is released.
    pub number: u32,
    /// Bytes of the frame.
    pub length: u32,
}

/// Bytes of a record with a frame of this length.
pub const fn record(length: usize) -> usize {
    size_of::<Header>() + length.next_multiple_of(ALIGN)
}

/// Makes room for a frame at the end of what is used of a buffer, and moves that end. `None`: it does not fit.
pub fn reserve<'b>(buffer: &'b mut [u8], used: &mut usize, number: u32, length: usize) -> Option<&'b mut [u8]> {
    let room = buffer.get_mut(*used..used.checked_add(record(length))?)?;
    *used += room.len();
    let (header, frame) = room.split_at_mut(size_of::<Header>());
    Header { number, length: length as u32 }.write_to(header).ok()?;
    frame.get_mut(..length)
}

/// The first record of a buffer, as header, place of its frame, and where the next record starts. `None`: there is no
/// whole record.
pub fn first(bytes: &[u8]) -> Option<(Header, core::ops::Range<usize>, usize)> {
    let (header, _) = Header::read_from_prefix(bytes).ok()?;
    let length = usize::try_from(header.length).ok().filter(|length| *length <= bytes.len())?;
    let start = size_of::<Header>();
    let next = record(length);
    (next <= bytes.len()).then_some((header, start..start + length, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut buffer = [0; 64];
        let mut used = 0;
        reserve(&mut buffer, &mut used, 7, 3).unwrap().copy_from_slice(b"one");
        reserve(&mut buffer, &mut used, 8, 9).unwrap().copy_from_slice(b"two, long");
        assert_eq!(used, 16 + 24);
        assert!(reserve(&mut buffer, &mut used, 9, 17).is_none() && used == 40);
        let (header, frame, next) = first(&buffer[..used]).unwrap();
        assert_eq!((header.number, &buffer[frame]), (7, &b"one"[..]));
        let rest = &buffer[next..used];
        let (header, frame, next) = first(rest).unwrap();
        assert_eq!((header.number, &rest[frame]), (8, &b"two, long"[..]));
        assert!(first(&rest[next..]).is_none());
    }

    #[test]
    fn records_that_are_not_whole_are_none() {
        for bytes in [&[1u8; 7][..], &[0, 0, 0, 0, 1, 0, 0, 0], &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]] {
            assert!(first(bytes).is_none(), "{bytes:?}");
        }
    }
}
