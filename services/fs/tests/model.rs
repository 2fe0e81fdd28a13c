//! Random requests of several clients against a model in memory, with the service failing between any two requests
//! and in the middle of any.

mod common;

use std::collections::BTreeMap;

use common::{Bed, Random, is_dir, volume};
use fs::{FsError, MAX_OPEN, MAX_TRANSFER, OpenFlags, Whence};
use hadris_fat::FatKind;

/// What should be on the volume. Paths are folded to lower case; the name as created goes with each.
#[derive(Default)]
struct Model {
    tree: BTreeMap<String, Node>,
    contents: BTreeMap<u32, Vec<u8>>,
    next: u32,
}

#[derive(Clone)]
struct Node {
    name: String,
    /// `None`: a directory.
    file: Option<u32>,
}

/// What a client should have.
#[derive(Clone)]
struct Handle {
    file: u32,
    position: usize,
    flags: OpenFlags,
}

type Handles = Vec<Vec<Option<Handle>>>;

fn fold(path: &str) -> String {
    path.to_ascii_lowercase()
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

impl Model {
    fn get(&self, path: &str) -> Option<&Node> {
        self.tree.get(&fold(path))
    }

    /// What stands in the way of a new entry there.
    fn way(&self, path: &str) -> Result<(), FsError> {
        let mut at = parent(path);
        let mut result = Ok(());
        while !at.is_empty() {
            match self.get(at) {
                None => result = Err(FsError::NotFound),
                Some(node) if node.file.is_some() => result = Err(FsError::NotDirectory),
                Some(_) => {}
            }
            at = parent(at);
        }
        result
    }

    fn insert(&mut self, path: &str, file: Option<u32>) {
        self.tree.insert(fold(path), Node { name: name(path).to_owned(), file });
    }

    fn new_file(&mut self, path: &str) -> u32 {
        self.next += 1;
        self.contents.insert(self.next, Vec::new());
        self.insert(path, Some(self.next));
        self.next
    }

    fn children(&self, path: &str) -> impl Iterator<Item = (&String, &Node)> {
        let path = fold(path);
        self.tree.iter().filter(move |(child, _)| parent(child) == path)
    }

    fn is_below(path: &str, directory: &str) -> bool {
        fold(path).starts_with(&format!("{}/", fold(directory)))
    }

    fn remove(&mut self, path: &str) {
        if let Some(file) = self.tree.remove(&fold(path)).and_then(|node| node.file) {
            self.contents.remove(&file);
        }
    }

    fn rename(&mut self, from: &str, to: &str) {
        if fold(from) != fold(to) {
            self.remove(to);
        }
        let node = self.tree.remove(&fold(from)).expect("the caller looked");
        let (old, new) = (format!("{}/", fold(from)), format!("{}/", fold(to)));
        let below: Vec<_> = self.tree.keys().filter(|path| path.starts_with(&old)).cloned().collect();
        for path in below {
            let child = self.tree.remove(&path).expect("just listed");
            self.tree.insert(path.replacen(&old, &new, 1), child);
        }
        self.insert(to, node.file);
    }
}

const NAMES: [&str; 12] = [
    "a",
    "B.TXT",
    "b.txt",
    "readme.md",
    "Mixed Case With Spaces.text",
    "mixed case with spaces.TEXT",
    "über straße ñ.dat",
    "日本語の長いファイル名です.bin",
    "no_extension_but_rather_long",
    ".hidden",
    "a+b,c;d=e[f].g",
    "x.y.z.w",
];

fn random_path(random: &mut Random, model: &Model) -> String {
    let existing = !model.tree.is_empty() && random.below(3) > 0;
    if existing && random.below(2) == 0 {
        let at = random.below(model.tree.len());
        return full(model, model.tree.keys().nth(at).expect("below the length"));
    }
    let name = match random.below(40) {
        0 => "n".repeat(255),
        1 => "長".repeat(255),
        _ => NAMES[random.below(NAMES.len())].to_owned(),
    };
    let directories: Vec<_> =
        model.tree.iter().filter(|(_, node)| node.file.is_none() || random.below(30) == 0).collect();
    if !existing || directories.is_empty() {
        return name;
    }
    let directory = full(model, directories[random.below(directories.len())].0);
    if directory.len() + name.len() > 480 { name } else { format!("{directory}/{name}") }
}

/// The path as its parts were named.
fn full(model: &Model, path: &str) -> String {
    let name = &model.tree[path].name;
    match parent(path) {
        "" => name.clone(),
        up => format!("{}/{name}", full(model, up)),
    }
}

/// One random request: what it is, so that it can be sent twice.
#[derive(Clone, Debug)]
enum Request {
    Open(OpenFlags, String),
    Read(u32, usize),
    Write(u32, Vec<u8>),
    Seek(u32, Whence, i32),
    Close(u32),
    Remove(String),
    Rename(String, String),
    Mkdir(String),
    Truncate(u32, u32),
    Stat(String),
    Fstat(u32),
}

fn random_request(random: &mut Random, model: &Model, handles: &[Option<Handle>], big: usize) -> Request {
    let open: Vec<u32> = (0..).zip(handles).filter(|(_, handle)| handle.is_some()).map(|(fd, _)| fd).collect();
    let fd =
        if open.is_empty() || random.below(30) == 0 { random.below(18) as u32 } else { open[random.below(open.len())] };
    match random.below(30) {
        0..=4 => {
            let flags = OpenFlags::from_bits_truncate(random.below(64) as u32);
            let plain = [
                OpenFlags::READ,
                OpenFlags::READ | OpenFlags::WRITE,
                OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE,
                flags,
            ];
            Request::Open(plain[random.below(4)], random_path(random, model))
        }
        5..=9 => {
            let len = [0, 1, 511, 4096, 70_000][random.below(5)];
            Request::Read(fd, if len == 4096 { random.below(9000) } else { len })
        }
        10..=15 => {
            let len = random.below(big) + usize::from(random.below(8) > 0);
            Request::Write(fd, random.bytes(len))
        }
        16..=17 => {
            let whence = [Whence::Start, Whence::Current, Whence::End][random.below(3)];
            Request::Seek(fd, whence, random.below(20_000) as i32 - 6000)
        }
        18..=20 => Request::Close(fd),
        21..=22 => Request::Remove(random_path(random, model)),
        23..=24 => Request::Rename(random_path(random, model), random_path(random, model)),
        25 => Request::Mkdir(random_path(random, model)),
        26..=27 => {
            let limit = if random.below(9) == 0 { 400_000 } else { 30_000 };
            Request::Truncate(fd, random.below(limit) as u32)
        }
        28 => Request::Stat(random_path(random, model)),
        _ => Request::Fstat(fd),
    }
}

/// What a request answered, as words and bytes.
type Answer = Result<(u32, Vec<u8>), FsError>;

fn send(bed: &mut Bed, session: usize, request: &Request) -> Answer {
    let none = |()| (0, Vec::new());
    let word = |word| (word, Vec::new());
    match request {
        Request::Open(flags, path) => bed.open(session, *flags, path).map(word),
        Request::Read(fd, len) => bed.read(session, *fd, *len).map(|bytes| (0, bytes)),
        Request::Write(fd, bytes) => bed.write(session, *fd, bytes).map(word),
        Request::Seek(fd, whence, offset) => bed.seek(session, *fd, *whence, *offset).map(word),
        Request::Close(fd) => bed.close(session, *fd).map(none),
        Request::Remove(path) => bed.remove(session, path).map(none),
        Request::Rename(from, to) => bed.rename(session, from, to).map(none),
        Request::Mkdir(path) => bed.mkdir(session, path).map(none),
        Request::Truncate(fd, len) => bed.truncate(session, *fd, *len).map(none),
        Request::Stat(path) => bed.stat(session, path).map(|stat| (stat.size, vec![u8::from(is_dir(&stat))])),
        Request::Fstat(fd) => bed.fstat(session, *fd).map(|stat| (stat.size, Vec::new())),
    }
}

/// What the request must answer; the model follows if `real` says that there was room.
fn expect(model: &mut Model, handles: &mut Handles, session: usize, request: &Request, real: &Answer) -> Answer {
    let full = *real == Err(FsError::NoSpace);
    let busy = |handles: &Handles, file: Option<u32>| {
        file.is_some_and(|file| handles.iter().flatten().flatten().any(|handle| handle.file == file))
    };
    let none = Ok((0, Vec::new()));
    let handle =
        |handles: &Handles, fd: &u32| handles[session].get(*fd as usize).cloned().flatten().ok_or(FsError::BadFd);
    match request {
        Request::Open(flags, path) => {
            let has = |flag| flags.contains(flag);
            let changes = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::APPEND;
            if !flags.intersects(OpenFlags::READ | OpenFlags::WRITE)
                || (!has(OpenFlags::WRITE) && flags.intersects(changes))
                || (has(OpenFlags::EXCLUSIVE) && !has(OpenFlags::CREATE))
            {
                return Err(FsError::Invalid);
            }
            let fd = handles[session].iter().position(Option::is_none).ok_or(FsError::TooManyOpen)?;
            model.way(path)?;
            let file = match model.get(path) {
                Some(_) if has(OpenFlags::EXCLUSIVE) => return Err(FsError::Exists),
                Some(node) => node.file.ok_or(FsError::IsDirectory)?,
                None if full => return Err(FsError::NoSpace),
                None if has(OpenFlags::CREATE) => model.new_file(path),
                None => return Err(FsError::NotFound),
            };
            if has(OpenFlags::TRUNCATE) {
                model.contents.insert(file, Vec::new());
            }
            handles[session][fd] = Some(Handle { file, position: 0, flags: *flags });
            Ok((fd as u32, Vec::new()))
        }
        Request::Read(fd, len) => {
            let Handle { file, position, flags } = handle(handles, fd)?;
            if !flags.contains(OpenFlags::READ) {
                return Err(FsError::WriteOnly);
            }
            let bytes: Vec<u8> =
                model.contents[&file].iter().skip(position).take((*len).min(MAX_TRANSFER)).copied().collect();
            handles[session][*fd as usize] = Some(Handle { file, position: position + bytes.len(), flags });
            Ok((0, bytes))
        }
        Request::Write(fd, bytes) => {
            let Handle { file, position, flags } = handle(handles, fd)?;
            if !flags.contains(OpenFlags::WRITE) {
                return Err(FsError::ReadOnly);
            }
            let contents = model.contents.get_mut(&file).expect("it is open");
            let position = if flags.contains(OpenFlags::APPEND) { contents.len() } else { position };
            if bytes.is_empty() {
                return none;
            }
            let room = MAX_TRANSFER.saturating_sub(position.saturating_sub(contents.len()));
            let count = bytes.len().min(room);
            if count == 0 {
                return Err(FsError::TooBig);
            }
            if full {
                return Err(FsError::NoSpace);
            }
            let end = position + count;
            contents.resize(contents.len().max(end), 0);
            contents[position..end].copy_from_slice(&bytes[..count]);
            handles[session][*fd as usize] = Some(Handle { file, position: end, flags });
            Ok((count as u32, Vec::new()))
        }
        Request::Seek(fd, whence, offset) => {
            let Handle { file, position, flags } = handle(handles, fd)?;
            let base = match whence {
                Whence::Start => 0,
                Whence::Current => position,
                Whence::End => model.contents[&file].len(),
            };
            let position = usize::try_from(base as i64 + i64::from(*offset)).map_err(|_| FsError::Invalid)?;
            handles[session][*fd as usize] = Some(Handle { file, position, flags });
            Ok((position as u32, Vec::new()))
        }
        Request::Close(fd) => {
            handle(handles, fd)?;
            handles[session][*fd as usize] = None;
            none
        }
        Request::Remove(path) => {
            model.way(path)?;
            let node = model.get(path).cloned().ok_or(FsError::NotFound)?;
            if busy(handles, node.file) {
                return Err(FsError::Busy);
            }
            if node.file.is_none() && model.children(path).next().is_some() {
                return Err(FsError::NotEmpty);
            }
            model.remove(path);
            none
        }
        Request::Rename(from, to) => {
            model.way(from)?;
            let source = model.get(from).cloned().ok_or(FsError::NotFound)?;
            if Model::is_below(to, from) && source.file.is_none() {
                // Before it gets there, the way may turn out not to exist: it is looked at from the root on.
                return Err(FsError::Invalid);
            }
            model.way(to)?;
            let target = model.get(to).cloned();
            if busy(handles, source.file) || busy(handles, target.as_ref().and_then(|target| target.file)) {
                return Err(FsError::Busy);
            }
            if fold(from) != fold(to) {
                match target {
                    Some(target) if source.file.is_none() && target.file.is_some() => {
                        return Err(FsError::NotDirectory);
                    }
                    Some(target) if source.file.is_some() && target.file.is_none() => return Err(FsError::IsDirectory),
                    Some(_) if source.file.is_none() && model.children(to).next().is_some() => {
                        return Err(FsError::NotEmpty);
                    }
                    _ => {}
                }
            }
            if full {
                return Err(FsError::NoSpace);
            }
            model.rename(from, to);
            none
        }
        Request::Mkdir(path) => {
            model.way(path)?;
            if model.get(path).is_some() {
                return Err(FsError::Exists);
            }
            if full {
                return Err(FsError::NoSpace);
            }
            model.insert(path, None);
            none
        }
        Request::Truncate(fd, len) => {
            let Handle { file, flags, .. } = handle(handles, fd)?;
            if !flags.contains(OpenFlags::WRITE) {
                return Err(FsError::ReadOnly);
            }
            let contents = model.contents.get_mut(&file).expect("it is open");
            if (*len as usize).saturating_sub(contents.len()) > MAX_TRANSFER {
                return Err(FsError::TooBig);
            }
            if full && *len as usize > contents.len() {
                return Err(FsError::NoSpace);
            }
            contents.resize(*len as usize, 0);
            none
        }
        Request::Stat(path) => {
            model.way(path)?;
            let node = model.get(path).ok_or(FsError::NotFound)?;
            let size = node.file.map_or(0, |file| model.contents[&file].len());
            Ok((size as u32, vec![u8::from(node.file.is_none())]))
        }
        Request::Fstat(fd) => Ok((model.contents[&handle(handles, fd)?.file].len() as u32, Vec::new())),
    }
}

/// The volume is what the model says, name by name and byte by byte.
fn compare(bed: &mut Bed, model: &Model) {
    let mut directories = vec![String::new()];
    directories.extend(model.tree.iter().filter(|(_, node)| node.file.is_none()).map(|(path, _)| full(model, path)));
    let mut places = bed.sessions[0].iter().count();
    for directory in directories {
        let mut found: Vec<_> =
            bed.list(&directory, 900).expect("it is there").into_iter().map(|(name, _)| name).collect();
        let mut wanted: Vec<_> = model.children(&directory).map(|(_, node)| node.name.clone()).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{directory}");
    }
    if places == MAX_OPEN {
        bed.close(0, 0).expect("it is open");
        places -= 1;
    }
    assert!(places < MAX_OPEN);
    for (path, node) in &model.tree {
        if let Some(file) = node.file {
            assert!(bed.contents(&full(model, path)).expect("it can be read") == model.contents[&file], "{path}");
        }
    }
}

fn run(kind: FatKind, kib: usize, cluster: u32, big: usize, seed: u64, requests: usize) {
    const SESSIONS: usize = 3;
    let mut random = Random::new(seed);
    let mut bed = Bed::boot(volume(kind, kib, cluster), SESSIONS as u32);
    let mut model = Model::default();
    let mut handles: Handles = vec![vec![None; MAX_OPEN]; SESSIONS];
    let mut full = 0;
    for number in 0..requests {
        let session = random.below(SESSIONS);
        let request = random_request(&mut random, &model, &handles[session], big);
        if let Request::Rename(from, to) = &request {
            // Paths stay short enough to be named in a request; `edge.rs` has the long ones.
            let below = model.tree.keys().filter(|path| Model::is_below(path, from)).map(String::len).max();
            if from.len() + to.len() + below.unwrap_or(0) > 1000 {
                continue;
            }
        }
        if random.below(4) == 0 {
            // The service fails when all the work of the request is done: undone, rebuilt, done again.
            let before = bed.state();
            if let Err(error) = send(&mut bed, session, &request) {
                assert!(
                    bed.state() == before,
                    "seed {seed}, request {number}: {error:?} changed something: {request:?}"
                );
            }
            bed.restore(Some(before));
        } else if random.below(4) == 0 {
            bed.crash();
        }
        let real = send(&mut bed, session, &request);
        let wanted = expect(&mut model, &mut handles, session, &request, &real);
        let short = format!("{request:?}").chars().take(300).collect::<String>();
        if real != wanted {
            let text =
                format!("seed {seed}, request {number}, session {session}: {short}: {real:?} instead of {wanted:?}");
            panic!("{}", text.chars().take(900).collect::<String>());
        }
        full += usize::from(real == Err(FsError::NoSpace));
        if number % 40 == 0 {
            bed.assert_clean(&format!("seed {seed}, request {number}: {short}"));
        }
    }
    // Full places are made free, so that the comparison can open what it reads.
    for fd in 0..MAX_OPEN as u32 {
        let _ = bed.close(0, fd);
    }
    compare(&mut bed, &model);
    bed.crash();
    compare(&mut bed, &model);
    bed.assert_clean(&format!("seed {seed}, the end"));
    if big > 20_000 {
        assert!(full > 0, "seed {seed}: the disk should have become full");
    }
}

#[test]
fn fat12() {
    (0..6).for_each(|seed| run(FatKind::Fat12, 1024, 0, 3000, seed, 1200));
}

#[test]
fn fat16() {
    (10..16).for_each(|seed| run(FatKind::Fat16, 4600, 1024, 9000, seed, 1200));
}

#[test]
fn fat32() {
    run(FatKind::Fat32, 34 * 1024, 512, 9000, 30, 200);
}

#[test]
fn full_disk() {
    (20..24).for_each(|seed| run(FatKind::Fat12, 400, 512, 66_000, seed, 1200));
    (24..26).for_each(|seed| run(FatKind::Fat12, 700, 4096, 66_000, seed, 1200));
}
