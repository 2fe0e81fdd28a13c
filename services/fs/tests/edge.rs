//! Cases at the edges: names, limits, several clients of one file, undone requests of a service that did not fail.

mod common;

use common::{Bed, Random, is_dir, volume};
use fs::{
    Attributes, ENTRY_BUFFER, Entries, Entry, FsError, MAX_OPEN, MAX_PATH, MAX_TRANSFER, OpenFlags, Whence, path,
};
use hadris_fat::FatKind;
use rt::Service;

const RW: OpenFlags = OpenFlags::READ.union(OpenFlags::WRITE);
const NEW: OpenFlags = RW.union(OpenFlags::CREATE);

fn small(sessions: u32) -> Bed {
    Bed::boot(volume(FatKind::Fat12, 1024, 512), sessions)
}

#[test]
fn names_as_they_are_given() {
    let mut bed = small(1);
    let names = [
        "A.TXT",
        "lower.txt",
        "Mixed.Txt",
        "two words.text",
        "trailing.dots..a",
        "ß",
        "日本語.テキスト",
        "😀.bin",
        "a'b`c{d}~1",
    ];
    for name in names {
        bed.put(name, name.as_bytes()).expect(name);
    }
    let long = ["x".repeat(255), "長".repeat(255)];
    for name in &long {
        bed.put(name, b"long").expect("255 UTF-16 units fit");
    }
    bed.crash();
    for buffer in [ENTRY_BUFFER, 2000, 30_000] {
        let mut listed: Vec<_> = bed.list("/", buffer).expect("lists").into_iter().map(|(name, _)| name).collect();
        let mut wanted: Vec<_> = names.iter().map(|name| (*name).to_owned()).chain(long.clone()).collect();
        listed.sort();
        wanted.sort();
        assert_eq!(listed, wanted);
    }
    assert_eq!(bed.contents("two WORDS.Text").expect("case does not matter"), b"two words.text");
    assert_eq!(bed.contents("/./x/../日本語.テキスト").expect("`.` and `..`"), "日本語.テキスト".as_bytes());
    assert_eq!(bed.list("/", 20), Err(FsError::BadBuffer));
    bed.assert_clean("names");
}

#[test]
fn names_that_cannot_be() {
    let mut bed = small(1);
    for name in
        ["a:b", "a*b", "a?b", "a<b", "a|b", "a\"b", "a\\b", "end.", "end ", "tab\tname", &"x".repeat(256), "nul\0"]
    {
        assert_eq!(bed.create(0, name), Err(FsError::BadName), "{name:?}");
        assert_eq!(bed.mkdir(0, name), Err(FsError::BadName), "{name:?}");
        let found = bed.stat(0, name);
        assert!(matches!(found, Err(FsError::NotFound | FsError::BadName)), "{name:?}: {found:?}");
    }
    bed.put("here", b"").expect("creates");
    assert_eq!(bed.rename(0, "here", "a:b"), Err(FsError::BadName));
    let deep = "d/".repeat(MAX_PATH / 2 + 1);
    assert_eq!(bed.stat(0, &deep), Err(FsError::BadName));
    assert_eq!(bed.create(0, "here/below"), Err(FsError::NotDirectory));
    assert_eq!(bed.create(0, "nowhere/below"), Err(FsError::NotFound));
    assert_eq!(bed.create(0, "here"), Err(FsError::Exists));
    assert_eq!(bed.create(0, "HERE"), Err(FsError::Exists));
    assert_eq!(bed.create(0, "/"), Err(FsError::IsDirectory));
    assert_eq!(bed.mkdir(0, "/"), Err(FsError::Exists));
    assert_eq!(bed.remove(0, "/"), Err(FsError::Invalid));
    assert_eq!(bed.rename(0, "/", "x"), Err(FsError::Invalid));
    assert_eq!(bed.rename(0, "here", ""), Err(FsError::Invalid));
    assert!(is_dir(&bed.stat(0, "").expect("the root")));
    assert_eq!(bed.list("/", 1000).expect("lists").len(), 1);
}

#[test]
fn many_entries() {
    let mut bed = Bed::boot(volume(FatKind::Fat16, 4600, 1024), 1);
    bed.mkdir(0, "many").expect("makes");
    let name = |number| format!("many/An entry with a rather long name, number {number}");
    for number in 0..500 {
        bed.put(&name(number), &[number as u8]).expect("creates");
    }
    (0..500).step_by(3).for_each(|number| bed.remove(0, &name(number)).expect("removes"));
    bed.crash();
    assert_eq!(bed.list("many", 4096).expect("lists").len(), 500 - 167);
    assert_eq!(bed.contents(&name(499)).expect("reads"), [499u32 as u8]);
    assert_eq!(bed.remove(0, "many"), Err(FsError::NotEmpty));
    // The root directory of FAT12/16 has a fixed size.
    let mut made = 0;
    let error = loop {
        match bed.mkdir(0, &format!("directory in the root, number {made}")) {
            Ok(()) => made += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, FsError::NoSpace);
    assert!(made > 100, "{made}");
    bed.assert_clean("many entries");
    for number in 0..500 {
        let removed = bed.remove(0, &name(number));
        assert_eq!(removed, if number % 3 == 0 { Err(FsError::NotFound) } else { Ok(()) });
    }
    bed.remove(0, "many").expect("is empty now");
    bed.assert_clean("removed");
}

#[test]
fn open_files_go_on() {
    let mut bed = small(2);
    bed.mkdir(0, "one").expect("makes");
    let fd = bed.open(0, NEW, "one/file with a long name").expect("opens");
    let mut wanted = Vec::new();
    for step in 0..60u8 {
        bed.write(0, fd, &[step; 777]).expect("writes");
        wanted.extend([step; 777]);
        // Another file grows in between, so that neither has its clusters in a row.
        bed.put(&format!("other {step}"), &[step; 600]).expect("writes");
        if step % 7 == 0 {
            bed.crash();
        }
        if step == 20 {
            bed.rename(1, "one", "two").expect("a directory moves under its open file");
        }
        if step == 40 {
            bed.mkdir(1, "three").expect("makes");
            bed.rename(1, "two", "three/two").expect("moves");
        }
    }
    bed.seek(0, fd, Whence::Start, 0).expect("seeks");
    let mut read = Vec::new();
    while read.len() < wanted.len() {
        read.extend(bed.read(0, fd, 1000).expect("reads"));
        bed.crash();
    }
    assert_eq!(read, wanted);
    assert_eq!(bed.read(0, fd, 10).expect("the end"), b"");
    bed.close(0, fd).expect("closes");
    assert_eq!(bed.contents("three/two/file with a long name").expect("reads"), wanted);
    bed.assert_clean("open files");
}

#[test]
fn open_files_stay_where_they_are() {
    let mut bed = small(2);
    let fd = bed.open(0, NEW, "busy").expect("opens");
    bed.put("target", b"t").expect("writes");
    for _ in 0..2 {
        assert_eq!(bed.remove(1, "busy"), Err(FsError::Busy));
        assert_eq!(bed.rename(1, "busy", "elsewhere"), Err(FsError::Busy));
        assert_eq!(bed.rename(1, "target", "busy"), Err(FsError::Busy));
        bed.crash();
    }
    bed.close(0, fd).expect("closes");
    bed.rename(1, "target", "busy").expect("nobody has it open");
    assert_eq!(bed.contents("busy").expect("replaced"), b"t");
    let fd = bed.open(0, OpenFlags::READ, "busy").expect("opens");
    let server = bed.server.as_mut().expect("runs");
    Service::close(server, &mut bed.sessions[0]);
    bed.remove(1, "busy").expect("the client that had it open is gone");
    assert_eq!(bed.read(0, fd, 1), Err(FsError::Lost));
    bed.assert_clean("busy");
}

#[test]
fn two_clients_one_file() {
    let mut bed = small(3);
    // Two files whose clusters alternate.
    let (a, b) = (bed.open(0, NEW, "a").expect("opens"), bed.open(1, NEW, "b").expect("opens"));
    for step in 0..40u8 {
        bed.write(0, a, &[step; 512]).expect("writes");
        bed.write(1, b, &[100 + step; 512]).expect("writes");
    }
    let reader = bed.open(2, OpenFlags::READ, "a").expect("opens");
    bed.seek(2, reader, Whence::Start, 30 * 512).expect("seeks");
    assert_eq!(bed.read(2, reader, 512).expect("reads"), [30; 512]);
    // The file is cut, its clusters go to the other one, and it grows again somewhere else.
    bed.truncate(0, a, 512).expect("cuts");
    assert_eq!(bed.read(2, reader, 512).expect("beyond the end"), b"");
    bed.write(1, b, &[200; 30 * 512]).expect("writes");
    bed.truncate(0, a, 40 * 512).expect("grows");
    assert_eq!(bed.read(2, reader, 512).expect("reads"), [0; 512]);
    bed.seek(0, a, Whence::Start, 31 * 512).expect("seeks");
    bed.write(0, a, &[77; 512]).expect("writes");
    bed.seek(2, reader, Whence::Current, -512).expect("seeks");
    assert_eq!(bed.read(2, reader, 512).expect("what the other one wrote"), [77; 512]);
    // Two appending writers.
    let append = OpenFlags::WRITE | OpenFlags::APPEND | OpenFlags::CREATE;
    let (first, second) = (bed.open(0, append, "log").expect("opens"), bed.open(1, append, "log").expect("opens"));
    for step in 0..50u8 {
        bed.write(0, first, &[step; 33]).expect("writes");
        bed.write(1, second, &[step; 44]).expect("writes");
    }
    let log = bed.contents("log").expect("reads");
    assert_eq!(log.len(), 50 * 77);
    assert!(log.chunks(77).zip(0..).all(|(chunk, step)| chunk.iter().all(|byte| *byte == step)));
    let expected: Vec<u8> = (0..40u8).flat_map(|step| [100 + step; 512]).chain([200; 30 * 512]).collect();
    assert_eq!(bed.contents("b").expect("reads"), expected);
    bed.assert_clean("two clients");
}

#[test]
fn limits() {
    let mut bed = small(1);
    let fds: Vec<_> = (0..MAX_OPEN).map(|_| bed.open(0, NEW, "many times").expect("opens")).collect();
    assert_eq!(bed.open(0, NEW, "one more"), Err(FsError::TooManyOpen));
    assert_eq!(bed.stat(0, "one more"), Err(FsError::NotFound), "nothing was created");
    fds[1..].iter().for_each(|fd| bed.close(0, *fd).expect("closes"));
    assert_eq!(bed.read(0, 99, 1), Err(FsError::BadFd));
    assert_eq!(bed.close(0, fds[1]), Err(FsError::BadFd));
    let fd = fds[0];
    assert_eq!(bed.write(0, fd, &vec![1; 3 * MAX_TRANSFER]).expect("as much as a request may"), MAX_TRANSFER as u32);
    assert_eq!(
        bed.seek(0, fd, Whence::End, MAX_TRANSFER as i32 - 1).expect("beyond the end"),
        2 * MAX_TRANSFER as u32 - 1
    );
    assert_eq!(bed.write(0, fd, b"xy").expect("what is left behind the gap"), 1);
    assert_eq!(bed.seek(0, fd, Whence::End, MAX_TRANSFER as i32).expect("seeks"), 3 * MAX_TRANSFER as u32);
    assert_eq!(bed.write(0, fd, b"z"), Err(FsError::TooBig));
    assert_eq!(bed.write(0, fd, b"").expect("nothing"), 0);
    assert_eq!(bed.seek(0, fd, Whence::Start, -1), Err(FsError::Invalid));
    assert_eq!(bed.truncate(0, fd, 4 * MAX_TRANSFER as u32), Err(FsError::TooBig));
    let contents = bed.contents("many times").expect("reads");
    assert_eq!(contents.len(), 2 * MAX_TRANSFER);
    assert!(contents[..MAX_TRANSFER].iter().all(|byte| *byte == 1));
    assert!(contents[MAX_TRANSFER..2 * MAX_TRANSFER - 1].iter().all(|byte| *byte == 0));
    assert_eq!(contents.last(), Some(&b'x'));
    assert_eq!(bed.open(0, OpenFlags::empty(), "many times"), Err(FsError::Invalid));
    assert_eq!(bed.open(0, OpenFlags::READ | OpenFlags::TRUNCATE, "many times"), Err(FsError::Invalid));
    assert_eq!(bed.open(0, OpenFlags::WRITE | OpenFlags::EXCLUSIVE, "many times"), Err(FsError::Invalid));
    bed.assert_clean("limits");
}

#[test]
fn room() {
    let mut bed = small(1);
    let empty = bed.usage().expect("tells");
    assert_eq!((empty.kind, empty.cluster_size), (12, 512));
    let mut count = 0;
    while bed.put(&format!("file {count}"), &[count as u8; 40_000]).is_ok() {
        count += 1;
    }
    assert!(count > 20);
    assert!(bed.usage().expect("tells").free < 79, "less than one more file");
    bed.assert_clean("full");
    bed.crash();
    assert_eq!(bed.create(0, "a name that needs another slot in the root"), Ok(0));
    bed.close(0, 0).expect("closes");
    bed.list("/", 1000).expect("lists").iter().for_each(|(name, _)| bed.remove(0, name).expect("removes"));
    assert_eq!(bed.usage().expect("tells"), empty);
    bed.crash();
    assert_eq!(bed.usage().expect("tells"), empty);
    bed.assert_clean("empty again");
}

#[test]
fn read_only_files() {
    let mut image = {
        let mut bed = small(1);
        bed.put("LOCKED.TXT", b"locked").expect("writes");
        bed.image()
    };
    let at = image.windows(11).position(|bytes| bytes == b"LOCKED  TXT").expect("it is there");
    image[at + 11] |= 1;
    let mut bed = Bed::boot(image, 1);
    let attributes = Attributes::READ_ONLY | Attributes::ARCHIVE;
    assert_eq!(bed.stat(0, "locked.txt").expect("tells").attributes, attributes);
    assert_eq!(bed.open(0, RW, "locked.txt"), Err(FsError::ReadOnly));
    assert_eq!(bed.open(0, NEW | OpenFlags::TRUNCATE, "locked.txt"), Err(FsError::ReadOnly));
    assert_eq!(bed.contents("locked.txt").expect("reads"), b"locked");
    bed.remove(0, "locked.txt").expect("removing changes the directory, not the file");
}

#[test]
fn undone_without_a_failure() {
    let mut bed = small(2);
    bed.put("kept", &[1; 3000]).expect("writes");
    let kept = bed.open(1, RW, "kept").expect("opens");
    bed.seek(1, kept, Whence::Start, 2500).expect("seeks");
    bed.write(1, kept, &[2; 1000]).expect("writes and grows");
    let (disk, files) = bed.state();
    // A nested request, undone because an outer one failed: disk and session go back, the service is not rebuilt.
    let fd = bed.open(0, NEW, "undone").expect("opens");
    bed.write(0, fd, &[3; 30_000]).expect("writes");
    bed.put("undone too", &[4; 30_000]).expect("writes");
    bed.mkdir(0, "undone three").expect("makes");
    bed.server().disk().write_at(0, &disk).expect("all of it");
    *bed.sessions[0] = files[0];
    let server = bed.server.as_mut().expect("runs");
    server.reload(&mut bed.sessions[0]).expect("reloads");
    assert_eq!(bed.read(0, fd, 10), Err(FsError::BadFd));
    assert_eq!(bed.list("/", 1000).expect("lists").len(), 1);
    bed.write(1, kept, &[5; 2000]).expect("the other session goes on");
    let contents = bed.contents("kept").expect("reads");
    assert_eq!(contents.len(), 5500);
    assert!(contents[..2500].iter().all(|byte| *byte == 1));
    assert!(contents[2500..3500].iter().all(|byte| *byte == 2));
    assert!(contents[3500..].iter().all(|byte| *byte == 5));
    bed.put("again", &[6; 30_000]).expect("writes");
    bed.assert_clean("undone");
    assert_eq!(bed.usage().expect("tells").free, {
        bed.crash();
        bed.usage().expect("tells").free
    });
}

#[test]
fn paths() {
    assert_eq!(path::names(b"/a//b/./c/").expect("a path"), ["a", "b", "c"]);
    assert_eq!(path::names(b"a/../../b/c/..").expect("a path"), ["b"]);
    assert_eq!(path::names(b"/").expect("the root"), [""; 0]);
    assert_eq!(path::names(b"a/\xff"), Err(FsError::BadName));
}

#[test]
fn listings() {
    let stat = fs::Stat { size: 7, attributes: Attributes::ARCHIVE, modified: 0x0021_0000 };
    let mut bytes = [0xee; 64];
    let first = Entry { name: "one", stat }.encode(&mut bytes).expect("fits");
    let second = Entry { name: "zwei", stat }.encode(&mut bytes[first..]).expect("fits");
    assert_eq!((first, second), (20, 20));
    let found: Vec<_> = Entries::new(&bytes[..40]).map(|entry| (entry.name, entry.stat)).collect();
    assert_eq!(found, [("one", stat), ("zwei", stat)]);
    assert_eq!(Entry { name: "five", stat }.encode(&mut bytes[45..]), None);
    // Whatever a service sends, a client gets entries or an end.
    let mut random = Random::new(5);
    for _ in 0..3000 {
        let len = random.below(100);
        let mut bytes = random.bytes(len);
        bytes.iter_mut().skip(13).step_by(16).take(3).for_each(|byte| *byte = 0);
        assert!(Entries::new(&bytes).count() <= len / 16);
    }
}
