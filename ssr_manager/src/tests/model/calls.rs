//! Activations and what runs in them.

use crate::*;
use abi::info::Pool;

use super::{Activation, Session, World, object, program, request_id, server_id};

impl World {
    /// `Manager::begin` and what it must say.
    pub fn begin(&mut self, b: BindingId, request: Option<RequestId>) -> Result<Begin, BeginError> {
        let holder = self.holder(b);
        let server = self.sessions[&b].server;
        let result = self.ssr.begin(b, request, &mut self.machine);
        let session = self.sessions.get_mut(&b).expect("a session");
        let state = &mut self.servers[server.index()];
        let expected = if matches!(session.state, State::Lost | State::Ending) {
            Err(BeginError::Lost)
        } else if state.active.is_some() || (holder.is_some() && holder != request) {
            Err(BeginError::Busy)
        } else if session.needs_reload {
            Ok(Begin::NeedsReload)
        } else {
            Ok(Begin::Ready)
        };
        assert_eq!(result, expected);
        match result {
            Ok(_) => {
                let first_use = session.nested() && request.is_some() && session.first.is_none();
                if first_use {
                    session.first = Some(session.memory.clone());
                }
                let memory = Some(session.memory.clone());
                let finishes = request.map_or(0, |request| self.ssr.nested_finishes(request));
                state.active = Some(Activation {
                    open: Some(b),
                    request,
                    memory,
                    common: state.common.clone(),
                    first_use,
                    finishes,
                });
            }
            Err(BeginError::Busy) => self.saw("busy"),
            Err(BeginError::Lost) => self.saw("lost"),
        }
        result
    }

    /// A call of request `r`: the outermost if its stack is empty, else nested in what is at its top.
    pub fn call(&mut self, r: usize, choice: usize) {
        let client = self.stacks[r].last().map_or(program(r), |server| object(*server));
        let callable =
            |_, session: &Session| session.client == client && matches!(session.state, State::Active | State::Lost);
        let Some(b) = self.pick(choice, callable) else { return };
        let server = self.sessions[&b].server;
        if self.stacks[r].contains(&server) {
            return;
        }
        match self.begin(b, Some(request_id(r))) {
            Ok(Begin::Ready) => {
                self.saw(if self.stacks[r].is_empty() { "call" } else { "nested call" });
                self.stacks[r].push(server);
            }
            Ok(Begin::NeedsReload) => {
                if self.scribble(server, choice, 1) {
                    self.finish(server);
                    self.ssr.reloaded(b);
                    self.sessions.get_mut(&b).expect("open").needs_reload = false;
                    self.saw("reload");
                }
            }
            Err(_) => {}
        }
    }

    /// A call on the fast path: as the kernel's assembly does it.
    pub fn fast(&mut self, r: usize, choice: usize, adopt: bool) {
        if !self.stacks[r].is_empty() {
            return;
        }
        let Some(b) = self.pick(choice, |_, session| session.client == program(r)) else { return };
        let server = self.sessions[&b].server;
        let binding = *self.ssr.binding(b);
        let reloaded = binding.epoch == self.ssr.epoch(server);
        let locked = self.servers[server.index()].active.is_some() || self.ssr.server_holder(server).is_some();
        if binding.fast_generation == 0 || !reloaded || locked {
            return;
        }
        assert_eq!(binding.fast_generation, self.sessions[&b].handle.generation);
        assert!(!self.sessions[&b].needs_reload);
        if binding.ssr != 0 {
            self.machine.copy(Page(binding.preimage), Page(binding.ssr), binding.used as usize);
        }
        let session = &self.sessions[&b];
        let state = &mut self.servers[server.index()];
        let (memory, common) = (Some(session.memory.clone()), state.common.clone());
        let (request, finishes) = (Some(request_id(r)), self.ssr.nested_finishes(request_id(r)));
        state.active = Some(Activation { open: Some(b), request, memory, common, first_use: false, finishes });
        self.stacks[r].push(server);
        if adopt || self.servers[server.index()].config.common_pages > 0 {
            self.ssr.adopt(b, request_id(r));
            self.saw("adopted");
            return;
        }
        // Nothing unusual happens: the manager never hears of the call, but for the new length.
        self.scribble(server, choice, 2);
        if binding.ssr != 0 {
            self.resize(r, choice * 61);
            self.ssr.bindings[b.index()].used = self.sessions[&b].memory.used as u32;
        }
        self.servers[server.index()].active = None;
        self.stacks[r].pop();
        self.saw("fast");
    }

    /// One byte written by the running service, with the fault that it takes. False: the activation has failed and
    /// is rolled back.
    pub fn store(&mut self, server: ServerId, kind: RegionKind, offset: usize, value: u8) -> bool {
        let open = self.servers[server.index()].active.as_ref().expect("active").open;
        let region = match (kind, open) {
            (RegionKind::Ssr, Some(b)) => Region::Ssr(b),
            (RegionKind::Ssr, None) => return true,
            (RegionKind::Common, _) => Region::Common(server),
        };
        let page = offset / PAGE_SIZE;
        if self.machine.access(region, page) == Access::ReadOnly {
            match self.ssr.write_fault(server, kind, page, &mut self.machine) {
                Ok(Fault::Opened) => {
                    let of = if kind == RegionKind::Ssr { open } else { None };
                    self.servers[server.index()].written.insert((of, page));
                    self.saw("opened");
                }
                Err(Pool::Undo) => {
                    assert_eq!(self.ssr.undo_free(server), 0);
                    self.saw("undo exhausted");
                    self.fail_activation(server);
                    return false;
                }
                other => panic!("{other:?} at a page that was read-only and intact"),
            }
            let again = self.ssr.write_fault(server, kind, page, &mut self.machine);
            assert_eq!(again, Ok(Fault::Spurious));
        }
        assert_eq!(self.machine.access(region, page), Access::ReadWrite);
        self.machine.poke(region, offset, value);
        match region {
            Region::Ssr(b) => self.sessions.get_mut(&b).expect("open").memory.bytes[offset] = value,
            Region::Common(_) => self.servers[server.index()].common[offset] = value,
        }
        true
    }

    /// Some writes of the running service. False: the activation has failed.
    pub fn scribble(&mut self, server: ServerId, seed: usize, count: usize) -> bool {
        (0..count).all(|step| {
            let seed = seed.wrapping_mul(31).wrapping_add(step * 7919);
            let config = self.servers[server.index()].config;
            if config.common_pages > 0 && seed.is_multiple_of(3) {
                return self.store(
                    server,
                    RegionKind::Common,
                    seed % (usize::from(config.common_pages) * PAGE_SIZE),
                    seed as u8,
                );
            }
            match self.servers[server.index()].active.as_ref().expect("active").open {
                Some(b) if config.ssr_pages > 0 => {
                    let used = self.sessions[&b].memory.used;
                    let offset = if used > 32 { 16 + seed % (used - 16) } else { 16 + seed % 16 };
                    self.store(server, RegionKind::Ssr, offset, seed as u8)
                }
                _ => true,
            }
        })
    }

    /// Writes of what runs at the top of request `r`.
    pub fn write(&mut self, r: usize, seed: usize) {
        if let Some(server) = self.stacks[r].last().copied()
            && !self.scribble(server, seed, 3)
        {
            self.unwind(r, server);
        }
    }

    /// The service at the top of request `r` makes its state larger or smaller.
    pub fn resize(&mut self, r: usize, to: usize) {
        if let Some(server) = self.stacks[r].last().copied()
            && !self.set_size(server, to)
        {
            self.unwind(r, server);
        }
    }

    /// The running service makes its state larger or smaller. False: the activation has failed.
    pub fn set_size(&mut self, server: ServerId, to: usize) -> bool {
        let open = self.servers[server.index()].active.as_ref().expect("active").open;
        let pages = usize::from(self.servers[server.index()].config.ssr_pages);
        let Some(b) = open.filter(|_| pages > 0) else { return true };
        let raw = 16 + to % (pages * PAGE_SIZE - 15);
        let (old, new) = (self.sessions[&b].memory.used, raw.next_multiple_of(32));
        let mut bytes: Vec<(usize, u8)> = (old..new).map(|offset| (offset, (offset / 32 + to) as u8)).collect();
        bytes.extend((4..).zip((raw as u32).to_le_bytes()));
        if !bytes.into_iter().all(|(offset, value)| self.store(server, RegionKind::Ssr, offset, value)) {
            return false;
        }
        self.sessions.get_mut(&b).expect("open").memory.used = new;
        self.saw(if new > old { "grown" } else { "shrunk" });
        true
    }

    /// A hook of the kernel on an idle session (reload or close), or an upcall of its server.
    pub fn hook(&mut self, choice: usize, seed: usize, upcall: bool, fails: bool) {
        let Some(b) = self.pick(choice, |_, session| matches!(session.state, State::Active | State::Closing)) else {
            return;
        };
        let server = self.sessions[&b].server;
        let holder = self.holder(b);
        if upcall {
            let whole = self.servers[server.index()].config.serial.then_some(holder).flatten();
            let state = &mut self.servers[server.index()];
            if whole.is_some() {
                assert_eq!(self.ssr.begin_object(server, None), Err(BeginError::Busy));
            }
            let result = self.ssr.begin_object(server, whole);
            assert_eq!(result.is_err(), state.active.is_some());
            if result.is_err() {
                return;
            }
            state.active = Some(Activation {
                open: None,
                request: whole,
                memory: None,
                common: state.common.clone(),
                first_use: false,
                finishes: 0,
            });
            self.saw("upcall");
        } else if self.begin(b, holder).is_err() {
            return;
        }
        if self.scribble(server, seed, 3) {
            if fails {
                self.fail_activation(server);
            } else {
                self.finish(server);
            }
        }
    }

    /// The private state of a server is gone; its sessions are reloaded at once or, `lazy`, at their next calls. The
    /// server may fail while they are reloaded, `again`.
    pub fn recover(&mut self, server: usize, lazy: bool, again: bool) {
        if self.servers[server].active.is_some() {
            return;
        }
        self.mark_reload(server);
        let mut cursor = self.ssr.next_session(server_id(server), None).filter(|_| !lazy);
        while let Some(b) = cursor {
            assert!(self.sessions[&b].needs_reload);
            let holder = self.holder(b);
            assert_eq!(self.begin(b, holder), Ok(Begin::NeedsReload));
            if self.scribble(server_id(server), b.index(), 1) {
                self.finish(server_id(server));
                self.ssr.reloaded(b);
                self.sessions.get_mut(&b).expect("open").needs_reload = false;
            }
            cursor = self.ssr.next_session(server_id(server), cursor);
            if again && b.index() % 2 == 0 {
                return self.mark_reload(server);
            }
        }
    }

    fn mark_reload(&mut self, server: usize) {
        let epoch = self.ssr.epoch(server_id(server));
        self.ssr.mark_reload(server_id(server));
        assert_eq!(self.ssr.epoch(server_id(server)), epoch + 1);
        for session in self.sessions.values_mut().filter(|session| session.server.index() == server) {
            if matches!(session.state, State::Active | State::Closing) {
                let twice = std::mem::replace(&mut session.needs_reload, true);
                *self.seen.entry("two recoveries without a reload").or_default() += usize::from(twice);
            }
        }
    }
}
