//! `pair`: what `bench` shares the processor, or a service, with.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use gauge::GaugeClient;
use pair::Role;
use rt::{CallError, Error, Events, sys};
use scheduler::{DEFAULT_PRIORITY, DEFAULT_SLICE, SchedulerClient, SchedulerError, weight_of};

/// Cycles of a call: longer than the tick, at which the other process interrupts it; shorter than the method's budget.
const SPIN: u32 = 2_500_000;

/// Status 0, or what went wrong.
fn run(argument: u32) -> u32 {
    let result = match Role::from_argument(argument) {
        Some(Role::Yield(times)) => (0..times).try_for_each(|_| sys::yield_now()),
        Some(Role::Spin) => spin(),
        Some(Role::Wait) => wait(),
        None => Err(Error::BadArgument),
    };
    result.map_or_else(|error| error as u32, |()| 0)
}

fn spin() -> Result<(), Error> {
    let low = DEFAULT_PRIORITY - 1;
    let scheduler = SchedulerClient::bind()?;
    scheduler.set(low, weight_of(low), DEFAULT_SLICE).map_err(scheduler_error)?;
    let gauge = GaugeClient::bind()?;
    loop {
        gauge.spin(SPIN).map_err(|error| match error {
            CallError::Kernel(error) | CallError::Service(error) => error,
            CallError::Protocol(_) => Error::BadArgument,
        })?;
    }
}

fn wait() -> Result<(), Error> {
    let _session = SchedulerClient::bind()?;
    loop {
        sys::wait_events(Events::NOTIFICATIONS, 0)?;
    }
}

fn scheduler_error(error: CallError<SchedulerError>) -> Error {
    if let CallError::Kernel(error) = error { error } else { Error::BadArgument }
}

rt::program!(run);
