//! `cargo xtask build`: the image, without running it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::artefact::{self, System};
use crate::board::Choice;
use crate::demo;
use crate::disk;
use crate::image::Start;
use crate::run::{FILE_SERVICE, WEB_SERVER};
use crate::workspace::Workspace;

/// Builds the bootable image and says where it is.
#[derive(Args)]
pub struct Build {
    #[command(flatten)]
    board: Choice,
    /// Directory, or FAT16 or FAT32 image, whose files go to the RAM disk (default: a sample set)
    #[arg(long, value_name = "DIR|IMAGE")]
    disk: Option<PathBuf>,
    /// Put a copy of the image there
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Seed of the failures that the demonstration injects
    #[arg(long, default_value_t = 1)]
    seed: u16,
    /// Failures that the demonstration injects
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(0..=0x7fff))]
    failures: u16,
    /// With the web server, for a machine that has a network card
    #[arg(long)]
    net: bool,
}

impl Build {
    /// Does it.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        let system = System::build(workspace, self.board.board)?;
        let disk = disk::load(self.disk.as_deref(), system.service(FILE_SERVICE)?.common.value as usize)?;
        let argument = demo::argument(self.seed, self.failures, true);
        let mut starts = vec![Start { program: demo::PROGRAM, instances: 1, argument }];
        if self.net {
            starts.push(Start { program: WEB_SERVER, instances: 1, argument: 0 });
        }
        let bootable = system.pack("curios", &starts, Some(&disk))?;
        if let Some(out) = &self.out {
            std::fs::copy(bootable.path(), out).with_context(|| format!("cannot write {}", out.display()))?;
        }
        artefact::report(&system, "curios", &bootable);
        Ok(ExitCode::SUCCESS)
    }
}
