//! From sources to the one file that a board boots.

use std::path::{Path, PathBuf};

use abi::image::{Kind, Recovery};
use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::board::Board;
use crate::guest::{self, Executables, KERNEL};
use crate::host;
use crate::image::{self, BLOBS, Blob, Boot, Executable, Kernel, Manifest, Problem, Problems, Start};
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

/// Everything compiled and checked, ready to be packed in one way or another.
pub struct System {
    /// The board that it is for.
    pub board: &'static Board,
    /// Manifests of all services and programs.
    pub manifests: Vec<Manifest>,
    /// The kernel, flat.
    pub kernel: Kernel,
    executables: Executables,
    products: PathBuf,
}

/// A bootable file, in a folder of its own that vanishes with it.
pub struct Bootable {
    folder: TempDir,
    /// Bytes of the file.
    pub length: usize,
}

impl System {
    /// Compiles everything for a board and checks the manifests.
    ///
    /// # Errors
    /// What does not compile or hold together.
    pub fn build(workspace: &Workspace, board: &'static Board) -> Result<System> {
        let manifests = manifests(workspace, board)?;
        image::check(&manifests, BLOBS, board)?;
        let (manifests, absent) = image::without_absent(manifests);
        if !absent.is_empty() {
            host::say(&format!("{} has no device for {}: left out", board.name, absent.join(", ")));
        }
        let toolchain = Toolchain::find(workspace)?;
        let mut executables = guest::build(workspace, &toolchain, board)?;
        let products = workspace.products().join(board.name);
        std::fs::create_dir_all(&products).with_context(|| format!("cannot create {}", products.display()))?;
        executables.keep_kernel(&products)?;
        let kernel = Kernel::read(executables.of(KERNEL)?, board.load_address)?;
        Ok(System { board, manifests, kernel, executables, products })
    }

    /// The executable of a package, with debug information.
    ///
    /// # Errors
    /// If it has none.
    pub fn executable(&self, package: &str) -> Result<&Path> {
        self.executables.of(package).map(PathBuf::as_path)
    }

    /// The manifest of a service.
    ///
    /// # Errors
    /// If there is no such service.
    pub fn service(&self, name: &str) -> Result<&Manifest> {
        let found = self.manifests.iter().find(|manifest| manifest.name == name && manifest.kind == Kind::Object);
        found.with_context(|| format!("there is no service {name}"))
    }

    /// What an image for these programs holds.
    ///
    /// # Errors
    /// If a program or an executable is missing, or one cannot be packed.
    pub fn parts(&self, programs: &[&str]) -> Result<Vec<(&Manifest, Executable)>> {
        let selected = image::selection(&self.manifests, programs)?;
        selected
            .into_iter()
            .map(|manifest| {
                Ok((manifest, Executable::read(self.executable(&manifest.name)?, manifest.kind == Kind::Object)?))
            })
            .collect()
    }

    /// Packs kernel, the programs to start with all that they need, and the disk, into `NAME.bin`.
    ///
    /// # Errors
    /// If something does not fit together, or the file cannot be written.
    pub fn pack(&self, name: &str, starts: &[Start], disk: Option<&[u8]>) -> Result<Bootable> {
        self.pack_with(name, starts, disk, Recovery::Rollback)
    }

    /// As [`System::pack`], for an image whose services recover in this way.
    ///
    /// # Errors
    /// As [`System::pack`].
    pub fn pack_with(&self, name: &str, starts: &[Start], disk: Option<&[u8]>, recovery: Recovery) -> Result<Bootable> {
        let programs: Vec<&str> = starts.iter().map(|start| start.program).collect();
        let parts = self.parts(&programs)?;
        let wanted = parts.iter().any(|(manifest, _)| manifest.common_blob.is_some());
        let blobs = match (wanted, disk) {
            (true, Some(disk)) => vec![Blob { name: BLOBS[0], bytes: without_trailing_zeros(disk).to_vec() }],
            (true, None) => bail!("one of the services needs a disk"),
            (false, _) => Vec::new(),
        };
        let mut file = self.kernel.bytes.clone();
        let boot = Boot { parts, blobs, starts: starts.to_vec(), board: self.board, kernel: file.len(), recovery };
        file.extend(image::pack(&boot)?);
        let folder = tempfile::Builder::new()
            .prefix("boot-")
            .tempdir_in(&self.products)
            .context("cannot create a folder for the image")?;
        let bootable = Bootable { folder, length: file.len() };
        std::fs::write(bootable.path(), &file)
            .with_context(|| format!("cannot write {}", bootable.path().display()))?;
        // The same file under a lasting name, for whoever starts an emulator by hand.
        let lasting = self.products.join(format!("{name}.bin"));
        let second = bootable.folder.path().join("lasting");
        let linked = std::fs::hard_link(bootable.path(), &second).and_then(|()| std::fs::rename(&second, &lasting));
        linked.with_context(|| format!("cannot write {}", lasting.display()))?;
        Ok(bootable)
    }

    /// Where [`System::pack`] leaves its file.
    pub fn lasting(&self, name: &str) -> PathBuf {
        self.products.join(format!("{name}.bin"))
    }
}

impl Bootable {
    /// The file to boot. No other run of this tool changes it.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("curios.bin")
    }

    /// A place in the same folder, for the guest's memory.
    pub fn memory(&self) -> PathBuf {
        self.folder.path().join("memory")
    }
}

/// Reads the manifests of everything in `services/` that has an executable, as they are on a board.
///
/// # Errors
/// All manifests that are malformed, each with its line.
pub fn manifests(workspace: &Workspace, board: &Board) -> Result<Vec<Manifest>> {
    let (mut manifests, mut problems) = (Vec::new(), Vec::new());
    for package in workspace.guest_packages().into_iter().filter(|package| package.name.as_str() != KERNEL) {
        let path = package.manifest_path.as_std_path();
        let file = workspace.relative(path);
        match std::fs::read_to_string(path) {
            Ok(text) => match image::read(file, &text, board) {
                Ok(manifest) => manifests.push(manifest),
                Err(problem) => problems.push(problem),
            },
            Err(error) => {
                problems.push(Problem { file: file.to_owned(), line: 1, text: format!("cannot be read: {error}") })
            }
        }
    }
    if problems.is_empty() { Ok(manifests) } else { Err(Problems(problems).into()) }
}

/// A disk is mostly empty: what it has behind its last byte in use need not be in the image.
fn without_trailing_zeros(disk: &[u8]) -> &[u8] {
    let used = disk.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &disk[..used]
}

/// Says what a file came to.
pub fn report(system: &System, name: &str, bootable: &Bootable) {
    host::say(&format!("{} ({} KiB)", system.lasting(name).display(), bootable.length >> 10));
}
