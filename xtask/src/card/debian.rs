//! Debian's packages, fetched without installing them: boot loaders are for another architecture than the host's.
//!
//! apt gets a state of its own in a folder that vanishes, so that neither the architectures nor the lists of the host change.
//! It needs no privileges, takes the host's sources, and verifies what it gets by their keys.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::host;
use crate::workspace::Workspace;

/// A folder that holds what is in a package; fetched at the first time, kept in `target` afterwards.
///
/// `architecture` is that of the package if it is for one only.
///
/// # Errors
/// [`host::Unusable`] with the `advice` if there is no apt, or it cannot get the package.
pub fn unpacked(workspace: &Workspace, package: &str, architecture: Option<&str>, advice: &str) -> Result<PathBuf> {
    let all = workspace.products().join("packages");
    let kept = all.join(package);
    if kept.is_dir() {
        return Ok(kept);
    }
    for program in ["apt-get", "dpkg-deb"] {
        if host::find_program(program).is_none() {
            return host::unusable(format!("this system has no {program}. {advice}"));
        }
    }
    std::fs::create_dir_all(&all).with_context(|| format!("cannot create {}", all.display()))?;
    let work =
        tempfile::Builder::new().prefix("fetch-").tempdir_in(&all).context("cannot create a folder for a package")?;
    let bar = host::spinner(&format!("getting Debian's package {package}"));
    let got = fetch(work.path(), package, architecture);
    bar.finish_and_clear();
    let fresh = match got {
        Ok(fresh) => fresh,
        Err(error) => return host::unusable(format!("{package} could not be had: {error:#}\n{advice}")),
    };
    match std::fs::rename(&fresh, &kept) {
        // Another run may have been faster.
        Err(error) if !kept.is_dir() => Err(error).with_context(|| format!("cannot write {}", kept.display())),
        _ => Ok(kept),
    }
}

/// Downloads and unpacks a package somewhere in `work`.
fn fetch(work: &Path, package: &str, architecture: Option<&str>) -> Result<PathBuf> {
    for folder in ["state/lists/partial", "cache/archives/partial", "download", "unpacked"] {
        std::fs::create_dir_all(work.join(folder)).context("cannot create apt's folders")?;
    }
    std::fs::write(work.join("status"), "").context("cannot create apt's state")?;
    // A source that fails, or has nothing for this architecture, does not matter as long as another one has the package.
    host::output(apt(work, architecture).arg("update"))?;
    let download = work.join("download");
    quietly(apt(work, architecture).current_dir(&download).args(["download", package]))?;
    let archive = std::fs::read_dir(&download)?.next().context("apt-get download left no file")??.path();
    let unpacked = work.join("unpacked");
    quietly(Command::new("dpkg-deb").arg("-x").args([&archive, &unpacked]))?;
    Ok(unpacked)
}

/// `apt-get` with a state of its own.
fn apt(work: &Path, architecture: Option<&str>) -> Command {
    let mut command = Command::new("apt-get");
    let mut option = |name: &str, value: &str| {
        command.args(["-o", &format!("{name}={value}")]);
    };
    for (name, place) in [("Dir::State", "state"), ("Dir::State::status", "status"), ("Dir::Cache", "cache")] {
        option(name, &work.join(place).to_string_lossy());
    }
    for (name, value) in [("APT::Sandbox::User", "root"), ("Acquire::Languages", "none"), ("Acquire::Retries", "1")] {
        option(name, value);
    }
    if let Some(architecture) = architecture {
        option("APT::Architecture", architecture);
        option("APT::Architectures", architecture);
    }
    command.arg("-q");
    command
}

/// Runs a command; what it complained about is in the error.
fn quietly(command: &mut Command) -> Result<()> {
    let output = host::output(command)?;
    if !output.status.success() {
        let name = command.get_program().to_string_lossy().into_owned();
        anyhow::bail!("{name} failed ({}):\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
