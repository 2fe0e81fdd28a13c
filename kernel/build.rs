//! Finds the boards, one file each, and passes the linker script.

use std::fs;
use std::path::{Path, PathBuf};

/// Names the board to build for; the host tool sets it.
const CHOICE: &str = "CURIOS_BOARD";
/// The board of whoever names none.
const USUAL: &str = "virt";
/// Files of the folder that are no boards.
const OTHERS: [&str; 2] = ["lib", "mod"];

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("src/board");
    let script = root.join("../linker.ld");
    println!("cargo:rerun-if-env-changed={CHOICE}");
    println!("cargo:rerun-if-changed={}", folder.display());
    println!("cargo:rerun-if-changed={}", script.display());

    let boards = boards(&folder);
    let choice = std::env::var(CHOICE).unwrap_or_else(|_| USUAL.to_owned());
    let names: Vec<_> = boards.iter().map(|path| name(path)).collect();
    assert!(names.contains(&choice), "there is no board {choice}: the boards are {}", names.join(", "));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("boards.rs");
    fs::write(out, list(&boards, &choice)).expect("cargo's own folder can be written");

    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo:rustc-link-arg-bins=-T{}", script.display());
    }
}

/// The files that describe boards, in the order of their names.
fn boards(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder of boards is part of the package");
    let paths = entries.map(|entry| entry.expect("the folder of boards can be read").path());
    let mut boards: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| !OTHERS.contains(&stem(path)))
        .collect();
    boards.sort();
    boards
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).expect("names of source files are ASCII")
}

/// The name of a board: that of its file, with hyphens.
fn name(path: &Path) -> String {
    stem(path).replace('_', "-")
}

/// A module for each board, the list of all, and the chosen one.
fn list(boards: &[PathBuf], choice: &str) -> String {
    let each = |line: &dyn Fn(&Path) -> String| boards.iter().map(|path| line(path)).collect::<String>();
    let modules = each(&|path| format!("#[path = {path:?}]\npub mod {};\n", stem(path)));
    let list = each(&|path| format!("    &{}::BOARD,\n", stem(path)));
    let files = each(&|path| format!("    {:?},\n", name(path)));
    let choice = choice.replace('-', "_");
    format!(
        r#"{modules}
/// All boards.
pub const BOARDS: &[&Board] = &[
{list}];
#[cfg(test)]
const FILES: &[&str] = &[
{files}];
/// The name of the board of whoever names none.
pub const USUAL: &str = {USUAL:?};
/// The board that is built for.
pub const CHOSEN: &Board = &{choice}::BOARD;
/// Its hardware.
#[cfg(target_os = "none")]
pub use {choice}::hardware as selected;
"#
    )
}
