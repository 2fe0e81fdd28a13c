//! `cargo xtask run`: boots the system, with the demonstration and, at a terminal, the shell.

use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::artefact::System;
use crate::board::{Board, Choice};
use crate::demo;
use crate::disk;
use crate::host;
use crate::image::Start;
use crate::postmortem::{Annotator, Executables};
use crate::qemu::{self, Console, Machine};
use crate::workspace::Workspace;

/// Name of the service that keeps the RAM disk in its common region.
pub const FILE_SERVICE: &str = "fs";
/// Name of the service that drives the machine's disk.
const BLOCK_SERVICE: &str = "block";
/// Name of the program that answers on port 80.
pub const WEB_SERVER: &str = "httpd";
/// Name of the service that is the network.
const NETWORK_SERVICE: &str = "net";
/// Real time that a demonstration may take on a slow host.
const LIMIT: Duration = Duration::from_secs(600);

/// Boots the system: a demonstration, then (at a terminal) the shell. The emulator ends with Ctrl-A X.
#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    board: Choice,
    /// FAT image that becomes the machine's disk, written in place; or a directory whose files go to a RAM disk
    /// (default: a sample set)
    #[arg(long, value_name = "DIR|IMAGE")]
    disk: Option<PathBuf>,
    /// The disk is a device of virtio's modern interface, not of the legacy one
    #[arg(long)]
    modern: bool,
    /// File that gets the content of the disk on exit
    #[arg(long, value_name = "IMAGE")]
    save: Option<PathBuf>,
    /// Seed of the failures that the demonstration injects (default: a new one each time; it is printed)
    #[arg(long)]
    seed: Option<u16>,
    /// Failures that the demonstration injects
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(0..=0x7fff))]
    failures: u16,
    /// Processor, where the emulator offers more than one
    #[arg(long, value_name = "NAME")]
    cpu: Option<String>,
    /// Start the machine in HYP mode
    #[arg(long)]
    hyp: bool,
    /// Connect a network, with the web server on port 80 of the guest
    #[arg(long)]
    net: bool,
    /// Port of the host's loopback that leads to a port of the guest, as in 8080:80 (with --net)
    #[arg(long, value_name = "HOST:GUEST", requires = "net")]
    forward: Vec<qemu::Forward>,
    /// Show failures as the system prints them, without function, file and line
    #[arg(long)]
    no_symbols: bool,
}

impl Run {
    /// Does it. The exit status is the system's own, or 1 if the host finds a promise broken.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        if let Some(path) = &self.save {
            disk::check_savable(path)?;
        }
        let machine = Machine::of(self.board.board, self.cpu.as_deref(), self.hyp)?;
        let emulator = qemu::find()?;
        let system = System::build(workspace, self.board.board)?;
        if self.net && system.service(NETWORK_SERVICE).is_err() {
            return host::unusable(format!(
                "--net: {} has no network device that the system drives",
                system.board.name
            ));
        }
        let room = system.service(FILE_SERVICE)?.common.value as usize;
        let image = self.disk.as_deref().filter(|path| path.is_file());
        if image.is_some() && system.service(BLOCK_SERVICE).is_err() {
            return host::unusable(format!(
                "--disk: {} has no disk that the system drives; name a directory",
                system.board.name
            ));
        }
        let disk = match image {
            Some(path) => disk::attachable(path)?,
            None => disk::load(self.disk.as_deref(), room)?,
        };
        let on_ram = if image.is_none() { &disk[..] } else { &[] };

        let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let seed = self.seed.unwrap_or_else(seed_of_the_moment);
        let argument = demo::argument(seed, self.failures, interactive);
        // Without a terminal there is a demonstration, or there is a server: one of them must not end.
        let demonstrates = interactive || !self.net;
        let demonstration = Start { program: demo::PROGRAM, instances: 1, argument };
        let mut starts: Vec<Start> = demonstrates.then_some(demonstration).into_iter().collect();
        if self.net {
            starts.push(Start { program: WEB_SERVER, instances: 1, argument: 0 });
        }
        let bootable = system.pack("curios", &starts, Some(on_ram))?;
        host::say(&format!(
            "seed {seed}, {} failures, {}{}",
            self.failures,
            machine.cpu,
            if self.hyp { " started in HYP mode" } else { "" }
        ));
        let console = match (interactive, self.net || image.is_some()) {
            (true, _) => Console::Terminal,
            // What a disk does takes real time.
            (false, true) => Console::Paced,
            (false, false) => Console::Output,
        };
        let memory = bootable.memory();
        let mut command = qemu::command(&emulator, system.board, machine, console, &bootable.path(), Some(&memory));
        if self.net {
            qemu::add_network(&mut command, &self.forward);
        }
        if let Some(image) = image {
            qemu::Disk { image, legacy: !self.modern, options: "" }.attach(&mut command);
        }
        let executables = Executables::of(&system)?;
        let mut annotator = Annotator::new(&executables);
        let limit = (!interactive && !self.net).then_some(LIMIT);
        let outcome = qemu::run(command, limit, |bytes| {
            if self.no_symbols { qemu::echo(bytes) } else { annotator.push(bytes, qemu::echo) }
        })?;

        let after = match image {
            Some(path) => std::fs::read(path).with_context(|| format!("cannot read {}", path.display())),
            None => common_region(&outcome.output, FILE_SERVICE)
                .and_then(|region| read_region(&memory, system.board, region)),
        };
        let saved = after.and_then(|bytes| keep(&bytes, self.save.as_deref()));
        let broken = match &saved {
            Ok(after) if !interactive && demonstrates => demo::verify(outcome.lines(), &disk, after),
            Ok(_) => Vec::new(),
            Err(error) => vec![format!("{error:#}")],
        };
        for text in &broken {
            host::say(text);
        }
        match (outcome.status, broken.is_empty()) {
            (0, true) => Ok(ExitCode::SUCCESS),
            (0, false) => Ok(ExitCode::FAILURE),
            (status, _) => {
                host::say(&format!("the system ended with status {status}"));
                Ok(ExitCode::from(u8::try_from(status).unwrap_or(1)))
            }
        }
    }
}

/// A seed that differs from run to run.
fn seed_of_the_moment() -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_millis() % 65521) as u16
}

/// Checks the disk as the system left it, and writes it where the user wants it.
fn keep(bytes: &[u8], save: Option<&Path>) -> Result<Vec<u8>> {
    let (length, verdict) = match disk::check(bytes) {
        Ok(length) => (length, Ok(())),
        Err(error) => (bytes.len(), Err(error)),
    };
    let volume = bytes.get(..length).unwrap_or(bytes).to_vec();
    let Some(path) = save else {
        return verdict.map(|()| volume).context("the disk after the run");
    };
    if let Err(error) = verdict {
        // Never over a good file; the damaged one may still hold what the user wants.
        let aside = PathBuf::from(format!("{}.damaged", path.display()));
        disk::save(&volume, &aside)?;
        return Err(error).with_context(|| format!("the disk after the run, put into {} instead", aside.display()));
    }
    disk::save(&volume, path)?;
    host::say(&format!("the disk is in {}", path.display()));
    Ok(volume)
}

/// Physical address and length of a service's common region, as the kernel's line
/// `[boot] common SERVICE phys ADDRESS len LENGTH` says.
fn common_region(output: &str, service: &str) -> Result<(u32, u32)> {
    let number = |text: Option<&str>| u32::from_str_radix(text?.trim_start_matches("0x"), 16).ok();
    output
        .lines()
        .filter_map(|line| line.trim().strip_prefix("[boot] common "))
        .find_map(|line| {
            let mut words = line.split_whitespace();
            let found = words.next() == Some(service) && words.next() == Some("phys");
            let address = number(words.next())?;
            let named = words.next() == Some("len");
            (found && named).then_some((address, number(words.next())?))
        })
        .with_context(|| format!("the system did not say where the memory of {service} lies: it did not boot"))
}

/// A range of the guest's memory, from the file that held it.
fn read_region(memory: &Path, board: &Board, (address, length): (u32, u32)) -> Result<Vec<u8>> {
    let start = address
        .checked_sub(board.memory_base)
        .filter(|start| u64::from(*start) + u64::from(length) <= u64::from(board.memory_size));
    let Some(start) = start else { bail!("{address:#010x} is outside the memory of {}", board.name) };
    let mut file = std::fs::File::open(memory).context("cannot open the guest's memory")?;
    let mut bytes = vec![0; length as usize];
    file.seek(SeekFrom::Start(u64::from(start)))
        .and_then(|_| file.read_exact(&mut bytes))
        .context("cannot read the guest's memory")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::DEFAULT;

    #[test]
    fn the_common_region_is_found_among_other_lines() {
        let output = "[boot] cortex-a15\r\n[boot] common console phys 0x40900000 len 0x1000\r\n[boot] common fs phys 0x41000000 len 0xc00000\r\n";
        assert_eq!(common_region(output, "fs").expect("there"), (0x4100_0000, 0xc0_0000));
        assert_eq!(common_region(output, "console").expect("there"), (0x4090_0000, 0x1000));
        for bad in ["", "[boot] common fs phys", "[boot] common fs at 0x1 len 0x2", "[boot] common fs phys zz len 0x2"]
        {
            assert!(common_region(bad, "fs").is_err(), "{bad}");
        }
    }

    #[test]
    fn regions_outside_the_memory_are_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for region in [(0, 0x1000), (DEFAULT.memory_base + DEFAULT.memory_size, 1), (DEFAULT.memory_base, u32::MAX)] {
            assert!(read_region(file.path(), DEFAULT, region).is_err());
        }
    }

    #[test]
    fn a_damaged_disk_never_replaces_a_good_file() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("disk.img");
        std::fs::write(&path, "good").expect("a file");
        assert!(keep(&[0; 4096], Some(&path)).is_err());
        assert_eq!(std::fs::read(&path).expect("there"), b"good");
        assert_eq!(std::fs::read(root.path().join("disk.img.damaged")).expect("there"), [0; 4096]);
    }
}
