//! QEMU `virt`: Cortex-A15 or A7, GICv2, generic timer, PL011. Its memory map is part of QEMU's documentation of the
//! machine (`hw/arm/virt.c`).
//!
//! It has no watchdog of its own. (QEMU offers a PCI card with one, i6300esb, for which the kernel would need a driver of PCI.)

use crate::{Board, Emulator, Loader, LoaderFile, Place, Range, Staging};

/// The board.
pub const BOARD: Board = Board {
    name: "virt",
    about: "QEMU's own machine: Cortex-A15 or A7",
    memory_base: 0x4000_0000,
    memory_size: 128 << 20,
    load_address: 0x4001_0000,
    windows: &[
        Range { start: 0x0800_0000, length: 1 << 20 }, // GIC
        Range { start: 0x0900_0000, length: 1 << 20 }, // UART
    ],
    reserved: &[(0x0800_0000, 0x0802_0000, "interrupt controller")],
    devices: &[
        (0x0900_0000, 0x0900_1000, "UART PL011"),
        (0x0901_0000, 0x0901_1000, "clock PL031"),
        (0x0903_0000, 0x0903_1000, "GPIO PL061"),
        (0x0a00_0000, 0x0a00_4000, "virtio-mmio"),
    ],
    interrupts: (32, 288),
    // The non-secure physical timer, PPI 14.
    tick: 30,
    emulator: Some(Emulator {
        machine: "virt",
        processors: &["cortex-a15", "cortex-a7"],
        hyp: true,
        counter: true,
        options: &["-nic", "none"],
    }),
    loader: Loader {
        package: "u-boot-qemu",
        architecture: None,
        folder: "qemu_arm",
        files: &[LoaderFile { name: "u-boot.bin", place: Place::Firmware, marks: (0, &[]) }],
        // QEMU leaves its device tree right below the kernel.
        kernel: Staging::Copied(0x4400_0000, 64 << 20),
    },
};

/// The drivers of what the kernel needs.
#[cfg(target_os = "none")]
pub mod hardware {
    use crate::devices::generic_timer::GenericTimer;
    use crate::devices::gic::Gic;
    use crate::devices::pl011::Pl011;
    use crate::devices::{Mmio, NoWatchdog, psci};

    /// The interrupt controller.
    // SAFETY: distributor and CPU interface, in the first of the windows above.
    pub static CONTROLLER: Gic<Mmio> = Gic::new(unsafe { Mmio::at(0x0800_0000) }, unsafe { Mmio::at(0x0801_0000) });
    /// Tick and clock.
    pub static TIMER: GenericTimer = GenericTimer;
    /// The console's UART, for early and last messages.
    // SAFETY: the UART, in the second of the windows above.
    pub static UART: Pl011<Mmio> = Pl011::new(unsafe { Mmio::at(0x0900_0000) });
    /// There is none.
    pub static WATCHDOG: NoWatchdog = NoWatchdog;

    /// Nothing is to be prepared.
    pub fn prepare() {}

    /// Starts the board anew.
    pub fn restart(started_in_hyp: bool) {
        psci::system_reset(started_in_hyp);
    }
}
