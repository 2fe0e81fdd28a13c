//! What must hold between two steps, and at the end.

use crate::*;
use abi::Error;

use super::{BINDINGS, CLIENTS, GENERATION, Memory, REQUESTS, SERVERS, Session, World, server_id};

impl World {
    /// Ends everything and looks for what is left.
    pub fn tear_down(&mut self) {
        for r in 0..REQUESTS {
            self.abort(r);
        }
        self.check();
        for _ in 0..self.sessions.len() {
            self.revoke(0);
        }
        assert!(self.sessions.is_empty(), "sessions that do not end");
        self.check();
        for (index, server) in self.servers.iter().enumerate() {
            let config = server.config;
            let sums = if config.integrity { usize::from(config.common_pages) } else { 0 };
            let reserve = usize::from(config.undo_pages) + usize::from(config.ssr_pages == 1) + sums.div_ceil(512);
            assert_eq!(self.ssr.frames_of(server_id(index)), reserve);
            assert_eq!(self.ssr.undo_free(server_id(index)), usize::from(config.undo_pages));
        }
        assert_eq!(self.ssr.bindings_free(), BINDINGS);
    }

    /// All that must hold between two steps.
    pub fn check(&mut self) {
        self.check_memory();
        self.check_servers();
        self.check_sessions();
    }

    fn check_memory(&self) {
        for (b, session) in &self.sessions {
            let Memory { bytes, used } = &session.memory;
            // Beyond `used`, a large SSR holds anything; a small one is as the service or an undo left it.
            let small = bytes.len() == PAGE_SIZE;
            let known = if small { bytes.len() } else { *used };
            for (page, expected) in bytes[..known].chunks(PAGE_SIZE).enumerate() {
                let found = &self.machine.bytes(Region::Ssr(*b), page)[..expected.len()];
                assert!(found == expected, "SSR of {b:?}, page {page}");
            }
        }
        for (index, server) in self.servers.iter().enumerate() {
            for (page, expected) in server.common.chunks(PAGE_SIZE).enumerate() {
                let found = self.machine.bytes(Region::Common(server_id(index)), page);
                assert!(found == expected, "common region of server {index}, page {page}");
            }
        }
    }

    fn check_servers(&mut self) {
        let mut frames = 0;
        for index in 0..SERVERS {
            let id = server_id(index);
            let server = &mut self.servers[index];
            let open = server.active.as_ref().and_then(|active| active.open);
            assert_eq!(self.ssr.servers[index].active, server.active.is_some());
            assert_eq!(self.ssr.servers[index].open, open);
            let retained = server.retained.iter().next().filter(|_| server.config.serial);
            assert_eq!(self.ssr.server_holder(id), retained.and_then(|b| self.sessions[b].holder));
            let taken = usize::from(server.config.undo_pages) - self.ssr.undo_free(id);
            if taken == 0 {
                server.written.clear();
            }
            assert!(taken <= 2 * server.written.len(), "more than two pre-images of a page");
            if server.active.is_none() && server.retained.is_empty() {
                assert_eq!(taken, 0, "pre-images of nothing");
            }
            for page in 0..usize::from(server.config.common_pages) {
                let closed = self.machine.access(Region::Common(id), page) == Access::ReadOnly;
                assert!(closed || server.active.is_some(), "a common region is open at rest");
            }
            frames += self.ssr.frames_of(id);
            let of_server = self.sessions.values().filter(|session| session.server == id).count();
            assert_eq!(self.ssr.sessions(id), of_server);
            let mut expected: Vec<_> = self
                .sessions
                .iter()
                .filter(|(_, s)| s.server == id && matches!(s.state, State::Active | State::Closing))
                .map(|(b, _)| *b)
                .collect();
            expected.sort();
            let met: Vec<_> =
                std::iter::successors(self.ssr.next_session(id, None), |b| self.ssr.next_session(id, Some(*b)))
                    .collect();
            assert_eq!(met, expected);
        }
        assert_eq!(frames, self.machine.live(), "frames that belong to nobody");
    }

    fn check_sessions(&self) {
        assert_eq!(self.ssr.bindings_free(), BINDINGS - self.sessions.len());
        for handle in &self.stale {
            for client in (0..CLIENTS as u32).map(|index| GENERATION | index) {
                assert!(self.ssr.find(*handle, client).is_err(), "a stale handle is good again");
            }
        }
        for client in (0..CLIENTS as u32).flat_map(|index| [index, GENERATION | index]) {
            let held = || self.sessions.iter().filter(|(_, session)| session.client == client);
            assert_eq!(self.ssr.bindings_of(client), held().count());
            let expected: Vec<_> =
                held().filter(|(_, session)| session.state != State::Ending).map(|(b, _)| *b).collect();
            let met: Vec<_> =
                std::iter::successors(self.ssr.sessions_of(client, None), |b| self.ssr.sessions_of(client, Some(*b)))
                    .collect();
            assert_eq!(met, expected);
            for (b, session) in held() {
                let found = self.ssr.session_between(client, session.server, session.state);
                let alike = |(_, other): &(_, &Session)| other.server == session.server && other.state == session.state;
                assert_eq!(found, held().find(alike).map(|(b, _)| *b), "{b:?}");
            }
        }
        for (b, session) in &self.sessions {
            let binding = self.ssr.binding(*b);
            let server = &self.servers[session.server.index()];
            let active = server.active.as_ref().filter(|active| active.open == Some(*b));
            assert_eq!(binding.state, session.state);
            assert_eq!(self.ssr.holder(*b), self.holder(*b));
            let in_session = matches!(session.state, State::Active | State::Closing);
            assert_eq!(self.ssr.needs_reload(*b), session.needs_reload && in_session);
            assert_eq!(self.ssr.events(*b), session.events);
            let expected = match session.state {
                State::Active | State::Lost => Ok(*b),
                State::Closing | State::Ending => Err(Error::StaleHandle),
                _ => Err(Error::BadHandle),
            };
            assert_eq!(self.ssr.find(session.handle, session.client), expected);
            assert_eq!(self.ssr.find(session.handle, session.client + 1), Err(Error::BadHandle));
            if active.is_none() {
                assert_eq!(binding.used as usize, session.memory.used);
            }
            if session.memory.bytes.len() > PAGE_SIZE && active.is_none() {
                let closed = session.memory.used.div_ceil(PAGE_SIZE);
                let closed = session.first.as_ref().map_or(closed, |first| closed.max(first.used.div_ceil(PAGE_SIZE)));
                for page in 0..session.memory.bytes.len() / PAGE_SIZE {
                    let access = self.machine.access(Region::Ssr(*b), page);
                    assert_eq!(access == Access::ReadOnly, page < closed, "access to page {page} of an SSR at rest");
                }
            }
            let quiet = session.state == State::Active && session.contextidr;
            let plain = !session.nested() && server.config.ssr_pages <= 1 && !server.config.integrity;
            assert_eq!(binding.fast_generation != 0, quiet && plain, "fast path of {b:?}");
        }
    }
}
