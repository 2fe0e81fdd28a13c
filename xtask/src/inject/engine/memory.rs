//! The guest's memory as the file that the emulator keeps it in.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// What is compared, and copied, at a time.
const PAGE: usize = 4096;
/// What is read at a time: stays in the processor's cache.
const CHUNK: u64 = 64 * PAGE as u64;

/// A guest's memory.
pub struct Ram {
    file: File,
    base: u32,
    length: u64,
}

impl Ram {
    /// Opens the file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path, base: u32) -> Result<Ram> {
        let opened = File::options().read(true).write(true).open(path);
        let file = opened.with_context(|| format!("cannot open {}", path.display()))?;
        let length = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?.len();
        Ok(Ram { file, base, length })
    }

    /// A word at a physical address; where there is no memory, 0.
    pub fn word(&self, address: u32) -> u32 {
        let mut bytes = [0; 4];
        match self.file.read_exact_at(&mut bytes, u64::from(address.wrapping_sub(self.base))) {
            Ok(()) => u32::from_le_bytes(bytes),
            Err(_) => 0,
        }
    }

    /// Bytes at a physical address.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn bytes(&self, address: u32, length: u32) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length as usize];
        let offset = address.checked_sub(self.base).context("an address below the guest's memory")?;
        self.file.read_exact_at(&mut bytes, u64::from(offset)).context("cannot read the guest's memory")?;
        Ok(bytes)
    }

    /// The first byte at or behind `offset` that was ever touched.
    fn touched(&self, offset: u64) -> Result<u64> {
        match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(place) => Ok(place),
            Err(Errno::NXIO) => Ok(self.length),
            // Without holes all of it counts as touched.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(offset),
            Err(error) => Err(error).context("cannot look for touched memory"),
        }
    }

    /// Makes this memory equal to another of the same size. Its guest must stand, and load a state of its devices before it goes
    /// on: code that was translated from here is not translated anew by this.
    ///
    /// # Errors
    /// If one of them cannot be read, or this one not written.
    pub fn become_like(&self, other: &Ram) -> Result<()> {
        let (mut own, mut wanted) = (vec![0; CHUNK as usize], vec![0; CHUNK as usize]);
        let mut offset = 0;
        loop {
            let touched = self.touched(offset)?.min(other.touched(offset)?);
            if touched >= self.length {
                return Ok(());
            }
            offset = touched / CHUNK * CHUNK;
            let length = CHUNK.min(self.length - offset) as usize;
            self.file.read_exact_at(&mut own[..length], offset).context("cannot read the guest's memory")?;
            other.file.read_exact_at(&mut wanted[..length], offset).context("cannot read the guest's memory")?;
            if own[..length] != wanted[..length] {
                for start in (0..length).step_by(PAGE) {
                    let page = start..(start + PAGE).min(length);
                    if own[page.clone()] != wanted[page.clone()] {
                        let place = offset + start as u64;
                        self.file.write_all_at(&wanted[page], place).context("cannot write the guest's memory")?;
                    }
                }
            }
            offset += length as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ram(folder: &Path, name: &str, length: u64) -> Ram {
        let path = folder.join(name);
        File::create(&path).and_then(|file| file.set_len(length)).expect("a file");
        Ram::open(&path, 0x4000_0000).expect("there")
    }

    #[test]
    fn becomes_like_the_other_wherever_either_was_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        let length = 5 * CHUNK + 3 * PAGE as u64;
        let (own, other) = (ram(folder.path(), "own", length), ram(folder.path(), "other", length));
        for (place, byte) in [(0, 1), (CHUNK - 1, 2), (4 * CHUNK, 3), (length - 1, 4)] {
            other.file.write_all_at(&[byte], place).expect("room");
        }
        for place in [1, 2 * CHUNK + 7, 4 * CHUNK, length - 2] {
            own.file.write_all_at(&[9], place).expect("room");
        }
        own.become_like(&other).expect("both can be read");
        let bytes = |ram: &Ram| ram.bytes(0x4000_0000, length as u32).expect("there");
        assert!(bytes(&own) == bytes(&other));
        assert_eq!(bytes(&own).iter().filter(|byte| **byte != 0).count(), 4);
    }

    #[test]
    fn words_outside_are_zero() {
        let folder = tempfile::tempdir().expect("a folder");
        let ram = ram(folder.path(), "ram", PAGE as u64);
        ram.file.write_all_at(&[1, 2, 3, 4], 8).expect("room");
        assert_eq!(ram.word(0x4000_0008), 0x0403_0201);
        assert_eq!(ram.word(0x4000_1000), 0);
        assert_eq!(ram.word(0), 0);
        assert!(ram.bytes(0x4000_0ffc, 8).is_err());
    }
}
