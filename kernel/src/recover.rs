//! Recovery in place (design: steps 0 to 6; CuriOS, section 4).
//!
//! A failed object is rebuilt by its own kernel thread, a few pages a step, while its callers wait and everyone else
//! runs.

use abi::call::Cause;
use abi::error::Refusal;
use abi::image::{Flags, Recovery};
use abi::info::{ObjectState, Trace};
use abi::layout;
use abi::{Control, Error, Events};
use ssr_manager::{Begin, BindingId, State as Session};

use crate::arch::mmu;
use crate::board;
use crate::call::Step;
use crate::domain::{self, UNUSUAL, Work, pages};
use crate::image::image;
use crate::kernel::{Kernel, request_id, server_id};
use crate::thread::{Kind, Pending, State};

/// Pages copied or zeroed between two looks at the interrupt controller.
const PAGES_A_STEP: u32 = 20;
/// The same for pages that are verified: reading and comparing takes longer.
pub const VERIFIED_A_STEP: u32 = 4;
/// Failures of one request or one session's hook before that is the end of it: one may be the fault of damaged text, which is
/// restored for the next attempt, and another one unrelated. Constructors get one more.
pub const MAX_ATTEMPTS: u32 = 3;
/// How long the supervisor is left alone after it could not be built, in microseconds.
const SUPERVISOR_BACKOFF: u64 = 1_000_000;

impl Kernel {
    /// Makes an object recover, on its own kernel thread, at the priority of the thread that waits for it.
    pub fn start_recovery(&mut self, server: usize, thread: usize) {
        let object = &mut self.domains[server];
        object.info.restarts += 1;
        object.state = ObjectState::Recovering;
        object.hot.lock = UNUSUAL;
        object.work = if core::mem::take(&mut object.suspect) { Work::Verify(0) } else { Work::Memory(0) };
        object.was_damaged = false;
        // What an upcall left for its steps is gone: it comes again.
        object.step = domain::Step::Upcall(0);
        self.ssr.mark_reload(server_id(server));
        self.domains[server].hot.epoch = self.ssr.epoch(server_id(server));
        self.reset_device(server);
        if self.recovery == Recovery::Blind {
            self.each_session(server, |kernel, binding| kernel.forget_session(server, binding));
        }
        if let Some(granted) = self.domains[server].granted.take() {
            self.threads[granted].grant = None;
            if granted != thread {
                self.requeue(granted, server);
            }
        }
        let own = self.threads[server].state;
        if own == State::Object(server) {
            self.wake(server, server);
        } else {
            self.rouse(server);
        }
        let priority = self.threads[thread].priority.max(self.threads[server].priority);
        self.scheduler.set_priority(&mut self.threads, server, priority);
        self.restore_priority(thread);
    }

    /// Stops an object's device as its manifest says, so that it does nothing more for the activation that failed.
    fn reset_device(&mut self, object: usize) {
        let entry = self.entry_of(object);
        if self.drivers >> object & 1 == 1 {
            self.mask_lines(object);
        }
        if entry.reset_register != 0 {
            let (contextidr, ttbr0) = self.own_view(object);
            // SAFETY: the image was checked: the register lies in the device window, which `load` has mapped.
            unsafe { mmu::write_device(contextidr, ttbr0, entry.reset_register, entry.reset_value) };
        }
    }

    /// Writes a device register of an object and a word of its open SSR, which notes that: both or neither.
    pub fn emit(&mut self, thread: usize, [register, value, note, noted]: [u32; 4]) -> Result<Option<u32>, Refusal> {
        let frame = *self.threads[thread].top();
        if frame.kind != Kind::Flush {
            return Err(Error::NotPermitted.into());
        }
        let ssr = (layout::SSR_BASE..layout::MMIO_BASE).contains(&note) && note % 4 == 0;
        let word = self.machine.translate(frame.ttbr0, note).filter(|(_, write)| *write && ssr);
        let (word, _) = word.ok_or(Error::BadRange)?;
        self.write_register(thread, register, value)?;
        self.machine.frames.set_word(word, noted);
        Ok(Some(0))
    }

    /// Writes a device register of an object as its manifest's rules allow.
    pub fn write_register(&mut self, thread: usize, register: u32, value: u32) -> Result<Option<u32>, Refusal> {
        let (frame, object) = (self.threads[thread].top(), self.domain_of(thread));
        let value = self.entry_of(object).register_value(self.machine.dma[object], register, value)?;
        // SAFETY: the register lies in the object's device window, which `load` has mapped for as long as it exists.
        unsafe { mmu::write_device(frame.contextidr, frame.ttbr0, register, value) };
        Ok(Some(0))
    }

    /// Describes a buffer to an object's device.
    pub fn describe(&mut self, thread: usize, slot: u32, what: [u32; 3]) -> Result<Option<u32>, Refusal> {
        let object = self.domain_of(thread);
        let (at, words, count) = self.entry_of(object).descriptor(self.machine.dma[object], slot, what)?;
        words[..count].iter().zip((at..).step_by(4)).for_each(|(word, at)| self.machine.frames.set_word(at, *word));
        Ok(Some(0))
    }

    /// A thread that was about to enter an object stands in its queue again, in front.
    fn requeue(&mut self, thread: usize, server: usize) {
        if self.threads[thread].state == State::Ready && thread != server {
            self.scheduler.unready(&mut self.threads, thread);
            self.threads[thread].state = State::Object(server);
            self.domains[server].waiters.push_front(&mut self.threads, thread);
        }
    }

    /// Verifies so many pages of an object's text and constants, and restores what is damaged. Returns the page to go on with, 0
    /// at the end, and whether anything was.
    pub fn verify(&mut self, object: usize, from: u32, most: u32) -> (u32, bool) {
        let (entry, image) = (self.entry_of(object), image());
        let (text, constants) = (pages(entry.text.memory_size), pages(entry.rodata.memory_size));
        let mut damaged = false;
        let next = from.saturating_add(most);
        for page in from..next.min(text + constants) {
            let (segment, page) = if page < text { (&entry.text, page) } else { (&entry.rodata, page - text) };
            damaged |= domain::restore_page(&mut self.machine, object, image, segment, page);
        }
        if damaged {
            self.domains[object].was_damaged = true;
            // Whoever kept failing because of that has not tried in vain.
            self.threads.iter_mut().for_each(|thread| thread.forgive(object));
        }
        (if next < text + constants { next } else { 0 }, damaged)
    }

    /// One step of an object's kernel thread.
    pub fn object_step(&mut self, object: usize) {
        let entry = self.entry_of(object);
        match self.domains[object].work {
            Work::Verify(page) => {
                let (next, _) = self.verify(object, page, VERIFIED_A_STEP);
                self.domains[object].work = if next > 0 { Work::Verify(next) } else { Work::Memory(0) };
            }
            Work::Memory(page) => {
                let image = image();
                let blind = self.recovery == Recovery::Blind;
                let (common, initial) = if blind { (entry.common, image.common(entry)) } else { (0, &[][..]) };
                let areas = [
                    (entry.data.address, entry.data.memory_size, image.segment(&entry.data)),
                    (layout::HEAP_BASE, entry.heap, &[]),
                    (layout::COMMON_BASE, common, initial),
                ];
                let (mut before, end) = (0, page + PAGES_A_STEP);
                for (start, length, bytes) in areas {
                    let part = page.saturating_sub(before)..end.saturating_sub(before).min(pages(length));
                    self.machine.refill(object, start, bytes, part);
                    before += pages(length);
                }
                if end < before {
                    self.domains[object].work = Work::Memory(end);
                    return;
                }
                if blind {
                    self.ssr.seal_common(server_id(object), &mut self.machine);
                }
                self.domains[object].work = Work::Construct;
                self.construct(object);
            }
            Work::Construct => self.construct(object),
            Work::Sessions(after) => self.reload_next(object, after),
            Work::Idle => self.attend(object),
        }
    }

    fn construct(&mut self, object: usize) {
        let entry = self.entry_of(object);
        // While a request retains the object, its rebuilding is part of that request.
        let request = self.ssr.server_holder(server_id(object)).unwrap_or(request_id(object));
        if self.ssr.begin_object(server_id(object), Some(request)).is_err() {
            return self.stop(object, "cannot be built: stopped");
        }
        self.activate(object, object, None, Kind::Construct);
        let cause = if self.domains[object].booting { Cause::Boot } else { Cause::Recovery };
        let argument = self.domains[object].argument;
        let registers = &mut self.threads[object].top_mut().registers;
        registers[..4].copy_from_slice(&[cause as u32, entry.heap, entry.common, argument]);
    }

    /// A constructor or a reload on the kernel thread went well.
    pub fn object_went_on(&mut self, object: usize) {
        if self.domains[object].work == Work::Idle {
            return self.end_activation(object, object);
        }
        self.domains[object].hot.lock = UNUSUAL;
        if self.domains[object].work == Work::Construct {
            self.domains[object].booting = false;
            self.domains[object].work = Work::Sessions(None);
        }
        self.threads[object].frame_mut(1).attempts = 0;
        self.end_request(object);
        if let Work::Sessions(after) = self.domains[object].work
            && matches!(self.threads[object].pending(), Pending::None)
        {
            self.reload_next(object, after);
        }
    }

    /// A constructor or a hook on the kernel thread failed; the recovery has begun anew.
    #[cold]
    pub fn object_failed(&mut self, object: usize, kind: Kind, binding: Option<BindingId>) {
        let domain = &mut self.domains[object];
        let before = domain.hook_failed.filter(|(failed, under, _)| (*failed, *under) == (kind, binding));
        let times = before.map_or(1, |(.., times)| times + 1);
        domain.hook_failed = Some((kind, binding, times));
        if times > 1 || matches!(kind, Kind::Construct | Kind::Reload) {
            domain.work = Work::Verify(0);
        }
        let most = match kind {
            Kind::Close => 1,
            Kind::Construct => MAX_ATTEMPTS + 1,
            _ => MAX_ATTEMPTS,
        };
        if times < most {
            return;
        }
        domain.hook_failed = None;
        match (kind, binding) {
            (Kind::Construct, _) => self.stop(object, "cannot be built: stopped"),
            (Kind::Close, Some(binding)) => self.ssr.revoke(binding, &mut self.machine),
            (Kind::Reload | Kind::Step, Some(binding)) => {
                self.charge_session(object, binding);
                self.lose_session(object, binding);
            }
            (Kind::Event, _) => self.drop_events(object),
            _ => {}
        }
    }

    /// Gives an object up: whoever calls it is told.
    /// The supervisor itself is only held, and built again after a while.
    #[cold]
    pub fn stop(&mut self, object: usize, why: &str) {
        let watched = self.supervisor == Some(object) && self.recovery != Recovery::None;
        let state = if watched { ObjectState::Held } else { ObjectState::Stopped };
        self.domains[object].state = state;
        self.domains[object].work = Work::Idle;
        self.domains[object].hot.lock = UNUSUAL;
        self.mask_lines(object);
        self.report(object, why);
        self.trace(Trace::State, object, state as u32);
        if watched {
            self.domains[object].deadline = board::now_us() + SUPERVISOR_BACKOFF;
            self.timed |= 1 << object;
        } else {
            self.unpark(object);
            while let Some(waiter) = self.domains[object].waiters.first() {
                self.wake(waiter, object);
            }
            self.relock(object);
            self.notify_all(object);
            self.tell_supervisor();
        }
        self.restore_priority(object);
        self.rest(object);
    }

    pub fn tell_supervisor(&mut self) {
        if let Some(supervisor) = self.supervisor {
            self.post(supervisor, Events::FAILURE.bits());
        }
    }

    fn reload_next(&mut self, object: usize, after: Option<BindingId>) {
        let lazy = self.entry_of(object).has(Flags::LAZY_RELOAD);
        let mut next = self.ssr.next_session(server_id(object), after).filter(|_| !lazy);
        while let Some(binding) = next {
            // If it fails, the recovery starts anew.
            self.domains[object].work = Work::Sessions(Some(binding));
            let request = self.ssr.holder(binding);
            let stands_still =
                request.is_none_or(|request| self.threads[request.index()].state == State::Object(object));
            // A session that a running request retains is reloaded at its next call, or when that request ends.
            if self.ssr.needs_reload(binding) {
                if stands_still && self.ssr.begin(binding, request, &mut self.machine) == Ok(Begin::NeedsReload) {
                    return self.activate(object, object, Some(binding), Kind::Reload);
                }
                self.domains[object].unloaded = true;
            }
            next = self.ssr.next_session(server_id(object), Some(binding));
        }
        self.object_ready(object);
    }

    /// Reloads one of the sessions that were retained when the object was rebuilt. `false`: there is nothing to be done.
    #[cold]
    pub fn reload_rest(&mut self, object: usize) -> bool {
        self.domains[object].unloaded = false;
        let mut next = self.ssr.next_session(server_id(object), None);
        while let Some(binding) = next {
            next = self.ssr.next_session(server_id(object), Some(binding));
            if !self.ssr.needs_reload(binding) {
                continue;
            }
            self.domains[object].unloaded = true;
            if self.ssr.holder(binding).is_some() {
                continue;
            }
            let taken = self.acquire(object, object);
            if taken != Ok(true) {
                return taken.is_ok();
            }
            if self.ssr.begin(binding, None, &mut self.machine) == Ok(Begin::NeedsReload) {
                self.activate(object, object, Some(binding), Kind::Reload);
                return true;
            }
            self.release(object);
        }
        false
    }

    fn object_ready(&mut self, object: usize) {
        self.domains[object].work = Work::Idle;
        if self.domains[object].order.is_some_and(|order| order != Control::Restart) {
            return self.obey(object);
        }
        self.domains[object].order = None;
        self.domains[object].state = ObjectState::Running;
        self.domains[object].info.since = self.tick;
        self.trace(Trace::Running, object, self.domains[object].info.restarts);
        self.restore_priority(object);
        self.release(object);
        self.attend(object);
    }

    /// Runs `close` for the next session whose client is gone; `false` if there is none.
    pub fn close_next(&mut self, object: usize) -> bool {
        let mut next = self.ssr.next_session(server_id(object), None);
        while let Some(binding) = next {
            if self.ssr.binding(binding).state == Session::Closing && !self.closed_by_client(binding) {
                let handle = self.ssr.handle(binding);
                self.threads[object].frame_mut(1).attempts = 0;
                if let Ok(Step::Going) = self.try_hook(object, handle, Kind::Close) {
                    return true;
                }
            }
            next = self.ssr.next_session(server_id(object), Some(binding));
        }
        false
    }

    /// Whether a living client is on its way to close this session itself.
    fn closed_by_client(&self, binding: BindingId) -> bool {
        let close = Pending::Close(self.ssr.handle(binding));
        self.threads.iter().any(|thread| thread.has_pending(close))
    }
}
