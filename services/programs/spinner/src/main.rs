//! `spinner`: computes until it is told to stop. Its argument is its number.
//!
//! Its status is the number of errors, at most 255: calls that failed, parameters that the scheduler forgot; and above it, in
//! milliseconds, the longest time for which it did not run.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use core::fmt::Write;

use console::{ConsoleClient, Output};
use rt::{CallError, Error, sys};
use scheduler::{SchedulerClient, SchedulerError};
use spinner::{SLICE, parameters};
use store::{MAX_VALUE, StoreClient, StoreError};

/// Under this key the demonstration publishes that its clients are to come to an end.
const STOP: &str = "demo.stop";
/// Microseconds of computing before it looks there again.
const LOOK: u64 = 20_000;
/// Errors after which there is no point in going on.
const MAX_ERRORS: u32 = 20;

struct Spinner {
    number: u32,
    scheduler: SchedulerClient,
    store: StoreClient,
    console: ConsoleClient,
    /// The longest time between two looks at the clock.
    gap: u64,
    errors: u32,
}

impl Spinner {
    fn new(number: u32) -> Result<Self, Error> {
        let (scheduler, store, console) = (SchedulerClient::bind()?, StoreClient::bind()?, ConsoleClient::bind()?);
        Ok(Spinner { number, scheduler, store, console, gap: 0, errors: 0 })
    }

    fn say(&mut self, text: core::fmt::Arguments<'_>) {
        let mut output = Output::new(&self.console);
        let written = writeln!(output, "spinner {}: {text}", self.number);
        if output.finish().is_err() || written.is_err() {
            self.errors += 1;
        }
    }

    fn wrong(&mut self, text: core::fmt::Arguments<'_>) {
        self.errors += 1;
        self.say(text);
    }

    /// Whether the scheduler has what it was told.
    fn is_known(&mut self) -> bool {
        let (priority, weight) = parameters(self.number);
        let known = self.scheduler.get();
        match known {
            Ok((p, w, slice, _)) => (p, w, slice) == (priority, weight, SLICE),
            Err::<_, CallError<SchedulerError>>(error) => {
                self.wrong(format_args!("get: {error}"));
                true
            }
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

    /// Computes for a while. Only here the gap is measured: elsewhere it may have to wait for a service.
    fn compute(&mut self) -> Result<(), Error> {
        let start = sys::time_us()?;
        let mut last = start;
        while last - start < LOOK {
            let now = sys::time_us()?;
            self.gap = self.gap.max(now - last);
            last = now;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Error> {
        let (priority, weight) = parameters(self.number);
        if let Err(error) = self.scheduler.set(priority, weight, SLICE) {
            self.wrong(format_args!("set: {error}"));
        }
        while self.errors < MAX_ERRORS && !self.stopped() {
            self.compute()?;
            if !self.is_known() {
                self.wrong(format_args!("the scheduler forgot what it was told"));
            }
        }
        Ok(())
    }
}

fn spinner(number: u32) -> u32 {
    let told = Spinner::new(number).and_then(|mut spinner| {
        spinner.run()?;
        let gap = spinner.gap;
        spinner.say(format_args!("at most {gap} us without running"));
        Ok(spinner.errors.min(255) | (gap.div_ceil(1_000).min(0xff_ffff) as u32) << 8)
    });
    told.unwrap_or_else(|error| {
        // Without a session there is nobody to tell but the kernel's log; the status says it, too.
        let _ = sys::log(error.text());
        1
    })
}

rt::program!(spinner);
