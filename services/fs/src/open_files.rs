//! What a session holds in its Server State Region: the open files, and the verdict on the volume.
//!
//! It is all that a rebuilt service needs to go on: which directory entry, at which position. Where in its chain of
//! clusters a position lies is derived, and kept in the service's own memory.

use rt::SsrState;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::volume::Verdict;
use crate::{MAX_OPEN, OpenFlags};

/// One open file. A free place is all zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OpenFile {
    /// The library's number for the node: where its directory entry lies, with a tag of what stands there. Never 0.
    pub node: u64,
    /// The same for its directory when the file was opened. A hint: the directory may have been moved since.
    pub parent: u64,
    /// The position, in bytes from the start.
    pub position: u32,
    /// [`OpenFlags`].
    pub flags: u32,
    /// Sum over the fields above, so that a flipped bit is found before it becomes a write to another file.
    sum: u32,
    /// 0.
    reserved: u32,
}

impl OpenFile {
    /// A file just opened.
    pub fn new(node: u64, parent: u64, flags: OpenFlags) -> Self {
        let mut file = OpenFile { node, parent, position: 0, flags: flags.bits(), sum: 0, reserved: 0 };
        file.sum = file.fold();
        file
    }

    /// The open mode.
    pub fn mode(&self) -> OpenFlags {
        OpenFlags::from_bits_truncate(self.flags)
    }

    /// Moves the position.
    pub fn move_to(&mut self, position: u32) {
        self.position = position;
        self.sum = self.fold();
    }

    /// The sum that a file in use must have; never 0.
    fn fold(&self) -> u32 {
        let words = [
            self.node as u32,
            (self.node >> 32) as u32,
            self.parent as u32,
            (self.parent >> 32) as u32,
            self.position,
            self.flags,
        ];
        words.iter().fold(0x811c_9dc5u32, |sum, word| (sum ^ word).wrapping_mul(0x0100_0193).rotate_left(5)) | 1
    }

    /// Whether the content is that of a free place or of an open file.
    fn holds(&self) -> bool {
        if self.node == 0 {
            return *self == OpenFile::default();
        }
        self.sum == self.fold() && OpenFlags::from_bits(self.flags).is_some() && self.reserved == 0
    }
}

/// The word for [`Verdict::Sound`]; far from the other one, and from nothing.
const SOUND: u32 = 0x646e_7573;
/// The word for [`Verdict::Damaged`].
const DAMAGED: u32 = 0x9b91_8a8c;

/// The state of a session. The number of an open file is its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[ssr(validate = OpenFiles::holds)]
#[repr(C)]
pub struct OpenFiles {
    files: [OpenFile; MAX_OPEN],
    /// [`SOUND`] or [`DAMAGED`].
    verdict: u32,
    /// 0.
    reserved: u32,
}

impl OpenFiles {
    /// The file with this number.
    pub fn get(&self, fd: u32) -> Option<&OpenFile> {
        self.files.get(fd as usize).filter(|file| file.node != 0)
    }

    /// The file with this number.
    pub fn get_mut(&mut self, fd: u32) -> Option<&mut OpenFile> {
        self.files.get_mut(fd as usize).filter(|file| file.node != 0)
    }

    /// The lowest number that is free.
    pub fn free(&self) -> Option<u32> {
        self.files.iter().position(|file| file.node == 0).map(|fd| fd as u32)
    }

    /// Puts a file in a place, or `None` to free the place. No such place: nothing happens.
    pub fn set(&mut self, fd: u32, file: Option<OpenFile>) {
        if let Some(place) = self.files.get_mut(fd as usize) {
            *place = file.unwrap_or_default();
        }
    }

    /// The open files with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &OpenFile)> {
        (0..).zip(&self.files).filter(|(_, file)| file.node != 0)
    }

    /// What the check of the volume found.
    pub fn verdict(&self) -> Verdict {
        if self.verdict == SOUND { Verdict::Sound } else { Verdict::Damaged }
    }

    /// Keeps what the check of the volume found.
    pub fn set_verdict(&mut self, verdict: Verdict) {
        self.verdict = match verdict {
            Verdict::Sound => SOUND,
            Verdict::Damaged => DAMAGED,
        };
    }

    /// Whether all of it makes sense.
    fn holds(&self) -> bool {
        matches!(self.verdict, SOUND | DAMAGED) && self.reserved == 0 && self.files.iter().all(OpenFile::holds)
    }
}
