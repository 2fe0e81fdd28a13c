//! Commands about the system.

use core::fmt::{self, Write};

use rt::abi::call::name_str;
use rt::abi::failure::{FailureKind, Moment, Sabotage, SabotageKind};
use rt::abi::info::{FailureInfo, MemoryInfo, ObjectInfo, ProcessInfo};
use rt::sys::{self, Record};
use rt::{Error, Text};

use crate::command::{COMMANDS, Context, Failure};
use crate::words::Words;

/// Failures that `failures` shows without a number.
const SHOWN: u32 = 10;

/// Calls for each record of a kind, with its index.
fn records<T: Record>(mut show: impl FnMut(T) -> Result<(), Failure>) -> Result<(), Failure> {
    for index in 0.. {
        match sys::info::<T>(index) {
            Ok(record) => show(record)?,
            Err(Error::NotFound) => break,
            Err(error) => return Err(Failure::System("info", error)),
        }
    }
    Ok(())
}

/// Bytes, in whole KiB.
fn kib(bytes: u32) -> u32 {
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
    writeln!(context.out, "process  name              state    sessions  memory/KiB    time/ms  argument")?;
    records(|info: ProcessInfo| {
        let state = match info.state {
            0 => return Ok(()),
            1 => "ready",
            2 => "waiting",
            _ => "ended",
        };
        writeln!(
            context.out,
            "{:>7}  {:<16}  {state:<7}  {:>8}  {:>10}  {:>9}  {:#x}",
            info.process,
            name_str(&info.name),
            info.bindings,
            kib(info.memory),
            info.ticks,
            info.argument
        )?;
        Ok(())
    })
}

pub fn svc(context: &mut Context<'_, '_>, _: &Words) -> Result<(), Failure> {
    writeln!(
        context.out,
        "service           state       failures  restarts  retried  refused  lost  clients  memory/KiB"
    )?;
    records(|info: ObjectInfo| {
        let state = match info.state {
            0 => "running",
            1 => "recovering",
            _ => "stopped",
        };
        writeln!(
            context.out,
            "{:<16}  {state:<10}  {:>8}  {:>8}  {:>7}  {:>7}  {:>4}  {:>7}  {:>10}",
            name_str(&info.name),
            info.failures,
            info.restarts,
            info.retried,
            info.failed_requests,
            info.lost_sessions,
            info.clients,
            kib(info.memory)
        )?;
        Ok(())
    })
}

/// Where a failure happened: a method or a hook.
struct Place(u32);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOOKS: [&str; 6] = ["constructor", "open", "reload", "flush", "close", "sabotaged call"];
        match self.0.checked_sub(0x8000_0000) {
            Some(hook) => f.write_str(HOOKS.get(hook as usize).unwrap_or(&"a hook")),
            None => write!(f, "method {}", self.0),
        }
    }
}

pub fn failures(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let count = match words.get(1) {
        None => SHOWN,
        Some(word) => word.parse().map_err(|_| Failure::Usage)?,
    };
    let mut shown = 0;
    let result = records(|info: FailureInfo| {
        if shown == count {
            return Err(Failure::Exit(0));
        }
        shown += 1;
        writeln!(
            context.out,
            "{}: {} in {} of {} at pc {:#010x}, address {:#010x}, process {}, {} ms after the start",
            info.number,
            FailureKind::from_number(info.kind).map_or("unknown failure", FailureKind::name),
            Place(info.method),
            name_str(&info.object),
            info.pc,
            info.address,
            info.process,
            info.tick
        )?;
        Ok(())
    });
    match result {
        // Only a way out of the loop.
        Err(Failure::Exit(_)) => {}
        other => other?,
    }
    if shown == 0 && count > 0 {
        writeln!(context.out, "no service has failed")?;
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

pub fn crash(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    if words.argument_count() == 0 {
        write!(context.out, "kinds:")?;
        SabotageKind::ALL.iter().try_for_each(|kind| write!(context.out, " {}", kind.name()))?;
        writeln!(context.out)?;
        return Ok(());
    }
    let (Some(service), Some(kind), 2..=3) = (words.get(1), words.get(2), words.argument_count()) else {
        return Err(Failure::Usage);
    };
    let kind = SabotageKind::from_name(kind).ok_or(Failure::Said("no such kind; `crash` alone lists them"))?;
    let moment = match words.get(3) {
        None | Some("end") => Moment::End,
        Some("entry") => Moment::Entry,
        Some("copy") => Moment::Copy,
        Some(_) => return Err(Failure::Usage),
    };
    sys::sabotage(service, Sabotage { kind, moment }).map_err(|error| match error {
        Error::NotFound => Failure::Said("no such service; `svc` lists them"),
        error => Failure::System("sabotage", error),
    })?;
    writeln!(context.out, "{service} fails in its next call: {}", kind.name())?;
    Ok(())
}

/// A time since the start.
struct Uptime(u64);

impl fmt::Display for Uptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0 / 1000;
        let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "{hours}:{minutes:02}:{seconds:02}.{:03}", ms % 1000)
    }
}

pub fn uptime(context: &mut Context<'_, '_>, _: &Words) -> Result<(), Failure> {
    let time = sys::time_us().map_err(|error| Failure::System("time", error))?;
    writeln!(context.out, "up {} (h:mm:ss)", Uptime(time))?;
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
    fn times_are_readable() {
        assert_eq!(Uptime(0).to_string(), "0:00:00.000");
        assert_eq!(Uptime(3_723_004_999).to_string(), "1:02:03.004");
        assert_eq!(Uptime(360_000_000_000).to_string(), "100:00:00.000");
    }

    #[test]
    fn places_are_methods_or_hooks() {
        assert_eq!(Place(3).to_string(), "method 3");
        assert_eq!(Place(0x8000_0003).to_string(), "flush");
        assert_eq!(Place(0x8000_0099).to_string(), "a hook");
    }

    #[test]
    fn sizes_round_up() {
        assert_eq!((kib(0), kib(1), kib(4096), kib(4097)), (0, 1, 4, 5));
    }
}
