//! A host made of files: every device that must not be touched, one that may.

use std::fs;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::device::{Disk, Host, Refusal, size};
use super::write::{Medium, compare, write};

const GIB: u64 = 1 << 30;
/// Numbers of the card and of its first partition.
const CARD: (u32, u32) = (8, 16);
const PART: (u32, u32) = (8, 17);

/// A host with a card reader `sdb` that has a card of 16 GiB with a partition in it, and its system on `sda1`.
struct Fake(TempDir);

impl Fake {
    fn new() -> Fake {
        let fake = Fake(tempfile::tempdir().expect("a folder"));
        for (disk, number, removable, gib) in [("sda", 0, "0\n", 100), ("sdb", 16, "1\n", 16)] {
            let folder = format!("sys/devices/usb/{disk}");
            let sectors = (gib * GIB / 512).to_string();
            for (file, text) in [
                ("removable", removable),
                ("ro", "0\n"),
                ("size", &sectors),
                ("diskseq", "9\n"),
                ("device/type", "0\n"),
                ("device/vendor", "Generic \n"),
                ("device/model", "SD/MMC          \n"),
                ("dev", &format!("8:{number}\n")),
            ] {
                fake.file(&format!("{folder}/{file}"), text);
            }
            let part = format!("{folder}/{disk}1");
            fake.file(&format!("{part}/partition"), "1\n");
            fake.file(&format!("{part}/size"), "2048\n");
            fake.file(&format!("{part}/dev"), &format!("8:{}\n", number + 1));
            for (number, folder) in [(number, &folder), (number + 1, &part)] {
                fs::create_dir_all(fake.path(&format!("{folder}/holders"))).expect("a folder");
                fake.link(&format!("sys/dev/block/8:{number}"), &format!("../../../{folder}"));
            }
            fake.link(&format!("sys/block/{disk}"), &format!("../../{folder}"));
        }
        fake.mounts("");
        fake.file("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n");
        fake
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path)
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    /// A file of the card's own folder.
    fn card(&self, file: &str, text: &str) {
        self.file(&format!("sys/devices/usb/sdb/{file}"), text);
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder");
        symlink(target, path).expect("a link");
    }

    /// Mounts: these, and the root on `sda1`.
    fn mounts(&self, lines: &str) {
        let always = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n23 22 0:5 / /proc rw - proc proc rw\n";
        self.file("proc/self/mountinfo", &format!("{always}{lines}"));
    }

    fn examine(&self, number: (u32, u32)) -> Result<Disk, Refusal> {
        Host::at(self.0.path()).examine(number, 64 << 20)
    }

    #[track_caller]
    fn refused(&self, refusal: Refusal) {
        assert_eq!(self.examine(CARD), Err(refusal));
        assert_eq!(Host::at(self.0.path()).candidates(), []);
    }
}

fn named(name: &str) -> String {
    name.to_owned()
}

const MODEL: &str = "Generic SD/MMC";

#[test]
fn a_card_in_a_reader_is_accepted_and_described() {
    let fake = Fake::new();
    fake.file("run/udev/data/b8:17", "S:disk/by-label/HOLIDAYS\nE:ID_FS_TYPE=vfat\nE:ID_FS_LABEL=HOLIDAYS\n");
    let disk = fake.examine(CARD).expect("a card");
    assert_eq!((disk.name.as_str(), disk.model.as_str(), disk.bytes), ("sdb", MODEL, 16 * GIB));
    let part = &disk.partitions[0];
    assert_eq!((part.name.as_str(), part.bytes, part.content.as_str()), ("sdb1", 1 << 20, "vfat, HOLIDAYS"));
    assert_eq!(disk.partitions.len(), 1);
    assert_eq!(Host::at(fake.0.path()).candidates(), std::slice::from_ref(&disk));
    // Another card of the same make in the same reader is another disk.
    fake.card("diskseq", "10\n");
    assert_ne!(fake.examine(CARD), Ok(disk));
}

#[test]
fn a_card_in_a_built_in_reader_is_one_and_soldered_flash_is_not() {
    let fake = Fake::new();
    fake.card("removable", "0\n");
    fake.card("device/type", "SD\n");
    assert!(fake.examine(CARD).is_ok());
    fake.card("device/type", "MMC\n");
    fake.refused(Refusal::Fixed(named(MODEL)));
}

#[test]
fn what_is_no_card_is_refused() {
    let fake = Fake::new();
    assert_eq!(fake.examine((8, 0)), Err(Refusal::Fixed(named(MODEL))));
    assert_eq!(fake.examine(PART), Err(Refusal::Partition(named("sdb"))));
    assert_eq!(fake.examine((9, 9)), Err(Refusal::Unknown));
    fake.card("removable", "");
    fake.refused(Refusal::Fixed(named(MODEL)));
    fake.card("removable", "1");
    fake.card("device/type", "5\n");
    fake.refused(Refusal::Optical(named(MODEL)));
}

#[test]
fn a_disk_in_use_is_refused() {
    let fake = Fake::new();
    for (line, refusal) in [
        (
            "30 22 8:17 / /media/my\\040card rw - vfat /dev/sdb1 rw",
            Refusal::Mounted(named("sdb1"), named("/media/my card")),
        ),
        ("30 22 8:16 / /mnt rw shared:7 - vfat /dev/sdb rw", Refusal::Mounted(named("sdb"), named("/mnt"))),
        ("30 22 0:44 /sub /mnt rw - btrfs /dev/sdb1 rw", Refusal::Mounted(named("sdb1"), named("/mnt"))),
        ("30 22 8:17 / / rw - ext4 /dev/root rw", Refusal::Root(named("sdb1"))),
        ("30 22 8:17 / /boot rw - ext4 x rw\n31 22 8:17 / / rw - ext4 x rw", Refusal::Root(named("sdb1"))),
    ] {
        fake.mounts(line);
        fake.refused(refusal);
    }
    fake.mounts("30 22 8:32 / /mnt rw - vfat /dev/sdc rw");
    assert!(fake.examine(CARD).is_ok(), "another disk is mounted");
    fake.file("proc/swaps", "Filename\n/dev/sdb1 partition 1 0 -2\n");
    fake.refused(Refusal::Swap(named("sdb1")));
    fake.file("proc/swaps", "Filename\n");
    fs::create_dir_all(fake.path("sys/devices/usb/sdb/sdb1/holders/dm-0")).expect("a folder");
    fake.refused(Refusal::Held(named("sdb1"), named("dm-0")));
}

#[test]
fn a_medium_of_the_wrong_kind_is_refused() {
    let fake = Fake::new();
    fake.card("ro", "1\n");
    fake.refused(Refusal::WriteProtected(named(MODEL)));
    fake.card("ro", "0\n");
    for (sectors, refusal) in [(0, Refusal::Empty(named(MODEL))), (512 * GIB / 512, Refusal::Large(512 * GIB))] {
        fake.card("size", &format!("{sectors}\n"));
        fake.refused(refusal);
    }
    fake.card("size", "2880\n");
    assert_eq!(fake.examine(CARD), Err(Refusal::Small(1_474_560, 64 << 20)));
    fake.card("size", "nonsense");
    fake.refused(Refusal::Unknown);
}

#[test]
fn refusals_say_what_to_do() {
    for (refusal, expected) in [
        (Refusal::Partition(named("sdb")), "name /dev/sdb"),
        (Refusal::Mounted(named("sdb1"), named("/mnt")), "umount"),
        (Refusal::Small(1, 64 << 20), "needs 67.1 MB"),
        (Refusal::Large(512 * GIB), "549.8 GB"),
    ] {
        assert!(refusal.to_string().contains(expected), "{refusal}");
    }
    assert_eq!(size(999), "999 bytes");
}

/// A card that loses one bit, or ends early.
struct Bad {
    data: Cursor<Vec<u8>>,
    flipped: Option<usize>,
    end: u64,
    settled: u64,
}

impl Bad {
    fn new(flipped: Option<usize>, end: u64) -> Bad {
        Bad { data: Cursor::new(Vec::new()), flipped, end, settled: 0 }
    }
}

impl Read for Bad {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert_eq!(self.settled, self.data.get_ref().len() as u64, "read before it was on the medium");
        self.data.read(buffer)
    }
}

impl Write for Bad {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.data.position() + bytes.len() as u64 > self.end {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.data.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.data.flush()
    }
}

impl Seek for Bad {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.data.seek(to)
    }
}

impl Medium for Bad {
    fn settle(&mut self) -> io::Result<()> {
        self.settled = self.data.get_ref().len() as u64;
        if let Some(byte) = self.flipped.and_then(|at| self.data.get_mut().get_mut(at)) {
            *byte |= 0x40;
        }
        Ok(())
    }
}

/// A card's content, of a length that is no multiple of anything.
fn content() -> Vec<u8> {
    (0..2_500_000u32).map(|number| (number % 61) as u8).collect()
}

#[test]
fn what_is_written_reads_back() {
    let (card, folder) = (content(), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("device");
    let mut file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path).expect("a file");
    let done = std::cell::Cell::new(0);
    write(&card, &mut file, |bytes| done.set(bytes)).expect("written");
    assert_eq!(done.replace(0), card.len() as u64);
    compare(&card, &mut file, |bytes| done.set(bytes)).expect("the same");
    assert_eq!(done.get(), card.len() as u64);
    assert!(fs::read(&path).expect("there") == card);
}

#[test]
fn a_worn_card_is_noticed_by_the_byte() {
    let (card, at) = (content(), 1_234_567);
    let mut medium = Bad::new(Some(at), u64::MAX);
    write(&card, &mut medium, |_| ()).expect("written");
    let error = compare(&card, &mut medium, |_| ()).expect_err("a bit is wrong").to_string();
    assert!(error.contains("byte 1234567 reads back as 0x"), "{error}");
    assert!(error.contains("worn out"), "{error}");
}

#[test]
fn a_card_that_ends_early_is_noticed() {
    let card = content();
    let error = write(&card, &mut Bad::new(None, 2 << 20), |_| ()).expect_err("full").to_string();
    assert!(error.contains("stopped at byte 2097152"), "{error}");
    let mut short = Bad::new(None, u64::MAX);
    write(&card[..1 << 20], &mut short, |_| ()).expect("written");
    let error = compare(&card, &mut short, |_| ()).expect_err("too short").to_string();
    assert!(error.contains("reading back stopped at byte 1048576"), "{error}");
}

#[test]
fn files_are_no_devices() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let error = super::number(file.path()).expect_err("no device").to_string();
    assert!(error.contains("no block device"), "{error}");
    assert!(super::number(Path::new("/nonexistent")).is_err());
}
