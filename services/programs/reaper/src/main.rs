//! `reaper`: makes a service fail whenever an interval has passed, one after the other, each time in another way. Its argument
//! is the interval in milliseconds; 0: none fails.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use abi::Sabotage;
use abi::failure::{Moment, SabotageKind};
use rt::{CallError, Events, sys};
use timer::{Alarms, TimerError};

/// The services, from the card up to the files; then those that all of them live by.
const TARGETS: [&str; 5] = ["nic", "net", "fs", "timer", "scheduler"];
/// How they fail: as a process is killed, at once. (Those that take a while to be noticed would measure budgets.)
const WAYS: [SabotageKind; 5] = [
    SabotageKind::Panic,
    SabotageKind::DataAbort,
    SabotageKind::Undefined,
    SabotageKind::PrefetchAbort,
    SabotageKind::StackOverflow,
];
/// When they fail: before anything was done, or after all of it.
const MOMENTS: [Moment; 2] = [Moment::Entry, Moment::End];
/// An alarm is due.
const DUE: Events = Events::from_bits_truncate(1);
/// The alarm.
const ALARM: u32 = 1;
/// Status: a service is not there, or refused.
const REFUSED: u32 = 3;

fn reap(interval_ms: u32) -> Result<(), CallError<TimerError>> {
    let alarms = Alarms::bind(DUE)?;
    let interval = u64::from(interval_ms) * 1000;
    alarms.set(ALARM, interval, interval)?;
    let mut number = 0;
    loop {
        // Alarms that were missed are kills that are made up for.
        for _ in 0..alarms.wait_for(ALARM)? {
            let way = WAYS[number / TARGETS.len() % WAYS.len()];
            let moment = MOMENTS[number % MOMENTS.len()];
            sys::sabotage(TARGETS[number % TARGETS.len()], Sabotage { kind: way, moment })?;
            number += 1;
        }
    }
}

fn reaper(interval_ms: u32) -> u32 {
    if interval_ms == 0 {
        return 0;
    }
    if let Err(CallError::Kernel(error)) = reap(interval_ms) {
        // Who reads the log is told why nothing fails any more.
        let _ = sys::log(error.text());
    }
    REFUSED
}

rt::program!(reaper);
