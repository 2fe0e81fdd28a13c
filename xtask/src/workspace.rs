//! The workspace: where things lie, and what its packages say about themselves.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package, TargetKind};

use crate::host;

/// Target triple of everything that runs on the board.
pub const TARGET: &str = "armv7a-none-eabi";

/// The workspace that this tool belongs to.
pub struct Workspace {
    /// Directory of the top-level `Cargo.toml`.
    pub root: PathBuf,
    /// Cargo's target directory for the host.
    pub target: PathBuf,
    metadata: Metadata,
}

impl Workspace {
    /// Reads the workspace's metadata.
    ///
    /// # Errors
    /// If cargo cannot, for instance because a manifest is malformed: its message says which.
    pub fn open() -> Result<Workspace> {
        // Set by `cargo run`; the other one serves whoever starts the binary by hand.
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().context("xtask lies outside a workspace")?.to_owned();
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .no_deps()
            .exec()
            .context("cannot read the workspace")?;
        Ok(Workspace { root, target: metadata.target_directory.clone().into_std_path_buf(), metadata })
    }

    /// Where the tool keeps what it makes: images, disks, guest memory.
    pub fn products(&self) -> PathBuf {
        self.target.join("curios")
    }

    /// Cargo's target directory for the guest, apart from the host's: neither waits for the other.
    pub fn guest_target(&self) -> PathBuf {
        self.target.join("guest")
    }

    /// Replaces what stands in README.md between `<!-- MARK -->` and `<!-- /MARK -->`.
    ///
    /// # Errors
    /// If the file has lost the marks, or cannot be read or written.
    pub fn replace_in_readme(&self, mark: &str, text: &str) -> Result<()> {
        let path = self.root.join("README.md");
        let old = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let new = between_marks(&old, mark, text).with_context(|| format!("README.md has lost the marks {mark}"))?;
        std::fs::write(&path, new).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Members of the workspace.
    pub fn packages(&self) -> Vec<&Package> {
        self.metadata.workspace_packages()
    }

    /// Members that lie in a folder of the workspace, in order of their names.
    pub fn packages_in(&self, folder: &str) -> Vec<&Package> {
        let folder = self.root.join(folder);
        let mut packages: Vec<_> = self
            .packages()
            .into_iter()
            .filter(|package| package.manifest_path.as_std_path().starts_with(&folder))
            .collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        packages
    }

    /// Members that run on the board: the kernel and all of `services/` that has an executable.
    pub fn guest_packages(&self) -> Vec<&Package> {
        let mut packages = self.packages_in("kernel");
        packages.extend(self.packages_in("services").into_iter().filter(|package| has_executable(package)));
        packages
    }

    /// Whether a package is part of what runs on the board, be it as a library.
    pub fn runs_on_board(&self, package: &Package) -> bool {
        let folders = ["kernel", "services", "ssr_manager"].map(|folder| self.root.join(folder));
        folders.iter().any(|folder| package.manifest_path.as_std_path().starts_with(folder))
    }

    /// Members to be linted for the board: those that run there, but not the macros, which run in the compiler.
    pub fn board_packages(&self) -> Vec<&Package> {
        let is_macro =
            |package: &&Package| package.targets.iter().any(|target| target.kind.contains(&TargetKind::ProcMacro));
        self.packages().into_iter().filter(|package| self.runs_on_board(package) && !is_macro(package)).collect()
    }

    /// Members to be linted for the host: all that compile there.
    pub fn host_packages(&self) -> Vec<&Package> {
        self.packages().into_iter().filter(|package| package.name.as_str() != crate::guest::KERNEL).collect()
    }

    /// A path as a user in the workspace would name it.
    pub fn relative<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// Keeps other runs of this tool from working on the same products until it is dropped.
    ///
    /// # Errors
    /// If the lock file cannot be created.
    pub fn lock(&self) -> Result<File> {
        let directory = self.products();
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let path = directory.join("lock");
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        if file.try_lock().is_err() {
            host::say("waiting for another run of this tool");
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(file)
    }
}

/// Whether a package has a program of its own (and not only a library).
pub fn has_executable(package: &Package) -> bool {
    package.targets.iter().any(|target| target.kind.contains(&TargetKind::Bin))
}

/// A text with what stands between marks replaced; `None` without the marks.
fn between_marks(old: &str, mark: &str, new: &str) -> Option<String> {
    let (open, close) = (format!("<!-- {mark} -->"), format!("<!-- /{mark} -->"));
    let (before, rest) = old.split_once(&open)?;
    let (_, after) = rest.split_once(&close)?;
    Some(format!("{before}{open}\n{new}{close}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_gets_its_tables() {
        let old = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n";
        assert_eq!(between_marks(old, "x", "new\n").as_deref(), Some("a\n<!-- x -->\nnew\n<!-- /x -->\nb\n"));
        assert_eq!(between_marks(old, "y", "new\n"), None);
    }
}
