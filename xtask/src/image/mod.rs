//! The boot image: manifests, checked as a set, and stripped executables, packed for the kernel.

mod check;
mod elf;
mod fit;
mod manifest;
mod pack;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

pub use check::check;
pub use elf::{Executable, Kernel};
pub use manifest::{Manifest, read, without_absent};
pub use pack::{BLOBS, Blob, Boot, Start, pack, selection};

/// Something wrong in a manifest, with the place to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The manifest, relative to the workspace.
    pub file: PathBuf,
    /// Line in it, from 1.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.text)
    }
}

/// All that is wrong in the set of manifests; never empty.
#[derive(Debug)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the manifests do not hold together")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}
