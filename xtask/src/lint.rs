//! `cargo xtask lint`: formatting and clippy, for the host and for the board, warnings denied.

use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Args;

use crate::guest::KERNEL;
use crate::host;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

/// Checks formatting, and runs clippy on everything for the host and for the board.
#[derive(Args)]
pub struct Lint {
    /// Format the code instead of only checking it
    #[arg(long)]
    fix: bool,
}

impl Lint {
    /// Does it. Status 1 if anything is to be mended.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        let toolchain = Toolchain::find(workspace)?;
        toolchain.need_lints()?;
        let mut format = toolchain.host_cargo(workspace, "fmt");
        format.arg("--all");
        if !self.fix {
            format.arg("--check");
        }

        let mut host = toolchain.host_cargo(workspace, "clippy");
        host.args(["--quiet", "--all-targets"]);
        workspace.host_packages().iter().for_each(|package| {
            host.args(["--package", &package.id.repr]);
        });

        // Of the kernel, its boards and their drivers alone compile there.
        let mut drivers = toolchain.host_cargo(workspace, "clippy");
        drivers.args(["--quiet", "--lib", "--tests", "--package", KERNEL]);

        let mut board = toolchain.cargo(workspace, "clippy");
        board.args(["--quiet", "--release", "--lib", "--bins"]);
        workspace.board_packages().iter().for_each(|package| {
            board.args(["--package", &package.id.repr]);
        });

        let mut good = true;
        for (what, command) in [
            ("formatting", &mut format),
            ("clippy for the host", &mut host),
            ("clippy for the host: drivers of boards", &mut drivers),
            ("clippy for the board", &mut board),
        ] {
            good &= step(what, command)?;
        }
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn step(what: &str, command: &mut Command) -> Result<bool> {
    if what.starts_with("clippy") {
        command.args(["--", "--deny", "warnings"]);
    }
    let bar = host::spinner(what);
    let done = host::run(command);
    bar.finish_and_clear();
    host::say(&format!("{what}: {}", if done.is_ok() { "good" } else { "to be mended" }));
    Ok(done.is_ok())
}
