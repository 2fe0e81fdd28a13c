//! Allwinner A10: interrupt controller, timer block and watchdog (A10 user manual, chapters "Interrupt controller" and
//! "Timer controller"). The two blocks share a page.

use super::clock::Clock;
use super::{Controller, Registers, Timer, Watchdog};

/// INTC_VECTOR: four times the number of the pending interrupt of highest priority, 0 = none.
const VECTOR: u32 = 0x00;
/// INTC_BASE_ADDR: added to the vector.
const BASE: u32 = 0x04;
/// INTC_IRQ_TYPE_SEL0-2: 1 = a source is a FIQ.
const FAST: u32 = 0x30;
/// INTC_EN0-2.
const ENABLE: u32 = 0x40;
/// INTC_MASK0-2.
const MASK: u32 = 0x50;
/// Registers of each kind, with 32 sources each.
const WORDS: u32 = 3;

/// The interrupt controller of the A10. A source interrupts as long as its device says so: there is nothing to end.
pub struct Intc<R> {
    registers: R,
}

impl<R> Intc<R> {
    /// The controller with these registers.
    pub const fn new(registers: R) -> Self {
        Intc { registers }
    }
}

impl<R: Registers> Controller for Intc<R> {
    fn init(&self) {
        for word in 0..WORDS {
            self.registers.write(MASK + word * 4, u32::MAX);
            self.registers.write(ENABLE + word * 4, 0);
            self.registers.write(FAST + word * 4, 0);
        }
        self.registers.write(BASE, 0);
    }

    /// Number 0 is the pin NMI, which no board here uses and which is never let through.
    fn acknowledge(&self) -> Option<u32> {
        let number = self.registers.read(VECTOR) / 4;
        (number != 0).then_some(number)
    }

    fn end(&self, _: u32) {}

    fn unmask(&self, interrupt: u32) {
        let (word, bit) = (interrupt / 32 % WORDS * 4, 1 << (interrupt % 32));
        self.registers.modify(ENABLE + word, 0, bit);
        self.registers.modify(MASK + word, bit, 0);
    }

    fn mask(&self, interrupt: u32) {
        let (word, bit) = (interrupt / 32 % WORDS * 4, 1 << (interrupt % 32));
        self.registers.modify(MASK + word, 0, bit);
        self.registers.modify(ENABLE + word, bit, 0);
    }
}

/// TMR_IRQ_EN.
const IRQ_ENABLE: u32 = 0x00;
/// TMR_IRQ_STA: a 1 written takes an interrupt back.
const IRQ_STATUS: u32 = 0x04;
/// TMR0_CTRL; the next timer's registers lie `NEXT` bytes behind.
const CONTROL: u32 = 0x10;
/// TMR0_INTV_VALUE.
const INTERVAL: u32 = 0x14;
/// TMR0_CUR_VALUE: counts down.
const COUNT: u32 = 0x18;
const NEXT: u32 = 0x10;
/// TMR_CTRL: enabled.
const RUN: u32 = 1 << 0;
/// TMR_CTRL: takes the interval over now.
const RELOAD: u32 = 1 << 1;
/// TMR_CTRL: clock source, the 24 MHz oscillator, without prescaler.
const OSC24M: u32 = 1 << 2;
/// TMR_CTRL: ends at zero, instead of beginning anew.
const SINGLE: u32 = 1 << 7;
/// Frequency of that oscillator.
const HERTZ: u32 = 24_000_000;

/// Timer 0 as the tick, timer 1 as the clock.
pub struct TimerBlock<R> {
    registers: R,
    clock: Clock,
}

impl<R> TimerBlock<R> {
    /// The timers with these registers.
    pub const fn new(registers: R) -> Self {
        TimerBlock { registers, clock: Clock::new(HERTZ) }
    }
}

impl<R: Registers> Timer for TimerBlock<R> {
    fn start(&self) {
        for (timer, interval) in [(0, HERTZ / 1000), (NEXT, u32::MAX)] {
            self.registers.write(CONTROL + timer, OSC24M);
            self.registers.write(INTERVAL + timer, interval);
        }
        self.registers.write(CONTROL + NEXT, OSC24M | RELOAD | RUN);
        self.reload();
        self.registers.write(IRQ_ENABLE, 1);
    }

    /// One period after the other, so that two never end as one interrupt, as they would under an emulator that lets time
    /// pass in leaps while the processor sleeps.
    fn reload(&self) {
        self.registers.write(IRQ_STATUS, 1);
        self.registers.write(CONTROL, OSC24M | SINGLE | RELOAD | RUN);
    }

    fn now_us(&self) -> u64 {
        self.clock.at(!self.registers.read(COUNT + NEXT))
    }
}

/// WDOG_CTRL_REG, from the start of the timer block.
const DOG_CONTROL: u32 = 0x90;
/// WDOG_MODE_REG.
const DOG_MODE: u32 = 0x94;
/// WDOG_CTRL_REG: restart, with the key that the later chips of the family want.
const DOG_RESTART: u32 = 0xa57 << 1 | 1;
/// WDOG_MODE_REG: enabled, resets the system, 2 seconds.
const DOG_TWO_SECONDS: u32 = 2 << 3 | 0b11;
/// WDOG_MODE_REG: the same with half a second, the shortest.
const DOG_AT_ONCE: u32 = 0b11;

/// The watchdog.
pub struct Dog<R> {
    registers: R,
}

impl<R> Dog<R> {
    /// The watchdog of the timer block with these registers.
    pub const fn new(registers: R) -> Self {
        Dog { registers }
    }
}

impl<R: Registers> Dog<R> {
    /// Lets it reset the board as soon as it can.
    pub fn bite(&self) {
        self.registers.write(DOG_MODE, DOG_AT_ONCE);
        self.registers.write(DOG_CONTROL, DOG_RESTART);
    }
}

impl<R: Registers> Watchdog for Dog<R> {
    fn start(&self) {
        self.registers.write(DOG_MODE, DOG_TWO_SECONDS);
        self.feed();
    }

    fn feed(&self) {
        self.registers.write(DOG_CONTROL, DOG_RESTART);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::fake::Bus;

    #[test]
    fn sources_are_masked_and_enabled_by_the_bit() {
        let controller = Intc::new(Bus::default());
        controller.init();
        let writes = controller.registers.writes();
        assert_eq!(writes[..3], [(0x50, u32::MAX), (0x40, 0), (0x30, 0)]);
        assert_eq!((writes.len(), writes[9]), (10, (0x04, 0)));
        controller.unmask(22);
        assert_eq!(controller.registers.writes(), [(0x40, 1 << 22), (0x50, !(1 << 22))]);
        controller.unmask(65);
        assert_eq!(controller.registers.writes(), [(0x48, 2), (0x58, !2)]);
        controller.mask(65);
        assert_eq!(controller.registers.writes(), [(0x58, u32::MAX), (0x48, 0)]);
        controller.registers.queue(0, &[88, 0]);
        assert_eq!([controller.acknowledge(), controller.acknowledge()], [Some(22), None]);
    }

    #[test]
    fn a_tick_is_a_millisecond_of_the_oscillator() {
        let timers = TimerBlock::new(Bus::default());
        timers.start();
        assert_eq!(
            timers.registers.writes(),
            [(0x10, 4), (0x14, 24_000), (0x20, 4), (0x24, u32::MAX), (0x20, 7), (0x04, 1), (0x10, 0x87), (0x00, 1)]
        );
        timers.reload();
        assert_eq!(timers.registers.writes(), [(0x04, 1), (0x10, 0x87)]);
        timers.registers.queue(0x28, &[u32::MAX, u32::MAX - 24_000, 0, u32::MAX]);
        let times: [u64; 4] = core::array::from_fn(|_| timers.now_us());
        assert_eq!(times, [0, 1000, 178_956_970, 178_956_970]);
    }

    #[test]
    fn the_watchdog_is_fed_and_bites() {
        let dog = Dog::new(Bus::default());
        dog.start();
        assert_eq!(dog.registers.writes(), [(0x94, 0x13), (0x90, 0x14af)]);
        dog.bite();
        assert_eq!(dog.registers.writes(), [(0x94, 0x03), (0x90, 0x14af)]);
    }
}
