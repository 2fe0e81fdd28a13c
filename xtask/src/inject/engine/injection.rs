//! Doing to a guest that stands what an experiment asks for.

use anyhow::Result;
use experiment::{Action, Injection, Job, is_physical, resolve};

use super::driver::unexpected;
use super::emulator::Emulator;

/// Number of the program counter.
const PC: usize = 15;

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
    let resolved = resolve(action, &registers, &mut |address| match gdb.word(address) {
        Ok(word) => word,
        Err(error) => {
            failure = Some(error);
            None
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    let action = match resolved {
        Err(why) => return Ok(Injection::Failed(why)),
        Ok(action) => action,
    };
    Ok(match perform(emulator, action, &registers, physical)? {
        Ok((before, after)) => Injection::Done { action, before, after, registers, context },
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
        Action::Memory { address, keep, flip } if is_physical(address) => {
            let before = emulator.ram.word(address);
            gdb.set_physical(address, before & keep ^ flip)?;
            Ok(Ok((before, emulator.ram.word(address))))
        }
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
