//! The guest's memory, as the emulator has mapped it.

use std::fs;

/// A mapping of the file that holds the guest's memory.
#[derive(Clone, Copy)]
pub struct Memory {
    host: usize,
    length: usize,
    base: u32,
}

/// Start and end of a line of `/proc/self/maps`.
fn range(line: &str) -> Option<(usize, usize)> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

impl Memory {
    /// Finds the mapping of the file `path`, which holds the memory from physical address `base` on.
    pub fn find(path: &str, base: u32) -> Option<Memory> {
        let maps = fs::read_to_string("/proc/self/maps").ok()?;
        let mut ranges = maps.lines().filter(|line| line.ends_with(path)).filter_map(range);
        let (start, mut end) = ranges.next()?;
        // Parts of it may have got rights of their own: they follow one another.
        for (next, next_end) in ranges {
            if next == end {
                end = next_end;
            }
        }
        Some(Memory { host: start, length: end - start, base })
    }

    /// The physical address of a place in the emulator's memory.
    pub fn physical(&self, host: usize) -> Option<u32> {
        let offset = host.checked_sub(self.host).filter(|offset| *offset < self.length)?;
        Some(self.base + offset as u32)
    }

    /// A copy of physical memory; what lies outside reads as nothing.
    pub fn read(&self, address: u32, length: u32) -> Vec<u8> {
        let start = (address.saturating_sub(self.base) as usize).min(self.length);
        let length = (length as usize).min(self.length - start);
        let mut bytes = vec![0; length];
        // SAFETY: within the mapping, which lives as long as the guest. The guest's processor is stopped in a callback, or the word
        // is one that it writes as a whole.
        unsafe { std::ptr::copy_nonoverlapping((self.host + start) as *const u8, bytes.as_mut_ptr(), length) };
        bytes
    }

    /// A word of physical memory.
    pub fn word(&self, address: u32) -> u32 {
        self.read(address, 4).try_into().map_or(0, u32::from_le_bytes)
    }
}

/// Lets a child have all memory of this process: the emulator keeps the guest's from it.
pub fn share_with_children() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    for (start, end) in maps.lines().filter_map(range) {
        // SAFETY: says how a mapping is treated at a fork; changes nothing in it. What cannot be (special mappings) is refused.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DOFORK) };
    }
}
