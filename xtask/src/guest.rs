//! Compiles everything that runs on the board, in one go.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;

use crate::board::Board;
use crate::host;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

/// Name of the kernel's package.
pub const KERNEL: &str = "kernel";
/// Variable that tells the kernel's build script the board.
pub const BOARD: &str = "CURIOS_BOARD";

/// The executables of the board, with debug information, by package.
pub struct Executables(BTreeMap<String, PathBuf>);

impl Executables {
    /// Puts a copy of the kernel into a folder, and goes by that: cargo replaces its own at the next build for another board.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_kernel(&mut self, folder: &Path) -> Result<()> {
        let (kept, new) = (folder.join(KERNEL), folder.join(format!("{KERNEL}.{}", std::process::id())));
        std::fs::copy(self.of(KERNEL)?, &new)
            .and_then(|_| std::fs::rename(&new, &kept))
            .with_context(|| format!("cannot write {}", kept.display()))?;
        self.0.insert(KERNEL.to_owned(), kept);
        Ok(())
    }

    /// The executable of a package.
    ///
    /// # Errors
    /// If the package has none.
    pub fn of(&self, package: &str) -> Result<&PathBuf> {
        self.0.get(package).with_context(|| format!("package {package} has no executable for the board"))
    }
}

/// Compiles kernel, services and programs; cargo's own output shows the progress. Only the kernel depends on the board.
///
/// # Errors
/// If cargo fails; what was wrong stands on the terminal by then.
pub fn build(workspace: &Workspace, toolchain: &Toolchain, board: &Board) -> Result<Executables> {
    let packages = workspace.guest_packages();
    let mut command = toolchain.cargo(workspace, "build");
    command.env(BOARD, board.name);
    command.args(["--release", "--bins", "--quiet", "--message-format", "json-render-diagnostics"]);
    for package in &packages {
        command.args(["--package", &package.id.repr]);
    }
    let bar = host::spinner("compiling kernel, services and programs");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", host::shown(&command)))?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut executables = BTreeMap::new();
    for message in Message::parse_stream(BufReader::new(output)) {
        let Message::CompilerArtifact(artifact) = message.context("cannot read cargo's messages")? else { continue };
        let Some(executable) = artifact.executable else { continue };
        if let Some(package) = packages.iter().find(|package| package.id == artifact.package_id) {
            executables.insert(package.name.to_string(), executable.into_std_path_buf());
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    bar.finish_and_clear();
    if !status.success() {
        bail!("the kernel, a service or a program does not compile (see above)");
    }
    Ok(Executables(executables))
}
