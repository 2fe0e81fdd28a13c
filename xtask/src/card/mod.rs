//! `cargo xtask image`: a complete bootable card.

mod debian;
mod layout;
mod loader;
mod uimage;

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use crate::artefact::System;
use crate::board::{Board, Choice, Place};
use crate::demo;
use crate::disk;
use crate::host;
use crate::image::Start;
use crate::run::FILE_SERVICE;
use crate::workspace::Workspace;

/// The kernel with its boot image, on the card.
const KERNEL: &str = "curios.img";
/// What U-Boot's search for something to boot finds.
const SCRIPT: &str = "boot.scr";
/// Unit in which a card's file gets its holes.
const CHUNK: usize = 64 << 10;

/// Makes a complete bootable card: partition table, boot loader, boot script, kernel, disk.
#[derive(Args)]
pub struct Image {
    #[command(flatten)]
    content: Content,
    /// File that gets the card
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Say what is on the card as JSON
    #[arg(long)]
    json: bool,
}

/// What the user decides about a card.
#[derive(Args)]
pub struct Content {
    #[command(flatten)]
    board: Choice,
    /// Folder with the board's boot loader (default: that of Debian, fetched and kept in `target`)
    #[arg(long, value_name = "DIR")]
    u_boot: Option<PathBuf>,
    /// Directory, or FAT16 or FAT32 image, whose files go to the disk (default: a sample set)
    #[arg(long, value_name = "DIR|IMAGE")]
    disk: Option<PathBuf>,
    /// Seed of the failures that the demonstration injects
    #[arg(long, default_value_t = 1)]
    seed: u16,
    /// Failures that the demonstration injects
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(0..=0x7fff))]
    failures: u16,
}

/// A card, and what is on it.
pub struct Card {
    /// All of it.
    pub bytes: Vec<u8>,
    /// The board that it is for.
    pub board: &'static Board,
    files: Vec<Named>,
    raw: Vec<Named>,
    disk: usize,
    firmware: Option<PathBuf>,
}

/// Something on a card.
#[derive(Serialize)]
struct Named {
    name: String,
    /// First byte on the card, for what is in no partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<u64>,
    bytes: usize,
}

/// What `--json` says.
#[derive(Serialize)]
struct Report<'r> {
    board: &'r str,
    file: &'r Path,
    bytes: usize,
    /// Outside all partitions.
    boot_loader: &'r [Named],
    partitions: [Volume<'r>; 2],
    /// What an emulator must be given as its firmware, if the boot loader does not come from the card.
    firmware: Option<&'r Path>,
}

#[derive(Serialize)]
struct Volume<'r> {
    kind: &'static str,
    start: usize,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<&'r [Named]>,
}

impl Content {
    /// Builds everything, gets the boot loader, and puts the card together.
    ///
    /// # Errors
    /// What cannot be built, had, or made to fit.
    pub fn card(&self, workspace: &Workspace) -> Result<Card> {
        let board = self.board.board;
        // Before anything is built: it may not be had.
        let found = loader::files(workspace, board, self.u_boot.as_deref())?;
        let system = System::build(workspace, board)?;
        let disk = disk::load(self.disk.as_deref(), system.service(FILE_SERVICE)?.common.value as usize)?;
        let argument = demo::argument(self.seed, self.failures, true);
        let start = Start { program: demo::PROGRAM, instances: 1, argument };
        let bootable = system.pack("curios", &[start], Some(&disk))?;
        let bootable = std::fs::read(bootable.path()).context("cannot read the image just made")?;
        let (kernel, script) = loader::kernel_and_script(board, &bootable, KERNEL)?;

        let (mut files, mut raw, mut firmware) = (vec![(KERNEL, kernel), (SCRIPT, script)], Vec::new(), None);
        let mut named = Vec::new();
        for (part, (path, bytes)) in board.loader.files.iter().zip(&found) {
            match part.place {
                Place::Volume => files.push((part.name, bytes.clone())),
                Place::Byte(start) => {
                    raw.push((start, bytes.as_slice()));
                    named.push(Named { name: part.name.into(), start: Some(start), bytes: bytes.len() });
                }
                Place::Firmware => firmware = Some(path.clone()),
            }
        }
        let card = layout::card(&layout::Parts { files: &files, raw: &raw, disk: &disk })?;
        let file = |(name, bytes): &(&str, Vec<u8>)| Named { name: (*name).into(), start: None, bytes: bytes.len() };
        let files = files.iter().map(file).collect();
        Ok(Card { bytes: card, board, files, raw: named, disk: disk.len(), firmware })
    }
}

impl Image {
    /// Does it.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        let card = self.content.card(workspace)?;
        save(&card.bytes, &self.out)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&card.report(&self.out))?);
        } else {
            card.say(&self.out);
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Card {
    fn report<'r>(&'r self, file: &'r Path) -> Report<'r> {
        Report {
            board: self.board.name,
            file,
            bytes: self.bytes.len(),
            boot_loader: &self.raw,
            partitions: [
                Volume { kind: "FAT32", start: layout::START, bytes: layout::BOOT, files: Some(&self.files) },
                Volume { kind: "FAT16", start: layout::DISK, bytes: self.disk, files: None },
            ],
            firmware: self.firmware.as_deref(),
        }
    }

    /// Says what is on it.
    fn say(&self, file: &Path) {
        host::say(&format!("{}: card for {}, {} MiB", file.display(), self.board.name, self.bytes.len() >> 20));
        for raw in &self.raw {
            host::say(&format!("  byte {}: {}, {} KiB", raw.start.unwrap_or(0), raw.name, raw.bytes >> 10));
        }
        let files: Vec<String> =
            self.files.iter().map(|file| format!("{} {} KiB", file.name, file.bytes.div_ceil(1024))).collect();
        host::say(&format!("  partition 1, FAT32: {}", files.join(", ")));
        host::say(&format!("  partition 2, FAT16: the disk, {} KiB", self.disk >> 10));
        if let Some(firmware) = &self.firmware {
            host::say(&format!("  the boot loader is the emulator's firmware: {}", firmware.display()));
        }
    }
}

/// Writes a card to a file, all or nothing; where it is empty the file has holes.
///
/// # Errors
/// If the file cannot be written; whatever was there before is still there then.
fn save(card: &[u8], path: &Path) -> Result<()> {
    let failed = || format!("{}: cannot be written", path.display());
    if path.exists() && !path.is_file() {
        return host::unusable(format!("--out {}: no file (cargo xtask flash writes to a card)", path.display()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".card-").tempfile_in(folder).with_context(failed)?;
    file.as_file().set_len(card.len() as u64).with_context(failed)?;
    for (number, chunk) in card.chunks(CHUNK).enumerate().filter(|(_, chunk)| chunk.iter().any(|byte| *byte != 0)) {
        file.seek(SeekFrom::Start((number * CHUNK) as u64)).with_context(failed)?;
        file.write_all(chunk).with_context(failed)?;
    }
    file.persist(path).with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_with_holes_reads_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sd.img");
        let mut card = vec![0; 5 * CHUNK];
        card[CHUNK + 1] = 1;
        card[5 * CHUNK - 1] = 2;
        save(&card, &path).expect("written");
        assert!(std::fs::read(&path).expect("there") == card);
        assert!(save(&card, folder.path()).is_err());
    }
}
