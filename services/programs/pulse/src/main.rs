//! `pulse`: has a periodic alarm that is often due, another one that is not, and one that it sets anew whenever it has
//! expired. Its argument is its number.
//!
//! It knows nothing of failures. Its status is the number of errors, at most 255: calls that failed, alarms that were lost,
//! early or doubled; and above it, in milliseconds, by how much the latest alarm was late.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use core::fmt::Write;

use console::{ConsoleClient, Output};
use pulse::{Periodic, STOP};
use rt::{CallError, Error, Events, sys};
use store::{MAX_VALUE, StoreClient, StoreError};
use timer::{Alarms, TimerError};

/// What the timer's notifications set.
const ALARM: Events = Events::from_bits_truncate(1);
/// The alarm that is set again and again.
const ONCE: u32 = 100;
/// The one that is often due.
const FAST: u32 = 7;
/// The one at which it looks whether to come to an end.
const SLOW: u32 = 8;
/// Period of the fast alarm, in microseconds; each client has a millisecond more than the one before it.
const FAST_PERIOD: u64 = 3_000;
/// Period of the slow alarm.
const SLOW_PERIOD: u64 = 40_000;
/// Errors after which there is no point in going on.
const MAX_ERRORS: u32 = 20;

struct Pulse {
    number: u32,
    alarms: Alarms,
    store: StoreClient,
    console: ConsoleClient,
    periodic: [Periodic; 2],
    /// When the one that is set again and again is due.
    due: u64,
    /// How often it has expired.
    once: u64,
    errors: u32,
}

impl Pulse {
    fn new(number: u32) -> Result<Self, Error> {
        let (alarms, store, console) = (Alarms::bind(ALARM)?, StoreClient::bind()?, ConsoleClient::bind()?);
        let fast = Periodic { alarm: FAST, first: 0, period: FAST_PERIOD + u64::from(number) * 1_000, taken: 0 };
        let slow = Periodic { alarm: SLOW, first: 0, period: SLOW_PERIOD, taken: 0 };
        Ok(Pulse { number, alarms, store, console, periodic: [fast, slow], due: 0, once: 0, errors: 0 })
    }

    fn say(&mut self, text: core::fmt::Arguments<'_>) {
        let mut output = Output::new(&self.console);
        let written = writeln!(output, "pulse {}: {text}", self.number);
        if output.finish().is_err() || written.is_err() {
            self.errors += 1;
        }
    }

    /// Counts what must not be.
    fn wrong(&mut self, text: core::fmt::Arguments<'_>) {
        self.errors += 1;
        self.say(text);
    }

    fn check<T>(&mut self, what: &str, result: Result<T, CallError<TimerError>>) -> Option<T> {
        result.map_err(|error| self.wrong(format_args!("{what}: {error}"))).ok()
    }

    fn set_once(&mut self) {
        // Delays from 0.3 to 23 ms, in no order.
        let delay = 300 + (self.once * 7_919 + u64::from(self.number) * 613) % 23_000;
        let due = self.alarms.set(ONCE, delay, 0);
        if let Some(due) = self.check("set", due) {
            self.due = due;
        }
    }

    /// Takes an expiry to its books.
    fn expired(&mut self, alarm: u32, count: u32) {
        let now = self.alarms.now();
        let Ok(now) = now.map_err(|error| self.wrong(format_args!("now: {error}"))) else { return };
        if alarm == ONCE {
            let due = self.due;
            if count != 1 || now < due {
                self.wrong(format_args!("an alarm of {due} us expired {count} times at {now} us"));
            }
            self.once += 1;
            return self.set_once();
        }
        match self.periodic.iter_mut().find(|periodic| periodic.alarm == alarm) {
            Some(periodic) => {
                let due = periodic.take(count, now);
                let periodic = *periodic;
                if !due {
                    self.wrong(format_args!("{count} expiries at {now} us are early or doubled: {periodic:?}"));
                }
            }
            None => self.wrong(format_args!("alarm {alarm} was never set")),
        }
    }

    fn stopped(&mut self) -> bool {
        match self.store.get(STOP, &mut [0; MAX_VALUE]) {
            Ok(_) => true,
            Err(CallError::Service(StoreError::NotFound)) => false,
            Err(error) => {
                self.wrong(format_args!("{STOP}: {error}"));
                false
            }
        }
    }

    fn run(&mut self) {
        for index in 0..self.periodic.len() {
            let Periodic { alarm, period, .. } = self.periodic[index];
            let first = self.alarms.set(alarm, period, period);
            let Some(first) = self.check("set", first) else { return };
            self.periodic[index].first = first;
        }
        self.set_once();
        while self.errors < MAX_ERRORS {
            let expiry = self.alarms.wait();
            let Some(expiry) = self.check("wait", expiry) else { continue };
            self.expired(expiry.alarm, expiry.count);
            if expiry.alarm == SLOW && self.stopped() {
                break;
            }
        }
        self.settle();
    }

    /// Compares its books with the service's.
    fn settle(&mut self) {
        for index in 0..self.periodic.len() {
            let alarm = self.periodic[index].alarm;
            loop {
                self.take_rest(alarm);
                let state = self.alarms.alarm(alarm);
                let Some((next, _)) = self.check("alarm", state) else { break };
                // Unless it expired in between.
                if self.take_rest(alarm) == 0 {
                    let periodic = self.periodic[index];
                    if !periodic.agrees(next) {
                        self.wrong(format_args!("lost or doubled: next at {next} us, {periodic:?}"));
                    }
                    break;
                }
            }
        }
        // The last one has been due by the time this one is.
        let slept = self.alarms.sleep(50_000);
        self.check("sleep", slept);
        let (left, due) = (self.alarms.cancel(ONCE), self.due);
        match self.check("cancel", left) {
            Some(1) | None => self.once += 1,
            Some(count) => self.wrong(format_args!("an alarm of {due} us expired {count} times")),
        }
    }

    /// Takes what has expired of an alarm; how many times.
    fn take_rest(&mut self, alarm: u32) -> u32 {
        match self.alarms.take_of(alarm) {
            Ok(count) => {
                self.expired(alarm, count);
                count
            }
            Err(error) if error.would_block() => 0,
            Err(error) => {
                self.wrong(format_args!("take: {error}"));
                0
            }
        }
    }
}

fn pulse(number: u32) -> u32 {
    match Pulse::new(number) {
        Ok(mut pulse) => {
            pulse.run();
            let late = pulse.alarms.lateness().unwrap_or(u64::MAX);
            let (periodic, once) = (pulse.periodic.iter().map(|periodic| periodic.taken).sum::<u64>(), pulse.once);
            pulse.say(format_args!("{periodic} periodic alarms, {once} others, {late} us late at most"));
            pulse.errors.min(255) | (late.div_ceil(1_000).min(0xff_ffff) as u32) << 8
        }
        Err(error) => {
            // Without a session there is nobody to tell but the kernel's log; the status says it, too.
            let _ = sys::log(error.text());
            1
        }
    }
}

rt::program!(pulse);
