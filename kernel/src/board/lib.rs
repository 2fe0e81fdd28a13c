//! The boards: what they are, and the drivers of what the kernel itself needs on them.
//!
//! A board is one file of this folder, and nothing else in the project knows its name but the manifests of services that own
//! its devices: the list of boards is made from the folder (`build.rs`). The file has
//!
//! - `BOARD`, a [`Board`]: what the kernel, the linker and the host tool must know of it;
//! - `hardware`, a module for the board alone, with
//!   - `CONTROLLER`, `TIMER`, `WATCHDOG`, `UART`: drivers of [`devices`] with the addresses of their registers;
//!   - `prepare`, which is called once before all of them but `UART` are used: clocks;
//!   - `restart`, which starts the board anew, or returns where that does not work. It is told whether the kernel was started in
//!     HYP mode.
//!
//! All boards are compiled each time, and the drivers are tested on the host with a model of the bus.
#![cfg_attr(target_os = "none", no_std)]

pub mod devices;

include!(concat!(env!("OUT_DIR"), "/boards.rs"));

/// A range of physical addresses in whole megabytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte, a multiple of 1 MiB.
    pub start: u32,
    /// Bytes, a multiple of 1 MiB.
    pub length: u32,
}

/// What is to be known about a board.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// Its name: that of its file, with hyphens.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// First physical address of memory.
    pub memory_base: u32,
    /// Bytes of memory, where no device tree says more: a multiple of 1 MiB.
    pub memory_size: u32,
    /// Where the kernel is linked, loaded and entered: a flat binary.
    pub load_address: u32,
    /// Megabytes with registers that the kernel itself uses.
    pub windows: &'static [Range],
    /// Device registers that the kernel keeps to itself: start and end, and what they are.
    pub reserved: &'static [(u32, u32, &'static str)],
    /// Devices that services may own: start, end and name of their registers.
    pub devices: &'static [(u32, u32, &'static str)],
    /// Interrupts that devices have: first, and behind the last. Those below are the processor's own.
    pub interrupts: (u32, u32),
    /// Interrupt of the kernel's tick.
    pub tick: u32,
    /// The emulator's model of it; `None` if it has none.
    pub emulator: Option<Emulator>,
    /// What starts the kernel from a card.
    pub loader: Loader,
}

/// A board as QEMU models it.
#[derive(Clone, Copy, Debug)]
pub struct Emulator {
    /// QEMU's name of the machine.
    pub machine: &'static str,
    /// Processors that it can have, the usual one first.
    pub processors: &'static [&'static str],
    /// Whether it can start in HYP mode.
    pub hyp: bool,
    /// Whether its cycle counter counts; that of an emulated Cortex-A8 is always 0.
    pub counter: bool,
    /// Options that it needs: what its network interface is connected to, if the system does not use one.
    pub options: &'static [&'static str],
}

/// A board's boot loader, a U-Boot as Debian packages it: what a card must hold of it, and how it loads the kernel.
///
/// What stands here of a U-Boot's configuration was read in its package's `usr/share/doc/*/configs`.
#[derive(Clone, Copy, Debug)]
pub struct Loader {
    /// Debian's package.
    pub package: &'static str,
    /// Debian's architecture of the package, if it is not for all.
    pub architecture: Option<&'static str>,
    /// Folder of its files in the package's `usr/lib/u-boot`.
    pub folder: &'static str,
    /// Its files.
    pub files: &'static [LoaderFile],
    /// How it loads the kernel.
    pub kernel: Staging,
}

/// One file of a boot loader.
#[derive(Clone, Copy, Debug)]
pub struct LoaderFile {
    /// Its name, in the package as well as on the card.
    pub name: &'static str,
    /// Where it goes.
    pub place: Place,
    /// What it is known by: an offset, and what may stand there; nothing: anything.
    pub marks: (usize, &'static [&'static [u8]]),
}

/// Where a file of a boot loader goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Into the FAT volume, under its own name.
    Volume,
    /// To this byte of the card, outside all partitions: the boot ROM reads it from there.
    Byte(u64),
    /// Not onto the card: an emulator gets it as its firmware.
    Firmware,
}

/// Where a boot loader loads the kernel's image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staging {
    /// So that the kernel lies where it is linked: U-Boot then copies nothing, and its limit on what it copies does not count.
    InPlace,
    /// At this address, from which it copies at most so many bytes (`CONFIG_SYS_BOOTM_LEN`).
    Copied(u32, usize),
}

impl Loader {
    /// The boot loader of a board with a processor of TI, whose boot ROM reads FAT.
    pub const fn of_ti(folder: &'static str) -> Loader {
        /// First words of U-Boot's legacy images, and of device trees, which its newer images are.
        const IMAGES: &[&[u8]] = &[&[0x27, 0x05, 0x19, 0x56], &[0xd0, 0x0d, 0xfe, 0xed]];
        Loader {
            package: "u-boot-omap",
            architecture: Some("armhf"),
            folder,
            files: &[
                // With a configuration header, as the ROM wants it on a card (AM335x TRM 26.1.10).
                LoaderFile { name: "MLO", place: Place::Volume, marks: (20, &[b"CHSETTINGS"]) },
                LoaderFile { name: "u-boot.img", place: Place::Volume, marks: (0, IMAGES) },
            ],
            kernel: Staging::InPlace,
        }
    }
}

impl Board {
    /// Whether a service may have these registers: no memory, nothing that the kernel keeps to itself.
    pub fn grantable(&self, address: u32, length: u32) -> bool {
        let apart = |start: u32, end: u32| address >= end || length <= start.saturating_sub(address);
        address.checked_add(length).is_some()
            && apart(self.memory_base, self.memory_base.saturating_add(self.memory_size))
            && self.reserved.iter().all(|(start, end, _)| apart(*start, *end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::DEVICE_WINDOW;

    #[test]
    fn boards_are_called_like_their_files() {
        assert!(BOARDS.iter().map(|board| board.name).eq(FILES.iter().copied()));
    }

    #[test]
    fn each_board_fits_the_kernels_address_space() {
        for board in BOARDS {
            let name = board.name;
            let end = board.memory_base + (board.memory_size - 1);
            assert!(end < DEVICE_WINDOW, "{name}: memory in the window of devices");
            assert!(board.load_address >= board.memory_base && board.load_address < end, "{name}");
            assert!(board.memory_size.is_multiple_of(1 << 20) && board.load_address.is_multiple_of(1 << 12), "{name}");
            for range in board.windows {
                assert!((range.start | range.length).is_multiple_of(1 << 20) && range.length > 0, "{name}");
                assert!(range.start < DEVICE_WINDOW && range.length <= DEVICE_WINDOW, "{name}: too high");
                assert!(range.start < board.memory_base || range.start > end, "{name}: a device in memory");
            }
            for (start, end, what) in board.reserved {
                assert!(start % 0x1000 == 0 && end % 0x1000 == 0 && start < end, "{name}: {what}");
                assert!(!board.grantable(*start, 0x1000), "{name}: {what} could be granted");
            }
            for (start, end, what) in board.devices {
                assert!(start % 0x1000 == 0 && end % 0x1000 == 0 && start < end, "{name}: {what}");
                assert!(board.grantable(*start, end - start), "{name}: {what} cannot be granted");
            }
            // The header of the kernel's image lies below the kernel, in memory.
            assert!(board.load_address - board.memory_base >= 0x1000, "{name}");
            assert!(!board.loader.files.is_empty(), "{name}");
            if let Some(emulator) = &board.emulator {
                assert!(!emulator.processors.is_empty(), "{name}");
            }
        }
    }

    #[test]
    fn the_usual_board_exists() {
        assert!(BOARDS.iter().any(|board| board.name == USUAL));
        assert_eq!(CHOSEN.name, USUAL, "unless the environment names another");
        assert!(!CHOSEN.grantable(u32::MAX, 2), "round the end");
    }
}
