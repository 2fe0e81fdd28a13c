//! Which devices may be overwritten: removable whole disks that nothing uses, and nothing else.
//!
//! Everything here reads what Linux says in `/sys`, `/proc` and `/run/udev`, below a root that tests put elsewhere.
//! A device is looked up by its number, so that no name, link or alias leads to another one.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The largest card taken: cards that these boards read are smaller, disks that somebody would miss are larger.
const LARGEST: u64 = 128 << 30;
/// Unit of `/sys/block/*/size`, whatever the disk's own sectors are.
const SECTOR: u64 = 512;
/// SCSI's type of an optical drive, which is removable, too.
const OPTICAL: &str = "5";

/// Major and minor number.
pub type Number = (u32, u32);

/// A disk that may be overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its name in `/dev`.
    pub name: String,
    /// What it says of itself.
    pub model: String,
    /// Its size.
    pub bytes: u64,
    /// What is lost.
    pub partitions: Vec<Partition>,
    /// Number of the medium since the machine started: another card in the same reader has another one.
    sequence: String,
}

/// A partition on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name in `/dev`.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// File system and label, as far as they are known.
    pub content: String,
}

/// Why a device is not touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The kernel does not know it.
    Unknown,
    /// A part of this disk.
    Partition(String),
    /// Built in.
    Fixed(String),
    /// An optical drive.
    Optical(String),
    /// There is a reader without a card.
    Empty(String),
    /// The card's switch is on, or it is worn.
    WriteProtected(String),
    /// Something of it is the root of the system.
    Root(String),
    /// Something of it is mounted: what, and where.
    Mounted(String, String),
    /// Something of it is swapped to.
    Swap(String),
    /// Something of it is part of another device: what, and of which.
    Held(String, String),
    /// Smaller than the card to be written: its size, and what is needed.
    Small(u64, u64),
    /// Larger than any card.
    Large(u64),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unknown => {
                write!(f, "the kernel of this host knows no such disk (only Linux can tell whether it is safe)")
            }
            Refusal::Partition(disk) => write!(f, "a partition; a card is written whole: name /dev/{disk}"),
            Refusal::Fixed(model) => write!(f, "not removable ({model}): only cards and sticks are overwritten"),
            Refusal::Optical(model) => write!(f, "an optical drive ({model})"),
            Refusal::Empty(model) => write!(f, "there is no card in it ({model})"),
            Refusal::WriteProtected(model) => write!(f, "write-protected ({model}): look at the card's switch"),
            Refusal::Root(name) => write!(f, "/dev/{name} holds the root of this system"),
            Refusal::Mounted(name, place) => write!(f, "/dev/{name} is mounted at {place}: umount it first"),
            Refusal::Swap(name) => write!(f, "/dev/{name} is swapped to: swapoff it first"),
            Refusal::Held(name, holder) => write!(f, "/dev/{name} is part of /dev/{holder}, which is in use"),
            Refusal::Small(bytes, needed) => write!(f, "has {}, but the card needs {}", size(*bytes), size(*needed)),
            Refusal::Large(bytes) => {
                write!(f, "has {}: more than {}, so it is hardly a card", size(*bytes), size(LARGEST))
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// Bytes as a reader of labels on cards knows them: in powers of ten.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{bytes} bytes"),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// What the host says about its devices.
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// The one this runs on.
    pub fn own() -> Host {
        Host::at(Path::new("/"))
    }

    /// One whose `sys`, `proc` and `run` lie in this folder.
    pub fn at(root: &Path) -> Host {
        Host { root: root.to_owned() }
    }

    /// A disk that may be overwritten with `needed` bytes.
    ///
    /// # Errors
    /// Why it must not.
    pub fn examine(&self, number: Number, needed: u64) -> Result<Disk, Refusal> {
        let link = self.root.join(format!("sys/dev/block/{}:{}", number.0, number.1));
        let folder = link.canonicalize().map_err(|_| Refusal::Unknown)?;
        if folder.join("partition").exists() {
            return Err(Refusal::Partition(folder.parent().map_or_else(String::new, name)));
        }
        let disk = self.describe(&folder).ok_or(Refusal::Unknown)?;
        let model = || disk.model.clone();
        if text(&folder.join("device/type")) == OPTICAL {
            return Err(Refusal::Optical(model()));
        }
        // A card in a reader of the board itself is not called removable, but says that it is a card ("MMC" is soldered in).
        if text(&folder.join("removable")) != "1" && text(&folder.join("device/type")) != "SD" {
            return Err(Refusal::Fixed(model()));
        }
        self.unused(&folder)?;
        if disk.bytes == 0 {
            return Err(Refusal::Empty(model()));
        }
        if text(&folder.join("ro")) != "0" {
            return Err(Refusal::WriteProtected(model()));
        }
        if disk.bytes > LARGEST {
            return Err(Refusal::Large(disk.bytes));
        }
        if disk.bytes < needed {
            return Err(Refusal::Small(disk.bytes, needed));
        }
        Ok(disk)
    }

    /// All disks that [`Host::examine`] would accept, by name.
    pub fn candidates(&self) -> Vec<Disk> {
        let mut found: Vec<Disk> = entries(&self.root.join("sys/block"))
            .iter()
            .filter_map(|folder| self.examine(parse(&text(&folder.join("dev")))?, 0).ok())
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    fn describe(&self, folder: &Path) -> Option<Disk> {
        let bytes = |folder: &Path| Some(text(&folder.join("size")).parse::<u64>().ok()?.saturating_mul(SECTOR));
        let words = ["vendor", "model", "name"].map(|what| text(&folder.join("device").join(what)));
        let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let partitions = parts(folder).into_iter().filter_map(|part| {
            let number = text(&part.join("dev"));
            Some(Partition { name: name(&part), bytes: bytes(&part)?, content: self.content(&number) })
        });
        Some(Disk {
            name: name(folder),
            model: if words.is_empty() { "of an unknown make".into() } else { words.join(" ") },
            bytes: bytes(folder)?,
            partitions: partitions.collect(),
            sequence: text(&folder.join("diskseq")),
        })
    }

    /// Refuses a disk that is in use.
    fn unused(&self, folder: &Path) -> Result<(), Refusal> {
        let whole = [folder.to_owned()].into_iter().chain(parts(folder)).map(|folder| {
            let number = text(&folder.join("dev"));
            (name(&folder), number, folder)
        });
        let (mounts, swaps) = (text(&self.root.join("proc/self/mountinfo")), text(&self.root.join("proc/swaps")));
        let mut mounted = None;
        for (name, number, folder) in whole {
            let device = format!("/dev/{name}");
            for (place, source) in mounts.lines().filter_map(|line| mount(line, &number)) {
                // Some file systems (btrfs) have numbers of their own: those are known by the device's name.
                if source.is_none_or(|source| source == device) {
                    if place == "/" {
                        return Err(Refusal::Root(name));
                    }
                    mounted.get_or_insert((name.clone(), place.replace("\\040", " ")));
                }
            }
            if swaps.lines().any(|line| line.split_whitespace().next() == Some(&device)) {
                return Err(Refusal::Swap(name));
            }
            if let Some(holder) = entries(&folder.join("holders")).first() {
                return Err(Refusal::Held(name, self::name(holder)));
            }
        }
        mounted.map_or(Ok(()), |(name, place)| Err(Refusal::Mounted(name, place)))
    }

    /// File system and label of a partition, from udev's notes.
    fn content(&self, number: &str) -> String {
        let notes = text(&self.root.join("run/udev/data").join(format!("b{number}")));
        let of = |key: &str| notes.lines().find_map(|line| line.strip_prefix(key));
        match (of("E:ID_FS_TYPE="), of("E:ID_FS_LABEL=")) {
            (Some(kind), Some(label)) => format!("{kind}, {label}"),
            (Some(kind), None) => kind.to_owned(),
            _ => String::new(),
        }
    }
}

/// Where a line of `mountinfo` (proc_pid_mountinfo(5)) mounts something, and the source's name unless the number is this one.
fn mount<'l>(line: &'l str, number: &str) -> Option<(&'l str, Option<&'l str>)> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ');
    let same = left.nth(2)? == number;
    let place = left.nth(1)?;
    Some((place, if same { None } else { Some(right.split(' ').nth(1)?) }))
}

/// Major and minor number in a text such as `8:16`.
fn parse(text: &str) -> Option<Number> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The folders of a disk's partitions, in order.
fn parts(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|entry| entry.join("partition").exists()).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    all.sort();
    all
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// A file's text without the space round it; empty if it cannot be read.
fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
