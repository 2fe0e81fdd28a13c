//! From the argument to the course.

use rt::Error;
use trial::page::Page;
use trial::{Log, Workload};

use crate::course::Course;
use crate::{files, lines, policies, shares, timers, values};

static LOG: Page<Log> = Page::new(Log::EMPTY);

/// Status 0: its log is complete, whatever is in it.
pub fn main(argument: u32) -> u32 {
    let done = match Workload::from_argument(argument) {
        Some((workload, None)) => prepare(workload),
        Some((workload, Some(client))) => {
            LOG.take().ok_or(Error::Exhausted).map(|log| work(workload, client, log, argument))
        }
        None => Err(Error::BadArgument),
    };
    done.map_or_else(|error| error as u32, |()| 0)
}

fn prepare(workload: Workload) -> Result<(), Error> {
    match workload {
        Workload::Fs => files::prepare(),
        Workload::Supervisor => policies::prepare(),
        _ => Ok(()),
    }
}

fn work(workload: Workload, client: u32, log: &'static mut Log, argument: u32) {
    let course = Course::new(log, client, argument);
    match workload {
        Workload::Timer => timers::run(course),
        Workload::Scheduler => shares::run(course),
        Workload::Fs => files::run(course),
        Workload::Console => lines::run(course),
        Workload::Store => values::run(course),
        Workload::Supervisor => policies::run(course),
    }
}
