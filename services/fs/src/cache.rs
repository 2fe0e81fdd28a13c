//! The block cache: pages of the disk in the common region, written back after the commit.
//!
//! Region: a header, a directory with a word for each slot, then the slots, a page each. A word is 0 for an empty slot,
//! else 1 + the number of the page that it holds, and [`DIRTY`] if that is newer than on the disk. All of it survives a
//! failure, and is undone with a request that fails. What [`Cache`] has in its own memory is derived: where a page is,
//! which slots were used of late.
//!
//! Invariants: a dirty page is never dropped. Only [`Cache::write_back`] writes to the disk, and it runs when what it
//! writes is committed: in `flush`, in `sync`, in an upcall. One request fills and changes a bounded number of slots
//! ([`FILLS`]): each of them costs a pre-image.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::FsError;
use crate::below::{Below, MOST, SECTOR_BYTES};
use crate::journal::Journal;

/// Bytes of a slot.
pub const PAGE: usize = 4096;
/// Sectors of a page.
const SECTORS: u64 = (PAGE / SECTOR_BYTES) as u64;
/// First bytes of a region that is a cache; no FAT volume begins so.
const MAGIC: [u8; 8] = *b"FS-CACHE";
/// Bytes before the directory.
const HEADER: usize = 64;
/// Where the header says where the journal is.
const JOURNAL: usize = 16;
/// Flag of a directory's word.
const DIRTY: u32 = 1 << 31;
/// Clean slots that one request fills anew; beyond that it uses its own ones again.
const FILLS: usize = 96;
/// No slot.
const NONE: u16 = u16::MAX;

/// The cache of a disk.
pub struct Cache {
    below: Box<dyn Below>,
    /// Where the slots begin in the region.
    start: usize,
    /// By how many sectors the first page is short: clusters begin at the start of a page.
    skew: u64,
    /// By hash: the first slot of a list.
    heads: Vec<u16>,
    /// By slot: the next one in its list.
    next: Vec<u16>,
    /// By slot: used since the hand was there.
    used: Vec<bool>,
    hand: usize,
    dirty: usize,
    /// Slots that this request has filled, oldest first.
    fills: VecDeque<u16>,
    /// What goes between disk and slots.
    transfer: Vec<u8>,
    /// The page that was asked for last, and its slot.
    last: Option<(u32, usize)>,
    /// Something was written that the disk may still have in a cache of its own.
    unsynced: bool,
    journal: Option<Journal>,
}

fn word(region: &[u8], slot: usize) -> u32 {
    let at = HEADER + 4 * slot;
    region.get(at..at + 4).map_or(0, |bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn put_word(region: &mut [u8], slot: usize, word: u32) {
    let at = HEADER + 4 * slot;
    if let Some(bytes) = region.get_mut(at..at + 4) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
}

impl Cache {
    /// Whether the region is a cache.
    pub fn is_in(region: &[u8]) -> bool {
        region.starts_with(&MAGIC)
    }

    /// The cache of this disk in a region. One that is none yet becomes an empty one.
    pub fn new(below: Box<dyn Below>, region: &mut [u8]) -> Self {
        let room = region.len().saturating_sub(HEADER);
        let mut slots = room / (PAGE + 4);
        while (HEADER + 4 * slots).next_multiple_of(PAGE) + slots * PAGE > region.len() {
            slots -= 1;
        }
        let slots = slots.min(usize::from(NONE) - 1);
        let start = (HEADER + 4 * slots).next_multiple_of(PAGE);
        if !Self::is_in(region) {
            region[..start].fill(0);
            region[..MAGIC.len()].copy_from_slice(&MAGIC);
        }
        let skew = u64::from(region[8]) % SECTORS;
        let mut cache = Cache {
            below,
            start,
            skew,
            heads: vec![NONE; slots.next_power_of_two().max(1)],
            next: vec![NONE; slots],
            used: vec![false; slots],
            hand: 0,
            dirty: 0,
            fills: VecDeque::new(),
            transfer: vec![0; MOST],
            last: None,
            unsynced: true,
            journal: Journal::decode(&region[JOURNAL..HEADER]),
        };
        cache.derive(region);
        cache
    }

    /// Derives everything anew: the region was undone.
    pub fn derive(&mut self, region: &[u8]) {
        self.heads.fill(NONE);
        self.next.fill(NONE);
        (self.dirty, self.last) = (0, None);
        self.fills.clear();
        for slot in 0..self.next.len() {
            let word = word(region, slot);
            if word != 0 {
                self.dirty += usize::from(word & DIRTY != 0);
                self.link(slot, (word & !DIRTY) - 1);
            }
        }
        if let Some(journal) = &mut self.journal {
            journal.doubt();
        }
    }

    /// A request begins.
    pub fn begin(&mut self) {
        self.fills.clear();
    }

    /// The disk.
    pub fn below(&mut self) -> &mut dyn Below {
        &mut *self.below
    }

    /// Sectors of the disk.
    pub fn sectors(&self) -> u64 {
        self.below.sectors()
    }

    /// Whether it can be written.
    pub fn writable(&self) -> bool {
        self.below.writable()
    }

    /// Pages that are newer than on the disk.
    pub fn dirty(&self) -> usize {
        self.dirty
    }

    /// Whether another request can be let change something: what it changes must find room, even if nothing can be
    /// written.
    pub fn has_room(&self) -> bool {
        self.dirty < self.next.len() / 2
    }

    /// Whether enough was changed to be written back.
    pub fn is_full(&self) -> bool {
        self.dirty > self.journal.as_ref().map_or(self.next.len() / 8, Journal::threshold)
    }

    /// From now on the byte at this offset begins a page. What is in the cache is dropped, unless something is dirty:
    /// then the pages stay as they are.
    pub fn align(&mut self, region: &mut [u8], offset: u64) -> bool {
        let skew = (SECTORS - offset / SECTOR_BYTES as u64 % SECTORS) % SECTORS;
        if skew == self.skew || self.dirty > 0 {
            return false;
        }
        region[8] = skew as u8;
        self.skew = skew;
        self.forget(region);
        true
    }

    /// Uses this journal from now on. Where it is is noted in the region, so that it is found after a failure.
    pub fn set_journal(&mut self, region: &mut [u8], journal: Option<Journal>) {
        region[JOURNAL..HEADER].fill(0);
        if let Some(journal) = &journal {
            region[JOURNAL..JOURNAL + Journal::ENCODED].copy_from_slice(&journal.encode());
        }
        self.journal = journal;
    }

    /// Whether there is a journal.
    pub fn has_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// Forgets everything.
    pub fn forget(&mut self, region: &mut [u8]) {
        for slot in 0..self.next.len() {
            put_word(region, slot, 0);
        }
        self.derive(region);
    }

    /// Whether so many bytes from `at` on are all that the page there has.
    pub fn covers(&self, at: u64, len: usize) -> bool {
        self.place(at).is_ok_and(|(page, offset)| {
            let (sectors, short) = self.sectors_of(page);
            let bytes = (sectors.end - sectors.start) as usize * SECTOR_BYTES;
            offset <= short && offset + len >= short + bytes
        })
    }

    /// The page of a byte, and its place there.
    fn place(&self, at: u64) -> Result<(u32, usize), FsError> {
        let at = at + self.skew * SECTOR_BYTES as u64;
        let page = u32::try_from(at / PAGE as u64).ok().filter(|page| *page < DIRTY - 1).ok_or(FsError::Damaged)?;
        Ok((page, at as usize % PAGE))
    }

    /// The sectors of a page, and how many bytes of the page lie before them.
    fn sectors_of(&self, page: u32) -> (Range<u64>, usize) {
        let start = u64::from(page) * SECTORS;
        let end = (start + SECTORS).saturating_sub(self.skew).min(self.below.sectors());
        let first = start.saturating_sub(self.skew);
        let short = self.skew.saturating_sub(start) as usize * SECTOR_BYTES;
        (first..end.max(first), short)
    }

    fn hash(&self, page: u32) -> usize {
        page.wrapping_mul(0x9e37_79b1) as usize >> 7 & (self.heads.len() - 1)
    }

    fn link(&mut self, slot: usize, page: u32) {
        let list = self.hash(page);
        self.next[slot] = self.heads[list];
        self.heads[list] = slot as u16;
    }

    fn unlink(&mut self, slot: usize, page: u32) {
        let list = self.hash(page);
        if usize::from(self.heads[list]) == slot {
            self.heads[list] = self.next[slot];
            return;
        }
        let mut at = usize::from(self.heads[list]);
        while let Some(&next) = self.next.get(at) {
            if usize::from(next) == slot {
                self.next[at] = self.next[slot];
                return;
            }
            at = next.into();
        }
    }

    /// The slot of a page, if it has one.
    #[inline]
    fn find(&mut self, region: &[u8], page: u32) -> Option<usize> {
        if let Some((last, slot)) = self.last
            && last == page
        {
            return Some(slot);
        }
        let mut slot = usize::from(self.heads[self.hash(page)]);
        while slot < self.next.len() {
            if word(region, slot) & !DIRTY == page + 1 {
                self.used[slot] = true;
                self.last = Some((page, slot));
                return Some(slot);
            }
            slot = self.next[slot].into();
        }
        None
    }

    /// A slot for a page, which has none yet. What it holds is not the page's.
    fn install(&mut self, region: &mut [u8], page: u32) -> Result<usize, FsError> {
        let slot = self.victim(region).ok_or(FsError::Io)?;
        let old = word(region, slot);
        if old != 0 {
            self.unlink(slot, (old & !DIRTY) - 1);
        }
        self.last = None;
        put_word(region, slot, page + 1);
        self.link(slot, page);
        self.used[slot] = true;
        self.fills.push_back(slot as u16);
        Ok(slot)
    }

    /// A slot whose page can be dropped: not used of late. A request that has filled many takes one of those.
    fn victim(&mut self, region: &[u8]) -> Option<usize> {
        let clean = |slot: usize| word(region, slot) & DIRTY == 0;
        if self.fills.len() >= FILLS {
            let own = (0..self.fills.len()).find(|index| clean(self.fills[*index].into()));
            if let Some(slot) = own.and_then(|index| self.fills.remove(index)) {
                return Some(slot.into());
            }
        }
        for _ in 0..2 * self.next.len() {
            let slot = self.hand;
            self.hand = (self.hand + 1) % self.next.len();
            if clean(slot) && !core::mem::take(&mut self.used[slot]) {
                return Some(slot);
            }
        }
        None
    }

    fn slot_bytes(&self, slot: usize) -> Range<usize> {
        let start = self.start + slot * PAGE;
        start..start + PAGE
    }

    /// Reads pages that are not in the cache, in a row, as far as one transfer goes; at least the first.
    fn load(&mut self, region: &mut [u8], pages: Range<u32>) -> Result<(), FsError> {
        let mut end = pages.start + 1;
        let (sectors, short) = self.sectors_of(pages.start);
        if sectors.is_empty() {
            return Err(FsError::Damaged);
        }
        let mut last = sectors.end;
        while end < pages.end
            && ((self.sectors_of(end).0.end - sectors.start) as usize) * SECTOR_BYTES <= MOST
            && self.find(region, end).is_none()
        {
            last = self.sectors_of(end).0.end;
            end += 1;
        }
        let len = (last - sectors.start) as usize * SECTOR_BYTES;
        self.below.read(sectors.start, &mut self.transfer[..len])?;
        let mut from = 0;
        for page in pages.start..end {
            let (sectors, _) = self.sectors_of(page);
            let short = if page == pages.start { short } else { 0 };
            let len = (sectors.end - sectors.start) as usize * SECTOR_BYTES;
            let slot = self.install(region, page)?;
            let bytes = &mut region[self.start + slot * PAGE..][..PAGE];
            bytes[..short].fill(0);
            bytes[short..short + len].copy_from_slice(&self.transfer[from..from + len]);
            bytes[short + len..].fill(0);
            from += len;
        }
        Ok(())
    }

    /// Sees to it that the pages of this range are in the cache, as far as there is room for them.
    pub fn prefetch(&mut self, region: &mut [u8], at: u64, len: usize) -> Result<(), FsError> {
        let (first, _) = self.place(at)?;
        let (last, _) = self.place(at + len.saturating_sub(1) as u64)?;
        for page in first..=last {
            if self.find(region, page).is_none() {
                self.load(region, page..last + 1)?;
            }
        }
        Ok(())
    }

    /// Where the bytes from `at` on lie in the region: at most `len`, as far as the page goes.
    pub fn look(&mut self, region: &mut [u8], at: u64, len: usize) -> Result<Range<usize>, FsError> {
        let (page, offset) = self.place(at)?;
        let slot = match self.find(region, page) {
            Some(slot) => slot,
            None => {
                self.load(region, page..page + 1)?;
                self.find(region, page).ok_or(FsError::Io)?
            }
        };
        let start = self.slot_bytes(slot).start + offset;
        Ok(start..start + len.min(PAGE - offset))
    }

    /// As [`Cache::look`], for bytes that are about to be changed, all of them.
    pub fn change(&mut self, region: &mut [u8], at: u64, len: usize) -> Result<Range<usize>, FsError> {
        let (page, offset) = self.place(at)?;
        let len = len.min(PAGE - offset);
        let slot = match self.find(region, page) {
            Some(slot) => slot,
            // What is on the disk is not wanted.
            None if self.covers(at, len) => self.install(region, page)?,
            None => {
                self.load(region, page..page + 1)?;
                self.find(region, page).ok_or(FsError::Io)?
            }
        };
        let word = word(region, slot);
        if word & DIRTY == 0 {
            put_word(region, slot, word | DIRTY);
            self.dirty += 1;
        }
        let start = self.slot_bytes(slot).start + offset;
        Ok(start..start + len)
    }

    /// The dirty pages with their slots, in the order of the disk.
    fn dirty_pages(&self, region: &[u8]) -> Vec<(u32, usize)> {
        let mut pages: Vec<(u32, usize)> = (0..self.next.len())
            .filter_map(|slot| {
                let word = word(region, slot);
                (word & DIRTY != 0).then(|| ((word & !DIRTY) - 1, slot))
            })
            .collect();
        pages.sort_unstable();
        pages
    }

    /// Writes everything that is dirty to the disk, so that a power cut finds all of it there or nothing (with a
    /// journal), and returns when it is on the medium.
    ///
    /// # Errors
    /// [`FsError::Io`]: what was not written is still dirty.
    pub fn write_back(&mut self, region: &mut [u8]) -> Result<(), FsError> {
        let pages = self.dirty_pages(region);
        if !self.below.writable() {
            return if pages.is_empty() { Ok(()) } else { Err(FsError::ReadOnlyDisk) };
        }
        let mut journal = self.journal.take();
        let written = self.write_pages(region, &pages, journal.as_mut());
        self.journal = journal;
        written?;
        for (_, slot) in pages {
            put_word(region, slot, word(region, slot) & !DIRTY);
            self.dirty -= 1;
        }
        Ok(())
    }

    fn write_pages(
        &mut self,
        region: &[u8],
        pages: &[(u32, usize)],
        mut journal: Option<&mut Journal>,
    ) -> Result<(), FsError> {
        if let Some(journal) = &mut journal {
            journal.settle(&mut *self.below, &mut self.transfer)?;
        }
        let most = journal.as_ref().map_or(usize::MAX, |journal| journal.capacity());
        let slots = self.start;
        for part in pages.chunks(most) {
            if let Some(journal) = &mut journal {
                let content = |slot: usize| &region[slots + slot * PAGE..][..PAGE];
                journal.begin(&mut *self.below, &mut self.transfer, self.skew as u32, part, content)?;
            }
            self.write_in_place(region, part, 0..u64::MAX)?;
            self.below.sync()?;
            if let Some(journal) = &mut journal {
                journal.end(&mut *self.below)?;
            }
        }
        if pages.is_empty() && self.unsynced {
            self.below.sync()?;
        }
        self.unsynced = false;
        Ok(())
    }

    /// Writes pages where they belong, in as few requests as their places allow; only sectors of this range.
    fn write_in_place(&mut self, region: &[u8], pages: &[(u32, usize)], within: Range<u64>) -> Result<(), FsError> {
        let (mut first, mut len) = (0, 0);
        for (page, slot) in pages {
            let (sectors, short) = self.sectors_of(*page);
            let start = sectors.start.max(within.start);
            let end = sectors.end.min(within.end);
            if start >= end {
                continue;
            }
            let from = self.start + slot * PAGE + short + (start - sectors.start) as usize * SECTOR_BYTES;
            let bytes = (end - start) as usize * SECTOR_BYTES;
            if len > 0 && (first + (len / SECTOR_BYTES) as u64 != start || len + bytes > MOST) {
                self.below.write(first, &self.transfer[..len])?;
                len = 0;
            }
            if len == 0 {
                first = start;
            }
            self.transfer[len..len + bytes].copy_from_slice(&region[from..from + bytes]);
            len += bytes;
        }
        if len > 0 {
            self.below.write(first, &self.transfer[..len])?;
        }
        Ok(())
    }

    /// Writes what is dirty without a journal, sectors of this range before all others: an order in which a power cut
    /// between the two leaves a volume that is not worse.
    pub fn write_in_order(&mut self, region: &mut [u8], early: Range<u64>) -> Result<(), FsError> {
        let pages = self.dirty_pages(region);
        let end = early.end;
        for range in [early.clone(), 0..early.start, end..u64::MAX] {
            self.write_in_place(region, &pages, range)?;
            self.below.sync()?;
        }
        for (_, slot) in pages {
            put_word(region, slot, word(region, slot) & !DIRTY);
            self.dirty -= 1;
        }
        Ok(())
    }
}
