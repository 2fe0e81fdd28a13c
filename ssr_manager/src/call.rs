//! Activations: what happens to a region between the start of a call and its end.

use abi::ssr::{HEADER, MAGIC};

use crate::server::Server;
use crate::undo::Fate;
use crate::{Access, BindingId, Manager, PAGE_SIZE, Page, Platform, Region, RequestId, ServerId, State};

/// What to run in an activation that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// The method or hook.
    Ready,
    /// The `reload` hook, and nothing else: then [`Manager::finish`], [`Manager::reloaded`] and `begin` again.
    NeedsReload,
}

/// Why an activation did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginError {
    /// An activation runs, or another request retains the binding or the server: the caller waits.
    Busy,
    /// The session's state is lost or the session has ended.
    Lost,
}

/// The header of the SSR is not what it must be after a call: magic, length or session number.
/// The activation is still open: the kernel calls [`Manager::rollback`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl<const S: usize, const B: usize, const U: usize, const R: usize> Manager<S, B, U, R> {
    /// Begins an activation of a session: opens its SSR and keeps what a rollback needs.
    ///
    /// `request` is `None` for hooks that belong to no request (`open`, `reload` and `close` run by the kernel
    /// itself): their effects are final at `finish`. While a request holds the binding or its serial server they
    /// must run as part of it: pass [`Manager::holder`].
    ///
    /// # Errors
    /// See [`BeginError`]. Nothing is open then.
    pub fn begin(
        &mut self,
        b: BindingId,
        request: Option<RequestId>,
        os: &mut impl Platform,
    ) -> Result<Begin, BeginError> {
        let binding = &self.bindings[b.index()];
        let Some(server) = binding.server.filter(|_| !matches!(binding.state, State::Lost | State::Ending)) else {
            return Err(BeginError::Lost);
        };
        let (holder, small) = (self.holder(b), binding.pages == 1);
        if self.servers[server.index()].active || (holder.is_some() && holder != request) {
            return Err(BeginError::Busy);
        }
        if small && !self.verify(Region::Ssr(b), 0, os) {
            return Err(BeginError::Lost);
        }
        let binding = &mut self.bindings[b.index()];
        let first_use = binding.nested && request.is_some() && binding.first_used.is_none();
        if first_use {
            binding.first_used = Some(binding.used);
        }
        if small {
            let to = if first_use { binding.first } else { Page(binding.preimage) };
            os.copy(to, Page(binding.ssr), binding.used as usize);
        }
        let ready = if self.needs_reload(b) { Begin::NeedsReload } else { Begin::Ready };
        self.servers[server.index()].start(Some(b), request, first_use);
        Ok(ready)
    }

    /// Begins an activation without a session (constructor, upcall): only the common region can be written.
    ///
    /// # Errors
    /// [`BeginError::Busy`] as for [`Manager::begin`].
    pub fn begin_object(&mut self, server: ServerId, request: Option<RequestId>) -> Result<(), BeginError> {
        let server = &mut self.servers[server.index()];
        if server.active || (server.holder.is_some() && server.holder != request) {
            return Err(BeginError::Busy);
        }
        server.start(None, request, false);
        Ok(())
    }

    /// Takes over a call that the fast path began: from now on as if by [`Manager::begin`], with the pre-image
    /// that the fast path made.
    pub fn adopt(&mut self, b: BindingId, request: RequestId) {
        if let Some(server) = self.bindings[b.index()].server {
            self.servers[server.index()].start(Some(b), Some(request), false);
        }
    }

    /// Ends an activation that returned: checks the header, closes the SSR, and commits its changes or, if the request
    /// may still undo them, retains them.
    ///
    /// # Errors
    /// [`Damaged`]; the activation is still open.
    pub fn finish(&mut self, server: ServerId, os: &mut impl Platform) -> Result<(), Damaged> {
        let Server { open, request, .. } = self.servers[server.index()];
        if let Some(b) = open {
            let binding = &mut self.bindings[b.index()];
            if binding.pages > 0 {
                let [magic, used, session] = [0, 1, 2].map(|index| os.word(Page(binding.ssr), index));
                let size = u32::from(binding.pages) * PAGE_SIZE as u32;
                if magic != MAGIC || !(HEADER..=size).contains(&used) || session != binding.session {
                    return Err(Damaged);
                }
                binding.used = used.next_multiple_of(32);
            }
            let retained_by = request.filter(|_| binding.nested);
            if binding.pages == 1 {
                self.seal(Region::Ssr(b), 0, os);
            }
            self.close_pages(server, Region::Ssr(b), Fate::of(retained_by), os);
            self.settle_bound(b, os);
            if let Some(request) = retained_by {
                self.retain(b, server, request);
            }
        }
        let fate = Fate::of(self.servers[server.index()].holder);
        self.close_pages(server, Region::Common(server), fate, os);
        self.close(server, os);
        Ok(())
    }

    /// Ends an activation that failed: restores what held at its start, and closes the SSR.
    pub fn rollback(&mut self, server: ServerId, os: &mut impl Platform) {
        let state = &self.servers[server.index()];
        if let Some(b) = state.open {
            let first_use = state.first_use;
            let binding = &mut self.bindings[b.index()];
            let from = if first_use { binding.first } else { Page(binding.preimage) };
            if first_use {
                binding.first_used = None;
            }
            if binding.pages == 1 {
                restore(Page(binding.ssr), from, binding.used as usize, os);
            }
            self.close_pages(server, Region::Ssr(b), Fate::RollBack, os);
        }
        self.close_pages(server, Region::Common(server), Fate::RollBack, os);
        self.close(server, os);
    }

    fn close(&mut self, server: ServerId, os: &mut impl Platform) {
        let state = &mut self.servers[server.index()];
        state.active = false;
        if let Some(b) = state.open.take() {
            self.settle(b, os);
        }
    }

    /// Makes exactly those pages of a large SSR read-only that a call would have to restore: the pages below
    /// `used`, and those below the `used` that an undo of the request would bring back.
    pub(crate) fn settle_bound(&mut self, b: BindingId, os: &mut impl Platform) {
        let binding = &mut self.bindings[b.index()];
        let exposed = |server: ServerId| self.servers[server.index()].config.exposed;
        if binding.pages <= 1 || binding.server.is_some_and(exposed) {
            return;
        }
        let used = binding.first_used.unwrap_or(0).max(binding.used);
        let (old, new) = (binding.bound, used.div_ceil(PAGE_SIZE as u32) as u16);
        binding.bound = new;
        for page in new..old {
            os.protect(Region::Ssr(b), page.into(), Access::ReadWrite);
        }
        for page in old..new {
            os.protect(Region::Ssr(b), page.into(), Access::ReadOnly);
            self.seal(Region::Ssr(b), page.into(), os);
        }
    }
}

/// Restores the used bytes of a small SSR. What lay beyond is not kept anywhere: zero, whatever the call left.
pub(crate) fn restore(ssr: Page, from: Page, used: usize, os: &mut impl Platform) {
    if used < PAGE_SIZE {
        os.zero(ssr);
    }
    os.copy(ssr, from, used);
}
