//! A service on the host: sessions, requests, crashes, and a look at the volume from outside.

#![allow(dead_code)] // each test uses its part of this

use std::path::PathBuf;
use std::process::Command;

use fs::disk::Disk;
use fs::open_files::OpenFiles;
use fs::server::Server;
use fs::volume::Volume;
use fs::{Attributes, Entries, Fs, FsError, OpenFlags, Stat, Usage, Whence, listing};
use hadris_fat::{FatKind, FatOptions};
use hadris_storage::{BlockSize, MemDevice};
use rt::{Cause, LentRead, LentWrite, Service, Session};

/// Random numbers that are the same in each run (xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % limit as u64) as usize
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        bytes.fill_with(|| self.below(256) as u8);
        bytes
    }
}

/// A formatted volume.
pub fn volume(kind: FatKind, kib: usize, cluster: u32) -> Vec<u8> {
    let mut options = FatOptions::new().with_kind(kind);
    if cluster != 0 {
        options = options.with_cluster_size(cluster);
    }
    let mut bytes = vec![0; kib * 1024];
    let mut device = MemDevice::new(&mut bytes[..], BlockSize::new(512).unwrap());
    hadris_fat::sync::format(&mut device, &options).expect("the options are good");
    bytes
}

/// The structures of the volume as the library's own checker sees them: what it finds.
pub fn findings(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut scratch = vec![0; 1024 + 16 * 1024];
    let mut device = MemDevice::new(bytes, BlockSize::new(512).unwrap());
    hadris_fat::sync::check(&mut device, &mut scratch, |finding| found.push(finding.to_string()))
        .expect("a volume that mounts can be checked");
    found
}

/// What `fsck.vfat -n` has to say against the volume; nothing if it is clean, or if dosfstools are not installed.
pub fn fsck(bytes: &[u8]) -> Option<String> {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "fsck-{}-{:?}.img",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::write(&file, bytes).expect("the target folder can be written");
    let program = ["/usr/sbin/fsck.vfat", "/sbin/fsck.vfat", "fsck.vfat"].into_iter();
    let output = program.map(|program| Command::new(program).arg("-n").arg(&file).output()).find_map(Result::ok);
    std::fs::remove_file(&file).expect("it was just written");
    match output {
        None => {
            eprintln!("fsck.vfat (package dosfstools) is not installed: checked by the library alone");
            None
        }
        Some(output) if output.status.success() => None,
        Some(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
    }
}

/// A service with its clients.
pub struct Bed {
    pub server: Option<Server>,
    pub sessions: Vec<Session<OpenFiles>>,
}

impl Bed {
    /// Boots a service on this disk, with so many sessions.
    pub fn boot(disk: Vec<u8>, sessions: u32) -> Self {
        let server = Server::over(Box::leak(disk.into_boxed_slice()), Cause::Boot);
        let mut bed = Bed { server: Some(server), sessions: Vec::new() };
        for number in 0..sessions {
            let mut session = Session::for_test(number * 3 + 1);
            Service::open(bed.server(), &mut session).expect("opens");
            bed.sessions.push(session);
        }
        bed
    }

    pub fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("put back after each crash")
    }

    /// The service fails between two requests: region and sessions stay, the rest is gone.
    pub fn crash(&mut self) {
        self.restore(None);
    }

    /// The service fails within a request: region and sessions are put back to what they were.
    pub fn restore(&mut self, before: Option<(Vec<u8>, Vec<OpenFiles>)>) {
        let region = self.server.take().and_then(Server::into_region).expect("nobody else has it");
        if let Some((bytes, files)) = before {
            region.copy_from_slice(&bytes);
            for (session, files) in self.sessions.iter_mut().zip(files) {
                **session = files;
            }
        }
        let mut server = Server::over(region, Cause::Recovery);
        for session in &mut self.sessions {
            assert!(session.is_intact());
            server.reload(session).expect("reloads");
        }
        self.server = Some(server);
    }

    /// What the kernel keeps to undo a request.
    pub fn state(&mut self) -> (Vec<u8>, Vec<OpenFiles>) {
        // The region is borrowed for a moment: the service of the moment ends, another takes over, unchanged.
        let region = self.server.take().and_then(Server::into_region).expect("nobody else has it");
        let bytes = region.to_vec();
        let files = self.sessions.iter().map(|session| **session).collect();
        let mut server = Server::over(region, Cause::Recovery);
        for session in &mut self.sessions {
            server.reload(session).expect("reloads");
        }
        self.server = Some(server);
        (bytes, files)
    }

    /// The bytes of the disk.
    pub fn image(&mut self) -> Vec<u8> {
        self.state().0
    }

    /// The disk is clean for everybody who looks.
    pub fn assert_clean(&mut self, why: &str) {
        let image = self.image();
        assert_eq!(findings(&image), Vec::<String>::new(), "{why}");
        if let Some(report) = fsck(&image) {
            panic!("{why}: fsck.vfat: {report}");
        }
    }

    pub fn open(&mut self, session: usize, flags: OpenFlags, path: &str) -> Result<u32, FsError> {
        let server = self.server.as_mut().expect("runs");
        Fs::open(server, &mut self.sessions[session], flags, LentRead::for_test(path.as_bytes()))
    }

    pub fn create(&mut self, session: usize, path: &str) -> Result<u32, FsError> {
        let server = self.server.as_mut().expect("runs");
        server.create(&mut self.sessions[session], LentRead::for_test(path.as_bytes()))
    }

    pub fn read(&mut self, session: usize, fd: u32, len: usize) -> Result<Vec<u8>, FsError> {
        let mut bytes = vec![0xee; len];
        let server = self.server.as_mut().expect("runs");
        let count = server.read(&mut self.sessions[session], fd, LentWrite::for_test(&mut bytes))? as usize;
        assert!(bytes[count..].iter().all(|byte| *byte == 0xee), "nothing is written behind what was read");
        bytes.truncate(count);
        Ok(bytes)
    }

    pub fn write(&mut self, session: usize, fd: u32, bytes: &[u8]) -> Result<u32, FsError> {
        let server = self.server.as_mut().expect("runs");
        server.write(&mut self.sessions[session], fd, LentRead::for_test(bytes))
    }

    pub fn seek(&mut self, session: usize, fd: u32, whence: Whence, offset: i32) -> Result<u32, FsError> {
        let server = self.server.as_mut().expect("runs");
        server.seek(&mut self.sessions[session], fd, whence, offset)
    }

    pub fn close(&mut self, session: usize, fd: u32) -> Result<(), FsError> {
        let server = self.server.as_mut().expect("runs");
        Fs::close(server, &mut self.sessions[session], fd)
    }

    pub fn remove(&mut self, session: usize, path: &str) -> Result<(), FsError> {
        let server = self.server.as_mut().expect("runs");
        server.remove(&mut self.sessions[session], LentRead::for_test(path.as_bytes()))
    }

    pub fn rename(&mut self, session: usize, from: &str, to: &str) -> Result<(), FsError> {
        let server = self.server.as_mut().expect("runs");
        let paths = format!("{from}{to}");
        server.rename(&mut self.sessions[session], from.len() as u32, LentRead::for_test(paths.as_bytes()))
    }

    pub fn mkdir(&mut self, session: usize, path: &str) -> Result<(), FsError> {
        let server = self.server.as_mut().expect("runs");
        server.mkdir(&mut self.sessions[session], LentRead::for_test(path.as_bytes()))
    }

    pub fn truncate(&mut self, session: usize, fd: u32, len: u32) -> Result<(), FsError> {
        let server = self.server.as_mut().expect("runs");
        server.truncate(&mut self.sessions[session], fd, len)
    }

    pub fn stat(&mut self, session: usize, path: &str) -> Result<Stat, FsError> {
        let server = self.server.as_mut().expect("runs");
        server.stat(&mut self.sessions[session], LentRead::for_test(path.as_bytes()))
    }

    pub fn fstat(&mut self, session: usize, fd: u32) -> Result<Stat, FsError> {
        let server = self.server.as_mut().expect("runs");
        server.fstat(&mut self.sessions[session], fd)
    }

    pub fn usage(&mut self) -> Result<Usage, FsError> {
        let server = self.server.as_mut().expect("runs");
        server.usage(&mut self.sessions[0])
    }

    pub fn sync(&mut self) -> Result<(), FsError> {
        let server = self.server.as_mut().expect("runs");
        server.sync(&mut self.sessions[0])
    }

    /// All entries of a directory, through a buffer of `len` bytes.
    pub fn list(&mut self, path: &str, len: usize) -> Result<Vec<(String, Stat)>, FsError> {
        let (mut cursor, mut found) = (0, Vec::new());
        while cursor != listing::END {
            let mut bytes = vec![0xee; len];
            let server = self.server.as_mut().expect("runs");
            let path = LentRead::for_test(path.as_bytes());
            let (count, next) = server.list(&mut self.sessions[0], cursor, path, LentWrite::for_test(&mut bytes))?;
            let entries: Vec<_> = Entries::new(&bytes[..count as usize]).map(|e| (e.name.to_owned(), e.stat)).collect();
            assert!(!entries.is_empty() || next == listing::END, "a listing goes on");
            found.extend(entries);
            cursor = next;
        }
        Ok(found)
    }

    /// All of a file.
    pub fn contents(&mut self, path: &str) -> Result<Vec<u8>, FsError> {
        let fd = self.open(0, OpenFlags::READ, path)?;
        let mut bytes = Vec::new();
        loop {
            match self.read(0, fd, 7000) {
                Ok(more) if more.is_empty() => break,
                Ok(more) => bytes.extend(more),
                Err(error) => {
                    self.close(0, fd).expect("it is open");
                    return Err(error);
                }
            }
        }
        self.close(0, fd).expect("it is open");
        Ok(bytes)
    }

    /// Creates a file with this content.
    pub fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), FsError> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let fd = self.open(0, flags, path)?;
        let mut rest = bytes;
        let result = loop {
            if rest.is_empty() {
                break Ok(());
            }
            match self.write(0, fd, rest) {
                Ok(count) => rest = &rest[count as usize..],
                Err(error) => break Err(error),
            }
        };
        self.close(0, fd).expect("it is open");
        result
    }
}

/// Whether an attribute says directory.
pub fn is_dir(stat: &Stat) -> bool {
    stat.attributes.contains(Attributes::DIRECTORY)
}

/// A volume mounted as the service does.
pub fn mount(bytes: Vec<u8>) -> Result<Volume, FsError> {
    Volume::mount(&Disk::new(Box::leak(bytes.into_boxed_slice())), None)
}
