//! What the suite can see of the system: records, and sessions that bear witness.

use alloc::format;

use rt::abi::info::{FailureInfo, MemoryInfo, ObjectInfo, ObjectState, ProcessInfo};
use rt::abi::{FailureKind, Handle};
use rt::{CallError, Error, sys};
use tally::TallyClient;
use victim::{VictimClient, VictimError};

use crate::check::{Check, Why, ensure, equal, fail, get};

/// Ticks that what ends on its own (sessions of dead clients) may take.
const PATIENCE: u32 = 200;

/// The error of a method that the kernel ended or refused.
pub const fn kernel(error: Error) -> CallError<VictimError> {
    CallError::Kernel(error)
}

fn is_name(packed: &[u8; 16], name: &str) -> bool {
    rt::abi::call::name_str(packed) == name
}

/// The record of an object.
pub fn object(name: &str) -> Result<ObjectInfo, Why> {
    for index in 0.. {
        match sys::info::<ObjectInfo>(index) {
            Ok(info) if is_name(&info.name, name) => return Ok(info),
            Ok(_) => {}
            Err(error) => fail!("no record of {name}: {error:?}"),
        }
    }
    fail!("no record of {name}")
}

/// The latest failure, or the one `back` before it.
pub fn failure(back: u32) -> Result<FailureInfo, Why> {
    sys::info::<FailureInfo>(back).map_err(|error| format!("no record of a failure: {error:?}"))
}

/// The use of the pools.
pub fn memory() -> Result<MemoryInfo, Why> {
    sys::info::<MemoryInfo>(0).map_err(|error| format!("no record of memory: {error:?}"))
}

/// The record of a process; state 0 if there is none with this number.
pub fn process(number: u32) -> ProcessInfo {
    let mut index = 0;
    while let Ok(info) = sys::info::<ProcessInfo>(index) {
        if info.state != 0 && info.process == number {
            return info;
        }
        index += 1;
    }
    ProcessInfo::default()
}

/// Ends all clients that are still there.
pub fn end_children() {
    let mut index = 0;
    while let Ok(info) = sys::info::<ProcessInfo>(index) {
        if info.state != 0 && ["hostile", "moth"].iter().any(|name| is_name(&info.name, name)) {
            // One that has ended meanwhile has only to be waited for.
            let _ = sys::kill(info.process).and_then(|()| sys::wait(info.process));
        }
        index += 1;
    }
}

/// The suite's own process number.
pub fn own_process() -> Result<u32, Why> {
    let mut index = 0;
    while let Ok(info) = sys::info::<ProcessInfo>(index) {
        if info.state != 0 && is_name(&info.name, "suite") {
            return Ok(info.process);
        }
        index += 1;
    }
    fail!("no record of the suite's own process")
}

/// Sessions, processes and second-level tables in use.
pub fn in_use() -> [u32; 3] {
    memory().map_or([0; 3], |info| {
        [info.bindings - info.bindings_free, info.processes - info.processes_free, info.tables - info.tables_free]
    })
}

/// Waits until no more is in use than before.
pub fn settle(before: [u32; 3]) -> Check {
    for _ in 0..PATIENCE {
        if in_use() == before {
            return Ok(());
        }
        get!(sys::pause(1), "pause");
    }
    fail!("sessions, processes, tables in use: {:?} instead of {before:?}", in_use())
}

/// Takes the processor away from the suite until a condition holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) -> Check {
    for _ in 0..PATIENCE {
        if holds() {
            return Ok(());
        }
        get!(sys::pause(1), "pause");
    }
    fail!("{what}: not within {PATIENCE} ticks")
}

/// A failure as it must have been recorded.
pub struct Expected {
    /// The object that failed.
    pub object: &'static str,
    /// How.
    pub kind: FailureKind,
    /// Method number, or `0x8000_0000` + hook number; `None`: not looked at.
    pub method: Option<u32>,
    /// The session; `None`: not looked at.
    pub session: Option<Handle>,
    /// The fault address; `None`: not looked at.
    pub address: Option<u32>,
}

impl Expected {
    /// Compares with the failure recorded `back` before the latest.
    pub fn recorded(&self, back: u32) -> Check {
        let info = failure(back)?;
        ensure!(is_name(&info.object, self.object), "a failure of {} recorded", rt::abi::call::name_str(&info.object));
        equal!(FailureKind::from_number(info.kind), Some(self.kind), "kind of failure");
        if let Some(method) = self.method {
            equal!(info.method, method, "method that failed");
        }
        if let Some(handle) = self.session {
            equal!(info.session, handle.index, "session that it happened under");
        }
        if let Some(address) = self.address {
            ensure!(info.address == address, "fault address {:#x} instead of {address:#x}", info.address);
        }
        Ok(())
    }
}

/// Counters of an object before something happens.
pub struct Before(ObjectInfo);

impl Before {
    /// Takes them.
    pub fn of(name: &str) -> Result<Self, Why> {
        object(name).map(Before)
    }

    /// Compares with the counters now: recoveries and failures since then (as ranges), requests ended with an error,
    /// sessions lost. The object must be running.
    pub fn since(&self, name: &str, failures: core::ops::RangeInclusive<u32>, failed: u32, lost: u32) -> Check {
        // A request whose `flush` failed ends before its service has recovered.
        wait_until("a service that runs", || object(name).is_ok_and(|info| info.state == ObjectState::Running as u32))?;
        let now = object(name)?;
        let found = now.failures - self.0.failures;
        let rebuilt = |info: &ObjectInfo| info.restarts - info.doubts;
        ensure!(failures.contains(&found), "{found} failures of {name} instead of {failures:?}");
        equal!(rebuilt(&now) - rebuilt(&self.0), found, "restarts of {name} after failures");
        equal!(now.failed_requests - self.0.failed_requests, failed, "failed requests of {name}");
        equal!(now.lost_sessions - self.0.lost_sessions, lost, "lost sessions of {name}");
        Ok(())
    }

    /// Failures since then.
    pub fn failures(&self, name: &str) -> Result<u32, Why> {
        Ok(object(name)?.failures - self.0.failures)
    }

    /// Sessions lost since then.
    pub fn lost(&self, name: &str) -> Result<u32, Why> {
        Ok(object(name)?.lost_sessions - self.0.lost_sessions)
    }

    /// The object was not disturbed at all.
    pub fn untouched(&self, name: &str) -> Check {
        self.since(name, 0..=0, 0, 0)
    }
}

/// Sessions with several services whose state is known: whatever happens to others, they keep it.
pub struct Witness {
    victim: VictimClient,
    vault: VictimClient,
    tally: TallyClient,
    sums: [u32; 3],
    digest: u64,
}

impl Witness {
    /// Opens the sessions.
    pub fn new() -> Result<Self, Why> {
        let victim = get!(VictimClient::bind(), "bind to victim");
        let vault = get!(VictimClient::bind_to("vault"), "bind to vault");
        let tally = get!(TallyClient::bind(), "bind to tally");
        let digest = get!(vault.fill(0, 600, 0x5eed, victim::Attack::None, 0, 0), "fill");
        let mut witness = Witness { victim, vault, tally, sums: [0; 3], digest };
        witness.intact()?;
        Ok(witness)
    }

    /// What was there is there, and can be changed as ever.
    pub fn intact(&mut self) -> Check {
        let [victim, vault, tally] = &mut self.sums;
        let (sum, requests, _, _) = get!(self.victim.state(), "witness at victim");
        equal!((sum, requests), (*victim * 3, *victim), "the witness's sum and requests at victim");
        *victim += 1;
        equal!(get!(self.victim.add(3), "witness at victim").0, *victim * 3, "the witness's sum at victim");
        equal!(get!(self.vault.digest(), "witness at vault"), self.digest, "the witness's digest at vault");
        *vault += 1;
        let (sum, requests, _, _) = get!(self.vault.state(), "witness at vault");
        equal!((sum, requests), ((*vault - 1) * 5, *vault - 1), "the witness's sum and requests at vault");
        equal!(get!(self.vault.add(5), "witness at vault").0, *vault * 5, "the witness's sum at vault");
        // `add` flips bits of the last word of the bulk.
        self.digest = get!(self.vault.digest(), "witness at vault");
        *tally += 1;
        equal!(self.tally.add(7), Ok(*tally * 7), "the witness's sum at tally");
        Ok(())
    }
}
