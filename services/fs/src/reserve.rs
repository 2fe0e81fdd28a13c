//! The file that the journal lies in: found, made, and kept from everybody else.

use hadris_fat_raw::Geometry;

use crate::FsError;
use crate::below::MOST;
use crate::cache::PAGE;
use crate::chain::{Place, Table};
use crate::disk::{BLOCK, Disk};
use crate::journal::{Journal, MOST_PAGES, SHORT_NAME};
use crate::volume::Volume;
use crate::words::{Attributes, Stat};

/// Pages that a request may change: no more than the manifest's `undo_pages`, of which it fills some.
const REQUEST: u64 = 160;
/// Pages beyond what one request changes, at most: that much is gathered before it is written back.
const GATHERED: u64 = 255;
/// The same at least.
const LEAST_GATHERED: u64 = 8;
/// Attributes of the file: nobody needs to see it.
const HIDDEN: Attributes = Attributes::READ_ONLY.union(Attributes::HIDDEN).union(Attributes::SYSTEM);
/// In a directory entry: attributes, first cluster (upper and lower half), size.
const ENTRY: (u64, u64, u64, u64) = (11, 20, 26, 28);
/// In the FSInfo sector: free clusters.
const FREE_COUNT: u64 = 488;

/// Whether an entry, of the root directory or not, is the journal's.
pub fn is_journal(in_root: bool, name: &str, stat: &Stat) -> bool {
    in_root && stat.attributes.contains(HIDDEN) && name.eq_ignore_ascii_case(SHORT_NAME)
}

/// Pages that one request changes at most: a transfer, all of the tables, some directories.
fn request_pages(geometry: &Geometry) -> u64 {
    let tables = u64::from(geometry.fat_count()) * (geometry.fat_size().div_ceil(PAGE as u64) + 1);
    ((MOST / PAGE) as u64 + 1 + tables + 8).min(REQUEST)
}

/// The journal of a volume, if it has one in one piece.
#[inline(never)]
pub fn find(volume: &mut Volume) -> Result<Option<Journal>, FsError> {
    if !volume.parts().0.is_cached() {
        return Ok(None);
    }
    let root = volume.root();
    let node = match volume.child(root, SHORT_NAME) {
        Ok(node) => node,
        Err(FsError::Io) => return Err(FsError::Io),
        Err(_) => return Ok(None),
    };
    let Ok(file) = volume.entry_of(node).and_then(|entry| volume.file(entry)) else { return Ok(None) };
    let (disk, table, geometry) = volume.parts();
    if !file.stat().attributes.contains(HIDDEN) {
        return Ok(None);
    }
    let clusters = u64::from(file.size).div_ceil(geometry.cluster_size().into());
    let mut place = Place::default();
    for index in 0..clusters as u32 {
        match table.walk(disk, file.first_cluster(), &mut place, index) {
            Ok(cluster) if cluster == file.first_cluster() + index => {}
            Err(FsError::Io) => return Err(FsError::Io),
            _ => return Ok(None),
        }
    }
    let Some(start) = geometry.cluster_offset(file.first_cluster()) else { return Ok(None) };
    if !(start - geometry.data_start()).is_multiple_of(PAGE as u64) {
        return Ok(None);
    }
    let pages = u64::from(file.size) / PAGE as u64;
    Ok(Journal::new(start / BLOCK as u64, pages, request_pages(geometry) as usize))
}

/// Writes what the journal holds, if a power cut came before it was where it belongs. Whether that was anything.
///
/// # Errors
/// [`FsError::Io`]; [`FsError::ReadOnlyDisk`] if it would have to be written and cannot.
#[inline(never)]
pub fn replay(disk: &Disk, mut journal: Journal) -> Result<bool, FsError> {
    let mut transfer = alloc::vec![0; MOST];
    let can_write = disk.can_write();
    let replayed = disk.with_below(|below| {
        if can_write {
            journal.settle(below, &mut transfer)
        } else if journal.is_pending(below)? {
            Err(FsError::ReadOnlyDisk)
        } else {
            Ok(false)
        }
    });
    let replayed = replayed.unwrap_or(Ok(false))?;
    if replayed {
        disk.forget();
    }
    Ok(replayed)
}

/// Makes a journal on a sound volume that has none, in an order that a power cut at any moment leaves sound (clusters
/// that nobody has, at worst). Where there is no room in one piece there is none.
///
/// # Errors
/// [`FsError::Io`].
pub fn make(volume: &mut Volume) -> Result<(), FsError> {
    match try_make(volume) {
        Err(FsError::Io) => Err(FsError::Io),
        Err(_) => {
            // No room in the root directory: what was changed in the cache alone is forgotten.
            volume.parts().0.forget();
            volume.reopen()
        }
        Ok(()) => Ok(()),
    }
}

#[inline(never)]
fn try_make(volume: &mut Volume) -> Result<(), FsError> {
    let (disk, table, geometry) = volume.parts();
    let (request, size) = (request_pages(geometry), u64::from(geometry.cluster_size()));
    // Whole pages of the cache, so that none is written with another file's clusters.
    let align = (PAGE as u64 / size).max(1) as u32;
    let all = u64::from(geometry.max_cluster()) * size / PAGE as u64;
    let gathered = (all / 64).clamp(LEAST_GATHERED, GATHERED);
    let clusters = |gathered: u64| {
        let pages = (1 + request + gathered).min(1 + MOST_PAGES as u64);
        let clusters = u32::try_from((pages * PAGE as u64).div_ceil(size)).map_err(|_| FsError::NoSpace)?;
        Ok::<_, FsError>(clusters.next_multiple_of(align))
    };
    let mut count = clusters(gathered)?;
    let mut first = table.run(disk, count, align)?;
    if first.is_none() {
        count = clusters(LEAST_GATHERED)?;
        first = table.run(disk, count, align)?;
    }
    let Some(first) = first else { return Ok(()) };
    let start = geometry.cluster_offset(first).ok_or(FsError::Damaged)?;
    let bytes = u64::from(count) * size;
    let journal = Journal::new(start / BLOCK as u64, bytes / PAGE as u64, request as usize);
    let Some(mut journal) = journal else { return Ok(()) };
    disk.with_below(|below| journal.clear(below)).unwrap_or(Ok(()))?;
    chain(disk, table, geometry, first, count)?;
    if let Some(sector) = geometry.fs_info_sector() {
        let at = u64::from(sector) * u64::from(geometry.sector_size()) + FREE_COUNT;
        let mut free = [0; 4];
        disk.read_at(at, &mut free)?;
        let left = u32::from_le_bytes(free).checked_sub(count).filter(|_| free != [0xff; 4]);
        disk.write_at(at, &left.unwrap_or(u32::MAX).to_le_bytes())?;
    }
    volume.reopen()?;
    let root = volume.root();
    let node = volume.create(root, SHORT_NAME)?;
    let entry = volume.entry_of(node)?;
    let (disk, _, geometry) = volume.parts();
    disk.write_at(entry + ENTRY.0, &[HIDDEN.bits() as u8])?;
    disk.write_at(entry + ENTRY.1, &((first >> 16) as u16).to_le_bytes())?;
    disk.write_at(entry + ENTRY.2, &(first as u16).to_le_bytes())?;
    disk.write_at(entry + ENTRY.3, &u32::try_from(bytes).map_err(|_| FsError::NoSpace)?.to_le_bytes())?;
    let sectors = |at: u64| at / BLOCK as u64;
    let tables_end = geometry.fat_copy(geometry.fat_count() - 1) + geometry.fat_size();
    disk.write_in_order(sectors(geometry.fat_start())..sectors(tables_end))?;
    disk.set_journal(Some(journal));
    volume.reopen()
}

/// Chains clusters in a row.
fn chain(disk: &Disk, table: &Table, geometry: &Geometry, first: u32, count: u32) -> Result<(), FsError> {
    for cluster in first..first + count {
        let next = if cluster + 1 < first + count { cluster + 1 } else { geometry.kind().end_of_chain() };
        table.set(disk, cluster, next)?;
    }
    Ok(())
}
