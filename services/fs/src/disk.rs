//! The disk as the library sees it: the common region itself (a RAM disk), or a cache there of a disk below.
//!
//! The library marks the volume as in use before each change and as clean after it (bits of the FAT's entry 1). Here
//! that mark is left as it is: no request can stop between the two, because one that fails is undone whole: the kernel
//! keeps a copy of each page that a request writes, and what goes to a disk goes there as a whole, too.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::ops::Range;

use hadris_fat_raw::Geometry;
use hadris_io::{Error, ErrorKind, ErrorType};
use hadris_storage::sync::BlockDevice;
use hadris_storage::{BlockIndex, BlockSize};

use crate::FsError;
use crate::below::Below;
use crate::cache::Cache;
use crate::journal::Journal;

/// Bytes of a block: the smallest sector that FAT knows.
pub const BLOCK: usize = 512;
/// [`BLOCK`] as the library wants it.
const BLOCK_SIZE: BlockSize = BlockSize::new(BLOCK as u32).unwrap();

/// A handle to the disk. The library owns one, the volume another: it moves the bytes of files between the region and
/// lent buffers without a copy in between.
#[derive(Clone)]
pub struct Disk(Rc<Memory>);

struct Memory {
    store: RefCell<Store>,
    /// Where the marks "in use" lie that are never written: one for each copy of the FAT.
    marks: Cell<[Option<Mark>; 2]>,
}

struct Store {
    region: &'static mut [u8],
    cache: Option<Cache>,
}

/// Bytes of the disk that keep their value.
#[derive(Clone, Copy)]
struct Mark {
    block: u64,
    start: usize,
    len: usize,
}

/// What is done with bytes of the disk: their offset from where the request began, and the bytes.
pub type Each<'a> = dyn FnMut(usize, &mut [u8]) -> Result<(), FsError> + 'a;

impl Store {
    /// Where the bytes from `at` on lie in the region: at most `len`, at least one.
    fn look(&mut self, at: u64, len: usize) -> Result<Range<usize>, FsError> {
        match &mut self.cache {
            Some(cache) => cache.look(self.region, at, len),
            None => self.plain(at, len),
        }
    }

    /// As [`Store::look`], for bytes that are about to be changed, all of them.
    fn change(&mut self, at: u64, len: usize) -> Result<Range<usize>, FsError> {
        match &mut self.cache {
            Some(cache) => cache.change(self.region, at, len),
            None => self.plain(at, len),
        }
    }

    fn plain(&self, at: u64, len: usize) -> Result<Range<usize>, FsError> {
        let start = usize::try_from(at).map_err(|_| FsError::Damaged)?;
        let end = start.saturating_add(len).min(self.region.len());
        if start < end { Ok(start..end) } else { Err(FsError::Damaged) }
    }

    fn bytes(&mut self, range: Range<usize>) -> &mut [u8] {
        self.region.get_mut(range).unwrap_or_default()
    }
}

impl Disk {
    /// A RAM disk in this memory.
    pub fn new(region: &'static mut [u8]) -> Self {
        Disk::of(Store { region, cache: None })
    }

    /// A disk with a cache in this memory.
    pub fn cached(region: &'static mut [u8], below: Box<dyn Below>) -> Self {
        let cache = Cache::new(below, region);
        Disk::of(Store { region, cache: Some(cache) })
    }

    fn of(store: Store) -> Self {
        Disk(Rc::new(Memory { store: RefCell::new(store), marks: Cell::new([None; 2]) }))
    }

    /// Gives the memory back if this is the only handle.
    pub fn into_bytes(self) -> Option<&'static mut [u8]> {
        Some(Rc::into_inner(self.0)?.store.into_inner().region)
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        let store = self.0.store.borrow();
        store.cache.as_ref().map_or(store.region.len() as u64, |cache| cache.sectors() * BLOCK as u64)
    }

    /// Does something with the cache, if there is one.
    fn with_cache<T>(&self, f: impl FnOnce(&mut Cache, &mut [u8]) -> T) -> Option<T> {
        let mut store = self.0.store.borrow_mut();
        let Store { region, cache } = &mut *store;
        cache.as_mut().map(|cache| f(cache, region))
    }

    /// A request begins.
    pub fn begin(&self) {
        self.with_cache(|cache, _| cache.begin());
    }

    /// The region was undone under a service that did not fail.
    pub fn derive(&self) {
        self.with_cache(|cache, region| cache.derive(region));
    }

    /// Whether there is a disk below, which survives the power.
    pub fn is_cached(&self) -> bool {
        self.0.store.borrow().cache.is_some()
    }

    /// Whether the disk itself can be written.
    pub fn can_write(&self) -> bool {
        self.with_cache(|cache, _| cache.writable()).unwrap_or(true)
    }

    /// Whether changes find room, even if nothing can be written back.
    pub fn has_room(&self) -> bool {
        self.with_cache(|cache, _| cache.has_room()).unwrap_or(true)
    }

    /// Whether anything is newer here than on the disk below, and whether it is time to write it back.
    pub fn is_dirty(&self) -> (bool, bool) {
        self.with_cache(|cache, _| (cache.dirty() > 0, cache.is_full())).unwrap_or_default()
    }

    /// Writes everything to the disk below, and waits until it is on the medium.
    ///
    /// # Errors
    /// [`FsError::Io`], [`FsError::ReadOnlyDisk`]: what was not written is kept, to be written another time.
    pub fn write_back(&self) -> Result<(), FsError> {
        self.with_cache(|cache, region| cache.write_back(region)).unwrap_or(Ok(()))
    }

    /// As [`Disk::write_back`], without a journal: these sectors before all others.
    ///
    /// # Errors
    /// As [`Disk::write_back`].
    pub fn write_in_order(&self, early: Range<u64>) -> Result<(), FsError> {
        self.with_cache(|cache, region| cache.write_in_order(region, early)).unwrap_or(Ok(()))
    }

    /// Lets clusters begin with a page of the cache. Whether that changed anything.
    pub fn align(&self, offset: u64) -> bool {
        self.with_cache(|cache, region| cache.align(region, offset)).unwrap_or(false)
    }

    /// Forgets everything that the cache holds: the disk below has it, or it is not to be written.
    pub fn forget(&self) {
        self.with_cache(|cache, region| cache.forget(region));
    }

    /// Uses this journal, from now on and after failures.
    pub fn set_journal(&self, journal: Option<Journal>) {
        self.with_cache(|cache, region| cache.set_journal(region, journal));
    }

    /// Whether changes are journalled; nothing is lost by that on a RAM disk.
    pub fn has_journal(&self) -> bool {
        self.with_cache(|cache, _| cache.has_journal()).unwrap_or(true)
    }

    /// Does something with the disk below, if there is one.
    pub fn with_below<T>(&self, f: impl FnOnce(&mut dyn Below) -> T) -> Option<T> {
        self.with_cache(|cache, _| f(cache.below()))
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// [`FsError::Damaged`] behind the end of the disk, [`FsError::Io`].
    pub fn read_at(&self, at: u64, to: &mut [u8]) -> Result<(), FsError> {
        let mut store = self.0.store.borrow_mut();
        let mut done = 0;
        while done < to.len() {
            let range = store.look(at + done as u64, to.len() - done)?;
            let bytes = store.bytes(range);
            to[done..done + bytes.len()].copy_from_slice(bytes);
            done += bytes.len();
        }
        Ok(())
    }

    /// Writes bytes; what is the same already is not touched.
    ///
    /// # Errors
    /// As [`Disk::read_at`].
    pub fn write_at(&self, at: u64, from: &[u8]) -> Result<(), FsError> {
        let mut store = self.0.store.borrow_mut();
        let mut done = 0;
        while done < from.len() {
            let (at, rest) = (at + done as u64, &from[done..]);
            // Whole pages are written without a look at what was there.
            let whole = store.cache.as_ref().is_some_and(|cache| cache.covers(at, rest.len()));
            if !whole {
                let range = store.look(at, rest.len())?;
                let bytes = store.bytes(range);
                if bytes == &rest[..bytes.len()] {
                    done += bytes.len();
                    continue;
                }
            }
            let range = store.change(at, rest.len())?;
            let bytes = store.bytes(range);
            bytes.copy_from_slice(&rest[..bytes.len()]);
            done += bytes.len();
        }
        Ok(())
    }

    /// Gives these bytes to `each`, in pieces as they lie in memory; to be changed if `write`, all of them.
    ///
    /// # Errors
    /// As [`Disk::read_at`]; what `each` returns.
    #[inline]
    pub fn each(&self, at: u64, len: usize, write: bool, each: &mut Each<'_>) -> Result<(), FsError> {
        let mut store = self.0.store.borrow_mut();
        let Store { region, cache } = &mut *store;
        if let Some(cache) = cache
            && !write
        {
            cache.prefetch(region, at, len)?;
        }
        let mut done = 0;
        while done < len {
            let (at, rest) = (at + done as u64, len - done);
            let range = if write { store.change(at, rest)? } else { store.look(at, rest)? };
            let count = range.len();
            each(done, store.bytes(range))?;
            done += count;
        }
        Ok(())
    }

    /// From now on the mark "in use" of this volume keeps its value (entry 1 of the FAT; FAT12 has no such mark).
    pub fn keep_marks(&self, geometry: &Geometry) {
        let kind = geometry.kind();
        if kind.clean_bit() == 0 {
            return;
        }
        let mut marks = [None; 2];
        for (copy, mark) in (0..geometry.fat_count()).zip(marks.iter_mut()) {
            let at = geometry.fat_copy(copy) + kind.entry_offset(1);
            *mark = Some(Mark { block: at / BLOCK as u64, start: at as usize % BLOCK, len: kind.entry_len() });
        }
        self.0.marks.set(marks);
    }

    /// Where so many bytes from this block on lie.
    fn offset(&self, first: BlockIndex, len: usize) -> Result<u64, Error<FsError>> {
        let start = first.get().checked_mul(BLOCK as u64);
        let start = start.filter(|start| start.checked_add(len as u64).is_some_and(|end| end <= self.size()));
        start.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a block beyond the end of the disk"))
    }
}

impl ErrorType for Disk {
    type Error = FsError;
}

/// The error of the disk, for the library.
fn failed(error: FsError) -> Error<FsError> {
    Error::device(error, "the disk")
}

impl BlockDevice for Disk {
    fn block_size(&self) -> BlockSize {
        BLOCK_SIZE
    }

    fn block_count(&self) -> u64 {
        self.size() / BLOCK as u64
    }

    fn writable(&self) -> bool {
        self.can_write()
    }

    fn read_blocks(&mut self, first: BlockIndex, to: &mut [u8]) -> Result<(), Error<FsError>> {
        let at = self.offset(first, to.len())?;
        self.read_at(at, to).map_err(failed)
    }

    fn write_blocks(&mut self, first: BlockIndex, from: &[u8]) -> Result<(), Error<FsError>> {
        let at = self.offset(first, from.len())?;
        let marks = self.0.marks.get();
        let blocks = first.get()..first.get() + from.len().div_ceil(BLOCK) as u64;
        if !marks.iter().flatten().any(|mark| blocks.contains(&mark.block)) {
            return self.write_at(at, from).map_err(failed);
        }
        for (block, from) in blocks.zip(from.chunks(BLOCK)) {
            let at = block * BLOCK as u64;
            let mark = marks.iter().flatten().find(|mark| mark.block == block && from.len() >= mark.start + mark.len);
            let (kept, len) = mark.map_or((0, 0), |mark| (mark.start, mark.len));
            self.write_at(at, &from[..kept]).map_err(failed)?;
            self.write_at(at + (kept + len) as u64, &from[kept + len..]).map_err(failed)?;
        }
        Ok(())
    }
}
