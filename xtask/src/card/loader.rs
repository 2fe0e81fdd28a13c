//! The boot loaders: which files a board wants, where on the card, and how the kernel is handed to them.
//!
//! They are Debian's, unmodified. What stands here of their configuration was read in the packages' own
//! `usr/share/doc/*/configs`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::debian;
use super::uimage;
use crate::board::Board;
use crate::host;
use crate::workspace::Workspace;

/// Where a file of the boot loader goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Into the FAT volume, under its own name.
    Volume,
    /// To this byte of the card, outside all partitions: the processor's boot ROM reads it from there.
    Byte(u64),
    /// Not onto the card: an emulator gets it as its firmware.
    Firmware,
}

/// What a file must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// First stage for a TI boot ROM: a configuration header (AM335x TRM 26.1.10, OMAP35x TRM 25.4.7).
    Mlo,
    /// Second stage: a legacy image or a flattened image tree.
    Image,
    /// First stage for an Allwinner boot ROM, second stage behind it.
    Egon,
    /// A flat binary: nothing to be recognised by.
    Flat,
}

/// One file of a boot loader.
#[derive(Debug)]
pub struct Part {
    /// Its name, in the package as well as on the card.
    pub name: &'static str,
    /// Where it goes.
    pub place: Place,
    form: Form,
}

/// A board's boot loader.
#[derive(Debug)]
pub struct Loader {
    board: &'static str,
    package: &'static str,
    /// Debian's architecture of the package, if it is not for all.
    architecture: Option<&'static str>,
    /// Folder of the files in `usr/lib/u-boot`.
    folder: &'static str,
    /// Its files.
    pub parts: &'static [Part],
    kernel: Kernel,
}

/// Where the script loads the kernel's image.
#[derive(Debug)]
enum Kernel {
    /// So that the kernel lies where it is linked: `bootm` then copies nothing, and its limit on what it copies does not count.
    InPlace,
    /// At this address, from which `bootm` copies at most so many bytes (`CONFIG_SYS_BOOTM_LEN`).
    Copied(u32, usize),
}

const MLO: Part = Part { name: "MLO", place: Place::Volume, form: Form::Mlo };
const SECOND_STAGE: Part = Part { name: "u-boot.img", place: Place::Volume, form: Form::Image };

const LOADERS: &[Loader] = &[
    // QEMU leaves its device tree at the start of memory, below the kernel.
    Loader {
        board: "virt",
        package: "u-boot-qemu",
        architecture: None,
        folder: "qemu_arm",
        parts: &[Part { name: "u-boot.bin", place: Place::Firmware, form: Form::Flat }],
        kernel: Kernel::Copied(0x4400_0000, 64 << 20),
    },
    Loader {
        board: "cubieboard",
        package: "u-boot-sunxi",
        architecture: Some("armhf"),
        folder: "Cubieboard",
        parts: &[Part { name: "u-boot-sunxi-with-spl.bin", place: Place::Byte(8192), form: Form::Egon }],
        kernel: Kernel::InPlace,
    },
    omap("beagleboard", "omap3_beagle"),
    omap("beagleboard-xm", "omap3_beagle"),
    omap("beaglebone-black", "am335x_boneblack"),
];

const fn omap(board: &'static str, folder: &'static str) -> Loader {
    Loader {
        board,
        package: "u-boot-omap",
        architecture: Some("armhf"),
        folder,
        parts: &[MLO, SECOND_STAGE],
        kernel: Kernel::InPlace,
    }
}

impl Loader {
    /// The boot loader of a board.
    ///
    /// # Errors
    /// If none is known.
    pub fn of(board: &Board) -> Result<&'static Loader> {
        LOADERS
            .iter()
            .find(|loader| loader.board == board.name)
            .with_context(|| format!("no boot loader is known for {}", board.name))
    }

    /// The files, in the order of [`Loader::parts`], with where they were found: in the folder that the user named, or in
    /// Debian's package, which is fetched if need be.
    ///
    /// # Errors
    /// [`host::Unusable`] if they are not to be had; the text says where to get them.
    pub fn files(&self, workspace: &Workspace, named: Option<&Path>) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let folder = match named {
            Some(folder) if folder.is_dir() => folder.to_owned(),
            Some(folder) => {
                return host::unusable(format!("--u-boot {}: is no folder. {}", folder.display(), self.advice()));
            }
            None => debian::unpacked(workspace, self.package, self.architecture, &self.advice())?
                .join("usr/lib/u-boot")
                .join(self.folder),
        };
        let read = |part: &Part| {
            let path = folder.join(part.name);
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) => return host::unusable(format!("{}: {error}. {}", path.display(), self.advice())),
            };
            part.form.check(&bytes).with_context(|| path.display().to_string())?;
            Ok((path, bytes))
        };
        self.parts.iter().map(read).collect()
    }

    /// What to do where there is no apt.
    fn advice(&self) -> String {
        let names: Vec<&str> = self.parts.iter().map(|part| part.name).collect();
        format!(
            "The boot loader of {} is in Debian's package {} ({}): get it, unpack it (dpkg-deb -x, or ar and tar), and name the \
             folder that holds {}: --u-boot usr/lib/u-boot/{}",
            self.board,
            self.package,
            self.architecture.unwrap_or("all architectures"),
            names.join(" and "),
            self.folder
        )
    }

    /// The kernel as U-Boot loads it, and the script that makes it do so.
    ///
    /// # Errors
    /// If the kernel with its boot image is too long for this boot loader.
    pub fn kernel_and_script(&self, board: &Board, bootable: &[u8], name: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        let load = board.load_address;
        let staging = match self.kernel {
            Kernel::InPlace => load - uimage::HEADER,
            Kernel::Copied(_, most) if bootable.len() > most => {
                bail!(
                    "the boot image has {} KiB; the boot loader of {} takes {}",
                    bootable.len() >> 10,
                    self.board,
                    most >> 10
                )
            }
            Kernel::Copied(staging, _) => staging,
        };
        // U-Boot's search for a script has set the variables. Its own device tree is passed on: it knows the memory.
        let text = format!(
            "echo curios-rs {version} for {board}\n\
             if load ${{devtype}} ${{devnum}}:${{distro_bootpart}} {staging:#x} {name}; then\n\
             bootm {staging:#x} - ${{fdtcontroladdr}}\n\
             else\n\
             echo {name} cannot be read: write the card anew\n\
             fi\n",
            version = env!("CARGO_PKG_VERSION"),
            board = self.board,
        );
        Ok((uimage::kernel("curios-rs", load, bootable)?, uimage::script("curios-rs", &text)?))
    }
}

impl Form {
    fn check(self, bytes: &[u8]) -> Result<()> {
        /// First word of a device tree, which a flattened image tree is.
        const TREE: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];
        let (good, wanted) = match self {
            Form::Mlo => (bytes.get(20..30) == Some(b"CHSETTINGS"), "no MLO for a card (no header with CHSETTINGS)"),
            Form::Image => {
                (uimage::is_image(bytes) || bytes.starts_with(&TREE), "neither a legacy image nor an image tree")
            }
            Form::Egon => {
                (bytes.get(4..12) == Some(b"eGON.BT0"), "no boot loader for Allwinner's boot ROM (no eGON.BT0)")
            }
            Form::Flat => (!bytes.is_empty(), "empty"),
        };
        if !good {
            bail!("{wanted}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::DEFAULT;

    fn loader(board: &str) -> &'static Loader {
        LOADERS.iter().find(|loader| loader.board == board).expect("known")
    }

    #[test]
    fn files_that_are_something_else_are_refused_by_name() {
        let workspace = Workspace::open().expect("the workspace");
        let folder = tempfile::tempdir().expect("a folder");
        let error = |board: &str| {
            format!("{:#}", loader(board).files(&workspace, Some(folder.path())).expect_err("must be refused"))
        };
        assert!(error("beagleboard").contains("u-boot-omap (armhf)"), "{}", error("beagleboard"));
        for name in ["MLO", "u-boot.img", "u-boot-sunxi-with-spl.bin", "u-boot.bin"] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        assert!(error("beagleboard-xm").contains("CHSETTINGS"), "{}", error("beagleboard-xm"));
        assert!(error("cubieboard").contains("eGON"), "{}", error("cubieboard"));
        assert!(error("virt").contains("empty"), "{}", error("virt"));
        let mut mlo = [0; 64];
        mlo[20..30].copy_from_slice(b"CHSETTINGS");
        std::fs::write(folder.path().join("MLO"), mlo).expect("a file");
        assert!(error("beaglebone-black").contains("u-boot.img: neither"), "{}", error("beaglebone-black"));
        std::fs::write(folder.path().join("u-boot.img"), uimage::kernel("u", 0, b"").expect("short")).expect("a file");
        let files = loader("beagleboard").files(&workspace, Some(folder.path())).expect("accepted");
        assert_eq!(files[0], (folder.path().join("MLO"), mlo.to_vec()));
    }

    #[test]
    fn the_script_loads_where_the_kernel_needs_it() {
        let text = |board: &str, load_address| {
            let (kernel, script) = loader(board)
                .kernel_and_script(&Board { load_address, ..*DEFAULT }, &[7; 100], "curios.img")
                .expect("short");
            assert_eq!(kernel.len(), 164);
            String::from_utf8_lossy(&script[72..]).into_owned()
        };
        assert!(text("virt", 0x4001_0000).contains("bootm 0x44000000 - ${fdtcontroladdr}\n"));
        assert!(
            text("beagleboard", 0x8200_0000)
                .contains("${distro_bootpart} 0x81ffffc0 curios.img; then\nbootm 0x81ffffc0 -")
        );
        let long = vec![0; (64 << 20) + 1];
        assert!(loader("virt").kernel_and_script(DEFAULT, &long, "curios.img").is_err());
    }
}
