//! The service: what clients ask for, and what is derived when it is built.

use rt::abi::Control;
use rt::abi::call::{name_str, pack_name};
use rt::abi::image::{Flags, Kind, MAX_ENTRIES, Policy};
use rt::abi::info::{ObjectInfo, ObjectState};
use rt::{Construct, Events, LentRead, LentWrite, Next, Service, Session, SsrState};
use supervisor::{LogEntry, PolicyField, ServiceInfo, Standing, Supervisor, SupervisorError};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::judge::{Row, makes_sense};
use crate::lines::line;
use crate::record::Common;
use crate::system::System;

/// What each client has.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[repr(C)]
pub struct Reader {
    /// Sequence number of the next entry of the log that it has not read.
    cursor: u32,
}

/// What a manifest says of a service.
#[derive(Clone, Copy)]
pub struct Manifest {
    /// Its name.
    pub name: [u8; 16],
    /// Its policy.
    pub policy: Policy,
    /// The services that are restarted when it starts again.
    pub dependants: u64,
    /// Whether it is a service that is watched.
    pub service: bool,
    /// Whether it is the supervisor.
    pub own: bool,
}

impl Manifest {
    const NONE: Manifest = Manifest {
        name: [0; 16],
        policy: Policy { heartbeat: 0, misses: 0, min_run: 0, max_restarts: 0, backoff: 0, backoff_cap: 0, give_up: 0 },
        dependants: 0,
        service: false,
        own: false,
    };
}

/// The service. All that it must not forget is in `common`.
pub struct Server<S> {
    pub(crate) system: S,
    pub(crate) common: &'static mut Common,
    /// The manifests, by their places in the boot image.
    pub(crate) manifests: [Manifest; MAX_ENTRIES],
}

impl<S: System> Server<S> {
    /// The service over this region, in this system.
    pub fn over(common: &'static mut Common, mut system: S) -> Self {
        common.repair();
        let mut manifests = [Manifest::NONE; MAX_ENTRIES];
        for (index, manifest) in (0..).zip(&mut manifests) {
            let Some(entry) = system.entry(index) else { break };
            *manifest = Manifest {
                name: entry.name,
                policy: entry.policy,
                dependants: entry.dependants,
                service: entry.kind == Kind::Object as u32,
                own: Flags::from_bits_truncate(entry.flags).contains(Flags::SUPERVISOR),
            };
        }
        // Whatever an earlier life meant to be woken for: look at once.
        system.deadline(Some(1));
        Server { system, common, manifests }
    }

    /// Place in the boot image of the service with this packed name.
    pub(crate) fn find(&self, name: &[u8; 16]) -> Option<usize> {
        self.manifests.iter().position(|manifest| manifest.service && manifest.name == *name)
    }

    /// The policy in force for a service.
    pub(crate) fn policy(&self, index: usize) -> Policy {
        let record = &self.common.records[index];
        if record.changed == 1 { record.policy } else { self.manifests[index].policy }
    }

    /// The record of an object that the kernel keeps.
    pub(crate) fn object(&mut self, index: usize) -> Option<ObjectInfo> {
        let mut next = 0;
        loop {
            let info = self.system.object(next)?;
            if info.entry as usize == index {
                return Some(info);
            }
            next += 1;
        }
    }

    /// The service that a client names.
    fn named(&self, name: &LentRead<'_>) -> Result<usize, SupervisorError> {
        let mut bytes = [0; 16];
        let bytes = bytes.get_mut(..name.len()).ok_or(SupervisorError::NoService)?;
        name.copy(0, bytes).map_err(|_| SupervisorError::BadBuffer)?;
        let text = core::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        self.find(&pack_name(text.ok_or(SupervisorError::NoService)?)).ok_or(SupervisorError::NoService)
    }

    /// The service that a client names to give an order to it.
    fn ordered(&mut self, name: &LentRead<'_>) -> Result<(usize, ObjectInfo), SupervisorError> {
        let index = self.named(name)?;
        if self.manifests[index].own {
            return Err(SupervisorError::Itself);
        }
        Ok((index, self.object(index).ok_or(SupervisorError::NoService)?))
    }

    /// What there is to tell of a service.
    fn describe(&self, info: &ObjectInfo) -> ServiceInfo {
        let index = info.entry as usize % MAX_ENTRIES;
        let record = &self.common.records[index];
        let standing = if self.manifests[index].own { Standing::Itself } else { record.standing() };
        ServiceInfo {
            name: info.name,
            state: info.state,
            standing: standing as u32,
            restarts: info.restarts - info.doubts.min(info.restarts),
            doubts: info.doubts,
            failures: info.failures,
            short_runs: record.row.short_runs,
            held_until: if standing == Standing::Held { (record.held_until / 1000) as u32 } else { 0 },
            retried: info.retried,
            failed_requests: info.failed_requests,
            lost_sessions: info.lost_sessions,
            clients: info.clients,
            memory: info.memory,
            stack_used: info.stack_used,
            changed: record.changed,
            policy: self.policy(index),
        }
    }
}

/// Writes records to a lent buffer, as many as fit; returns how many.
fn put<T: IntoBytes + Immutable>(
    to: &mut LentWrite<'_>,
    records: impl Iterator<Item = T>,
) -> Result<u32, SupervisorError> {
    let room = to.len() / size_of::<T>();
    if room == 0 {
        return Err(SupervisorError::BadBuffer);
    }
    let mut count = 0;
    for record in records.take(room) {
        to.copy(count * size_of::<T>(), record.as_bytes()).map_err(|_| SupervisorError::BadBuffer)?;
        count += 1;
    }
    Ok(count as u32)
}

impl<S: System + Default + 'static> Service for Server<S> {
    type State = Reader;

    fn new(construct: &mut Construct) -> Self {
        let common = construct.take_common_as().expect("the manifest gives the supervisor 16K of common region");
        Server::over(common, S::default())
    }

    fn event(&mut self, _: Events) -> Next {
        // Whatever brought it here: what there is to do follows from how things are.
        self.look();
        Next::Done
    }

    fn self_test(&mut self) -> Result<(), rt::Error> {
        // Were the event of a deadline lost, by whomever, it comes now.
        self.look_again();
        Ok(())
    }
}

impl<S: System + Default + 'static> Supervisor for Server<S> {
    fn list(&mut self, _: &mut Session<Reader>, first: u32, mut to: LentWrite<'_>) -> Result<u32, SupervisorError> {
        let mut next = first;
        put(
            &mut to,
            core::iter::from_fn(|| {
                let info = self.system.object(next)?;
                next = next.checked_add(1)?;
                Some(self.describe(&info))
            }),
        )
    }

    fn show(
        &mut self,
        _: &mut Session<Reader>,
        name: LentRead<'_>,
        mut to: LentWrite<'_>,
    ) -> Result<(), SupervisorError> {
        let index = self.named(&name)?;
        let info = self.object(index).ok_or(SupervisorError::NoService)?;
        put(&mut to, [self.describe(&info)].into_iter()).map(|_| ())
    }

    fn restart(&mut self, _: &mut Session<Reader>, name: LentRead<'_>) -> Result<(), SupervisorError> {
        let (index, info) = self.ordered(&name)?;
        let stands_still = [ObjectState::Stopped as u32, ObjectState::Held as u32].contains(&info.state);
        if stands_still || self.common.records[index].standing() != Standing::Watched {
            return Err(SupervisorError::NotRunning);
        }
        self.order(index, Control::Restart);
        let name = self.manifests[index].name;
        self.say([line(format_args!("{} is restarted as ordered", name_str(&name)))]);
        self.give_orders();
        self.arm();
        Ok(())
    }

    fn stop(&mut self, _: &mut Session<Reader>, name: LentRead<'_>) -> Result<(), SupervisorError> {
        let (index, _) = self.ordered(&name)?;
        self.order(index, Control::Stop);
        let record = &mut self.common.records[index];
        (record.standing, record.starting) = (Standing::Stopped as u32, 0);
        (record.held_until, record.next_probe) = (0, 0);
        let name = self.manifests[index].name;
        self.say([line(format_args!("{} is stopped as ordered", name_str(&name)))]);
        self.give_orders();
        self.arm();
        Ok(())
    }

    fn start(&mut self, _: &mut Session<Reader>, name: LentRead<'_>) -> Result<(), SupervisorError> {
        let (index, info) = self.ordered(&name)?;
        let runs = [ObjectState::Running as u32, ObjectState::Recovering as u32].contains(&info.state);
        if runs && self.common.records[index].standing() == Standing::Watched {
            return Err(SupervisorError::Running);
        }
        self.common.records[index].row = Row::default();
        self.start_again(index, "as ordered");
        self.give_orders();
        self.arm();
        Ok(())
    }

    fn log(&mut self, _: &mut Session<Reader>, skip: u32, mut to: LentWrite<'_>) -> Result<u32, SupervisorError> {
        let sequences = (self.common.earliest()..=self.common.latest()).rev();
        let entries = sequences.filter_map(|sequence| self.common.entry(sequence)).skip(skip as usize);
        put(&mut to, entries.copied())
    }

    fn log_next(
        &mut self,
        session: &mut Session<Reader>,
        mut to: LentWrite<'_>,
    ) -> Result<(u32, u32), SupervisorError> {
        // A cursor beyond the log is one of a log that was lost.
        let wanted = if session.cursor > self.common.latest() + 1 { 1 } else { session.cursor.max(1) };
        let first = wanted.max(self.common.earliest());
        let mut cursor = first;
        let mut damaged = 0;
        let entries = core::iter::from_fn(|| -> Option<LogEntry> {
            while cursor <= self.common.latest() {
                cursor += 1;
                match self.common.entry(cursor - 1) {
                    Some(entry) => return Some(*entry),
                    None => damaged += 1,
                }
            }
            None
        });
        let count = put(&mut to, entries)?;
        session.cursor = cursor;
        Ok((count, first - wanted + damaged))
    }

    fn set_policy(
        &mut self,
        _: &mut Session<Reader>,
        field: PolicyField,
        value: u32,
        name: LentRead<'_>,
    ) -> Result<(), SupervisorError> {
        let (index, _) = self.ordered(&name)?;
        let mut policy = self.policy(index);
        field.set(&mut policy, value);
        if !makes_sense(&policy) {
            return Err(SupervisorError::BadPolicy);
        }
        let record = &mut self.common.records[index];
        (record.changed, record.policy, record.next_probe) = (1, policy, 0);
        self.look_again();
        Ok(())
    }

    fn reset_policy(&mut self, _: &mut Session<Reader>, name: LentRead<'_>) -> Result<(), SupervisorError> {
        let (index, _) = self.ordered(&name)?;
        let record = &mut self.common.records[index];
        (record.changed, record.next_probe) = (0, 0);
        self.look_again();
        Ok(())
    }
}
