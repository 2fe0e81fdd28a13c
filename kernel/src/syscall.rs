//! Kernel calls other than the protected call: decoding, rights, answers.

use abi::call::name_from_words;
use abi::error::Refusal;
use abi::image::Rights;
use abi::info::{MemoryInfo, ObjectInfo, ProcessInfo, Topic};
use abi::{Control, Error, FailureKind, Handle, KernelCall, Sabotage, layout};
use zerocopy::IntoBytes;

use crate::board;
use crate::domain::{DOMAINS, OBJECTS, Role};
use crate::image::image;
use crate::kernel::{FAILURES, Kernel, TRACES, server_id};
use crate::ssr::MAX_BINDINGS;
use crate::thread::{Kind, State};

/// Longest text of `Log` and of a panic message, in bytes.
const MAX_TEXT: usize = 256;

impl Kernel {
    /// A kernel call of the running context of a thread.
    pub fn on_call(&mut self, thread: usize) {
        let registers = self.threads[thread].top().registers;
        let [r0, r1, r2, r3, r4, ..] = registers;
        let call = KernelCall::try_from(registers[7] & 0xff);
        let object = self.threads[thread].depth > 0;
        let calls_others = matches!(call, Ok(KernelCall::Call | KernelCall::Bind | KernelCall::Unbind));
        if object && calls_others && self.count_call(thread) {
            return;
        }
        match call {
            Ok(KernelCall::Call) => self.start_call(thread),
            Ok(KernelCall::Return | KernelCall::ReturnFlush)
                if object
                    && r0 & !(Error::WouldBlock as u32) != 0
                    && matches!(self.threads[thread].top().kind, Kind::Fast | Kind::Method) =>
            {
                // Other errors come by another call.
                self.fault(thread, FailureKind::ForbiddenCall, 0);
            }
            Ok(KernelCall::Return) if object => self.on_return(thread, false),
            Ok(KernelCall::ReturnFlush) if object => self.on_return(thread, true),
            call => match self.other_call(thread, call, [r0, r1, r2, r3, r4]) {
                Ok(Some(value)) => self.answer(thread, Ok(()), value),
                Ok(None) => {}
                Err(Refusal(error, detail)) => self.answer(thread, Err(error), detail),
            },
        }
    }

    /// Carries out a kernel call, if the manifest grants the right to it. `None`: there is no answer, or it comes later.
    #[inline(never)]
    fn other_call(
        &mut self,
        thread: usize,
        call: Result<KernelCall, Error>,
        [r0, r1, r2, r3, r4]: [u32; 5],
    ) -> Result<Option<u32>, Refusal> {
        let (domain, object) = (self.domain_of(thread), self.threads[thread].depth > 0);
        let name = || name_from_words([r0, r1, r2, r3]);
        let Ok(call) = call else { return self.forbidden(thread, Error::NoSuchCall.into()) };
        let right = match call {
            KernelCall::WaitEvents if object || r1 == 0 => Rights::empty(),
            KernelCall::Emit if !object => Rights::empty(),
            call => call.right(),
        };
        // Orders that stand whatever becomes of who gave them: not from damaged text, which is restored by that.
        let order = call == KernelCall::Shutdown || call == KernelCall::Control && r4 != Control::Probe as u32;
        if !self.entry_of(domain).may(right) || object && order && self.verify(domain, 0, u32::MAX).1 {
            return self.forbidden(thread, Refusal(Error::NotPermitted, right.bits().trailing_zeros()));
        }
        match call {
            KernelCall::ReturnError if object => {
                if self.believes_error(thread) {
                    self.on_return(thread, r1 == 1);
                }
                Ok(None)
            }
            KernelCall::Return | KernelCall::ReturnFlush => {
                // The fast path has used these registers before it saw that there is nothing to return from.
                self.threads[thread].top_mut().registers[8..13].fill(0);
                Err(Error::NoSuchCall.into())
            }
            KernelCall::Null => Ok(Some(0)),
            KernelCall::Bind => self.bind(thread, name(), r4),
            KernelCall::Unbind => self.unbind(thread, Handle { index: r0, generation: r1 }),
            KernelCall::CopyIn | KernelCall::CopyOut if object => self.copy(thread, call == KernelCall::CopyOut),
            KernelCall::Panic if !object => self.panic(thread, r0, r1),
            KernelCall::Panic | KernelCall::HeapExhausted => {
                let panic = call == KernelCall::Panic;
                self.fault(thread, if panic { FailureKind::Panic } else { FailureKind::HeapExhausted }, 0);
                Ok(None)
            }
            KernelCall::Yield if !object => {
                self.scheduler.rotate(&mut self.threads, thread);
                Ok(Some(0))
            }
            KernelCall::Exit if !object => {
                self.end_process(thread, r0);
                Ok(None)
            }
            KernelCall::Spawn if !object => self.spawn(thread, name(), r4),
            KernelCall::Wait if !object => self.wait_for(thread, r0),
            KernelCall::Kill if !object => self.kill(thread, r0),
            KernelCall::WaitEvents => self.wait_events(thread, r0, r1),
            KernelCall::Notify if object => self.notify_later(thread, r0),
            KernelCall::Acknowledge if object => self.acknowledge(thread, r0),
            KernelCall::Time => {
                let now = board::now_us();
                self.threads[thread].top_mut().registers[2] = (now >> 32) as u32;
                Ok(Some(now as u32))
            }
            KernelCall::Info => self.info(thread, [r0, r1, r2, r3]),
            KernelCall::Emit if object => self.emit(thread, [r0, r1, r2, r3]),
            KernelCall::WriteRegister if object => self.write_register(thread, r0, r1),
            KernelCall::Describe if object => self.describe(thread, r0, [r1, r2, r3]),
            KernelCall::Deadline => {
                self.domains[domain].deadline = u64::from(r1) << 32 | u64::from(r0);
                self.timed |= 1 << domain;
                Ok(Some(0))
            }
            KernelCall::Control => self.control(name(), r4),
            KernelCall::Sabotage => self.sabotage(name(), r4),
            KernelCall::Shutdown if r1 == 0 => board::exit(r0 as u8),
            KernelCall::Shutdown => board::restart(),
            KernelCall::Log => self.log(thread, r0, r1),
            _ => self.forbidden(thread, Error::NoSuchCall.into()),
        }
    }

    /// A call that the caller may not make: an error to a program, a failure of an object.
    fn forbidden(&mut self, thread: usize, refusal: Refusal) -> Result<Option<u32>, Refusal> {
        if self.threads[thread].depth == 0 {
            return Err(refusal);
        }
        self.fault(thread, FailureKind::ForbiddenCall, refusal.1);
        Ok(None)
    }

    /// Name of the domain that a thread runs in.
    pub fn name_of(&self, thread: usize) -> &'static str {
        self.entry_of(self.domain_of(thread)).name_str()
    }

    /// A text that the running context of a thread points to, read into `room`; `None` if it cannot be.
    fn text<'r>(&mut self, thread: usize, address: u32, length: u32, room: &'r mut [u8; MAX_TEXT]) -> Option<&'r str> {
        let room = &mut room[..(length as usize).min(MAX_TEXT)];
        let read = self.take(thread, address, room);
        core::str::from_utf8(room).ok().filter(|text| text.len() == read)
    }

    /// A program panicked.
    fn panic(&mut self, thread: usize, address: u32, length: u32) -> Result<Option<u32>, Refusal> {
        let mut room = [0; MAX_TEXT];
        let text = self.text(thread, address, length, &mut room).unwrap_or("(message not readable)");
        log::info!("[kernel] program {} panicked: {text}", self.name_of(thread));
        self.end_process(thread, 128 + FailureKind::Panic as u32);
        Ok(None)
    }

    fn log(&mut self, thread: usize, address: u32, length: u32) -> Result<Option<u32>, Refusal> {
        let mut room = [0; MAX_TEXT];
        let text = self.text(thread, address, length, &mut room).ok_or(Error::BadRange)?;
        log::info!("[{}] {text}", self.name_of(thread));
        Ok(Some(0))
    }

    fn sabotage(&mut self, name: [u8; 16], word: u32) -> Result<Option<u32>, Refusal> {
        let sabotage = Sabotage::from_word(word).ok_or(Error::BadArgument)?;
        let object = self.find_object(&name).ok_or(Error::NotFound)?;
        self.domains[object].sabotage = sabotage.word();
        self.relock(object);
        Ok(Some(0))
    }

    fn info(&mut self, thread: usize, [topic, index, address, length]: [u32; 4]) -> Result<Option<u32>, Refusal> {
        let index = index as usize;
        let recent = |count: u32, kept: usize| {
            let back = (count as usize).checked_sub(index + 1).filter(|_| index < kept);
            back.map(|back| back % kept)
        };
        let hand_over = |kernel: &mut Kernel, bytes: &[u8]| match length as usize >= bytes.len() {
            true => kernel.give(thread, address, bytes).map(|()| bytes.len() as u32),
            false => Err(Error::BadArgument),
        };
        let result = match Topic::from_number(topic) {
            Some(Topic::Object) => self.object_info(index).map(|info| hand_over(self, info.as_bytes())),
            Some(Topic::Process) => self.process_info(index).map(|info| hand_over(self, info.as_bytes())),
            Some(Topic::Memory) if index == 0 => Some(hand_over(self, self.memory_info().as_bytes())),
            Some(Topic::Failure) => {
                recent(self.failure_count, FAILURES).map(|slot| hand_over(self, { self.failures[slot] }.as_bytes()))
            }
            Some(Topic::Entry) => image().entries().get(index).map(|entry| hand_over(self, entry.as_bytes())),
            Some(Topic::Trace) => {
                recent(self.trace_count, TRACES).map(|slot| hand_over(self, { self.traces[slot] }.as_bytes()))
            }
            _ => None,
        };
        Ok(Some(result.ok_or(Error::NotFound)??))
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
