//! What travels in registers: flags and short records.

use bitflags::bitflags;
use rt::arch::Register;
use rt::{Reply, Word};

bitflags! {
    /// How a file is opened.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        /// For reading.
        const READ = 1 << 0;
        /// For writing.
        const WRITE = 1 << 1;
        /// Create it if it does not exist (with `WRITE`).
        const CREATE = 1 << 2;
        /// It must not exist (with `CREATE`).
        const EXCLUSIVE = 1 << 3;
        /// Cut it to no bytes (with `WRITE`).
        const TRUNCATE = 1 << 4;
        /// Each write goes to the end (with `WRITE`).
        const APPEND = 1 << 5;
    }
}

bitflags! {
    /// Attributes of a directory entry, as FAT numbers them (Microsoft FAT specification, DIR_Attr).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Attributes: u32 {
        /// Not to be written.
        const READ_ONLY = 0x01;
        /// Not to be listed by default.
        const HIDDEN = 0x02;
        /// Of the operating system.
        const SYSTEM = 0x04;
        /// A directory.
        const DIRECTORY = 0x10;
        /// Changed since the last backup.
        const ARCHIVE = 0x20;
    }
}

impl Word for OpenFlags {
    #[inline(always)]
    fn into_word(self) -> u32 {
        self.bits()
    }
    #[inline(always)]
    fn from_word(word: u32) -> Option<Self> {
        Self::from_bits(word)
    }
}

/// What an offset counts from.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// The start of the file.
    Start = 0,
    /// The position.
    Current = 1,
    /// The end of the file.
    End = 2,
}

impl Word for Whence {
    #[inline(always)]
    fn into_word(self) -> u32 {
        self as u32
    }
    #[inline(always)]
    fn from_word(word: u32) -> Option<Self> {
        [Whence::Start, Whence::Current, Whence::End].get(word as usize).copied()
    }
}

/// What the volume says of a file or directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Bytes of the file; 0 for a directory.
    pub size: u32,
    /// Its attributes.
    pub attributes: Attributes,
    /// When it was changed last: FAT's date in the upper half (year - 1980 in bits 25-31, month in 21-24, day in
    /// 16-20), FAT's time in the lower (hour in bits 11-15, minute in 5-10, half seconds in 0-4). `fs` has no
    /// clock: what it writes itself has the date 1980-01-01.
    pub modified: u32,
}

impl Stat {
    /// Whether it is a directory.
    pub const fn is_dir(&self) -> bool {
        self.attributes.contains(Attributes::DIRECTORY)
    }
}

impl Reply for Stat {
    const COUNT: usize = 3;
    #[inline(always)]
    fn put(self, registers: &mut [Register; 4], at: usize) {
        (self.size, self.attributes.bits(), self.modified).put(registers, at);
    }
    #[inline(always)]
    fn take(registers: &[u32; 4], at: usize) -> Option<Self> {
        let (size, attributes, modified) = Reply::take(registers, at)?;
        Some(Stat { size, attributes: Attributes::from_bits_retain(attributes), modified })
    }
}

/// Room on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of a cluster, the unit in which room is given out.
    pub cluster_size: u32,
    /// Clusters of the volume.
    pub clusters: u32,
    /// Clusters that are free.
    pub free: u32,
    /// 12, 16 or 32: the kind of FAT.
    pub kind: u32,
}

impl Reply for Usage {
    const COUNT: usize = 4;
    #[inline(always)]
    fn put(self, registers: &mut [Register; 4], at: usize) {
        (self.cluster_size, self.clusters, self.free, self.kind).put(registers, at);
    }
    #[inline(always)]
    fn take(registers: &[u32; 4], at: usize) -> Option<Self> {
        let (cluster_size, clusters, free, kind) = Reply::take(registers, at)?;
        Some(Usage { cluster_size, clusters, free, kind })
    }
}
