//! The checked door to user memory: lent buffers, and records for whoever asked.
//!
//! The kernel never follows a user address. It looks each page up in the tables of the view concerned and copies
//! between frames, so that a wild pointer is an error of its owner and can be nothing else.

use abi::error::Refusal;
use abi::layout::PAGE;
use abi::{Error, FailureKind, KernelCall};

use crate::arch::cpu;
use crate::call::lent_by;
use crate::kernel::Kernel;
use crate::thread::{Kind, Lent};

/// Bit of a program status: Thumb state.
const THUMB: u32 = 1 << 5;

/// Whether a call word is that of `CopyIn` or `CopyOut`.
pub fn is_copy(word: u32) -> bool {
    word == KernelCall::CopyIn as u32 || word == KernelCall::CopyOut as u32
}

impl Kernel {
    /// Table of the view of a thread's context at `depth`.
    fn view_at(&mut self, thread: usize, depth: usize) -> u32 {
        let frame = *self.threads[thread].frame(depth);
        if frame.contextidr != 0 {
            return frame.ttbr0;
        }
        let (domain, binding) = (self.domain_at(frame.domain), self.binding_at(frame.binding));
        self.view_of(domain, binding).1
    }

    /// Whether the running context of a thread may read, or write, this page. Undoable regions count as writable.
    pub fn accessible(&mut self, thread: usize, address: u32, writing: bool) -> bool {
        let view = self.view_at(thread, self.threads[thread].depth);
        let depth = self.threads[thread].depth;
        match self.machine.translate(view, address) {
            None => false,
            Some((_, true)) => true,
            Some((_, false)) => !writing || (depth > 0 && abi::layout::undoable(address)),
        }
    }

    /// Where an address of the context at `depth` lies in memory, opened for writing if asked.
    fn locate(&mut self, thread: usize, depth: usize, address: u32, writing: bool) -> Result<u32, CopyError> {
        let view = self.view_at(thread, depth);
        match self.machine.translate(view, address) {
            None => Err(CopyError::Range),
            Some((at, true)) => Ok(at),
            Some((at, false)) if !writing => Ok(at),
            Some((at, false)) => match self.open_page(thread, depth, address) {
                Ok(true) => Ok(at),
                Ok(false) => Err(CopyError::Range),
                Err(kind) => Err(CopyError::Failure(kind, address)),
            },
        }
    }

    /// `CopyIn` and `CopyOut` where nothing is unusual: no page to open, no view to renew. `false`: nothing was done.
    #[inline(never)]
    pub fn copy_now(&mut self, thread: usize, depth: usize) -> bool {
        if depth == 0 {
            return false;
        }
        let out = self.threads[thread].frame(depth).registers[7] == KernelCall::CopyOut as u32;
        let (frame, caller) = (self.threads[thread].frame(depth), self.threads[thread].frame(depth - 1));
        let [offset, own, length, ..] = frame.registers;
        let (read, write) = match frame.kind {
            Kind::Fast => lent_by(&caller.registers),
            _ => (frame.lent_read, frame.lent_write),
        };
        let Lent { address, length: lent } = if out { write } else { read };
        let inside = offset.checked_add(length).is_some_and(|end| end <= lent);
        if !inside || own.checked_add(length).is_none() || caller.contextidr == 0 || frame.contextidr == 0 {
            return false;
        }
        let (own, theirs) = ((frame.ttbr0, own), (caller.ttbr0, address + offset));
        let (to, from) = if out { (theirs, own) } else { (own, theirs) };
        let mut done = 0;
        while done < length {
            let (target, source) = (to.1 + done, from.1 + done);
            let bytes = (PAGE - (target & (PAGE - 1))).min(PAGE - (source & (PAGE - 1))).min(length - done);
            let (Some((source, _)), Some((target, true))) =
                (self.machine.translate(from.0, source), self.machine.translate(to.0, target))
            else {
                return false;
            };
            self.machine.frames.copy(target, source, bytes as usize);
            done += bytes;
            if done < length && cpu::interrupt_pending() {
                self.call_again(thread, depth, done);
                return true;
            }
        }
        self.threads[thread].frame_mut(depth).registers[0] = 0;
        true
    }

    /// Lets a context make its copy call again, for what is not yet copied: the kernel's preemption point.
    fn call_again(&mut self, thread: usize, depth: usize, done: u32) {
        let frame = self.threads[thread].frame_mut(depth);
        frame.registers[0] += done;
        frame.registers[1] += done;
        frame.registers[2] -= done;
        frame.pc -= if frame.cpsr & THUMB != 0 { 2 } else { 4 };
    }

    /// `CopyIn` (`out` = false) and `CopyOut` of the running activation: between its own memory and what its caller lent.
    pub fn copy(&mut self, thread: usize, out: bool) -> Result<Option<u32>, Refusal> {
        let depth = self.threads[thread].depth;
        let (frame, registers) = (*self.threads[thread].top(), self.threads[thread].top().registers);
        let (offset, own, length) = (registers[0], registers[1], registers[2]);
        let Lent { address, length: lent } = if out { frame.lent_write } else { frame.lent_read };
        let inside = offset.checked_add(length).is_some_and(|end| end <= lent);
        if depth == 0 || !inside || own.checked_add(length).is_none() {
            return Err(Error::BadRange.into());
        }
        let theirs = address + offset;
        let result = if out {
            self.copy_between(thread, (depth - 1, theirs), (depth, own), length)
        } else {
            self.copy_between(thread, (depth, own), (depth - 1, theirs), length)
        };
        match result {
            Ok(done) if done == length => return Ok(Some(0)),
            Ok(done) => self.call_again(thread, depth, done),
            Err(CopyError::Range) => return Err(Error::BadRange.into()),
            Err(CopyError::Failure(kind, address)) => self.fault(thread, kind, address),
        }
        Ok(None)
    }

    fn copy_between(
        &mut self,
        thread: usize,
        to: (usize, u32),
        from: (usize, u32),
        length: u32,
    ) -> Result<u32, CopyError> {
        let mut done = 0;
        while done < length {
            let (target, source) = (to.1 + done, from.1 + done);
            let room = |address: u32| PAGE - (address & (PAGE - 1));
            let bytes = room(target).min(room(source)).min(length - done);
            let source = self.locate(thread, from.0, source, false)?;
            let target = self.locate(thread, to.0, target, true)?;
            self.machine.frames.copy(target, source, bytes as usize);
            done += bytes;
            if cpu::interrupt_pending() {
                break;
            }
        }
        Ok(done)
    }

    /// Copies bytes to the running context of a thread.
    pub fn give(&mut self, thread: usize, address: u32, bytes: &[u8]) -> Result<(), Error> {
        let mut done = 0;
        while done < bytes.len() {
            let at = address.checked_add(done as u32).ok_or(Error::BadRange)?;
            let part = (bytes.len() - done).min((PAGE - (at & (PAGE - 1))) as usize);
            let to = self.locate(thread, self.threads[thread].depth, at, true).map_err(|_| Error::BadRange)?;
            self.machine.frames.fill(to, &bytes[done..done + part]);
            done += part;
        }
        Ok(())
    }

    /// Copies bytes from the running context of a thread; fewer than asked for if its memory ends before.
    pub fn take(&mut self, thread: usize, address: u32, buffer: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buffer.len() {
            let Some(at) = address.checked_add(done as u32) else { break };
            let part = (buffer.len() - done).min((PAGE - (at & (PAGE - 1))) as usize);
            let Ok(from) = self.locate(thread, self.threads[thread].depth, at, false) else { break };
            self.machine.frames.read(from, &mut buffer[done..done + part]);
            done += part;
        }
        done
    }
}

/// Why a copy did not happen.
enum CopyError {
    /// Not the context's memory.
    Range,
    /// The write is a failure of the activation.
    Failure(FailureKind, u32),
}
