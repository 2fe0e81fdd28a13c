//! Requests: what nested calls changed, until their outermost call commits or fails.

use crate::call::restore;
use crate::undo::Fate;
use crate::{BindingId, Manager, Page, Platform, Region, RequestId, ServerId};

/// A request in progress.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    /// Retained bindings, oldest first.
    first: Option<BindingId>,
    last: Option<BindingId>,
    /// Nested calls that have finished, ever.
    finishes: u32,
}

impl Request {
    pub(crate) const fn new() -> Self {
        Request { first: None, last: None, finishes: 0 }
    }
}

impl<const S: usize, const B: usize, const U: usize, const R: usize> Manager<S, B, U, R> {
    /// The request that a hook on this binding must run for: the one that retains the binding or its
    /// serial server, if any.
    pub fn holder(&self, b: BindingId) -> Option<RequestId> {
        let binding = &self.bindings[b.index()];
        binding.holder.or(binding.server.and_then(|server| self.servers[server.index()].holder()))
    }

    /// The request that retains a serial server whole, if any: an activation of its own (a constructor) must be part
    /// of it.
    pub fn server_holder(&self, server: ServerId) -> Option<RequestId> {
        self.servers[server.index()].holder()
    }

    /// Nested calls that finished in this request so far. The number only grows (modulo 2^32): if it changed during
    /// an activation that fails, inner calls have taken effect and the kernel undoes the whole request.
    pub fn nested_finishes(&self, request: RequestId) -> u32 {
        self.requests[request.index()].finishes
    }

    /// The next binding that the request retains, oldest first; `after` is the one that was given before, and
    /// still retained.
    pub fn retained(&self, request: RequestId, after: Option<BindingId>) -> Option<BindingId> {
        match after {
            None => self.requests[request.index()].first,
            Some(b) => self.bindings[b.index()].next_retained,
        }
    }

    /// Makes the changes of the request final, but goes on retaining its bindings, so that nobody comes between the
    /// commit and the `flush` hooks. A `flush` is then an activation of its own ([`Manager::begin`] with this
    /// request): if it fails, its rollback leads back to the committed state and it can be run again.
    pub fn commit_request(&mut self, request: RequestId, os: &mut impl Platform) {
        let mut cursor = self.requests[request.index()].first;
        while let Some(b) = cursor {
            self.commit_binding(b, os);
            cursor = self.bindings[b.index()].next_retained;
        }
    }

    /// Ends the request: commits what is not yet committed and releases all bindings.
    pub fn release_request(&mut self, request: RequestId, os: &mut impl Platform) {
        while let Some(b) = self.pop_retained(request) {
            self.commit_binding(b, os);
            self.unretain(b, os);
        }
    }

    /// Ends the request without effect: restores every binding that it retains, and the common regions of its serial
    /// servers, to their state at its first use; each of these sessions needs a reload.
    ///
    /// Activations of the request that are still open must have been rolled back before.
    pub fn undo_request(&mut self, request: RequestId, os: &mut impl Platform) {
        while let Some(b) = self.pop_retained(request) {
            let epoch = self.epoch_of(b);
            let binding = &mut self.bindings[b.index()];
            // Any epoch but the server's says that a reload is due.
            binding.epoch = epoch.wrapping_sub(1);
            binding.flush = false;
            if let Some(used) = binding.first_used {
                binding.used = used;
                if binding.pages == 1 {
                    restore(Page(binding.ssr), binding.first, used as usize, os);
                    self.seal(Region::Ssr(b), 0, os);
                }
            }
            self.end_ssr(b, Fate::Undo, os);
            self.end_common(b, Fate::Undo, os);
            self.unretain(b, os);
        }
    }

    fn commit_binding(&mut self, b: BindingId, os: &mut impl Platform) {
        self.end_ssr(b, Fate::Commit, os);
        self.end_common(b, Fate::Commit, os);
    }

    /// Ends the changes to an SSR that a request could undo.
    pub(crate) fn end_ssr(&mut self, b: BindingId, fate: Fate, os: &mut impl Platform) {
        if let Some(server) = self.bindings[b.index()].server {
            self.bindings[b.index()].first_used = None;
            self.close_pages(server, Region::Ssr(b), fate, os);
            self.settle_bound(b, os);
        }
    }

    /// The same for the common region of a serial server. That of any other server is committed by each call, and by
    /// now another request may be using it.
    fn end_common(&mut self, b: BindingId, fate: Fate, os: &mut impl Platform) {
        let server = self.bindings[b.index()].server;
        if let Some(server) = server.filter(|server| self.servers[server.index()].holder().is_some()) {
            self.close_pages(server, Region::Common(server), fate, os);
        }
    }

    /// Enters a binding in the list of a request, if it is not there yet.
    pub(crate) fn retain(&mut self, b: BindingId, request: RequestId) {
        let list = &mut self.requests[request.index()];
        list.finishes = list.finishes.wrapping_add(1);
        let binding = &mut self.bindings[b.index()];
        if binding.holder.is_some() {
            return;
        }
        binding.holder = Some(request);
        let server = binding.server;
        match list.last.replace(b) {
            Some(last) => self.bindings[last.index()].next_retained = Some(b),
            None => list.first = Some(b),
        }
        if let Some(server) = server {
            let state = &mut self.servers[server.index()];
            state.retained += 1;
            state.retained_by = Some(request);
            if state.retained == 1 {
                self.refresh_serial(server);
            }
        }
    }

    fn pop_retained(&mut self, request: RequestId) -> Option<BindingId> {
        let list = &mut self.requests[request.index()];
        let b = list.first?;
        list.first = self.bindings[b.index()].next_retained.take();
        if list.first.is_none() {
            list.last = None;
        }
        Some(b)
    }

    fn unretain(&mut self, b: BindingId, os: &mut impl Platform) {
        self.bindings[b.index()].holder = None;
        if let Some(server) = self.bindings[b.index()].server {
            self.servers[server.index()].retained -= 1;
            if self.servers[server.index()].retained == 0 {
                self.refresh_serial(server);
            }
        }
        self.settle(b, os);
    }
}
