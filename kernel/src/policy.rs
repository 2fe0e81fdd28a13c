//! The scheduler object decides which process runs, the kernel dispatches (design: section 4).
//!
//! While that object is held, retained or being rebuilt the kernel goes by its own priority numbers. Kernel threads, and
//! threads to whom one of higher priority that waits for them has lent its own, it dispatches itself in any case.

use abi::info::{ObjectState, Trace};

use crate::domain::OBJECTS;
use crate::kernel::{Kernel, request_id, server_id};
use crate::thread::{Kind, State};

/// The longest slice that a scheduler may give, in ticks.
const MAX_SLICE: u32 = 100;

impl Kernel {
    /// The process to run: what the scheduler object chose, `first` if it cannot be asked. `None`: it has been asked.
    pub fn choose(&mut self, first: usize) -> Option<usize> {
        let inherited = self.threads[first].priority > self.threads[first].base_priority;
        let Some(policy) = self.policy.filter(|_| !inherited && !self.scheduler.processes.is_power_of_two()) else {
            return Some(first);
        };
        // Whoever is in the scheduler, or has it next, keeps it from deciding: by the kernel's numbers it might never run.
        let holder = self.owner(policy).or(self.domains[policy].granted);
        if let Some(holder) = holder.filter(|holder| self.threads[*holder].state == State::Ready) {
            return Some(holder);
        }
        if self.scheduler.chosen.is_none() {
            let domain = &self.domains[policy];
            let free = domain.state == ObjectState::Running
                && holder.is_none()
                && domain.waiters.is_empty()
                && self.threads[policy].state == State::Idle;
            if free && self.ssr.begin_object(server_id(policy), Some(request_id(policy))).is_ok() {
                self.scheduler.ready(&mut self.threads, policy);
                self.activate(policy, policy, None, Kind::Decide);
                let (previous, since) = self.dispatched;
                let ticks = self.threads[previous].ticks.wrapping_sub(since);
                let ready = self.scheduler.processes;
                let slot = (previous + 1).saturating_sub(OBJECTS) as u32;
                self.upcall_registers(policy, [ready as u32, (ready >> 32) as u32, slot, ticks]);
                return None;
            }
            self.trace(Trace::NoScheduler, policy, domain.state as u32);
            self.scheduler.chosen = Some(first);
        }
        self.scheduler.chosen
    }

    /// The scheduler object has decided. A choice that cannot run is replaced by the kernel's own.
    pub fn decided(&mut self, policy: usize, slot: u32, slice: u32) {
        let ready = self.scheduler.processes;
        let valid = slot < u64::BITS && ready >> slot & 1 == 1;
        let slot = if valid { slot } else { ready.trailing_zeros() };
        if ready != 0 {
            let thread = OBJECTS + slot as usize;
            self.threads[thread].slice = slice.clamp(1, MAX_SLICE);
            self.scheduler.chosen = Some(thread);
            self.dispatched = (thread, self.threads[thread].ticks);
        }
        self.release(policy);
        self.end_request(policy);
        if !self.has_events(policy) && !self.domains[policy].closings && self.domains[policy].order.is_none() {
            self.rest(policy);
        }
    }
}
