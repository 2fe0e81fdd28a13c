//! A queue that owns its buffers while the device has them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use crate::memory::Buffer;
use crate::port::Port;
use crate::shadow::Shadow;
use crate::transport::{Checked, Fault};

/// The most buffers of a request in one direction.
const PARTS: usize = 3;

/// Buffers of a request in one direction, in order.
pub type Parts = Vec<Buffer>;

/// A request that the device has finished.
#[derive(Debug)]
pub struct Finished {
    /// The number that [`Queue::submit`] gave it.
    pub token: u16,
    /// Bytes that the device wrote.
    pub written: u32,
    /// What the device read.
    pub read: Parts,
    /// What the device wrote to.
    pub write: Parts,
}

/// A request that the device was not given; its buffers come back.
#[derive(Debug)]
pub struct Refused {
    /// Why; `None`: the queue is full, or the request has no buffers or too many.
    pub fault: Option<Fault>,
    /// What the device should have read.
    pub read: Parts,
    /// What the device should have written to.
    pub write: Parts,
}

/// A queue of `SIZE` descriptors.
pub struct Queue<const SIZE: usize> {
    number: u16,
    queue: VirtQueue<Shadow, SIZE>,
    /// By token: what the device has.
    held: Box<[Option<(Parts, Parts)>]>,
}

impl<const SIZE: usize> Queue<SIZE> {
    /// Sets up a queue of the device.
    ///
    /// # Errors
    /// The device has none of this number and size, or there is no memory.
    pub fn new<P: Port>(transport: &mut Checked<P>, number: u16) -> virtio_drivers::Result<Self> {
        let queue = VirtQueue::new(transport, number, false, false)?;
        Ok(Queue { number, queue, held: (0..SIZE).map(|_| None).collect() })
    }

    /// Descriptors that are free: a request takes one for each of its buffers.
    pub fn free(&self) -> usize {
        self.queue.available_desc()
    }

    /// Whether the device is to interrupt when it has finished a request of this queue; from the next request on.
    pub fn set_interrupts(&mut self, on: bool) {
        self.queue.set_dev_notify(on);
    }

    /// Gives a request to the device; it has the buffers until [`Queue::finished`] gives them back. Returns its number.
    ///
    /// # Errors
    /// [`Refused`], with the buffers. After a fault the device must be reset before anything else.
    #[allow(unsafe_code)]
    pub fn submit<P: Port>(
        &mut self,
        transport: &mut Checked<P>,
        read: Parts,
        mut write: Parts,
    ) -> Result<u16, Refused> {
        let count = read.len() + write.len();
        if count == 0 || count > self.free() || read.len() > PARTS || write.len() > PARTS {
            return Err(Refused { fault: None, read, write });
        }
        let token = {
            let mut from: [&[u8]; PARTS] = [&[]; PARTS];
            from.iter_mut().zip(&read).for_each(|(part, buffer)| *part = buffer.bytes());
            let mut to: [&mut [u8]; PARTS] = [&mut [], &mut [], &mut []];
            to.iter_mut().zip(&mut write).for_each(|(part, buffer)| *part = buffer.bytes_mut());
            let write = to.iter().take_while(|part| !part.is_empty()).count();
            // SAFETY: the buffers lie in the DMA memory, which stays mapped, and `held` keeps them from being used
            // until `finished` has popped the request. None is empty.
            unsafe { self.queue.add(&from[..read.len()], &mut to[..write]) }
        };
        let Ok(token) = token else { return Err(Refused { fault: None, read, write }) };
        if let Err(fault) = transport.publish(self.number) {
            return Err(Refused { fault: Some(fault), read, write });
        }
        match self.held.get_mut(usize::from(token)) {
            Some(held) => *held = Some((read, write)),
            None => return Err(Refused { fault: Some(Fault::Queue), read, write }),
        }
        Ok(token)
    }

    /// The next request that the device has finished, if there is one. Acknowledges its interrupt.
    ///
    /// # Errors
    /// [`Fault::Queue`]: the device says what cannot be, and must be reset.
    #[allow(unsafe_code)]
    pub fn finished<P: Port>(&mut self, transport: &mut Checked<P>) -> Result<Option<Finished>, Fault> {
        if self.queue.peek_used().is_none() {
            transport.ack_interrupt();
        }
        let Some(token) = self.queue.peek_used() else { return Ok(None) };
        let held = self.held.get_mut(usize::from(token)).and_then(Option::take);
        let (read, mut write) = held.ok_or(Fault::Queue)?;
        let written = {
            let mut from: [&[u8]; PARTS] = [&[]; PARTS];
            from.iter_mut().zip(&read).for_each(|(part, buffer)| *part = buffer.bytes());
            let mut to: [&mut [u8]; PARTS] = [&mut [], &mut [], &mut []];
            to.iter_mut().zip(&mut write).for_each(|(part, buffer)| *part = buffer.bytes_mut());
            let write = to.iter().take_while(|part| !part.is_empty()).count();
            // SAFETY: the same buffers, in the same order, as `submit` added under this token.
            unsafe { self.queue.pop_used(token, &from[..read.len()], &mut to[..write]) }
        };
        let written = written.map_err(|_| Fault::Queue)?;
        Ok(Some(Finished { token, written, read, write }))
    }

    /// Gives back everything that the device has: it was reset, and this queue is of no more use.
    pub fn abandon(self) -> impl Iterator<Item = (Parts, Parts)> {
        self.held.into_iter().flatten()
    }
}
