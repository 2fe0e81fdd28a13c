//! Doing to a guest that stands what an experiment asks for.

use anyhow::{Result, bail};
use experiment::{Action, Injection, Job, resolve};

use super::driver::unexpected;
use super::emulator::Emulator;

/// Number of the link register.
const LR: usize = 14;
/// Number of the program counter.
const PC: usize = 15;
/// Number of the stack pointer.
const SP: usize = 13;
/// Instructions that a function may take that is to be called twice.
const LONGEST: u32 = 10_000;

/// Injects. The guest stands before an instruction at `physical`; at `expected`, if that is given.
///
/// # Errors
/// If the emulator fails.
pub fn inject(
    emulator: &mut Emulator,
    job: &Job,
    action: Action,
    expected: Option<u32>,
    physical: u32,
) -> Result<Injection> {
    let gdb = &mut emulator.gdb;
    let registers = gdb.registers()?;
    let context = job.context.iter().map(|address| emulator.ram.word(*address)).collect();
    if let Some(expected) = expected.filter(|expected| *expected != registers[PC]) {
        return Ok(Injection::Failed(unexpected(registers[PC], expected)));
    }
    // The stub's own failures come out behind the resolution.
    let mut failure = None;
    let action = resolve(action, &registers, &mut |address| match gdb.word(address) {
        Ok(word) => word,
        Err(error) => {
            failure = Some(error);
            None
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    let done = match action {
        Err(why) => Err(why),
        Ok(action) => perform(emulator, action, &registers, physical)?,
    };
    Ok(match done {
        Ok((before, after)) => Injection::Done { before, after, registers, context },
        Err(why) => Injection::Failed(why),
    })
}

/// What was there before and after; or why nothing was done.
type Change = Result<(u32, u32), String>;

fn perform(emulator: &mut Emulator, action: Action, registers: &[u32; 17], physical: u32) -> Result<Change> {
    let gdb = &mut emulator.gdb;
    let pc = registers[PC];
    let mut register = |number: usize, value: u32| -> Result<Change> {
        gdb.set_register(number, value)?;
        Ok(Ok((registers[number], gdb.registers()?[number])))
    };
    match action {
        Action::Nothing | Action::Look => Ok(Ok((0, 0))),
        Action::Register { register: number, mask } => {
            let number = usize::from(number).min(16);
            register(number, registers[number] ^ mask)
        }
        Action::Jump { pc } => register(PC, pc),
        Action::Return => register(PC, registers[LR]),
        Action::Twice => twice(emulator, registers),
        Action::Memory { address, keep, flip } => replace(emulator, address, |old| old & keep ^ flip),
        Action::Patch { word } => replace(emulator, pc, |_| word),
        Action::Instead { word } => {
            let done = replace(emulator, pc, |_| word)?;
            if let Ok((before, _)) = done {
                emulator.gdb.step()?;
                // Whoever runs now may not see the instruction's virtual address.
                emulator.gdb.set_physical(physical, before)?;
            }
            Ok(done)
        }
        Action::Stack { .. } | Action::Ssr { .. } => Ok(Err("its place is not known".to_owned())),
    }
}

/// Changes a word at a virtual address.
fn replace(emulator: &mut Emulator, address: u32, change: impl FnOnce(u32) -> u32) -> Result<Change> {
    let nowhere = format!("nothing is mapped at {address:#x}");
    let Some(before) = emulator.gdb.word(address)? else { return Ok(Err(nowhere)) };
    emulator.gdb.set_word(address, change(before))?;
    Ok(Ok((before, emulator.gdb.word(address)?.unwrap_or(before))))
}

/// At the first instruction of a function: lets it return, and calls it again with the same arguments.
///
/// Single steps: timers stand still, but the kernel would not hear of one before it unmasks interrupts anyway, which such
/// a function does not.
fn twice(emulator: &mut Emulator, registers: &[u32; 17]) -> Result<Change> {
    let gdb = &mut emulator.gdb;
    for _ in 0..LONGEST {
        gdb.step()?;
        if gdb.pc()? != registers[LR] || gdb.registers()?[SP] != registers[SP] {
            continue;
        }
        for (number, value) in registers.iter().enumerate().take(4) {
            gdb.set_register(number, *value)?;
        }
        gdb.set_register(LR, registers[LR])?;
        gdb.set_register(PC, registers[PC])?;
        return Ok(Ok((1, 2)));
    }
    bail!("the function at {:#x} does not return", registers[PC])
}
