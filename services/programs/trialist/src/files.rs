//! The workload of `fs`: each client has a directory of its own, and reads a file that all of them read.

use core::fmt::Write;

use fs::{Entries, FsClient, FsError, OpenFlags, Stat, Whence, listing};
use rt::{Error, Text};

use crate::course::{Answer, Course, Failed, Subject, fold, hash_words, refused};

/// What all clients read.
const SHARED: &[u8] = b"shared";
/// Its length.
const SHARED_LEN: usize = 192;
/// Stands for an open file that could not be opened.
const NONE: u32 = u32::MAX;
/// The longest read.
const LONGEST: usize = 512;

type Path = Text<48>;

/// A path in a client's directory.
fn path(client: u32, name: &str) -> Path {
    let mut path = Path::new();
    // `Text` cuts and never fails.
    let _ = write!(path, "client{client}/{name}");
    path
}

/// Bytes that tell clients, files and places apart.
fn pattern<const N: usize>(seed: u32) -> [u8; N] {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    core::array::from_fn(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
}

/// Creates what all clients read.
pub fn prepare() -> Result<(), Error> {
    let files = FsClient::bind()?;
    let written = files.create(SHARED).and_then(|file| {
        files.write_all(file, &pattern::<SHARED_LEN>(0xff))?;
        files.close(file)
    });
    written.map_err(|_| Error::ServerFault)
}

/// What the volume says of a file.
fn condensed(stat: Stat) -> Answer {
    hash_words(&[stat.size, stat.attributes.bits(), stat.modified]).into()
}

struct Client {
    files: Subject<FsClient>,
    client: u32,
}

impl Client {
    fn open(&mut self, flags: OpenFlags, path: &[u8]) -> u32 {
        self.files.call(|files| Ok(files.open(flags, path)?.into())).unwrap_or(NONE)
    }

    fn create(&mut self, name: &str) -> u32 {
        let path = path(self.client, name);
        self.files.call(|files| Ok(files.create(path.as_str().as_bytes())?.into())).unwrap_or(NONE)
    }

    fn write(&mut self, file: u32, bytes: &[u8]) {
        self.files.call(|files| Ok(files.write(file, bytes)?.into()));
    }

    fn read(&mut self, file: u32, length: usize) {
        let mut buffer = [0; LONGEST];
        self.files.call(|files| {
            let count = files.read(file, &mut buffer[..length])?;
            let read = buffer.get(..count as usize).unwrap_or_default();
            Ok(fold(count, read).into())
        });
    }

    fn seek(&mut self, file: u32, whence: Whence, offset: i32) {
        self.files.call(|files| Ok(files.seek(file, whence, offset)?.into()));
    }

    fn close(&mut self, file: u32) {
        self.files.call(|files| done(files.close(file)?));
    }

    fn truncate(&mut self, file: u32, len: u32) {
        self.files.call(|files| done(files.truncate(file, len)?));
    }

    fn fstat(&mut self, file: u32) {
        self.files.call(|files| Ok(condensed(files.fstat(file)?)));
    }

    fn mkdir(&mut self, name: &str) {
        let path = path(self.client, name);
        self.files.call(|files| done(files.mkdir(path.as_str().as_bytes())?));
    }

    fn rename(&mut self, from: &str, to: &str) {
        let (from, to) = (path(self.client, from), path(self.client, to));
        self.files.call(|files| done(files.mv(from.as_str().as_bytes(), to.as_str().as_bytes())?));
    }

    fn remove(&mut self, name: &str) {
        let path = path(self.client, name);
        self.files.call(|files| done(files.remove(path.as_str().as_bytes())?));
    }

    /// The entries of its directory, in their order.
    fn list(&mut self) {
        let path = path(self.client, "");
        let mut buffer = [0; LONGEST];
        self.files.call(|files| {
            let (count, cursor) = files.list(0, path.as_str().as_bytes(), &mut buffer)?;
            let entries = Entries::new(buffer.get(..count as usize).unwrap_or_default());
            let all = entries.fold(u32::from(cursor == listing::END), |all, entry| {
                fold(fold(all, entry.name.as_bytes()), &entry.stat.size.to_le_bytes())
            });
            Ok(all.into())
        });
    }

    /// A request that is refused.
    fn refused<T>(
        &mut self,
        expected: FsError,
        mut request: impl FnMut(&FsClient) -> Result<T, rt::CallError<FsError>>,
    ) {
        self.files.call(|files| refused(request(files), expected));
    }
}

fn done((): ()) -> Result<Answer, Failed> {
    Ok(Answer::from(0))
}

/// Creates, writes, reads back, renames, cuts, removes; then reads all of it once more.
pub fn run(course: Course) {
    let client = course.client;
    let mut own = Client { files: Subject::bind(course, FsClient::bind), client };
    let seed = client * 16;
    let name = path(client, "a report.txt");

    own.mkdir("");
    let shared = own.open(OpenFlags::READ, SHARED);
    let journal = own.create("JOURNAL");
    own.write(journal, &pattern::<90>(seed));
    own.write(journal, &pattern::<61>(seed + 1));
    own.read(shared, 64);
    own.seek(journal, Whence::Start, 40);
    own.read(journal, 80);
    own.seek(journal, Whence::Current, -30);
    own.write(journal, &pattern::<20>(seed + 2));

    let draft = own.create("DRAFT");
    own.write(draft, &pattern::<300>(seed + 3));
    own.fstat(draft);
    own.close(draft);
    own.rename("DRAFT", "a report.txt");

    let report = own.open(OpenFlags::READ | OpenFlags::WRITE | OpenFlags::APPEND, name.as_str().as_bytes());
    own.write(report, &pattern::<50>(seed + 4));
    own.seek(report, Whence::Start, 280);
    own.read(report, 100);
    own.truncate(report, 200);
    own.refused(FsError::Busy, |files| files.remove(name.as_str().as_bytes()));
    own.read(shared, 64);
    own.seek(journal, Whence::End, 0);
    own.write(journal, &pattern::<33>(seed + 5));
    own.refused(FsError::BadFd, |files| files.fstat(9));

    // All that is left, at rest.
    own.read(shared, 128);
    own.seek(journal, Whence::Start, 0);
    own.read(journal, LONGEST);
    own.seek(report, Whence::Start, 0);
    own.read(report, LONGEST);
    own.fstat(journal);
    own.fstat(report);
    for file in [journal, report, shared] {
        own.close(file);
    }
    own.remove("JOURNAL");
    own.list();
    own.files.end();
}
