//! Following a run that is replayed, instruction by instruction, and knowing whose each is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use experiment::Job;

use super::emulator::Emulator;
use super::gdb::Guest;
use super::memory::Ram;
use super::state::State;

/// Offset of the vector of interrupts (ARM ARM, B1.8.1).
const INTERRUPT: u32 = 0x18;
const PAGE: u32 = 4096;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An instruction was executed, or ended with an exception.
    Instruction,
    /// An interrupt came first.
    Interrupt,
    /// The emulator ended.
    End,
}

/// See the module.
pub struct Steps<'e> {
    emulator: &'e mut Emulator,
    /// Range of the kernel's instructions, which lie at equal virtual and physical addresses.
    kernel: (u32, u32),
    /// Vector of interrupts.
    interrupt: u32,
    /// Where the kernel leaves to user mode, perhaps.
    returns: Vec<u32>,
    /// Physical pages by virtual ones, since the kernel was left.
    pages: BTreeMap<u32, Option<u32>>,
}

impl<'e> Steps<'e> {
    /// Follows a guest that stands.
    ///
    /// # Errors
    /// If the kernel cannot be read.
    pub fn new(emulator: &'e mut Emulator, job: &Job) -> Result<Steps<'e>> {
        let text = emulator.ram.bytes(job.kernel.0, job.kernel.1 - job.kernel.0)?;
        let words = text.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        let places = (job.kernel.0..).step_by(4).zip(words);
        let returns = places.filter(|(_, word)| may_return(*word)).map(|(address, _)| address).collect();
        let interrupt = job.vectors.0 + INTERRUPT;
        Ok(Steps { emulator, kernel: job.kernel, interrupt, returns, pages: BTreeMap::new() })
    }

    /// The program counter.
    ///
    /// # Errors
    /// If the emulator fails; so for all that follows.
    pub fn pc(&mut self) -> Result<u32> {
        self.emulator.gdb.pc()
    }

    /// Whether an address is one of the kernel's instructions.
    pub fn in_kernel(&self, address: u32) -> bool {
        self.kernel.0 <= address && address < self.kernel.1
    }

    /// The physical address of an instruction; none if nothing is mapped there.
    pub fn physical(&mut self, address: u32) -> Result<Option<u32>> {
        if self.in_kernel(address) {
            return Ok(Some(address));
        }
        let page = address & !(PAGE - 1);
        let physical = match self.pages.get(&page) {
            Some(known) => *known,
            None => {
                let said = self.emulator.qmp.say(&format!("gva2gpa {page:#x}"))?;
                let number = said.trim().strip_prefix("gpa: 0x").map(|digits| u32::from_str_radix(digits, 16));
                let physical = number.transpose().with_context(|| format!("the emulator translates to {said:?}"))?;
                self.pages.insert(page, physical);
                physical
            }
        };
        Ok(physical.map(|physical| physical | address & (PAGE - 1)))
    }

    /// One instruction.
    pub fn step(&mut self) -> Result<Step> {
        if self.emulator.gdb.try_step()? == Guest::Gone {
            return Ok(Step::End);
        }
        let pc = self.pc()?;
        if self.in_kernel(pc) {
            self.pages.clear();
        }
        Ok(if pc == self.interrupt { Step::Interrupt } else { Step::Instruction })
    }

    /// How things are: the state of the devices, and in `memory`, which is overwritten, the guest's.
    pub fn look(&mut self, memory: &Ram) -> Result<State> {
        memory.become_like(&self.emulator.ram)?;
        State::of(self.emulator)
    }

    /// Goes on to an address of the kernel. Whether the guest came there.
    pub fn run_to(&mut self, address: u32, patience: Duration) -> Result<bool> {
        self.run(&[address], patience)
    }

    /// Goes on until the kernel is left. Whether it was.
    pub fn leave_kernel(&mut self, patience: Duration) -> Result<bool> {
        loop {
            let pc = self.pc()?;
            if !self.in_kernel(pc) {
                return Ok(true);
            }
            if self.returns.contains(&pc) {
                if self.step()? == Step::End {
                    return Ok(false);
                }
            } else if !self.run(&self.returns.clone(), patience)? {
                return Ok(false);
            }
        }
    }

    /// Goes on until the kernel is entered. Whether it was.
    pub fn enter_kernel(&mut self, vectors: (u32, u32), patience: Duration) -> Result<bool> {
        let vectors: Vec<u32> = (vectors.0..vectors.1).step_by(4).collect();
        self.pages.clear();
        self.run(&vectors, patience)
    }

    fn run(&mut self, breakpoints: &[u32], patience: Duration) -> Result<bool> {
        let gdb = &mut self.emulator.gdb;
        for address in breakpoints {
            gdb.set_breakpoint(*address)?;
        }
        gdb.resume()?;
        let late = Instant::now() + patience;
        let stands = loop {
            match gdb.wait(super::POLL)? {
                Guest::Stands => break true,
                Guest::Gone => return Ok(false),
                Guest::Runs if Instant::now() >= late => return Ok(false),
                Guest::Runs => {}
            }
        };
        if !breakpoints.contains(&gdb.pc()?) {
            bail!("the guest stopped without a reason");
        }
        for address in breakpoints {
            gdb.remove_breakpoint(*address)?;
        }
        Ok(stands)
    }
}

/// Whether a word may be an instruction that leaves an exception (ARM ARM, B9.3): `rfe`, `subs pc, lr` and its like, `ldm` with the
/// user's CPSR, `eret`. Words that only look like one do no harm.
fn may_return(word: u32) -> bool {
    let rfe = word & 0xfe50_ffff == 0xf810_0a00;
    let subs = word & 0x0c10_f000 == 0x0010_f000 && word & 0x0180_0000 != 0x0100_0000;
    let ldm = word & 0x0e50_8000 == 0x0850_8000;
    let eret = word & 0x0fff_ffff == 0x0160_006e;
    rfe || subs || ldm || eret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_out_of_an_exception() {
        // rfeia sp!, rfedb r1, movs pc, lr, subs pc, lr, #4, ldm sp, {r0-pc}^, eret.
        for word in [0xf8bd_0a00, 0xf911_0a00, 0xe1b0_f00e, 0xe25e_f004, 0xe8dd_ffff, 0xe160_006e] {
            assert!(may_return(word), "{word:#x}");
        }
        // mov pc, lr, bx lr, pop {pc}, cmp r0, #0, ldm r0, {r0-r7}, tst r1, r2, str r0, [r1].
        for word in [0xe1a0_f00e, 0xe12f_ff1e, 0xe8bd_8000, 0xe350_0000, 0xe890_00ff, 0xe111_0002, 0xe581_0000] {
            assert!(!may_return(word), "{word:#x}");
        }
    }
}
