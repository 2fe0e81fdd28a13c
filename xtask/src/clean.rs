//! `cargo xtask clean`: removes what this tool made.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::host;
use crate::workspace::Workspace;

/// Removes images, disks and everything compiled for the board.
#[derive(Args)]
pub struct Clean {
    /// The library for the board and what was compiled for the host as well
    #[arg(long)]
    all: bool,
}

impl Clean {
    /// Does it.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        let lock = workspace.lock()?;
        host::remove_dir(&workspace.guest_target())?;
        if self.all {
            host::remove_dir(&workspace.target)?;
        } else {
            host::remove_dir(&workspace.products())?;
        }
        drop(lock);
        Ok(ExitCode::SUCCESS)
    }
}
