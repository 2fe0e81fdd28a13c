//! Preparation, the workload between its marks, and the summary.

use abi::failure::{Moment, SabotageKind};
use abi::info::{FailureInfo, ObjectInfo, ObjectState};
use abi::{Error, Sabotage};
use rt::sys;
use scheduler::SchedulerClient;
use trial::page::{self, Page};
use trial::{Failure, Object, SUMMARY_MAGIC, Summary, Workload};

/// The program that is every client.
const CLIENT: &str = "trialist";
/// The service whose failures the supervisor's log begins with.
const FAILING: &str = "timer";
/// Status of the system when the workload could not begin.
const UNPREPARED: u8 = 2;
/// Stands in [`Summary::ended`] for a client of which the kernel knows nothing.
const UNKNOWN: u32 = u32::MAX;
/// Ticks between two looks at services that are not built yet, and behind what has to be dealt with.
const PAUSE: u32 = 3;
/// Looks at services after which one of them must be taken for one that is never built.
const LOOKS: u32 = 1_000;

static SUMMARY: Page<Summary> = Page::new(Summary::EMPTY);

/// Runs the workload and ends the system.
pub fn main(argument: u32) -> u32 {
    let status = match Workload::from_number(argument).ok_or(Error::BadArgument).and_then(run) {
        Ok(()) => 0,
        Err(_) => UNPREPARED,
    };
    let _ = sys::shutdown(status);
    1
}

/// Runs the workload. Nothing fails any more once it has begun.
fn run(workload: Workload) -> Result<(), Error> {
    let summary = SUMMARY.take().ok_or(Error::Exhausted)?;
    let _ahead_of_clients = SchedulerClient::bind()?;
    settle()?;
    prepare(workload)?;
    let mut clients = [0; 8];
    let clients = &mut clients[..workload.clients() as usize];
    for (client, process) in (0..).zip(clients.iter_mut()) {
        *process = sys::spawn(CLIENT, workload.client(client))?;
    }
    page::begin();
    for (process, ended) in clients.iter().zip(&mut summary.ended) {
        *ended = sys::wait(*process).unwrap_or(UNKNOWN);
    }
    summary.clients = clients.len() as u32;
    fill(summary);
    page::end();
    Ok(())
}

/// Waits until all services are built.
fn settle() -> Result<(), Error> {
    for _ in 0..LOOKS {
        let mut objects = (0..).map_while(|index| sys::info::<ObjectInfo>(index).ok());
        if objects.all(|info| info.state == ObjectState::Running as u32) {
            return Ok(());
        }
        sys::pause(PAUSE)?;
    }
    Err(Error::Stopped)
}

/// Has the client program prepare what the workload needs.
fn prepare(workload: Workload) -> Result<(), Error> {
    let preparer = || match sys::wait(sys::spawn(CLIENT, workload.preparer())?) {
        Ok(0) => Ok(()),
        _ => Err(Error::ServerFault),
    };
    for number in 0..workload.failures() {
        let kind = SabotageKind::ALL[number as usize % 4];
        sys::sabotage(FAILING, Sabotage { kind, moment: Moment::Entry })?;
        preparer()?;
        sys::pause(PAUSE)?;
    }
    preparer()?;
    sys::pause(PAUSE)
}

/// Notes what the kernel knows.
fn fill(summary: &mut Summary) {
    for (to, index) in summary.failure.iter_mut().zip(0..) {
        let Ok(info) = sys::info::<FailureInfo>(index) else { break };
        if index == 0 {
            summary.failures = info.number;
        }
        *to = Failure {
            object: info.object,
            kind: info.kind,
            pc: info.pc,
            address: info.address,
            method: info.method,
            process: info.process,
            tick: info.tick,
            chain: info.chain,
        };
    }
    for index in 0.. {
        let Ok(info) = sys::info::<ObjectInfo>(index) else { break };
        summary.objects = index + 1;
        if let Some(to) = summary.object.get_mut(index as usize) {
            *to = Object {
                name: info.name,
                state: info.state,
                restarts: info.restarts,
                failures: info.failures,
                retried: info.retried,
                failed_requests: info.failed_requests,
                lost_sessions: info.lost_sessions,
            };
        }
    }
    summary.magic = SUMMARY_MAGIC;
    summary.complete = 1;
}
