//! Writing a card, and reading it back.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use anyhow::{Context, Result, bail};

/// Bytes written, or read, at a time.
const CHUNK: usize = 1 << 20;

/// What a card is written to.
pub trait Medium: Read + Write + Seek {
    /// Comes back when everything written is on the medium, and forgets what of it was kept in memory.
    fn settle(&mut self) -> io::Result<()>;
}

impl Medium for File {
    fn settle(&mut self) -> io::Result<()> {
        self.sync_all()?;
        rustix::fs::fadvise(&*self, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}

/// Writes the card. `progress` gets the number of bytes that are on the medium.
///
/// # Errors
/// Where it stopped, and why.
pub fn write(card: &[u8], medium: &mut impl Medium, progress: impl Fn(u64)) -> Result<()> {
    medium.seek(SeekFrom::Start(0)).context("the device cannot be positioned")?;
    let mut done = 0;
    for chunk in card.chunks(CHUNK) {
        medium
            .write_all(chunk)
            .and_then(|()| medium.settle())
            .with_context(|| format!("writing stopped at byte {done}: what is on the card now is of no use"))?;
        done += chunk.len() as u64;
        progress(done);
    }
    Ok(())
}

/// Reads the card back. `progress` gets the number of bytes that are right.
///
/// # Errors
/// The first byte that differs, or where reading stopped.
pub fn compare(card: &[u8], medium: &mut impl Medium, progress: impl Fn(u64)) -> Result<()> {
    medium.seek(SeekFrom::Start(0)).context("the device cannot be positioned")?;
    let (mut done, mut buffer) = (0, vec![0; CHUNK]);
    for chunk in card.chunks(CHUNK) {
        let read = &mut buffer[..chunk.len()];
        medium.read_exact(read).with_context(|| format!("reading back stopped at byte {done}"))?;
        if let Some(at) = chunk.iter().zip(&*read).position(|(wanted, found)| wanted != found) {
            bail!(
                "byte {} reads back as {:#04x}, but {:#04x} was written: the card is worn out, or smaller than it claims",
                done + at as u64,
                read[at],
                chunk[at]
            );
        }
        done += chunk.len() as u64;
        progress(done);
    }
    Ok(())
}
