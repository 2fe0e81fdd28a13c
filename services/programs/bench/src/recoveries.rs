//! From an abort in a service to the reply of the call that was retried.

use abi::Sabotage;
use abi::failure::{Moment, SabotageKind};
use alloc::vec::Vec;
use gauge::GaugeClient;
use pair::Role;
use rt::sys;
use scheduler::SchedulerClient;
use timer::TimerClient;

use crate::calls::FAR;
use crate::measure::{Failed, measure_with, print};

/// Clients of the timer and of the scheduler.
const CLIENTS: usize = 10;
/// Alarms of each client of the timer.
const ALARMS: u32 = 10;

/// Makes a service abort at the entry of its next method.
fn abort(service: &str) -> Result<(), Failed> {
    Ok(sys::sabotage(service, Sabotage { kind: SabotageKind::DataAbort, moment: Moment::Entry })?)
}

/// Of the service behind this session.
pub fn recovery(service: &str, session: &GaugeClient) -> Result<u32, Failed> {
    measure_with(
        || {
            let before = session.count()?;
            abort(service)?;
            Ok(before)
        },
        |_| Ok(session.count()?),
        |before, after| if after == before + 1 { Ok(()) } else { Err(Failed::Wrong("a retried call was not once")) },
    )
}

/// With one client.
pub fn data(gauge: &GaugeClient) -> Result<(), Failed> {
    print("recover_80k", recovery(GaugeClient::NAME, gauge)?)
}

/// Of the services that the others rely on.
pub fn services() -> Result<(), Failed> {
    print("recover_timer", timer()?)?;
    print("recover_scheduler", scheduler()?)
}

fn timer() -> Result<u32, Failed> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = TimerClient::bind()?;
        for alarm in 0..ALARMS {
            client.set(alarm, FAR + u64::from(alarm), 0)?;
        }
        clients.push(client);
    }
    let client = &clients[0];
    let all = || -> Result<Vec<(u64, u64)>, Failed> {
        let mut due = Vec::new();
        for client in &clients {
            for alarm in 1..ALARMS {
                due.push(client.alarm(alarm)?);
            }
        }
        Ok(due)
    };
    measure_with(
        || {
            let before = all()?;
            abort(TimerClient::NAME)?;
            Ok(before)
        },
        |_| Ok(client.set(0, FAR, 0)?),
        |before, _| if before == all()? { Ok(()) } else { Err(Failed::Wrong("an alarm was lost")) },
    )
}

fn scheduler() -> Result<u32, Failed> {
    let mut others = Vec::new();
    for _ in 1..CLIENTS {
        others.push(sys::spawn(pair::NAME, Role::Wait.argument())?);
    }
    let scheduler = SchedulerClient::bind()?;
    // The others open their sessions.
    sys::pause(10)?;
    let instructions = measure_with(
        || {
            let before = scheduler.get()?;
            abort(SchedulerClient::NAME)?;
            Ok(before)
        },
        |_| Ok(scheduler.get()?),
        |before, after| if after == before { Ok(()) } else { Err(Failed::Wrong("parameters were lost")) },
    )?;
    for other in others {
        sys::kill(other)?;
        sys::wait(other)?;
    }
    Ok(instructions)
}
