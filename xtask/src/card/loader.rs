//! The boot loaders: getting their files, and handing them the kernel. Which files a board wants stands with the board.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::debian;
use super::uimage;
use crate::board::{Board, LoaderFile, Staging};
use crate::host;
use crate::workspace::Workspace;

/// The files of a board's boot loader, in the order of [`crate::board::Loader::files`], with where they were found: in the folder that the
/// user named, or in Debian's package, which is fetched if need be.
///
/// # Errors
/// [`host::Unusable`] if they are not to be had; the text says where to get them.
pub fn files(workspace: &Workspace, board: &Board, named: Option<&Path>) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let (loader, advice) = (&board.loader, advice(board));
    let folder = match named {
        Some(folder) if folder.is_dir() => folder.to_owned(),
        Some(folder) => return host::unusable(format!("--u-boot {}: is no folder. {advice}", folder.display())),
        None => debian::unpacked(workspace, loader.package, loader.architecture, &advice)?
            .join("usr/lib/u-boot")
            .join(loader.folder),
    };
    let read = |file: &LoaderFile| {
        let path = folder.join(file.name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => return host::unusable(format!("{}: {error}. {advice}", path.display())),
        };
        if !is_known(&bytes, file) {
            bail!("{}: not what the boot ROM or the first stage of {} takes. {advice}", path.display(), board.name);
        }
        Ok((path, bytes))
    };
    loader.files.iter().map(read).collect()
}

/// Whether a file looks like what it is called.
fn is_known(bytes: &[u8], file: &LoaderFile) -> bool {
    let (at, marks) = file.marks;
    let marked = |mark: &&[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(mark));
    !bytes.is_empty() && (marks.is_empty() || marks.iter().any(marked))
}

/// What to do where there is no apt.
fn advice(board: &Board) -> String {
    let loader = &board.loader;
    let names: Vec<&str> = loader.files.iter().map(|file| file.name).collect();
    format!(
        "The boot loader of {} is in Debian's package {} ({}): get it, unpack it (dpkg-deb -x, or ar and tar), and name the \
         folder that holds {}: --u-boot usr/lib/u-boot/{}",
        board.name,
        loader.package,
        loader.architecture.unwrap_or("all architectures"),
        names.join(" and "),
        loader.folder
    )
}

/// The kernel as U-Boot loads it, and the script that makes it do so.
///
/// # Errors
/// If the kernel with its boot image is too long for the boot loader.
pub fn kernel_and_script(board: &Board, bootable: &[u8], name: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    let load = board.load_address;
    let staging = match board.loader.kernel {
        Staging::InPlace => load.checked_sub(uimage::HEADER).context("there is no memory below the kernel")?,
        Staging::Copied(_, most) if bootable.len() > most => bail!(
            "the boot image has {} KiB; the boot loader of {} takes {}",
            bootable.len() >> 10,
            board.name,
            most >> 10
        ),
        Staging::Copied(staging, _) => staging,
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
        board = board.name,
    );
    Ok((uimage::kernel("curios-rs", load, bootable)?, uimage::script("curios-rs", &text)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{DEFAULT, Loader};

    /// A board with this boot loader.
    fn with(loader: Loader) -> Board {
        Board { loader, load_address: 0x8200_0000, ..*DEFAULT }
    }

    #[test]
    fn files_that_are_something_else_are_refused_by_name() {
        let workspace = Workspace::open().expect("the workspace");
        let folder = tempfile::tempdir().expect("a folder");
        let board = with(Loader::of_ti("some_board"));
        let found = || files(&workspace, &board, Some(folder.path()));
        let error = || format!("{:#}", found().expect_err("must be refused"));
        assert!(error().contains("MLO: No such file") && error().contains("u-boot-omap (armhf)"), "{}", error());
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("a file");
        write("MLO", b"");
        assert!(error().contains("MLO: not what"), "{}", error());
        write("MLO", &[0; 64]);
        assert!(error().contains("MLO: not what"), "{}", error());
        let mut mlo = [0; 64];
        mlo[20..30].copy_from_slice(b"CHSETTINGS");
        write("MLO", &mlo);
        write("u-boot.img", b"short");
        assert!(error().contains("u-boot.img: not what"), "{}", error());
        for image in [uimage::kernel("u", 0, b"").expect("short"), b"\xd0\x0d\xfe\xed and so on".to_vec()] {
            write("u-boot.img", &image);
            assert_eq!(found().expect("accepted")[1], (folder.path().join("u-boot.img"), image));
        }
        let error = files(&workspace, &board, Some(&folder.path().join("MLO"))).expect_err("no folder").to_string();
        assert!(error.contains("is no folder") && error.contains("--u-boot usr/lib/u-boot/some_board"), "{error}");
    }

    #[test]
    fn the_script_loads_where_the_kernel_needs_it() {
        let text = |kernel| {
            let board = with(Loader { kernel, ..Loader::of_ti("x") });
            let (kernel, script) = kernel_and_script(&board, &[7; 100], "curios.img").expect("short");
            assert_eq!(kernel.len(), 164);
            String::from_utf8_lossy(&script[72..]).into_owned()
        };
        let expected =
            "${devnum}:${distro_bootpart} 0x81ffffc0 curios.img; then\nbootm 0x81ffffc0 - ${fdtcontroladdr}\n";
        assert!(text(Staging::InPlace).contains(expected));
        assert!(text(Staging::Copied(0x8400_0000, 100)).contains("bootm 0x84000000 -"));
        let small = with(Loader { kernel: Staging::Copied(0x8400_0000, 99), ..Loader::of_ti("x") });
        assert!(kernel_and_script(&small, &[7; 100], "curios.img").is_err());
    }
}
