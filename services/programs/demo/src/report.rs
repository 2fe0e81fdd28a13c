//! The course of the demonstration, and its table.

use core::fmt::Write;

use abi::failure::SabotageKind;
use abi::info::ObjectInfo;
use console::{ConsoleClient, Output};
use copier::{COPIERS, COPIES, Hex, STOP, Source};
use fs::{FsClient, FsError, OpenFlags};
use rt::{CallError, Error, sys};

use crate::campaign::{self, Random, Tally};

/// Failures in a row that did not strike before the demonstration gives up.
const MAX_MISSES: u32 = 5;

/// Why the demonstration could not go on.
enum Broken {
    Kernel(Error),
    Files(CallError<FsError>),
    Console(CallError<Error>),
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
        Broken::Files(error)
    }
}

impl From<CallError<Error>> for Broken {
    fn from(error: CallError<Error>) -> Self {
        Broken::Console(error)
    }
}

impl From<core::fmt::Error> for Broken {
    fn from(_: core::fmt::Error) -> Self {
        Broken::Output
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
        Broken::Files(error) => writeln!(out, "{error}"),
        Broken::Console(error) => writeln!(out, "console: {error}"),
        Broken::Output => writeln!(out, "console"),
        Broken::Missed => writeln!(out, "nobody called the services that were to fail"),
    }
}

fn demonstrate(argument: u32, console: &ConsoleClient, out: &mut Output<'_>) -> Result<bool, Broken> {
    let (seed, failures) = (argument & 0xffff, argument >> 16 & 0x7fff);
    let files = FsClient::bind()?;
    prepare(&files)?;
    let sources = copier::sources(&files)?;
    writeln!(out, "[demo] seed {seed}: {} files, {COPIERS} clients, {failures} failures", sources.len())?;
    if sources.is_empty() {
        writeln!(out, "[demo] there is no file to copy, or no room for copies: nothing is demonstrated")?;
        return Ok(failures == 0);
    }
    let mut copiers = [0; COPIERS as usize];
    for (number, process) in (0..).zip(&mut copiers) {
        *process = sys::spawn("copier", number)?;
    }
    let (mut random, mut tallies) = (Random::new(seed), [Tally::default(); SabotageKind::ALL.len()]);
    let mut misses = 0;
    let mut number = 0;
    while number < failures && misses < MAX_MISSES {
        let kind = number as usize % SabotageKind::ALL.len();
        if campaign::strike(&mut random, SabotageKind::ALL[kind], &mut tallies[kind])? {
            number += 1;
            misses = 0;
        } else {
            misses += 1;
        }
        if number % 50 == 0 && misses == 0 {
            writeln!(out, "[demo] {number} failures so far")?;
        }
    }
    let stop = files.open(OpenFlags::WRITE | OpenFlags::CREATE, STOP.as_bytes())?;
    files.close(stop)?;
    let (mut errors, mut copied) = (0, 0);
    for process in copiers {
        let status = sys::wait(process)?;
        errors += status & 0xff;
        copied += status >> 8;
    }
    files.remove(STOP.as_bytes())?;
    if misses == MAX_MISSES {
        return Err(Broken::Missed);
    }
    let equal = claims(&files, &sources, out)?;
    let mut held = table(&tallies, out)?;
    writeln!(
        out,
        "[demo] clients copied {copied} files and saw {errors} errors; {equal} of {} copies equal",
        sources.len()
    )?;
    held &= errors == 0 && equal == sources.len();
    services(console)?;
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

/// Prints what came of each kind. Whether all of it is as promised: recovered, recognised, and nobody told of it; a
/// session whose own state was damaged may end with an error.
fn table(tallies: &[Tally], out: &mut Output<'_>) -> Result<bool, Broken> {
    let mut held = true;
    writeln!(out, "[demo] {:<16} {:>8} {:>9} {:>7} {:>6}", "failure", "injected", "recovered", "retried", "errors")?;
    let mut sum = Tally::default();
    for (kind, tally) in SabotageKind::ALL.iter().zip(tallies) {
        row(kind.name(), tally, out)?;
        held &= tally.recovered == tally.injected && tally.mistaken == 0;
        held &= tally.errors == 0 || *kind == SabotageKind::SsrHeader;
        sum.injected += tally.injected;
        sum.recovered += tally.recovered;
        sum.retried += tally.retried;
        sum.errors += tally.errors;
        if tally.mistaken > 0 {
            writeln!(out, "[demo] {}: {} were taken for another kind of failure", kind.name(), tally.mistaken)?;
        }
    }
    row("all", &sum, out)?;
    Ok(held)
}

fn row(name: &str, tally: &Tally, out: &mut Output<'_>) -> core::fmt::Result {
    let Tally { injected, recovered, retried, errors, .. } = tally;
    writeln!(out, "[demo] {name:<16} {injected:>8} {recovered:>9} {retried:>7} {errors:>6}")
}

/// Prints what the services went through.
fn services(console: &ConsoleClient) -> Result<(), Broken> {
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
            info.failures, info.restarts, info.clients
        )?;
    }
    Ok(out.finish()?)
}
