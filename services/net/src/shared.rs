//! What belongs to no client and must survive the stack: the common region.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Address, Configuration, Statistics};

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

impl Announcement {
    /// The address that it is about.
    fn address(&self) -> Option<&[u8]> {
        announced(self.bytes.get(..self.length as usize)?)
    }
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
    /// Remembers a frame in which a neighbour says where it is, in place of an earlier one about the same address. Those about
    /// the routers are not forgotten for others.
    pub fn remember(&mut self, frame: &[u8]) {
        let Some(address) = announced(frame).filter(|_| frame.len() <= ANNOUNCEMENT) else { return };
        let place = self.neighbours.iter().position(|known| known.address() == Some(address));
        let place = place.unwrap_or_else(|| {
            for _ in 0..NEIGHBOURS {
                self.next_neighbour = self.next_neighbour.wrapping_add(1);
                let oldest = self.neighbours[self.next_neighbour as usize % NEIGHBOURS].address();
                let is_router = |gateway: &Address| {
                    gateway.family != 0 && oldest == gateway.ip.get(..oldest.map_or(0, <[u8]>::len))
                };
                if !self.configuration.gateways.iter().any(is_router) {
                    break;
                }
            }
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

/// The address that a frame is about: in ARP (RFC 826) that of the sender, in NDP (RFC 4861, 4.4) the target.
fn announced(frame: &[u8]) -> Option<&[u8]> {
    frame.get(if frame.len() < 80 { 28..32 } else { 62..78 })
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
    fn a_neighbour_is_remembered_once_and_the_oldest_forgotten_but_for_routers() {
        let mut shared = Shared::new_zeroed();
        let frame = |number: u8, card: u8| {
            let mut frame = [number; 42];
            frame[6] = card;
            frame
        };
        shared.configuration.gateways[0] = Address::of([3, 3, 3, 3].into());
        for number in (1..=NEIGHBOURS as u8 + 4).chain([NEIGHBOURS as u8]) {
            shared.remember(&frame(number, 0));
        }
        shared.remember(&frame(9, 77));
        shared.remember(&[0; ANNOUNCEMENT + 1]);
        let mut known: std::vec::Vec<u8> = shared.remembered().map(|frame| frame[1]).collect();
        known.sort_unstable();
        assert_eq!(known, [3, 6, 7, 8, 9, 10, 11, 12]);
        assert!(shared.remembered().any(|frame| frame[1] == 9 && frame[6] == 77));
    }
}
