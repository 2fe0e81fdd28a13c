//! Compiles everything that runs on the board, in one go.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use cargo_metadata::Message;

use crate::host;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

/// Name of the kernel's package.
pub const KERNEL: &str = "kernel";

/// The executables of the board, with debug information, by package.
pub struct Executables(BTreeMap<String, PathBuf>);

impl Executables {
    /// The executable of a package.
    ///
    /// # Errors
    /// If the package has none.
    pub fn of(&self, package: &str) -> Result<&PathBuf> {
        self.0.get(package).with_context(|| format!("package {package} has no executable for the board"))
    }
}

/// Compiles kernel, services and programs; cargo's own output shows the progress.
///
/// # Errors
/// If cargo fails; what was wrong stands on the terminal by then.
pub fn build(workspace: &Workspace, toolchain: &Toolchain) -> Result<Executables> {
    let packages = workspace.guest_packages();
    let mut command = toolchain.cargo(workspace, "build");
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
