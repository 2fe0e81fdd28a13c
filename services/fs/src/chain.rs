//! Chains of clusters, read straight from the file allocation table.
//!
//! The library finds its way from a file's first cluster or from where it was last. Open files of several clients are
//! read in turns, each at its own place, and those places are kept here.

use core::ops::Range;

use hadris_fat_raw::{FIRST_DATA_CLUSTER, Geometry};

use crate::FsError;
use crate::disk::Disk;

/// A known place in a chain: the cluster with this index. Cluster 0: no place is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its index in the chain, from 0.
    pub index: u32,
    /// The cluster.
    pub cluster: u32,
}

/// The file allocation table of a volume.
#[derive(Clone, Copy, Debug)]
pub struct Table(Geometry);

impl Table {
    /// That of a volume with this geometry.
    pub const fn new(geometry: Geometry) -> Self {
        Table(geometry)
    }

    /// The clusters that the volume has.
    pub const fn clusters(&self) -> Range<u32> {
        FIRST_DATA_CLUSTER..self.0.max_cluster() + 1
    }

    /// The entry of a cluster.
    fn entry(&self, disk: &Disk, cluster: u32) -> Result<u32, FsError> {
        let kind = self.0.kind();
        let start = self.0.fat_copy(self.0.active_fat()) + kind.entry_offset(cluster.into());
        let mut bytes = [0; 4];
        let bytes = &mut bytes[..kind.entry_len()];
        disk.read_at(start, bytes)?;
        Ok(kind.decode(cluster.into(), bytes))
    }

    /// Writes the entry of a cluster, in all copies of the table that are kept.
    ///
    /// # Errors
    /// [`FsError::Damaged`] if the table ends before, [`FsError::Io`].
    pub fn set(&self, disk: &Disk, cluster: u32, value: u32) -> Result<(), FsError> {
        let kind = self.0.kind();
        for copy in (0..self.0.fat_count()).filter(|copy| self.0.mirrored() || *copy == self.0.active_fat()) {
            let start = self.0.fat_copy(copy) + kind.entry_offset(cluster.into());
            let mut bytes = [0; 4];
            let bytes = &mut bytes[..kind.entry_len()];
            disk.read_at(start, bytes)?;
            kind.encode(cluster.into(), value, bytes);
            disk.write_at(start, bytes)?;
        }
        Ok(())
    }

    /// The first of so many free clusters in a row, a multiple of `align` clusters from the first one; `None` if there are
    /// none.
    ///
    /// # Errors
    /// As [`Table::free`].
    pub fn run(&self, disk: &Disk, count: u32, align: u32) -> Result<Option<u32>, FsError> {
        let mut found = 0;
        for cluster in self.clusters() {
            let free = self.entry(disk, cluster)? & self.0.kind().mask() == 0;
            let begins = (cluster - FIRST_DATA_CLUSTER).is_multiple_of(align);
            found = if free && (found > 0 || begins) { found + 1 } else { 0 };
            if found == count {
                return Ok(Some(cluster + 1 - count));
            }
        }
        Ok(None)
    }

    /// The cluster behind this one in its chain; `None` at the end.
    ///
    /// # Errors
    /// [`FsError::Damaged`] if the chain leads to no cluster of the volume.
    pub fn next(&self, disk: &Disk, cluster: u32) -> Result<Option<u32>, FsError> {
        let stored = self.entry(disk, cluster)?;
        self.0.kind().next(stored, self.0.max_cluster()).map_err(|_| FsError::Damaged)
    }

    /// The cluster with this index in the chain that begins with `first`, from the known place on if that lies not
    /// behind it. The place is moved there.
    ///
    /// # Errors
    /// [`FsError::Damaged`] if the chain ends before, or leads to no cluster of the volume. A chain that turns back
    /// on itself has an answer for each index; the sizes of files bound how far one goes.
    pub fn walk(&self, disk: &Disk, first: u32, place: &mut Place, index: u32) -> Result<u32, FsError> {
        if place.cluster == 0 || place.index > index {
            *place = Place { index: 0, cluster: first };
        }
        if !self.clusters().contains(&place.cluster) {
            return Err(FsError::Damaged);
        }
        while place.index < index {
            let cluster = self.next(disk, place.cluster)?.ok_or(FsError::Damaged)?;
            *place = Place { index: place.index + 1, cluster };
        }
        Ok(place.cluster)
    }

    /// How many of these clusters are free; stops counting at `enough`.
    ///
    /// # Errors
    /// [`FsError::Damaged`] if the table ends before the clusters do.
    pub fn free(&self, disk: &Disk, clusters: Range<u32>, enough: u32) -> Result<u32, FsError> {
        let mut free = 0;
        for cluster in clusters {
            if free == enough {
                break;
            }
            free += u32::from(self.entry(disk, cluster)? & self.0.kind().mask() == 0);
        }
        Ok(free)
    }
}
