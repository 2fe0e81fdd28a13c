//! BeagleBone Black: AM3358, Cortex-A8. No emulator at hand runs its boot loader, and this project has never run on one.

use crate::{Board, Loader, Range};

/// The board.
pub const BOARD: Board = Board {
    name: "beaglebone-black",
    about: "AM3358, Cortex-A8",
    memory_base: 0x8000_0000,
    memory_size: 512 << 20,
    load_address: 0x8200_0000,
    windows: &[
        Range { start: 0x44e0_0000, length: 1 << 20 }, // clocks, reset, watchdog, UART
        Range { start: 0x4800_0000, length: 1 << 20 }, // timers
        Range { start: 0x4820_0000, length: 1 << 20 }, // interrupt controller
    ],
    // TI SPRUH73, chapter 2.
    reserved: &[
        (0x44c0_0000, 0x44c0_3000, "interconnect"),
        (0x44e0_0000, 0x44e0_4000, "power, reset and clock management"),
        (0x44e1_0000, 0x44e1_2000, "control module"),
        (0x44e3_5000, 0x44e3_6000, "watchdog"),
        (0x4804_0000, 0x4804_1000, "timer of the tick"),
        (0x4804_2000, 0x4804_3000, "timer of the clock"),
        (0x4820_0000, 0x4820_1000, "interrupt controller"),
        (0x4900_0000, 0x49c0_0000, "DMA controller"),
        (0x4c00_0000, 0x4c00_1000, "memory controller"),
    ],
    devices: &[
        (0x44e0_9000, 0x44e0_a000, "UART 0"),
        (0x4806_0000, 0x4806_1000, "SD/MMC 0"),
        (0x481d_8000, 0x481d_9000, "SD/MMC 1"),
    ],
    interrupts: (0, 128),
    // DMTIMER 2.
    tick: 68,
    emulator: None,
    loader: Loader::of_ti("am335x_boneblack"),
};

/// The drivers of what the kernel needs.
#[cfg(target_os = "none")]
pub mod hardware {
    use crate::devices::ns16550::Ns16550;
    use crate::devices::omap_intc::OmapIntc;
    use crate::devices::omap_timer::{Am335xTimers, OmapDog};
    use crate::devices::{Mmio, prcm};

    /// The interrupt controller: four banks.
    // SAFETY: the interrupt controller, in the last of the windows above.
    pub static CONTROLLER: OmapIntc<Mmio> = OmapIntc::new(unsafe { Mmio::at(0x4820_0000) }, 4);
    /// Tick and clock: DMTIMER 2 and 3.
    // SAFETY: the timers, in the second of the windows above.
    pub static TIMER: Am335xTimers<Mmio> =
        Am335xTimers::new(unsafe { Mmio::at(0x4804_0000) }, unsafe { Mmio::at(0x4804_2000) });
    /// WDT 1.
    // SAFETY: the watchdog, in the first of the windows above.
    pub static WATCHDOG: OmapDog<Mmio> = OmapDog::new(unsafe { Mmio::at(0x44e3_5000) });
    /// UART 0, for early and last messages.
    // SAFETY: the UART, in the first of the windows above.
    pub static UART: Ns16550<Mmio> = Ns16550::new(unsafe { Mmio::at(0x44e0_9000) });

    /// The clocks of the timers and of the watchdog.
    pub fn prepare() {
        // SAFETY: CM_PER, CM_WKUP and CM_DPLL, in the first of the windows above.
        let (peripheral, wake_up, dpll) =
            unsafe { (Mmio::at(0x44e0_0000), Mmio::at(0x44e0_0400), Mmio::at(0x44e0_0500)) };
        prcm::am335x_clocks(&peripheral, &wake_up, &dpll);
    }

    /// Starts the board anew.
    pub fn restart(_: bool) {
        // SAFETY: PRM_DEVICE, in the first of the windows above.
        let reset = unsafe { Mmio::at(0x44e0_0f00) };
        prcm::am335x_reset(&reset);
    }
}
