//! Devices that reach memory by themselves: which addresses a driver may give them.
//!
//! There is no IOMMU: a device reads and writes wherever it is told to. So a driver cannot tell it directly. The registers
//! of such a device are mapped for reading only, and so are the pages with its descriptors; the driver asks the kernel to
//! write there ([`crate::KernelCall::WriteRegister`], [`crate::KernelCall::Describe`]). It names memory by its own addresses,
//! in the DMA window from [`layout::DMA_BASE`] on, which is contiguous in physical memory; the kernel checks them and writes
//! bus addresses. Here is what it checks, apart from the kernel so that it is tested on the host.
//!
//! What remains trusted: that the manifest's rules name each register of the device that carries an address or tells how
//! much memory a table takes, that the device keeps to its descriptors, and that it keeps the processor's caches coherent
//! (virtio over MMIO does: the window is ordinary cacheable memory).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Error;
use crate::image::Entry;
use crate::layout::{self, PAGE};

/// Rules for registers of one service, at most.
pub const MAX_RULES: usize = 12;
/// Pages of a DMA window that may hold descriptors: its first ones.
pub const MAX_TABLE_PAGES: u32 = 32;
/// Bytes of a descriptor (Virtio 1.2, section 2.7.5): address (8), length (4), flags (2), next (2).
pub const DESCRIPTOR: u32 = 16;
/// Descriptor flags that a driver may set: VIRTQ_DESC_F_NEXT and VIRTQ_DESC_F_WRITE. Not VIRTQ_DESC_F_INDIRECT, which would
/// make the device read descriptors that nobody has checked.
pub const FLAGS: u32 = 0b11;

crate::kinds! {
    /// What may be written to a register.
    Holds {
        /// One value only.
        Value = 1, "value";
        /// The bus address of a page of the window, which the device only reads.
        Any = 2, "any";
        /// The bus address of a page of the window without descriptors, which the device may write.
        Buffer = 3, "buffer";
        /// The bus address of a page with descriptors.
        Table = 4, "table";
    }
}

/// A rule for one register.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Rule {
    /// Address of the register in the device window, a multiple of 4; 0 = unused entry.
    pub register: u32,
    /// [`Holds`].
    pub holds: u32,
    /// The value; or for addresses by how many bits they are shifted right, at most 12.
    pub value: u32,
}

impl Entry {
    /// Bytes of its device window.
    pub fn device_window(&self) -> u32 {
        self.mmio.iter().fold(0, |sum: u32, range| sum.saturating_add(range.length))
    }

    /// Offset in the DMA window of a range, if it lies there and, unless `tables`, has no page with descriptors.
    fn dma_range(&self, address: u32, length: u32, tables: bool) -> Option<u32> {
        let offset = address.checked_sub(layout::DMA_BASE)?;
        let end = offset.checked_add(length).filter(|end| *end <= self.dma)?;
        let clash = (offset / PAGE..end.div_ceil(PAGE)).any(|page| self.is_table(page));
        (tables || !clash).then_some(offset)
    }

    /// Whether a page of the DMA window holds descriptors.
    pub fn is_table(&self, page: u32) -> bool {
        self.dma_tables.checked_shr(page).unwrap_or(0) & 1 == 1
    }

    /// What the kernel writes to a device register for a driver that wants to write `value`. `base`: physical address of the
    /// DMA window.
    ///
    /// # Errors
    /// [`Error::BadRange`] if there is no such register, or its address is none that the device may get;
    /// [`Error::BadArgument`] if the register may hold another value only.
    pub fn register_value(&self, base: u32, register: u32, value: u32) -> Result<u32, Error> {
        let offset = register.checked_sub(layout::MMIO_BASE).filter(|offset| offset % 4 == 0);
        offset.filter(|offset| *offset < self.device_window()).ok_or(Error::BadRange)?;
        let Some(rule) = self.registers.iter().find(|rule| rule.register == register) else {
            return Ok(value);
        };
        let holds = Holds::from_number(rule.holds).unwrap_or(Holds::Value);
        if holds == Holds::Value {
            return if value == rule.value { Ok(value) } else { Err(Error::BadArgument) };
        }
        if value == 0 {
            return Ok(0);
        }
        let offset = self.dma_range(value, PAGE, holds != Holds::Buffer).filter(|offset| offset % PAGE == 0);
        let offset =
            offset.filter(|offset| holds != Holds::Table || self.is_table(offset / PAGE)).ok_or(Error::BadRange)?;
        Ok((base + offset) >> (rule.value & 31))
    }

    /// What the kernel writes where for a driver that describes a buffer, as [`crate::KernelCall::Describe`] says: a physical
    /// address, the words, and how many of them.
    ///
    /// # Errors
    /// [`Error::BadRange`] if there is no such slot or buffer, [`Error::BadArgument`] for flags that are not [`FLAGS`].
    pub fn descriptor(&self, base: u32, slot: u32, [a, b, c]: [u32; 3]) -> Result<(u32, [u32; 4], usize), Error> {
        let offset =
            self.dma_range(slot, 4, true).filter(|offset| self.is_table(offset / PAGE)).ok_or(Error::BadRange)?;
        if offset % PAGE >= self.descriptors * DESCRIPTOR {
            return if offset % 4 == 0 { Ok((base + offset, [a, 0, 0, 0], 1)) } else { Err(Error::BadRange) };
        }
        let buffer = self.dma_range(a, b, false).filter(|_| offset % DESCRIPTOR == 0).ok_or(Error::BadRange)?;
        if c & 0xffff & !FLAGS != 0 {
            return Err(Error::BadArgument);
        }
        Ok((base + offset, [base + buffer, 0, b, c], 4))
    }
}
