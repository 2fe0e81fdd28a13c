//! The service: requests of clients, and what is rebuilt after a failure.
//!
//! Invariant: when a request ends, the volume is in the common region and the open files are in the sessions'
//! regions, whole. What [`Server`] has in its own memory follows from those two: the mounted volume from the disk,
//! the table of open files from one session after another (`reload`).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use hadris_fs::NodeId;
use rt::abi::call::Cause;
use rt::{Construct, Error, Events, LentRead, LentWrite, Next, Service, Session, sys};

use crate::below::{Below, Blocks};
use crate::cache::Cache;
use crate::chain::Place;
use crate::disk::Disk;
use crate::interface::Fs;
use crate::listing::{HEADER, MAX_NAME};
use crate::open_files::{OpenFile, OpenFiles};
use crate::path::names;
use crate::volume::{Verdict, Volume};
use crate::words::{OpenFlags, Stat, Usage, Whence};
use crate::{FsError, MAX_OPEN, MAX_PATH, MAX_TRANSFER};

/// How long changes may wait in the cache, in microseconds.
const DELAY: u64 = 1_000_000;

/// What is derived for an open file.
#[derive(Clone, Copy)]
struct Opened {
    node: NodeId,
    /// Where its directory entry lies. It stays there: an open file is neither renamed nor removed.
    entry: u64,
    /// Where in its chain it was last.
    place: Place,
    /// Whether the library keeps its own place in the chain, for appending.
    pinned: bool,
}

/// The open files of a session. `None` where the session has a file: it is lost.
type Table = Box<[Option<Opened>; MAX_OPEN]>;

/// The service.
pub struct Server {
    disk: Disk,
    /// `None` until the first session, or else the first request, after a failure.
    volume: Option<Result<Volume, FsError>>,
    sessions: BTreeMap<u32, Table>,
    /// Whether a time is set at which what is dirty is written back.
    alarm: bool,
}

impl Server {
    /// The service over a RAM disk in this region. At boot the volume is checked.
    pub fn over(region: &'static mut [u8], cause: Cause) -> Self {
        Server::of(Disk::new(region), cause)
    }

    /// The service over a disk with a cache in this region.
    pub fn on(below: Box<dyn Below>, region: &'static mut [u8], cause: Cause) -> Self {
        Server::of(Disk::cached(region, below), cause)
    }

    fn of(disk: Disk, cause: Cause) -> Self {
        let volume = match cause {
            Cause::Boot => Some(Volume::mount(&disk, None)),
            Cause::Recovery => None,
        };
        let mut server = Server { disk, volume, sessions: BTreeMap::new(), alarm: false };
        server.set_alarm();
        server
    }

    /// The memory of the disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Gives the region back; what the service had in its own memory is gone, as in a crash.
    pub fn into_region(self) -> Option<&'static mut [u8]> {
        let Server { disk, volume, sessions, .. } = self;
        drop((volume, sessions));
        disk.into_bytes()
    }

    /// Whether anybody has the file open.
    fn is_open(&self, node: NodeId) -> bool {
        self.sessions.values().flat_map(|table| table.iter().flatten()).any(|opened| opened.node == node)
    }

    /// Forgets where in its chain the file was: its chain has become shorter.
    fn forget_places(&mut self, node: NodeId) {
        for opened in self.sessions.values_mut().flat_map(|table| table.iter_mut().flatten()) {
            if opened.node == node {
                opened.place = Place::default();
            }
        }
    }

    /// What an open file needs: the volume, the place in the session and the one in the table.
    fn file<'a>(
        &'a mut self,
        session: &'a mut Session<OpenFiles>,
        fd: u32,
    ) -> Result<(&'a mut Volume, &'a mut OpenFile, &'a mut Opened), FsError> {
        let number = session.number();
        let file = session.get_mut(fd).ok_or(FsError::BadFd)?;
        let volume = mounted(&mut self.volume, &self.disk)?;
        let opened = self.sessions.get_mut(&number).and_then(|table| table.get_mut(fd as usize)?.as_mut());
        let opened = opened.filter(|opened| opened.node.get() == file.node).ok_or(FsError::Lost)?;
        Ok((volume, file, opened))
    }

    /// A request has changed something: it is written back now, if it is much, or within a second.
    fn changed(&mut self, session: &mut Session<OpenFiles>) {
        let (dirty, much) = self.disk.is_dirty();
        if much {
            session.request_flush();
        } else if dirty && !self.alarm {
            self.set_alarm();
        }
    }

    /// Sets the time at which what is dirty is written back, if anything is.
    fn set_alarm(&mut self) {
        if self.disk.is_dirty().0 {
            // On the host, where there is no kernel, it is refused.
            self.alarm = sys::time_us().and_then(|now| sys::deadline(Some(now + DELAY))).is_ok();
        }
    }

    /// The mounted volume.
    fn volume(&mut self) -> Result<&mut Volume, FsError> {
        mounted(&mut self.volume, &self.disk)
    }

    /// Gives a file another size, for the benefit of `fd`.
    fn resize(&mut self, session: &mut Session<OpenFiles>, fd: u32, len: u32) -> Result<(), FsError> {
        let (volume, file, opened) = self.file(session, fd)?;
        let found = volume.file(opened.entry)?;
        if found.size == len {
            return volume.writable();
        }
        if !opened.pinned && len > found.size {
            opened.pinned = NodeId::new(file.parent).is_some_and(|parent| volume.pin(opened.node, parent, &found));
        }
        let node = opened.node;
        volume.resize(node, opened.entry, &mut opened.place, len)?;
        if len < found.size {
            self.forget_places(node);
        }
        Ok(())
    }

    /// Opens the file of these names.
    fn open_names(
        &mut self,
        session: &mut Session<OpenFiles>,
        flags: OpenFlags,
        names: &[&str],
    ) -> Result<u32, FsError> {
        let fd = session.free().ok_or(FsError::TooManyOpen)?;
        let (name, path) = names.split_last().ok_or(FsError::IsDirectory)?;
        let volume = self.volume()?;
        let parent = volume.find(path)?;
        let (node, created) = match volume.child(parent, name) {
            Ok(_) if flags.contains(OpenFlags::EXCLUSIVE) => return Err(FsError::Exists),
            Ok(node) => (node, false),
            Err(FsError::NotFound) if flags.contains(OpenFlags::CREATE) => (volume.create(parent, name)?, true),
            Err(error) => return Err(error),
        };
        let entry = volume.entry_of(node)?;
        let file = volume.file(entry)?;
        if flags.contains(OpenFlags::WRITE) && !created {
            volume.writable()?;
            if file.stat().attributes.contains(crate::Attributes::READ_ONLY) {
                return Err(FsError::ReadOnly);
            }
        }
        if flags.contains(OpenFlags::TRUNCATE) && file.size > 0 {
            volume.resize(node, entry, &mut Place::default(), 0)?;
            self.forget_places(node);
        }
        let table = self.sessions.entry(session.number()).or_default();
        table[fd as usize] = Some(Opened { node, entry, place: Place::default(), pinned: false });
        session.set(fd, Some(OpenFile::new(node.get(), parent.get(), flags)));
        Ok(fd)
    }

    /// Where the last of these names is or would be, and the node if it is there.
    fn target<'n>(&mut self, names: &[&'n str]) -> Result<(NodeId, &'n str, Option<NodeId>), FsError> {
        let (name, path) = names.split_last().ok_or(FsError::Invalid)?;
        let volume = self.volume()?;
        let parent = volume.find(path)?;
        match volume.child(parent, name) {
            Ok(node) => Ok((parent, name, Some(node))),
            Err(FsError::NotFound) => Ok((parent, name, None)),
            Err(error) => Err(error),
        }
    }

    /// Ends what the table holds of a file.
    fn drop_file(&mut self, session: u32, fd: u32) {
        let opened = self.sessions.get_mut(&session).and_then(|table| table.get_mut(fd as usize)?.take());
        if let (Some(opened), Some(Ok(volume))) = (opened, &mut self.volume)
            && opened.pinned
        {
            volume.unpin(opened.node);
        }
    }
}

/// The mounted volume. One that nobody knows the verdict of is checked first.
fn mounted<'v>(volume: &'v mut Option<Result<Volume, FsError>>, disk: &Disk) -> Result<&'v mut Volume, FsError> {
    volume.get_or_insert_with(|| Volume::mount(disk, None)).as_mut().map_err(|error| *error)
}

/// Derives what the table holds of a file; `None` if there is no such file any more.
fn opened(volume: &mut Volume, node: NodeId) -> Option<Opened> {
    let entry = volume.entry_of(node).ok()?;
    volume.file(entry).ok()?;
    Some(Opened { node, entry, place: Place::default(), pinned: false })
}

/// Copies a path from the client.
fn read_path<'b>(lent: &LentRead<'_>, buffer: &'b mut [u8; MAX_PATH]) -> Result<&'b [u8], FsError> {
    let path = buffer.get_mut(..lent.len()).ok_or(FsError::BadName)?;
    lent.copy(0, path).map_err(|_| FsError::BadBuffer)?;
    Ok(path)
}

impl Service for Server {
    type State = OpenFiles;

    fn new(construct: &mut Construct) -> Self {
        let (region, cause) = (construct.take_common(), construct.cause());
        match Blocks::find() {
            Some(blocks) => Server::on(Box::new(blocks), region, cause),
            // The disk is gone, and the cache is none without it.
            None if Cache::is_in(region) => {
                let mut server = Server::over(&mut [], cause);
                server.volume = Some(Err(FsError::Io));
                server
            }
            None => Server::over(region, cause),
        }
    }

    /// Writes back what committed requests have changed.
    fn flush(&mut self, _: &mut Session<OpenFiles>) -> Result<(), Error> {
        self.disk.begin();
        // What could not be written is kept, and `sync` tells.
        let _ = self.disk.write_back();
        Ok(())
    }

    /// It is time to do so.
    fn event(&mut self, _: Events) -> Next {
        self.disk.begin();
        self.alarm = false;
        if self.disk.write_back().is_err() {
            self.set_alarm();
        }
        Next::Done
    }

    fn open(&mut self, session: &mut Session<OpenFiles>) -> Result<(), Error> {
        self.disk.begin();
        session.set_verdict(self.volume().map_or(Verdict::Damaged, |volume| volume.verdict()));
        self.sessions.insert(session.number(), Table::default());
        Ok(())
    }

    fn reload(&mut self, session: &mut Session<OpenFiles>) -> Result<(), Error> {
        // A session that is known already was undone under a service that did not fail, and the disk with it: all that
        // was derived from the disk may be out of date, for the other sessions too.
        self.disk.begin();
        if self.sessions.contains_key(&session.number()) {
            self.volume = None;
            self.disk.derive();
        }
        if self.volume.is_none() {
            let mut volume = Volume::mount(&self.disk, Some(session.verdict()));
            for opened in self.sessions.values_mut().flat_map(|table| table.iter_mut()) {
                let node = opened.map(|opened| opened.node);
                *opened = node.and_then(|node| self::opened(volume.as_mut().ok()?, node));
            }
            self.volume = Some(volume);
        }
        let mut table = Table::default();
        if let Ok(volume) = self.volume() {
            for (fd, file) in session.iter() {
                table[fd as usize] = NodeId::new(file.node).and_then(|node| opened(volume, node));
            }
        }
        self.sessions.insert(session.number(), table);
        Ok(())
    }

    fn close(&mut self, session: &mut Session<OpenFiles>) {
        for fd in 0..MAX_OPEN as u32 {
            self.drop_file(session.number(), fd);
        }
        self.sessions.remove(&session.number());
    }
}

impl Fs for Server {
    fn open(&mut self, session: &mut Session<OpenFiles>, flags: OpenFlags, path: LentRead<'_>) -> Result<u32, FsError> {
        self.disk.begin();
        let changes = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::APPEND;
        let sense = flags.intersects(OpenFlags::READ | OpenFlags::WRITE)
            && (flags.contains(OpenFlags::WRITE) || !flags.intersects(changes))
            && (flags.contains(OpenFlags::CREATE) || !flags.contains(OpenFlags::EXCLUSIVE));
        if !sense {
            return Err(FsError::Invalid);
        }
        let mut buffer = [0; MAX_PATH];
        let names = names(read_path(&path, &mut buffer)?)?;
        let fd = self.open_names(session, flags, &names)?;
        self.changed(session);
        Ok(fd)
    }

    fn create(&mut self, session: &mut Session<OpenFiles>, path: LentRead<'_>) -> Result<u32, FsError> {
        let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        Fs::open(self, session, flags, path)
    }

    fn read(&mut self, session: &mut Session<OpenFiles>, fd: u32, mut to: LentWrite<'_>) -> Result<u32, FsError> {
        self.disk.begin();
        let (volume, file, opened) = self.file(session, fd)?;
        if !file.mode().contains(OpenFlags::READ) {
            return Err(FsError::WriteOnly);
        }
        let found = volume.file(opened.entry)?;
        let rest = found.size.saturating_sub(file.position) as usize;
        let len = to.len().min(MAX_TRANSFER).min(rest);
        volume.pieces(&found, &mut opened.place, file.position, len, false, &mut |offset, bytes| {
            to.copy(offset, bytes).map_err(|_| FsError::BadBuffer)
        })?;
        file.move_to(file.position + len as u32);
        Ok(len as u32)
    }

    fn write(&mut self, session: &mut Session<OpenFiles>, fd: u32, from: LentRead<'_>) -> Result<u32, FsError> {
        self.disk.begin();
        let (volume, file, opened) = self.file(session, fd)?;
        if !file.mode().contains(OpenFlags::WRITE) {
            return Err(FsError::ReadOnly);
        }
        volume.writable()?;
        let size = volume.file(opened.entry)?.size;
        let position = if file.mode().contains(OpenFlags::APPEND) { size } else { file.position };
        let gap = position.saturating_sub(size) as usize;
        if from.is_empty() {
            return Ok(0);
        }
        let len = from.len().min(MAX_TRANSFER.saturating_sub(gap)) as u32;
        let end = position.checked_add(len).filter(|_| len > 0).ok_or(FsError::TooBig)?;
        if end > size {
            self.resize(session, fd, end)?;
        }
        let (volume, file, opened) = self.file(session, fd)?;
        let found = volume.file(opened.entry)?;
        let copied = volume.pieces(&found, &mut opened.place, position, len as usize, true, &mut |offset, bytes| {
            from.copy(offset, bytes).map_err(|_| FsError::BadBuffer)
        });
        match copied {
            Ok(()) => {
                file.move_to(end);
                self.changed(session);
                Ok(len)
            }
            Err(error) if end > size => {
                self.resize(session, fd, size)?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    fn seek(&mut self, session: &mut Session<OpenFiles>, fd: u32, whence: Whence, offset: i32) -> Result<u32, FsError> {
        self.disk.begin();
        let (volume, file, opened) = self.file(session, fd)?;
        let base = match whence {
            Whence::Start => 0,
            Whence::Current => file.position,
            Whence::End => volume.file(opened.entry)?.size,
        };
        let position = base.checked_add_signed(offset).ok_or(FsError::Invalid)?;
        file.move_to(position);
        Ok(position)
    }

    fn close(&mut self, session: &mut Session<OpenFiles>, fd: u32) -> Result<(), FsError> {
        self.disk.begin();
        session.get(fd).ok_or(FsError::BadFd)?;
        session.set(fd, None);
        self.drop_file(session.number(), fd);
        Ok(())
    }

    fn remove(&mut self, session: &mut Session<OpenFiles>, path: LentRead<'_>) -> Result<(), FsError> {
        self.disk.begin();
        let mut buffer = [0; MAX_PATH];
        let names = names(read_path(&path, &mut buffer)?)?;
        let (parent, name, node) = self.target(&names)?;
        let node = node.ok_or(FsError::NotFound)?;
        if self.is_open(node) || self.volume()?.is_journal(parent, name, node)? {
            return Err(FsError::Busy);
        }
        self.volume()?.remove(parent, name)?;
        self.changed(session);
        Ok(())
    }

    fn rename(&mut self, session: &mut Session<OpenFiles>, split: u32, paths: LentRead<'_>) -> Result<(), FsError> {
        self.disk.begin();
        let mut buffer = [0; MAX_PATH];
        let (from, to) = read_path(&paths, &mut buffer)?.split_at_checked(split as usize).ok_or(FsError::Invalid)?;
        let (from, to) = (names(from)?, names(to)?);
        let (from_parent, from_name, source) = self.target(&from)?;
        let source = source.ok_or(FsError::NotFound)?;
        let mut ancestor = self.volume()?.root();
        for name in to.split_last().ok_or(FsError::Invalid)?.1 {
            ancestor = self.volume()?.child(ancestor, name)?;
            if ancestor == source {
                return Err(if self.volume()?.is_dir(source)? { FsError::Invalid } else { FsError::NotDirectory });
            }
        }
        let (to_parent, to_name, target) = self.target(&to)?;
        if self.is_open(source) || target.is_some_and(|target| self.is_open(target)) {
            return Err(FsError::Busy);
        }
        let volume = self.volume()?;
        let taken = target.map_or(Ok(false), |target| volume.is_journal(to_parent, to_name, target))?;
        if taken || volume.is_journal(from_parent, from_name, source)? {
            return Err(FsError::Busy);
        }
        volume.rename((from_parent, from_name), (to_parent, to_name))?;
        self.changed(session);
        Ok(())
    }

    fn list(
        &mut self,
        _: &mut Session<OpenFiles>,
        cursor: u32,
        path: LentRead<'_>,
        mut to: LentWrite<'_>,
    ) -> Result<(u32, u32), FsError> {
        self.disk.begin();
        let mut buffer = [0; MAX_PATH];
        let names = names(read_path(&path, &mut buffer)?)?;
        let volume = self.volume()?;
        let mut written = 0;
        let mut encoded = [0; HEADER + MAX_NAME.next_multiple_of(4)];
        let cursor = volume.list(&names, cursor, &mut |entry| {
            let len = entry.encode(&mut encoded).ok_or(FsError::Damaged)?;
            if written + len > to.len().min(MAX_TRANSFER) {
                return if written == 0 { Err(FsError::BadBuffer) } else { Ok(false) };
            }
            to.copy(written, &encoded[..len]).map_err(|_| FsError::BadBuffer)?;
            written += len;
            Ok(true)
        })?;
        Ok((written as u32, cursor))
    }

    fn stat(&mut self, _: &mut Session<OpenFiles>, path: LentRead<'_>) -> Result<Stat, FsError> {
        self.disk.begin();
        let mut buffer = [0; MAX_PATH];
        let names = names(read_path(&path, &mut buffer)?)?;
        let volume = self.volume()?;
        let node = volume.find(&names)?;
        volume.stat(node)
    }

    fn fstat(&mut self, session: &mut Session<OpenFiles>, fd: u32) -> Result<Stat, FsError> {
        self.disk.begin();
        let (volume, _, opened) = self.file(session, fd)?;
        Ok(volume.file(opened.entry)?.stat())
    }

    fn mkdir(&mut self, session: &mut Session<OpenFiles>, path: LentRead<'_>) -> Result<(), FsError> {
        self.disk.begin();
        let mut buffer = [0; MAX_PATH];
        let names = names(read_path(&path, &mut buffer)?)?;
        let (name, path) = names.split_last().ok_or(FsError::Exists)?;
        let volume = self.volume()?;
        let parent = volume.find(path)?;
        volume.mkdir(parent, name)?;
        self.changed(session);
        Ok(())
    }

    fn truncate(&mut self, session: &mut Session<OpenFiles>, fd: u32, len: u32) -> Result<(), FsError> {
        self.disk.begin();
        let (_, file, _) = self.file(session, fd)?;
        if !file.mode().contains(OpenFlags::WRITE) {
            return Err(FsError::ReadOnly);
        }
        self.resize(session, fd, len)?;
        self.changed(session);
        Ok(())
    }

    fn sync(&mut self, _: &mut Session<OpenFiles>) -> Result<(), FsError> {
        self.disk.begin();
        self.volume()?.sound()?;
        self.disk.write_back()
    }

    fn usage(&mut self, _: &mut Session<OpenFiles>) -> Result<Usage, FsError> {
        self.disk.begin();
        self.volume()?.usage()
    }
}
