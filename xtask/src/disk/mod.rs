//! The RAM disk: made from a directory or taken from an image, checked, and read back.
//!
//! `hadris-fat` makes, reads and checks volumes. Its check is read-only and tells what `fsck.vfat` would; nothing
//! is handed to the file service, or written back to the user, that did not pass it.

mod sample;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::path::Path;

use anyhow::{Context, Result, bail};
use hadris_fat::sync::FatFs;
use hadris_fat::{FatKind, FatOptions, Geometry, VolumeLabel};
use hadris_fs::host::{Symlinks, TreeOptions};
use hadris_fs::sync::Volume;
use hadris_fs::{FileType, MountOptions, Node, Tree};
use hadris_storage::{BlockSize, MemDevice};

pub use sample::sample;

use crate::host;

/// The only size of a sector that the file service reads.
const SECTOR: u32 = 512;
/// A little more than the least number of clusters that makes a volume FAT16 (4085).
const FEWEST_CLUSTERS: usize = 4200;
/// The volume's serial number: the same on every run, like all else in the volume.
const SERIAL: u32 = 0x4352_494f;
/// What the check may remember at once: 16 MiB of the smallest clusters in one pass.
const SCRATCH: usize = 5120;
/// First bytes of the header of a journal (`services/fs/src/journal.rs`).
const JOURNAL: &[u8] = b"CURIOSJ1";
/// The most findings that an error quotes.
const QUOTED: usize = 5;

/// What is wrong with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// No FAT volume at all.
    NotFat(String),
    /// A FAT volume, but one that cannot be used here.
    Unsupported(String),
    /// A FAT volume that is damaged.
    Damaged(String),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskError::NotFat(text) => {
                write!(f, "not a FAT volume: {text} (of a disk with partitions, name the image of one partition)")
            }
            DiskError::Unsupported(text) => f.write_str(text),
            DiskError::Damaged(text) => {
                write!(f, "the volume is damaged: {text}\n(fsck.vfat -a on a copy may mend it)")
            }
        }
    }
}

impl std::error::Error for DiskError {}

/// Gets the disk that the user named, or the sample set. The result is a clean volume of at most `room` bytes.
///
/// # Errors
/// If there is no such file or directory, it does not fit, or it is no undamaged FAT
/// volume. What was named is only read.
pub fn load(named: Option<&Path>, room: usize) -> Result<Vec<u8>> {
    let Some(path) = named else {
        return make(&sample()?, room);
    };
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return host::unusable(format!("--disk {}: {error}", path.display())),
    };
    let name = || format!("--disk {}", path.display());
    if metadata.is_dir() {
        return read_directory(path).and_then(|tree| make(&tree, room)).with_context(name);
    }
    if metadata.len() > room as u64 {
        bail!("{}: {} bytes, but the RAM disk has room for {room}", name(), metadata.len());
    }
    let mut image = std::fs::read(path).with_context(name)?;
    widen_sector_count(&mut image);
    let length = check(&image).with_context(name)?;
    image.truncate(length);
    Ok(image)
}

/// Looks at an image that is to be the machine's disk, and returns what is in it. It is only read; the file service
/// writes it.
///
/// # Errors
/// If it cannot be read and written, or is no undamaged volume. What a power cut left half written the file service
/// finishes: such a volume is no damaged one.
pub fn attachable(path: &Path) -> Result<Vec<u8>> {
    let name = || format!("--disk {}", path.display());
    std::fs::OpenOptions::new().read(true).write(true).open(path).with_context(name)?;
    let image = std::fs::read(path).with_context(name)?;
    if !is_unfinished(&image) {
        let mut copy = image.clone();
        widen_sector_count(&mut copy);
        check(&copy).with_context(name)?;
    }
    Ok(image)
}

/// Whether the file service was writing a batch of changes when the power failed: the journal of the volume has a header.
fn is_unfinished(image: &[u8]) -> bool {
    is_boot_sector(image) && image.chunks(SECTOR as usize).any(|sector| sector.starts_with(JOURNAL))
}

/// Checks an image, and returns the length of the volume in it (the image may be longer). ///
/// # Errors
/// What it is if no usable volume, and what is wrong with it.
pub fn check(image: &[u8]) -> Result<usize, DiskError> {
    let block = BlockSize::new(SECTOR).ok_or_else(|| DiskError::Unsupported("sectors of no known size".into()))?;
    if image.len() < SECTOR as usize {
        return Err(DiskError::NotFat("shorter than a sector".into()));
    }
    let geometry = *FatFs::mount(MemDevice::new(image, block), MountOptions::new().read_only())
        .map_err(|error| match is_boot_sector(image) {
            true => DiskError::Damaged(error.to_string()),
            false => DiskError::NotFat(error.to_string()),
        })?
        .info();
    if geometry.sector_size() != SECTOR {
        let text = format!(
            "the volume has sectors of {} bytes; only {SECTOR} are supported (mkfs.vfat -S {SECTOR})",
            geometry.sector_size()
        );
        return Err(DiskError::Unsupported(text));
    }
    let (mut findings, mut text) = (0, String::new());
    let report = hadris_fat::sync::check(&mut MemDevice::new(image, block), &mut [0; SCRATCH], |finding| {
        findings += 1;
        if findings <= QUOTED {
            // Writing to a text does not fail.
            let _ = write!(text, "\n  {finding}");
        }
    });
    match report {
        Err(error) => Err(DiskError::Damaged(error.to_string())),
        Ok(report) if !report.is_clean() => Err(DiskError::Damaged(format!("{} findings{text}", report.findings()))),
        Ok(_) => volume_length(image, &geometry),
    }
}

/// Moves the number of sectors of a small FAT32 volume to where FAT32 has it.
///
/// `mkfs.vfat -F 32` writes a number below 65536 into the field of 16 bits, which must be 0 in FAT32 (Microsoft's FAT
/// specification, `BPB_TotSec16`); other systems mind, and the library calls it damage.
fn widen_sector_count(image: &mut [u8]) {
    let half =
        |image: &[u8], at: usize| image.get(at..at + 2).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    let backup = usize::from(half(image, 50)).saturating_mul(SECTOR as usize);
    let is_fat32 = is_boot_sector(image) && half(image, 17) == 0 && half(image, 22) == 0;
    for start in [0, backup] {
        let Some(sector) = image.get_mut(start..start + SECTOR as usize).filter(|_| is_fat32) else { return };
        let count = half(sector, 19);
        if count != 0 && sector[32..36] == [0; 4] && sector[510..] == [0x55, 0xaa] {
            sector[32..34].copy_from_slice(&count.to_le_bytes());
            sector[19..21].fill(0);
        }
    }
}

/// Whether the first sector at least claims to be that of a FAT volume: signature, jump, and size of a sector.
fn is_boot_sector(image: &[u8]) -> bool {
    image.get(510..512) == Some(&[0x55, 0xaa])
        && matches!(image[0], 0xeb | 0xe9)
        && u16::from_le_bytes([image[11], image[12]]).is_power_of_two()
}

/// The volume's own number of sectors (16 or, if that is 0, 32 bits of the boot sector).
fn volume_length(image: &[u8], geometry: &Geometry) -> Result<usize, DiskError> {
    let small = u32::from(u16::from_le_bytes([image[19], image[20]]));
    let large = u32::from_le_bytes([image[32], image[33], image[34], image[35]]);
    let sectors = if small == 0 { large } else { small };
    let length = u64::from(sectors) * u64::from(SECTOR);
    match usize::try_from(length) {
        Ok(length) if length <= image.len() && length as u64 >= geometry.data_end() => Ok(length),
        _ => Err(DiskError::Damaged(format!(
            "its boot sector says {sectors} sectors, but the image has {} bytes",
            image.len()
        ))),
    }
}

/// The files and directories in a directory of the host; links are followed.
fn read_directory(path: &Path) -> Result<Tree> {
    let (found, _) = hadris_fs::host::read_tree(path, &TreeOptions::new().with_symlinks(Symlinks::Follow))?;
    // A tree of its own: without times and owners, so that the same files give the same volume, and
    // with hard links taken apart, which FAT does not have.
    let mut tree = Tree::new();
    let mut open = vec![(String::new(), found.root())];
    while let Some((path, entry)) = open.pop() {
        let node = match (entry.node().file_type(), entry.node().content()) {
            (FileType::Dir, _) => Node::dir(),
            (_, Some(content)) => Node::file(content.clone()),
            _ => bail!("{path}: neither a file nor a directory"),
        };
        if !path.is_empty() {
            tree.insert(&path, node)?;
        }
        for (name, child) in entry.children() {
            let name =
                std::str::from_utf8(name.as_bytes()).with_context(|| format!("{path}: a name in it is no UTF-8"))?;
            // The library leaves these out of a name; here they would be another name than the user's.
            if name.ends_with(['.', ' ']) {
                bail!("{path}/{name}: FAT drops dots and spaces at the end of a name");
            }
            open.push((format!("{path}/{name}"), child));
        }
    }
    Ok(tree)
}

/// Makes a FAT16 volume of `room` bytes with these files, the same bytes for the same tree.
///
/// # Errors
/// If the files do not fit, a name is none that FAT can hold, or `room` is too small for FAT16.
fn make(tree: &Tree, room: usize) -> Result<Vec<u8>> {
    // Large clusters need fewer updates of the table.
    let cluster = [4096, 2048, 1024, SECTOR].into_iter().find(|size| room / *size as usize >= FEWEST_CLUSTERS);
    let Some(cluster) = cluster else {
        bail!("{room} bytes are too few for a FAT16 volume; it takes {}", FEWEST_CLUSTERS * SECTOR as usize);
    };
    write(tree, room, label()?.with_kind(FatKind::Fat16).with_cluster_size(cluster))
}

/// What all volumes have in common: the same bytes on every run.
fn label() -> Result<FatOptions> {
    let label = VolumeLabel::new("CURIOS").map_err(|error| anyhow::anyhow!("the label: {error:?}"))?;
    Ok(FatOptions::new().with_label(label).with_serial(SERIAL))
}

/// Makes a FAT32 volume of `room` bytes with these files, to lie at byte `offset` of a card.
///
/// Its clusters are as small as they get, so that a small volume has enough of them to be FAT32 (65525).
///
/// # Errors
/// If the files do not fit, or `room` is too small for FAT32.
pub fn make_fat32(tree: &Tree, room: usize, offset: u64) -> Result<Vec<u8>> {
    write(tree, room, label()?.with_kind(FatKind::Fat32).with_cluster_size(SECTOR).with_partition_offset(offset))
}

fn write(tree: &Tree, room: usize, options: FatOptions) -> Result<Vec<u8>> {
    let block = BlockSize::new(SECTOR).context("sectors of no known size")?;
    let mut device = MemDevice::new(vec![0u8; room / SECTOR as usize * SECTOR as usize], block);
    let report = hadris_fat::sync::write(&mut device, tree, &options)
        .with_context(|| format!("the files do not become a FAT volume of {} KiB", room >> 10))?;
    if let Some(warning) = report.warnings().first() {
        bail!("a FAT volume cannot hold this as it is: {warning}");
    }
    let volume = device.into_inner();
    check(&volume).context("the volume just made is not clean")?;
    Ok(volume)
}

/// The bytes of a file on a volume that [`check`] passed.
///
/// # Errors
/// If there is no such file.
pub fn read_file(volume: &[u8], path: &str) -> Result<Vec<u8>> {
    let block = BlockSize::new(SECTOR).context("sectors of no known size")?;
    let system = FatFs::mount(MemDevice::new(volume.to_vec(), block), MountOptions::new().read_only())
        .context("cannot open the volume")?;
    Volume::new(system).read(path).with_context(|| format!("cannot read {path} from the disk"))
}

/// Writes a volume to a file of the host, all or nothing.
///
/// # Errors
/// If the file cannot be written; whatever was there before is still there then.
pub fn save(volume: &[u8], path: &Path) -> Result<()> {
    let failed = || format!("--save {}: cannot be written", path.display());
    let mut file = tempfile::Builder::new().prefix(".disk-").tempfile_in(folder_of(path)).with_context(failed)?;
    std::io::Write::write_all(&mut file, volume).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(path).with_context(failed)?;
    Ok(())
}

/// Finds out before the run whether [`save`] could work.
///
/// # Errors
/// [`host::Unusable`] if the place is no place for a file.
pub fn check_savable(path: &Path) -> Result<()> {
    if path.is_dir() {
        return host::unusable(format!("--save {}: is a directory", path.display()));
    }
    match tempfile::tempfile_in(folder_of(path)) {
        Ok(_) => Ok(()),
        Err(error) => host::unusable(format!("--save {}: {error}", path.display())),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
