//! The measurements.

use alloc::vec::Vec;
use core::arch::asm;

use abi::failure::{Moment, SabotageKind};
use abi::{Error, Sabotage};
use blank::BlankClient;
use gauge::GaugeClient;
use rt::{CallError, Text, sys};

/// Runs of each measurement.
const RUNS: u32 = 9;

/// A buffer that is one page.
#[repr(align(4096))]
struct Aligned([u8; 4096]);

/// What went wrong: no measurement is better than a wrong one.
enum Failed {
    Call(CallError<Error>),
    Kernel(Error),
    Wrong,
}

impl From<CallError<Error>> for Failed {
    fn from(error: CallError<Error>) -> Self {
        Failed::Call(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Kernel(error)
    }
}

/// Runs all of them; status 0 if none failed.
pub fn main(_: u32) -> u32 {
    let status = match run() {
        Ok(()) => 0,
        Err(Failed::Call(error)) => report("call failed", error),
        Err(Failed::Kernel(error)) => report("kernel call failed", error),
        Err(Failed::Wrong) => report("wrong result", ""),
    };
    let _ = sys::shutdown(status);
    1
}

fn report(what: &str, error: impl core::fmt::Display) -> u8 {
    let mut text = Text::<128>::new();
    let _ = core::fmt::write(&mut text, format_args!("bench: {what} {error}"));
    let _ = sys::log(text.as_str());
    1
}

/// The cycle counter (PMCCNTR, ARM ARM C12.8).
#[inline(always)]
fn cycles() -> u32 {
    let count: u32;
    // SAFETY: reads a counter that the kernel has opened to user mode; nothing else changes.
    unsafe { asm!("isb", "mrc p15, 0, {}, c9, c13, 0", out(reg) count, options(nostack)) };
    count
}

/// Instructions of `body`, those of measuring taken off.
#[inline(always)]
fn measure(mut body: impl FnMut() -> Result<(), Failed>) -> Result<u32, Failed> {
    let (mut least, mut nothing) = (u32::MAX, u32::MAX);
    for _ in 0..RUNS {
        let start = cycles();
        nothing = nothing.min(cycles().wrapping_sub(start));
        let start = cycles();
        body()?;
        least = least.min(cycles().wrapping_sub(start));
    }
    Ok(least - nothing)
}

fn print(name: &str, instructions: u32) -> Result<(), Failed> {
    let mut text = Text::<128>::new();
    core::fmt::write(&mut text, format_args!("{{\"name\": \"{name}\", \"instructions\": {instructions}}}"))
        .map_err(|_| Failed::Wrong)?;
    Ok(sys::log(text.as_str())?)
}

fn run() -> Result<(), Failed> {
    print("syscall_null", measure(|| Ok(sys::null()?))?)?;
    let blank = BlankClient::bind()?;
    print("call_null", measure(|| Ok(blank.nothing()?))?)?;
    let gauge = GaugeClient::bind()?;
    for (name, used) in [("call_ssr_64", 64), ("call_ssr_256", 256), ("call_ssr_1024", 1024), ("call_ssr_4096", 4096)] {
        gauge.set_used(used)?;
        let before = gauge.count()?;
        print(name, measure(|| gauge.count().map(drop).map_err(Failed::from))?)?;
        if gauge.count()? != before + RUNS + 1 {
            return Err(Failed::Wrong);
        }
    }
    gauge.set_used(64)?;
    print("call_lent_4k", lent(&gauge)?)?;
    recoveries(&gauge)
}

/// A page lent for reading, on a stack of its own alignment.
#[inline(never)]
fn lent(gauge: &GaugeClient) -> Result<u32, Failed> {
    let lent = Aligned([7; 4096]);
    measure(|| if gauge.read(&lent.0)? == 7 { Ok(()) } else { Err(Failed::Wrong) })
}

/// A data abort at the method's entry, to the reply of the retried call, with so many sessions bound.
fn recoveries(gauge: &GaugeClient) -> Result<(), Failed> {
    let abort = Sabotage { kind: SabotageKind::DataAbort, moment: Moment::Entry };
    let recovery = || {
        let mut least = u32::MAX;
        for _ in 0..RUNS {
            let before = gauge.count()?;
            sys::sabotage("gauge", abort)?;
            let start = cycles();
            let after = gauge.count()?;
            least = least.min(cycles().wrapping_sub(start));
            if after != before + 1 {
                return Err(Failed::Wrong);
            }
        }
        Ok(least)
    };
    print("recover_80k", recovery()?)?;
    let mut sessions = Vec::new();
    for (name, clients) in [("recover_clients_1", 1), ("recover_clients_100", 100), ("recover_clients_1000", 1000)] {
        while sessions.len() + 1 < clients {
            sessions.push(GaugeClient::bind()?);
        }
        print(name, recovery()?)?;
    }
    Ok(())
}
