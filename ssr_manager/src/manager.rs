//! The manager: pools, registration, sessions from `bind` to `revoke`, enumeration.

use abi::info::Pool;
use abi::layout::SSR_MAX_PAGES;
use abi::ssr::{HEADER, MAGIC};
use abi::{Error, Handle};

use crate::request::Request;
use crate::server::{SUMS, Server};
use crate::set::Set;
use crate::undo::{Fate, Undo};
use crate::{
    Access, Binding, BindingId, MAX_COMMON_PAGES, Page, Platform, Region, ServerConfig, ServerId, State, UndoId,
};

/// The most bindings that a manager can have.
pub const MAX_BINDINGS: usize = 8192;

/// All Server State Regions of the system: `S` servers, `B` bindings, `U` pages with pre-images at once, `R` clients
/// and as many requests in progress (one a client: that of its thread).
///
/// The array of bindings comes first and a new manager is zero throughout, so that assembly reaches a binding from
/// the address of a static manager. Ids out of range are errors of the kernel and panic.
///
/// A client is known by a number: its index below `R` in the low byte, and above it how often that index was used.
#[repr(C)]
pub struct Manager<const S: usize, const B: usize, const U: usize, const R: usize> {
    pub(crate) bindings: [Binding; B],
    pub(crate) servers: [Server; S],
    pub(crate) undo: [Undo; U],
    pub(crate) requests: [Request; R],
    /// Bindings of the clients with each index.
    held: [Set; R],
    /// Slots of ended bindings; those from `fresh` on have never been used.
    free: Set,
    fresh: u16,
}

impl<const S: usize, const B: usize, const U: usize, const R: usize> Manager<S, B, U, R> {
    /// A manager without servers.
    #[allow(clippy::new_without_default, reason = "it belongs in a static, and is too large for a stack")]
    pub const fn new() -> Self {
        const { assert!(B <= MAX_BINDINGS && U < u16::MAX as usize && S < u16::MAX as usize && R <= 256) };
        Manager {
            bindings: [Binding::INITIAL; B],
            servers: [Server::INITIAL; S],
            undo: [Undo::INITIAL; U],
            requests: [Request::INITIAL; R],
            held: [Set::INITIAL; R],
            free: Set::INITIAL,
            fresh: 0,
        }
    }

    /// Registers a server, once, before its first binding, and reserves its pre-image frames. Its common region
    /// has its initial content and is mapped read-only by now.
    ///
    /// # Errors
    /// The pool that is used up. The system is then without this server: no session can be made with it, another
    /// registration is not possible, and the frames that it got remain its own.
    pub fn register(&mut self, server: ServerId, config: &ServerConfig, os: &mut impl Platform) -> Result<(), Pool> {
        let reserved: usize = self.servers.iter().map(|server| usize::from(server.config.undo_pages)).sum();
        if reserved + usize::from(config.undo_pages) > U {
            return Err(Pool::Undo);
        }
        if usize::from(config.common_pages) > MAX_COMMON_PAGES {
            return Err(Pool::Frames);
        }
        if config.ssr_pages == 1 {
            self.servers[server.index()].preimage = self.take_frame(server, os)?;
        }
        for index in 0..config.undo_pages {
            let frame = self.take_frame(server, os)?;
            self.put_reserve(server, UndoId::new(reserved as u16 + index), frame);
        }
        let sums = if config.integrity { usize::from(config.common_pages).div_ceil(SUMS) } else { 0 };
        for index in 0..sums {
            self.servers[server.index()].sums[index] = self.take_frame(server, os)?;
        }
        self.servers[server.index()].config = *config;
        self.seal_common(server, os);
        Ok(())
    }

    /// The common region of a server was filled: makes its checksums.
    pub fn seal_common(&mut self, server: ServerId, os: &mut impl Platform) {
        for page in 0..self.servers[server.index()].config.common_pages.into() {
            self.seal(Region::Common(server), page, os);
        }
    }

    fn take_frame(&mut self, server: ServerId, os: &mut impl Platform) -> Result<Page, Pool> {
        let page = os.alloc().ok_or(Pool::Frames)?;
        self.servers[server.index()].frames += 1;
        Ok(page)
    }

    fn give_frame(&mut self, server: ServerId, page: Page, os: &mut impl Platform) {
        if page != Page::NONE {
            os.free(page);
            self.servers[server.index()].frames -= 1;
        }
    }

    /// Makes a session of `client` with a server: zeroed SSR with its header, state [`State::Opening`]. `owner` and
    /// `object` are kept for the fast path; `nested` says that the client is an object. The kernel then runs the
    /// `open` hook in an activation without request and calls [`Manager::opened`].
    ///
    /// # Errors
    /// The pool or quota that is used up; nothing is made then.
    pub fn bind(
        &mut self,
        server: ServerId,
        client: u32,
        owner: u32,
        object: u32,
        nested: bool,
        os: &mut impl Platform,
    ) -> Result<BindingId, Pool> {
        let state = &self.servers[server.index()];
        if state.sessions.len() >= state.config.max_bindings.into() {
            return Err(Pool::ServerBindings);
        }
        if self.free.len() == 0 && usize::from(self.fresh) < B {
            self.free.put(BindingId::new(self.fresh), true);
            self.fresh += 1;
        }
        let b = self.free.next(None).ok_or(Pool::Bindings)?;
        self.bindings[b.index()] = Binding {
            owner,
            object,
            client,
            nested,
            preimage: state.preimage.0,
            session: b.index() as u32,
            generation: self.bindings[b.index()].generation.max(1),
            server: Some(server),
            state: State::Opening,
            integrity: state.config.integrity,
            ..Binding::INITIAL
        };
        self.enlist(server, b, true);
        let result = self.furnish_binding(server, b, os).map(|()| b);
        if result.is_err() {
            self.end(server, b, os);
        } else {
            self.expose(server, os);
        }
        result
    }

    /// Without protection: maps all SSRs of a server behind each of them.
    fn expose(&mut self, server: ServerId, os: &mut impl Platform) {
        let ServerConfig { exposed, ssr_pages, .. } = self.servers[server.index()].config;
        if !exposed {
            return;
        }
        let sessions = self.servers[server.index()].sessions;
        for b in sessions.after(None) {
            let mut behind = usize::from(ssr_pages)..SSR_MAX_PAGES as usize;
            for other in sessions.after(None).filter(|other| *other != b) {
                for (page, index) in (0..ssr_pages.into()).zip(&mut behind) {
                    os.expose(b, index, os.page(Region::Ssr(other), page));
                }
            }
            // Here lay the last one, before one of them ended.
            behind.take(ssr_pages.into()).for_each(|index| os.expose(b, index, Page::NONE));
        }
    }

    /// Enters a binding in the sets that it belongs to, or takes it out of them.
    fn enlist(&mut self, server: ServerId, b: BindingId, live: bool) {
        self.servers[server.index()].sessions.put(b, live);
        self.held[self.bindings[b.index()].client as usize & 0xff].put(b, live);
        self.free.put(b, !live);
    }

    fn furnish_binding(&mut self, server: ServerId, b: BindingId, os: &mut impl Platform) -> Result<(), Pool> {
        let config = self.servers[server.index()].config;
        let paged = config.ssr_pages > 1 && !config.exposed;
        for index in 0..config.ssr_pages {
            let page = self.take_frame(server, os)?;
            os.zero(page);
            let access = if index == 0 && paged { Access::ReadOnly } else { Access::ReadWrite };
            let binding = &mut self.bindings[b.index()];
            if index == 0 {
                (binding.ssr, binding.used) = (page.0, HEADER.next_multiple_of(32));
                for (word, value) in [MAGIC, HEADER, binding.session].into_iter().enumerate() {
                    os.set_word(page, word, value);
                }
            }
            if let Err(pool) = os.map(b, index.into(), page, access) {
                self.give_frame(server, page, os);
                return Err(pool);
            }
            binding.pages += 1;
        }
        if config.ssr_pages == 1 && self.bindings[b.index()].nested {
            self.bindings[b.index()].first = self.take_frame(server, os)?;
        }
        if paged && config.integrity {
            self.bindings[b.index()].sums = self.take_frame(server, os)?;
        }
        if config.ssr_pages > 0 && !config.exposed {
            self.bindings[b.index()].bound = 1;
            self.seal(Region::Ssr(b), 0, os);
        }
        Ok(())
    }

    /// The `open` hook has finished: the session takes calls. What the hook left is the session's first state, which
    /// no undo goes behind.
    pub fn opened(&mut self, b: BindingId, os: &mut impl Platform) {
        if self.bindings[b.index()].state == State::Opening {
            self.bindings[b.index()].state = State::Active;
            self.reloaded(b);
            self.end_ssr(b, Fate::Commit, os);
            self.refresh(b);
        }
    }

    /// What the client calls the binding by.
    pub fn handle(&self, b: BindingId) -> Handle {
        Handle { index: b.index() as u32, generation: self.bindings[b.index()].generation }
    }

    /// The binding behind a client's handle; it may be [`State::Lost`].
    ///
    /// # Errors
    /// [`Error::BadHandle`]: never a handle of this client; [`Error::StaleHandle`]: its session has ended.
    pub fn find(&self, handle: Handle, client: u32) -> Result<BindingId, Error> {
        let binding = self.bindings.get(handle.index as usize).ok_or(Error::BadHandle)?;
        let known = binding.generation == handle.generation && binding.client == client;
        match binding.state {
            State::Active | State::Lost if known => Ok(BindingId::new(handle.index as u16)),
            State::Closing | State::Ending if known => Err(Error::StaleHandle),
            _ if (1..binding.generation).contains(&handle.generation) => Err(Error::StaleHandle),
            _ => Err(Error::BadHandle),
        }
    }

    /// A binding, for reading.
    pub fn binding(&self, b: BindingId) -> &Binding {
        &self.bindings[b.index()]
    }

    /// Address of the binding with index 0, for the fast path; the others follow at 128 bytes each.
    pub fn bindings_base(&mut self) -> *mut Binding {
        self.bindings.as_mut_ptr()
    }

    /// Gives the binding's view its CONTEXTIDR (not 0) and TTBR0 values.
    pub fn set_view(&mut self, b: BindingId, contextidr: u32, ttbr0: u32) {
        let binding = &mut self.bindings[b.index()];
        (binding.contextidr, binding.ttbr0) = (contextidr, ttbr0);
        self.refresh(b);
    }

    /// All ASIDs are void (rollover): no view has a CONTEXTIDR, no binding takes the fast path.
    pub fn clear_views(&mut self) {
        for binding in &mut self.bindings[..self.fresh.into()] {
            (binding.contextidr, binding.fast_generation) = (0, 0);
        }
    }

    /// The client has left: no more calls, the `close` hook comes next, then [`Manager::revoke`].
    pub fn closing(&mut self, b: BindingId) {
        if self.bindings[b.index()].in_session() {
            self.bindings[b.index()].state = State::Closing;
            self.refresh(b);
        }
    }

    /// The state of the session cannot be kept: calls fail with `SessionLost` until the client unbinds. One that is closing has
    /// no client that would: it stays, and its `close` hook does not begin.
    #[cold]
    pub fn lose(&mut self, b: BindingId) {
        let binding = &mut self.bindings[b.index()];
        if !matches!(binding.state, State::Free | State::Ending | State::Closing) {
            binding.state = State::Lost;
            self.refresh(b);
        }
    }

    /// Ends a session: its frames are free, its handle is stale. While it is open, or retained by a request (whose
    /// undo may still need it), this is deferred to the end of that.
    pub fn revoke(&mut self, b: BindingId, os: &mut impl Platform) {
        if self.bindings[b.index()].state != State::Free {
            self.bindings[b.index()].state = State::Ending;
            self.refresh(b);
            self.settle(b, os);
        }
    }

    /// Ends a revoked binding that is part of nothing any more.
    #[inline]
    pub(crate) fn settle(&mut self, b: BindingId, os: &mut impl Platform) {
        let Binding { state, holder, server, .. } = self.bindings[b.index()];
        if let (State::Ending, None, Some(server)) = (state, holder, server)
            && self.servers[server.index()].open != Some(b)
        {
            self.end(server, b, os);
        }
    }

    fn end(&mut self, server: ServerId, b: BindingId, os: &mut impl Platform) {
        let Binding { pages, first, sums, generation, .. } = self.bindings[b.index()];
        self.enlist(server, b, false);
        self.expose(server, os);
        for index in 0..pages.into() {
            let page = os.unmap(b, index);
            self.give_frame(server, page, os);
        }
        self.give_frame(server, first, os);
        self.give_frame(server, sums, os);
        self.bindings[b.index()] = Binding { generation: generation.checked_add(1).unwrap_or(1), ..Binding::INITIAL };
        os.ended(b);
    }

    /// The private state of a server is gone: each of its sessions needs a reload. Takes the same time for any number
    /// of them: the server enters a new epoch, and theirs is another until [`Manager::reloaded`].
    pub fn mark_reload(&mut self, server: ServerId) {
        let epoch = &mut self.servers[server.index()].epoch;
        *epoch = epoch.wrapping_add(1);
    }

    /// The server's epoch: how often [`Manager::mark_reload`] was called for it, modulo 2^32.
    pub fn epoch(&self, server: ServerId) -> u32 {
        self.servers[server.index()].epoch
    }

    /// Whether the `reload` hook of this session is due.
    pub fn needs_reload(&self, b: BindingId) -> bool {
        let binding = &self.bindings[b.index()];
        binding.in_session() && binding.server.is_some_and(|server| binding.epoch != self.epoch(server))
    }

    /// The `reload` hook has finished for this session.
    pub fn reloaded(&mut self, b: BindingId) {
        self.bindings[b.index()].epoch = self.bindings[b.index()].server.map_or(0, |server| self.epoch(server));
    }

    /// The events that are set for the client when the server notifies this session; 0 until they are set.
    pub fn events(&self, b: BindingId) -> u32 {
        self.bindings[b.index()].events
    }

    /// Sets what [`Manager::events`] says.
    pub fn set_events(&mut self, b: BindingId, bits: u32) {
        self.bindings[b.index()].events = bits;
    }

    /// Whether the session asked for its `flush` hook after the commit.
    pub fn wants_flush(&self, b: BindingId) -> bool {
        self.bindings[b.index()].flush
    }

    /// Sets what [`Manager::wants_flush`] says. An undo of the request clears it.
    pub fn set_flush(&mut self, b: BindingId, flush: bool) {
        self.bindings[b.index()].flush = flush;
    }

    /// The next session of a server that hooks concern, in order of indices; `after` is the one given before, which may
    /// have ended since. Sessions that come meanwhile may or may not be met.
    pub fn next_session(&self, server: ServerId, after: Option<BindingId>) -> Option<BindingId> {
        self.servers[server.index()].sessions.after(after).find(|b| self.bindings[b.index()].in_session())
    }

    /// The next binding that a client holds, in whatever state but [`State::Ending`], in order of indices; `after` is
    /// the one given before, which may have ended since.
    pub fn sessions_of(&self, client: u32, after: Option<BindingId>) -> Option<BindingId> {
        self.held_by(client, after).find(|b| self.bindings[b.index()].state != State::Ending)
    }

    /// A session of a client with a server, in this state.
    pub fn session_between(&self, client: u32, server: ServerId, state: State) -> Option<BindingId> {
        self.held_by(client, None).find(|b| {
            let binding = &self.bindings[b.index()];
            (binding.server, binding.state) == (Some(server), state)
        })
    }

    /// Bindings that a client holds, those that are ending included. Takes time in proportion to their number.
    pub fn bindings_of(&self, client: u32) -> usize {
        self.held_by(client, None).count()
    }

    fn held_by(&self, client: u32, after: Option<BindingId>) -> impl Iterator<Item = BindingId> {
        self.held[client as usize & 0xff].after(after).filter(move |b| self.bindings[b.index()].client == client)
    }

    /// Bindings of a server, those that are opening, lost or ending included.
    pub fn sessions(&self, server: ServerId) -> usize {
        self.servers[server.index()].sessions.len()
    }

    /// Bindings that can still be made.
    pub fn bindings_free(&self) -> usize {
        B - usize::from(self.fresh) + self.free.len()
    }

    /// Frames that a server and its sessions hold: SSRs, pre-images, checksums.
    pub fn frames_of(&self, server: ServerId) -> usize {
        self.servers[server.index()].frames as usize
    }

    /// Decides anew whether the fast path may be taken with this binding, but for what changes for all sessions of a
    /// server at once: the fast path itself compares the epoch, and a lock word refuses it while a request retains the
    /// server ([`Manager::server_holder`]).
    pub(crate) fn refresh(&mut self, b: BindingId) {
        let binding = &mut self.bindings[b.index()];
        binding.fast_generation = 0;
        let ready = binding.state == State::Active && binding.contextidr != 0;
        if ready && !binding.nested && binding.pages <= 1 && !binding.integrity {
            binding.fast_generation = binding.generation;
        }
    }
}
