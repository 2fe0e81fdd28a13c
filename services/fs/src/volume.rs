//! The volume: the library for names and allocation, and a direct way to the bytes of files.

use alloc::vec;
use hadris_fat::Detail;
use hadris_fat::sync::{FatFs, check};
use hadris_fat_raw::{Geometry, ShortEntry, Slot, short_name};
use hadris_fs::{
    CodePage, Cp437, DirCursor, Error, ErrorKind, Extent, MountOptions, Name, NodeId, RenameMode, SetAttr,
};

use crate::chain::{Place, Table};
use crate::disk::{Disk, Each};
use crate::listing::{END, Entry};
use crate::reserve;
use crate::words::{Attributes, Stat, Usage};
use crate::{FsError, MAX_TRANSFER};

/// The most clusters that are checked: as many as the check's notes have room for in one walk.
const CHECKED: u32 = 8 * SCRATCH as u32 - 1;
/// Bytes of notes of a check: a bit for each cluster.
const SCRATCH: usize = 16 * 1024;

/// What the check of a volume found; decides whether it is ever written. The check is done once, at boot: requests
/// keep a sound volume sound. After a failure of the service the sessions know the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its structures are sound.
    Sound,
    /// They are not: it can be read where that is safe, and is never written.
    Damaged,
}

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
    /// The first cluster, 0 for a file without bytes.
    pub(crate) fn first_cluster(&self) -> u32 {
        self.first
    }

    /// What the volume says of it.
    pub fn stat(&self) -> Stat {
        stat(&self.entry)
    }
}

/// A mounted volume.
pub struct Volume {
    disk: Disk,
    fat: FatFs<Disk>,
    table: Table,
    geometry: Geometry,
    verdict: Verdict,
    /// Free clusters, while they are known.
    free: Option<u32>,
    /// The cluster behind the one that was given out last, from where the library looks for the next. Not known
    /// from the mount to the first that is given out; a directory that grows moves it unseen.
    next: Option<u32>,
}

impl Volume {
    /// Mounts the volume that starts at the disk's first byte. Without a verdict, which is at boot, what a power cut left
    /// half written is written first, then the structures are checked, which takes a walk over all of it, and a journal is
    /// made if there is none.
    ///
    /// # Errors
    /// [`FsError::NoVolume`] if there is no FAT volume, [`FsError::Damaged`] if its boot sector does not fit itself
    /// or the disk. [`FsError::Io`].
    pub fn mount(disk: &Disk, verdict: Option<Verdict>) -> Result<Self, FsError> {
        let mut volume = Volume::open(disk, false, verdict.unwrap_or(Verdict::Damaged))?;
        if verdict.is_none() {
            let journal = reserve::find(&mut volume)?;
            if let Some(journal) = journal {
                disk.set_journal(Some(journal.clone()));
                if reserve::replay(disk, journal)? {
                    volume = Volume::open(disk, false, Verdict::Damaged)?;
                }
            }
            volume.verdict = examine(disk, &volume.geometry);
        }
        if volume.verdict == Verdict::Damaged {
            return Volume::open(disk, true, Verdict::Damaged);
        }
        disk.keep_marks(&volume.geometry);
        if verdict.is_none() && disk.can_write() && !disk.has_journal() {
            reserve::make(&mut volume)?;
        }
        Ok(volume)
    }

    /// Opens the volume as it is.
    #[inline(never)]
    fn open(disk: &Disk, read_only: bool, verdict: Verdict) -> Result<Self, FsError> {
        let mut fat = open_library(disk, read_only)?;
        let geometry = *fat.info();
        if disk.align(geometry.data_start()) {
            fat = open_library(disk, read_only)?;
        }
        Ok(Volume { disk: disk.clone(), fat, table: Table::new(geometry), geometry, verdict, free: None, next: None })
    }

    /// Opens it anew: it was changed by other means than the library.
    #[inline(never)]
    pub(crate) fn reopen(&mut self) -> Result<(), FsError> {
        self.fat = open_library(&self.disk, false)?;
        (self.free, self.next) = (None, None);
        Ok(())
    }

    /// The disk, the table and the geometry.
    pub(crate) fn parts(&self) -> (&Disk, &Table, &Geometry) {
        (&self.disk, &self.table, &self.geometry)
    }

    /// What the check found.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The root directory.
    pub fn root(&self) -> NodeId {
        self.fat.root()
    }

    /// Whether the volume is what it should be.
    ///
    /// # Errors
    /// [`FsError::Damaged`] if not.
    pub fn sound(&self) -> Result<(), FsError> {
        if self.verdict == Verdict::Sound { Ok(()) } else { Err(FsError::Damaged) }
    }

    /// Whether the volume may be written.
    ///
    /// # Errors
    /// [`FsError::Damaged`] or [`FsError::ReadOnlyDisk`] if not; [`FsError::Io`] if nothing can be written back any more.
    pub fn writable(&self) -> Result<(), FsError> {
        match self.verdict {
            Verdict::Damaged => Err(FsError::Damaged),
            Verdict::Sound if !self.disk.can_write() => Err(FsError::ReadOnlyDisk),
            Verdict::Sound if !self.disk.has_room() => Err(FsError::Io),
            Verdict::Sound => Ok(()),
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

    /// Whether a name in a directory is the journal's, which nobody may have.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn is_journal(&mut self, directory: NodeId, name: &str, node: NodeId) -> Result<bool, FsError> {
        Ok(directory == self.fat.root() && reserve::is_journal(true, name, &self.stat(node)?))
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
    pub fn entry_of(&mut self, node: NodeId) -> Result<u64, FsError> {
        let mut extents = [Extent::new(0, 0)];
        match self.fat.records(node, &mut extents).map_err(other)? {
            0 => Err(FsError::Invalid),
            _ => Ok(extents[0].offset()),
        }
    }

    /// The file whose directory entry lies there.
    ///
    /// # Errors
    /// [`FsError::IsDirectory`]; [`FsError::Damaged`] if there is no entry.
    pub fn file(&self, entry: u64) -> Result<File, FsError> {
        let entry = self.entry(entry)?;
        if entry.is_dir() {
            return Err(FsError::IsDirectory);
        }
        Ok(File { first: entry.first_cluster(self.geometry.kind()), size: entry.size(), entry })
    }

    /// The directory entry that lies there.
    fn entry(&self, at: u64) -> Result<ShortEntry, FsError> {
        let mut raw = [0; 32];
        self.disk.read_at(at, &mut raw)?;
        match Slot::parse(&raw) {
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

    /// Gives the entries of a directory from `cursor` on to `take`, until that returns `false`: it does not want this
    /// one. Returns the cursor of that one, or [`END`].
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotDirectory`], [`FsError::Damaged`]; what `take` returns.
    pub fn list(
        &mut self,
        names: &[&str],
        cursor: u32,
        take: &mut dyn FnMut(Entry<'_>) -> Result<bool, FsError>,
    ) -> Result<u32, FsError> {
        let Some((name, path)) = names.split_last() else {
            return self.entries(self.fat.root(), cursor, take);
        };
        let parent = self.find(path)?;
        // While the library holds the directory, it keeps its place there from one entry to the next.
        let directory = self.fat.lookup(parent, Name::new(name)).map_err(not_found)?;
        let end = self.entries(directory, cursor, take);
        self.fat.forget(directory, 1);
        end
    }

    /// The same for a node.
    fn entries(
        &mut self,
        directory: NodeId,
        mut cursor: u32,
        take: &mut dyn FnMut(Entry<'_>) -> Result<bool, FsError>,
    ) -> Result<u32, FsError> {
        if cursor == END {
            return Ok(END);
        }
        while let Some(found) = self.fat.readdir(directory, DirCursor::from_raw(cursor.into())).map_err(other)? {
            let name = found.name().to_str().map_err(|_| FsError::Damaged)?;
            let stat = self.stat(found.node())?;
            if reserve::is_journal(directory == self.fat.root(), name, &stat) {
                cursor = u32::try_from(found.next_cursor().into_raw()).map_err(|_| FsError::Damaged)?;
                continue;
            }
            if !take(Entry { name, stat })? {
                return Ok(cursor);
            }
            cursor = u32::try_from(found.next_cursor().into_raw()).map_err(|_| FsError::Damaged)?;
        }
        Ok(END)
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

    /// Gives the file whose directory entry lies at `entry` so many bytes; new ones are zero. `place` is as for
    /// [`pieces`](Self::pieces).
    ///
    /// # Errors
    /// [`FsError::TooBig`] if that are more than [`MAX_TRANSFER`]; [`FsError::NoSpace`], [`FsError::Damaged`].
    pub fn resize(&mut self, node: NodeId, entry: u64, place: &mut Place, len: u32) -> Result<(), FsError> {
        let size = self.file(entry)?.size;
        if len <= size {
            *place = Place::default();
            return self.change(|fat| fat.truncate(node, len.into()));
        }
        if len - size > MAX_TRANSFER as u32 {
            return Err(FsError::TooBig);
        }
        self.grow(node, entry, *place, size, len)
    }

    /// Makes a file grow.
    ///
    /// Given several clusters to find, the library looks through the table twice, and the second time takes thousands
    /// of instructions for each cluster that is not free. So it is given several only where they lie close
    /// together; elsewhere it is given one at a time, which it finds soon enough on a full volume too.
    fn grow(&mut self, node: NodeId, entry: u64, place: Place, size: u32, len: u32) -> Result<(), FsError> {
        let cluster_size = self.geometry.cluster_size();
        let (has, needs) = (size.div_ceil(cluster_size), len.div_ceil(cluster_size));
        if needs > has + 1 && !self.is_room_ahead(needs - has)? {
            // Known before the first is taken, so that none has to be given back.
            if self.table.free(&self.disk, self.table.clusters(), needs - has)? < needs - has {
                return Err(FsError::NoSpace);
            }
            for count in has + 1..needs {
                self.change(|fat| fat.truncate(node, u64::from(count) * u64::from(cluster_size)))?;
                self.given_out(entry, place, count)?;
                if self.is_room_ahead(needs - count)? {
                    break;
                }
            }
        }
        self.change(|fat| fat.truncate(node, len.into()))?;
        if needs > has { self.given_out(entry, place, needs) } else { Ok(()) }
    }

    /// Whether so many free clusters lie close together where the library will look for them.
    fn is_room_ahead(&self, count: u32) -> Result<bool, FsError> {
        let Some(next) = self.next else { return Ok(false) };
        let end = self.table.clusters().end.min(next + 2 * count + 16);
        Ok(self.table.free(&self.disk, next..end, count)? == count)
    }

    /// Notes which cluster was given out last: the last of `count` that the file has.
    fn given_out(&mut self, entry: u64, mut place: Place, count: u32) -> Result<(), FsError> {
        let file = self.file(entry)?;
        self.next = Some(self.table.walk(&self.disk, file.first, &mut place, count - 1)? + 1);
        Ok(())
    }

    /// Runs a change and puts all of it on the disk: nothing of it may wait in private memory when the request ends.
    fn change<T>(&mut self, change: impl FnOnce(&mut FatFs<Disk>) -> Result<T, Error<FsError>>) -> Result<T, FsError> {
        self.writable()?;
        self.free = None;
        let changed = change(&mut self.fat).map_err(other);
        let synced = self.fat.sync().map_err(other);
        let value = changed?;
        synced.map(|()| value)
    }

    /// Gives the bytes of a file from `position` on, in pieces as long as memory has them in a row, to `each` together with
    /// the offset from `position`; to be changed if `write`. `place` is where in its chain the file was last; it is moved
    /// along.
    ///
    /// # Errors
    /// [`FsError::Damaged`] if the chain ends before the range does; [`FsError::Io`]; what `each` returns.
    pub fn pieces(
        &self,
        file: &File,
        place: &mut Place,
        position: u32,
        len: usize,
        write: bool,
        each: &mut Each<'_>,
    ) -> Result<(), FsError> {
        let cluster_size = self.geometry.cluster_size() as usize;
        let mut done = 0;
        while done < len {
            let at = position as usize + done;
            let within = at & (cluster_size - 1);
            let first = self.table.walk(&self.disk, file.first, place, (at >> self.geometry.cluster_shift()) as u32)?;
            let mut piece = (cluster_size - within).min(len - done);
            while done + piece < len {
                let cluster = self.table.walk(&self.disk, file.first, place, place.index + 1)?;
                if cluster != first + ((within + piece) >> self.geometry.cluster_shift()) as u32 {
                    break;
                }
                piece = (piece + cluster_size).min(len - done);
            }
            let start = self.geometry.cluster_offset(first).ok_or(FsError::Damaged)? + within as u64;
            self.disk.each(start, piece, write, &mut |offset, bytes| each(done + offset, bytes))?;
            done += piece;
        }
        Ok(())
    }

    /// Room on the volume.
    ///
    /// # Errors
    /// [`FsError::Damaged`].
    pub fn usage(&mut self) -> Result<Usage, FsError> {
        let free = match self.free {
            Some(free) => free,
            None => self.table.free(&self.disk, self.table.clusters(), u32::MAX)?,
        };
        self.free = Some(free);
        Ok(Usage {
            cluster_size: self.geometry.cluster_size(),
            clusters: self.table.clusters().len() as u32,
            free,
            kind: self.geometry.kind().entry_bits() as u32,
        })
    }
}

/// Mounts it for the library.
#[inline(never)] // the library's value is large: its copies do not share a frame
fn open_library(disk: &Disk, read_only: bool) -> Result<FatFs<Disk>, FsError> {
    let options = MountOptions::new();
    let options = if read_only || !disk.can_write() { options.read_only() } else { options };
    FatFs::mount(disk.clone(), options).map_err(|error| {
        let error = error.into_error();
        match error.kind() {
            _ if error.device_error().is_some() => FsError::Io,
            ErrorKind::NotRecognized => FsError::NoVolume,
            _ => FsError::Damaged,
        }
    })
}

/// What an entry says.
fn stat(entry: &ShortEntry) -> Stat {
    let (date, time) = entry.modified();
    let size = if entry.is_dir() { 0 } else { entry.size() };
    let attributes = Attributes::from_bits_truncate(entry.attributes().into());
    Stat { size, attributes, modified: u32::from(date) << 16 | u32::from(time) }
}

/// Walks all structures of the volume. One of more clusters than a request has time for is believed to be what its mark
/// "in use" says.
#[inline(never)]
fn examine(disk: &Disk, geometry: &Geometry) -> Verdict {
    if geometry.max_cluster() > CHECKED {
        let kind = geometry.kind();
        let mut bytes = [0; 4];
        let read = disk.read_at(geometry.fat_copy(geometry.active_fat()) + kind.entry_offset(1), &mut bytes);
        let clean = read.is_ok() && kind.decode(1, &bytes) & kind.clean_bit() != 0;
        return if clean { Verdict::Sound } else { Verdict::Damaged };
    }
    // The first 1024 bytes hold the path of a finding, the rest a bit for each cluster (at least 512 bytes).
    let bitmap = (geometry.max_cluster() as usize / 8 + 1).clamp(512, SCRATCH);
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
fn not_found(error: Error<FsError>) -> FsError {
    match error.kind() {
        // A name that no entry can have names nothing.
        ErrorKind::InvalidInput | ErrorKind::NameTooLong => FsError::NotFound,
        _ => other(error),
    }
}

/// The library's error.
fn other(error: Error<FsError>) -> FsError {
    if let Some(error) = error.device_error() {
        return *error;
    }
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
