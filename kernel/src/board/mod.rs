//! Boards: memory map, interrupt controller, tick timer, early console. One file a board.
//!
//! The rest of the kernel uses what this module re-exports and knows no board's name.

mod generic_timer;
mod gic;
mod pl011;
mod psci;
mod virt;

pub use virt::{
    DEVICES, NAME, RAM, TICK_INTERRUPT, acknowledge, end_of_interrupt, exit, grantable, init, mask, now_us, put_byte,
    reload_tick, restart, unmask,
};
