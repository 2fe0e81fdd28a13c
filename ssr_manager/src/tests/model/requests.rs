//! How activations and requests end.

use crate::*;

use super::{World, request_id};

impl World {
    /// The call at the top of request `r` returns.
    pub fn ret(&mut self, r: usize, flush: bool) {
        let Some(server) = self.stacks[r].pop() else { return };
        let b = self.servers[server.index()].active.as_ref().expect("active").open;
        self.finish(server);
        if let Some(b) = b.filter(|b| self.sessions.contains_key(b)) {
            self.ssr.set_flush(b, flush);
        }
        if self.stacks[r].is_empty() {
            self.end_request(r, flush);
        }
    }

    pub fn finish(&mut self, server: ServerId) {
        let active = self.servers[server.index()].active.take().expect("active");
        let finishes = active.request.map_or(0, |request| self.ssr.nested_finishes(request));
        let finished = self.ssr.finish(server, &mut self.machine);
        let state = &mut self.servers[server.index()];
        if let Some(b) = active.open {
            let session = self.sessions.get_mut(&b).expect("open");
            if let Some(request) = active.request.filter(|_| session.nested()) {
                session.holder = active.request;
                if state.retained.is_empty() && state.config.serial {
                    state.first = Some(active.common);
                }
                state.retained.insert(b);
                assert_eq!(self.ssr.nested_finishes(request), finishes + 1);
            }
        }
        assert_eq!(finished, Ok(()));
        self.settle();
    }

    /// Rolls the running activation back.
    pub fn fail_activation(&mut self, server: ServerId) {
        let active = self.servers[server.index()].active.take().expect("active");
        self.ssr.rollback(server, &mut self.machine);
        if let Some(b) = active.open {
            let session = self.sessions.get_mut(&b).expect("open");
            let before = active.memory.expect("of a session");
            let small = before.bytes.len() == PAGE_SIZE;
            session.memory.used = before.used;
            session.memory.bytes[..before.used].copy_from_slice(&before.bytes[..before.used]);
            if small {
                session.memory.bytes[before.used..].fill(0);
            }
            if active.first_use {
                session.first = None;
            }
        }
        self.servers[server.index()].common = active.common;
        self.saw("rollback");
        self.settle();
    }

    /// The call at the top of request `r` fails.
    pub fn fail(&mut self, r: usize, broken_header: bool) {
        let Some(server) = self.stacks[r].last().copied() else { return };
        let open = self.servers[server.index()].active.as_ref().expect("active").open;
        if broken_header && let Some(b) = open.filter(|b| self.sessions[b].memory.used > 0) {
            let (offset, value) = [(0, 0), (5, 0x77), (4, 15), (8, 99), (4, 1)][b.index() % 5];
            let used_high = self.sessions[&b].memory.used >> 8;
            if !self.store(server, RegionKind::Ssr, offset, value) {
                return self.unwind(r, server);
            }
            if offset != 4 || used_high == 0 {
                assert_eq!(self.ssr.finish(server, &mut self.machine), Err(Damaged));
                assert_eq!(self.ssr.servers[server.index()].open, Some(b), "damaged, and closed");
                self.saw("damaged header");
            }
        }
        let finishes = self.servers[server.index()].active.as_ref().expect("active").finishes;
        self.fail_activation(server);
        if finishes != self.ssr.nested_finishes(request_id(r)) {
            self.saw("escalated");
            return self.unwind(r, server);
        }
        self.stacks[r].pop();
        if self.stacks[r].is_empty() {
            self.undo(r);
        }
    }

    /// The whole of request `r` fails.
    pub fn abort(&mut self, r: usize) {
        if let Some(server) = self.stacks[r].last().copied() {
            self.fail_activation(server);
            self.unwind(r, server);
        }
    }

    /// The rest of the stack of request `r` fails after its top, `failed`, was rolled back.
    pub fn unwind(&mut self, r: usize, failed: ServerId) {
        assert_eq!(self.stacks[r].pop(), Some(failed));
        while let Some(server) = self.stacks[r].pop() {
            self.fail_activation(server);
        }
        self.undo(r);
    }

    pub fn undo(&mut self, r: usize) {
        while self.ssr.undo_next(request_id(r), &mut self.machine).is_some() {}
        for (b, session) in self.sessions.iter_mut().filter(|(_, session)| session.holder == Some(request_id(r))) {
            session.holder = None;
            session.needs_reload |= matches!(session.state, State::Active | State::Closing);
            if let Some(first) = session.first.take() {
                let small = first.bytes.len() == PAGE_SIZE;
                session.memory.used = first.used;
                session.memory.bytes[..first.used].copy_from_slice(&first.bytes[..first.used]);
                if small {
                    session.memory.bytes[first.used..].fill(0);
                }
            }
            assert!(!self.ssr.wants_flush(*b) || session.state == State::Ending);
            *self.seen.entry("undone").or_default() += 1;
            let server = &mut self.servers[session.server.index()];
            server.retained.remove(b);
            if let Some(first) = server.first.take() {
                server.common = first;
            }
        }
        self.settle();
    }

    /// The outermost call has returned.
    pub fn end_request(&mut self, r: usize, flush: bool) {
        let request = request_id(r);
        if flush {
            self.ssr.commit_request(request, &mut self.machine);
            for session in self.sessions.values_mut().filter(|session| session.holder == Some(request)) {
                session.first = None;
                let server = &mut self.servers[session.server.index()];
                if server.first.is_some() {
                    server.first = Some(server.common.clone());
                }
            }
            let mut cursor = self.ssr.retained(request, None);
            while let Some(b) = cursor {
                self.flush(b, request);
                cursor = self.ssr.retained(request, Some(b));
            }
        }
        while self.ssr.release_next(request, &mut self.machine).is_some() {}
        for (b, session) in self.sessions.iter_mut().filter(|(_, session)| session.holder == Some(request)) {
            (session.holder, session.first) = (None, None);
            let server = &mut self.servers[session.server.index()];
            server.retained.remove(b);
            server.first = None;
            *self.seen.entry("released").or_default() += 1;
        }
        self.settle();
    }

    /// A flush hook that fails once, and then does not.
    pub fn flush(&mut self, b: BindingId, request: RequestId) {
        let server = self.sessions[&b].server;
        for fails in [true, false] {
            if self.begin(b, Some(request)).is_ok() && self.scribble(server, 5, 2) {
                self.saw("flush");
                if fails {
                    self.fail_activation(server);
                } else {
                    self.finish(server);
                }
            }
        }
    }
}
