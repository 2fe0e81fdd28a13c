//! Failure and blame (design: what counts as failure; Akeso's recovery domains).
//!
//! A failed activation is discarded and its SSR rolled back at once; its object then rebuilds itself ([`crate::recover`])
//! while its callers wait. The failed call is a waiter like the others: when the object runs again, it is tried again
//! from its saved arguments. Who made it fail is remembered.

use abi::call::{METHOD_MASK, METHOD_SHIFT};
use abi::image::{Flags, Recovery};
use abi::info::{FailureInfo, Trace};
use abi::layout::{self, PAGE};
use abi::{Error, FailureKind};
use ssr_manager::{BindingId, Fault as Write, RegionKind, State as Session};

use crate::arch::cpu::{self, Fault};
use crate::domain::{OBJECTS, UNUSUAL, Work};
use crate::kernel::{FAILURES, Kernel, request_id, server_id};
use crate::recover::MAX_ATTEMPTS;
use crate::ssr::Ssr;
use crate::thread::{Frame, Kind, MAX_DEPTH, Pending};

/// Sessions for which a tick is enough to reload them all, without much of the processor's time.
const SESSIONS_A_TICK: u32 = 16;
/// How far below its guard page a stack overflow may strike and still be called one, in bytes.
const OVERFLOW_REACH: u32 = 0x8000;

impl Kernel {
    /// A data or prefetch abort in user mode: a page to open, a view to renew, or a failure.
    pub fn on_abort(&mut self, thread: usize, fault: Fault, data: bool) {
        if self.threads[thread].top().contextidr == 0 {
            return;
        }
        let pc = self.threads[thread].top().pc;
        if data && fault.write && fault.status == cpu::PERMISSION && self.threads[thread].depth > 0 {
            match self.open_page(thread, self.threads[thread].depth, fault.address) {
                Ok(true) => return,
                Ok(false) => {}
                Err(kind) => return self.fail(thread, kind, pc, fault.address),
            }
        }
        let stack = layout::STACK_TOP - self.entry_of(self.domain_of(thread)).stack;
        let kind = match (data, fault.status) {
            (_, cpu::DEBUG) => FailureKind::Debug,
            (true, cpu::ALIGNMENT) => FailureKind::Alignment,
            (true, _) if fault.address < stack && stack - fault.address <= OVERFLOW_REACH => FailureKind::StackOverflow,
            (true, _) => FailureKind::DataAbort,
            (false, _) => FailureKind::PrefetchAbort,
        };
        self.fault(thread, kind, fault.address);
    }

    /// Opens a page of an undoable region of the activation at `depth` for writing. `false`: it is none.
    ///
    /// # Errors
    /// The failure that the write is.
    pub fn open_page(&mut self, thread: usize, depth: usize, address: u32) -> Result<bool, FailureKind> {
        let (kind, base) = match address {
            layout::COMMON_BASE..layout::COMMON_END => (RegionKind::Common, layout::COMMON_BASE),
            layout::SSR_BASE..layout::MMIO_BASE => (RegionKind::Ssr, layout::SSR_BASE),
            _ => return Ok(false),
        };
        let server = self.domain_at(self.threads[thread].frame(depth).domain);
        if server >= OBJECTS {
            return Ok(false);
        }
        if kind == RegionKind::Ssr && self.read_only(thread, depth, server) {
            return Ok(false);
        }
        let page = ((address - base) / PAGE) as usize;
        self.domains[server].hot.lock |= UNUSUAL;
        match self.ssr.write_fault(server_id(server), kind, page, &mut self.machine) {
            Ok(Write::Opened | Write::Spurious) => Ok(true),
            Ok(Write::NotOurs) => Ok(false),
            Ok(Write::Damaged) => Err(FailureKind::SsrDamaged),
            Err(_) => Err(FailureKind::UndoExhausted),
        }
    }

    /// Whether the activation at `depth` is a method that is declared read-only.
    fn read_only(&self, thread: usize, depth: usize, server: usize) -> bool {
        let method = self.threads[thread].frame(depth - 1).registers[7] >> METHOD_SHIFT & METHOD_MASK;
        let called = matches!(self.threads[thread].frame(depth).kind, Kind::Fast | Kind::Method);
        called && method < 64 && self.entry_of(server).read_only >> method & 1 == 1
    }

    /// Something that a context must not do: an activation fails, a program ends.
    pub fn fault(&mut self, thread: usize, kind: FailureKind, address: u32) {
        let pc = self.threads[thread].top().pc;
        if self.threads[thread].depth > 0 {
            return self.fail(thread, kind, pc, address);
        }
        let name = self.name_of(thread);
        log::warn!("[kernel] program {name} ended: {} at {pc:#x}, address {address:#x}", kind.name());
        self.end_process(thread, 128 + kind as u32);
    }

    /// The running activation of a thread failed.
    pub fn fail(&mut self, thread: usize, kind: FailureKind, pc: u32, address: u32) {
        let (server, called_through) = (self.domain_of(thread), self.threads[thread].top().binding);
        let binding = self.binding_at(called_through);
        self.record(thread, server, binding, kind, pc, address);
        self.domains[server].info.failures += 1;
        self.discard(thread, pc);
    }

    fn doubts(&self, server: usize) -> bool {
        let flags = Flags::from_bits_truncate(self.entry_of(server).flags);
        flags.contains(Flags::DOUBT_ERRORS) && self.recovery == Recovery::Rollback
    }

    /// A method, or a hook of a session, returns an error. Whether that is believed; if not, the method runs once more, in an object that is
    /// rebuilt from verified text, and what it returns then is believed. Not more often than its sessions can bear.
    pub fn believes_error(&mut self, thread: usize) -> bool {
        let server = self.domain_of(thread);
        let (frame, info) = (self.threads[thread].top(), &self.domains[server].info);
        let doubts = self.doubts(server)
            && match (frame.kind, frame.attempts) {
                (Kind::Method | Kind::Open, 0) => {
                    self.tick.wrapping_sub(self.domains[server].doubted) >= info.clients / SESSIONS_A_TICK
                }
                // Not after an error that was doubted, but after a failure.
                (Kind::Method | Kind::Open | Kind::Reload | Kind::Flush, attempts) => {
                    attempts == 0 || attempts == 1 && frame.failed_at != 0
                }
                _ => false,
            };
        if doubts {
            (self.domains[server].suspect, self.domains[server].doubted) = (true, self.tick);
            self.domains[server].info.doubts += 1;
            self.trace(Trace::Doubt, server, frame.registers[0]);
            self.discard(thread, 0);
        }
        !doubts
    }

    /// The running activation of a thread ends without effect, and its object is rebuilt.
    #[inline(always)]
    fn discard(&mut self, thread: usize, pc: u32) {
        let depth = self.threads[thread].depth;
        let frame = self.threads[thread].top();
        let (entered_for, mark, called_through) = (frame.kind, frame.mark, frame.binding);
        let server = self.domain_of(thread);
        let binding = self.binding_at(called_through);
        if self.recovery == Recovery::Rollback && depth > 1 && self.ssr.nested_finishes(request_id(thread)) != mark {
            return self.fail_request(thread, server, pc);
        }
        // What a flush has put out is not undone: neither is what it has noted of that.
        if self.recovery == Recovery::Rollback && entered_for != Kind::Flush {
            self.ssr.rollback(server_id(server), &mut self.machine);
            if depth == 1 && !self.threads[thread].committed() {
                self.end_retained(thread, true);
            }
        } else {
            self.leave(server, binding);
        }
        self.threads[thread].depth = depth - 1;
        let attempts = self.count_failure(thread, depth, server, pc);
        self.start_recovery(server, thread);
        if self.recovery == Recovery::None {
            return self.stop(server, "given up at its first failure");
        }
        if thread == server && depth == 1 {
            return self.object_failed(thread, entered_for, binding);
        }
        match (entered_for, binding) {
            (Kind::Reload, Some(binding)) if attempts >= MAX_ATTEMPTS => self.lose_session(server, binding),
            (Kind::Flush, Some(binding)) if attempts >= MAX_ATTEMPTS => self.give_up_flush(thread, server, binding),
            _ => {
                self.domains[server].info.retried += 1;
                self.wait(thread, server);
            }
        }
    }

    /// Ends a failed activation of an image without rollback, or a failed flush: what it did stays.
    #[cold]
    fn leave(&mut self, server: usize, binding: Option<BindingId>) {
        if self.ssr.finish(server_id(server), &mut self.machine).is_err() {
            self.ssr.rollback(server_id(server), &mut self.machine);
            if let Some(binding) = binding.filter(|_| !matches!(self.recovery, Recovery::None | Recovery::Rollback)) {
                self.lose_session(server, binding);
            }
        }
    }

    /// Counts a failure of an object against what was entered at this depth. Returns how many there were.
    fn count_failure(&mut self, thread: usize, depth: usize, failed: usize, pc: u32) -> u32 {
        let frame = self.threads[thread].frame_mut(depth);
        // In a blind restart, the failed request is lost.
        frame.attempts += if self.recovery == Recovery::Blind { MAX_ATTEMPTS } else { 1 };
        let again = frame.attempts > 1 && frame.failed_at == pc;
        (frame.stuck, frame.failed_at) = (again.then_some(failed as u8), pc);
        // Hooks have one more try only: not on damaged text. For those of a kernel thread see `object_failed`.
        self.domains[failed].suspect |= frame.attempts > 1 || matches!(frame.kind, Kind::Open | Kind::Reload);
        frame.attempts
    }

    /// An activation failed after calls of its own had taken effect: the request as a whole is undone and tried
    /// again from its outer end. The objects in between did nothing wrong, but lost their activations: they
    /// are rebuilt, too, without a failure being charged to them.
    #[cold]
    fn fail_request(&mut self, thread: usize, failed: usize, pc: u32) {
        let attempts = self.count_failure(thread, 1, failed, pc);
        for depth in (1..=self.threads[thread].depth).rev() {
            let server = self.domain_at(self.threads[thread].frame(depth).domain);
            self.ssr.rollback(server_id(server), &mut self.machine);
            self.threads[thread].depth = depth - 1;
            self.abandon(thread);
            self.start_recovery(server, thread);
        }
        if !self.threads[thread].committed() {
            self.end_retained(thread, true);
        }
        self.domains[failed].info.retried += 1;
        let Frame { kind, binding, .. } = *self.threads[thread].frame(1);
        match (kind, self.binding_at(binding)) {
            (kind, binding) if thread < OBJECTS => self.object_failed(thread, kind, binding),
            (Kind::Flush, Some(binding)) if attempts >= MAX_ATTEMPTS => self.give_up_flush(thread, failed, binding),
            _ => {}
        }
    }

    /// What a context that is unwound was about to open or close is nobody's any more.
    fn abandon(&mut self, thread: usize) {
        if self.threads[thread].depth == 0 {
            return;
        }
        match self.threads[thread].pending() {
            Pending::Open(handle) => {
                self.ssr.revoke(BindingId::new(handle.index as u16), &mut self.machine);
            }
            Pending::Close(handle) => {
                let binding = BindingId::new(handle.index as u16);
                self.close_later(self.server_of(binding), binding);
            }
            _ => {}
        }
    }

    /// A flush that keeps failing: what it should have put out is lost, and the client is told.
    #[cold]
    fn give_up_flush(&mut self, thread: usize, server: usize, binding: BindingId) {
        self.ssr.set_flush(binding, false);
        self.threads[thread].answer(Err(Error::ServerFault));
        self.domains[server].info.failed_requests += 1;
    }

    /// Ends what inner calls of a request retained, and lets those run who waited for it. Objects whose sessions are undone
    /// are reloaded, not restarted.
    pub fn end_retained(&mut self, thread: usize, undo: bool) {
        let end = if undo { Ssr::undo_next } else { Ssr::release_next };
        while let Some(server) = end(&mut self.ssr, request_id(thread), &mut self.machine) {
            self.unpark(server.index());
            if self.domains[server.index()].unloaded {
                self.rouse(server.index());
            }
        }
    }

    /// Whether the call that a thread is about to try again has no more tries: the third one failed, or the second one like the
    /// first, although text and constants of what failed are as they should be.
    pub fn hopeless(&self, thread: usize, server: usize) -> bool {
        // An error that was doubted is no failure.
        let most = MAX_ATTEMPTS + u32::from(self.doubts(server));
        let frame = self.threads[thread].frame(self.threads[thread].depth + 1);
        let sound = |failed: u8| {
            let domain = &self.domains[usize::from(failed)];
            // A nested one may be at it still.
            !domain.was_damaged && !matches!(domain.work, Work::Verify(_))
        };
        frame.attempts >= most || frame.attempts > 1 && frame.stuck.is_some_and(sound)
    }

    /// Ends a request that keeps failing, and charges it to its session.
    #[cold]
    pub fn end_hopeless(&mut self, thread: usize, server: usize, binding: BindingId) -> Error {
        self.domains[server].info.failed_requests += 1;
        let client = self.domain_of(thread);
        if !self.ssr.binding(binding).nested && self.charge(client, server) {
            self.close_later(server, binding);
            self.report(server, "revokes a session whose requests kept failing");
            return Error::Blamed;
        }
        Error::ServerFault
    }

    /// Charges a failed request to a process, whichever session it was under. Whether that was one too many: then
    /// the process may not bind to the object before its back-off ends.
    pub fn charge(&mut self, client: usize, server: usize) -> bool {
        let entry = self.entry_of(server);
        let charges = self.domains[client].charges[server].saturating_add(1);
        let over = entry.blame_limit > 0 && u32::from(charges) >= entry.blame_limit;
        self.domains[client].charges[server] = if over { 0 } else { charges };
        if over {
            self.domains[client].blamed_until[server] = Some(self.tick.wrapping_add(entry.blame_backoff));
        }
        over
    }

    /// The same for a session whose hooks or steps keep failing.
    pub fn charge_session(&mut self, server: usize, binding: BindingId) {
        if !self.ssr.binding(binding).nested {
            self.charge((self.ssr.binding(binding).client & 0xff) as usize, server);
        }
    }

    /// A session ends without its client: the object's kernel thread runs `close`.
    pub fn close_later(&mut self, server: usize, binding: BindingId) {
        if !matches!(self.ssr.binding(binding).state, Session::Active | Session::Closing) {
            self.ssr.revoke(binding, &mut self.machine);
            return;
        }
        self.ssr.closing(binding);
        self.domains[server].closings = true;
        self.rouse(server);
    }

    /// The state of a session cannot be kept.
    #[cold]
    pub fn lose_session(&mut self, server: usize, binding: BindingId) {
        self.forget_session(server, binding);
        self.report(server, "gives up a session whose state cannot be reloaded");
    }

    /// The state of a session is gone.
    pub fn forget_session(&mut self, server: usize, binding: BindingId) {
        // Who waits for its notification shall ask again, and be told.
        self.notify(binding);
        if self.ssr.binding(binding).state == Session::Closing {
            // Its client is gone: nobody would unbind it.
            self.ssr.revoke(binding, &mut self.machine);
        } else {
            self.ssr.lose(binding);
        }
        self.domains[server].info.lost_sessions += 1;
    }

    /// Remembers a failure.
    fn record(
        &mut self,
        thread: usize,
        server: usize,
        binding: Option<BindingId>,
        kind: FailureKind,
        pc: u32,
        address: u32,
    ) {
        let frame = self.threads[thread].top();
        let method = match frame.kind {
            Kind::Fast | Kind::Method if thread != server => {
                let depth = self.threads[thread].depth.clamp(1, MAX_DEPTH - 1);
                self.threads[thread].frame(depth - 1).registers[7] >> METHOD_SHIFT & METHOD_MASK
            }
            kind => 0x8000_0000 | kind.hook(),
        };
        let mut chain = [0xff; 8];
        for (place, depth) in chain.iter_mut().zip(0..=self.threads[thread].depth) {
            *place = self.domain_at(self.threads[thread].frame(depth).domain) as u8;
        }
        let slot = self.failure_count as usize % FAILURES;
        self.failure_count += 1;
        self.failures[slot] = FailureInfo {
            object: self.entry_of(server).name,
            number: self.failure_count,
            kind: kind as u32,
            pc,
            address,
            method,
            session: binding.map_or(u32::MAX, |binding| binding.index() as u32),
            process: self.process_number(thread),
            tick: self.tick,
            registers: self.threads[thread].top().registers,
            cpsr: self.threads[thread].top().cpsr,
            chain,
        };
        self.trace(Trace::Failure, server, kind as u32);
        self.tell_supervisor();
    }
}
