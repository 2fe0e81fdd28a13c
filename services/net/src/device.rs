//! What the library sees of the card: one received frame at a time, and a buffer for frames to send.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use nic::{FRAME_MAX, batch};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

/// Bytes of the buffer for frames to send: 40 of the longest.
const ROOM: usize = 40 * batch::record(FRAME_MAX);

/// Frames to send, of the activation that is running.
pub struct Outbox {
    bytes: Box<[u8]>,
    used: usize,
    frames: u32,
    /// Ports that queries to name servers were sent from, since they were last asked for.
    query_ports: Vec<u16>,
}

impl Default for Outbox {
    fn default() -> Self {
        Outbox { bytes: vec![0; ROOM].into_boxed_slice(), used: 0, frames: 0, query_ports: Vec::new() }
    }
}

impl Outbox {
    /// The frames, as records of [`batch`], and how many they are.
    pub fn frames(&self) -> (&[u8], u32) {
        (&self.bytes[..self.used], self.frames)
    }

    /// Forgets the frames.
    pub fn clear(&mut self) {
        (self.used, self.frames) = (0, 0);
    }

    /// Whether another frame fits, whatever its length.
    fn has_room(&self) -> bool {
        self.used + batch::record(FRAME_MAX) <= ROOM
    }

    /// The ports of queries, once.
    pub fn take_query_ports(&mut self) -> Vec<u16> {
        core::mem::take(&mut self.query_ports)
    }
}

/// The device of one call of the library.
pub struct Device<'d> {
    /// The frame that it receives, if any.
    pub frame: Option<&'d [u8]>,
    /// Where frames go.
    pub outbox: &'d mut Outbox,
}

/// A frame received.
pub struct Received<'d>(&'d [u8]);

/// Room for a frame.
pub struct Room<'d>(&'d mut Outbox);

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

impl phy::TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let outbox = self.0;
        let start = outbox.used;
        match batch::reserve(&mut outbox.bytes, &mut outbox.used, 0, length) {
            Some(frame) => {
                outbox.frames += 1;
                let result = write(frame);
                if let Some(port) = crate::frame::query_port(frame) {
                    outbox.query_ports.push(port);
                }
                result
            }
            None => {
                // An answer to what was received, although there is no room: it is lost, as on any wire.
                outbox.used = start;
                write(&mut vec![0; length])
            }
        }
    }
}

impl phy::Device for Device<'_> {
    type RxToken<'a>
        = Received<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Room<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Room<'_>)> {
        let frame = self.frame.take()?;
        Some((Received(frame), Room(self.outbox)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room<'_>> {
        self.outbox.has_room().then_some(Room(self.outbox))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_MAX;
        capabilities
    }
}
