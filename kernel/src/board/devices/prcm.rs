//! Power, reset and clock management of OMAP3 (TI SPRUF98, chapter "Power, Reset, and Clock Management") and AM335x (TI SPRUH73,
//! chapter 8): the few clocks that the kernel's own devices need, and the reset of the board.

use super::{Registers, wait_until};

/// OMAP3: CM_FCLKEN_WKUP and CM_ICLKEN_WKUP, in WKUP_CM.
const WAKE_UP: [u32; 2] = [0x00, 0x10];
/// OMAP3: bit of WDTIMER 2 in both.
const DOG: u32 = 1 << 5;
/// OMAP3: CM_FCLKEN_PER and CM_ICLKEN_PER, in PER_CM.
const PERIPHERAL: [u32; 2] = [0x00, 0x10];
/// OMAP3: CM_CLKSEL_PER.
const SELECT: u32 = 0x40;
/// OMAP3: bit of GPTIMER 2 in CM_xCLKEN_PER.
const TIMER_2: u32 = 1 << 3;
/// OMAP3: CM_CLKSEL_PER.CLKSEL_GPT2: 0 = 32 kHz.
const TIMER_2_FAST: u32 = 1 << 0;
/// OMAP3: PRM_RSTCTRL, from the start of Global_Reg_PRM.
const RESET: u32 = 0x50;
/// OMAP3: PRM_RSTCTRL.RST_GS, a global software reset.
const GLOBAL: u32 = 1 << 1;

/// OMAP3: lets GPTIMER 2 run at 32 kHz, and the watchdog.
pub fn omap_clocks<R: Registers>(wake_up: &R, peripheral: &R) {
    peripheral.modify(SELECT, TIMER_2_FAST, 0);
    for register in PERIPHERAL {
        peripheral.modify(register, 0, TIMER_2);
    }
    for register in WAKE_UP {
        wake_up.modify(register, 0, DOG);
    }
}

/// OMAP3: starts the board anew.
pub fn omap_reset<R: Registers>(prm: &R) {
    prm.modify(RESET, 0, GLOBAL);
}

/// AM335x: CM_PER_TIMER2_CLKCTRL and CM_PER_TIMER3_CLKCTRL, from the start of CM_PER.
const TIMERS: [u32; 2] = [0x80, 0x84];
/// AM335x: CLKSEL_TIMER2_CLK and CLKSEL_TIMER3_CLK, from the start of CM_DPLL.
const SOURCES: [u32; 2] = [0x08, 0x0c];
/// AM335x: CLKSEL_TIMERn_CLK: the main oscillator.
const OSCILLATOR: u32 = 1;
/// AM335x: CM_WKUP_WDT1_CLKCTRL, from the start of CM_WKUP.
const WATCHDOG: u32 = 0xd4;
/// AM335x: xCLKCTRL.MODULEMODE: enabled.
const ENABLED: u32 = 2;
/// AM335x: xCLKCTRL.IDLEST: 0 = the module works.
const IDLE: u32 = 0b11 << 16;
/// AM335x: PRM_RSTCTRL, from the start of PRM_DEVICE.
const RESET_CONTROL: u32 = 0x00;
/// AM335x: PRM_RSTCTRL.RST_GLOBAL_WARM_SW.
const WARM: u32 = 1 << 0;

fn enable<R: Registers>(bank: &R, register: u32) {
    bank.write(register, ENABLED);
    wait_until(|| bank.read(register) & IDLE == 0);
}

/// AM335x: lets DMTIMER 2 and 3 run from the main oscillator, and the watchdog.
pub fn am335x_clocks<R: Registers>(peripheral: &R, wake_up: &R, dpll: &R) {
    for (timer, source) in TIMERS.into_iter().zip(SOURCES) {
        dpll.write(source, OSCILLATOR);
        enable(peripheral, timer);
    }
    enable(wake_up, WATCHDOG);
}

/// AM335x: starts the board anew.
pub fn am335x_reset<R: Registers>(prm: &R) {
    prm.modify(RESET_CONTROL, 0, WARM);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::fake::{Bus, Read, Write};

    #[test]
    fn omap_clocks_are_switched_by_the_bit() {
        let (wake_up, peripheral, prm) = (Bus::default(), Bus::default(), Bus::default());
        peripheral.set(0x40, 0xff);
        peripheral.set(0x00, 0x800);
        omap_clocks(&wake_up, &peripheral);
        assert_eq!(peripheral.writes(), [(0x40, 0xfe), (0x00, 0x808), (0x10, 0x008)]);
        assert_eq!(wake_up.writes(), [(0x00, 0x20), (0x10, 0x20)]);
        omap_reset(&prm);
        assert_eq!(prm.writes(), [(0x50, 2)]);
    }

    #[test]
    fn am335x_modules_are_waited_for() {
        let (peripheral, wake_up, dpll, prm) = (Bus::default(), Bus::default(), Bus::default(), Bus::default());
        peripheral.queue(0x84, &[0x0001_0002, 0x0000_0002]);
        am335x_clocks(&peripheral, &wake_up, &dpll);
        assert_eq!(dpll.writes(), [(0x08, 1), (0x0c, 1)]);
        assert_eq!(peripheral.accesses(), [Write(0x80, 2), Read(0x80), Write(0x84, 2), Read(0x84), Read(0x84)]);
        assert_eq!(wake_up.writes(), [(0xd4, 2)]);
        am335x_reset(&prm);
        assert_eq!(prm.writes(), [(0x00, 1)]);
    }
}
