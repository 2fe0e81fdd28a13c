//! The disk under the cache: the block service, or a model of one in tests.

use block::{BlockClient, BlockError, DiskFlags, Info, SECTOR};
use rt::CallError;

use crate::FsError;

/// The most bytes that one request reads or writes.
pub const MOST: usize = block::MAX_TRANSFER;

/// A disk of sectors of 512 bytes. Nothing that it does is undone: it is written when a request is committed.
pub trait Below {
    /// Its sectors.
    fn sectors(&self) -> u64;
    /// Whether it can be written.
    fn writable(&self) -> bool;
    /// Reads whole sectors, at most [`MOST`] bytes.
    ///
    /// # Errors
    /// [`FsError::Io`].
    fn read(&mut self, first: u64, to: &mut [u8]) -> Result<(), FsError>;
    /// Writes whole sectors, at most [`MOST`] bytes.
    ///
    /// # Errors
    /// [`FsError::Io`].
    fn write(&mut self, first: u64, from: &[u8]) -> Result<(), FsError>;
    /// All that was written before is on the medium.
    ///
    /// # Errors
    /// [`FsError::Io`].
    fn sync(&mut self) -> Result<(), FsError>;
}

/// The block service.
pub struct Blocks {
    client: BlockClient,
    info: Info,
}

impl Blocks {
    /// The disk of the block service, if it has one whose content survives the power.
    pub fn find() -> Option<Self> {
        let client = BlockClient::bind().ok()?;
        let info = client.info().ok()?;
        let lasting = info.sectors > 0 && !info.flags.contains(DiskFlags::VOLATILE);
        lasting.then_some(Blocks { client, info })
    }

    /// Makes a request; in a new session if the old one is gone, which held nothing.
    fn ask(
        &mut self,
        mut request: impl FnMut(&BlockClient) -> Result<(), CallError<BlockError>>,
    ) -> Result<(), FsError> {
        match request(&self.client) {
            Err(error) if error.session_is_gone() => {
                let client = BlockClient::bind().map_err(|_| FsError::Io)?;
                drop(core::mem::replace(&mut self.client, client));
                request(&self.client).map_err(|_| FsError::Io)
            }
            result => result.map_err(|_| FsError::Io),
        }
    }
}

impl Below for Blocks {
    fn sectors(&self) -> u64 {
        self.info.sectors
    }

    fn writable(&self) -> bool {
        !self.info.flags.contains(DiskFlags::READ_ONLY)
    }

    fn read(&mut self, first: u64, to: &mut [u8]) -> Result<(), FsError> {
        self.ask(|client| client.read(first, to))
    }

    fn write(&mut self, first: u64, from: &[u8]) -> Result<(), FsError> {
        self.ask(|client| client.write(first, from))
    }

    fn sync(&mut self) -> Result<(), FsError> {
        self.ask(BlockClient::sync)
    }
}

/// Bytes of a sector.
pub const SECTOR_BYTES: usize = SECTOR;
