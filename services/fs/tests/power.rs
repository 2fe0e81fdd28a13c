//! A disk below the cache, which loses power at any write: what was synced is there, and the volume is sound.

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use common::{Random, findings, fsck, volume};
use fs::below::Below;
use fs::open_files::OpenFiles;
use fs::server::Server;
use fs::{Attributes, Fs, FsError, OpenFlags, Whence};
use hadris_fat::FatKind;
use rt::{Cause, LentRead, LentWrite, Service, Session};

/// What was written since the last sync: a disk may have done any of it when the power fails.
struct Medium {
    /// What is safe.
    bytes: Vec<u8>,
    /// Sectors written since, in order.
    cached: Vec<(u64, Vec<u8>)>,
    /// Writes until the power fails.
    left: Option<usize>,
    writes: usize,
    syncs: usize,
    read_only: bool,
    broken: bool,
}

#[derive(Clone)]
struct Model(Rc<RefCell<Medium>>);

impl Model {
    fn new(bytes: Vec<u8>) -> Self {
        let (cached, left) = (Vec::new(), None);
        Model(Rc::new(RefCell::new(Medium {
            bytes,
            cached,
            left,
            writes: 0,
            syncs: 0,
            read_only: false,
            broken: false,
        })))
    }

    /// What is on the medium after a power cut: of what was not synced, any sectors, each old or new.
    fn after_cut(&self, random: &mut Random) -> Vec<u8> {
        let medium = self.0.borrow();
        let mut bytes = medium.bytes.clone();
        let all = random.below(4);
        for (sector, content) in &medium.cached {
            if all == 0 || all == 1 && random.below(2) == 0 || all == 2 && random.below(8) > 0 {
                bytes[*sector as usize * 512..][..512].copy_from_slice(content);
            }
        }
        bytes
    }

    /// What reads see.
    fn image(&self) -> Vec<u8> {
        let medium = self.0.borrow();
        let mut bytes = medium.bytes.clone();
        for (sector, content) in &medium.cached {
            bytes[*sector as usize * 512..][..512].copy_from_slice(content);
        }
        bytes
    }
}

impl Below for Model {
    fn sectors(&self) -> u64 {
        self.0.borrow().bytes.len() as u64 / 512
    }

    fn writable(&self) -> bool {
        !self.0.borrow().read_only
    }

    fn read(&mut self, first: u64, to: &mut [u8]) -> Result<(), FsError> {
        let medium = self.0.borrow();
        if medium.broken {
            return Err(FsError::Io);
        }
        assert!(to.len().is_multiple_of(512) && (512..=64 * 1024).contains(&to.len()), "{} bytes", to.len());
        let start = first as usize * 512;
        to.copy_from_slice(&medium.bytes[start..start + to.len()]);
        for (sector, content) in &medium.cached {
            if let Some(at) = sector.checked_sub(first).map(|at| at as usize * 512).filter(|at| *at < to.len()) {
                to[at..at + 512].copy_from_slice(content);
            }
        }
        Ok(())
    }

    fn write(&mut self, first: u64, from: &[u8]) -> Result<(), FsError> {
        let mut medium = self.0.borrow_mut();
        assert!(!medium.read_only, "it was written");
        assert!(from.len().is_multiple_of(512) && (512..=64 * 1024).contains(&from.len()), "{} bytes", from.len());
        assert!(first as usize * 512 + from.len() <= medium.bytes.len());
        if medium.broken || medium.left == Some(0) {
            return Err(FsError::Io);
        }
        medium.left = medium.left.map(|left| left - 1);
        medium.writes += 1;
        for (index, content) in from.chunks(512).enumerate() {
            medium.cached.push((first + index as u64, content.to_vec()));
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), FsError> {
        let mut medium = self.0.borrow_mut();
        if medium.broken || medium.left == Some(0) {
            return Err(FsError::Io);
        }
        medium.syncs += 1;
        for (sector, content) in std::mem::take(&mut medium.cached) {
            medium.bytes[sector as usize * 512..][..512].copy_from_slice(&content);
        }
        Ok(())
    }
}

/// A service on a disk, with one client.
struct Bench {
    model: Model,
    server: Server,
    session: Session<OpenFiles>,
}

impl Bench {
    fn boot(bytes: Vec<u8>, pages: usize) -> Self {
        Bench::on(Model::new(bytes), pages)
    }

    fn on(model: Model, pages: usize) -> Self {
        let region = Box::leak(vec![0; pages * 4096].into_boxed_slice());
        let mut server = Server::on(Box::new(model.clone()), region, Cause::Boot);
        let mut session = Session::for_test(1);
        Service::open(&mut server, &mut session).expect("opens");
        Bench { model, server, session }
    }

    /// What the kernel does at the end of a request that asked for it.
    fn commit(&mut self) {
        if self.server.disk().is_dirty().1 {
            self.server.flush(&mut self.session).expect("flushes");
        }
    }

    /// The service fails between two requests.
    fn crash(self) -> Self {
        let Bench { model, server, mut session } = self;
        let region = server.into_region().expect("nobody else has it");
        let mut server = Server::on(Box::new(model.clone()), region, Cause::Recovery);
        server.reload(&mut session).expect("reloads");
        Bench { model, server, session }
    }

    fn open(&mut self, flags: OpenFlags, path: &str) -> Result<u32, FsError> {
        let result = Fs::open(&mut self.server, &mut self.session, flags, LentRead::for_test(path.as_bytes()));
        self.commit();
        result
    }

    fn close(&mut self, fd: u32) {
        Fs::close(&mut self.server, &mut self.session, fd).expect("it is open");
    }

    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), FsError> {
        self.put_in_steps(path, bytes, |_| ())
    }

    /// The same, with a look at how much there is after each request.
    fn put_in_steps(&mut self, path: &str, bytes: &[u8], mut step: impl FnMut(&[u8])) -> Result<(), FsError> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let fd = Fs::open(&mut self.server, &mut self.session, flags, LentRead::for_test(path.as_bytes()))?;
        step(&[]);
        self.commit();
        let (mut result, mut done) = (Ok(()), 0);
        while done < bytes.len() && result.is_ok() {
            let part = &bytes[done..bytes.len().min(done + 20_000)];
            match self.server.write(&mut self.session, fd, LentRead::for_test(part)) {
                Ok(count) => {
                    done += count as usize;
                    step(&bytes[..done]);
                }
                Err(error) => result = Err(error),
            }
            self.commit();
        }
        self.close(fd);
        result
    }

    fn get(&mut self, path: &str) -> Result<Vec<u8>, FsError> {
        let fd = self.open(OpenFlags::READ, path)?;
        let mut bytes = Vec::new();
        loop {
            let mut part = vec![0; 30_000];
            let count = self.server.read(&mut self.session, fd, LentWrite::for_test(&mut part))? as usize;
            if count == 0 {
                break;
            }
            bytes.extend(&part[..count]);
        }
        self.close(fd);
        Ok(bytes)
    }

    fn remove(&mut self, path: &str) -> Result<(), FsError> {
        let result = self.server.remove(&mut self.session, LentRead::for_test(path.as_bytes()));
        self.commit();
        result
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), FsError> {
        let paths = format!("{from}{to}");
        let result = self.server.rename(&mut self.session, from.len() as u32, LentRead::for_test(paths.as_bytes()));
        self.commit();
        result
    }

    fn mkdir(&mut self, path: &str) -> Result<(), FsError> {
        let result = self.server.mkdir(&mut self.session, LentRead::for_test(path.as_bytes()));
        self.commit();
        result
    }

    fn sync(&mut self) -> Result<(), FsError> {
        self.server.sync(&mut self.session)
    }

    fn assert_clean(&self, why: &str) {
        let image = self.model.image();
        assert_eq!(findings(&image), Vec::<String>::new(), "{why}");
        if let Some(report) = fsck(&image) {
            panic!("{why}: fsck.vfat: {report}");
        }
    }
}

const KINDS: [(FatKind, usize, u32); 4] = [
    (FatKind::Fat12, 2000, 512),
    (FatKind::Fat16, 6000, 1024),
    (FatKind::Fat16, 20_000, 4096),
    (FatKind::Fat32, 40_000, 512),
];

type Files = BTreeMap<String, Vec<u8>>;

/// One random change, in the model and on the volume. Whether the disk still answers. `states` gets what is true after
/// each request.
fn change(bench: &mut Bench, states: &mut Vec<Files>, random: &mut Random) -> Result<(), FsError> {
    let mut files = states.last().cloned().unwrap_or_default();
    let name = |random: &mut Random| {
        let folder = ["", "sub/", "Long folder name/"][random.below(3)];
        format!("{folder}A file with number {}", random.below(8))
    };
    let path = name(random);
    match random.below(8) {
        0..=3 => {
            let len = [100, 3000, 9000, 40_000][random.below(4)];
            let bytes = random.bytes(len);
            bench.put_in_steps(&path, &bytes, |part| {
                files.insert(path.clone(), part.to_vec());
                states.push(files.clone());
            })?;
        }
        4 | 5 => match bench.remove(&path) {
            Ok(()) => {
                assert!(files.remove(&path).is_some());
                states.push(files);
            }
            Err(FsError::NotFound) => assert!(!files.contains_key(&path)),
            Err(error) => return Err(error),
        },
        _ => {
            let target = name(random);
            match bench.rename(&path, &target) {
                Ok(()) => {
                    let bytes = files.remove(&path).expect("it was there");
                    files.insert(target, bytes);
                    states.push(files);
                }
                Err(FsError::NotFound) => assert!(!files.contains_key(&path)),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn populated(kind: FatKind, kib: usize, cluster: u32) -> Vec<u8> {
    let mut bench = Bench::boot(volume(kind, kib, cluster), 600);
    bench.mkdir("sub").expect("there is room");
    bench.mkdir("Long folder name").expect("there is room");
    bench.sync().expect("written");
    bench.assert_clean("after two directories");
    bench.model.image()
}

/// Every file is as it was at some sync or later: `old` is what was synced last, `steps` what was true after each
/// change since.
fn assert_one_of(bench: &mut Bench, states: &[Files], why: &str) {
    let found: Files = states
        .iter()
        .flat_map(|files| files.keys())
        .cloned()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .filter_map(|path| match bench.get(&path) {
            Ok(bytes) => Some((path, bytes)),
            Err(FsError::NotFound) => None,
            Err(error) => panic!("{why}: {path}: {error}"),
        })
        .collect();
    let names: Vec<_> = found.iter().map(|(path, bytes)| (path, bytes.len())).collect();
    assert!(states.contains(&found), "{why}: {} states, found {names:?}", states.len());
}

#[test]
fn power_cuts_lose_nothing_that_was_synced() {
    for (kind, kib, cluster) in KINDS {
        let start = populated(kind, kib, cluster);
        for seed in 0..12 {
            let mut random = Random::new(seed * 7 + kib as u64);
            let mut bench = Bench::boot(start.clone(), 600);
            let mut states = vec![Files::new()];
            for _ in 0..6 {
                change(&mut bench, &mut states, &mut random).expect("there is room");
            }
            bench.sync().expect("written");
            states.drain(..states.len() - 1);
            bench.model.0.borrow_mut().left = Some(random.below(60));
            let result = loop {
                let result = if random.below(4) == 0 {
                    bench.sync().map(|()| states.drain(..states.len() - 1).for_each(drop))
                } else {
                    change(&mut bench, &mut states, &mut random)
                };
                if let Err(error) = result {
                    break error;
                }
                if bench.model.0.borrow().left == Some(0) {
                    break FsError::Io;
                }
            };
            assert_eq!(result, FsError::Io);
            let why = format!("{kind:?} seed {seed}");
            let image = bench.model.after_cut(&mut random);
            let mut after = Bench::boot(image, 600);
            after.assert_clean(&why);
            assert_one_of(&mut after, &states, &why);
            // It goes on from there.
            after.put("and on", &[1; 3000]).expect("it can be written");
            after.sync().expect("written");
            after.assert_clean(&why);
        }
    }
}

#[test]
fn failures_of_the_service_in_the_middle_of_writing_lose_nothing() {
    for (kind, kib, cluster) in KINDS {
        let mut random = Random::new(kib as u64);
        let mut bench = Bench::boot(populated(kind, kib, cluster), 600);
        let mut states = vec![Files::new()];
        for round in 0..60 {
            for _ in 0..random.below(4) {
                change(&mut bench, &mut states, &mut random).expect("there is room");
            }
            states.drain(..states.len() - 1);
            // The disk breaks in the middle of writing back, the service is built anew, and the disk works again.
            bench.model.0.borrow_mut().left = Some(random.below(12));
            let _ = bench.sync();
            bench.model.0.borrow_mut().left = None;
            if random.below(2) == 0 {
                bench = bench.crash();
            }
            for (path, bytes) in &states[0] {
                assert!(bench.get(path).expect("it is there") == *bytes, "{path} in round {round}");
            }
            if random.below(3) == 0 {
                bench.sync().expect("written");
                bench.assert_clean(&format!("{kind:?} round {round}"));
            }
        }
    }
}

#[test]
fn what_is_much_larger_than_the_cache_goes_through_it() {
    let mut random = Random::new(5);
    let mut bench = Bench::boot(volume(FatKind::Fat16, 30_000, 2048), 500);
    let mut files = Files::new();
    for number in 0..12 {
        let bytes = random.bytes(1_500_000 + number * 3001);
        bench.put(&format!("{number}"), &bytes).expect("there is room");
        files.insert(format!("{number}"), bytes);
    }
    for (path, bytes) in &files {
        assert!(bench.get(path).expect("it is there") == *bytes, "{path}");
    }
    bench.sync().expect("written");
    bench.assert_clean("after large files");
    // All of it is on the disk.
    let mut again = Bench::boot(bench.model.image(), 300);
    for (path, bytes) in &files {
        assert!(again.get(path).expect("it is there") == *bytes, "{path}");
    }
    // A sync without changes costs nothing; one with a change two syncs of the disk.
    let before = again.model.0.borrow().syncs;
    again.sync().expect("nothing to write");
    again.sync().expect("nothing to write");
    assert!(again.model.0.borrow().syncs <= before + 1);
    again.put("small", &[1; 10]).expect("there is room");
    let before = again.model.0.borrow().syncs;
    again.sync().expect("written");
    assert_eq!(again.model.0.borrow().syncs, before + 2);
}

#[test]
fn a_disk_that_cannot_be_written_is_read() {
    let mut bench = Bench::boot(populated(FatKind::Fat16, 6000, 1024), 300);
    bench.put("sub/a", &[7; 5000]).expect("there is room");
    bench.sync().expect("written");
    let model = Model::new(bench.model.image());
    model.0.borrow_mut().read_only = true;
    let mut bench = Bench::on(model, 300);
    assert_eq!(bench.get("sub/a").expect("it is there"), [7; 5000]);
    assert_eq!(bench.put("b", &[1]), Err(FsError::ReadOnlyDisk));
    assert_eq!(bench.put("sub/a", &[1]), Err(FsError::ReadOnlyDisk));
    assert_eq!(bench.remove("sub/a"), Err(FsError::ReadOnlyDisk));
    assert_eq!(bench.mkdir("c"), Err(FsError::ReadOnlyDisk));
    bench.sync().expect("nothing to write");
    assert_eq!(bench.model.0.borrow().writes, 0);
}

#[test]
fn a_damaged_volume_on_a_disk_is_never_written() {
    let mut image = populated(FatKind::Fat16, 6000, 1024);
    // Two directories with the same clusters.
    let geometry = image.clone();
    let root = geometry.windows(11).position(|name| name == b"SUB        ").expect("it is there");
    let other = geometry.windows(11).position(|name| name == b"LONGFO~1   ").expect("it is there");
    image.copy_within(root + 26..root + 28, other + 26);
    let mut bench = Bench::boot(image, 300);
    assert_eq!(bench.put("b", &[1]), Err(FsError::Damaged));
    assert_eq!(bench.sync(), Err(FsError::Damaged));
    assert_eq!(bench.model.0.borrow().writes, 0);
    let mut noise = Bench::boot(vec![0x5a; 1 << 20], 100);
    assert_eq!(noise.put("b", &[1]), Err(FsError::NoVolume));
    assert_eq!(noise.model.0.borrow().writes, 0);
}

#[test]
fn a_disk_that_breaks_is_told_and_nothing_in_the_cache_is_lost() {
    let mut bench = Bench::boot(populated(FatKind::Fat16, 6000, 1024), 300);
    bench.put("a", &[7; 5000]).expect("there is room");
    bench.model.0.borrow_mut().broken = true;
    assert_eq!(bench.sync(), Err(FsError::Io));
    assert_eq!(bench.get("a").expect("it is in the cache"), [7; 5000]);
    let mut refused = 0;
    for number in 0..300 {
        match bench.put("b", &[number as u8; 40_000]) {
            Ok(()) => {}
            Err(FsError::Io) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 0 || bench.get("b").is_ok());
    bench.model.0.borrow_mut().broken = false;
    bench.sync().expect("it works again");
    bench.assert_clean("after the disk broke");
    assert_eq!(Bench::boot(bench.model.image(), 300).get("a").expect("it is there"), [7; 5000]);
}

#[test]
fn the_journal_is_nobodys() {
    let mut bench = Bench::boot(populated(FatKind::Fat16, 6000, 1024), 300);
    let stat = bench.server.stat(&mut bench.session, LentRead::for_test(b"curios.jnl")).expect("it is there");
    assert!(stat.attributes.contains(Attributes::HIDDEN | Attributes::SYSTEM) && stat.size > 100_000);
    assert_eq!(bench.remove("CURIOS.JNL"), Err(FsError::Busy));
    assert_eq!(bench.rename("curios.jnl", "x"), Err(FsError::Busy));
    bench.put("x", &[1]).expect("there is room");
    assert_eq!(bench.rename("x", "curios.jnl"), Err(FsError::Busy));
    assert_eq!(bench.open(OpenFlags::WRITE, "CURIOS.JNL"), Err(FsError::ReadOnly));
    let mut buffer = vec![0; 4096];
    let path = LentRead::for_test(b"");
    let (len, _) = bench.server.list(&mut bench.session, 0, path, LentWrite::for_test(&mut buffer)).expect("lists");
    let names: Vec<_> = fs::Entries::new(&buffer[..len as usize]).map(|entry| entry.name.to_owned()).collect();
    assert_eq!(names, ["sub", "Long folder name", "x"]);
}

#[test]
fn a_volume_without_room_for_a_journal_works() {
    let mut bench = Bench::boot(volume(FatKind::Fat12, 100, 512), 100);
    bench.put("a", &[7; 50_000]).expect("there is room");
    bench.sync().expect("written");
    bench.assert_clean("without a journal");
    let mut again = Bench::boot(bench.model.image(), 100);
    assert_eq!(again.get("a").expect("it is there"), [7; 50_000]);
    assert!(again.server.stat(&mut again.session, LentRead::for_test(b"CURIOS.JNL")).is_err());
}

#[test]
fn full_disks_are_told() {
    let mut bench = Bench::boot(populated(FatKind::Fat16, 6000, 1024), 400);
    let mut full = 0;
    for number in 0..40 {
        match bench.put(&format!("sub/{number}"), &vec![number as u8; 200_000]) {
            Ok(()) => {}
            Err(FsError::NoSpace) => full += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(full > 0);
    bench.sync().expect("written");
    bench.assert_clean("a full disk");
    for number in 0..40 {
        let _ = bench.remove(&format!("sub/{number}"));
    }
    bench.put("after", &[3; 100_000]).expect("there is room again");
    bench.sync().expect("written");
    bench.assert_clean("after it was emptied");
    let fd = bench.open(OpenFlags::READ, "after").expect("it is there");
    let end = bench.server.seek(&mut bench.session, fd, Whence::End, 0).expect("seeks");
    assert_eq!(end, 100_000);
}
