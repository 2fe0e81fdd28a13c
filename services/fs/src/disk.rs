//! The RAM disk: the common region as a block device of the library.
//!
//! The library marks the volume as in use before each change and as clean after it (bits of the FAT's entry 1). Here
//! that mark is left as it is: no request can stop between the two, because one that fails is undone whole, and the
//! kernel keeps a copy of each page that a request writes.

use alloc::rc::Rc;
use core::cell::{Ref, RefCell, RefMut};
use core::convert::Infallible;

use hadris_fat_raw::Geometry;
use hadris_io::{Error, ErrorKind, ErrorType};
use hadris_storage::sync::BlockDevice;
use hadris_storage::{BlockIndex, BlockSize};

/// Bytes of a block: the smallest sector that FAT knows.
pub const BLOCK: usize = 512;
/// [`BLOCK`] as the library wants it.
const BLOCK_SIZE: BlockSize = BlockSize::new(BLOCK as u32).unwrap();

/// A handle to the memory of the disk. The library owns one, the volume another: it moves the bytes of files
/// between this memory and lent buffers without a copy in between.
#[derive(Clone)]
pub struct Disk(Rc<Memory>);

struct Memory {
    bytes: RefCell<&'static mut [u8]>,
    /// Where the marks "in use" lie that are never written: one for each copy of the FAT.
    marks: RefCell<[Option<Mark>; 2]>,
}

/// Bytes of the disk that keep their value.
#[derive(Clone, Copy)]
struct Mark {
    block: usize,
    start: usize,
    len: usize,
}

impl Disk {
    /// A disk in this memory.
    pub fn new(bytes: &'static mut [u8]) -> Self {
        Disk(Rc::new(Memory { bytes: RefCell::new(bytes), marks: RefCell::new([None; 2]) }))
    }

    /// The memory, to read.
    pub fn bytes(&self) -> Ref<'_, [u8]> {
        Ref::map(self.0.bytes.borrow(), |bytes| &**bytes)
    }

    /// The memory, to write.
    pub fn bytes_mut(&self) -> RefMut<'_, [u8]> {
        RefMut::map(self.0.bytes.borrow_mut(), |bytes| &mut **bytes)
    }

    /// Gives the memory back if this is the only handle.
    pub fn into_bytes(self) -> Option<&'static mut [u8]> {
        Some(Rc::into_inner(self.0)?.bytes.into_inner())
    }

    /// From now on the mark "in use" of this volume keeps its value (entry 1 of the FAT; FAT12 has no such mark).
    pub fn keep_marks(&self, geometry: &Geometry) {
        let kind = geometry.kind();
        if kind.clean_bit() == 0 {
            return;
        }
        let mut marks = self.0.marks.borrow_mut();
        for (copy, mark) in (0..geometry.fat_count()).zip(marks.iter_mut()) {
            let at = (geometry.fat_copy(copy) + kind.entry_offset(1)) as usize;
            *mark = Some(Mark { block: at / BLOCK, start: at % BLOCK, len: kind.entry_len() });
        }
    }
}

impl ErrorType for Disk {
    type Error = Infallible;
}

/// Where so many bytes from this block on lie.
fn range(first: BlockIndex, len: usize) -> Option<core::ops::Range<usize>> {
    let start = usize::try_from(first.get()).ok()?.checked_mul(BLOCK)?;
    Some(start..start.checked_add(len)?)
}

/// The error of a request beyond the end.
fn beyond() -> Error<Infallible> {
    Error::new(ErrorKind::InvalidInput, "a block beyond the end of the disk")
}

impl BlockDevice for Disk {
    fn block_size(&self) -> BlockSize {
        BLOCK_SIZE
    }

    fn block_count(&self) -> u64 {
        (self.bytes().len() / BLOCK) as u64
    }

    fn writable(&self) -> bool {
        true
    }

    fn read_blocks(&mut self, first: BlockIndex, to: &mut [u8]) -> Result<(), Error<Infallible>> {
        let bytes = self.bytes();
        let from = range(first, to.len()).and_then(|range| bytes.get(range)).ok_or_else(beyond)?;
        to.copy_from_slice(from);
        Ok(())
    }

    fn write_blocks(&mut self, first: BlockIndex, from: &[u8]) -> Result<(), Error<Infallible>> {
        let marks = *self.0.marks.borrow();
        let mut bytes = self.bytes_mut();
        let range = range(first, from.len()).ok_or_else(beyond)?;
        let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
        let to = bytes.get_mut(range).ok_or_else(beyond)?;
        if !marks.iter().flatten().any(|mark| blocks.contains(&mark.block)) {
            to.copy_from_slice(from);
            return Ok(());
        }
        for (block, (to, from)) in blocks.zip(to.chunks_mut(BLOCK).zip(from.chunks(BLOCK))) {
            match marks.iter().flatten().find(|mark| mark.block == block && from.len() >= mark.start + mark.len) {
                Some(mark) => {
                    let end = mark.start + mark.len;
                    replace(&mut to[..mark.start], &from[..mark.start]);
                    replace(&mut to[end..], &from[end..]);
                }
                None => to.copy_from_slice(from),
            }
        }
        Ok(())
    }
}

/// Copies unless there is nothing to change, so that the page stays untouched.
fn replace(to: &mut [u8], from: &[u8]) {
    if to != from {
        to.copy_from_slice(from);
    }
}
