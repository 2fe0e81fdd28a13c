//! BeagleBoard: OMAP3530, Cortex-A8. No stock emulator models it, and this project has never run on one.

use crate::{Board, Loader, Range};

/// The board.
pub const BOARD: Board = Board {
    name: "beagleboard",
    about: "OMAP3530, Cortex-A8",
    memory_base: 0x8000_0000,
    // The first ones have 128 MiB.
    memory_size: 128 << 20,
    load_address: 0x8200_0000,
    windows: OMAP3_WINDOWS,
    reserved: OMAP3_RESERVED,
    devices: OMAP3_DEVICES,
    interrupts: (0, 96),
    // GPTIMER 2.
    tick: 38,
    emulator: None,
    loader: Loader::of_ti("omap3_beagle"),
};

/// Megabytes of OMAP3 with registers that the kernel uses.
pub(crate) const OMAP3_WINDOWS: &[Range] = &[
    Range { start: 0x4800_0000, length: 1 << 20 }, // clocks
    Range { start: 0x4820_0000, length: 1 << 20 }, // interrupt controller
    Range { start: 0x4830_0000, length: 1 << 20 }, // reset, watchdog, counter
    Range { start: 0x4900_0000, length: 1 << 20 }, // timer, UART
];

/// What is the kernel's on OMAP3 (TI SPRUF98, chapter "Memory Mapping").
pub(crate) const OMAP3_RESERVED: &[(u32, u32, &str)] = &[
    (0x4800_2000, 0x4800_3000, "control module"),
    (0x4800_4000, 0x4800_6000, "clock management"),
    (0x4805_6000, 0x4805_7000, "DMA controller"),
    (0x4820_0000, 0x4820_1000, "interrupt controller"),
    (0x4830_6000, 0x4830_8000, "power and reset management"),
    (0x4831_4000, 0x4831_5000, "watchdog"),
    (0x4832_0000, 0x4832_1000, "32 kHz counter"),
    (0x4903_2000, 0x4903_3000, "timer of the tick"),
    (0x6800_0000, 0x6900_0000, "interconnect and its firewalls"),
    (0x6c00_0000, 0x6e00_0000, "memory controllers"),
];

/// What services may own on OMAP3.
pub(crate) const OMAP3_DEVICES: &[(u32, u32, &str)] = &[
    (0x4809_c000, 0x4809_d000, "SD/MMC 1"),
    (0x4831_0000, 0x4831_1000, "GPIO 1"),
    (0x4902_0000, 0x4902_1000, "UART 3"),
    (0x4903_4000, 0x4903_5000, "GPTIMER 3"),
];

/// The drivers of what the kernel needs.
#[cfg(target_os = "none")]
pub mod hardware {
    use crate::devices::ns16550::Ns16550;
    use crate::devices::omap_intc::OmapIntc;
    use crate::devices::omap_timer::{OmapDog, OmapTimers};
    use crate::devices::{Mmio, prcm};

    /// The interrupt controller: three banks.
    // SAFETY: the interrupt controller, in the second of the windows above.
    pub static CONTROLLER: OmapIntc<Mmio> = OmapIntc::new(unsafe { Mmio::at(0x4820_0000) }, 3);
    /// Tick and clock: GPTIMER 2 and the 32 kHz synchronisation counter.
    // SAFETY: timer and counter, in the last two of the windows above.
    pub static TIMER: OmapTimers<Mmio> =
        OmapTimers::new(unsafe { Mmio::at(0x4903_2000) }, unsafe { Mmio::at(0x4832_0000) });
    /// WDTIMER 2.
    // SAFETY: the watchdog, in the third of the windows above.
    pub static WATCHDOG: OmapDog<Mmio> = OmapDog::new(unsafe { Mmio::at(0x4831_4000) });
    /// UART 3, for early and last messages.
    // SAFETY: the UART, in the last of the windows above.
    pub static UART: Ns16550<Mmio> = Ns16550::new(unsafe { Mmio::at(0x4902_0000) });

    /// The clocks of tick and watchdog.
    pub fn prepare() {
        // SAFETY: WKUP_CM and PER_CM, in the first of the windows above.
        let (wake_up, peripheral) = unsafe { (Mmio::at(0x4800_4c00), Mmio::at(0x4800_5000)) };
        prcm::omap_clocks(&wake_up, &peripheral);
    }

    /// Starts the board anew.
    pub fn restart(_: bool) {
        // SAFETY: Global_Reg_PRM, in the third of the windows above.
        let reset = unsafe { Mmio::at(0x4830_7200) };
        prcm::omap_reset(&reset);
    }
}
