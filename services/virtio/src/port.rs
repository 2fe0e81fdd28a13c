//! The way to the device, to the kernel and to the DMA memory.

use core::ptr::NonNull;

use rt::Error;

/// One device and the DMA memory of its driver.
///
/// # Safety
/// [`memory`](Port::memory) is always the same range: page aligned, readable, writable but for table pages, alive as
/// long as the program, and nobody else's but the device's.
#[allow(unsafe_code)] // an implementation hands out memory, and must promise what it is
pub unsafe trait Port {
    /// Reads a register: its offset from the device's first, a multiple of 4.
    fn read(&self, register: u32) -> u32;

    /// Reads a byte of the configuration space, at an offset from the device's first register.
    fn read_byte(&self, offset: u32) -> u8;

    /// Writes a register, by the kernel.
    ///
    /// # Errors
    /// What the kernel says: the rules of the manifest do not allow it.
    fn write(&mut self, register: u32, value: Value) -> Result<(), Error>;

    /// Writes a table page, by the kernel: `slot` is an offset in the DMA memory.
    ///
    /// # Errors
    /// What the kernel says: no table page, or a buffer that the device must not have.
    fn describe(&mut self, slot: u32, what: Slot) -> Result<(), Error>;

    /// The DMA memory.
    fn memory(&self) -> NonNull<[u8]>;
}

/// What goes into a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Word(u32),
    /// The bus address of a page: its offset in the DMA memory.
    Page(u32),
}

/// What goes into a table page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A descriptor (virtio 2.7.5).
    Descriptor {
        /// Offset of the buffer in the DMA memory.
        buffer: u32,
        /// Its bytes.
        len: u32,
        /// Flags in the lower half, number of the next descriptor in the upper one.
        flags: u32,
    },
    /// A word behind the descriptors: of the available ring.
    Word(u32),
}
