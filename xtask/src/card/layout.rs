//! The card as a sequence of bytes: partition table, a FAT32 volume to boot from, the disk.
//!
//! ```text
//! byte 0        partition table (MBR)
//! byte 8192     boot loader, where the boot ROM does not read FAT
//! 1 MiB         partition 1, active: FAT32 with boot loader, script and kernel
//! 49 MiB        partition 2: the disk, a FAT16 volume
//! ```

use std::io::Cursor;

use anyhow::{Context, Result, bail};
use hadris_fs::{Content, Node, Tree};
use mbrman::{BOOT_ACTIVE, BOOT_INACTIVE, CHS, MBRHeader, MBRPartitionEntry};

use crate::disk;

const SECTOR: usize = 512;
const MIB: usize = 1 << 20;
/// Where the first partition starts: what a boot ROM reads by sector lies before it.
pub const START: usize = MIB;
/// Bytes of the volume to boot from: enough clusters for FAT32, enough room for a kernel with a full disk in its image.
pub const BOOT: usize = 48 * MIB;
/// Where the disk starts.
pub const DISK: usize = START + BOOT;
/// Signature of the partition table: the same on every run.
const SIGNATURE: [u8; 4] = *b"curi";
/// FAT32 and FAT16, both addressed by sector number. A TI boot ROM takes these types (AM335x TRM 26.1.8.5).
const TYPES: [u8; 2] = [0x0c, 0x0e];

/// What goes onto a card.
pub struct Parts<'p> {
    /// Files of the volume to boot from.
    pub files: &'p [(&'p str, Vec<u8>)],
    /// What lies outside all partitions: first byte, bytes.
    pub raw: &'p [(u64, &'p [u8])],
    /// A FAT volume.
    pub disk: &'p [u8],
}

/// Puts a card together. Its length is a power of two, as QEMU wants it of a card.
///
/// # Errors
/// If something does not fit.
pub fn card(parts: &Parts) -> Result<Vec<u8>> {
    let mut tree = Tree::new();
    for (name, bytes) in parts.files {
        tree.insert(name, Node::file(Content::bytes(bytes.clone())))?;
    }
    let boot = disk::make_fat32(&tree, BOOT, START as u64)?;
    let end = DISK + parts.disk.len().next_multiple_of(MIB);
    let mut card = vec![0; end.next_power_of_two()];
    put(&mut card, START, &boot)?;
    put(&mut card, DISK, parts.disk)?;
    for (start, bytes) in parts.raw {
        let start = usize::try_from(*start).context("a boot loader lies outside the card")?;
        if start < SECTOR || start + bytes.len() > START {
            bail!("a boot loader of {} bytes does not fit between partition table and first partition", bytes.len());
        }
        put(&mut card, start, bytes)?;
    }
    let mut header = MBRHeader::new(SIGNATURE);
    header[1] = partition(BOOT_ACTIVE, TYPES[0], START, BOOT)?;
    header[2] = partition(BOOT_INACTIVE, TYPES[1], DISK, end - DISK)?;
    let mut table = Cursor::new(vec![0; SECTOR]);
    header.write_into(&mut table).context("the partition table cannot be made")?;
    put(&mut card, 0, table.get_ref())?;
    Ok(card)
}

fn partition(boot: u8, sys: u8, start: usize, length: usize) -> Result<MBRPartitionEntry> {
    // The usual geometry of a disk without one. The boot ROMs go by sector numbers, but some tools warn of zeros.
    let chs = |sector| CHS::from_lba_exact(sector, 1023, 255, 63).context("the card is too large for its table");
    let (starting_lba, sectors) = (u32::try_from(start / SECTOR)?, u32::try_from(length / SECTOR)?);
    let (first_chs, last_chs) = (chs(starting_lba)?, chs(starting_lba + sectors - 1)?);
    Ok(MBRPartitionEntry { boot, first_chs, sys, last_chs, starting_lba, sectors })
}

fn put(card: &mut [u8], start: usize, bytes: &[u8]) -> Result<()> {
    let room = card.get_mut(start..start + bytes.len()).context("the card is too small")?;
    room.copy_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'p>(files: &'p [(&'p str, Vec<u8>)], raw: &'p [(u64, &'p [u8])], disk: &'p [u8]) -> Parts<'p> {
        Parts { files, raw, disk }
    }

    #[test]
    fn all_parts_are_where_the_table_says() {
        let disk = disk::load(None, 3 << 20).expect("a disk");
        let files = [("MLO", vec![1; 70_000]), ("boot.scr", vec![2; 3])];
        let card = card(&parts(&files, &[(8192, &[7; 1000])], &disk)).expect("a card");
        assert!(card.len().is_power_of_two());
        assert_eq!(card[8191..9193], [[0].as_slice(), &[7; 1000], &[0]].concat());

        let header = MBRHeader::read_from(&mut Cursor::new(&card)).expect("a table");
        let range = |entry: &MBRPartitionEntry| {
            let (start, length) = (entry.starting_lba as usize * SECTOR, entry.sectors as usize * SECTOR);
            &card[start..start + length]
        };
        assert!(header[1].is_active() && header[1].sys == 0x0c && header[2].sys == 0x0e && header[3].is_unused());
        let boot = range(&header[1]);
        assert_eq!(disk::check(boot), Ok(BOOT));
        assert_eq!(&boot[82..90], b"FAT32   ");
        // Sectors before the volume (BPB_HiddSec): those of the table.
        assert_eq!(boot[28..32], header[1].starting_lba.to_le_bytes());
        assert_eq!(disk::read_file(boot, "MLO").expect("there"), files[0].1);
        assert_eq!(disk::read_file(boot, "boot.scr").expect("there"), files[1].1);
        assert_eq!(&range(&header[2])[..disk.len()], disk);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let large = vec![0; START];
        for raw in [(8192, &large[..]), (0, &large[..512])] {
            assert!(card(&parts(&[], &[raw], &[])).is_err());
        }
        assert!(card(&parts(&[("large", vec![0; BOOT])], &[], &[])).is_err());
    }
}
