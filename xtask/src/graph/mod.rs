//! `cargo xtask graph`: who may call whom, who may start whom, who owns which device, and who may ask what of the kernel.
//!
//! All of it stands in the manifests, which the kernel enforces: the picture shows what is possible, not what happens.

mod draw;
mod model;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::artefact;
use crate::board::Choice;
use crate::demo;
use crate::host;
use crate::image::{self, BLOBS};
use crate::workspace::Workspace;

/// Draws who may call whom, who owns which device, and who may ask what of the kernel. Needs no compiler for the board.
#[derive(Args)]
pub struct Graph {
    #[command(flatten)]
    board: Choice,
    /// Where the picture goes (default: graph.svg among this tool's products; with --json: standard output)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Nodes and edges as JSON instead of a picture
    #[arg(long)]
    json: bool,
    /// Everything in the workspace, not only what `cargo xtask run` boots: tests and benchmarks, too
    #[arg(long)]
    all: bool,
}

impl Graph {
    fn title(&self) -> String {
        let what = if self.all { "everything in the workspace" } else { "what cargo xtask run boots" };
        format!("curios-rs on {}: {what}", self.board.board.name)
    }

    /// Does it.
    ///
    /// # Errors
    /// If the manifests do not hold together, or the file cannot be written.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        let manifests = artefact::manifests(workspace, self.board.board)?;
        image::check(&manifests, BLOBS, self.board.board)?;
        let (manifests, _) = image::without_absent(manifests);
        let booted = image::selection(&manifests, &[demo::PROGRAM])?;
        let shown = if self.all { manifests.iter().collect() } else { booted.clone() };
        let model = model::Model::of(&shown, &booted, self.board.board);
        let text =
            if self.json { serde_json::to_string_pretty(&model)? + "\n" } else { draw::svg(&self.title(), &model) };
        let out = match self.out {
            None if self.json => {
                print!("{text}");
                return Ok(ExitCode::SUCCESS);
            }
            None => {
                let folder = workspace.products();
                std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
                folder.join("graph.svg")
            }
            Some(out) => out,
        };
        std::fs::write(&out, text).with_context(|| format!("cannot write {}", out.display()))?;
        host::say(&format!("{}", out.display()));
        Ok(ExitCode::SUCCESS)
    }
}
