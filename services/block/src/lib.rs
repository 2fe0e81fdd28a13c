//! `block`: sectors of a disk.
//!
//! The interface is here: [`Block`] with its client [`BlockClient`], the errors, and what travels in registers.
//! README.md says what the service promises and how it keeps that.
#![no_std]
#![forbid(unsafe_code)]

use bitflags::bitflags;
use rt::arch::Register;
use rt::{LentRead, LentWrite, Reply, Session};

/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// The most bytes that one request reads or writes.
pub const MAX_TRANSFER: usize = 64 * 1024;

/// Sectors of a disk. What is lent is a multiple of [`SECTOR`] long, and at most [`MAX_TRANSFER`].
///
/// A write is at the device when it returns, though perhaps in a cache of its own; `sync` empties that. Neither is
/// undone with an outer request that fails: a service writes when its own request is committed, in its `flush`.
#[rt::interface(name = "block")]
pub trait Block {
    /// What disk there is.
    #[read_only]
    fn info(&mut self, session: &mut Session<Self::State>) -> Result<Info, BlockError>;
    /// Reads from this sector on as much as the buffer takes.
    fn read(&mut self, session: &mut Session<Self::State>, first: u64, to: LentWrite<'_>) -> Result<(), BlockError>;
    /// Writes the buffer from this sector on.
    fn write(&mut self, session: &mut Session<Self::State>, first: u64, from: LentRead<'_>) -> Result<(), BlockError>;
    /// Everything that was written before is on the medium.
    fn sync(&mut self, session: &mut Session<Self::State>) -> Result<(), BlockError>;
}

rt::errors! {
    /// What a request to `block` can fail with.
    pub enum BlockError {
        /// There is a device that cannot be driven, and so no disk.
        NoDevice = 0x100, "there is no disk: the device is none that can be driven";
        /// The range reaches behind the end of the disk.
        OutOfRange = 0x101, "the sectors are not all on the disk";
        /// The disk is not to be written.
        ReadOnly = 0x102, "the disk is read-only";
        /// The buffer is no whole sectors, none, or more than [`MAX_TRANSFER`].
        BadLength = 0x103, "a request is for whole sectors, at least one and at most 64 KiB";
        /// The buffer could not be copied.
        BadBuffer = 0x104, "the lent buffer could not be copied";
        /// The device says that it could not.
        Medium = 0x105, "the device reports an error of the medium";
        /// The device says nothing; it was reset.
        NoAnswer = 0x106, "the device did not answer in time, and was reset";
    }
}

bitflags! {
    /// Properties of a disk.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct DiskFlags: u32 {
        /// It cannot be written.
        const READ_ONLY = 1 << 0;
        /// It is some memory, which does not survive the power.
        const VOLATILE = 1 << 1;
        /// The device has a cache, which `sync` empties.
        const CACHED = 1 << 2;
    }
}

/// What disk there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Its sectors.
    pub sectors: u64,
    /// Its properties.
    pub flags: DiskFlags,
}

impl Reply for Info {
    const COUNT: usize = 3;
    #[inline(always)]
    fn put(self, registers: &mut [Register; 4], at: usize) {
        (self.sectors, self.flags.bits()).put(registers, at);
    }
    #[inline(always)]
    fn take(registers: &[u32; 4], at: usize) -> Option<Self> {
        let (sectors, flags) = Reply::take(registers, at)?;
        Some(Info { sectors, flags: DiskFlags::from_bits_retain(flags) })
    }
}
