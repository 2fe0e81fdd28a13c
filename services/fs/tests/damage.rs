//! Regions that hold no volume, or a damaged one: clear errors, no panic, and nothing made worse.

mod common;

use common::{Bed, Random, findings, mount, volume};
use fs::open_files::OpenFiles;
use fs::volume::Verdict;
use fs::{FsError, OpenFlags, Whence};
use hadris_fat::FatKind;
use rt::{Service, Session, State};
use zerocopy::{FromBytes, IntoBytes};

const NEW: OpenFlags = OpenFlags::READ.union(OpenFlags::WRITE).union(OpenFlags::CREATE);

/// A bit of everything, errors welcome.
fn exercise(bed: &mut Bed) {
    let mut paths = vec![String::new()];
    for at in 0..30 {
        let Some(path) = paths.get(at).cloned() else { break };
        if let Ok(entries) = bed.list(&path, 3000) {
            paths.extend(entries.iter().take(12).map(|(name, _)| format!("{path}/{name}")));
        }
        let _ = bed.stat(0, &path);
        let _ = bed.contents(&path);
        if let Ok(fd) = bed.open(1, NEW, &path) {
            let _ = bed.seek(1, fd, Whence::End, -40);
            let _ = bed.read(1, fd, 100);
            let _ = bed.write(1, fd, &[9; 3000]);
            let _ = bed.truncate(1, fd, 10);
            bed.crash();
            let _ = bed.write(1, fd, &[8; 1500]);
            let _ = bed.fstat(1, fd);
            bed.close(1, fd).expect("it is open");
        }
    }
    let _ = bed.usage();
    let _ = bed.sync();
    let _ = bed.mkdir(0, "folder/new folder with a long name");
    let _ = bed.put("folder/new folder with a long name/new file with a long name", &[7; 20_000]);
    let _ = bed.rename(0, "folder/inner", "moved");
    for path in paths.iter().rev() {
        let _ = bed.rename(0, path, "renamed to this");
        let _ = bed.remove(0, path);
    }
}

#[test]
fn no_volume() {
    let mut random = Random::new(7);
    for len in [0, 1, 100, 511, 512, 4096, 5000, 100_000] {
        for fill in 0..3 {
            let mut region = vec![if fill == 1 { 0xff } else { 0 }; len];
            if fill == 2 {
                region = random.bytes(len);
            }
            let before = region.clone();
            let mut bed = Bed::boot(region, 2);
            assert!(matches!(bed.open(0, NEW, "a"), Err(FsError::NoVolume | FsError::Damaged)));
            assert!(matches!(bed.list("", 1000), Err(FsError::NoVolume | FsError::Damaged)));
            assert!(matches!(bed.usage(), Err(FsError::NoVolume | FsError::Damaged)));
            assert!(matches!(bed.sync(), Err(FsError::NoVolume | FsError::Damaged)));
            assert_eq!(bed.close(0, 0), Err(FsError::BadFd));
            exercise(&mut bed);
            assert!(bed.state().0 == before, "nothing is written where there is no volume");
        }
    }
}

/// A volume with files and folders.
fn populated(kind: FatKind, kib: usize, cluster: u32) -> Vec<u8> {
    let mut bed = Bed::boot(volume(kind, kib, cluster), 1);
    bed.mkdir(0, "folder").expect("makes");
    bed.mkdir(0, "folder/inner").expect("makes");
    for number in 0..10u8 {
        let folder = ["", "folder/", "folder/inner/"][number as usize % 3];
        bed.put(&format!("{folder}File number {number}"), &vec![number; 900 * (number as usize + 1)]).expect("writes");
    }
    bed.assert_clean("populated");
    bed.image()
}

fn mutate(kind: FatKind, kib: usize, cluster: u32, seed: u64, rounds: usize) {
    let image = populated(kind, kib, cluster);
    let used = image.iter().rposition(|byte| *byte != 0).expect("it is not empty") + 1;
    let mut random = Random::new(seed);
    let (mut sound, mut damaged, mut refused) = (0, 0, 0);
    for round in 0..rounds {
        let mut bytes = image.clone();
        for _ in 0..1 + random.below(12) {
            let at = match random.below(4) {
                0 => random.below(64),
                1 => 512 + random.below(120),
                _ => random.below(used),
            };
            bytes[at] = [0, 0xff, bytes[at] ^ 1 << random.below(8), random.below(256) as u8][random.below(4)];
        }
        let mut bed = Bed::boot(bytes.clone(), 2);
        let verdict = mount(bytes.clone()).map(|volume| volume.verdict());
        exercise(&mut bed);
        let after = bed.image();
        match verdict {
            Ok(Verdict::Sound) => {
                sound += 1;
                let new = mount(after.clone()).map(|volume| volume.verdict());
                assert_eq!(new, Ok(Verdict::Sound), "round {round}: {:?}", findings(&after));
            }
            Ok(Verdict::Damaged) => {
                damaged += 1;
                assert!(after == bytes, "round {round}: a damaged volume is not written");
            }
            Err(_) => {
                refused += 1;
                assert!(after == bytes, "round {round}: what does not mount is not written");
            }
        }
    }
    assert!(sound > 0 && damaged > 0 && refused > 0, "each case was met: {sound}, {damaged}, {refused}");
}

#[test]
fn mutated_fat12() {
    mutate(FatKind::Fat12, 200, 512, 1, 700);
}

#[test]
fn mutated_fat16() {
    mutate(FatKind::Fat16, 2200, 512, 2, 150);
}

#[test]
fn damaged_volumes_can_be_read() {
    let mut image = populated(FatKind::Fat12, 200, 512);
    let at = image.windows(11).position(|bytes| bytes == b"FILENU~1   ").expect("it is there");
    // The size no longer fits the chain.
    image[at + 29] = 0x40;
    let mut bed = Bed::boot(image, 1);
    for _ in 0..2 {
        assert_eq!(bed.sync(), Err(FsError::Damaged));
        assert_eq!(bed.create(0, "new"), Err(FsError::Damaged));
        assert_eq!(bed.mkdir(0, "new"), Err(FsError::Damaged));
        assert_eq!(bed.remove(0, "File number 3"), Err(FsError::Damaged));
        assert_eq!(bed.open(0, OpenFlags::WRITE, "File number 3"), Err(FsError::Damaged));
        assert_eq!(bed.contents("File number 3").expect("this one is whole"), [3; 3600]);
        assert_eq!(bed.contents("File number 0"), Err(FsError::Damaged));
        bed.crash();
    }
}

#[test]
fn the_verdict_is_kept() {
    let mut bed = Bed::boot(populated(FatKind::Fat12, 200, 512), 2);
    assert_eq!(bed.sessions[0].verdict(), Verdict::Sound);
    // What the sessions say is believed: no check takes the time of a recovery.
    bed.sessions[0].set_verdict(Verdict::Damaged);
    bed.crash();
    assert_eq!(bed.create(1, "new"), Err(FsError::Damaged));
    // A service that recovers without sessions checks again.
    let sessions = std::mem::take(&mut bed.sessions);
    bed.crash();
    bed.sessions = sessions;
    for session in &mut bed.sessions {
        Service::open(bed.server.as_mut().expect("runs"), session).expect("opens");
    }
    assert_eq!(bed.create(1, "new"), Ok(0));
    assert_eq!(bed.sessions[0].verdict(), Verdict::Sound);
}

#[test]
fn a_volume_in_use_stays_marked() {
    let mut image = populated(FatKind::Fat16, 2200, 512);
    assert_eq!(image[512 + 3] & 0x80, 0x80, "FAT16: the mark is bit 15 of entry 1, set if the volume is clean");
    let second = 512 + 512 * usize::from(u16::from_le_bytes([image[22], image[23]]));
    image[512 + 3] &= 0x7f;
    image[second + 3] &= 0x7f;
    let mut bed = Bed::boot(image, 1);
    bed.put("file", b"content").expect("writes");
    let image = bed.image();
    assert_eq!(
        [image[512 + 3] & 0x80, image[second + 3] & 0x80],
        [0, 0],
        "what was not cleanly left elsewhere is not called clean here"
    );
}

#[test]
fn mutated_sessions() {
    let mut bed = Bed::boot(populated(FatKind::Fat12, 200, 512), 2);
    for number in 0..4 {
        bed.open(0, NEW, &format!("File number {}", number * 3)).expect("opens");
    }
    let good = *bed.sessions[0];
    let mut random = Random::new(3);
    let (mut refused, mut accepted) = (0, 0);
    for _ in 0..4000 {
        let mut bytes = good.as_bytes().to_vec();
        for _ in 0..1 + random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        let files = OpenFiles::read_from_bytes(&bytes).expect("any bytes will do");
        if !OpenFiles::validate(&files) {
            refused += 1;
            continue;
        }
        accepted += 1;
        let mut session = Session::<OpenFiles>::for_test(1);
        *session = files;
        bed.server().reload(&mut session).expect("reloads");
    }
    assert!(refused > 3900 && accepted < 100, "{refused} refused, {accepted} accepted");
}

#[test]
fn a_file_that_is_gone_is_lost() {
    let image = populated(FatKind::Fat12, 200, 512);
    let mut bed = Bed::boot(image, 1);
    let fd = bed.open(0, NEW, "File number 9").expect("opens");
    let at = {
        let mut bytes = vec![0; 200 * 1024];
        bed.server().disk().read_at(0, &mut bytes).expect("all of it");
        bytes.windows(11).position(|bytes| bytes == b"FILENU~4   ").expect("it is there")
    };
    bed.server().disk().write_at(at as u64, &[0xe5]).expect("it is there");
    bed.crash();
    assert_eq!(bed.read(0, fd, 10), Err(FsError::Lost));
    assert_eq!(bed.write(0, fd, &[1]), Err(FsError::Lost));
    assert_eq!(bed.fstat(0, fd).map(|stat| stat.size), Err(FsError::Lost));
    bed.close(0, fd).expect("can be closed");
    assert_eq!(bed.close(0, fd), Err(FsError::BadFd));
}
