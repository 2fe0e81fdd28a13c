//! What belongs to no client and must survive the stack: the common region.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Configuration, Statistics};

/// Neighbours that are remembered.
pub const NEIGHBOURS: usize = 8;
/// Bytes of a frame in which a neighbour says where it is, at most: those of ARP have 42, those of NDP 86.
pub const ANNOUNCEMENT: usize = 92;

/// A frame in which a neighbour said where it is. Heard again by a stack that was rebuilt, so that no connection waits until it
/// has asked anew.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Announcement {
    /// Its length; 0: none.
    pub length: u32,
    /// Its bytes.
    pub bytes: [u8; ANNOUNCEMENT],
}

/// The region.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Shared {
    /// What random numbers are derived from; 0: nothing yet.
    pub seed: u64,
    /// When the lease of the IPv4 address is to be renewed, in microseconds; 0: there is none.
    pub renew_at: u64,
    /// Numbers for whoever asks.
    pub statistics: Statistics,
    /// The interface.
    pub configuration: Configuration,
    /// How often the stack was rebuilt since it last did something to the end.
    pub setbacks: u32,
    /// 1: `configuration` was set up.
    pub configured: u32,
    /// Neighbours, a ring.
    pub neighbours: [Announcement; NEIGHBOURS],
    /// Where the next one is written.
    pub next_neighbour: u32,
}

impl Shared {
    /// Remembers a frame in which a neighbour says where it is, in place of an earlier one of the same sender.
    pub fn remember(&mut self, frame: &[u8]) {
        let Some(sender) = frame.get(6..12).filter(|_| frame.len() <= ANNOUNCEMENT) else { return };
        let same = |known: &Announcement| {
            known.length as usize == frame.len() && known.bytes.get(6..12) == Some(sender) && {
                // ARP (RFC 826): the sender's protocol address; NDP (RFC 4861, 4.4): the target.
                let place = if frame.len() < 80 { 28..32 } else { 62..78 };
                known.bytes.get(place.clone()) == frame.get(place)
            }
        };
        let place = self.neighbours.iter().position(same).unwrap_or_else(|| {
            self.next_neighbour = self.next_neighbour.wrapping_add(1);
            self.next_neighbour as usize % NEIGHBOURS
        });
        let known = &mut self.neighbours[place];
        // Not written anew if nothing is new: that would be a page to keep for the undo.
        if known.bytes[..frame.len()] != *frame || known.length as usize != frame.len() {
            known.bytes = [0; ANNOUNCEMENT];
            known.bytes[..frame.len()].copy_from_slice(frame);
            known.length = frame.len() as u32;
        }
    }

    /// The frames of neighbours, the oldest first as far as that is known.
    pub fn remembered(&self) -> impl Iterator<Item = &[u8]> {
        let start = self.next_neighbour as usize + 1;
        let order = (0..NEIGHBOURS).map(move |offset| &self.neighbours[start.wrapping_add(offset) % NEIGHBOURS]);
        order.filter_map(|known| known.bytes.get(..known.length as usize).filter(|bytes| !bytes.is_empty()))
    }
}

/// A number that looks random, from one that need not (`splitmix64`, Steele and others, OOPSLA 2014).
pub fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn a_neighbour_is_remembered_once_and_the_oldest_forgotten() {
        let mut shared = Shared::new_zeroed();
        let frame = |number: u8| {
            let mut frame = [number; 42];
            frame[0] = 1;
            frame
        };
        for number in (1..=NEIGHBOURS as u8 + 1).chain([NEIGHBOURS as u8]) {
            shared.remember(&frame(number));
        }
        shared.remember(&[0; ANNOUNCEMENT + 1]);
        let known: std::vec::Vec<u8> = shared.remembered().map(|frame| frame[1]).collect();
        assert_eq!(known, (2..=NEIGHBOURS as u8 + 1).collect::<std::vec::Vec<u8>>());
    }
}
