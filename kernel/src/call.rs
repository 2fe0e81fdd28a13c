//! Protected method calls: the wrapper of CuriOS (section 3.2), where the fast path leaves it.
//!
//! A call is a state of the calling thread: its arguments stand in the saved registers of its context until the
//! call commits, so waiting for the object, reloading the session, entering the method and retrying after a
//! recovery are all the same step, taken from the start.

use abi::call::{Hook, LEND_READ, LEND_WRITE, METHOD_MASK, METHOD_SHIFT};
use abi::{Error, FailureKind, Handle};
use ssr_manager::{Begin, BeginError, BindingId, RequestId, State as Session};

use crate::domain::UNUSUAL;
use crate::kernel::{Kernel, request_id, server_id};
use crate::thread::{FRESH, Kind, Lent, Pending, USER_MODE};

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
            Ok(Step::Going) => return,
            Ok(Step::Done(extra)) => self.answer(thread, Ok(()), extra),
            Err(error) => self.answer(thread, Err(error), 0),
        }
        self.forgo(thread);
        self.end_request(thread);
    }

    /// Ends a kernel call: status in r0, r1.
    pub fn answer(&mut self, thread: usize, status: Result<(), Error>, extra: u32) {
        self.threads[thread].set_pending(Pending::None);
        self.threads[thread].answer(status);
        self.threads[thread].top_mut().registers[1] = extra;
    }

    /// `KernelCall::Call`, from its first step: no failure counted yet.
    pub fn start_call(&mut self, thread: usize) {
        self.threads[thread].begin(Pending::Call);
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
        match self.ssr.binding(binding).state {
            Session::Active => {}
            Session::Lost => return Err(Error::SessionLost),
            _ => return Err(Error::StaleHandle),
        }
        let (read, write) = lent_by(&registers);
        self.check_lent(thread, read, write)?;
        if !self.acquire(thread, server)? {
            return Ok(Step::Going);
        }
        if self.hopeless(thread, server) {
            self.release(server);
            return Err(self.end_hopeless(thread, server, binding));
        }
        if self.enter_session(thread, server, binding, Some(request_id(thread)), Kind::Method)? == Some(Kind::Method) {
            let sabotage = core::mem::take(&mut self.domains[server].sabotage);
            let entry = self.entry_of(server);
            let frame = self.threads[thread].top_mut();
            frame.registers[..6].copy_from_slice(&registers[..6]);
            frame.registers[7] = method << METHOD_SHIFT;
            if sabotage != 0 {
                frame.registers[6] = sabotage;
                frame.registers[7] |= Hook::Sabotaged as u32;
                frame.pc = entry.entry_hook;
            }
            (frame.lent_read, frame.lent_write) = (read, write);
        }
        Ok(Step::Going)
    }

    /// Enters an object that the thread has acquired, in a session: for this, or for the reload that is due before. `None`:
    /// another request retains the session, and the thread waits for its end.
    ///
    /// # Errors
    /// The session is lost, or to wait would be a deadlock. The object is given up.
    pub fn enter_session(
        &mut self,
        thread: usize,
        server: usize,
        binding: BindingId,
        request: Option<RequestId>,
        kind: Kind,
    ) -> Result<Option<Kind>, Error> {
        let kind = match self.ssr.begin(binding, request, &mut self.machine) {
            Ok(Begin::Ready) => kind,
            Ok(Begin::NeedsReload) => Kind::Reload,
            Err(BeginError::Lost) => {
                self.release(server);
                return Err(Error::SessionLost);
            }
            Err(BeginError::Busy) => {
                let holder = self.ssr.holder(binding);
                // Given up, whatever comes now: those in its queue do not wait for this thread.
                self.domains[server].hot.lock = UNUSUAL;
                if self.would_deadlock(thread, holder.map(RequestId::index)) {
                    self.release(server);
                    return Err(Error::Reentry);
                }
                self.park(thread, server, holder);
                return Ok(None);
            }
        };
        self.activate(thread, server, Some(binding), kind);
        Ok(Some(kind))
    }

    /// `flush` again, after a failure of it: the call's results stand in the caller's registers.
    fn try_flush(&mut self, thread: usize, handle: Handle) -> Result<Step, Error> {
        if !self.run_flush(thread, BindingId::new(handle.index as u16)) {
            self.threads[thread].set_pending(Pending::None);
            self.end_request(thread);
        }
        Ok(Step::Going)
    }

    /// Enters or waits for the `flush` that a session asked for; `false` if there is none to run. An error is the call's.
    fn run_flush(&mut self, thread: usize, binding: BindingId) -> bool {
        if !self.ssr.wants_flush(binding) {
            return false;
        }
        let server = self.server_of(binding);
        match self.acquire(thread, server) {
            Ok(false) => return true,
            Ok(true) => {
                if self.enter_session(thread, server, binding, Some(request_id(thread)), Kind::Flush).is_ok() {
                    return true;
                }
            }
            Err(error) => self.threads[thread].answer(Err(error)),
        }
        self.ssr.set_flush(binding, false);
        false
    }

    /// Runs the flushes of what the request wrote, one a step, then releases it.
    fn try_commit(&mut self, thread: usize) -> Result<Step, Error> {
        let request = request_id(thread);
        let mut next = self.ssr.retained(request, None);
        while let Some(binding) = next {
            if self.ssr.binding(binding).state == Session::Active && self.run_flush(thread, binding) {
                return Ok(Step::Going);
            }
            next = self.ssr.retained(request, Some(binding));
        }
        self.end_retained(thread, false);
        self.threads[thread].set_pending(Pending::None);
        self.forgo(thread);
        // Those of the flushes.
        self.deliver_notes(thread);
        Ok(Step::Going)
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

    /// Enters an object that the thread has acquired, for a hook or a method. Arguments of a method follow.
    pub fn activate(&mut self, thread: usize, server: usize, binding: Option<BindingId>, kind: Kind) {
        let (contextidr, ttbr0) = self.view_of(server, binding);
        let (address, session, client) = binding.map_or((0, 0, 0), |binding| {
            let client = self.ssr.binding(binding).client & 0xff;
            (self.binding_address(binding), binding.index() as u32, client)
        });
        let (entry, domain) = (self.entry_of(server), self.address_of(server));
        let mark = self.ssr.nested_finishes(request_id(thread));
        let state = &mut self.threads[thread];
        state.depth += 1;
        state.set_pending(Pending::None);
        let rest = state.rest(state.depth);
        let frame = state.top_mut();
        frame.registers = FRESH;
        (frame.registers[0], frame.registers[1], frame.registers[7]) = (session, client, kind.hook());
        (frame.pc, frame.budget) = match kind {
            Kind::Fast | Kind::Method => (entry.entry_call, entry.budget),
            _ => (entry.entry_hook, entry.hook_budget),
        };
        (frame.cpsr, frame.domain, frame.binding) = (USER_MODE, domain, address);
        (frame.contextidr, frame.ttbr0) = (contextidr, ttbr0);
        (frame.kind, frame.mark, frame.calls) = (kind, mark, 0);
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
        let frame = self.threads[thread].top();
        let (pc, status) = (frame.pc, frame.registers[0]);
        if frame.kind == Kind::Event && status != 0 {
            return self.fail(thread, FailureKind::SelfTest, pc, status);
        }
        if matches!(frame.kind, Kind::Open | Kind::Reload | Kind::Flush) && status != 0 && !self.believes_error(thread)
        {
            return;
        }
        if self.ssr.finish(server_id(server), &mut self.machine).is_err() {
            return self.fail(thread, FailureKind::SsrDamaged, pc, 0);
        }
        let frame = self.threads[thread].top();
        let (kind, address, [status, r1, r2, r3, r4, ..]) = (frame.kind, frame.binding, frame.registers);
        let binding = self.binding_at(address);
        self.threads[thread].depth = depth - 1;
        if thread == server {
            self.domains[server].hook_failed.take_if(|(failed, under, _)| (*failed, *under) == (kind, binding));
        }
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
            (Kind::Event | Kind::Step, _) => {
                self.event_step_done(server, r1);
                self.end_activation(thread, server);
            }
            (Kind::Decide, _) => self.decided(server, r1, r2),
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
            self.deliver_notes(thread);
            let request = request_id(thread);
            if self.ssr.retained(request, None).is_some() {
                self.ssr.commit_request(request, &mut self.machine);
                self.threads[thread].set_pending(Pending::Commit);
            }
        }
    }
}
