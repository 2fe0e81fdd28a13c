//! General-purpose timers of OMAP3 (TI SPRUF98, chapter "Timers", GPTIMER) and AM335x (TI SPRUH73, chapter 20, DMTIMER), and the
//! watchdog timer that both have. They count upwards and interrupt when they overflow.

use super::clock::Clock;
use super::{Registers, Timer, Watchdog, wait_until};

/// Where the registers of a general-purpose timer lie: their order is the same, the gaps are not.
pub struct Layout {
    /// TISR, IRQSTATUS: a 1 written takes an interrupt back.
    status: u32,
    /// TIER, IRQENABLE_SET.
    enable: u32,
    /// TCLR.
    control: u32,
    /// TCRR.
    counter: u32,
    /// TLDR.
    load: u32,
    /// TSICR.
    interface: u32,
}

/// GPTIMER of OMAP3.
pub const GPTIMER: Layout =
    Layout { status: 0x18, enable: 0x1c, control: 0x24, counter: 0x28, load: 0x2c, interface: 0x40 };
/// DMTIMER of AM335x.
pub const DMTIMER: Layout =
    Layout { status: 0x28, enable: 0x2c, control: 0x38, counter: 0x3c, load: 0x40, interface: 0x54 };

/// TPIR of GPTIMER 1, 2 and 10: what is added, millionths of a count, for a period one count longer.
const POSITIVE: u32 = 0x48;
/// TNIR: the same for a period one count shorter.
const NEGATIVE: u32 = 0x4c;

/// TISR, TIER: overflow.
const OVERFLOW: u32 = 1 << 1;
/// TISR: all causes.
const ALL: u32 = 0b111;
/// TCLR: runs.
const RUN: u32 = 1 << 0;
/// TCLR: loads TLDR at an overflow.
const RELOAD: u32 = 1 << 1;
/// TSICR: a write waits until it has arrived (not "posted"): nothing is to be polled, and errata i103 and i767 do not apply.
const NOT_POSTED: u32 = 0;

/// A general-purpose timer.
struct GeneralTimer<R> {
    registers: R,
    layout: Layout,
}

impl<R: Registers> GeneralTimer<R> {
    /// Lets it count from a value to its overflow, again and again. The boot loader may have left it running.
    fn run_from(&self, value: u32) {
        let Layout { status, control, counter, load, interface, .. } = self.layout;
        self.registers.write(interface, NOT_POSTED);
        self.registers.write(control, 0);
        self.registers.write(status, ALL);
        self.registers.write(load, value);
        self.registers.write(counter, value);
        self.registers.write(control, RUN | RELOAD);
    }

    fn interrupt(&self) {
        self.registers.write(self.layout.enable, OVERFLOW);
    }

    /// Reading it back makes sure that it has arrived.
    fn take_back(&self) {
        self.registers.write(self.layout.status, OVERFLOW);
        self.registers.read(self.layout.status);
    }
}

/// OMAP3: GPTIMER 2 at 32,768 Hz as the tick, the 32 kHz synchronisation counter as the clock, in steps of 30.5 us.
pub struct OmapTimers<R> {
    tick: GeneralTimer<R>,
    counter: R,
    clock: Clock,
}

/// Counts of a tick, rounded down.
const SLOW_TICK: u32 = 32;
/// 32.768 counts a tick: periods of 33 and 32 counts mix as TPIR and TNIR say (TI SPRUF98, "1-ms tick": 232,000 and -768,000).
const LONGER: u32 = 232_000;
const SHORTER: u32 = -768_000i32 as u32;
/// REG_32KSYNCNT_CR.
const SYNC_COUNTER: u32 = 0x10;

impl<R> OmapTimers<R> {
    /// The registers of GPTIMER 2 and of the synchronisation counter.
    pub const fn new(timer: R, counter: R) -> Self {
        OmapTimers { tick: GeneralTimer { registers: timer, layout: GPTIMER }, counter, clock: Clock::new(32_768) }
    }
}

impl<R: Registers> Timer for OmapTimers<R> {
    fn start(&self) {
        self.tick.registers.write(POSITIVE, LONGER);
        self.tick.registers.write(NEGATIVE, SHORTER);
        self.tick.run_from(0u32.wrapping_sub(SLOW_TICK));
        self.tick.interrupt();
    }

    fn reload(&self) {
        self.tick.take_back();
    }

    fn now_us(&self) -> u64 {
        self.clock.at(self.counter.read(SYNC_COUNTER))
    }
}

/// AM335x: two DMTIMERs at the 24 MHz of the main oscillator, one as the tick, one as the clock.
pub struct Am335xTimers<R> {
    tick: GeneralTimer<R>,
    counter: GeneralTimer<R>,
    clock: Clock,
}

/// Frequency of the main oscillator.
const OSCILLATOR: u32 = 24_000_000;

impl<R> Am335xTimers<R> {
    /// The registers of the two timers.
    pub const fn new(tick: R, counter: R) -> Self {
        Am335xTimers {
            tick: GeneralTimer { registers: tick, layout: DMTIMER },
            counter: GeneralTimer { registers: counter, layout: DMTIMER },
            clock: Clock::new(OSCILLATOR),
        }
    }
}

impl<R: Registers> Timer for Am335xTimers<R> {
    fn start(&self) {
        self.counter.run_from(0);
        self.tick.run_from(0u32.wrapping_sub(OSCILLATOR / 1000));
        self.tick.interrupt();
    }

    fn reload(&self) {
        self.tick.take_back();
    }

    fn now_us(&self) -> u64 {
        self.clock.at(self.counter.registers.read(self.counter.layout.counter))
    }
}

/// WCLR: the prescaler.
const DOG_CONTROL: u32 = 0x24;
/// WCRR: the counter.
const DOG_COUNTER: u32 = 0x28;
/// WLDR: what it starts from.
const DOG_LOAD: u32 = 0x2c;
/// WTGR: another value than before makes it start from WLDR.
const DOG_TRIGGER: u32 = 0x30;
/// WWPS: writes that have not arrived yet.
const DOG_PENDING: u32 = 0x34;
/// WSPR: starts and stops it.
const DOG_START: u32 = 0x48;

/// WWPS.W_PEND_WTGR.
const TRIGGER_PENDING: u32 = 1 << 3;
/// WCLR: 32,768 Hz, divided by one.
const UNDIVIDED: u32 = 1 << 5;
/// Two seconds.
const TWO_SECONDS: u32 = 0u32.wrapping_sub(2 * 32_768);
/// WSPR: the two values that stop it, and the two that start it, one after the other.
const STOP: [u32; 2] = [0xaaaa, 0x5555];
const START: [u32; 2] = [0xbbbb, 0x4444];

/// The watchdog: WDTIMER 2 of OMAP3, WDT 1 of AM335x.
pub struct OmapDog<R> {
    registers: R,
}

impl<R> OmapDog<R> {
    /// The watchdog with these registers.
    pub const fn new(registers: R) -> Self {
        OmapDog { registers }
    }
}

impl<R: Registers> OmapDog<R> {
    /// Its registers lie in a slow clock's domain: one write at a time.
    fn write(&self, register: u32, value: u32) {
        self.registers.write(register, value);
        wait_until(|| self.registers.read(DOG_PENDING) == 0);
    }
}

impl<R: Registers> Watchdog for OmapDog<R> {
    fn start(&self) {
        STOP.into_iter().for_each(|value| self.write(DOG_START, value));
        self.write(DOG_CONTROL, UNDIVIDED);
        self.write(DOG_LOAD, TWO_SECONDS);
        self.write(DOG_COUNTER, TWO_SECONDS);
        START.into_iter().for_each(|value| self.write(DOG_START, value));
    }

    /// While an earlier one has not arrived there is nothing to do.
    fn feed(&self) {
        if self.registers.read(DOG_PENDING) & TRIGGER_PENDING == 0 {
            self.registers.write(DOG_TRIGGER, !self.registers.read(DOG_TRIGGER));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::fake::{Bus, Read, Write};

    #[test]
    fn gptimer_ticks_at_32_counts_and_some() {
        let timers = OmapTimers::new(Bus::default(), Bus::default());
        timers.start();
        let expected = [
            (0x48, 232_000),
            (0x4c, 0xfff4_4800),
            (0x40, 0),
            (0x24, 0),
            (0x18, 7),
            (0x2c, 0xffff_ffe0),
            (0x28, 0xffff_ffe0),
            (0x24, 3),
            (0x1c, 2),
        ];
        assert_eq!(timers.tick.registers.writes(), expected);
        timers.reload();
        assert_eq!(timers.tick.registers.accesses(), [Write(0x18, 2), Read(0x18)]);
        // 1000 ticks: the fraction makes 768 of them a count longer.
        let counts = 32 * 1000 + 1000 * u64::from(LONGER.wrapping_sub(SHORTER) - LONGER) / 1_000_000;
        assert_eq!(counts, 32_768);
        timers.counter.queue(0x10, &[32_768, 3 * 32_768, 2]);
        assert_eq!([timers.now_us(), timers.now_us()], [1_000_000, 3_000_000]);
        assert_eq!(timers.now_us(), ((1 << 32) + 2) * 1_000_000 / 32_768);
        assert_eq!(timers.counter.accesses(), [Read(0x10), Read(0x10), Read(0x10)]);
    }

    #[test]
    fn dmtimers_run_from_the_oscillator() {
        let timers = Am335xTimers::new(Bus::default(), Bus::default());
        timers.start();
        let expected = |load| [(0x54, 0), (0x38, 0), (0x28, 7), (0x40, load), (0x3c, load), (0x38, 3)];
        assert_eq!(timers.counter.registers.writes(), expected(0));
        let writes = timers.tick.registers.writes();
        assert_eq!(writes[..6], expected(0xffff_a240));
        assert_eq!(writes[6..], [(0x2c, 2)]);
        timers.reload();
        assert_eq!(timers.tick.registers.accesses(), [Write(0x28, 2), Read(0x28)]);
        timers.counter.registers.set(0x3c, 48_000_024);
        assert_eq!(timers.now_us(), 2_000_001);
    }

    #[test]
    fn the_watchdog_is_stopped_set_started_and_fed() {
        let dog = OmapDog::new(Bus::default());
        dog.registers.queue(DOG_PENDING, &[0x10, 0x10, 0]);
        dog.start();
        let accesses = dog.registers.accesses();
        assert_eq!(accesses[..5], [Write(0x48, 0xaaaa), Read(0x34), Read(0x34), Read(0x34), Write(0x48, 0x5555)]);
        let writes: Vec<_> = accesses.into_iter().filter(|access| matches!(access, Write(..))).collect();
        let expected = [
            Write(0x24, 0x20),
            Write(0x2c, 0xffff_0000),
            Write(0x28, 0xffff_0000),
            Write(0x48, 0xbbbb),
            Write(0x48, 0x4444),
        ];
        assert_eq!(writes[2..], expected);
        for fed in [u32::MAX, 0, u32::MAX] {
            dog.feed();
            assert_eq!(dog.registers.writes(), [(0x30, fed)]);
        }
        dog.registers.set(DOG_PENDING, TRIGGER_PENDING);
        dog.feed();
        assert_eq!(dog.registers.writes(), []);
    }
}
