//! Kernel calls other than the protected call: decoding, rights, answers.

use abi::call::name_from_words;
use abi::image::Rights;
use abi::info::{MemoryInfo, ObjectInfo, ProcessInfo, Topic};
use abi::{Error, FailureKind, Handle, KernelCall, Sabotage, layout};
use zerocopy::IntoBytes;

use crate::board;
use crate::domain::{DOMAINS, OBJECTS, Role};
use crate::image::image;
use crate::kernel::{FAILURES, Kernel, TRACES, server_id};
use crate::ssr::MAX_BINDINGS;
use crate::thread::State;

/// Longest text of `Log` and of a panic message, in bytes.
const MAX_TEXT: usize = 256;

impl Kernel {
    /// A kernel call of the running context of a thread.
    pub fn on_call(&mut self, thread: usize) {
        let registers = self.threads[thread].top().registers;
        let [r0, r1, r2, r3, r4, ..] = registers;
        let Ok(call) = KernelCall::try_from(registers[7] & 0xff) else {
            return self.forbidden(thread, Error::NoSuchCall, 0);
        };
        let object = self.threads[thread].depth > 0;
        let calls_others = matches!(call, KernelCall::Call | KernelCall::Bind | KernelCall::Unbind);
        if object && calls_others && self.count_call(thread) {
            return;
        }
        match call {
            KernelCall::Call => self.start_call(thread),
            KernelCall::Return | KernelCall::ReturnFlush if object => {
                self.on_return(thread, call == KernelCall::ReturnFlush)
            }
            KernelCall::ReturnError if object => {
                if self.believes_error(thread) {
                    self.on_return(thread, r1 == 1);
                }
            }
            KernelCall::Return | KernelCall::ReturnFlush => {
                // The fast path has used these registers before it saw that there is nothing to return from.
                self.threads[thread].top_mut().registers[8..13].fill(0);
                self.answer(thread, Err(Error::NoSuchCall), 0);
            }
            KernelCall::Null => self.answer(thread, Ok(()), 0),
            KernelCall::Bind => self.on_bind(thread, name_from_words([r0, r1, r2, r3]), r4),
            KernelCall::Unbind => self.on_unbind(thread, Handle { index: r0, generation: r1 }),
            KernelCall::CopyIn if object => self.on_copy(thread, false),
            KernelCall::CopyOut if object => self.on_copy(thread, true),
            KernelCall::Panic => self.on_panic(thread, r0, r1),
            KernelCall::HeapExhausted if object => {
                let pc = self.threads[thread].top().pc;
                self.fail(thread, FailureKind::HeapExhausted, pc, 0);
            }
            KernelCall::Yield if !object => {
                self.answer(thread, Ok(()), 0);
                self.scheduler.rotate(&mut self.threads, thread);
            }
            KernelCall::Exit if !object => self.end_process(thread, r0),
            KernelCall::HeapExhausted => {
                log::info!("[kernel] program {} ended: heap used up", self.name_of(thread));
                self.end_process(thread, 128 + FailureKind::HeapExhausted as u32);
            }
            KernelCall::Spawn if !object => self.on_spawn(thread, name_from_words([r0, r1, r2, r3]), r4),
            KernelCall::Wait if !object => self.on_wait(thread, r0),
            KernelCall::Kill if !object => self.on_kill(thread, r0),
            KernelCall::WaitEvents if object || r1 == 0 => self.on_wait_events(thread, r0, r1),
            KernelCall::WaitEvents => {
                self.with_right(thread, Rights::PAUSE, |kernel| kernel.on_wait_events(thread, r0, r1))
            }
            KernelCall::Notify if object => self.on_notify(thread, r0),
            KernelCall::Acknowledge if object => self.on_acknowledge(thread, r0),
            KernelCall::Emit if object => self.with_right(thread, Rights::EMIT, |kernel| {
                let result = kernel.emit(thread, [r0, r1, r2, r3]);
                kernel.answer(thread, result, 0);
            }),
            KernelCall::Deadline => self.with_right(thread, Rights::DEADLINE, |kernel| {
                let domain = kernel.domain_of(thread);
                kernel.domains[domain].deadline = u64::from(r1) << 32 | u64::from(r0);
                kernel.timed |= 1 << domain;
                kernel.answer(thread, Ok(()), 0);
            }),
            KernelCall::Control => self.with_right(thread, Rights::CONTROL, |kernel| {
                let result = kernel.control(name_from_words([r0, r1, r2, r3]), r4);
                kernel.answer(thread, result, 0);
            }),
            KernelCall::Time => self.with_right(thread, Rights::TIME, |kernel| kernel.on_time(thread)),
            KernelCall::Info => {
                self.with_right(thread, Rights::INFO, |kernel| kernel.on_info(thread, [r0, r1, r2, r3]))
            }
            KernelCall::Sabotage => self.with_right(thread, Rights::SABOTAGE, |kernel| {
                let result = kernel.sabotage(name_from_words([r0, r1, r2, r3]), r4);
                kernel.answer(thread, result, 0);
            }),
            KernelCall::Shutdown => self.with_right(thread, Rights::SHUTDOWN, |_| match r1 {
                0 => board::exit(r0 as u8),
                _ => board::restart(),
            }),
            KernelCall::Log => self.with_right(thread, Rights::LOG, |kernel| kernel.on_log(thread, r0, r1)),
            _ => self.forbidden(thread, Error::NoSuchCall, 0),
        }
    }

    /// Runs a call whose right the manifest must grant.
    fn with_right(&mut self, thread: usize, right: Rights, call: impl FnOnce(&mut Kernel)) {
        if self.entry_of(self.domain_of(thread)).may(right) {
            call(self);
        } else {
            self.forbidden(thread, Error::NotPermitted, right.bits().trailing_zeros());
        }
    }

    /// A call that the caller may not make: an error to a program, a failure of an object.
    fn forbidden(&mut self, thread: usize, error: Error, extra: u32) {
        if self.threads[thread].depth == 0 {
            return self.answer(thread, Err(error), extra);
        }
        let pc = self.threads[thread].top().pc;
        self.fail(thread, FailureKind::ForbiddenCall, pc, extra);
    }

    /// Name of the domain that a thread runs in.
    pub fn name_of(&self, thread: usize) -> &'static str {
        self.entry_of(self.domain_of(thread)).name_str()
    }

    fn on_panic(&mut self, thread: usize, address: u32, length: u32) {
        let mut text = [0; MAX_TEXT];
        let length = (length as usize).min(MAX_TEXT);
        let read = self.take(thread, address, &mut text[..length]);
        let text = core::str::from_utf8(&text[..read]).unwrap_or("(message not readable)");
        let pc = self.threads[thread].top().pc;
        if self.threads[thread].depth > 0 {
            return self.fail(thread, FailureKind::Panic, pc, 0);
        }
        log::info!("[kernel] program {} panicked: {text}", self.name_of(thread));
        self.end_process(thread, 128 + FailureKind::Panic as u32);
    }

    fn on_time(&mut self, thread: usize) {
        let now = board::now_us();
        self.answer(thread, Ok(()), now as u32);
        self.threads[thread].top_mut().registers[2] = (now >> 32) as u32;
    }

    fn on_log(&mut self, thread: usize, address: u32, length: u32) {
        let mut text = [0; MAX_TEXT];
        let length = (length as usize).min(MAX_TEXT);
        let read = self.take(thread, address, &mut text[..length]);
        match core::str::from_utf8(&text[..read]) {
            Ok(text) if read == length => {
                log::info!("[{}] {text}", self.name_of(thread));
                self.answer(thread, Ok(()), 0);
            }
            _ => self.answer(thread, Err(Error::BadRange), 0),
        }
    }

    fn sabotage(&mut self, name: [u8; 16], word: u32) -> Result<(), Error> {
        let sabotage = Sabotage::from_word(word).ok_or(Error::BadArgument)?;
        let object = self.find_object(&name).ok_or(Error::NotFound)?;
        self.domains[object].sabotage = sabotage.word();
        self.relock(object);
        Ok(())
    }

    fn on_info(&mut self, thread: usize, [topic, index, address, length]: [u32; 4]) {
        let result = match Topic::from_number(topic) {
            Some(Topic::Object) => {
                self.object_info(index as usize).map(|info| self.hand_over(thread, address, length, info.as_bytes()))
            }
            Some(Topic::Process) => {
                self.process_info(index as usize).map(|info| self.hand_over(thread, address, length, info.as_bytes()))
            }
            Some(Topic::Memory) if index == 0 => {
                Some(self.hand_over(thread, address, length, self.memory_info().as_bytes()))
            }
            Some(Topic::Failure) if (index as usize) < FAILURES && index < self.failure_count => {
                let slot = (self.failure_count - 1 - index) as usize % FAILURES;
                let info = self.failures[slot];
                Some(self.hand_over(thread, address, length, info.as_bytes()))
            }
            Some(Topic::Entry) => image()
                .entries()
                .get(index as usize)
                .map(|entry| self.hand_over(thread, address, length, entry.as_bytes())),
            Some(Topic::Trace) if (index as usize) < TRACES && index < self.trace_count => {
                let info = self.traces[(self.trace_count - 1 - index) as usize % TRACES];
                Some(self.hand_over(thread, address, length, info.as_bytes()))
            }
            _ => None,
        };
        match result.unwrap_or(Err(Error::NotFound)) {
            Ok(bytes) => self.answer(thread, Ok(()), bytes),
            Err(error) => self.answer(thread, Err(error), 0),
        }
    }

    fn hand_over(&mut self, thread: usize, address: u32, length: u32, bytes: &[u8]) -> Result<u32, Error> {
        if (length as usize) < bytes.len() {
            return Err(Error::BadArgument);
        }
        self.give(thread, address, bytes)?;
        Ok(bytes.len() as u32)
    }

    fn object_info(&self, index: usize) -> Option<ObjectInfo> {
        let object = (0..OBJECTS).filter(|object| self.domains[*object].role == Role::Object).nth(index)?;
        let domain = &self.domains[object];
        let server = server_id(object);
        Some(ObjectInfo {
            name: self.entry_of(object).name,
            state: domain.state as u32,
            clients: self.ssr.sessions(server) as u32,
            memory: (domain.frames + self.ssr.frames_of(server) as u32) * abi::layout::PAGE,
            entry: object as u32,
            stack_used: self.stack_used(object),
            ..domain.info
        })
    }

    /// Bytes of an object's stack that were ever used: it is never cleared.
    fn stack_used(&self, object: usize) -> u32 {
        let mut address = layout::STACK_TOP - self.entry_of(object).stack;
        while address < layout::STACK_TOP
            && let Some((at, _)) = self.machine.translate(self.machine.views[object], address)
        {
            match self.machine.frames.first_in_use(at) {
                None => address += layout::PAGE,
                Some(offset) => return layout::STACK_TOP - address - offset,
            }
        }
        0
    }

    fn process_info(&self, index: usize) -> Option<ProcessInfo> {
        let slot = index.checked_add(OBJECTS).filter(|slot| *slot < DOMAINS)?;
        let (domain, thread) = (&self.domains[slot], &self.threads[slot]);
        if domain.role == Role::None {
            return Some(ProcessInfo::default());
        }
        let state = match (domain.status, thread.state) {
            (Some(_), _) => 3,
            (None, State::Ready) => 1,
            (None, _) => 2,
        };
        Some(ProcessInfo {
            name: self.entry_of(slot).name,
            process: self.client_of(slot),
            state,
            bindings: self.ssr.bindings_of(self.client_of(slot)) as u32,
            memory: domain.frames * abi::layout::PAGE,
            ticks: thread.ticks,
            argument: domain.argument,
        })
    }

    fn memory_info(&self) -> MemoryInfo {
        let processes = (OBJECTS..DOMAINS).filter(|slot| self.domains[*slot].role == Role::None).count();
        MemoryInfo {
            frames: self.machine.frames.total(),
            frames_free: self.machine.frames.free_count(),
            bindings: MAX_BINDINGS as u32,
            bindings_free: self.ssr.bindings_free() as u32,
            tables: self.machine.l2.total,
            tables_free: self.machine.l2.free,
            processes: (DOMAINS - OBJECTS) as u32,
            processes_free: processes as u32,
            asid_rollovers: self.machine.rollovers,
        }
    }
}
