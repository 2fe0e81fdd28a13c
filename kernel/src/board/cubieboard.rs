//! Cubieboard: Allwinner A10, Cortex-A8. QEMU models enough of it for everything but the watchdog, which it accepts and
//! ignores: there a restart ends the emulator, and a kernel that hangs stays so.

use crate::{Board, Emulator, Loader, LoaderFile, Place, Range, Staging};

/// The board.
pub const BOARD: Board = Board {
    name: "cubieboard",
    about: "Allwinner A10, Cortex-A8; emulated by QEMU",
    memory_base: 0x4000_0000,
    memory_size: 512 << 20,
    load_address: 0x4001_0000,
    windows: &[Range { start: 0x01c0_0000, length: 1 << 20 }],
    reserved: &[(0x01c2_0000, 0x01c2_1000, "page of interrupt controller, timers, watchdog, clocks and pins")],
    devices: &[
        (0x01c0_b000, 0x01c0_c000, "Ethernet EMAC"),
        (0x01c0_f000, 0x01c1_0000, "SD/MMC 0"),
        (0x01c1_4000, 0x01c1_5000, "USB host 1"),
        (0x01c1_c000, 0x01c1_d000, "USB host 2"),
        // One page, and so one owner.
        (0x01c2_8000, 0x01c2_9000, "UART 0 to 3"),
    ],
    interrupts: (1, 96),
    // Timer 0.
    tick: 22,
    emulator: Some(Emulator {
        machine: "cubieboard,usb=on",
        processors: &["cortex-a8"],
        hyp: false,
        counter: false,
        options: &["-nic", "user"],
    }),
    loader: Loader {
        package: "u-boot-sunxi",
        architecture: Some("armhf"),
        folder: "Cubieboard",
        // The boot ROM reads the first stage by sectors, and this the second, which lies right behind it.
        files: &[LoaderFile {
            name: "u-boot-sunxi-with-spl.bin",
            place: Place::Byte(8192),
            marks: (4, &[b"eGON.BT0"]),
        }],
        kernel: Staging::InPlace,
    },
};

/// The drivers of what the kernel needs.
#[cfg(target_os = "none")]
pub mod hardware {
    use crate::devices::Mmio;
    use crate::devices::ns16550::Ns16550;
    use crate::devices::sunxi::{Dog, Intc, TimerBlock};

    /// The interrupt controller.
    // SAFETY: the interrupt controller, in the window above.
    pub static CONTROLLER: Intc<Mmio> = Intc::new(unsafe { Mmio::at(0x01c2_0400) });
    /// Tick and clock.
    // SAFETY: the timer block, in the window above.
    pub static TIMER: TimerBlock<Mmio> = TimerBlock::new(unsafe { Mmio::at(0x01c2_0c00) });
    /// The watchdog, in the same block.
    // SAFETY: as for the timers, whose registers it does not touch.
    pub static WATCHDOG: Dog<Mmio> = Dog::new(unsafe { Mmio::at(0x01c2_0c00) });
    /// UART 0, for early and last messages.
    // SAFETY: the UART, in the window above.
    pub static UART: Ns16550<Mmio> = Ns16550::new(unsafe { Mmio::at(0x01c2_8000) });

    /// The boot loader has set up clocks and pins.
    pub fn prepare() {}

    /// Starts the board anew.
    pub fn restart(_: bool) {
        WATCHDOG.bite();
    }
}
