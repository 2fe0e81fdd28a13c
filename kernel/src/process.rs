//! Processes: start, end, and what remains until the parent asks.

use abi::error::Refusal;
use abi::image::{Flags, Kind as EntryKind, NONE, Recovery};
use abi::info::{Pool, Trace};
use abi::{Error, Events};

use crate::domain::{self, DOMAINS, Domain, OBJECTS, Role};
use crate::image::image;
use crate::kernel::Kernel;
use crate::thread::{Pending, State, USER_MODE};

impl Kernel {
    /// Starts a program in a free slot.
    ///
    /// # Errors
    /// The pool that is used up.
    pub fn start_process(&mut self, entry: usize, argument: u32, parent: Option<usize>) -> Result<usize, Pool> {
        let slot = (OBJECTS..DOMAINS).find(|slot| self.domains[*slot].role == Role::None).ok_or(Pool::Processes)?;
        let image = image();
        let manifest = &image.entries()[entry];
        match domain::load(&mut self.machine, slot, image, manifest) {
            Ok(frames) => {
                self.domains[slot].set(Role::Process, manifest, argument);
                self.domains[slot].frames = frames;
            }
            Err(pool) => {
                self.machine.destroy_view(slot);
                return Err(pool);
            }
        }
        self.domains[slot].generation = (self.domains[slot].generation + 1) & 0xff_ffff;
        self.domains[slot].parent = parent;
        if let Some(parent) = parent {
            self.domains[parent].children += 1;
        }
        self.threads[slot].reset(manifest.priority as usize);
        let (contextidr, ttbr0) = self.own_view(slot);
        let address = self.address_of(slot);
        let frame = self.threads[slot].top_mut();
        frame.registers[0] = argument;
        frame.registers[1] = manifest.heap;
        frame.registers[13] = abi::layout::STACK_TOP;
        (frame.pc, frame.cpsr) = (manifest.entry_call, USER_MODE);
        (frame.domain, frame.binding) = (address, 0);
        (frame.contextidr, frame.ttbr0) = (contextidr, ttbr0);
        self.scheduler.ready(&mut self.threads, slot);
        self.trace(Trace::Start, slot, entry as u32);
        Ok(slot)
    }

    /// `Spawn`: right and quota of the parent checked.
    pub fn spawn(&mut self, thread: usize, name: [u8; 16], argument: u32) -> Result<Option<u32>, Refusal> {
        let parent = self.domain_of(thread);
        let image = image();
        let program = |entry: &abi::image::Entry| entry.kind == EntryKind::Program as u32 && entry.name == name;
        let index = image.entries().iter().position(program).ok_or(Error::NotFound)?;
        let manifest = self.entry_of(parent);
        if manifest.spawns >> index & 1 == 0 {
            return Err(Refusal(Error::NotPermitted, index as u32));
        }
        if self.domains[parent].role != Role::Process || self.domains[parent].children >= manifest.quota_children {
            return Err(Pool::Processes.into());
        }
        let slot = self.start_process(index, argument, Some(parent))?;
        Ok(Some(self.client_of(slot)))
    }

    /// The child of a thread's process with this number.
    fn child(&self, thread: usize, number: u32) -> Result<usize, Error> {
        let slot = (number & 0xff) as usize;
        let parent = self.domain_of(thread);
        let known = (OBJECTS..DOMAINS).contains(&slot)
            && self.domains[slot].role == Role::Process
            && self.client_of(slot) == number
            && self.domains[slot].parent == Some(parent)
            && !self.domains[slot].adopted;
        if known { Ok(slot) } else { Err(Error::NoSuchProcess) }
    }

    /// `Wait`: the status of a child that has ended, or the thread waits for its end.
    pub fn wait_for(&mut self, thread: usize, number: u32) -> Result<Option<u32>, Refusal> {
        let child = self.child(thread, number)?;
        let status = self.domains[child].status;
        if status.is_some() {
            self.forget_process(child);
        } else {
            self.scheduler.unready(&mut self.threads, thread);
            self.threads[thread].state = State::Child(child);
        }
        Ok(status)
    }

    /// `Kill`: at once, or when the request that the child is in has come to its end.
    pub fn kill(&mut self, thread: usize, number: u32) -> Result<Option<u32>, Refusal> {
        let child = self.child(thread, number)?;
        if self.domains[child].status.is_none() {
            self.end_process(child, 128);
        }
        Ok(Some(0))
    }

    /// Ends a process. A request of its own that has begun runs to its end first.
    pub fn end_process(&mut self, domain: usize, status: u32) {
        let thread = domain;
        let state = &self.threads[thread];
        if state.depth > 0 || !matches!(state.pending(), Pending::None | Pending::Call) {
            self.threads[thread].doomed = Some(status);
            return;
        }
        match self.threads[thread].state {
            State::Ready => {
                self.scheduler.unready(&mut self.threads, thread);
                self.forgo(thread);
            }
            State::Object(object) => {
                self.leave_queue(thread, object);
                self.relock(object);
            }
            State::Events(..) | State::Child(_) | State::Idle | State::Dead => {}
        }
        self.threads[thread].state = State::Dead;
        self.trace(Trace::End, domain, status);
        self.end_retained(thread, self.recovery == Recovery::Rollback);
        self.end_sessions(domain);
        self.machine.destroy_view(domain);
        self.domains[domain].frames = 0;
        self.orphan_children(domain);
        self.domains[domain].status = Some(status);
        match self.domains[domain].parent.filter(|_| !self.domains[domain].adopted) {
            None => self.forget_process(domain),
            Some(parent) if self.threads[parent].state == State::Child(domain) => {
                self.forget_process(domain);
                self.scheduler.ready(&mut self.threads, parent);
                self.answer(parent, Ok(()), status);
            }
            Some(parent) => self.post(parent, Events::CHILD.bits()),
        }
    }

    fn end_sessions(&mut self, domain: usize) {
        let client = self.client_of(domain);
        let mut next = self.ssr.sessions_of(client, None);
        while let Some(binding) = next {
            let server = self.server_of(binding);
            self.close_later(server, binding);
            next = self.ssr.sessions_of(client, Some(binding));
        }
    }

    /// Children that go on count for the parent's parent, so that nobody gets more of them than its quota by
    /// starting them through others.
    fn orphan_children(&mut self, domain: usize) {
        let heir = self.domains[domain].parent;
        for child in OBJECTS..DOMAINS {
            if self.domains[child].role != Role::Process || self.domains[child].parent != Some(domain) {
                continue;
            }
            if self.domains[child].status.is_some() {
                self.forget_process(child);
                continue;
            }
            (self.domains[child].parent, self.domains[child].adopted) = (heir, true);
            if let Some(heir) = heir {
                self.domains[heir].children += 1;
            }
        }
    }

    /// Frees the slot of a process that has ended.
    fn forget_process(&mut self, domain: usize) {
        if let Some(parent) = self.domains[domain].parent {
            self.domains[parent].children -= 1;
        }
        let generation = self.domains[domain].generation;
        self.domains[domain] = Domain { generation, ..Domain::INITIAL };
    }

    /// Starts what the boot image says: constructors first, then programs.
    ///
    /// # Errors
    /// Index of the entry, and the pool that is used up.
    pub fn start_all(&mut self) -> Result<(), (usize, Pool)> {
        let image = image();
        for (index, entry) in image.entries().iter().enumerate() {
            if entry.kind == EntryKind::Object as u32 {
                self.start_object(index).map_err(|pool| (index, pool))?;
            }
        }
        for (index, entry) in image.entries().iter().enumerate() {
            for instance in 0..entry.autostart {
                if entry.kind == EntryKind::Program as u32 {
                    self.start_process(index, entry.argument.wrapping_add(instance), None)
                        .map_err(|pool| (index, pool))?;
                }
            }
        }
        Ok(())
    }

    fn start_object(&mut self, index: usize) -> Result<(), Pool> {
        let image = image();
        let entry = &image.entries()[index];
        let frames = domain::load(&mut self.machine, index, image, entry)?;
        let narrow = |value: u32| value.min(u32::from(u16::MAX)) as u16;
        let config = ssr_manager::ServerConfig {
            ssr_pages: narrow(entry.ssr_pages),
            undo_pages: narrow(entry.undo_pages),
            common_pages: narrow(entry.common / abi::layout::PAGE),
            max_bindings: narrow(entry.max_bindings),
            serial: entry.has(Flags::SERIAL),
            integrity: entry.has(Flags::INTEGRITY) && self.recovery != Recovery::Kept,
            exposed: self.recovery == Recovery::Kept,
        };
        self.ssr.register(crate::kernel::server_id(index), &config, &mut self.machine)?;
        self.domains[index].set(Role::Object, entry, entry.argument);
        self.domains[index].frames = frames;
        self.domains[index].state = abi::info::ObjectState::Recovering;
        self.domains[index].work = domain::Work::Construct;
        self.threads[index].reset(entry.priority as usize);
        if entry.interrupts.iter().any(|line| *line != NONE) {
            self.drivers |= 1 << index;
        }
        if entry.has(Flags::SCHEDULER) {
            self.policy = Some(index);
        }
        if entry.has(Flags::SUPERVISOR) {
            self.supervisor = Some(index);
        }
        let (contextidr, ttbr0) = self.own_view(index);
        let address = self.address_of(index);
        let frame = self.threads[index].top_mut();
        (frame.domain, frame.contextidr, frame.ttbr0) = (address, contextidr, ttbr0);
        self.scheduler.ready(&mut self.threads, index);
        if entry.common > 0 {
            let (name, start, length) = (entry.name_str(), self.machine.common[index], entry.common);
            let initial = if entry.common_blob != NONE { "filled" } else { "empty" };
            log::info!("[boot] common {name} phys {start:#x} len {length:#x} {initial}");
        }
        Ok(())
    }
}
