//! A sysroot for the board, built once from the sources that a compiler's package brings.
//!
//! Only this build uses unstable flags. What is compiled against the sysroot afterwards gets
//! none, so that a crate that needs a nightly compiler fails here as it would for any user.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::host;
use crate::toolchain::{Compiler, clean_cargo};
use crate::workspace::{TARGET, Workspace};

/// Part of the stamp: changes whenever the recipe below does.
const RECIPE: &str = "core,alloc,compiler_builtins; opt-level 3, one unit, bitcode; 2\n";

const MANIFEST: &str = r#"[package]
name = "sysroot"
version = "0.0.0"
edition = "2024"

[workspace]

[profile.release]
opt-level = 3
codegen-units = 1
debug = 1
panic = "abort"
"#;

/// The sysroot of this compiler if it stands already.
pub fn existing(workspace: &Workspace, compiler: &Compiler) -> Option<PathBuf> {
    let directory = directory(workspace);
    let stamp = fs::read_to_string(directory.join("stamp")).ok()?;
    (stamp == expected_stamp(compiler)? && holds_core(&libraries(&directory))).then_some(directory)
}

/// Builds `core`, `alloc` and `compiler_builtins`, and returns the sysroot that holds them.
///
/// # Errors
/// If the build fails; the compiler's messages are part of the error.
pub fn build(workspace: &Workspace, compiler: &Compiler) -> Result<PathBuf> {
    let _lock = workspace.lock()?;
    // Another run may have built it while this one waited.
    if let Some(sysroot) = existing(workspace, compiler) {
        return Ok(sysroot);
    }
    let stamp = expected_stamp(compiler).context("the compiler does not tell its version")?;
    let directory = directory(workspace);
    let work = workspace.target.join("sysroot-build");
    for path in [&directory, &work] {
        host::remove_dir(path)?;
    }
    write(&work.join("Cargo.toml"), MANIFEST)?;
    write(&work.join("src/lib.rs"), "#![no_std]\n")?;

    let bar = host::spinner("building core and alloc for the board, once");
    let mut command = clean_cargo(&compiler.cargo, &compiler.rustc);
    command
        .current_dir(&work)
        .env("RUSTC_BOOTSTRAP", "1")
        // As in the libraries that rustup brings: link-time optimisation needs the bitcode.
        .env("CARGO_ENCODED_RUSTFLAGS", "-Cembed-bitcode=yes")
        .args(["build", "--release", "--target", TARGET, "--target-dir", "target"])
        .args(["-Zbuild-std=core,alloc,compiler_builtins", "-Zbuild-std-features="]);
    let output = host::output(&mut command)?;
    bar.finish_and_clear();
    if !output.status.success() {
        bail!("{} failed:\n{}", host::shown(&command), String::from_utf8_lossy(&output.stderr).trim());
    }

    let built = work.join("target").join(TARGET).join("release/deps");
    let libraries = libraries(&directory);
    fs::create_dir_all(&libraries).with_context(|| format!("cannot create {}", libraries.display()))?;
    for entry in fs::read_dir(&built).with_context(|| format!("cannot read {}", built.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.ends_with(".rlib") && !name.starts_with("libsysroot-") {
            fs::copy(&path, libraries.join(name)).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    if !holds_core(&libraries) {
        bail!("{} built no core library", host::shown(&command));
    }
    host::remove_dir(&work)?;
    // Last: a sysroot without its stamp is built again.
    write(&directory.join("stamp"), &stamp)?;
    Ok(directory)
}

/// Whether a folder of libraries holds a compiled `core`.
pub fn holds_core(libraries: &Path) -> bool {
    let Ok(entries) = fs::read_dir(libraries) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    })
}

fn directory(workspace: &Workspace) -> PathBuf {
    workspace.target.join("sysroot")
}

fn libraries(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

fn expected_stamp(compiler: &Compiler) -> Option<String> {
    Some(format!("{RECIPE}{}", compiler.identity()?))
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
