//! `racer`: competes for the processor.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use core::hint::black_box;

use racer::{NO_RUN, PRIORITY, REFUSED, Run, Way};
use rt::{Error, sys};
use scheduler::{MAX_SLICE, PolicyKind, SchedulerClient, SchedulerError, weight_of};

/// Ends with the line unless the condition holds.
macro_rules! ensure {
    ($condition:expr) => {
        if !$condition {
            return line!();
        }
    };
}

/// Asks for too much.
fn greedy() -> u32 {
    let Ok(scheduler) = SchedulerClient::bind() else { return REFUSED };
    let own = Ok((PRIORITY, weight_of(PRIORITY), scheduler::DEFAULT_SLICE, PRIORITY));
    let refused = |priority, weight, slice, error: SchedulerError| {
        scheduler.set(priority, weight, slice).is_err_and(|found| found == rt::CallError::Service(error))
    };
    ensure!(scheduler.get() == own);
    ensure!(refused(PRIORITY + 1, 1, 1, SchedulerError::Priority));
    ensure!(refused(u32::MAX, 1, 1, SchedulerError::Priority));
    ensure!(refused(1, weight_of(PRIORITY) + 1, 1, SchedulerError::Weight));
    ensure!(refused(1, 0, 1, SchedulerError::Weight));
    ensure!(refused(1, 1, MAX_SLICE + 1, SchedulerError::Slice));
    ensure!(refused(1, 1, 0, SchedulerError::Slice));
    ensure!(scheduler.get() == own);
    let policy = scheduler.policy();
    for kind in PolicyKind::ALL {
        ensure!(scheduler.set_policy(kind) == Err(rt::CallError::Service(SchedulerError::NotAllowed)));
    }
    ensure!(scheduler.policy() == policy);
    ensure!(SchedulerClient::bind().err() == Some(Error::Exhausted));
    ensure!(scheduler.set(PRIORITY, weight_of(PRIORITY), MAX_SLICE).is_ok());
    ensure!(scheduler.unbind().is_ok());
    // What was set is gone with the session.
    ensure!(SchedulerClient::bind().is_ok_and(|again| again.get() == own));
    0
}

fn race(argument: u32) -> u32 {
    let Some(run) = Run::from_argument(argument) else { return NO_RUN };
    if run.way == Way::Greedy {
        return greedy();
    }
    let session = if run.weight == 0 { None } else { Some(SchedulerClient::bind()) };
    match &session {
        Some(Ok(session)) if session.set(run.priority, run.weight, run.slice).is_err() => return REFUSED,
        Some(Err(_)) => return REFUSED,
        _ => {}
    }
    let mut random = 1u32;
    loop {
        let done = match run.way {
            Way::Yields => {
                // For different lengths of time: a rhythm of its own could keep step with the clock, by which it is measured.
                random ^= random << 13;
                random ^= random >> 17;
                random ^= random << 5;
                (0..random % 4096).for_each(|_| black_box(()));
                sys::yield_now()
            }
            Way::Sleeps => sys::pause(1),
            Way::Computes | Way::Greedy => {
                black_box(());
                Ok(())
            }
        };
        if done.is_err() {
            return REFUSED;
        }
    }
}

rt::program!(race);
