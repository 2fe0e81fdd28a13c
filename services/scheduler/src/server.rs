//! The service: sessions, methods, and the decision.
//!
//! Invariant: table and policy follow from the sessions that are open and from the common region. What else is kept (turns,
//! passes, counts) may be lost without harm, for a decision needs nothing but who is ready now. Lest a scheduler that fails again
//! and again make the same choice each time, its first one goes round, by a mark in the common region.

use core::marker::PhantomData;

use rt::abi::call::name_str;
use rt::abi::image::{Entry as Manifest, Kind, Rights};
use rt::abi::info::ProcessInfo;
use rt::{Construct, Decision, Error, Service, Session, SsrState, sys};
use scheduler::{MAX_SLICE, PolicyKind, Scheduler, SchedulerError, weight_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::choice::Choice;
use crate::policy::{Policy, Round, next_after};
use crate::priorities::Priorities;
use crate::stride::Stride;
use crate::table::{Entry, Parameters, SLOTS, Table};

/// Number of the first domain that is a process.
const FIRST_PROCESS: u32 = 64;
/// The highest priority.
const MAX_PRIORITY: u32 = 7;

/// What each client has, in its own Server State Region.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[ssr(validate = Client::holds)]
#[repr(C)]
pub struct Client {
    stamp: u64,
    slot: u32,
    process: u32,
    limit: u32,
    priority: u32,
    weight: u32,
    slice: u32,
    administrator: u32,
    unused: u32,
}

impl Client {
    fn holds(&self) -> bool {
        self.slot < SLOTS as u32
            && self.limit <= MAX_PRIORITY
            && self.administrator <= 1
            && check(self.limit, self.priority, self.weight, self.slice).is_ok()
    }

    fn entry(&self, session: u32) -> Entry {
        let parameters = Parameters { priority: self.priority, weight: self.weight, slice: self.slice };
        Entry { slot: self.slot, session, process: self.process, stamp: self.stamp, parameters }
    }
}

/// Whether a client may have these parameters.
fn check(limit: u32, priority: u32, weight: u32, slice: u32) -> Result<(), SchedulerError> {
    if priority > limit {
        return Err(SchedulerError::Priority);
    }
    if weight == 0 || weight > weight_of(limit) {
        return Err(SchedulerError::Weight);
    }
    if slice == 0 || slice > MAX_SLICE {
        return Err(SchedulerError::Slice);
    }
    Ok(())
}

/// What a client's manifest grants.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// Number of its process.
    pub process: u32,
    /// Its priority.
    pub priority: u32,
    /// Whether it has the right `shutdown`.
    pub administrator: bool,
}

/// Where grants come from.
pub trait Manifests {
    /// The grant of the process in a slot.
    ///
    /// # Errors
    /// It cannot be found out.
    fn grant(slot: u32) -> Result<Grant, Error>;
}

/// The boot image, as the kernel tells of it.
pub struct BootImage;

impl Manifests for BootImage {
    fn grant(slot: u32) -> Result<Grant, Error> {
        let process: ProcessInfo = sys::info(slot)?;
        for index in 0.. {
            let manifest: Manifest = sys::info(index)?;
            if manifest.kind == Kind::Program as u32 && name_str(&manifest.name) == name_str(&process.name) {
                let administrator = Rights::from_bits_truncate(manifest.rights).contains(Rights::SHUTDOWN);
                return Ok(Grant { process: process.process, priority: manifest.priority, administrator });
            }
        }
        Err(Error::NotFound)
    }
}

/// The active policy. Both fit into the one object that there is: nothing to gain by a heap.
#[allow(clippy::large_enum_variant)] // see above: there is one
enum Active {
    Priorities(Priorities),
    Stride(Stride),
}

impl Active {
    fn new(kind: PolicyKind, table: &Table) -> Self {
        match kind {
            Priorities::KIND => Active::Priorities(Priorities::new(table)),
            Stride::KIND => Active::Stride(Stride::new(table)),
        }
    }

    fn kind(&self) -> PolicyKind {
        match self {
            Active::Priorities(_) => Priorities::KIND,
            Active::Stride(_) => Stride::KIND,
        }
    }

    fn changed(&mut self, slot: usize, parameters: Parameters) {
        match self {
            Active::Priorities(policy) => policy.changed(slot, parameters),
            Active::Stride(policy) => policy.changed(slot, parameters),
        }
    }
}

/// How often a slot was chosen, and for how long.
#[derive(Clone, Copy, Default)]
struct Count {
    turns: u32,
    ticks: u32,
}

/// The service.
pub struct Server<M> {
    table: Table,
    active: Active,
    choice: &'static mut Choice,
    /// Who was ready at the last decision.
    ready: u64,
    decisions: u32,
    /// Nothing was decided since it was built.
    fresh: bool,
    counts: [Count; SLOTS],
    manifests: PhantomData<M>,
}

impl<M> Server<M> {
    /// Gives the common region back; what the service had in its own memory is gone, as in a failure.
    #[cfg(test)]
    pub fn into_common(self) -> &'static mut Choice {
        self.choice
    }

    /// The first decision since it was built.
    #[cold]
    fn first(&mut self, ready: u64) -> Decision {
        self.fresh = false;
        let slot = next_after(ready, self.choice.turn);
        self.choice.turn = slot;
        match &mut self.active {
            Active::Priorities(policy) => policy.begin(slot),
            Active::Stride(policy) => policy.begin(slot),
        }
        Decision { slot, slice: 1 }
    }

    /// Enters what a session asks for.
    fn enter(&mut self, entry: &Entry) {
        if self.table.enter(entry) {
            self.active.changed(entry.slot as usize, entry.parameters);
        }
    }
}

impl<M: Manifests + 'static> Service for Server<M> {
    type State = Client;

    fn new(construct: &mut Construct) -> Self {
        let choice: &mut Choice =
            construct.take_common_as().expect("the manifest gives the scheduler a common region of a page");
        // An argument that names no policy names the first one.
        let first = PolicyKind::ALL.get(construct.argument() as usize).copied().unwrap_or(PolicyKind::Priorities);
        let kind = choice.get().unwrap_or(first);
        let table = Table::new();
        let active = Active::new(kind, &table);
        let counts = [Count::default(); SLOTS];
        Server { table, active, choice, ready: 0, decisions: 0, fresh: true, counts, manifests: PhantomData }
    }

    fn open(&mut self, session: &mut Session<Client>) -> Result<(), Error> {
        let slot = session.client().checked_sub(FIRST_PROCESS).filter(|slot| *slot < SLOTS as u32);
        let slot = slot.ok_or(Error::NotPermitted)?;
        let grant = M::grant(slot)?;
        if self.table.has_process(slot, grant.process) {
            return Err(Error::Exhausted);
        }
        let limit = grant.priority.min(MAX_PRIORITY);
        let Parameters { priority, weight, slice } = Parameters::of(limit);
        **session = Client {
            stamp: self.table.next_stamp(),
            slot,
            process: grant.process,
            limit,
            priority,
            weight,
            slice,
            administrator: grant.administrator.into(),
            unused: 0,
        };
        self.counts[slot as usize] = Count::default();
        self.reload(session)
    }

    fn reload(&mut self, session: &mut Session<Client>) -> Result<(), Error> {
        self.enter(&session.entry(session.number()));
        Ok(())
    }

    fn close(&mut self, session: &mut Session<Client>) {
        if self.table.leave(session.slot, session.number()) {
            self.active.changed(session.slot as usize, Parameters::DEFAULT);
        }
    }

    fn self_test(&mut self) -> Result<(), Error> {
        let sound = match &self.active {
            Active::Priorities(policy) => policy.is_sound(&self.table),
            Active::Stride(policy) => policy.is_sound(&self.table),
        };
        if sound && self.table.is_sound() { Ok(()) } else { Err(Error::ServerFault) }
    }

    fn decide(&mut self, ready: u64, previous: Option<u32>, ticks: u32) -> Decision {
        let round = Round { ready, appeared: ready & !self.ready, previous, ticks };
        self.ready = ready;
        self.decisions = self.decisions.wrapping_add(1);
        if let Some(count) = previous.and_then(|slot| self.counts.get_mut(slot as usize)) {
            count.ticks = count.ticks.wrapping_add(ticks);
        }
        if ready == 0 {
            // Nobody to choose: the kernel does not ask then, and takes no such answer.
            return Decision { slot: SLOTS as u32, slice: 1 };
        }
        let decision = match &mut self.active {
            _ if self.fresh => self.first(ready),
            Active::Priorities(policy) => policy.decide(&self.table, &round),
            Active::Stride(policy) => policy.decide(&self.table, &round),
        };
        if let Some(count) = self.counts.get_mut(decision.slot as usize) {
            count.turns = count.turns.wrapping_add(1);
        }
        decision
    }
}

impl<M: Manifests + 'static> Scheduler for Server<M> {
    fn set(
        &mut self,
        session: &mut Session<Client>,
        priority: u32,
        weight: u32,
        slice: u32,
    ) -> Result<(), SchedulerError> {
        check(session.limit, priority, weight, slice)?;
        (session.priority, session.weight, session.slice) = (priority, weight, slice);
        self.enter(&session.entry(session.number()));
        Ok(())
    }

    fn get(&mut self, session: &mut Session<Client>) -> Result<(u32, u32, u32, u32), SchedulerError> {
        Ok((session.priority, session.weight, session.slice, session.limit))
    }

    fn statistics(&mut self, session: &mut Session<Client>) -> Result<(u32, u32, u32), SchedulerError> {
        let count = self.counts.get(session.slot as usize).copied().unwrap_or_default();
        Ok((self.decisions, count.turns, count.ticks))
    }

    fn policy(&mut self, _: &mut Session<Client>) -> Result<PolicyKind, SchedulerError> {
        Ok(self.active.kind())
    }

    fn set_policy(&mut self, session: &mut Session<Client>, policy: PolicyKind) -> Result<(), SchedulerError> {
        if session.administrator != 1 {
            return Err(SchedulerError::NotAllowed);
        }
        self.choice.set(policy);
        if self.active.kind() != policy {
            self.active = Active::new(policy, &self.table);
        }
        Ok(())
    }
}
