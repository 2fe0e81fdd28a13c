//! The volume: the library for names and allocation, and a direct way to the bytes of files.

use core::convert::Infallible;

use alloc::vec;
use hadris_fat::Detail;
use hadris_fat::sync::{FatFs, check};
use hadris_fat_raw::{Geometry, ShortEntry, Slot, short_name};
use hadris_fs::{
    CodePage, Cp437, DirCursor, Error, ErrorKind, Extent, MountOptions, Name, NodeId, RenameMode, SetAttr,
};

use crate::disk::Disk;
use crate::listing::{END, Entry};
use crate::words::{Attributes, Stat, Usage};
use crate::{FsError, MAX_TRANSFER};

/// What the check of a volume found; decides whether it is ever written. The check is done once, at boot: requests
/// keep a sound volume sound. After a failure of the service the sessions know the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its structures are sound.
    Sound,
    /// They are not: it can be read where that is safe, and is never written.
    Damaged,
}

/// A known place in a chain of clusters: the cluster with this index. Cluster 0: no place is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    index: u32,
    cluster: u32,
}

/// What is done with a piece of a file: its offset from where the request began, and its bytes on the disk.
pub type Each<'a> = dyn FnMut(usize, &mut [u8]) -> Result<(), FsError> + 'a;

/// A directory entry that names a file, and where it lies.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// First cluster, 0 for a file without bytes.
    first: u32,
    /// Bytes.
    pub size: u32,
    entry: ShortEntry,
}

impl File {
    /// What the volume says of it.
    pub fn stat(&self) -> Stat {
        stat(&self.entry)
    }
}

/// A mounted volume.
pub struct Volume {
    disk: Disk,
    fat: FatFs<Disk>,
    geometry: Geometry,
    verdict: Verdict,
}

impl Volume {
    /// Mounts the volume that starts at the disk's first byte. Without a verdict its structures are checked first,
    /// which takes a walk over all of it.
    ///
    /// # Errors
    /// [`FsError::NoVolume`] if there is no FAT volume, [`FsError::Damaged`] if its boot sector does not fit itself
    /// or the disk.
    pub fn mount(disk: &Disk, verdict: Option<Verdict>) -> Result<Self, FsError> {
        let mount = |options| {
            FatFs::mount(disk.clone(), options).map_err(|error| match error.kind() {
                ErrorKind::NotRecognized => FsError::NoVolume,
                _ => FsError::Damaged,
            })
        };
        let mut fat = mount(MountOptions::new())?;
        let geometry = *fat.info();
        let verdict = verdict.unwrap_or_else(|| examine(disk, &geometry));
        if verdict == Verdict::Damaged {
            fat = mount(MountOptions::new().read_only())?;
        } else {
            disk.keep_marks(&geometry);
        }
        Ok(Volume { disk: disk.clone(), fat, geometry, verdict })
    }

    /// What the check found.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The root directory.
    pub fn root(&self) -> NodeId {
        self.fat.root()
    }

    /// Whether the volume may be written.
    ///
    /// # Errors
    /// [`FsError::Damaged`] if not.
    pub fn writable(&self) -> Result<(), FsError> {
        match self.verdict {
            Verdict::Sound => Ok(()),
            Verdict::Damaged => Err(FsError::Damaged),
        }
    }

    /// The node at the end of these names.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotDirectory`], [`FsError::Damaged`].
    pub fn find(&mut self, names: &[&str]) -> Result<NodeId, FsError> {
        let mut node = self.fat.root();
        for name in names {
            node = self.child(node, name)?;
        }
        Ok(node)
    }

    /// The node of this name in a directory.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn child(&mut self, directory: NodeId, name: &str) -> Result<NodeId, FsError> {
        let node = self.fat.lookup(directory, Name::new(name)).map_err(not_found)?;
        self.fat.forget(node, 1);
        Ok(node)
    }

    /// Makes the library keep its place in the node's chain between requests, which appending profits from, if the
    /// node is still in this directory. [`unpin`](Self::unpin) ends that.
    pub fn pin(&mut self, node: NodeId, directory: NodeId, file: &File) -> bool {
        let mut buffer = [0; short_name::DISPLAY_MAX];
        let len = short_name::display(&file.entry.name(), file.entry.nt_case(), |byte| Cp437.decode(byte), &mut buffer);
        let Ok(found) = self.fat.lookup(directory, Name::new(&buffer[..len])) else {
            return false;
        };
        if found != node {
            self.fat.forget(found, 1);
        }
        found == node
    }

    /// Ends what [`pin`](Self::pin) began.
    pub fn unpin(&mut self, node: NodeId) {
        self.fat.forget(node, 1);
    }

    /// Whether the node is a directory.
    ///
    /// # Errors
    /// [`FsError::Damaged`] if it is not what the number says.
    pub fn is_dir(&mut self, node: NodeId) -> Result<bool, FsError> {
        Ok(self.fat.stat(node).map_err(other)?.file_type().is_dir())
    }

    /// Where the directory entry of a node lies, in bytes from the start of the disk.
    ///
    /// # Errors
    /// [`FsError::Invalid`] for the root, which has none; [`FsError::Damaged`] as above.
    pub fn entry_of(&mut self, node: NodeId) -> Result<u32, FsError> {
        let mut extents = [Extent::new(0, 0)];
        match self.fat.records(node, &mut extents).map_err(other)? {
            0 => Err(FsError::Invalid),
            _ => u32::try_from(extents[0].offset()).map_err(|_| FsError::Damaged),
        }
    }

    /// The file whose directory entry lies there.
    ///
    /// # Errors
    /// [`FsError::IsDirectory`]; [`FsError::Damaged`] if there is no entry.
    pub fn file(&self, entry: u32) -> Result<File, FsError> {
        let entry = self.entry(entry)?;
        if entry.is_dir() {
            return Err(FsError::IsDirectory);
        }
        Ok(File { first: entry.first_cluster(self.geometry.kind()), size: entry.size(), entry })
    }

    /// The directory entry that lies there.
    fn entry(&self, at: u32) -> Result<ShortEntry, FsError> {
        let bytes = self.disk.bytes();
        let raw = bytes.get(at as usize..).and_then(|bytes| bytes.first_chunk::<32>()).ok_or(FsError::Damaged)?;
        match Slot::parse(raw) {
            Slot::Short(entry) if entry.is_visible() => Ok(entry),
            _ => Err(FsError::Damaged),
        }
    }

    /// What the volume says of a node.
    ///
    /// # Errors
    /// [`FsError::Damaged`].
    pub fn stat(&mut self, node: NodeId) -> Result<Stat, FsError> {
        if node == self.fat.root() {
            return Ok(Stat { attributes: Attributes::DIRECTORY, ..Stat::default() });
        }
        let entry = self.entry_of(node)?;
        Ok(stat(&self.entry(entry)?))
    }

    /// The next entry of a directory from `cursor` on: gives it to `take`, which says whether it wants it, and
    /// returns the cursor behind it. `None`: no further entry, or not wanted.
    ///
    /// # Errors
    /// [`FsError::NotDirectory`], [`FsError::Damaged`].
    pub fn next_entry(
        &mut self,
        directory: NodeId,
        cursor: u32,
        take: &mut dyn FnMut(Entry<'_>) -> Result<bool, FsError>,
    ) -> Result<Option<u32>, FsError> {
        let Some(found) = self.fat.readdir(directory, DirCursor::from_raw(cursor.into())).map_err(not_found)? else {
            return Ok(Some(END));
        };
        let next = u32::try_from(found.next_cursor().into_raw()).map_err(|_| FsError::Damaged)?;
        let name = found.name().to_str().map_err(|_| FsError::Damaged)?;
        let stat = self.stat(found.node())?;
        Ok(take(Entry { name, stat })?.then_some(next))
    }

    /// Creates an empty file.
    ///
    /// # Errors
    /// [`FsError::Exists`], [`FsError::BadName`], [`FsError::NoSpace`], [`FsError::NotDirectory`], [`FsError::Damaged`].
    pub fn create(&mut self, directory: NodeId, name: &str) -> Result<NodeId, FsError> {
        let node = self.change(|fat| fat.create(directory, Name::new(name), &SetAttr::new()))?;
        self.fat.forget(node, 1);
        Ok(node)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn mkdir(&mut self, directory: NodeId, name: &str) -> Result<(), FsError> {
        let node = self.change(|fat| fat.mkdir(directory, Name::new(name), &SetAttr::new()))?;
        self.fat.forget(node, 1);
        Ok(())
    }

    /// Removes a file or an empty directory.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotEmpty`], [`FsError::Damaged`].
    pub fn remove(&mut self, directory: NodeId, name: &str) -> Result<(), FsError> {
        let node = self.child(directory, name)?;
        let name = Name::new(name);
        if self.is_dir(node)? {
            self.change(|fat| fat.rmdir(directory, name))
        } else {
            self.change(|fat| fat.unlink(directory, name))
        }
    }

    /// Renames or moves; replaces a file by a file, an empty directory by a directory.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`remove`](Self::remove); [`FsError::Invalid`] for a directory into itself.
    pub fn rename(&mut self, from: (NodeId, &str), to: (NodeId, &str)) -> Result<(), FsError> {
        let (source, target) = (Name::new(from.1), Name::new(to.1));
        self.change(|fat| fat.rename(from.0, source, to.0, target, RenameMode::Replace))
    }

    /// Gives a file so many bytes; new ones are zero.
    ///
    /// # Errors
    /// [`FsError::TooBig`] if that are more than [`MAX_TRANSFER`]; [`FsError::NoSpace`], [`FsError::Damaged`].
    pub fn resize(&mut self, node: NodeId, file: &File, len: u32) -> Result<(), FsError> {
        if len.saturating_sub(file.size) > MAX_TRANSFER as u32 {
            return Err(FsError::TooBig);
        }
        self.change(|fat| fat.truncate(node, len.into()))
    }

    /// Runs a change and puts all of it on the disk: nothing of it may wait in private memory when the request ends.
    fn change<T>(
        &mut self,
        change: impl FnOnce(&mut FatFs<Disk>) -> Result<T, Error<Infallible>>,
    ) -> Result<T, FsError> {
        self.writable()?;
        let changed = change(&mut self.fat).map_err(other);
        let synced = self.fat.sync().map_err(other);
        let value = changed?;
        synced.map(|()| value)
    }

    /// Gives the bytes of a file from `position` on, in pieces as long as the disk has them in a row, to `each`
    /// together with the offset from `position`. `place` is where in its chain the file was last; it is moved along.
    ///
    /// # Errors
    /// [`FsError::Damaged`] if the chain ends before the range does; what `each` returns.
    pub fn pieces(
        &self,
        file: &File,
        place: &mut Place,
        position: u32,
        len: usize,
        each: &mut Each<'_>,
    ) -> Result<(), FsError> {
        let cluster_size = self.geometry.cluster_size() as usize;
        let mut bytes = self.disk.bytes_mut();
        let mut done = 0;
        while done < len {
            let at = position as usize + done;
            let within = at & (cluster_size - 1);
            let first = self.cluster(&bytes, file, place, (at >> self.geometry.cluster_shift()) as u32)?;
            let mut piece = (cluster_size - within).min(len - done);
            while done + piece < len {
                let cluster = self.cluster(&bytes, file, place, place.index + 1)?;
                if cluster != first + ((within + piece) >> self.geometry.cluster_shift()) as u32 {
                    break;
                }
                piece = (piece + cluster_size).min(len - done);
            }
            let start = self.geometry.cluster_offset(first).ok_or(FsError::Damaged)? as usize + within;
            each(done, bytes.get_mut(start..start + piece).ok_or(FsError::Damaged)?)?;
            done += piece;
        }
        Ok(())
    }

    /// The cluster with this index in the file's chain, from the known place on if that lies before it.
    fn cluster(&self, bytes: &[u8], file: &File, place: &mut Place, index: u32) -> Result<u32, FsError> {
        if place.cluster == 0 || place.index > index {
            *place = Place { index: 0, cluster: file.first };
        }
        while place.index < index {
            let next = self.next(bytes, place.cluster)?.ok_or(FsError::Damaged)?;
            *place = Place { index: place.index + 1, cluster: next };
        }
        match self.geometry.cluster_offset(place.cluster) {
            Some(_) => Ok(place.cluster),
            None => Err(FsError::Damaged),
        }
    }

    /// The cluster behind this one in its chain.
    fn next(&self, bytes: &[u8], cluster: u32) -> Result<Option<u32>, FsError> {
        let kind = self.geometry.kind();
        let active = self.geometry.fat_copy(self.geometry.active_fat());
        let at = (active + kind.entry_offset(cluster.into())) as usize;
        let entry = bytes.get(at..at + kind.entry_len()).ok_or(FsError::Damaged)?;
        kind.next(kind.decode(cluster.into(), entry), self.geometry.max_cluster()).map_err(|_| FsError::Damaged)
    }

    /// Room on the volume.
    ///
    /// # Errors
    /// [`FsError::Damaged`].
    pub fn usage(&mut self) -> Result<Usage, FsError> {
        let stats = self.fat.statfs().map_err(other)?;
        Ok(Usage {
            cluster_size: self.geometry.cluster_size(),
            clusters: self.geometry.max_cluster() - 1,
            free: u32::try_from(stats.free_blocks()).unwrap_or(u32::MAX),
            kind: self.geometry.kind().entry_bits() as u32,
        })
    }
}

/// What an entry says.
fn stat(entry: &ShortEntry) -> Stat {
    let (date, time) = entry.modified();
    let size = if entry.is_dir() { 0 } else { entry.size() };
    let attributes = Attributes::from_bits_truncate(entry.attributes().into());
    Stat { size, attributes, modified: u32::from(date) << 16 | u32::from(time) }
}

/// Walks all structures of the volume.
fn examine(disk: &Disk, geometry: &Geometry) -> Verdict {
    // The first 1024 bytes hold the path of a finding, the rest a bit for each cluster (at least 512 bytes).
    let bitmap = (geometry.max_cluster() as usize / 8 + 1).clamp(512, 16 * 1024);
    let mut scratch = vec![0; 1024 + bitmap];
    let mut verdict = Verdict::Sound;
    let checked = check(&mut disk.clone(), &mut scratch, |finding| {
        if Detail::from_code(finding.detail()).is_none_or(endangers) {
            verdict = Verdict::Damaged;
        }
    });
    match checked {
        Ok(_) => verdict,
        Err(_) => Verdict::Damaged,
    }
}

/// Whether writing to a volume with this finding could lose data that is still there.
fn endangers(detail: Detail) -> bool {
    !matches!(
        detail,
        // The boot sector was good enough to mount.
        Detail::BootSector
            | Detail::BackupBootSector
            | Detail::FsInfo
            | Detail::FreeCount
            | Detail::LostClusters
            | Detail::BadName
            | Detail::LfnChecksum
            | Detail::OrphanLfn
            | Detail::Dirty
            | Detail::DirectorySize
            | Detail::Label
    )
}

/// The library's error of looking something up.
fn not_found(error: Error<Infallible>) -> FsError {
    match error.kind() {
        // A name that no entry can have names nothing.
        ErrorKind::InvalidInput | ErrorKind::NameTooLong => FsError::NotFound,
        _ => other(error),
    }
}

/// The library's error.
fn other(error: Error<Infallible>) -> FsError {
    match error.kind() {
        ErrorKind::NotFound => FsError::NotFound,
        ErrorKind::AlreadyExists => FsError::Exists,
        ErrorKind::NotADirectory => FsError::NotDirectory,
        ErrorKind::IsADirectory => FsError::IsDirectory,
        ErrorKind::DirectoryNotEmpty => FsError::NotEmpty,
        ErrorKind::NoSpace => FsError::NoSpace,
        ErrorKind::InvalidInput | ErrorKind::NameTooLong => FsError::BadName,
        ErrorKind::FileTooLarge => FsError::TooBig,
        ErrorKind::Busy => FsError::Busy,
        _ => FsError::Damaged,
    }
}
