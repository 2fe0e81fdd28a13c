//! QEMU `virt`: Cortex-A15 or A7, GICv2, generic timer, PL011.

use super::generic_timer;
use super::gic::Gic;
use super::pl011::Pl011;
use super::psci;
use crate::arch::mmu::Range;

/// Name of the board.
pub const NAME: &str = "virt";
/// Memory: 128 MiB.
pub const RAM: Range = Range { start: 0x4000_0000, length: 0x0800_0000 };
/// Devices that the kernel itself uses: GIC and the console's UART for early and last messages.
pub const DEVICES: &[Range] =
    &[Range { start: 0x0800_0000, length: 0x0010_0000 }, Range { start: 0x0900_0000, length: 0x0010_0000 }];
/// Interrupt of the tick: the non-secure physical timer, PPI 14.
pub const TICK_INTERRUPT: u32 = 30;

/// Whether a service may have these registers: no memory, not the interrupt controller.
pub fn grantable(address: u32, length: u32) -> bool {
    let apart = |range: Range| address >= range.start + range.length || length <= range.start.saturating_sub(address);
    address.checked_add(length).is_some() && apart(RAM) && apart(Range { start: 0x0800_0000, length: 0x0004_0000 })
}

const UART: Pl011 = Pl011::new(0x0900_0000);
const GIC: Gic = Gic::new(0x0800_0000, 0x0801_0000);

/// Sets up the interrupt controller and starts the tick of a millisecond.
pub fn init() {
    GIC.init();
    GIC.enable(TICK_INTERRUPT);
    generic_timer::start();
}

/// The pending interrupt of highest priority; it stays active until [`end_of_interrupt`].
pub fn acknowledge() -> Option<u32> {
    GIC.acknowledge()
}

/// Ends the handling of an interrupt.
pub fn end_of_interrupt(interrupt: u32) {
    GIC.end(interrupt);
}

/// Lets an interrupt through.
pub fn unmask(interrupt: u32) {
    GIC.enable(interrupt);
}

/// Keeps an interrupt back.
pub fn mask(interrupt: u32) {
    GIC.disable(interrupt);
}

/// Arms the tick timer again.
pub fn reload_tick() {
    generic_timer::reload();
}

/// Microseconds since the counter started.
pub fn now_us() -> u64 {
    generic_timer::now_us()
}

/// Writes a byte to the early console.
pub fn put_byte(byte: u8) {
    UART.put(byte);
}

/// Starts the board anew.
pub fn restart() -> ! {
    psci::system_reset()
}

/// Leaves the emulator with this status.
pub fn exit(status: u8) -> ! {
    semihosting::process::exit(i32::from(status))
}
