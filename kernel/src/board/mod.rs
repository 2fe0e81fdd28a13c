//! Boards: memory map, interrupt controller, tick timer, early console. One file a board.
//!
//! The rest of the kernel uses what this module re-exports and knows no board's name.

mod generic_timer;
mod gic;
mod pl011;
mod virt;

pub use virt::{DEVICES, RAM, acknowledge, end_of_interrupt, init, put_byte, reload_tick, NAME, TICK_INTERRUPT, exit, now_us};
