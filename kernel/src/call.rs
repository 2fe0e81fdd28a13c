//! Protected method calls: the wrapper of CuriOS (section 3.2), where the fast path leaves it.
//!
//! A call is a state of the calling thread: its arguments stand in the saved registers of its context until the
//! call commits, so waiting for the object, reloading the session, entering the method and retrying after a
//! recovery are all the same step, taken from the start.

use abi::call::{Hook, LEND_READ, LEND_WRITE, METHOD_MASK, METHOD_SHIFT};
use abi::info::{ObjectState, Pool};
use abi::{Error, FailureKind, Handle};
use ssr_manager::{Begin, BeginError, BindingId, State as Session};

use crate::domain::{OBJECTS, Role, UNUSUAL};
use crate::kernel::{Kernel, request_id, server_id};
use crate::thread::{FRESH, Kind, Lent, MAX_DEPTH, Pending, State, USER_MODE};

/// What a step of a call led to.
pub enum Step {
    /// An activation was entered, or the thread waits.
    Going,
    /// The call is answered.
    Done(u32),
}

/// The ranges that a call lends, for reading and for writing, as its registers say.
pub fn lent_by(registers: &[u32; 15]) -> (Lent, Lent) {
    let lent = |flag, at: usize| match registers[7] & flag {
        0 => Lent::default(),
        _ => Lent { address: registers[at], length: registers[at + 1] },
    };
    (lent(LEND_READ, 2), lent(LEND_WRITE, 4))
}

impl Kernel {
    /// Takes the kernel work of a thread one step further.
    pub fn do_pending(&mut self, thread: usize) {
        let result = match self.threads[thread].pending() {
            Pending::None => return,
            Pending::Call => self.try_call(thread),
            Pending::Open(handle) => self.try_hook(thread, handle, Kind::Open),
            Pending::Close(handle) => self.try_hook(thread, handle, Kind::Close),
            Pending::Flush(handle) => self.try_flush(thread, handle),
            Pending::Commit => self.try_commit(thread),
        };
        match result {
            Ok(Step::Going) => {}
            Ok(Step::Done(extra)) => {
                self.answer(thread, Ok(()), extra);
                self.forgo(thread);
            }
            Err(error) => {
                self.answer(thread, Err(error), 0);
                self.forgo(thread);
            }
        }
    }

    /// A thread does not want an object any more that it had next.
    pub fn forgo(&mut self, thread: usize) {
        if let Some(object) = self.threads[thread].grant.take() {
            self.domains[object].granted = None;
            self.release(object);
        }
    }

    /// Promises a free object to a thread.
    fn grant(&mut self, thread: usize, server: usize) {
        self.domains[server].granted = Some(thread);
        self.threads[thread].grant = Some(server);
    }

    /// Ends a kernel call: status in r0, r1.
    pub fn answer(&mut self, thread: usize, status: Result<(), Error>, extra: u32) {
        self.threads[thread].set_pending(Pending::None);
        self.threads[thread].answer(status);
        self.threads[thread].top_mut().registers[1] = extra;
    }

    /// `KernelCall::Call`, from its first step: no failure counted yet.
    pub fn start_call(&mut self, thread: usize) {
        let depth = self.threads[thread].depth;
        if depth + 1 < MAX_DEPTH {
            let frame = self.threads[thread].frame_mut(depth + 1);
            (frame.attempts, frame.failed_at) = (0, 0);
        }
        self.threads[thread].set_pending(Pending::Call);
        self.do_pending(thread);
    }

    fn try_call(&mut self, thread: usize) -> Result<Step, Error> {
        let caller = self.domain_of(thread);
        let registers = self.threads[thread].top().registers;
        let word = registers[7];
        let handle = Handle { index: registers[8], generation: registers[9] };
        let binding = self.ssr.find(handle, self.client_of(caller))?;
        let server = self.server_of(binding);
        let method = word >> METHOD_SHIFT & METHOD_MASK;
        if method >= self.domains[server].hot.methods
            || word & !(METHOD_MASK << METHOD_SHIFT | LEND_READ | LEND_WRITE) != 0
        {
            return Err(Error::BadMethod);
        }
        match self.ssr.binding(binding).state() {
            Session::Active => {}
            Session::Lost => return Err(Error::SessionLost),
            _ => return Err(Error::StaleHandle),
        }
        let (read, write) = lent_by(&registers);
        self.check_lent(thread, read, write)?;
        if !self.acquire(thread, server)? {
            return Ok(Step::Going);
        }
        let depth = self.threads[thread].depth;
        if self.hopeless(thread, server) {
            self.release(server);
            return Err(self.end_hopeless(thread, server, binding));
        }
        match self.ssr.begin(binding, Some(request_id(thread)), &mut self.machine) {
            Ok(Begin::Ready) => {
                self.activate(thread, server, Some(binding), Kind::Method);
                let sabotage = core::mem::take(&mut self.domains[server].sabotage);
                let entry = self.entry_of(server);
                let frame = self.threads[thread].frame_mut(depth + 1);
                frame.registers[..6].copy_from_slice(&registers[..6]);
                frame.registers[7] = method << METHOD_SHIFT;
                if sabotage != 0 {
                    frame.registers[6] = sabotage;
                    frame.registers[7] |= Hook::Sabotaged as u32;
                    frame.pc = entry.entry_hook;
                }
                (frame.lent_read, frame.lent_write) = (read, write);
                Ok(Step::Going)
            }
            Ok(Begin::NeedsReload) => {
                self.activate(thread, server, Some(binding), Kind::Reload);
                Ok(Step::Going)
            }
            Err(BeginError::Lost) => {
                self.release(server);
                Err(Error::SessionLost)
            }
            Err(BeginError::Busy) => {
                self.park(thread, server, binding);
                Ok(Step::Going)
            }
        }
    }

    /// `close` of a session without a client, on the server's kernel thread.
    pub fn try_close(&mut self, thread: usize, handle: Handle) -> Result<Step, Error> {
        self.try_hook(thread, handle, Kind::Close)
    }

    /// `open` of a new binding, or `close` of one that ends.
    fn try_hook(&mut self, thread: usize, handle: Handle, kind: Kind) -> Result<Step, Error> {
        let binding = BindingId::new(handle.index as u16);
        if self.ssr.handle(binding) != handle {
            return Ok(Step::Done(0));
        }
        let server = self.server_of(binding);
        match self.acquire(thread, server) {
            Ok(true) => {}
            Ok(false) => return Ok(Step::Going),
            Err(error) => {
                self.ssr.revoke(binding, &mut self.machine);
                return if kind == Kind::Close { Ok(Step::Done(0)) } else { Err(error) };
            }
        }
        if self.threads[thread].frame(self.threads[thread].depth + 1).attempts >= 2 {
            self.release(server);
            if !self.ssr.binding(binding).nested() {
                self.charge((self.ssr.binding(binding).client() & 0xff) as usize, server);
            }
            self.ssr.revoke(binding, &mut self.machine);
            return if kind == Kind::Close { Ok(Step::Done(0)) } else { Err(Error::ServerFault) };
        }
        let request = self.ssr.holder(binding);
        match self.ssr.begin(binding, request, &mut self.machine) {
            Ok(Begin::Ready) => self.activate(thread, server, Some(binding), kind),
            Ok(Begin::NeedsReload) => self.activate(thread, server, Some(binding), Kind::Reload),
            Err(BeginError::Busy) => self.park(thread, server, binding),
            Err(BeginError::Lost) => {
                self.release(server);
                self.ssr.revoke(binding, &mut self.machine);
                return if kind == Kind::Close { Ok(Step::Done(0)) } else { Err(Error::SessionLost) };
            }
        }
        Ok(Step::Going)
    }

    /// `flush` again, after a failure of it: the call's results stand in the caller's registers.
    fn try_flush(&mut self, thread: usize, handle: Handle) -> Result<Step, Error> {
        let binding = BindingId::new(handle.index as u16);
        let server = self.server_of(binding);
        if self.ssr.wants_flush(binding) {
            match self.acquire(thread, server) {
                Ok(true) => {}
                Ok(false) => return Ok(Step::Going),
                Err(error) => {
                    self.ssr.set_flush(binding, false);
                    self.threads[thread].answer(Err(error));
                }
            }
        }
        if self.ssr.wants_flush(binding) {
            let request = self.ssr.holder(binding);
            match self.ssr.begin(binding, request, &mut self.machine) {
                Ok(Begin::Ready) => {
                    self.activate(thread, server, Some(binding), Kind::Flush);
                    return Ok(Step::Going);
                }
                Ok(Begin::NeedsReload) => {
                    self.activate(thread, server, Some(binding), Kind::Reload);
                    return Ok(Step::Going);
                }
                Err(_) => self.ssr.set_flush(binding, false),
            }
            self.release(server);
        }
        self.threads[thread].set_pending(Pending::None);
        self.end_request(thread);
        Ok(Step::Going)
    }

    /// Runs the flushes of what the request wrote, one a step, then releases it.
    fn try_commit(&mut self, thread: usize) -> Result<Step, Error> {
        let request = request_id(thread);
        let mut next = self.ssr.retained(request, None);
        while let Some(binding) = next {
            if self.ssr.wants_flush(binding) && self.ssr.binding(binding).state() == Session::Active {
                let server = self.server_of(binding);
                match self.acquire(thread, server) {
                    Ok(false) => return Ok(Step::Going),
                    Err(_) => self.ssr.set_flush(binding, false),
                    Ok(true) => {
                        let kind = match self.ssr.begin(binding, Some(request), &mut self.machine) {
                            Ok(Begin::Ready) => Some(Kind::Flush),
                            Ok(Begin::NeedsReload) => Some(Kind::Reload),
                            Err(_) => None,
                        };
                        if let Some(kind) = kind {
                            self.activate(thread, server, Some(binding), kind);
                            return Ok(Step::Going);
                        }
                        self.ssr.set_flush(binding, false);
                        self.release(server);
                    }
                }
            }
            next = self.ssr.retained(request, Some(binding));
        }
        self.release_request(thread);
        self.threads[thread].set_pending(Pending::None);
        self.forgo(thread);
        Ok(Step::Going)
    }

    /// Releases what a request retains, and lets those run who waited for it.
    pub fn release_request(&mut self, thread: usize) {
        let request = request_id(thread);
        let mut servers = 0u64;
        let mut next = self.ssr.retained(request, None);
        if next.is_none() {
            return;
        }
        while let Some(binding) = next {
            servers |= 1 << self.server_of(binding);
            next = self.ssr.retained(request, Some(binding));
        }
        self.ssr.release_request(request, &mut self.machine);
        for server in (0..OBJECTS).filter(|server| servers >> server & 1 == 1) {
            self.unpark(server);
        }
    }

    /// Lets those wait for an object like others who waited for a request to give it up.
    pub fn unpark(&mut self, server: usize) {
        while let Some(thread) = self.domains[server].parked.first() {
            self.domains[server].parked.remove(&mut self.threads, thread);
            self.domains[server].waiters.push(&mut self.threads, thread);
        }
        if self.owner_rest(server) == 0 {
            self.release(server);
        }
    }

    /// Checks that lent ranges are the caller's own memory and do not overlap.
    fn check_lent(&mut self, thread: usize, read: Lent, write: Lent) -> Result<(), Error> {
        if read.length | write.length == 0 {
            return Ok(());
        }
        let end = |lent: Lent| lent.address.checked_add(lent.length).ok_or(Error::BadRange);
        let (read_end, write_end) = (end(read)?, end(write)?);
        if read.length > 0 && write.length > 0 && read.address < write_end && write.address < read_end {
            return Err(Error::BadRange);
        }
        for (lent, writing) in [(read, false), (write, true)] {
            if lent.length == 0 {
                continue;
            }
            for page in lent.address >> 12..=(lent.address + lent.length - 1) >> 12 {
                if !self.accessible(thread, page << 12, writing) {
                    return Err(Error::BadRange);
                }
            }
        }
        Ok(())
    }

    /// The rest position of the activation in an object, 0 for none.
    fn owner_rest(&self, server: usize) -> u32 {
        self.domains[server].hot.lock & !UNUSUAL
    }

    /// The thread that runs in an object.
    pub fn owner(&self, server: usize) -> Option<usize> {
        let rest = self.owner_rest(server);
        let base = self.threads.as_ptr() as u32;
        (rest != 0).then(|| (rest - base) as usize / size_of::<crate::thread::Thread>())
    }

    /// Takes an object for a thread; `false`: the thread waits now and will try again.
    ///
    /// # Errors
    /// The object is stopped, already active in the same request, or the request is nested too deeply.
    fn acquire(&mut self, thread: usize, server: usize) -> Result<bool, Error> {
        let depth = self.threads[thread].depth;
        if self.domains[server].state == ObjectState::Stopped {
            return Err(Error::Stopped);
        }
        if depth + 1 >= MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        let address = self.address_of(server);
        if (1..=depth).any(|depth| self.threads[thread].frame(depth).domain == address) {
            return Err(Error::Reentry);
        }
        let domain = &mut self.domains[server];
        if domain.granted == Some(thread) {
            domain.granted = None;
            self.threads[thread].grant = None;
        } else if domain.hot.lock & !UNUSUAL != 0
            || (domain.state == ObjectState::Recovering && thread != server)
            || domain.granted.is_some()
            || !domain.waiters.is_empty()
        {
            self.wait(thread, server);
            return Ok(false);
        }
        self.domains[server].hot.lock = self.threads[thread].rest(depth + 1) | UNUSUAL;
        Ok(true)
    }

    /// Puts a thread into an object's queue; whoever keeps it waiting inherits its priority.
    pub fn wait(&mut self, thread: usize, server: usize) {
        self.scheduler.unready(&mut self.threads, thread);
        self.threads[thread].state = State::Object(server);
        self.domains[server].waiters.push(&mut self.threads, thread);
        self.domains[server].hot.lock |= UNUSUAL;
        let priority = self.threads[thread].priority;
        let mut next = Some(server);
        for _ in 0..MAX_DEPTH {
            let Some(object) = next else { break };
            let holder = match self.owner(object) {
                Some(owner) => owner,
                None if self.domains[object].state == ObjectState::Recovering => object,
                None => break,
            };
            if self.threads[holder].priority < priority {
                self.scheduler.set_priority(&mut self.threads, holder, priority);
            }
            next = match self.threads[holder].state {
                State::Object(object) => Some(object),
                _ => None,
            };
        }
    }

    /// Gives the object up and waits until the request ends that retains what is needed of it. That request
    /// inherits the priority.
    fn park(&mut self, thread: usize, server: usize, binding: BindingId) {
        self.scheduler.unready(&mut self.threads, thread);
        self.threads[thread].state = State::Object(server);
        self.domains[server].parked.push(&mut self.threads, thread);
        let priority = self.threads[thread].priority;
        if let Some(holder) = self.ssr.holder(binding).map(ssr_manager::RequestId::index)
            && self.threads[holder].priority < priority
        {
            self.scheduler.set_priority(&mut self.threads, holder, priority);
        }
        self.domains[server].hot.lock = UNUSUAL;
        self.release(server);
    }

    /// Ends the hold on an object: the waiter of highest priority has it next.
    pub fn release(&mut self, server: usize) {
        if let Some(owner) = self.owner(server) {
            self.domains[server].hot.lock = UNUSUAL;
            self.restore_priority(owner);
        }
        let domain = &self.domains[server];
        if domain.state == ObjectState::Running
            && domain.granted.is_none()
            && let Some((_, waiter)) = domain.waiters.highest(&self.threads)
        {
            self.grant(waiter, server);
            self.wake(waiter, server);
        }
        self.relock(server);
    }

    /// Takes a waiter out of an object's queue and makes it ready.
    pub fn wake(&mut self, waiter: usize, server: usize) {
        let domain = &mut self.domains[server];
        if !domain.waiters.remove(&mut self.threads, waiter) {
            domain.parked.remove(&mut self.threads, waiter);
        }
        self.scheduler.ready(&mut self.threads, waiter);
    }

    /// Sets the lock word of an object that nobody is in.
    pub fn relock(&mut self, server: usize) {
        let domain = &self.domains[server];
        let usual = domain.state == ObjectState::Running
            && domain.waiters.is_empty()
            && domain.granted.is_none()
            && domain.sabotage == 0;
        if domain.hot.lock & !UNUSUAL == 0 {
            self.domains[server].hot.lock = if usual { 0 } else { UNUSUAL };
        } else {
            self.domains[server].hot.lock |= UNUSUAL;
        }
    }

    /// Priority of a thread: its own, or that of the highest waiter for an object that it holds.
    pub fn restore_priority(&mut self, thread: usize) {
        let mut priority = self.threads[thread].base_priority;
        for depth in 1..=self.threads[thread].depth {
            let object = self.domain_at(self.threads[thread].frame(depth).domain);
            if let Some((waiting, _)) = self.domains[object].waiters.highest(&self.threads) {
                priority = priority.max(waiting);
            }
        }
        self.scheduler.set_priority(&mut self.threads, thread, priority);
    }

    /// Enters an object that the thread has acquired, for a hook or a method. Arguments of a method follow.
    pub fn activate(&mut self, thread: usize, server: usize, binding: Option<BindingId>, kind: Kind) {
        let (contextidr, ttbr0) = match binding {
            Some(binding) => self.session_view(server, binding),
            None => self.own_view(server),
        };
        let (address, session) =
            binding.map_or((0, 0), |binding| (self.binding_address(binding), binding.index() as u32));
        let (entry, domain) = (self.entry_of(server), self.address_of(server));
        let mark = self.ssr.nested_finishes(request_id(thread));
        let state = &mut self.threads[thread];
        state.depth += 1;
        state.set_pending(Pending::None);
        let rest = state.rest(state.depth);
        let frame = state.top_mut();
        frame.registers = FRESH;
        (frame.registers[0], frame.registers[7]) = (session, kind.hook());
        (frame.pc, frame.budget) = match kind {
            Kind::Fast | Kind::Method => (entry.entry_call, entry.budget),
            _ => (entry.entry_hook, entry.hook_budget),
        };
        (frame.cpsr, frame.domain, frame.binding) = (USER_MODE, domain, address);
        (frame.contextidr, frame.ttbr0) = (contextidr, ttbr0);
        (frame.kind, frame.mark) = (kind, mark);
        (frame.lent_read, frame.lent_write) = (Lent::default(), Lent::default());
        self.domains[server].hot.lock = rest | UNUSUAL;
    }

    /// `KernelCall::Return`: the activation of a thread ends well, as far as its server can tell.
    pub fn on_return(&mut self, thread: usize, flush: bool) {
        let depth = self.threads[thread].depth;
        if depth == 0 {
            return self.answer(thread, Err(Error::NoSuchCall), 0);
        }
        let server = self.domain_of(thread);
        if self.ssr.finish(server_id(server), &mut self.machine).is_err() {
            let pc = self.threads[thread].top().pc;
            return self.fail(thread, FailureKind::SsrDamaged, pc, 0);
        }
        let frame = self.threads[thread].top();
        let (kind, address, [status, r1, r2, r3, r4, ..]) = (frame.kind, frame.binding, frame.registers);
        let binding = self.binding_at(address);
        self.threads[thread].depth = depth - 1;
        match (kind, binding) {
            (Kind::Fast | Kind::Method, Some(binding)) => {
                self.threads[thread].top_mut().registers[..5].copy_from_slice(&[status, r1, r2, r3, r4]);
                if flush {
                    self.ssr.set_flush(binding, true);
                }
                if depth == 1 {
                    self.ssr.commit_request(request_id(thread), &mut self.machine);
                    self.threads[thread].frame_mut(1).attempts = 0;
                }
                if depth == 1 && self.ssr.wants_flush(binding) {
                    // The object is kept: nobody comes between the commit and the flush.
                    self.threads[thread].set_pending(Pending::Flush(self.ssr.handle(binding)));
                    self.domains[server].hot.lock = UNUSUAL;
                    self.grant(thread, server);
                } else {
                    self.threads[thread].set_pending(Pending::None);
                    self.end_activation(thread, server);
                }
            }
            (Kind::Flush, Some(binding)) => {
                self.ssr.set_flush(binding, false);
                self.threads[thread].frame_mut(depth).attempts = 0;
                if status != 0 {
                    self.threads[thread].top_mut().registers[0] = status;
                }
                if self.threads[thread].pending() != Pending::Commit {
                    self.threads[thread].set_pending(Pending::None);
                }
                self.end_activation(thread, server);
            }
            (Kind::Reload, Some(binding)) => {
                if status == 0 {
                    self.ssr.reloaded(binding);
                } else {
                    self.lose_session(server, binding);
                }
                if thread == server {
                    return self.object_went_on(thread);
                }
                // The lock is kept: the step is taken again with the session reloaded.
                self.grant(thread, server);
                self.domains[server].hot.lock = UNUSUAL;
            }
            (Kind::Open, Some(binding)) => {
                self.threads[thread].set_pending(Pending::None);
                self.finish_open(thread, binding, status);
                self.end_activation(thread, server);
            }
            (Kind::Close, Some(binding)) => {
                self.ssr.revoke(binding, &mut self.machine);
                if thread != server {
                    self.answer(thread, Ok(()), 0);
                }
                self.end_activation(thread, server);
            }
            _ => self.object_went_on(thread),
        }
    }

    /// Gives the object up; at the outer end of the request, commits it.
    pub fn end_activation(&mut self, thread: usize, server: usize) {
        self.release(server);
        self.end_request(thread);
    }

    /// At the outer end of a request, commits it.
    pub fn end_request(&mut self, thread: usize) {
        if self.threads[thread].depth == 0 && self.threads[thread].pending() == Pending::None {
            let request = request_id(thread);
            if self.ssr.retained(request, None).is_some() {
                self.ssr.commit_request(request, &mut self.machine);
                self.threads[thread].set_pending(Pending::Commit);
            }
        }
    }

    fn finish_open(&mut self, thread: usize, binding: BindingId, status: u32) {
        if status != 0 {
            self.ssr.revoke(binding, &mut self.machine);
            self.threads[thread].top_mut().registers[0] = status;
            return;
        }
        self.ssr.opened(binding, &mut self.machine);
        let handle = self.ssr.handle(binding);
        self.answer_handle(thread, handle);
    }

    fn answer_handle(&mut self, thread: usize, handle: Handle) {
        let registers = &mut self.threads[thread].top_mut().registers;
        (registers[0], registers[1], registers[2]) = (0, handle.index, handle.generation);
    }

    /// `KernelCall::Bind`: makes a session and runs the server's `open` hook.
    pub fn on_bind(&mut self, thread: usize, name: [u8; 16]) {
        if let Err((error, extra)) = self.try_bind(thread, name) {
            self.answer(thread, Err(error), extra);
        }
    }

    fn try_bind(&mut self, thread: usize, name: [u8; 16]) -> Result<(), (Error, u32)> {
        let client = self.domain_of(thread);
        let entry = self.entry_of(client);
        let server = self.find_object(&name).ok_or((Error::NotFound, 0))?;
        if entry.callees >> server & 1 == 0 {
            return Err((Error::NotPermitted, server as u32));
        }
        let nested = self.domains[client].role == Role::Object;
        let number = self.client_of(client);
        if nested && let Some(handle) = self.existing_session(number, server) {
            // An object has one session with each of its servers: rebuilt, it finds the old one again.
            self.answer_handle(thread, handle);
            return Ok(());
        }
        if nested {
            self.forget_lost_session(number, server);
        }
        if let Some(until) = self.domains[client].blamed_until[server] {
            if (self.tick.wrapping_sub(until) as i32) < 0 {
                return Err((Error::Blamed, 0));
            }
            self.domains[client].blamed_until[server] = None;
        }
        if self.ssr.bindings_of(number) >= entry.quota_bindings as usize {
            return Err((Error::Exhausted, Pool::ClientBindings as u32));
        }
        let (owner, object) = (self.address_of(client), self.address_of(server));
        let binding = self
            .ssr
            .bind(server_id(server), number, owner, object, nested, &mut self.machine)
            .map_err(|pool| (Error::Exhausted, pool as u32))?;
        if let Err(pool) = self.machine.binding_view(server, binding.index()) {
            self.ssr.revoke(binding, &mut self.machine);
            return Err((Error::Exhausted, pool as u32));
        }
        let depth = self.threads[thread].depth;
        if depth + 1 < MAX_DEPTH {
            self.threads[thread].frame_mut(depth + 1).attempts = 0;
        }
        self.threads[thread].set_pending(Pending::Open(self.ssr.handle(binding)));
        Ok(())
    }

    fn existing_session(&self, client: u32, server: usize) -> Option<Handle> {
        let mut next = self.ssr.sessions_of(client, None);
        while let Some(binding) = next {
            if self.server_of(binding) == server && self.ssr.binding(binding).state() == Session::Active {
                return Some(self.ssr.handle(binding));
            }
            next = self.ssr.sessions_of(client, Some(binding));
        }
        None
    }

    /// An object that binds again has no use for the session that it lost.
    fn forget_lost_session(&mut self, client: u32, server: usize) {
        let mut next = self.ssr.sessions_of(client, None);
        while let Some(binding) = next {
            next = self.ssr.sessions_of(client, Some(binding));
            if self.server_of(binding) == server && self.ssr.binding(binding).state() == Session::Lost {
                self.ssr.revoke(binding, &mut self.machine);
            }
        }
    }

    /// `KernelCall::Unbind`.
    pub fn on_unbind(&mut self, thread: usize, handle: Handle) {
        let client = self.client_of(self.domain_of(thread));
        match self.ssr.find(handle, client) {
            Err(error) => self.answer(thread, Err(error), 0),
            Ok(binding) if self.ssr.binding(binding).state() == Session::Lost => {
                self.ssr.revoke(binding, &mut self.machine);
                self.answer(thread, Ok(()), 0);
            }
            Ok(binding) => {
                self.ssr.closing(binding);
                let depth = self.threads[thread].depth;
                if depth + 1 < MAX_DEPTH {
                    self.threads[thread].frame_mut(depth + 1).attempts = 0;
                }
                self.threads[thread].set_pending(Pending::Close(handle));
            }
        }
    }

    /// The object with this name.
    pub fn find_object(&self, name: &[u8; 16]) -> Option<usize> {
        (0..OBJECTS).find(|object| self.domains[*object].role == Role::Object && &self.entry_of(*object).name == name)
    }
}
