//! The port of a service: its checked device registers and its DMA window.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use rt::abi::layout::{DMA_BASE, DMA_END, MMIO_BASE};
use rt::{Error, sys};

use crate::port::{Port, Slot, Value};

/// The device of a service's manifest: the first range of `mmio` (with `checked = true`), the whole of `dma`.
#[derive(Debug)]
pub struct Device {
    memory: NonNull<[u8]>,
}

/// The DMA memory has one owner, in the life of an image's data: a service that is rebuilt starts anew.
static TAKEN: AtomicBool = AtomicBool::new(false);

impl Device {
    /// Takes hold of the device; `dma` is the size of the DMA window in the manifest, in bytes.
    ///
    /// `None` if it was taken before, or the window cannot be so large; on the host there is none.
    pub fn take(dma: usize) -> Option<Self> {
        let fits = dma > 0 && dma <= (DMA_END - DMA_BASE) as usize && cfg!(target_os = "none");
        if !fits || TAKEN.swap(true, Ordering::Relaxed) {
            return None;
        }
        let start = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(DMA_BASE as usize))?;
        Some(Device { memory: NonNull::slice_from_raw_parts(start, dma) })
    }
}

// SAFETY: the kernel maps the window page aligned, for this object alone, as long as it exists. A size larger than the
// manifest's faults at the first use behind the end, in this object. There is one `Device`, so one owner.
#[allow(unsafe_code)]
unsafe impl Port for Device {
    fn read(&self, register: u32) -> u32 {
        let place = ptr::with_exposed_provenance::<u32>((MMIO_BASE + (register & 0xffc)) as usize);
        // SAFETY: the first page of the device window, which the kernel maps for this object, for reading.
        unsafe { place.read_volatile() }
    }

    fn read_byte(&self, offset: u32) -> u8 {
        let place = ptr::with_exposed_provenance::<u8>((MMIO_BASE + (offset & 0xfff)) as usize);
        // SAFETY: as in `read`.
        unsafe { place.read_volatile() }
    }

    fn write(&mut self, register: u32, value: Value) -> Result<(), Error> {
        let value = match value {
            Value::Word(word) => word,
            Value::Page(page) => DMA_BASE + page,
        };
        sys::write_register(MMIO_BASE + register, value)
    }

    fn describe(&mut self, slot: u32, what: Slot) -> Result<(), Error> {
        match what {
            Slot::Descriptor { buffer, len, flags } => {
                sys::describe(DMA_BASE + slot, DMA_BASE + buffer, len, flags as u16, (flags >> 16) as u16)
            }
            Slot::Word(word) => sys::describe_word(DMA_BASE + slot, word),
        }
    }

    fn memory(&self) -> NonNull<[u8]> {
        self.memory
    }
}
