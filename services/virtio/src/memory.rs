//! The DMA memory: where the queues lie in it, and buffers for the rest.

use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};

use crate::{PAGE, Port};

/// Where the queues of a driver lie in its DMA memory, page by page, and where its buffers begin.
///
/// Queue `q` has its descriptors in page `2 * q`, which is a table page of the manifest; a legacy device finds the
/// available ring behind them and the used ring in the page that follows. For a modern one the available rings have
/// pages of their own behind all these.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    queues: u16,
}

impl Layout {
    /// For so many queues.
    pub const fn new(queues: u16) -> Self {
        Layout { queues }
    }

    /// The queues.
    pub const fn queues(&self) -> u16 {
        self.queues
    }

    /// Offset of a queue's descriptors; behind them the available ring of a legacy device.
    pub const fn table(&self, queue: u16) -> u32 {
        2 * queue as u32 * PAGE
    }

    /// Offset of a queue's used ring.
    pub const fn used(&self, queue: u16) -> u32 {
        self.table(queue) + PAGE
    }

    /// Offset of a queue's available ring, for a modern device.
    pub const fn available(&self, queue: u16) -> u32 {
        (2 * self.queues as u32 + queue as u32) * PAGE
    }

    /// Offset of the first byte that is for buffers.
    pub const fn buffers(&self) -> u32 {
        3 * self.queues as u32 * PAGE
    }
}

/// The part of the DMA memory that is for buffers. What it holds survives a failure of the driver.
#[derive(Debug)]
pub struct Window {
    memory: NonNull<[u8]>,
    /// Offset of what is not handed out yet.
    next: usize,
}

impl Window {
    /// That of a port, of which there must be no other: each byte is handed out once in the life of a driver.
    pub(crate) fn of(port: &impl Port, layout: Layout) -> Self {
        Window { memory: port.memory(), next: layout.buffers() as usize }
    }

    /// The next `len` bytes, aligned to `align`, a power of two up to a page. The same calls in the same order give
    /// the same places, so that a driver finds again what it had there before it failed. `None`: not enough left.
    #[allow(unsafe_code)]
    pub fn take(&mut self, len: usize, align: usize) -> Option<Buffer> {
        let start = self.next.checked_next_multiple_of(align.max(1))?;
        let end = start.checked_add(len).filter(|end| *end <= self.memory.len() && len > 0)?;
        self.next = end;
        // SAFETY: `start..end` lies in the memory, by the line above.
        let start = unsafe { self.memory.cast::<u8>().add(start) };
        Some(Buffer { memory: NonNull::slice_from_raw_parts(start, len), len })
    }
}

/// A piece of the DMA memory that the driver owns. Handed to a [`Queue`](crate::Queue), it is the device's until it
/// comes back.
#[derive(Debug)]
pub struct Buffer {
    memory: NonNull<[u8]>,
    /// How many of its bytes are in use, from the first on; never 0.
    len: usize,
}

#[allow(unsafe_code)]
impl Buffer {
    /// Its bytes in use: all, until [`Buffer::set_len`] says otherwise.
    #[allow(clippy::len_without_is_empty)] // none is empty
    pub fn len(&self) -> usize {
        self.len
    }

    /// Uses its first `len` bytes only, from now on; whether it has so many. 0 is refused.
    pub fn set_len(&mut self, len: usize) -> bool {
        let fits = (1..=self.memory.len()).contains(&len);
        if fits {
            self.len = len;
        }
        fits
    }

    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        // What the device wrote before it said so is read after that.
        fence(Ordering::Acquire);
        // SAFETY: handed out once and mapped for good (`Port`); the device has none that is not in a queue.
        unsafe { &self.memory.as_ref()[..self.len] }
    }

    /// What it holds, to change it.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        fence(Ordering::Acquire);
        // SAFETY: as in `bytes`; the borrow makes it exclusive.
        unsafe { &mut self.memory.as_mut()[..self.len] }
    }
}
