//! BeagleBoard-xM: DM3730, Cortex-A8: for what the kernel needs the same as an OMAP3530, with more memory. No stock emulator models
//! it, and this project has never run on one.

use crate::Board;
use crate::beagleboard;

/// The board.
pub const BOARD: Board = Board {
    name: "beagleboard-xm",
    about: "DM3730, Cortex-A8",
    memory_size: 512 << 20,
    ..beagleboard::BOARD
};

/// The drivers of what the kernel needs.
#[cfg(target_os = "none")]
pub use beagleboard::hardware;
