//! `cargo xtask size`: how large everything is, and whether the kernel keeps below its ceilings.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::artefact::System;
use crate::board::DEFAULT;
use crate::demo;
use crate::disk;
use crate::image::Start;
use crate::lines::{self, Count};
use crate::run::FILE_SERVICE;
use crate::workspace::Workspace;

/// Executable lines that the privileged code may have: those of MINIX 3's kernel.
const LINES: usize = 3800;
/// Uses of `unsafe` that it may have.
const UNSAFES: usize = 150;

/// Shows sizes of the image and of each service, and the kernel's lines and uses of `unsafe`.
#[derive(Args)]
pub struct Size {
    /// Only the kernel's source: needs no compiler for the board
    #[arg(long)]
    source: bool,
}

impl Size {
    /// Shows them. Status 1 if a ceiling is broken.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        if !self.source {
            sizes(&System::build(workspace, DEFAULT)?)?;
            println!();
        }
        let count = kernel(&workspace.root)?;
        let mut good = true;
        for (what, found, ceiling) in
            [("executable lines", count.lines, LINES), ("uses of unsafe", count.unsafes, UNSAFES)]
        {
            good &= found <= ceiling;
            println!("kernel: {found:5} {what}, at most {ceiling}: {}", if found <= ceiling { "pass" } else { "miss" });
        }
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn sizes(system: &System) -> Result<()> {
    println!("{:16} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}", "bytes", "text", "rodata", "data", "heap", "stack", "common");
    let programs: Vec<&str> = system
        .manifests
        .iter()
        .filter(|manifest| manifest.kind == abi::image::Kind::Program)
        .map(|manifest| manifest.name.as_str())
        .collect();
    for (manifest, executable) in system.parts(&programs)? {
        let [text, rodata, data] = executable.segments().map(|(_, segment)| segment.memory_size);
        let (heap, stack, common) = (manifest.heap.value, manifest.stack.value, manifest.common.value);
        println!("{:16} {text:9} {rodata:9} {data:9} {heap:9} {stack:9} {common:9}", manifest.name);
    }
    let disk = disk::load(None, system.service(FILE_SERVICE)?.common.value as usize)?;
    let start = Start { program: demo::PROGRAM, instances: 1, argument: demo::argument(1, 0, true) };
    let bootable = system.pack("curios", &[start], Some(&disk))?;
    println!(
        "kernel {} KiB, whole image with the sample disk {} KiB",
        system.kernel.bytes.len() >> 10,
        bootable.length >> 10
    );
    Ok(())
}

/// Counts the privileged code: all of `kernel/src` but `board/`, and `ssr_manager/src`; tests excepted.
fn kernel(root: &Path) -> Result<Count> {
    let mut total = Count::default();
    let board = root.join("kernel/src/board");
    for folder in ["kernel/src", "ssr_manager/src"] {
        for path in sources(&root.join(folder))?.into_iter().filter(|path| !path.starts_with(&board) && !is_test(path))
        {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            total += match path.extension().and_then(|extension| extension.to_str()) {
                Some("rs") => lines::rust(&text).with_context(|| format!("cannot count {}", path.display()))?,
                Some("s" | "S") => lines::assembly(&text),
                _ => Count::default(),
            };
        }
    }
    Ok(total)
}

/// A file that a `#[cfg(test)] mod tests;` elsewhere brings in.
fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs") || path.components().any(|part| part.as_os_str() == "tests")
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { files.extend(sources(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}
