//! The device: virtio-net (virtio 1.2, section 5.1), a queue in each direction.

use bitflags::bitflags;
use nic::{FRAME_MAX, KEPT_MAX};
use virtio::virtio_drivers::transport::{DeviceType, Transport};
use virtio::{Buffer, Checked, Device, Layout, Leftover, Queue};

/// Bytes of the DMA window, as in the manifest.
const DMA: usize = 224 << 10;
/// A queue to receive, a queue to send.
const LAYOUT: Layout = Layout::new(2);
const RECEIVE: u16 = 0;
const SEND: u16 = 1;
/// Descriptors of each queue, which is also the number of buffers in each direction.
const SIZE: usize = KEPT_MAX;
/// Bytes of a buffer: the header, the longest frame, and what makes a multiple of 64.
pub const ROOM: usize = 1536;

bitflags! {
    /// Features (virtio 5.1.3; 6 for the last).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Features: u64 {
        /// The device has an address.
        const MAC = 1 << 5;
        /// A modern device.
        const VERSION_1 = 1 << 32;
    }
}

/// A card that is set up.
pub struct Card {
    transport: Checked<Device>,
    receive: Queue<SIZE>,
    send: Queue<SIZE>,
    /// Buffers that the device does not have, by number.
    incoming: [Option<Buffer>; SIZE],
    outgoing: [Option<Buffer>; SIZE],
    /// By token: the buffer that the device has.
    receiving: [u8; SIZE],
    sending: [u8; SIZE],
    /// Bytes of the header in front of each frame (virtio 5.1.6).
    header: usize,
    /// The device's address.
    pub mac: [u8; 6],
}

/// What the device had finished when it was reset.
pub struct Finished {
    /// Receptions.
    pub received: [Option<(usize, usize)>; SIZE],
    /// Bits of the buffers that were sent.
    pub sent: u64,
}

impl Card {
    /// Sets the device up, if there is one. `base`: bus address of the first buffer, if that is known from before; `noted`
    /// and `reaped`: how many finished requests of each queue are accounted for.
    ///
    /// What the device had finished before is asked for by the closure before anybody gives it anything new.
    pub fn connect(base: u64, noted: u16) -> Option<(Card, Finished)> {
        let (mut transport, mut window) = Checked::new(Device::take(DMA)?, DeviceType::Network, LAYOUT).ok()?;
        let header = if transport.is_legacy() { 10 } else { 12 };
        let mut finished = Finished { received: [None; SIZE], sent: 0 };
        if base != 0 {
            let number = |left: &Leftover, first: usize| {
                let offset = left.address.checked_sub(base)? as usize;
                (offset / ROOM).checked_sub(first).filter(|number| *number < SIZE)
            };
            let received = transport.leftovers(RECEIVE, SIZE as u16, noted);
            for (place, left) in finished.received.iter_mut().zip(&received) {
                *place = number(left, 0).map(|buffer| (buffer, (left.written as usize).saturating_sub(header)));
            }
            let sent = transport.leftovers(SEND, SIZE as u16, 0);
            sent.iter().filter_map(|left| number(left, SIZE)).for_each(|buffer| finished.sent |= 1 << buffer);
        }
        let mut buffers = [const { None }; 2 * SIZE];
        for buffer in &mut buffers {
            *buffer = Some(window.take(ROOM, 64)?);
        }
        let mut buffers = buffers.into_iter();
        let incoming = core::array::from_fn(|_| buffers.next().flatten());
        let outgoing = core::array::from_fn(|_| buffers.next().flatten());
        transport.begin_init(Features::MAC | Features::VERSION_1);
        let mac = transport.read_config_space(0).ok()?;
        let receive = Queue::new(&mut transport, RECEIVE).ok()?;
        let mut send = Queue::new(&mut transport, SEND).ok()?;
        send.set_interrupts(false);
        transport.finish_init();
        let (receiving, sending) = ([0; SIZE], [0; SIZE]);
        Some((Card { transport, receive, send, incoming, outgoing, receiving, sending, header, mac }, finished))
    }

    /// Lends the device a buffer to receive into; nothing to do if it has it already. Returns the bus address of the first
    /// buffer of all.
    pub fn lend(&mut self, number: usize) -> Option<u64> {
        let buffer = self.incoming.get_mut(number)?.take()?;
        match self.receive.submit(&mut self.transport, [].into(), [buffer].into()) {
            Ok(token) => {
                if let Some(place) = self.receiving.get_mut(usize::from(token)) {
                    *place = number as u8;
                }
                Some(self.transport.bus_address(RECEIVE, token).wrapping_sub((number * ROOM) as u64))
            }
            Err(mut refused) => {
                self.incoming[number] = refused.write.pop();
                None
            }
        }
    }

    /// The next frame that was received: its buffer, and its length.
    pub fn received(&mut self) -> Option<(usize, usize)> {
        // A device that says what cannot be is a failure: it is reset, and its queues set up anew.
        let mut done =
            self.receive.finished(&mut self.transport).unwrap_or_else(|fault| panic!("receiving: {fault}"))?;
        let number = self.receiving.get(usize::from(done.token)).map_or(0, |number| usize::from(*number));
        self.incoming[number % SIZE] = done.write.pop();
        Some((number, (done.written as usize).saturating_sub(self.header)))
    }

    /// Writes a record of [`nic::batch`] into a buffer that holds a frame, in front of it, and returns both together.
    pub fn record(&mut self, number: usize, header: nic::batch::Header) -> Option<&[u8]> {
        use zerocopy::IntoBytes;
        let start = self.header - size_of::<nic::batch::Header>();
        let end = start + nic::batch::record(header.length as usize);
        let bytes = self.incoming.get_mut(number)?.as_mut()?.bytes_mut().get_mut(start..end)?;
        bytes[..size_of::<nic::batch::Header>()].copy_from_slice(header.as_bytes());
        Some(bytes)
    }

    /// Puts a frame into a buffer; whether that is free and large enough.
    pub fn load(&mut self, number: usize, frame: &[u8]) -> bool {
        let Some(buffer) = self.outgoing.get_mut(number).and_then(Option::as_mut) else { return false };
        let length = self.header + frame.len();
        if frame.len() > FRAME_MAX || !buffer.set_len(length) {
            return false;
        }
        let (header, room) = buffer.bytes_mut().split_at_mut(self.header);
        header.fill(0);
        room.copy_from_slice(frame);
        true
    }

    /// Makes a buffer that was loaded before the service was rebuilt as long as its frame again.
    pub fn reload(&mut self, number: usize, length: usize) {
        let length = self.header + length;
        if let Some(buffer) = self.outgoing.get_mut(number).and_then(Option::as_mut) {
            buffer.set_len(length.min(ROOM));
        }
    }

    /// Gives the device a loaded buffer to send; whether it has it now.
    pub fn send(&mut self, number: usize) -> bool {
        let Some(buffer) = self.outgoing.get_mut(number).and_then(Option::take) else { return true };
        match self.send.submit(&mut self.transport, [buffer].into(), [].into()) {
            Ok(token) => {
                if let Some(place) = self.sending.get_mut(usize::from(token)) {
                    *place = number as u8;
                }
                true
            }
            Err(mut refused) => {
                self.outgoing[number] = refused.read.pop();
                false
            }
        }
    }

    /// The next buffer that was sent.
    pub fn sent(&mut self) -> Option<usize> {
        let mut done = self.send.finished(&mut self.transport).unwrap_or_else(|fault| panic!("sending: {fault}"))?;
        let number = self.sending.get(usize::from(done.token)).map_or(0, |number| usize::from(*number)) % SIZE;
        if let Some(buffer) = self.outgoing.get_mut(number) {
            *buffer = done.read.pop().map(|mut buffer| {
                buffer.set_len(ROOM);
                buffer
            });
        }
        Some(number)
    }
}
