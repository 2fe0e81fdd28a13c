//! The disk where there is no device: the common region.

use block::{BlockError, DiskFlags, Info, SECTOR};

/// Some memory as a disk.
pub struct Memory(&'static mut [u8]);

impl Memory {
    /// As many sectors as there is room for.
    pub fn new(common: &'static mut [u8]) -> Self {
        Memory(common)
    }

    pub fn info(&self) -> Info {
        Info { sectors: (self.0.len() / SECTOR) as u64, flags: DiskFlags::VOLATILE }
    }

    /// The bytes from this sector on.
    pub fn range(&mut self, first: u64, len: usize) -> Result<&mut [u8], BlockError> {
        let start = usize::try_from(first).ok().and_then(|first| first.checked_mul(SECTOR));
        let range = start.and_then(|start| Some(start..start.checked_add(len)?));
        range.and_then(|range| self.0.get_mut(range)).ok_or(BlockError::OutOfRange)
    }
}
