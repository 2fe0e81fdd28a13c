//! The methods.

use rt::{LentRead, LentWrite, Session};

#[cfg(doc)]
use crate::{Entries, MAX_TRANSFER, listing};
use crate::{FsError, OpenFlags, Stat, Usage, Whence};

/// Files. Paths are UTF-8, `/` separates, and all of them start at the root, whether or not they begin with `/`;
/// `.` and `..` are understood. Names keep their case and are found in any.
#[rt::interface(name = "fs")]
pub trait Fs {
    /// Opens a file and returns its number.
    fn open(
        &mut self,
        session: &mut Session<Self::State>,
        flags: OpenFlags,
        path: LentRead<'_>,
    ) -> Result<u32, FsError>;
    /// Creates a file that must not exist, opens it for reading and writing and returns its number.
    fn create(&mut self, session: &mut Session<Self::State>, path: LentRead<'_>) -> Result<u32, FsError>;
    /// Reads from the file's position on and moves it; returns the number of bytes: as many as the buffer, the file
    /// and [`MAX_TRANSFER`] allow. 0: the end.
    fn read(&mut self, session: &mut Session<Self::State>, fd: u32, to: LentWrite<'_>) -> Result<u32, FsError>;
    /// Writes from the file's position on (with [`OpenFlags::APPEND`]: at its end) and moves it; returns the number
    /// of bytes: at most [`MAX_TRANSFER`], the gap counted that is zeroed when the position is beyond the end.
    fn write(&mut self, session: &mut Session<Self::State>, fd: u32, from: LentRead<'_>) -> Result<u32, FsError>;
    /// Moves the position and returns it. It may lie beyond the end.
    fn seek(
        &mut self,
        session: &mut Session<Self::State>,
        fd: u32,
        whence: Whence,
        offset: i32,
    ) -> Result<u32, FsError>;
    /// Closes a file. Everything was on the volume already.
    fn close(&mut self, session: &mut Session<Self::State>, fd: u32) -> Result<(), FsError>;
    /// Removes a file that nobody has open, or an empty directory.
    fn remove(&mut self, session: &mut Session<Self::State>, path: LentRead<'_>) -> Result<(), FsError>;
    /// Renames or moves: the lent bytes are the old path, `split` bytes long, and the new one. A file replaces a
    /// file of the new name, a directory an empty directory; nobody may have either file open. [`FsClient::mv`]
    /// puts the two paths together.
    fn rename(&mut self, session: &mut Session<Self::State>, split: u32, paths: LentRead<'_>) -> Result<(), FsError>;
    /// Writes entries of a directory to the buffer, from `cursor` on (0: the first), as many as fit; returns the
    /// bytes written and the cursor of the rest, or [`listing::END`]. [`Entries`] takes the bytes apart.
    #[read_only]
    fn list(
        &mut self,
        session: &mut Session<Self::State>,
        cursor: u32,
        path: LentRead<'_>,
        to: LentWrite<'_>,
    ) -> Result<(u32, u32), FsError>;
    /// What the volume says of a file or directory.
    #[read_only]
    fn stat(&mut self, session: &mut Session<Self::State>, path: LentRead<'_>) -> Result<Stat, FsError>;
    /// What the volume says of an open file.
    #[read_only]
    fn fstat(&mut self, session: &mut Session<Self::State>, fd: u32) -> Result<Stat, FsError>;
    /// Makes a directory.
    fn mkdir(&mut self, session: &mut Session<Self::State>, path: LentRead<'_>) -> Result<(), FsError>;
    /// Cuts the file, or makes it grow by zeros, at most [`MAX_TRANSFER`] of them. Its position stays.
    fn truncate(&mut self, session: &mut Session<Self::State>, fd: u32, len: u32) -> Result<(), FsError>;
    /// Says whether the volume can be written. There is nothing to write: each request leaves all it did on the volume.
    #[read_only]
    fn sync(&mut self, session: &mut Session<Self::State>) -> Result<(), FsError>;
    /// Room on the volume.
    #[read_only]
    fn usage(&mut self, session: &mut Session<Self::State>) -> Result<Usage, FsError>;
}
