//! What a device had finished when it was reset: read out of its rings, which survive, before they are set up anew.

use alloc::vec::Vec;

use crate::Port;
use crate::mirror::real_word;
use crate::transport::Checked;

/// Bytes of a descriptor (virtio 2.7.5).
const DESCRIPTOR: u32 = 16;
/// Bytes of the used ring's flags and index, and of an entry of it (virtio 2.7.8).
const USED: (u32, u32) = (4, 8);

/// A request of one buffer that the device had finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The bus address of its buffer. It says which one it was to a driver that knows the bus address of another one.
    pub address: u64,
    /// Bytes that the device wrote.
    pub written: u32,
}

impl<P: Port> Checked<P> {
    /// What the device had finished of a queue of `size` descriptors behind the first `from` requests (modulo 65536), as far
    /// as the ring still holds it. Asked before the queue is set up.
    pub fn leftovers(&self, queue: u16, size: u16, from: u16) -> Vec<Leftover> {
        let memory = self.port.memory();
        let (ring, table) = (self.layout.used(queue), self.layout.table(queue));
        let count = self.left(queue).wrapping_sub(from).min(size);
        let end = self.left(queue);
        let entries = (0..count).map(|back| end.wrapping_sub(count - back) % size.max(1));
        let found = entries.filter_map(|entry| {
            let at = ring + USED.0 + USED.1 * u32::from(entry);
            let id = real_word(memory, at);
            let written = real_word(memory, at + 4);
            (id < size.into()).then(|| Leftover { address: self.bus_address_at(table + DESCRIPTOR * id), written })
        });
        found.collect()
    }

    /// The bus address in a descriptor of a queue: that of the buffer that was last submitted under this token.
    pub fn bus_address(&self, queue: u16, token: u16) -> u64 {
        self.bus_address_at(self.layout.table(queue) + DESCRIPTOR * u32::from(token))
    }

    fn bus_address_at(&self, descriptor: u32) -> u64 {
        let word = |offset| u64::from(real_word(self.port.memory(), descriptor + offset));
        word(4) << 32 | word(0)
    }
}
