//! Physical frames: the pool, and the one door through which the kernel touches them.
//!
//! Frames hold what belongs to domains: images, heaps, stacks, SSRs, pre-images, page tables. No Rust
//! reference ever points into the pool; every access goes through the functions here, which check the
//! range. That is why they are safe to call.

use abi::image::Fletcher;
use abi::layout::PAGE;

use crate::arch::mmu;

/// Bytes of a page as a `usize`.
const PAGE_BYTES: usize = PAGE as usize;

/// The frame pool: memory behind the kernel and the boot image.
pub struct Frames {
    start: u32,
    end: u32,
    /// First frame never handed out so far.
    untouched: u32,
    /// Head of the list of freed frames, linked through their first words; 0 = none.
    freed: u32,
    free: u32,
}

/// Whether a copy is one of a whole page.
fn whole_pages(to: *const u8, from: *const u8, length: usize) -> bool {
    length == PAGE_BYTES && (to as usize | from as usize).is_multiple_of(PAGE_BYTES)
}

impl Frames {
    /// A pool without frames.
    pub const fn new() -> Self {
        Frames { start: 0, end: 0, untouched: 0, freed: 0, free: 0 }
    }

    /// Gives the pool its memory, once.
    ///
    /// # Safety
    /// `start..end` is RAM, mapped readable and writable for the kernel at its physical address, and nothing
    /// else in the kernel refers to it. Both are page aligned.
    pub unsafe fn init(&mut self, start: u32, end: u32) {
        *self = Frames { start, end, untouched: start, freed: 0, free: (end - start) / PAGE };
    }

    /// Frames in all.
    pub fn total(&self) -> u32 {
        (self.end - self.start) / PAGE
    }

    /// Frames not in use.
    pub fn free_count(&self) -> u32 {
        self.free
    }

    /// A frame with unspecified content.
    pub fn alloc(&mut self) -> Option<u32> {
        if self.freed != 0 {
            let frame = self.freed;
            self.freed = self.word(frame);
            self.free -= 1;
            return Some(frame);
        }
        self.alloc_run(1)
    }

    /// `count` frames in a row, with unspecified content, from memory that was never handed out.
    pub fn alloc_run(&mut self, count: u32) -> Option<u32> {
        let frame = self.untouched;
        let end = frame.checked_add(count.checked_mul(PAGE)?)?;
        if end > self.end {
            return None;
        }
        self.untouched = end;
        self.free -= count;
        Some(frame)
    }

    /// Takes a frame back.
    pub fn free(&mut self, frame: u32) {
        self.set_word(frame, self.freed);
        self.freed = frame;
        self.free += 1;
    }

    /// Whether a frame belongs to the pool: device pages do not.
    pub fn contains(&self, frame: u32) -> bool {
        frame >= self.start && frame < self.end
    }

    fn check(&self, address: u32, length: usize) -> *mut u8 {
        let end = (address as usize).checked_add(length);
        assert!(
            address >= self.start && end.is_some_and(|end| end <= self.end as usize),
            "access outside the frame pool"
        );
        address as *mut u8
    }

    /// The same for a word or a page that is aligned: as the pool consists of pages, it lies there if it begins there.
    fn check_unit(&self, address: u32, unit: u32) -> *mut u8 {
        let inside = address.wrapping_sub(self.start) < self.end - self.start;
        assert!(inside && address.is_multiple_of(unit), "access outside the frame pool");
        address as *mut u8
    }

    /// The word at a physical address, a multiple of 4.
    pub fn word(&self, address: u32) -> u32 {
        let at = self.check_unit(address, 4).cast::<u32>();
        // SAFETY: in the pool (checked), which no reference points into.
        unsafe { at.read() }
    }

    /// Offset of the first word of a frame that is not 0. By rows of eight words: most of them are all 0.
    pub fn first_in_use(&self, frame: u32) -> Option<u32> {
        const ROW: usize = 8;
        let words = self.check_unit(frame, PAGE).cast::<u32>();
        // SAFETY: as for `word`; the indices below are those of the frame's words.
        let word = |index: usize| unsafe { words.add(index).read() };
        let used = |row: &usize| (*row..row + ROW).fold(0, |all, index| all | word(index)) != 0;
        let row = (0..PAGE_BYTES / 4).step_by(ROW).find(used)?;
        (row..row + ROW).find(|index| word(*index) != 0).map(|index| index as u32 * 4)
    }

    /// Writes the word at a physical address, a multiple of 4.
    pub fn set_word(&mut self, address: u32, value: u32) {
        let at = self.check_unit(address, 4).cast::<u32>();
        // SAFETY: as for `word`.
        unsafe { at.write(value) }
    }

    /// Zeroes a frame.
    pub fn zero(&mut self, frame: u32) {
        let at = self.check_unit(frame, PAGE);
        // SAFETY: as for `word`.
        unsafe { mmu::zero_page(at) }
    }

    /// Copies bytes within the pool. The ranges may overlap: a lent range can lie in a page of the copying side.
    pub fn copy(&mut self, to: u32, from: u32, length: usize) {
        let (to, from) = (self.check(to, length), self.check(from, length));
        // SAFETY: both in the pool (checked); whole pages are the same one or apart.
        unsafe {
            match whole_pages(to, from, length) {
                true => mmu::copy_page(to, from),
                false => core::ptr::copy(from, to, length),
            }
        }
    }

    /// Fills from a slice (of the boot image).
    pub fn fill(&mut self, to: u32, bytes: &[u8]) {
        let to = self.check(to, bytes.len());
        if bytes.is_empty() {
            return;
        }
        // SAFETY: the target is in the pool (checked), so `bytes` cannot overlap it.
        unsafe {
            match whole_pages(to, bytes.as_ptr(), bytes.len()) {
                true => mmu::copy_page(to, bytes.as_ptr()),
                false => core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()),
            }
        }
    }

    /// Copies out to a slice.
    pub fn read(&self, from: u32, bytes: &mut [u8]) {
        let from = self.check(from, bytes.len());
        // SAFETY: as for `fill`.
        unsafe { core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) }
    }

    /// Whether the memory from an address on holds these bytes.
    pub fn same(&self, from: u32, bytes: &[u8]) -> bool {
        let from = self.check(from, bytes.len());
        // SAFETY: in the pool (checked), to which nothing writes meanwhile.
        unsafe { core::slice::from_raw_parts(from, bytes.len()) == bytes }
    }

    /// The checksum ([`abi::image::checksum`]) of `length` bytes, a multiple of 4.
    pub fn checksum(&self, from: u32, length: usize) -> u64 {
        let at = self.check(from, length).cast::<u32>();
        let mut sum = Fletcher::new();
        for index in 0..length / 4 {
            // SAFETY: in the pool (checked).
            sum.add(unsafe { at.add(index).read() });
        }
        sum.value()
    }
}
