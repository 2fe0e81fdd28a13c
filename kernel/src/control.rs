//! What kernel threads do when nothing has failed, the supervisor's orders among it.

use abi::error::Refusal;
use abi::info::{ObjectState, Trace};
use abi::{Control, Error, Events};

use crate::call::Step;
use crate::domain::UNUSUAL;
use crate::kernel::Kernel;
use crate::recover::VERIFIED_A_STEP;
use crate::thread::State;

impl Kernel {
    /// Gives an idle kernel thread something to do.
    pub fn rouse(&mut self, object: usize) {
        if self.threads[object].state == State::Idle {
            self.scheduler.ready(&mut self.threads, object);
        }
    }

    /// A kernel thread without work.
    pub fn rest(&mut self, object: usize) {
        if self.threads[object].state == State::Ready {
            self.scheduler.unready(&mut self.threads, object);
            self.threads[object].state = State::Idle;
        }
    }

    /// Asks an object for a self-test, and verifies some of its text: what it cannot find out by itself.
    pub fn probe(&mut self, object: usize) {
        let probed = self.domains[object].info.probed;
        self.domains[object].info.probed = if probed == 0 { self.tick.max(1) } else { probed };
        self.post(object, Events::HEARTBEAT.bits());
        let (next, damaged) = self.verify(object, self.domains[object].verified, VERIFIED_A_STEP);
        self.domains[object].verified = next;
        if damaged {
            self.report(object, "had damaged text or constants: restored, and rebuilt");
            (self.domains[object].suspect, self.domains[object].order) = (true, Some(Control::Restart));
            self.rouse(object);
        }
    }

    /// `KernelCall::Control`.
    pub fn control(&mut self, name: [u8; 16], what: u32) -> Result<Option<u32>, Refusal> {
        let what = Control::from_number(what).ok_or(Error::BadArgument)?;
        let object = self.find_object(&name).ok_or(Error::NotFound)?;
        let stands_still = matches!(self.domains[object].state, ObjectState::Held | ObjectState::Stopped);
        match what {
            Control::Probe => self.probe(object),
            Control::Start if stands_still => self.start(object),
            Control::Start => self.domains[object].order = None,
            Control::Restart if stands_still => return Err(Error::Stopped.into()),
            _ => {
                self.domains[object].order = Some(what);
                // At the priority of whoever gives the order: busier threads would delay it.
                let priority = self.threads[self.current].priority.max(self.threads[object].priority);
                self.scheduler.set_priority(&mut self.threads, object, priority);
                self.rouse(object);
            }
        }
        Ok(Some(0))
    }

    /// Rebuilds an object that is held or stopped.
    pub fn start(&mut self, object: usize) {
        self.domains[object].suspect = true;
        self.domains[object].order = None;
        self.start_recovery(object, object);
    }

    /// Does what the supervisor ordered, on the kernel thread of an object that nobody is in.
    #[cold]
    pub fn obey(&mut self, object: usize) {
        self.domains[object].hot.lock = UNUSUAL;
        match self.domains[object].order.take() {
            Some(Control::Restart) => self.start_recovery(object, object),
            Some(Control::Hold) => {
                self.domains[object].state = ObjectState::Held;
                self.trace(Trace::State, object, ObjectState::Held as u32);
                self.restore_priority(object);
                self.rest(object);
            }
            Some(_) => self.stop(object, "stopped as ordered"),
            None => self.release(object),
        }
    }

    /// The kernel thread of an object that needs no rebuilding: sessions to close, orders, events; then it rests.
    pub fn attend(&mut self, object: usize) {
        let held = self.domains[object].state == ObjectState::Held;
        if !held && core::mem::take(&mut self.domains[object].closings) && self.close_next(object) {
            self.domains[object].closings = true;
            return;
        }
        if self.domains[object].order.is_some() {
            // In a held one nobody is; those who wait for it do not go first.
            let free = if held { Ok(true) } else { self.acquire(object, object) };
            match free {
                Ok(true) => return self.obey(object),
                Ok(false) => return,
                Err(_) => self.domains[object].order = None,
            }
        }
        if self.domains[object].state == ObjectState::Running {
            if self.domains[object].unloaded && self.reload_rest(object) {
                return;
            }
            if self.has_events(object)
                && let Ok(Step::Going) = self.try_event(object)
            {
                return;
            }
        }
        // What the object was wanted for may have come to its end meanwhile.
        self.forgo(object);
        self.rest(object);
    }
}
