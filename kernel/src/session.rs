//! Sessions: bind and unbind, and the hooks `open` and `close`.

use abi::error::Refusal;
use abi::info::Pool;
use abi::{Error, Events, Handle};
use ssr_manager::{BindingId, State as Session};

use crate::call::Step;
use crate::domain::{OBJECTS, Role};
use crate::kernel::{Kernel, server_id};
use crate::thread::{Kind, Pending};

impl Kernel {
    /// `open` of a new binding, or `close` of one that ends.
    pub fn try_hook(&mut self, thread: usize, handle: Handle, kind: Kind) -> Result<Step, Error> {
        let binding = BindingId::new(handle.index as u16);
        if self.ssr.handle(binding) != handle {
            return Ok(Step::Done(0));
        }
        let server = self.server_of(binding);
        let error = match self.acquire(thread, server) {
            Ok(false) => return Ok(Step::Going),
            Ok(true) if self.threads[thread].frame(self.threads[thread].depth + 1).attempts >= 2 => {
                self.release(server);
                self.charge_session(server, binding);
                Error::ServerFault
            }
            Ok(true) => {
                let request = self.ssr.holder(binding).filter(|request| request.index() == thread);
                match self.enter_session(thread, server, binding, request, kind) {
                    Ok(_) => return Ok(Step::Going),
                    Err(Error::Reentry) if kind == Kind::Close => {
                        self.close_later(server, binding);
                        return Ok(Step::Done(0));
                    }
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        self.ssr.revoke(binding, &mut self.machine);
        if kind == Kind::Close { Ok(Step::Done(0)) } else { Err(error) }
    }

    pub fn finish_open(&mut self, thread: usize, binding: BindingId, status: u32) {
        if status != 0 {
            self.ssr.revoke(binding, &mut self.machine);
            self.threads[thread].top_mut().registers[0] = status;
            return;
        }
        self.ssr.opened(binding, &mut self.machine);
        let handle = self.ssr.handle(binding);
        self.answer_handle(thread, handle);
    }

    fn answer_handle(&mut self, thread: usize, handle: Handle) {
        let registers = &mut self.threads[thread].top_mut().registers;
        (registers[0], registers[1], registers[2]) = (0, handle.index, handle.generation);
    }

    /// `KernelCall::Bind`: makes a session; the server's `open` hook comes next.
    pub fn bind(&mut self, thread: usize, name: [u8; 16], events: u32) -> Result<Option<u32>, Refusal> {
        let client = self.domain_of(thread);
        let entry = self.entry_of(client);
        let server = self.find_object(&name).ok_or(Error::NotFound)?;
        if entry.callees >> server & 1 == 0 {
            return Err(Refusal(Error::NotPermitted, server as u32));
        }
        if events & !Events::NOTIFICATIONS.bits() != 0 {
            return Err(Error::BadArgument.into());
        }
        let nested = self.domains[client].role == Role::Object;
        let number = self.client_of(client);
        let own = |state| self.ssr.session_between(number, server_id(server), state).filter(|_| nested);
        let (old, lost) = (own(Session::Active), own(Session::Lost));
        if let Some(binding) = old {
            // An object has one session with each of its servers: rebuilt, it finds the old one again.
            self.ssr.set_events(binding, self.ssr.events(binding) | events);
            self.answer_handle(thread, self.ssr.handle(binding));
            return Ok(None);
        }
        if let Some(binding) = lost {
            // It has no use for the one that it lost.
            self.ssr.revoke(binding, &mut self.machine);
        }
        // The last eighth of an object's sessions is for clients that have none.
        let most = self.entry_of(server).max_bindings as usize;
        let scarce = self.ssr.sessions(server_id(server)) + most.div_ceil(8) >= most;
        if scarce && self.ssr.session_between(number, server_id(server), Session::Active).is_some() {
            return Err(Pool::ServerBindings.into());
        }
        if let Some(until) = self.domains[client].blamed_until[server] {
            if (self.tick.wrapping_sub(until) as i32) < 0 {
                return Err(Error::Blamed.into());
            }
            self.domains[client].blamed_until[server] = None;
        }
        if self.ssr.bindings_of(number) >= entry.quota_bindings as usize {
            return Err(Pool::ClientBindings.into());
        }
        let (owner, object) = (self.address_of(client), self.address_of(server));
        let binding = self.ssr.bind(server_id(server), number, owner, object, nested, &mut self.machine)?;
        if let Err(pool) = self.machine.binding_view(server, binding.index()) {
            self.ssr.revoke(binding, &mut self.machine);
            return Err(pool.into());
        }
        self.ssr.set_events(binding, events);
        self.threads[thread].begin(Pending::Open(self.ssr.handle(binding)));
        Ok(None)
    }

    /// `KernelCall::Unbind`: the server's `close` hook comes next.
    pub fn unbind(&mut self, thread: usize, handle: Handle) -> Result<Option<u32>, Refusal> {
        let binding = self.ssr.find(handle, self.client_of(self.domain_of(thread)))?;
        if self.ssr.binding(binding).state == Session::Lost {
            self.ssr.revoke(binding, &mut self.machine);
            return Ok(Some(0));
        }
        self.ssr.closing(binding);
        self.threads[thread].begin(Pending::Close(handle));
        Ok(None)
    }

    /// The object with this name.
    pub fn find_object(&self, name: &[u8; 16]) -> Option<usize> {
        (0..OBJECTS).find(|object| self.domains[*object].role == Role::Object && &self.entry_of(*object).name == name)
    }
}
