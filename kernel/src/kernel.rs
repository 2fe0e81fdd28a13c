//! The kernel's state, its entry, and the way back to a thread.

use abi::image::{Entry as ImageEntry, Recovery};
use abi::info::{FailureInfo, Trace, TraceInfo};

use crate::arch::cpu;
use crate::arch::entry::Entry;
use crate::arch::mmu;
use crate::board;
use crate::call::lent_by;
use crate::copy::is_copy;
use crate::domain::{DOMAINS, Domain, OBJECTS, Role};
use crate::machine::Machine;
use crate::ssr::{MAX_BINDINGS, Ssr};
use crate::thread::{Frame, Kind, Pending, Scheduler, State, Thread};
use ssr_manager::{BindingId, RequestId, ServerId, Verified};

/// Calls of other objects that count as a tick of the caller's budget: what fits into a millisecond of a slow board.
const CALLS_A_TICK: u32 = 1000;
/// Failures that the kernel remembers.
pub const FAILURES: usize = 32;
/// Events that the kernel remembers.
pub const TRACES: usize = 256;

abi::initial! {
    /// Everything that changes. Small fields come first, where they are within reach of a load's immediate offset.
    #[repr(C)]
    pub struct Kernel {
        /// Who is ready.
        pub scheduler: Scheduler = Scheduler::new(),
        /// The thread in user mode, or last there.
        pub current: usize = 0,
        /// Milliseconds since boot.
        pub tick: u32 = 0,
        /// Failures since boot.
        pub failure_count: u32 = 0,
        /// Events in the trace since boot.
        pub trace_count: u32 = 0,
        /// Bit i: object i owns interrupts.
        pub drivers: u64 = 0,
        /// Bit n: the next tick looks at domain and thread n: a limit, a deadline or interrupts.
        pub timed: u128 = 0,
        /// What is done about objects that fail.
        pub recovery: Recovery = Recovery::Rollback,
        /// The object that decides which process runs.
        pub policy: Option<usize> = None,
        /// The object that is told of failures.
        pub supervisor: Option<usize> = None,
        /// The process that ran last, and how many ticks it had used when it was dispatched.
        pub dispatched: (usize, u32) = (0, 0),
        /// Where the idle scrub is: object, and what it verified last.
        scrubbed: (usize, Option<Verified>) = (0, None),
        /// Frames and page tables.
        pub machine: Machine = Machine::INITIAL,
        /// The latest failures, a ring.
        pub failures: [FailureInfo; FAILURES] = [FailureInfo::NONE; FAILURES],
        /// The latest events, a ring.
        pub traces: [TraceInfo; TRACES] = [TraceInfo::NONE; TRACES],
        /// Objects and processes.
        pub domains: [Domain; DOMAINS] = [const { Domain::INITIAL }; DOMAINS],
        /// Their threads.
        pub threads: [Thread; DOMAINS] = [const { Thread::INITIAL }; DOMAINS],
        /// Sessions and their regions.
        pub ssr: Ssr = Ssr::new(),
    }
}

impl Kernel {
    /// The entry of a domain in the boot image.
    pub fn entry_of(&self, domain: usize) -> &'static ImageEntry {
        self.domains[domain].entry.expect("only domains in use are asked for")
    }

    /// Address by which the fast path knows a domain.
    pub fn address_of(&self, domain: usize) -> u32 {
        &raw const self.domains[domain] as u32
    }

    /// The domain at an address that [`Kernel::address_of`] gave.
    pub fn domain_at(&self, address: u32) -> usize {
        let base = self.domains.as_ptr() as u32;
        ((address - base) as usize / size_of::<Domain>()).min(DOMAINS - 1)
    }

    /// The domain that a thread runs in.
    pub fn domain_of(&self, thread: usize) -> usize {
        self.domain_at(self.threads[thread].top().domain)
    }

    /// The binding behind an address in a frame.
    pub fn binding_at(&mut self, address: u32) -> Option<BindingId> {
        let base = self.ssr.bindings_base() as u32;
        (address != 0).then(|| BindingId::new(((address - base) / 128) as u16))
    }

    /// The address of a binding, for a frame.
    pub fn binding_address(&mut self, binding: BindingId) -> u32 {
        self.ssr.bindings_base() as u32 + binding.index() as u32 * 128
    }

    /// What the SSRManager knows a client by: the domain and how often its slot was used.
    pub fn client_of(&self, domain: usize) -> u32 {
        self.domains[domain].generation << 8 | domain as u32
    }

    /// From the entry code: why, and the frame with the saved context. Returns the frame to resume.
    pub fn enter(&mut self, entry: Entry, frame: u32) -> u32 {
        let thread = self.current;
        let depth = self.threads[thread].depth_of(frame);
        if entry == Entry::Call
            && is_copy(self.threads[thread].frame(depth).registers[7])
            && self.copy_now(thread, depth)
        {
            return frame;
        }
        if depth != self.threads[thread].depth {
            self.adopt(thread, depth);
        }
        match entry {
            Entry::Call => self.on_call(thread),
            Entry::Interrupt => self.interrupts(),
            Entry::DataAbort => self.on_abort(thread, cpu::data_fault(), true),
            Entry::PrefetchAbort => self.on_abort(thread, cpu::prefetch_fault(), false),
            Entry::Undefined => {
                let pc = self.threads[thread].top().pc;
                self.fault(thread, abi::FailureKind::Undefined, pc);
            }
        }
        self.run()
    }

    /// An activation that the fast path opened becomes one like any other.
    fn adopt(&mut self, thread: usize, depth: usize) {
        self.threads[thread].set_pending(Pending::Call);
        self.threads[thread].depth = depth;
        self.threads[thread].set_pending(Pending::None);
        let (read, write) = lent_by(&self.threads[thread].frame(depth - 1).registers);
        let frame = self.threads[thread].top_mut();
        frame.kind = Kind::Method;
        (frame.lent_read, frame.lent_write) = (read, write);
        (frame.attempts, frame.failed_at, frame.mark, frame.calls) = (0, 0, 0, 0);
        let (address, server) = (frame.binding, self.domain_of(thread));
        self.domains[server].hot.lock |= crate::domain::UNUSUAL;
        if let Some(binding) = self.binding_at(address) {
            self.ssr.adopt(binding, request_id(thread));
            self.threads[thread].top_mut().mark = self.ssr.nested_finishes(request_id(thread));
        }
    }

    /// Chooses a thread, does the kernel work that it has, and returns the frame to resume.
    pub fn run(&mut self) -> u32 {
        loop {
            let Some(thread) = self.scheduler.next() else {
                self.scrub();
                cpu::wait_for_interrupt();
                self.interrupts();
                continue;
            };
            let Some(thread) = (if thread < OBJECTS { Some(thread) } else { self.choose(thread) }) else { continue };
            self.current = thread;
            let state = &self.threads[thread];
            if !matches!(state.pending(), Pending::None) {
                self.do_pending(thread);
            } else if state.depth > 0 {
                return self.resume(thread);
            } else if thread < OBJECTS {
                self.object_step(thread);
            } else if let Some(status) = state.doomed {
                self.end_process(thread, status);
            } else {
                return self.resume(thread);
            }
            if cpu::interrupt_pending() {
                self.interrupts();
            }
        }
    }

    /// The idle scrub: one page of one service's checksummed state, every time that nothing else is to be done.
    #[cold]
    fn scrub(&mut self) {
        let object = self.scrubbed.0;
        let last = self.ssr.verify_next(server_id(object), self.scrubbed.1, &self.machine);
        self.scrubbed = (if last.is_some() { object } else { (object + 1) % OBJECTS }, last);
        if last.is_some_and(|page| !page.intact) {
            self.report(
                object,
                "state at rest was damaged: its session is lost, or its requests will fail (common region)",
            );
        }
    }

    /// Makes the context of a thread the one that runs.
    fn resume(&mut self, thread: usize) -> u32 {
        if thread >= OBJECTS && self.dispatched.0 != thread {
            self.dispatched = (thread, self.threads[thread].ticks);
        }
        let Frame { domain, binding, contextidr, .. } = *self.threads[thread].top();
        if contextidr == 0 {
            let (domain, binding) = (self.domain_at(domain), self.binding_at(binding));
            let view = self.view_of(domain, binding);
            let frame = self.threads[thread].top_mut();
            (frame.contextidr, frame.ttbr0) = view;
        }
        let frame = self.threads[thread].top();
        mmu::switch_view(frame.contextidr, frame.ttbr0);
        cpu::clear_user_thread_register();
        &raw const *frame as u32
    }

    /// ASID and table of the view in which a domain serves a session, or nobody.
    #[inline(always)]
    pub fn view_of(&mut self, domain: usize, binding: Option<BindingId>) -> (u32, u32) {
        match binding {
            Some(binding) => self.session_view(domain, binding),
            None => self.own_view(domain),
        }
    }

    /// ASID and table of a domain's own view.
    pub fn own_view(&mut self, domain: usize) -> (u32, u32) {
        if self.domains[domain].contextidr == 0 {
            self.domains[domain].contextidr = self.new_asid();
        }
        (self.domains[domain].contextidr, self.machine.views[domain])
    }

    /// ASID and table of a binding's view.
    #[inline]
    pub fn session_view(&mut self, server: usize, binding: BindingId) -> (u32, u32) {
        let known = self.ssr.binding(binding);
        match known.contextidr {
            0 => self.renew_session_view(server, binding),
            contextidr => (contextidr, known.ttbr0),
        }
    }

    /// A view for which no table can be had falls back on the server's own, without SSR: the activation fails at its
    /// first access, and is charged to the pool by the bind that follows.
    fn renew_session_view(&mut self, server: usize, binding: BindingId) -> (u32, u32) {
        let base = self.machine.views[server];
        let table = self.machine.binding_view(server, binding.index()).unwrap_or(base);
        let contextidr = if table == base { self.own_view(server).0 } else { self.new_asid() };
        self.ssr.set_view(binding, contextidr, table);
        (contextidr, table)
    }

    /// A fresh ASID. At a rollover every view loses its own, those in frames included.
    fn new_asid(&mut self) -> u32 {
        let (asid, rollover) = self.machine.next_asid();
        if rollover {
            self.trace(Trace::Rollover, 0, self.machine.rollovers);
            self.ssr.clear_views();
            for domain in &mut self.domains {
                domain.contextidr = 0;
            }
            for thread in &mut self.threads {
                for depth in 0..=thread.depth {
                    let frame = thread.frame_mut(depth);
                    (frame.contextidr, frame.ttbr0) = (0, mmu::empty_view());
                }
            }
        }
        asid
    }

    /// Handles what the interrupt controller has pending.
    fn interrupts(&mut self) {
        while let Some(interrupt) = board::acknowledge() {
            if interrupt == board::TICK_INTERRUPT {
                board::reload_tick();
                self.on_tick();
            } else {
                self.on_interrupt(interrupt);
            }
            board::end_of_interrupt(interrupt);
        }
    }

    fn on_tick(&mut self) {
        self.tick = self.tick.wrapping_add(1);
        // The account first: who wakes up at this tick did not use it.
        if self.threads[self.current].state == State::Ready {
            self.account(self.current);
        }
        self.tick_events();
    }

    /// Charges a tick to the running thread: its slice, and the budget of its activation.
    ///
    /// Calls of others are not charged to the caller by time, and the tick may fall into them each time; see
    /// [`Kernel::count_call`].
    fn account(&mut self, thread: usize) {
        self.threads[thread].ticks += 1;
        self.threads[thread].slice = self.threads[thread].slice.saturating_sub(1);
        if self.threads[thread].slice == 0 {
            self.scheduler.rotate(&mut self.threads, thread);
        }
        if self.threads[thread].depth > 0 && self.threads[thread].pending() == Pending::None {
            self.spend(thread);
        }
    }

    /// Takes a tick off the budget of the running activation; `true` if that was the last one, and it has failed.
    fn spend(&mut self, thread: usize) -> bool {
        let frame = self.threads[thread].top_mut();
        frame.budget = frame.budget.saturating_sub(1);
        let (spent, pc) = (frame.budget == 0, frame.pc);
        if spent {
            self.fault(thread, abi::FailureKind::Budget, pc);
        }
        spent
    }

    /// Counts a call that an activation makes of another object: so many are worth a tick, so that a loop of calls ends
    /// like any other. `true` if the budget is used up, and the activation has failed.
    pub fn count_call(&mut self, thread: usize) -> bool {
        let frame = self.threads[thread].top_mut();
        frame.calls += 1;
        if frame.calls < CALLS_A_TICK {
            return false;
        }
        frame.calls = 0;
        self.spend(thread)
    }

    /// Notes an event in the ring.
    pub fn trace(&mut self, what: Trace, domain: usize, value: u32) {
        let slot = self.trace_count as usize % TRACES;
        self.trace_count += 1;
        self.traces[slot] = TraceInfo { tick: self.tick, what: what as u32, domain: domain as u32, value };
    }

    /// Reports a change of a domain that a person should see.
    #[cold]
    pub fn report(&self, domain: usize, text: &str) {
        log::warn!("[kernel] {}: {text}", self.entry_of(domain).name_str());
    }

    /// Number of a process: its slot and how often that was used.
    pub fn process_number(&self, domain: usize) -> u32 {
        match self.domains[domain].role {
            Role::Process => self.client_of(domain),
            _ => 0,
        }
    }

    /// Server of a binding.
    pub fn server_of(&self, binding: BindingId) -> usize {
        self.ssr.binding(binding).server.map_or(0, ServerId::index)
    }
}

const _: () = assert!(MAX_BINDINGS.is_power_of_two());

/// The id of an object's server.
pub fn server_id(object: usize) -> ServerId {
    ServerId::new(object as u16)
}

/// The id of a thread's request.
pub fn request_id(thread: usize) -> RequestId {
    RequestId::new(thread as u16)
}
