//! Events: sticky bits of a domain, and the two ways in which it gets them (design: one event mechanism).
//!
//! Interrupts, deadlines, heartbeats and notifications all end in [`Kernel::post`]. A program, or an activation of a driver,
//! takes its bits with `WaitEvents`; for an object at rest its kernel thread makes an upcall, then the steps that the upcall
//! asks for, each with one session and each a recovery domain of its own. The bits are cleared when the last step has
//! committed: whatever fails before makes them come again.

use abi::error::Refusal;
use abi::event::MAX_LINES;
use abi::image::NONE;
use abi::info::{ObjectState, Trace};
use abi::{Error, Events};
use ssr_manager::{BindingId, State as Session};

use crate::board;
use crate::call::Step as Progress;
use crate::domain::{OBJECTS, Role, Step};
use crate::kernel::{Kernel, request_id, server_id};
use crate::ssr::MAX_BINDINGS;
use crate::thread::{Kind, State};

/// Ticks between self-tests of the supervisor. A few of them verify all of its text.
const SUPERVISOR_HEARTBEAT: u32 = 512;

impl Kernel {
    /// Sets events of a domain, and wakes whoever is to deal with them.
    pub fn post(&mut self, domain: usize, bits: u32) {
        self.domains[domain].events |= bits;
        let waiter = if domain < OBJECTS { self.owner(domain) } else { Some(domain) };
        if let Some(thread) = waiter
            && let State::Events(mask, _) = self.threads[thread].state
            && self.domains[domain].events & mask != 0
            && self.domain_of(thread) == domain
        {
            self.end_wait(thread);
        }
        if domain < OBJECTS && self.has_events(domain) {
            self.rouse(domain);
        }
    }

    /// Ends the wait of a thread: with the events that are set, or with none as its time is over.
    fn end_wait(&mut self, thread: usize) {
        if let State::Events(mask, until) = self.threads[thread].state {
            let domain = self.domain_of(thread);
            let bits = self.domains[domain].events & mask;
            self.domains[domain].events &= !bits;
            if self.threads[thread].depth > 0 {
                self.threads[thread].top_mut().budget += until.map_or(0, |until| until.wrapping_sub(self.tick));
            }
            self.scheduler.ready(&mut self.threads, thread);
            self.answer(thread, Ok(()), bits);
        }
    }

    /// `KernelCall::WaitEvents`. What an activation waits is taken off its budget first, and given back if it was shorter.
    pub fn wait_events(&mut self, thread: usize, mask: u32, ticks: u32) -> Result<Option<u32>, Refusal> {
        let (domain, object) = (self.domain_of(thread), self.threads[thread].depth > 0);
        if ticks == 0 && (object || mask == 0) {
            return Err(Error::BadArgument.into());
        }
        let mut ticks = ticks.min(i32::MAX as u32);
        if object {
            let frame = self.threads[thread].top_mut();
            ticks = ticks.min(frame.budget - 1);
            frame.budget -= ticks;
        }
        let until = (object || ticks > 0).then(|| self.tick.wrapping_add(ticks));
        self.scheduler.unready(&mut self.threads, thread);
        self.threads[thread].state = State::Events(mask, until);
        self.timed |= u128::from(until.is_some()) << thread;
        if self.domains[domain].events & mask != 0 || until == Some(self.tick) {
            self.end_wait(thread);
        }
        Ok(None)
    }

    /// What a tick brings: ends of waits, deadlines, and the end of throttling.
    pub fn tick_events(&mut self) {
        let now = board::now_us();
        let mut timed = core::mem::take(&mut self.timed);
        while timed != 0 {
            let domain = timed.trailing_zeros() as usize;
            timed &= timed - 1;
            if let State::Events(_, Some(until)) = self.threads[domain].state
                && self.tick.wrapping_sub(until) as i32 >= 0
            {
                self.end_wait(domain);
            }
            let state = &mut self.domains[domain];
            state.interrupts = 0;
            let throttled = core::mem::take(&mut state.throttled);
            if state.deadline != 0 && state.deadline <= now {
                state.deadline = 0;
                match self.domains[domain].state {
                    ObjectState::Held if self.supervisor == Some(domain) => self.start(domain),
                    _ => self.post(domain, Events::DEADLINE.bits()),
                }
            }
            for line in (0..MAX_LINES).filter(|line| throttled >> line & 1 == 1) {
                board::unmask(self.entry_of(domain).interrupts[line]);
            }
            let waits = matches!(self.threads[domain].state, State::Events(_, Some(_)));
            self.timed |= u128::from(waits || self.domains[domain].deadline != 0) << domain;
        }
        // It asks the others for self-tests; nobody else asks it.
        if let Some(supervisor) = self.supervisor.filter(|_| self.tick.is_multiple_of(SUPERVISOR_HEARTBEAT)) {
            self.probe(supervisor);
        }
    }

    /// An interrupt of a device: its line is masked until its owner acknowledges it.
    pub fn on_interrupt(&mut self, interrupt: u32) {
        board::mask(interrupt);
        let mut drivers = self.drivers;
        while drivers != 0 {
            let object = drivers.trailing_zeros() as usize;
            drivers &= drivers - 1;
            if let Some(line) = self.entry_of(object).interrupts.iter().position(|owned| *owned == interrupt) {
                self.domains[object].interrupts += 1;
                self.timed |= 1 << object;
                return self.post(object, Events::line(line).bits());
            }
        }
        log::warn!("[kernel] interrupt {interrupt} belongs to no service: masked");
    }

    /// `KernelCall::Acknowledge`. A line that interrupted too often within this tick stays masked until the next.
    pub fn acknowledge(&mut self, thread: usize, line: u32) -> Result<Option<u32>, Refusal> {
        let object = self.domain_of(thread);
        let entry = self.entry_of(object);
        match entry.interrupts.get(line as usize) {
            None | Some(&NONE) => return Err(Error::BadArgument.into()),
            Some(interrupt) if self.domains[object].interrupts >= entry.interrupt_rate => {
                self.domains[object].throttled |= 1 << line;
                self.trace(Trace::Throttled, object, *interrupt);
            }
            Some(interrupt) => board::unmask(*interrupt),
        }
        Ok(Some(0))
    }

    /// Masks an object's lines: its device is being reset.
    #[cold]
    pub fn mask_lines(&mut self, object: usize) {
        self.domains[object].throttled = 0;
        let entry = self.entry_of(object);
        entry.interrupts.iter().filter(|line| **line != NONE).for_each(|line| board::mask(*line));
    }

    /// `KernelCall::Notify`: noted, and delivered when the request commits.
    pub fn notify_later(&mut self, thread: usize, session: u32) -> Result<Option<u32>, Refusal> {
        let server = self.domain_of(thread);
        let binding = self.own_session(server, session).ok_or(Error::BadArgument)?;
        if !self.threads[thread].note(binding) {
            self.threads[thread].notes_all |= 1 << server;
        }
        Ok(Some(0))
    }

    /// The binding behind a number that an object names a session of its own by.
    fn own_session(&self, object: usize, session: u32) -> Option<BindingId> {
        let binding = (session < MAX_BINDINGS as u32).then(|| BindingId::new(session as u16))?;
        (self.ssr.binding(binding).server == Some(server_id(object))).then_some(binding)
    }

    /// Delivers the notifications of a request that is over.
    pub fn deliver_notes(&mut self, thread: usize) {
        if !self.threads[thread].has_notes() {
            return;
        }
        for binding in self.threads[thread].take_notes().into_iter().flatten() {
            self.notify(binding);
        }
        let mut servers = core::mem::take(&mut self.threads[thread].notes_all);
        while servers != 0 {
            self.notify_all(servers.trailing_zeros() as usize);
            servers &= servers - 1;
        }
    }

    /// Notifies all clients of an object.
    pub fn notify_all(&mut self, server: usize) {
        self.each_session(server, Kernel::notify);
    }

    /// Does something for each session of an object.
    pub fn each_session(&mut self, server: usize, what: impl Fn(&mut Kernel, BindingId)) {
        let mut next = self.ssr.next_session(server_id(server), None);
        while let Some(binding) = next {
            what(self, binding);
            next = self.ssr.next_session(server_id(server), Some(binding));
        }
    }

    /// Notifies the client of a session.
    pub fn notify(&mut self, binding: BindingId) {
        let (client, bits) = (self.ssr.binding(binding).client, self.ssr.events(binding));
        let domain = (client & 0xff) as usize;
        if bits != 0 && self.domains[domain].role != Role::None && self.client_of(domain) == client {
            self.post(domain, bits);
        }
    }

    /// Whether an object's kernel thread has events to deal with.
    pub fn has_events(&self, object: usize) -> bool {
        self.domains[object].events | self.domains[object].delivering != 0
    }

    /// The next upcall or step of an object's kernel thread.
    pub fn try_event(&mut self, object: usize) -> Result<Progress, Error> {
        if !self.acquire(object, object)? {
            return Ok(Progress::Going);
        }
        let domain = &mut self.domains[object];
        if domain.step == Step::Upcall(0) {
            // What comes later waits for an upcall of its own: the steps of this one know nothing of it.
            domain.delivering |= core::mem::take(&mut domain.events);
        }
        let (bits, request) = (domain.delivering, Some(request_id(object)));
        match domain.step {
            _ if bits == 0 => {
                self.release(object);
                return Ok(Progress::Done(0));
            }
            Step::Upcall(skipped) => match self.ssr.begin_object(server_id(object), request) {
                Ok(()) => {
                    self.activate(object, object, None, Kind::Event);
                    self.upcall_registers(object, [bits, skipped, 0, 0]);
                }
                Err(_) => self.park(object, object, self.ssr.server_holder(server_id(object))),
            },
            Step::Session(session) => {
                // It may have ended since it was asked for, and its number be another one's, even another service's.
                let own = self.own_session(object, session);
                let own = own.filter(|own| matches!(self.ssr.binding(*own).state, Session::Active | Session::Closing));
                let entered = match own {
                    Some(binding) => self.enter_session(object, object, binding, request, Kind::Step),
                    None => {
                        self.release(object);
                        Err(Error::SessionLost)
                    }
                };
                match entered {
                    Ok(Some(Kind::Step)) => {
                        let [session, client, ..] = self.threads[object].top().registers;
                        self.upcall_registers(object, [session, client, bits, 0]);
                    }
                    Ok(_) => {}
                    Err(_) => self.domains[object].step = Step::Upcall(session + 1),
                }
            }
        }
        Ok(Progress::Going)
    }

    /// Arguments of an upcall or step; a sabotage that was asked for strikes there, too.
    pub fn upcall_registers(&mut self, object: usize, arguments: [u32; 4]) {
        let sabotage = core::mem::take(&mut self.domains[object].sabotage);
        let registers = &mut self.threads[object].top_mut().registers;
        registers[..4].copy_from_slice(&arguments);
        registers[6] = sabotage;
    }

    /// An upcall or a step went well, and wants this next: 0 = nothing, else 1 + number of a session of this object.
    pub fn event_step_done(&mut self, object: usize, next: u32) {
        let domain = &mut self.domains[object];
        if let Some(session) = next.checked_sub(1) {
            domain.step = Step::Session(session);
            return;
        }
        if domain.delivering & Events::HEARTBEAT.bits() != 0 {
            domain.info.probed = 0;
        }
        let bits = core::mem::take(&mut domain.delivering);
        domain.step = Step::Upcall(0);
        self.trace(Trace::Events, object, bits);
    }

    /// Gives up the events at which an object keeps failing, so that others are not kept waiting for ever.
    pub fn drop_events(&mut self, object: usize) {
        // Those that came anew meanwhile, too: each failure of the supervisor posts it its own.
        self.domains[object].events &= !core::mem::take(&mut self.domains[object].delivering);
        self.report(object, "keeps failing at the same events: they are dropped");
    }
}
