//! How measurements are made, and told.

use core::fmt::{self, Display};

use gauge::cycles;
use rt::{CallError, Error, ServiceError, Text, sys};

use crate::{calls, clients, recoveries, threads};

/// Runs of each measurement.
pub const RUNS: u32 = 9;

/// What went wrong: no measurement is better than a wrong one.
#[derive(Debug)]
pub enum Failed {
    /// A kernel call, or the kernel's part of a method call.
    Kernel(Error),
    /// A service said no, with this code, or answered what is no answer.
    Service(u32),
    /// A result that cannot be.
    Wrong(&'static str),
}

impl<E: ServiceError> From<CallError<E>> for Failed {
    fn from(error: CallError<E>) -> Self {
        match error {
            CallError::Kernel(error) => Failed::Kernel(error),
            CallError::Service(error) => Failed::Service(error.code()),
            CallError::Protocol(code) => Failed::Service(code),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Kernel(error)
    }
}

impl Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Kernel(error) => write!(f, "{error}"),
            Failed::Service(code) => write!(f, "a service answered with code {code:#x}"),
            Failed::Wrong(what) => write!(f, "wrong: {what}"),
        }
    }
}

/// Runs all of them; status 0 if none failed.
pub fn main(_: u32) -> u32 {
    let status = match run() {
        Ok(()) => 0,
        Err(failed) => {
            // Who cannot log cannot tell that either.
            let _ = log(format_args!("bench: {failed}"));
            1
        }
    };
    let _ = sys::shutdown(status);
    1
}

fn run() -> Result<(), Failed> {
    let gauge = calls::all()?;
    recoveries::data(&gauge)?;
    threads::all()?;
    recoveries::services()?;
    clients::all(gauge)
}

/// Instructions between two readings of the counter that have nothing in between.
#[inline(always)]
fn nothing() -> u32 {
    let start = cycles();
    cycles().wrapping_sub(start)
}

/// Instructions of `body`, those of measuring taken off.
#[inline(always)]
pub fn measure(mut body: impl FnMut() -> Result<(), Failed>) -> Result<u32, Failed> {
    measure_with(|| Ok(()), |()| body(), |(), ()| Ok(()))
}

/// As `measure`; what prepares each run, and checks its result, is not counted.
#[inline(always)]
pub fn measure_with<T, V>(
    mut prepare: impl FnMut() -> Result<T, Failed>,
    mut body: impl FnMut(&T) -> Result<V, Failed>,
    mut check: impl FnMut(T, V) -> Result<(), Failed>,
) -> Result<u32, Failed> {
    let (mut least, mut overhead) = (u32::MAX, u32::MAX);
    for _ in 0..RUNS {
        let prepared = prepare()?;
        overhead = overhead.min(nothing());
        let start = cycles();
        let result = body(&prepared)?;
        least = least.min(cycles().wrapping_sub(start));
        check(prepared, result)?;
    }
    Ok(least - overhead)
}

/// The least of what several runs found by themselves, as a difference of readings of the counter.
#[inline(always)]
pub fn least_of(mut run: impl FnMut() -> Result<u32, Failed>) -> Result<u32, Failed> {
    let (mut least, mut overhead) = (u32::MAX, u32::MAX);
    for _ in 0..RUNS {
        overhead = overhead.min(nothing());
        least = least.min(run()?);
    }
    least.checked_sub(overhead).ok_or(Failed::Wrong("an interval shorter than its measurement"))
}

/// Instructions of `body` in several runs with different arguments, on average: ticks of the clock that fall into them count,
/// those of measuring and of what goes round do not.
#[inline(always)]
pub fn average<T>(
    arguments: impl IntoIterator<Item = T>,
    mut body: impl FnMut(T) -> Result<(), Failed>,
) -> Result<u32, Failed> {
    let (mut total, mut runs) = (0u32, 0);
    for argument in arguments {
        let overhead = nothing();
        let start = cycles();
        body(argument)?;
        total += cycles().wrapping_sub(start).saturating_sub(overhead);
        runs += 1;
    }
    total.checked_div(runs).ok_or(Failed::Wrong("nothing was measured"))
}

fn log(line: fmt::Arguments<'_>) -> Result<(), Failed> {
    let mut text = Text::<128>::new();
    fmt::write(&mut text, line).map_err(|_| Failed::Wrong("a line is too long"))?;
    Ok(sys::log(text.as_str())?)
}

/// Tells a figure.
pub fn print(name: &str, instructions: u32) -> Result<(), Failed> {
    log(format_args!("{{\"name\": \"{name}\", \"instructions\": {instructions}}}"))
}

/// Tells a figure that is an amount of memory.
pub fn print_bytes(name: &str, bytes: u32) -> Result<(), Failed> {
    log(format_args!("{{\"name\": \"{name}\", \"bytes\": {bytes}}}"))
}
