//! `fs`: files for all who are granted it, on a FAT volume: that of the block service's disk, behind a cache in the
//! service's common region, or, where there is no disk, a RAM disk that is this region.
//!
//! The interface is here: [`Fs`] with its client [`FsClient`], the errors, and what travels in lent buffers. The
//! service itself is in [`server`]; README.md says what it promises and why.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod below;
pub mod cache;
pub mod chain;
mod client;
pub mod disk;
mod interface;
pub mod journal;
pub mod listing;
pub mod open_files;
pub mod path;
mod reserve;
pub mod server;
pub mod volume;
mod words;

pub use interface::{Fs, FsClient, FsEntries};
pub use listing::{Entries, Entry};
pub use words::{Attributes, OpenFlags, Stat, Usage, Whence};

/// The most bytes that one request reads or writes, or by which it makes a file grow.
pub const MAX_TRANSFER: usize = 64 * 1024;
/// The most files that a session has open at once.
pub const MAX_OPEN: usize = 16;
/// The most bytes of a path.
pub const MAX_PATH: usize = 1024;
/// A buffer for [`FsClient::list`] of this size holds any entry.
pub const ENTRY_BUFFER: usize = listing::HEADER + listing::MAX_NAME.next_multiple_of(4);

rt::errors! {
    /// What a request to `fs` can fail with. The volume is then as it was before.
    pub enum FsError {
        /// The path names nothing.
        NotFound = 0x100, "no such file or directory";
        /// The path names something already.
        Exists = 0x101, "a file or directory of this name exists already";
        /// A part of the path that has to be a directory is a file.
        NotDirectory = 0x102, "not a directory";
        /// The path names a directory where a file is needed.
        IsDirectory = 0x103, "is a directory";
        /// The directory has entries.
        NotEmpty = 0x104, "the directory is not empty";
        /// No room on the volume, or in a FAT12/16 root directory.
        NoSpace = 0x105, "no space left on the volume";
        /// The session has [`MAX_OPEN`] files open.
        TooManyOpen = 0x106, "too many open files: close one first";
        /// Not UTF-8, too long, or characters that FAT does not allow in names.
        BadName = 0x107, "the name is not one that a FAT volume can hold";
        /// The number names no open file of this session.
        BadFd = 0x108, "the number names no open file";
        /// The file is not open for this, or is marked read-only.
        ReadOnly = 0x109, "the file is read-only, or open only for reading";
        /// The file is not open for reading.
        WriteOnly = 0x10a, "the file is open only for writing";
        /// The volume has damaged structures; a damaged volume can be read where that is safe, and is never written.
        Damaged = 0x10b, "the volume is damaged: it is not written, and this part cannot be read";
        /// The region holds no FAT volume.
        NoVolume = 0x10c, "the disk holds no FAT12, FAT16 or FAT32 volume";
        /// The request does not make sense: a directory moved into itself, a seek before the start, the root removed.
        Invalid = 0x10d, "the request makes no sense";
        /// Somebody has the file open.
        Busy = 0x10e, "the file is open: close it first";
        /// The file would grow by more than [`MAX_TRANSFER`] in one request, or beyond 4 GiB.
        TooBig = 0x10f, "a request makes a file grow by at most 64 KiB, and never beyond 4 GiB";
        /// The lent buffer does not hold even one entry, or could not be copied.
        BadBuffer = 0x110, "the lent buffer is too short";
        /// The open file is no longer where the session left it: the volume was damaged meanwhile.
        Lost = 0x111, "the open file is lost: close it";
        /// The disk reports an error.
        Io = 0x112, "the disk reports an error";
        /// The disk cannot be written.
        ReadOnlyDisk = 0x113, "the disk is read-only";
    }
}
