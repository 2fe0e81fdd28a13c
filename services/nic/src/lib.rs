//! The interface of the network card.
//!
//! A received frame stays with the card until its client releases it; client and card can fail in between, and the frame is
//! still there. A frame to send goes out when the request that sent it has committed.
#![no_std]
#![forbid(unsafe_code)]

pub mod batch;

use rt::{Error, LentRead, LentWrite, Session, interface};

/// Bytes of the longest frame: 14 of Ethernet, 1,500 of payload.
pub const FRAME_MAX: usize = 1514;
/// Received frames that the card keeps at most; numbers of those that it has at the same time differ by less.
pub const KEPT_MAX: usize = 64;

/// A network card. It has one client, the stack.
#[interface(name = "nic")]
pub trait Nic {
    /// The card's address, its first byte the lowest.
    #[read_only]
    fn mac(&mut self, session: &mut Session<Self::State>) -> Result<u64, Error>;
    /// Writes received frames to the buffer ([`batch`]), the oldest first, those only that are not released, as many as
    /// fit; returns the bytes written. 0: there are none, and the client is notified when there are.
    #[read_only]
    fn peek(&mut self, session: &mut Session<Self::State>, to: LentWrite<'_>) -> Result<u32, Error>;
    /// Releases frames: number `first`, if bit 0 of the mask is set, and those behind it for each further bit. Notifies
    /// the client if others are left.
    fn release(&mut self, session: &mut Session<Self::State>, first: u32, mask: u64) -> Result<(), Error>;
    /// Sends frames ([`batch`]; numbers mean nothing), as many as there is room for; returns how many those are.
    fn send(&mut self, session: &mut Session<Self::State>, frames: LentRead<'_>) -> Result<u32, Error>;
}
