//! One queue twice: the shadow that `virtio-drivers` works on, and the real one that the device sees.
//!
//! Invariant: the device is told of an entry of the available ring only after the kernel has written each descriptor of
//! its chain. An entry of the used ring reaches the shadow whole before its index does.

use alloc::boxed::Box;
use alloc::vec;
use core::ptr::{self, NonNull};
use core::sync::atomic::{Ordering, fence};

use crate::memory::Layout;
use crate::port::{Port, Slot};
use crate::transport::Fault;

/// Bytes of a descriptor: address, length, flags, next (virtio 2.7.5).
const DESCRIPTOR: u32 = 16;
/// Flag of a descriptor: another one follows.
const NEXT: u16 = 1;
/// Flag of a descriptor: the device writes the buffer.
const WRITE: u16 = 2;
/// Bytes of a ring's flags and index, in front of its entries (virtio 2.7.6, 2.7.8).
const RING: u32 = 4;
/// Bytes of an entry of the used ring.
const USED: u32 = 8;

/// Where the parts of a queue lie in the shadow: what `virtio-drivers` said when it set the queue up.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// Address of the descriptors.
    pub descriptors: u64,
    /// Address of the available ring.
    pub available: u64,
    /// Address of the used ring.
    pub used: u64,
}

/// A queue that is set up.
pub struct Mirror {
    size: u16,
    shadow: Parts,
    memory: NonNull<[u8]>,
    table: u32,
    /// Offset of the available ring, and whether the kernel writes it.
    available: (u32, bool),
    used: u32,
    /// Index of the shadow's available ring that the device has been told.
    told: u16,
    /// Index of the real used ring that the shadow has been told.
    taken: u16,
    /// What the kernel was last asked to write into each descriptor: the same again costs nothing.
    written: Box<[Option<Slot>]>,
    /// The entries of the available ring, as the device sees them.
    entries: Box<[u16]>,
}

impl Mirror {
    /// For queue `queue` of `size` descriptors. The used ring begins empty.
    pub fn new(port: &impl Port, layout: Layout, queue: u16, size: u16, shadow: Parts, legacy: bool) -> Self {
        let table = layout.table(queue);
        let available =
            if legacy { (table + DESCRIPTOR * u32::from(size), true) } else { (layout.available(queue), false) };
        let mut mirror = Mirror {
            size,
            shadow,
            memory: port.memory(),
            table,
            available,
            used: layout.used(queue),
            told: 0,
            taken: 0,
            written: vec![None; size.into()].into(),
            entries: vec![0; size.into()].into(),
        };
        for word in (0..RING + USED * u32::from(size)).step_by(4) {
            mirror.put(mirror.used + word, 0);
        }
        mirror
    }

    /// Writes the start of the available ring: nothing is available.
    pub fn begin(&mut self, port: &mut impl Port) -> Result<(), Fault> {
        self.tell(port)
    }

    /// Tells the device what was added to the shadow. Whether that was anything.
    pub fn publish(&mut self, port: &mut impl Port) -> Result<bool, Fault> {
        let end = (shadow_word(self.shadow.available, 0) >> 16) as u16;
        if end == self.told {
            return Ok(false);
        }
        while self.told != end {
            let slot = self.told % self.size;
            let head = Self::shadow_half(self.shadow.available, RING + 2 * u32::from(slot));
            self.describe_chain(port, head)?;
            *self.entries.get_mut(usize::from(slot)).ok_or(Fault::Queue)? = head;
            self.tell_entry(port, slot)?;
            self.told = self.told.wrapping_add(1);
        }
        // The entries before the index (virtio 2.7.13.3).
        fence(Ordering::SeqCst);
        self.tell(port)?;
        fence(Ordering::SeqCst);
        Ok(true)
    }

    /// Has the kernel write the descriptors of a chain.
    fn describe_chain(&mut self, port: &mut impl Port, head: u16) -> Result<(), Fault> {
        let mut index = head;
        for _ in 0..self.size {
            let at = DESCRIPTOR * u32::from(index);
            let written = self.written.get_mut(usize::from(index)).ok_or(Fault::Queue)?;
            let word = |offset| shadow_word(self.shadow.descriptors, at + offset);
            let address = u64::from(word(4)) << 32 | u64::from(word(0));
            let (len, flags) = (word(8), word(12));
            let buffer = address
                .checked_sub(self.memory.cast::<u8>().addr().get() as u64)
                .filter(|offset| offset + u64::from(len) <= self.memory.len() as u64)
                .ok_or(Fault::Outside)?;
            let next = flags as u16 & NEXT != 0;
            // The number behind the last one means nothing; 0 is written, so that the same chain looks the same again.
            let kept = if next { flags & 0xffff_0000 } else { 0 } | u32::from(flags as u16 & (NEXT | WRITE));
            let slot = Slot::Descriptor { buffer: buffer as u32, len, flags: kept };
            if *written != Some(slot) {
                *written = None;
                port.describe(self.table + at, slot).map_err(Fault::Kernel)?;
                *written = Some(slot);
            }
            if !next {
                return Ok(());
            }
            index = (flags >> 16) as u16;
        }
        // A chain that comes back to itself.
        Err(Fault::Queue)
    }

    /// Writes an entry of the available ring; two share a word.
    fn tell_entry(&mut self, port: &mut impl Port, slot: u16) -> Result<(), Fault> {
        let pair = usize::from(slot & !1);
        let entry = |at: usize| u32::from(self.entries.get(at).copied().unwrap_or(0));
        let word = entry(pair + 1) << 16 | entry(pair);
        self.put_available(port, RING + 2 * pair as u32, word)
    }

    /// Writes flags and index of the available ring. The flags are the shadow's.
    fn tell(&mut self, port: &mut impl Port) -> Result<(), Fault> {
        let flags = shadow_word(self.shadow.available, 0) & 0xffff;
        self.put_available(port, 0, flags | u32::from(self.told) << 16)
    }

    fn put_available(&mut self, port: &mut impl Port, offset: u32, word: u32) -> Result<(), Fault> {
        let at = self.available.0 + offset;
        if self.available.1 {
            return port.describe(at, Slot::Word(word)).map_err(Fault::Kernel);
        }
        self.put(at, word);
        Ok(())
    }

    /// Moves what the device has used into the shadow. Whether that was anything.
    pub fn take(&mut self) -> Result<bool, Fault> {
        let end = (self.get(self.used) >> 16) as u16;
        // What the device wrote before the index is read after it.
        fence(Ordering::SeqCst);
        if end.wrapping_sub(self.taken) > self.size {
            return Err(Fault::Queue);
        }
        let any = end != self.taken;
        while self.taken != end {
            let at = RING + USED * u32::from(self.taken % self.size);
            let (id, len) = (self.get(self.used + at), self.get(self.used + at + 4));
            if id >= self.size.into() {
                return Err(Fault::Queue);
            }
            put_shadow_word(self.shadow.used, at, id);
            put_shadow_word(self.shadow.used, at + 4, len);
            self.taken = self.taken.wrapping_add(1);
        }
        fence(Ordering::SeqCst);
        // Flags 0: the device is told of everything, whether it says that it must be or not.
        put_shadow_word(self.shadow.used, 0, u32::from(self.taken) << 16);
        Ok(any)
    }

    fn shadow_half(base: u64, offset: u32) -> u16 {
        let word = shadow_word(base, offset & !3);
        if offset & 2 == 0 { word as u16 } else { (word >> 16) as u16 }
    }

    fn get(&self, at: u32) -> u32 {
        real_word(self.memory, at)
    }

    #[allow(unsafe_code)]
    fn put(&mut self, at: u32, word: u32) {
        // SAFETY: as in `real_word`; rings that the service writes lie in pages that no buffer has.
        unsafe { self.memory.cast::<u8>().add(at as usize).cast::<u32>().write_volatile(word.to_le()) }
    }
}

/// The index of the used ring that lies there in the DMA memory.
pub fn used_index(memory: NonNull<[u8]>, at: u32) -> u16 {
    (real_word(memory, at) >> 16) as u16
}

/// A word of the DMA memory that the device may change at any time.
#[allow(unsafe_code)]
pub fn real_word(memory: NonNull<[u8]>, at: u32) -> u32 {
    // SAFETY: the layout's pages lie in the memory (checked by the transport), which is mapped for good; words of rings
    // are aligned.
    u32::from_le(unsafe { memory.cast::<u8>().add(at as usize).cast::<u32>().read_volatile() })
}

/// A word of a queue in the shadow.
#[allow(unsafe_code)]
fn shadow_word(base: u64, offset: u32) -> u32 {
    let word = ptr::with_exposed_provenance::<u32>((base + u64::from(offset)) as usize);
    // SAFETY: `VirtQueue` set the queue up in pages of `Shadow`, and keeps them as long as it uses the transport; the
    // offset lies in the part named (indices are checked against the size). It works on them only in its own calls.
    u32::from_le(unsafe { word.read_volatile() })
}

#[allow(unsafe_code)]
fn put_shadow_word(base: u64, offset: u32, word: u32) {
    let place = ptr::with_exposed_provenance_mut::<u32>((base + u64::from(offset)) as usize);
    // SAFETY: as in `shadow_word`.
    unsafe { place.write_volatile(word.to_le()) }
}
