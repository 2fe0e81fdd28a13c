//! Commands about the system.

use core::fmt::{self, Write};

use rt::abi::call::name_str;
use rt::abi::failure::FailureKind;
use rt::abi::image::Entry;
use rt::abi::info::{MemoryInfo, ObjectState, ProcessInfo, Trace, TraceInfo};
use rt::{Error, Text, sys};
use scheduler::PolicyKind;

use crate::command::{COMMANDS, Context, Failure};
use crate::words::Words;

/// Events that `trace` shows without a number.
const TRACED: u32 = 20;
/// Events that it shows at most.
const RING: usize = 256;
/// Number of the first domain that is a process.
const FIRST_PROCESS: u32 = 64;

/// Bytes, in whole KiB.
pub fn kib(bytes: u32) -> u32 {
    bytes.div_ceil(1024)
}

pub fn help(context: &mut Context<'_, '_>, _: &Words) -> Result<(), Failure> {
    for command in COMMANDS {
        let mut synopsis = Text::<80>::new();
        write!(synopsis, "{} {}", command.name, command.usage)?;
        writeln!(context.out, "{:<35}  {}", synopsis.as_str(), command.help)?;
    }
    writeln!(context.out, "Quotes or a backslash keep blanks in a word.")?;
    Ok(())
}

pub fn echo(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    for (index, word) in words.arguments().enumerate() {
        write!(context.out, "{}{word}", if index == 0 { "" } else { " " })?;
    }
    writeln!(context.out)?;
    Ok(())
}

pub fn ps(context: &mut Context<'_, '_>, _: &Words) -> Result<(), Failure> {
    writeln!(context.out, "slot  process  name              state    sessions  memory/KiB    time/ms  argument")?;
    for slot in 0.. {
        let info: ProcessInfo = match sys::info(slot) {
            Ok(info) => info,
            Err(Error::NotFound) => break,
            Err(error) => return Err(Failure::System("info", error)),
        };
        let state = match info.state {
            0 => continue,
            1 => "ready",
            2 => "waiting",
            _ => "ended",
        };
        writeln!(
            context.out,
            "{slot:>4}  {:>7}  {:<16}  {state:<7}  {:>8}  {:>10}  {:>9}  {:#x}",
            info.process,
            name_str(&info.name),
            info.bindings,
            kib(info.memory),
            info.ticks,
            info.argument
        )?;
    }
    Ok(())
}

pub fn mem(context: &mut Context<'_, '_>, _: &Words) -> Result<(), Failure> {
    let info: MemoryInfo = sys::info(0).map_err(|error| Failure::System("info", error))?;
    let rows = [
        ("page frames (4 KiB)", info.frames, info.frames_free),
        ("page tables (1 KiB)", info.tables, info.tables_free),
        ("sessions", info.bindings, info.bindings_free),
        ("processes", info.processes, info.processes_free),
    ];
    writeln!(context.out, "pool                   in all    in use      free")?;
    for (name, all, free) in rows {
        writeln!(context.out, "{name:<20}  {all:>7}  {:>8}  {free:>8}", all.saturating_sub(free))?;
    }
    writeln!(context.out, "address space identifiers ran out {} times", info.asid_rollovers)?;
    Ok(())
}

/// The name of a domain: a service or program by its entry, a process by its slot.
fn write_domain(out: &mut impl Write, domain: u32) -> fmt::Result {
    match domain.checked_sub(FIRST_PROCESS) {
        None => match sys::info::<Entry>(domain) {
            Ok(entry) => write!(out, "{}", name_str(&entry.name)),
            Err(_) => write!(out, "service {domain}"),
        },
        Some(slot) => match sys::info::<ProcessInfo>(slot) {
            Ok(info) if info.state != 0 => write!(out, "{} in slot {slot}", name_str(&info.name)),
            _ => write!(out, "slot {slot}"),
        },
    }
}

/// What the kernel noted.
fn write_event(out: &mut impl Write, event: &TraceInfo) -> fmt::Result {
    let value = event.value;
    write!(out, "{:>8} ms  ", event.tick)?;
    if event.what == Trace::Rollover as u32 {
        return writeln!(out, "address space identifiers ran out, {value} times so far");
    }
    write_domain(out, event.domain)?;
    match event.what {
        what if what == Trace::Failure as u32 => {
            writeln!(out, ": {}", FailureKind::from_number(value).map_or("unknown failure", FailureKind::name))
        }
        what if what == Trace::Running as u32 => writeln!(out, " runs again, rebuilt {value} times so far"),
        what if what == Trace::State as u32 => {
            writeln!(out, " is {}", if value == ObjectState::Held as u32 { "held" } else { "stopped" })
        }
        what if what == Trace::Start as u32 => writeln!(out, " started"),
        what if what == Trace::End as u32 => writeln!(out, " ended with status {value}"),
        what if what == Trace::Events as u32 => writeln!(out, " dealt with events {value:#x}"),
        what if what == Trace::Throttled as u32 => writeln!(out, ": interrupt {value} came too often"),
        what if what == Trace::Doubt as u32 => writeln!(out, " returned error {value:#x}, which was not believed"),
        what if what == Trace::NoScheduler as u32 => writeln!(out, " could not decide; the kernel did"),
        what => writeln!(out, ": event {what}, {value:#x}"),
    }
}

pub fn trace(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let count: u32 = match (words.get(1), words.argument_count()) {
        (None, _) => TRACED,
        (Some(word), 1) => word.parse().map_err(|_| Failure::Usage)?,
        _ => return Err(Failure::Usage),
    };
    // What the output itself makes the kernel note moves the ring on: the events are read first.
    let mut events = [TraceInfo::NONE; RING];
    let mut known = 0;
    for (index, event) in (0..count).zip(&mut events) {
        match sys::info(index) {
            Ok(info) => *event = info,
            Err(Error::NotFound) => break,
            Err(error) => return Err(Failure::System("info", error)),
        }
        known += 1;
    }
    for event in events[..known].iter().rev().filter(|event| event.what != Trace::None as u32) {
        write_event(context.out, event)?;
    }
    Ok(())
}

pub fn nice(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let asked = |error| Failure::asked("scheduler", "", error);
    let (scheduler, out) = context.scheduler()?;
    let (mut priority, mut weight, mut slice, limit) = scheduler.get().map_err(asked)?;
    if words.argument_count() > 3 {
        return Err(Failure::Usage);
    }
    for (word, value) in words.arguments().zip([&mut priority, &mut weight, &mut slice]) {
        *value = word.parse().map_err(|_| Failure::Usage)?;
    }
    if words.argument_count() > 0 {
        scheduler.set(priority, weight, slice).map_err(asked)?;
    }
    writeln!(out, "priority {priority} (at most {limit}), weight {weight}, slice {slice} ms")?;
    Ok(())
}

pub fn policy(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let asked = |error| Failure::asked("scheduler", "", error);
    let (scheduler, out) = context.scheduler()?;
    match (words.get(1), words.argument_count()) {
        (None, _) => {}
        (Some(name), 1) => {
            let kind = PolicyKind::ALL.into_iter().find(|kind| kind.name() == name);
            let kind = kind.ok_or(Failure::Said("a policy is `priorities` or `stride`"))?;
            scheduler.set_policy(kind).map_err(asked)?;
        }
        _ => return Err(Failure::Usage),
    }
    writeln!(out, "programs are scheduled by {}", scheduler.policy().map_err(asked)?.name())?;
    Ok(())
}

pub fn exit(_: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let status = match (words.get(1), words.argument_count()) {
        (None, _) => 0,
        (Some(word), 1) => word.parse().map_err(|_| Failure::Said("a status is a number from 0 to 255"))?,
        _ => return Err(Failure::Usage),
    };
    Err(Failure::Exit(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_round_up() {
        assert_eq!((kib(0), kib(1), kib(4096), kib(4097)), (0, 1, 4, 5));
    }
}
