//! The course of the demonstration, and its table.

use core::fmt::Write;

use abi::failure::SabotageKind;
use abi::info::ObjectInfo;
use console::{ConsoleClient, Output};
use copier::{COPIERS, COPIES, Hex, STOP, Source};
use fs::{FsClient, FsError, OpenFlags};
use herald::HERALDS;
use pulse::PULSES;
use rt::{CallError, Error, Text, sys};
use scheduler::{PolicyKind, SchedulerClient};
use spinner::SPINNERS;
use store::StoreClient;
use supervisor::{PolicyField, SupervisorClient};

use crate::campaign::{Campaign, MAX_GAP, TARGETS, Tally};
use crate::clients::{Clients, Witnesses};
use crate::journal::Journal;

/// Failures in a row that did not strike before the demonstration gives up.
const MAX_MISSES: u32 = 5;
/// The greatest lateness of an alarm, in milliseconds.
const MAX_LATENESS: u32 = 500;
/// Ticks by which shares of processor time may differ from what is expected: a turn of each.
const TOLERANCE: u32 = 30;
/// Ticks after which the supervisor has said in the system's log what it has to say.
const SETTLE: u32 = 1_200;

/// Why the demonstration could not go on.
enum Broken {
    Kernel(Error),
    /// This service did not do what it was asked to, for this reason.
    Service(&'static str, Text<80>),
    Output,
    Missed,
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Broken::Kernel(error)
    }
}

impl From<CallError<FsError>> for Broken {
    fn from(error: CallError<FsError>) -> Self {
        refused("fs")(error)
    }
}

impl From<core::fmt::Error> for Broken {
    fn from(_: core::fmt::Error) -> Self {
        Broken::Output
    }
}

/// An error of a service.
fn refused<E: core::fmt::Display>(service: &'static str) -> impl Fn(E) -> Broken {
    move |error| {
        let mut text = Text::new();
        // `Text` cuts and never fails.
        let _ = write!(text, "{error}");
        Broken::Service(service, text)
    }
}

/// Runs the demonstration; then the shell, or the end of the system with status 0 if every promise held.
pub fn main(argument: u32) -> u32 {
    let shell = argument >> 31 == 1;
    let status = match ConsoleClient::bind() {
        Ok(console) => {
            let mut out = Output::new(&console);
            match demonstrate(argument, &console, &mut out) {
                Ok(true) => 0,
                Ok(false) => 1,
                Err(broken) => {
                    // If the console is what broke, the status is what is left to say it.
                    let _ = explain(&mut out, broken);
                    1
                }
            }
        }
        Err(_) => 1,
    };
    if shell && let Ok(process) = sys::spawn("shell", 0) {
        // The shell ends the system itself; if it crashes, the system ends here.
        let _ = sys::wait(process);
    }
    let _ = sys::shutdown(status);
    1
}

fn explain(out: &mut Output<'_>, broken: Broken) -> core::fmt::Result {
    write!(out, "[demo] broken off: ")?;
    match broken {
        Broken::Kernel(error) => writeln!(out, "{error}"),
        Broken::Service(service, text) => writeln!(out, "{service}: {}", text.as_str()),
        Broken::Output => writeln!(out, "console"),
        Broken::Missed => writeln!(out, "nobody called the services that were to fail"),
    }
}

/// The services that the demonstration itself asks.
struct Services {
    files: FsClient,
    scheduler: SchedulerClient,
    supervisor: SupervisorClient,
    store: StoreClient,
}

impl Services {
    fn bind() -> Result<Self, Error> {
        Ok(Services {
            files: FsClient::bind()?,
            scheduler: SchedulerClient::bind()?,
            supervisor: SupervisorClient::bind()?,
            store: StoreClient::bind()?,
        })
    }

    /// Tells the supervisor that the failures to come are meant: none of them is a reason to give a service up.
    fn announce(&self) -> Result<(), Broken> {
        for service in TARGETS.iter().filter(|service| **service != "supervisor") {
            let told = self.supervisor.set_policy(PolicyField::MaxRestarts, 0, service.as_bytes());
            told.map_err(refused("supervisor"))?;
        }
        Ok(())
    }

    /// What follows is not.
    fn withdraw(&self) -> Result<(), Broken> {
        for service in TARGETS.iter().filter(|service| **service != "supervisor") {
            self.supervisor.reset_policy(service.as_bytes()).map_err(refused("supervisor"))?;
        }
        Ok(())
    }

    /// Tells the clients to come to an end.
    fn stop(&self) -> Result<(), Broken> {
        let stop = self.files.open(OpenFlags::WRITE | OpenFlags::CREATE, STOP.as_bytes())?;
        self.files.close(stop)?;
        self.store.put(pulse::STOP, b"now").map_err(refused("store"))?;
        Ok(())
    }
}

fn demonstrate(argument: u32, console: &ConsoleClient, out: &mut Output<'_>) -> Result<bool, Broken> {
    let (seed, failures) = (argument & 0xffff, argument >> 16 & 0x7fff);
    let services = Services::bind()?;
    let files = &services.files;
    prepare(files)?;
    let sources = copier::sources(files)?;
    let clients = COPIERS + PULSES + SPINNERS + HERALDS;
    writeln!(out, "[demo] seed {seed}: {} files, {clients} clients, {failures} failures", sources.len())?;
    if sources.is_empty() {
        writeln!(out, "[demo] there is no file to copy, or no room for copies: nothing is demonstrated")?;
        return Ok(failures == 0);
    }
    services.announce()?;
    let clients = Clients::start()?;
    let (mut campaign, mut journal) = (Campaign::new(seed, &services.supervisor), Journal::new(&services.supervisor));
    let (mut misses, mut told) = (0, 0);
    // Policies can be exchanged while everything runs: the second half of the failures is another one's.
    let mut half = None;
    while campaign.number < failures && misses < MAX_MISSES {
        if half.is_none() && campaign.number >= failures / 2 {
            half = Some(clients.turns());
            services.scheduler.set_policy(PolicyKind::Stride).map_err(refused("scheduler"))?;
        }
        let missed = campaign.strike(failures - campaign.number).map_err(refused("supervisor"))?;
        misses = if missed == 0 { 0 } else { misses + 1 };
        journal.read().map_err(refused("supervisor"))?;
        if campaign.number / 50 > told {
            told = campaign.number / 50;
            writeln!(out, "[demo] {} failures so far", campaign.number)?;
        }
    }
    let (half, turns) = (half.unwrap_or_default(), clients.turns());
    let policy = services.scheduler.policy().map_err(refused("scheduler"))?;
    services.stop()?;
    let seen = clients.end()?;
    services.files.remove(STOP.as_bytes())?;
    services.scheduler.set_policy(PolicyKind::Priorities).map_err(refused("scheduler"))?;
    if failures > 0 {
        sys::pause(SETTLE)?;
    }
    if misses == MAX_MISSES {
        return Err(Broken::Missed);
    }
    let equal = claims(files, &sources, out)?;
    let mut held = table(&campaign, out)?;
    let Witnesses { copiers, pulses, spinners, heralds } = &seen;
    writeln!(
        out,
        "[demo] clients copied {} files and saw {} errors; {equal} of {} copies equal",
        copiers.values.iter().sum::<u32>(),
        copiers.errors,
        sources.len()
    )?;
    held &= copiers.errors == 0 && equal == sources.len();
    writeln!(
        out,
        "[demo] clients with alarms saw {} errors; none lost, early or doubled, {} ms late at most",
        pulses.errors,
        pulses.most()
    )?;
    held &= pulses.errors == 0 && pulses.most() <= MAX_LATENESS;
    writeln!(
        out,
        "[demo] clients published {} changes, read {} and {}, and saw {} errors",
        heralds.values[0], heralds.values[1], heralds.values[2], heralds.errors
    )?;
    held &= heralds.errors == 0 && heralds.values[1..].iter().all(|read| heralds.values[0] - read <= 1);
    let [first, second, third] = half;
    let [a, b, c] = [turns[0] - first, turns[1] - second, turns[2] - third];
    writeln!(
        out,
        "[demo] clients that compute saw {} errors; by priority they ran for {first}, {second} and {third} ms, by weights 1:2:3 \
         for {a}, {b} and {c} ms, at most {} ms without running",
        spinners.errors,
        spinners.most()
    )?;
    held &= spinners.errors == 0 && spinners.most() <= MAX_GAP;
    held &= failures == 0 || policy == PolicyKind::Stride;
    held &= [[first, second, third], [a, b, c]].iter().all(|[a, b, c]| a <= &(b + TOLERANCE) && b <= &(c + TOLERANCE));
    services.withdraw()?;
    held &= log(&mut journal, campaign.number, out)?;
    statistics(console)?;
    let verdict = if held { "every promise held" } else { "a promise was BROKEN" };
    writeln!(out, "[demo] {verdict} (seed {seed})")?;
    Ok(held)
}

/// Makes room: the directory of the copies, empty.
fn prepare(files: &FsClient) -> Result<(), Broken> {
    match files.mkdir(COPIES.as_bytes()) {
        Ok(()) | Err(CallError::Service(FsError::Exists)) => {}
        Err(error) => return Err(error.into()),
    }
    match files.remove(STOP.as_bytes()) {
        Ok(()) | Err(CallError::Service(FsError::NotFound)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Hashes each file and its copy, and prints what the host can check. Returns how many are equal.
fn claims(files: &FsClient, sources: &[Source], out: &mut Output<'_>) -> Result<usize, Broken> {
    let mut equal = 0;
    for source in sources {
        let (original, _) = copier::hash(files, &source.path)?;
        let (copy, _) = copier::hash(files, &source.copy)?;
        equal += usize::from(original == copy);
        writeln!(out, "[demo] sha256 {} {} -> {}", Hex(&copy), source.path, &source.copy[1..])?;
    }
    Ok(equal)
}

/// Prints what came of each kind, and of the failures of each service. Whether all of it is as promised: recovered,
/// recognised, and nobody told of it; a session whose own state was damaged may end with an error.
fn table(campaign: &Campaign<'_>, out: &mut Output<'_>) -> Result<bool, Broken> {
    let mut held = true;
    heading("failure", out)?;
    let mut sum = Tally::default();
    for (kind, tally) in SabotageKind::ALL.iter().zip(&campaign.kinds) {
        row(kind.name(), tally, out)?;
        held &= tally.recovered == tally.injected && tally.mistaken == 0;
        held &= tally.errors == 0 || *kind == SabotageKind::SsrHeader;
        sum.add(tally);
        if tally.mistaken > 0 {
            writeln!(out, "[demo] {}: {} were taken for another kind of failure", kind.name(), tally.mistaken)?;
        }
    }
    row("all", &sum, out)?;
    heading("service", out)?;
    for (service, tally) in TARGETS.iter().zip(&campaign.services) {
        row(service, tally, out)?;
    }
    writeln!(out, "[demo] {} of the failures struck several services at once", campaign.together)?;
    Ok(held)
}

fn heading(what: &str, out: &mut Output<'_>) -> core::fmt::Result {
    writeln!(out, "[demo] {what:<16} {:>8} {:>9} {:>7} {:>6}", "injected", "recovered", "retried", "errors")
}

fn row(name: &str, tally: &Tally, out: &mut Output<'_>) -> core::fmt::Result {
    let Tally { injected, recovered, retried, errors, .. } = tally;
    writeln!(out, "[demo] {name:<16} {injected:>8} {recovered:>9} {retried:>7} {errors:>6}")
}

/// Reads the rest of the supervisor's log. Whether it has every failure that the kernel counted, in order, and no others struck
/// than those that were asked for.
fn log(journal: &mut Journal<'_>, injected: u32, out: &mut Output<'_>) -> Result<bool, Broken> {
    journal.read().map_err(refused("supervisor"))?;
    let mut counted = 0;
    for service in TARGETS {
        counted += crate::campaign::object(service)?.failures;
    }
    writeln!(
        out,
        "[demo] the supervisor's log lists {} failures of {counted}, {} of them wrongly",
        journal.listed, journal.wrong
    )?;
    Ok(journal.listed == counted && journal.wrong == 0 && counted == injected)
}

/// Prints what the services went through.
fn statistics(console: &ConsoleClient) -> Result<(), Broken> {
    let mut out = Output::new(console);
    for index in 0.. {
        let info: ObjectInfo = match sys::info(index) {
            Ok(info) => info,
            Err(Error::NotFound) => break,
            Err(error) => return Err(error.into()),
        };
        let name = abi::call::name_str(&info.name);
        writeln!(
            out,
            "[demo] service {name}: {} failures, {} restarts, {} clients",
            info.failures,
            info.restarts - info.doubts.min(info.restarts),
            info.clients
        )?;
    }
    out.finish().map_err(refused("console"))
}
