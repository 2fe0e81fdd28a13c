//! Objects as monitors: one activation at a time, a queue for the others, priority inheritance.
//!
//! The lock word is the owner's rest position on its frame stack; bit 0 marks everything that the fast path must not
//! pass. Who waits stands in one of two queues: `waiters` for the end of an activation, `parked` for the end of a request that
//! retains what they need. A released object is promised (`granted`) to its first waiter of the highest priority.

use abi::Error;
use abi::info::ObjectState;
use ssr_manager::RequestId;

use crate::domain::UNUSUAL;
use crate::kernel::{Kernel, request_id, server_id};
use crate::thread::{MAX_DEPTH, Pending, Queue, State};

impl Kernel {
    /// A thread does not want an object any more that it had next.
    pub fn forgo(&mut self, thread: usize) {
        if let Some(object) = self.threads[thread].grant.take() {
            self.domains[object].granted = None;
            self.release(object);
        }
    }

    /// Promises a free object to a thread.
    pub fn grant(&mut self, thread: usize, server: usize) {
        self.domains[server].granted = Some(thread);
        self.threads[thread].grant = Some(server);
    }

    /// Lets those wait for an object like others who waited for a request to give it up.
    pub fn unpark(&mut self, server: usize) {
        while let Some(thread) = self.domains[server].parked.first() {
            self.domains[server].parked.remove(&mut self.threads, thread);
            self.domains[server].waiters.push(&mut self.threads, thread);
            self.threads[thread].behind = None;
        }
        if self.owner_rest(server) == 0 {
            self.release(server);
        }
    }

    /// The rest position of the activation in an object, 0 for none.
    pub fn owner_rest(&self, server: usize) -> u32 {
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
    pub fn acquire(&mut self, thread: usize, server: usize) -> Result<bool, Error> {
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
        if self.threads[thread].grant.is_some_and(|object| object != server) {
            self.forgo(thread);
        }
        let holder = self.owner(server).or(self.domains[server].granted);
        if self.would_deadlock(thread, holder.filter(|holder| *holder != thread)) {
            return Err(Error::Reentry);
        }
        let domain = &mut self.domains[server];
        if domain.granted == Some(thread) {
            domain.granted = None;
            self.threads[thread].grant = None;
        } else if domain.hot.lock & !UNUSUAL != 0
            || (domain.state != ObjectState::Running && thread != server)
            || domain.granted.is_some()
            || !domain.waiters.is_empty()
        {
            self.wait(thread, server);
            return Ok(false);
        }
        self.domains[server].hot.lock = self.threads[thread].rest(depth + 1) | UNUSUAL;
        Ok(true)
    }

    /// Whether a thread that waits for another one waits for itself.
    pub fn would_deadlock(&self, thread: usize, holder: Option<usize>) -> bool {
        let mut next = holder;
        for _ in 0..self.threads.len() {
            let Some(holder) = next else { return false };
            if holder == thread {
                return true;
            }
            let State::Object(object) = self.threads[holder].state else { return false };
            next = self.threads[holder].behind.or(self.owner(object)).or(self.domains[object].granted);
        }
        false
    }

    fn flushes(&self, thread: usize) -> bool {
        matches!(self.threads[thread].pending(), Pending::Flush(_))
    }

    /// Puts a thread into an object's queue; whoever keeps it waiting inherits its priority.
    pub fn wait(&mut self, thread: usize, server: usize) {
        self.scheduler.unready(&mut self.threads, thread);
        self.threads[thread].state = State::Object(server);
        // Nobody comes between what a flush has put out and the rest of it.
        let put = if self.flushes(thread) { Queue::push_front } else { Queue::push };
        put(&mut self.domains[server].waiters, &mut self.threads, thread);
        self.domains[server].hot.lock |= UNUSUAL;
        let priority = self.threads[thread].priority;
        let mut next = Some(server);
        for _ in 0..MAX_DEPTH {
            let Some(object) = next else { break };
            let holder = match self.owner(object).or(self.domains[object].granted) {
                Some(holder) => holder,
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
    #[cold]
    pub fn park(&mut self, thread: usize, server: usize, holder: Option<RequestId>) {
        self.scheduler.unready(&mut self.threads, thread);
        self.threads[thread].state = State::Object(server);
        self.domains[server].parked.push(&mut self.threads, thread);
        let priority = self.threads[thread].priority;
        self.threads[thread].behind = holder.map(RequestId::index);
        if let Some(holder) = self.threads[thread].behind
            && self.threads[holder].priority < priority
        {
            self.scheduler.set_priority(&mut self.threads, holder, priority);
        }
        self.domains[server].hot.lock = UNUSUAL;
        self.release(server);
    }

    /// Ends the hold on an object: a flush that failed has it next, else the waiter of highest priority.
    pub fn release(&mut self, server: usize) {
        if let Some(owner) = self.owner(server) {
            self.domains[server].hot.lock = UNUSUAL;
            self.restore_priority(owner);
        }
        let domain = &self.domains[server];
        if domain.state == ObjectState::Running
            && domain.granted.is_none()
            && let Some((_, highest)) = domain.waiters.highest(&self.threads)
        {
            let waiter = domain.waiters.first().filter(|first| self.flushes(*first)).unwrap_or(highest);
            self.grant(waiter, server);
            self.wake(waiter, server);
        }
        self.relock(server);
    }

    /// Takes a waiter out of an object's queue and makes it ready.
    pub fn wake(&mut self, waiter: usize, server: usize) {
        self.leave_queue(waiter, server);
        self.threads[waiter].behind = None;
        self.scheduler.ready(&mut self.threads, waiter);
    }

    /// Takes a waiter out of the queue of an object that it stands in.
    pub fn leave_queue(&mut self, waiter: usize, server: usize) {
        let domain = &mut self.domains[server];
        if !domain.waiters.remove(&mut self.threads, waiter) {
            domain.parked.remove(&mut self.threads, waiter);
        }
    }

    /// Sets the lock word of an object that nobody is in.
    pub fn relock(&mut self, server: usize) {
        let domain = &self.domains[server];
        let usual = domain.state == ObjectState::Running
            && domain.waiters.is_empty()
            && domain.granted.is_none()
            && domain.sabotage == 0
            && self.ssr.server_holder(server_id(server)).is_none();
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
        // Whoever is parked waits for a request that retains a session, perhaps for this one.
        let mut next = self.ssr.retained(request_id(thread), None);
        while let Some(binding) = next {
            if let Some((waiting, _)) = self.domains[self.server_of(binding)].parked.highest(&self.threads) {
                priority = priority.max(waiting);
            }
            next = self.ssr.retained(request_id(thread), Some(binding));
        }
        self.scheduler.set_priority(&mut self.threads, thread, priority);
    }
}
