//! `cargo xtask flash`: writes a card, after making sure that it is one.

mod device;
#[cfg(test)]
mod tests;
mod write;

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::OFlags;

use crate::card::{Card, Content};
use crate::host::{self, unusable};
use crate::workspace::Workspace;

use device::{Disk, Host, Number, size};

/// Writes a bootable card onto a removable disk, and compares. Asks before it overwrites anything.
#[derive(Args)]
pub struct Flash {
    #[command(flatten)]
    content: Content,
    /// The whole disk, such as /dev/sdb; without it the removable disks of this host are listed
    #[arg(value_name = "DEVICE")]
    device: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Flash {
    /// Does it. Status 1 if the user said no, or the card did not read back right.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        let host = Host::own();
        let Some(device) = &self.device else {
            return unusable(format!("which device? {}", candidates(&host)));
        };
        // Known before anything is built.
        let number = number(device)?;
        accepted(&host, device, number, 0)?;
        if !self.yes && !std::io::stdin().is_terminal() {
            return unusable("nobody is there to be asked: --yes overwrites without asking");
        }
        let card = self.content.card(workspace)?;
        let disk = accepted(&host, device, number, card.bytes.len() as u64)?;
        show(&disk, &card);
        if !self.yes && !agreed()? {
            host::say("nothing was written");
            return Ok(ExitCode::FAILURE);
        }
        // The time since then was long enough to mount it, or to put another card in.
        if accepted(&host, device, number, card.bytes.len() as u64)? != disk {
            bail!("{} is not what it was a moment ago; nothing was written", device.display());
        }
        burn(device, number, &card.bytes)?;
        host::say(&format!(
            "{} is a card for {}, read back and compared; it can be taken out",
            device.display(),
            card.board.name
        ));
        Ok(ExitCode::SUCCESS)
    }
}

/// The number of a block device.
fn number(device: &Path) -> Result<Number> {
    let metadata = match std::fs::metadata(device) {
        Ok(metadata) => metadata,
        Err(error) => return unusable(format!("{}: {error}. {}", device.display(), candidates(&Host::own()))),
    };
    if !metadata.file_type().is_block_device() {
        return unusable(format!("{}: no block device (cargo xtask image --out writes to a file)", device.display()));
    }
    Ok((rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev())))
}

fn accepted(host: &Host, device: &Path, number: Number, needed: u64) -> Result<Disk> {
    match host.examine(number, needed) {
        Ok(disk) => Ok(disk),
        Err(refusal) => unusable(format!("{} is not touched: {refusal}", device.display())),
    }
}

/// What could have been meant.
fn candidates(host: &Host) -> String {
    let found: Vec<String> = host.candidates().iter().map(|disk| format!("\n    /dev/{}", describe(disk))).collect();
    if found.is_empty() {
        "This host has no removable disk at the moment".into()
    } else {
        format!("Removable disks of this host:{}", found.concat())
    }
}

fn describe(disk: &Disk) -> String {
    format!("{}: {}, {}", disk.name, disk.model, size(disk.bytes))
}

/// Says what will be lost.
fn show(disk: &Disk, card: &Card) {
    host::say(&format!("/dev/{}, with everything on it, becomes a card for {}:", describe(disk), card.board.name));
    if disk.partitions.is_empty() {
        host::say("  it has no partitions");
    }
    for part in &disk.partitions {
        let content = if part.content.is_empty() { "content unknown" } else { &part.content };
        host::say(&format!("  /dev/{}: {}, {content}", part.name, size(part.bytes)));
    }
}

fn agreed() -> Result<bool> {
    eprint!("xtask: type yes to overwrite it: ");
    std::io::stderr().flush().context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(answer.trim() == "yes")
}

/// Writes and compares, with a bar for each.
fn burn(device: &Path, number: Number, card: &[u8]) -> Result<()> {
    // Of a block device this means: nobody else has it, mounted or held (open(2)).
    let exclusive = OFlags::EXCL.bits().cast_signed();
    let open = OpenOptions::new().read(true).write(true).custom_flags(exclusive).open(device);
    let mut medium: File = match open {
        Ok(medium) => medium,
        Err(error) => return unusable(format!("{}: {error}; nothing was written", device.display())),
    };
    let rdev = medium.metadata().context("the device cannot be looked at")?.rdev();
    if (rustix::fs::major(rdev), rustix::fs::minor(rdev)) != number {
        bail!("{} is another device now; nothing was written", device.display());
    }
    let bar = progress("writing", card.len());
    write::write(card, &mut medium, |done| bar.set_position(done))?;
    bar.finish();
    let bar = progress("comparing", card.len());
    write::compare(card, &mut medium, |done| bar.set_position(done))?;
    bar.finish();
    Ok(())
}

fn progress(what: &str, bytes: usize) -> ProgressBar {
    let bar = ProgressBar::new(bytes as u64);
    if bar.is_hidden() {
        host::say(what);
    }
    if let Ok(style) = ProgressStyle::with_template("{msg:9} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}
