//! `svc`: the services, through the supervisor.

use core::fmt::{self, Write};

use rt::abi::FailureKind;
use rt::abi::call::name_str;
use rt::abi::failure::{Moment, Sabotage, SabotageKind};
use rt::abi::info::ObjectState;
use rt::{CallError, Error, Word, sys};
use supervisor::{LogEntry, PolicyField, ServiceInfo, Standing, SupervisorError, Verdict};
use zerocopy::{FromZeros, IntoBytes};

use crate::clock::Uptime;
use crate::command::{Context, Failure};
use crate::system::kib;
use crate::words::Words;

/// What `svc` takes.
const HELP: &str = "\
svc [list]                     state, restarts and failures of all services
svc show NAME                  all about one of them, its policy included
svc crash NAME KIND [MOMENT]   makes it fail the next time that it is entered: at entry, copy or end
svc crash                      lists the kinds
svc restart NAME               rebuilds it without a fault: its clients notice nothing
svc stop NAME                  stops it: its clients are told so
svc start NAME                 starts it again
svc log [COUNT]                the latest failures (10)
svc policy NAME [KEY VALUE]... shows or changes when it is held or given up; times in ms
svc policy NAME default        gives it the policy of its manifest back
";
/// Failures that `svc log` shows without a number.
const SHOWN: u32 = 10;
/// Ticks that an order may take before the shell goes on.
const PATIENCE: u32 = 1_000;
/// Records that are asked for at once.
const BATCH: usize = 8;
/// The service without which the shell has no terminal.
const TERMINAL: &str = "console";

/// Names of states, by their numbers.
const STATES: [(ObjectState, &str); 4] = [
    (ObjectState::Running, "running"),
    (ObjectState::Recovering, "recovering"),
    (ObjectState::Stopped, "stopped"),
    (ObjectState::Held, "held"),
];

fn state(number: u32) -> &'static str {
    STATES.iter().find(|(state, _)| *state as u32 == number).map_or("unknown", |(_, name)| name)
}

/// How the supervisor stands to a service.
fn standing(info: &ServiceInfo) -> &'static str {
    Standing::from_word(info.standing).map_or("unknown", Standing::name)
}

/// Tells which service an error is about.
fn about<T>(name: &str, result: Result<T, CallError<SupervisorError>>) -> Result<T, Failure> {
    result.map_err(|error| match error {
        CallError::Service(SupervisorError::NoService) => Failure::Said("no such service; `svc` lists them"),
        error => Failure::asked("supervisor", name, error),
    })
}

pub fn svc(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let count = words.argument_count();
    match (words.get(1), words.get(2), count) {
        (None | Some("list"), None, _) => list(context),
        (Some("help"), None, _) => Ok(write!(context.out, "{HELP}")?),
        (Some("show"), Some(name), 2) => show(context, name),
        (Some("crash"), _, _) => crash(context, words),
        (Some("restart" | "start" | "stop"), Some(name), 2) => order(context, words.get(1).unwrap_or_default(), name),
        (Some("log"), shown, 1..=2) => log(context, shown),
        (Some("policy"), Some(name), _) => policy(context, name, words),
        _ => Err(Failure::Said("`svc help` lists what it takes")),
    }
}

fn list(context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let (supervisor, out) = context.supervisor()?;
    writeln!(out, "service           state       standing   failures  restarts  clients  memory/KiB")?;
    let mut next = 0;
    loop {
        let mut batch = [ServiceInfo::new_zeroed(); BATCH];
        let found = about("list", supervisor.list(next, batch.as_mut_bytes()))?;
        for info in batch.iter().take(found as usize) {
            writeln!(
                out,
                "{:<16}  {:<10}  {:<9}  {:>8}  {:>8}  {:>7}  {:>10}",
                name_str(&info.name),
                state(info.state),
                standing(info),
                info.failures,
                info.restarts,
                info.clients,
                kib(info.memory)
            )?;
        }
        next += found;
        if (found as usize) < BATCH {
            return Ok(());
        }
    }
}

/// What the supervisor knows of a service.
fn info(context: &mut Context<'_, '_>, name: &str) -> Result<ServiceInfo, Failure> {
    let mut info = ServiceInfo::new_zeroed();
    let (supervisor, _) = context.supervisor()?;
    about(name, supervisor.show(name.as_bytes(), info.as_mut_bytes()))?;
    Ok(info)
}

fn show(context: &mut Context<'_, '_>, name: &str) -> Result<(), Failure> {
    let info = info(context, name)?;
    let out = &mut *context.out;
    write!(out, "{name}: {}, {}", state(info.state), standing(&info))?;
    if info.held_until != 0 {
        write!(out, " until {}", Uptime(u64::from(info.held_until) * 1000))?;
    }
    writeln!(out, "; {} clients", info.clients)?;
    writeln!(
        out,
        "  failures: {}, {} short runs in a row; restarts: {}; errors doubted: {}",
        info.failures, info.short_runs, info.restarts, info.doubts
    )?;
    writeln!(
        out,
        "  calls tried again: {}, given up: {}; sessions lost: {}",
        info.retried, info.failed_requests, info.lost_sessions
    )?;
    writeln!(out, "  memory: {} KiB, of its stack {} bytes were ever used", kib(info.memory), info.stack_used)?;
    write_policy(out, &info)
}

fn write_policy(out: &mut impl Write, info: &ServiceInfo) -> Result<(), Failure> {
    write!(out, "  policy{}:", if info.changed == 1 { " (not that of the manifest)" } else { "" })?;
    for field in PolicyField::ALL {
        let value = field.of(&info.policy);
        match (field, value) {
            (PolicyField::GiveUp, 0) => write!(out, " {} stop", field.name())?,
            (PolicyField::GiveUp, _) => write!(out, " {} reboot", field.name())?,
            _ => write!(out, " {} {value}", field.name())?,
        }
    }
    writeln!(out)?;
    Ok(())
}

fn crash(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    if words.argument_count() == 1 {
        write!(context.out, "kinds:")?;
        SabotageKind::ALL.iter().try_for_each(|kind| write!(context.out, " {}", kind.name()))?;
        writeln!(context.out)?;
        return Ok(());
    }
    let (Some(service), Some(kind), 3..=4) = (words.get(2), words.get(3), words.argument_count()) else {
        return Err(Failure::Said("usage: svc crash NAME KIND [entry|copy|end]; `svc crash` alone lists the kinds"));
    };
    let kind = SabotageKind::from_name(kind).ok_or(Failure::Said("no such kind; `svc crash` alone lists them"))?;
    let moment = match words.get(4) {
        None | Some("end") => Moment::End,
        Some("entry") => Moment::Entry,
        Some("copy") => Moment::Copy,
        Some(_) => return Err(Failure::Said("a moment is entry, copy or end")),
    };
    sys::sabotage(service, Sabotage { kind, moment }).map_err(|error| match error {
        Error::NotFound => Failure::Said("no such service; `svc` lists them"),
        error => Failure::System("sabotage", error),
    })?;
    writeln!(context.out, "{service} fails in its next call or upcall: {}", kind.name())?;
    Ok(())
}

fn order(context: &mut Context<'_, '_>, order: &str, name: &str) -> Result<(), Failure> {
    if order == "stop" && name == TERMINAL {
        return Err(Failure::Said("the shell could not go on without the console, nor start it again"));
    }
    let before = info(context, name)?;
    let (supervisor, _) = context.supervisor()?;
    let (result, wanted) = match order {
        "restart" => (supervisor.restart(name.as_bytes()), ObjectState::Running),
        "stop" => (supervisor.stop(name.as_bytes()), ObjectState::Stopped),
        _ => (supervisor.start(name.as_bytes()), ObjectState::Running),
    };
    about(name, result)?;
    for _ in 0..PATIENCE {
        // The order is carried out when nobody is in the service, and may be less urgent than the shell.
        sys::pause(1).map_err(|error| Failure::System("pause", error))?;
        let now = info(context, name)?;
        if now.state == wanted as u32 && (order == "stop" || now.restarts != before.restarts) {
            writeln!(context.out, "{name} is {}", if order == "restart" { "rebuilt" } else { state(now.state) })?;
            return Ok(());
        }
    }
    Err(Failure::Said("the order is given and not yet carried out; `svc` shows when it is"))
}

/// Where a failure happened: a method or a hook.
struct Place(u32);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HOOKS: [&str; 9] =
            ["constructor", "open", "reload", "flush", "close", "sabotaged call", "event", "step", "decision"];
        match self.0.checked_sub(0x8000_0000) {
            Some(hook) => f.write_str(HOOKS.get(hook as usize).unwrap_or(&"a hook")),
            None => write!(f, "method {}", self.0),
        }
    }
}

fn log(context: &mut Context<'_, '_>, count: Option<&str>) -> Result<(), Failure> {
    let count: u32 = match count {
        None => SHOWN,
        Some(word) => word.parse().map_err(|_| Failure::Said("usage: svc log [COUNT]"))?,
    };
    let (supervisor, out) = context.supervisor()?;
    let mut shown = 0;
    while shown < count {
        let mut batch = [LogEntry::new_zeroed(); BATCH];
        let wanted = (BATCH as u32).min(count - shown) as usize;
        let found = about("log", supervisor.log(shown, batch[..wanted].as_mut_bytes()))? as usize;
        for entry in batch.iter().take(found) {
            write_entry(out, entry)?;
        }
        shown += found as u32;
        if found < wanted {
            break;
        }
    }
    if shown == 0 && count > 0 {
        writeln!(out, "no service has failed")?;
    }
    Ok(())
}

fn write_entry(out: &mut impl Write, entry: &LogEntry) -> fmt::Result {
    let kind = FailureKind::from_number(entry.kind).map_or("unknown failure", FailureKind::name);
    let verdict = Verdict::from_word(entry.verdict).map_or("unknown", Verdict::name);
    write!(
        out,
        "{:>4}  {}  {:<12}  {kind}",
        entry.sequence,
        Uptime(u64::from(entry.tick) * 1000),
        name_str(&entry.object)
    )?;
    if entry.number != 0 {
        write!(out, " in {} at {:#x}", Place(entry.method), entry.pc)?;
    }
    if entry.process != 0 {
        write!(out, ", for process {}", entry.process)?;
    }
    if entry.missed != 0 {
        write!(out, ", {} before it were forgotten unread", entry.missed)?;
    }
    writeln!(out, ": {verdict}")
}

fn policy(context: &mut Context<'_, '_>, name: &str, words: &Words) -> Result<(), Failure> {
    if words.argument_count() == 3 && words.get(3) == Some("default") {
        let (supervisor, _) = context.supervisor()?;
        about(name, supervisor.reset_policy(name.as_bytes()))?;
    } else if words.argument_count() % 2 == 1 {
        return Err(Failure::Said("each key needs a value; `svc policy NAME` shows the keys"));
    } else {
        // All of it is understood before any of it is done.
        let pairs = || words.arguments().skip(2).step_by(2).zip(words.arguments().skip(3).step_by(2));
        pairs().try_for_each(|(key, value)| setting(key, value).map(|_| ()))?;
        let (supervisor, _) = context.supervisor()?;
        pairs().try_for_each(|(key, value)| {
            let (field, value) = setting(key, value)?;
            about(key, supervisor.set_policy(field, value, name.as_bytes()))
        })?;
    }
    let info = info(context, name)?;
    write_policy(context.out, &info)
}

/// A field of the policy and its value, in words.
fn setting(key: &str, value: &str) -> Result<(PolicyField, u32), Failure> {
    let field = PolicyField::from_name(key).ok_or(Failure::Said("no such key; `svc policy NAME` shows them"))?;
    let number = match (field, value) {
        (PolicyField::GiveUp, "stop") => Some(0),
        (PolicyField::GiveUp, "reboot") => Some(1),
        (PolicyField::GiveUp, _) => return Err(Failure::Said("to give up is to stop or to reboot")),
        _ => value.parse().ok(),
    };
    number.map(|number| (field, number)).ok_or(Failure::Said("a value is a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_methods_or_hooks() {
        assert_eq!(Place(3).to_string(), "method 3");
        assert_eq!(Place(0x8000_0003).to_string(), "flush");
        assert_eq!(Place(0x8000_0008).to_string(), "decision");
        assert_eq!(Place(0x8000_0099).to_string(), "a hook");
    }

    #[test]
    fn settings_are_understood_or_refused() {
        assert!(matches!(setting("give-up", "reboot"), Ok((PolicyField::GiveUp, 1))));
        assert!(matches!(setting("backoff", "20"), Ok((PolicyField::Backoff, 20))));
        for (key, value) in [("give-up", "1"), ("backoff", "x"), ("nonsense", "1")] {
            assert!(matches!(setting(key, value), Err(Failure::Said(_))), "{key} {value}");
        }
    }

    #[test]
    fn entries_say_what_is_known() {
        let mut text = String::new();
        let entry = LogEntry {
            object: rt::abi::call::pack_name("fs"),
            sequence: 3,
            number: 3,
            kind: FailureKind::Panic as u32,
            tick: 1500,
            pc: 0x1234,
            method: 2,
            process: 321,
            ..LogEntry::default()
        };
        write_entry(&mut text, &entry).unwrap();
        assert_eq!(text, "   3  0:00:01.500  fs            panic in method 2 at 0x1234, for process 321: transient\n");
    }
}
