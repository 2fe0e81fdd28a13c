//! The journal: a redo log, so that a power cut finds each change whole or not at all.
//!
//! FAT alone cannot give that: a rename or a freed and reused cluster is several sectors, and between any two of them the
//! power can fail. So all pages that are about to be written go into a file of the volume first (`CURIOS.JNL`, hidden, in
//! one piece), behind a header with their places and a sum over everything. When that is on the medium they are written
//! where they belong, and the header is cleared. Whoever mounts the volume and finds a header whose sum holds writes
//! those pages again. Only committed requests are ever written, each batch a whole number of them.

use abi::image::Fletcher;
use alloc::vec::Vec;
use rt::abi;

use crate::FsError;
use crate::below::{Below, MOST, SECTOR_BYTES};
use crate::cache::PAGE;

/// Name of the file, as a directory entry has it.
pub const SHORT_NAME: &str = "CURIOS.JNL";
/// First bytes of a header.
const MAGIC: [u8; 8] = *b"CURIOSJ1";
/// Words of the header before the list: magic (2), count, skew, place of the journal (2), sum of the pages (2), sum of
/// the header (2).
const WORDS: usize = 10;
/// The most pages of a batch: what the list in the header has room for.
pub const MOST_PAGES: usize = PAGE / 4 - WORDS;
/// Sectors of a page.
const SECTORS: u64 = (PAGE / SECTOR_BYTES) as u64;

/// The journal of a volume.
#[derive(Clone, Debug)]
pub struct Journal {
    /// Its first sector.
    first: u64,
    /// Pages behind the header.
    capacity: usize,
    /// Pages that are dirty before they are written back.
    threshold: usize,
    /// Whether the header on the disk is known to be cleared.
    settled: bool,
}

/// What a header says.
struct Header {
    skew: u64,
    pages: Vec<u32>,
    sum: u64,
}

/// The sum over pages, and over the list of them.
fn add(sum: &mut Fletcher, bytes: &[u8]) {
    for word in bytes.as_chunks::<4>().0 {
        sum.add(u32::from_le_bytes(*word));
    }
}

impl Header {
    fn encode(&self, first: u64) -> [u8; PAGE] {
        let mut page = [0; PAGE];
        let mut words = [0u32; WORDS - 2];
        words[2..8].copy_from_slice(&[
            self.pages.len() as u32,
            self.skew as u32,
            first as u32,
            (first >> 32) as u32,
            self.sum as u32,
            (self.sum >> 32) as u32,
        ]);
        for (bytes, word) in page.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        page[..8].copy_from_slice(&MAGIC);
        for (bytes, number) in page.as_chunks_mut::<4>().0[WORDS..].iter_mut().zip(&self.pages) {
            *bytes = number.to_le_bytes();
        }
        let sum = sum_of_header(&page);
        page[32..40].copy_from_slice(&sum.to_le_bytes());
        page
    }

    /// The header in a page, if it is one of a journal at this place and has pages to write.
    fn decode(page: &[u8], first: u64, capacity: usize) -> Option<Header> {
        let word = |index: usize| {
            let bytes = page.get(4 * index..4 * index + 4)?;
            Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let long = |index| Some(u64::from(word(index + 1)?) << 32 | u64::from(word(index)?));
        let count = word(2)? as usize;
        let good = page.starts_with(&MAGIC)
            && (1..=capacity.min(MOST_PAGES)).contains(&count)
            && long(4)? == first
            && long(8)? == sum_of_header(page);
        let pages = (0..count).map_while(|index| word(WORDS + index));
        good.then(|| Some(Header { skew: u64::from(word(3)?) % SECTORS, pages: pages.collect(), sum: long(6)? }))?
    }
}

/// The sum of a header, without itself.
fn sum_of_header(page: &[u8]) -> u64 {
    let mut sum = Fletcher::new();
    add(&mut sum, &page[..32]);
    add(&mut sum, &page[40..PAGE]);
    sum.value()
}

impl Journal {
    /// One of so many pages, header included, from this sector on; one request changes at most `request` pages. `None`
    /// if it is too small for that.
    pub fn new(first: u64, pages: u64, request: usize) -> Option<Self> {
        let capacity = usize::try_from(pages).ok()?.checked_sub(1)?.min(MOST_PAGES);
        let threshold = capacity.checked_sub(request)?;
        Some(Journal { first, capacity, threshold, settled: false })
    }

    /// Bytes of [`Journal::encode`].
    pub const ENCODED: usize = 24;

    /// Where it is, for the region of the cache.
    pub fn encode(&self) -> [u8; Journal::ENCODED] {
        let mut bytes = [0; Journal::ENCODED];
        bytes[..8].copy_from_slice(&self.first.to_le_bytes());
        bytes[8..16].copy_from_slice(&(self.capacity as u64).to_le_bytes());
        bytes[16..].copy_from_slice(&(self.threshold as u64).to_le_bytes());
        bytes
    }

    /// What [`Journal::encode`] wrote; `None` for zeros.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<8>();
        let [first, capacity, threshold] = *words.first_chunk::<3>()?;
        let number = |bytes| usize::try_from(u64::from_le_bytes(bytes)).ok();
        let (capacity, threshold) = (number(capacity)?, number(threshold)?);
        let good = (1..=MOST_PAGES).contains(&capacity) && threshold <= capacity;
        good.then_some(Journal { first: u64::from_le_bytes(first), capacity, threshold, settled: false })
    }

    /// Pages that it can take.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Dirty pages from which on it should be used: so many that what one more request changes has room.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// What is known of the header on the disk may not be so any more.
    pub fn doubt(&mut self) {
        self.settled = false;
    }

    /// Clears a journal that was not one before.
    pub fn clear(&mut self, below: &mut dyn Below) -> Result<(), FsError> {
        below.write(self.first, &[0; PAGE])?;
        below.sync()
    }

    /// The batch that was to be written when the power failed, if there is one and it is whole. `transfer` has room for
    /// [`MOST`] bytes.
    fn pending(&self, below: &mut dyn Below, transfer: &mut [u8]) -> Result<Option<Header>, FsError> {
        below.read(self.first, &mut transfer[..PAGE])?;
        let Some(header) = Header::decode(&transfer[..PAGE], self.first, self.capacity) else {
            return Ok(None);
        };
        let mut sum = Fletcher::new();
        for (index, part) in header.pages.chunks(MOST / PAGE).enumerate() {
            let bytes = &mut transfer[..part.len() * PAGE];
            below.read(self.first + SECTORS * (1 + index * (MOST / PAGE)) as u64, bytes)?;
            add(&mut sum, bytes);
        }
        Ok((sum.value() == header.sum).then_some(header))
    }

    /// Whether there is a batch to be written again.
    ///
    /// # Errors
    /// [`FsError::Io`].
    pub fn is_pending(&self, below: &mut dyn Below) -> Result<bool, FsError> {
        let mut transfer = alloc::vec![0; MOST];
        Ok(self.pending(below, &mut transfer)?.is_some())
    }

    /// Writes the batch again that was being written when the power, or the service, failed. Whether there was one.
    pub fn settle(&mut self, below: &mut dyn Below, transfer: &mut [u8]) -> Result<bool, FsError> {
        if self.settled {
            return Ok(false);
        }
        let header = self.pending(below, transfer)?;
        if let Some(header) = &header {
            for (index, number) in header.pages.iter().enumerate() {
                let start = u64::from(*number) * SECTORS;
                let first = start.saturating_sub(header.skew);
                let end = (start + SECTORS).saturating_sub(header.skew).min(below.sectors());
                let short = header.skew.saturating_sub(start) as usize * SECTOR_BYTES;
                if first >= end {
                    continue;
                }
                below.read(self.first + SECTORS * (1 + index) as u64, &mut transfer[..PAGE])?;
                below.write(first, &transfer[short..short + (end - first) as usize * SECTOR_BYTES])?;
            }
            below.sync()?;
            self.end(below)?;
        }
        self.settled = true;
        Ok(header.is_some())
    }

    /// Writes a batch into the journal: its pages, then, with a sum over all of it, the header. When this returns it is on
    /// the medium.
    pub fn begin<'r>(
        &mut self,
        below: &mut dyn Below,
        transfer: &mut [u8],
        skew: u32,
        pages: &[(u32, usize)],
        content: impl Fn(usize) -> &'r [u8],
    ) -> Result<(), FsError> {
        let mut sum = Fletcher::new();
        for (index, part) in pages.chunks(MOST / PAGE).enumerate() {
            for ((_, slot), bytes) in part.iter().zip(transfer.chunks_mut(PAGE)) {
                bytes.copy_from_slice(content(*slot));
                add(&mut sum, bytes);
            }
            let first = self.first + SECTORS * (1 + index * (MOST / PAGE)) as u64;
            below.write(first, &transfer[..part.len() * PAGE])?;
        }
        let pages = pages.iter().map(|(page, _)| *page).collect();
        let header = Header { skew: skew.into(), pages, sum: sum.value() };
        self.settled = false;
        below.write(self.first, &header.encode(self.first))?;
        below.sync()
    }

    /// The batch is where it belongs, on the medium. The header is cleared; that it is so need not be on the medium: who
    /// finds the batch again writes the same.
    pub fn end(&mut self, below: &mut dyn Below) -> Result<(), FsError> {
        below.write(self.first, &[0; SECTOR_BYTES])?;
        self.settled = true;
        Ok(())
    }
}
