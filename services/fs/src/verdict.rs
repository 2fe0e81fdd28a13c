//! Where the verdict on the volume outlives the service: the last page of the region, if the volume leaves it free.
//!
//! The check walks the whole volume, which is too long for a recovery. Requests keep a sound volume sound, so that
//! one check, at boot, is enough.

use crate::volume::Verdict;

/// Bytes at the end of the region that are not the disk's.
pub const PAGE: usize = 4096;
/// What the page starts with; the verdict follows, then its complement.
const MAGIC: [u8; 8] = *b"VERDICT1";

/// The page, if the volume does not reach into it.
fn page(region: &[u8], volume: u64) -> Option<usize> {
    let start = region.len().checked_sub(PAGE)?;
    (volume <= start as u64).then_some(start)
}

/// The verdict that was kept.
pub fn read(region: &[u8], volume: u64) -> Option<Verdict> {
    let page = region.get(page(region, volume)?..)?;
    let (magic, rest) = page.split_first_chunk::<8>()?;
    match (*magic == MAGIC, rest.first()?, rest.get(1)?) {
        (true, 1, 0xfe) => Some(Verdict::Sound),
        (true, 2, 0xfd) => Some(Verdict::Damaged),
        _ => None,
    }
}

/// Keeps the verdict, where there is room for it.
pub fn write(region: &mut [u8], volume: u64, verdict: Verdict) {
    let Some(start) = page(region, volume) else { return };
    let number = match verdict {
        Verdict::Sound => 1,
        Verdict::Damaged => 2,
    };
    region[start..start + 8].copy_from_slice(&MAGIC);
    region[start + 8] = number;
    region[start + 9] = !number;
}
