//! Requests: what nested calls changed, until their outermost call commits or fails.

use crate::call::restore;
use crate::undo::Fate;
use crate::{BindingId, Manager, Page, Platform, Region, RequestId, ServerId};

abi::initial! {
    /// A request in progress.
    #[derive(Clone, Copy)]
    pub(crate) struct Request {
        /// Retained bindings, oldest first.
        first: Option<BindingId> = None,
        /// The latest of them, while there is a first.
        last: Option<BindingId> = None,
        /// Nested calls that have finished, ever.
        finishes: u32 = 0,
    }
}

impl<const S: usize, const B: usize, const U: usize, const R: usize> Manager<S, B, U, R> {
    /// The request that a hook on this binding must run for: the one that retains the binding or its
    /// serial server, if any.
    pub fn holder(&self, b: BindingId) -> Option<RequestId> {
        let binding = &self.bindings[b.index()];
        binding.holder.or(binding.server.and_then(|server| self.servers[server.index()].holder))
    }

    /// The request that retains a serial server whole, if any: an activation of its own (a constructor) must be part
    /// of it, and no call may take the fast path.
    pub fn server_holder(&self, server: ServerId) -> Option<RequestId> {
        self.servers[server.index()].holder
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
            self.end_changes(b, Fate::Commit, os);
            cursor = self.bindings[b.index()].next_retained;
        }
    }

    /// Ends the request, one binding at a time: commits what is not yet committed and releases the binding. Tells whose
    /// session that was; `None` at the end.
    pub fn release_next(&mut self, request: RequestId, os: &mut impl Platform) -> Option<ServerId> {
        let b = self.requests[request.index()].first?;
        self.end_changes(b, Fate::Commit, os);
        self.release(b, request, os)
    }

    /// Ends the request without effect, one binding at a time: restores it, and the common region of its server if that
    /// is serial, to their state at the first use in the request. The session needs a reload then. Tells whose it was;
    /// `None` at the end.
    ///
    /// Activations of the request that are still open must have been rolled back before.
    pub fn undo_next(&mut self, request: RequestId, os: &mut impl Platform) -> Option<ServerId> {
        let b = self.requests[request.index()].first?;
        let binding = &mut self.bindings[b.index()];
        // Behind the server's, even if it was there already: a reload is due.
        binding.epoch = binding.epoch.wrapping_sub(1);
        binding.flush = false;
        if let Some(used) = binding.first_used {
            binding.used = used;
            if binding.pages == 1 {
                restore(Page(binding.ssr), binding.first, used as usize, os);
                self.seal(Region::Ssr(b), 0, os);
            }
        }
        self.end_changes(b, Fate::Undo, os);
        self.release(b, request, os)
    }

    /// Ends what a request could undo: the changes to a binding, and those to the common region of a serial server.
    /// That of any other server is committed by each call, and by now another request may be using it.
    fn end_changes(&mut self, b: BindingId, fate: Fate, os: &mut impl Platform) {
        self.end_ssr(b, fate, os);
        if let Some(server) = self.bindings[b.index()].server
            && self.servers[server.index()].holder.is_some()
        {
            self.close_pages(server, Region::Common(server), fate, os);
        }
    }

    /// Ends the changes to an SSR that a request could undo.
    pub(crate) fn end_ssr(&mut self, b: BindingId, fate: Fate, os: &mut impl Platform) {
        if let Some(server) = self.bindings[b.index()].server {
            self.bindings[b.index()].first_used = None;
            self.close_pages(server, Region::Ssr(b), fate, os);
            self.settle_bound(b, os);
        }
    }

    /// Enters a binding in the list of a request, if it is not there yet.
    pub(crate) fn retain(&mut self, b: BindingId, server: ServerId, request: RequestId) {
        let list = &mut self.requests[request.index()];
        list.finishes = list.finishes.wrapping_add(1);
        if self.bindings[b.index()].holder.replace(request).is_some() {
            return;
        }
        match list.last.replace(b).filter(|_| list.first.is_some()) {
            Some(last) => self.bindings[last.index()].next_retained = Some(b),
            None => list.first = Some(b),
        }
        if self.servers[server.index()].config.serial {
            self.servers[server.index()].holder = Some(request);
        }
    }

    /// Takes the first binding out of the list of a request. The first one of a serial server frees that whole server,
    /// the changes to which have ended.
    fn release(&mut self, b: BindingId, request: RequestId, os: &mut impl Platform) -> Option<ServerId> {
        let binding = &mut self.bindings[b.index()];
        let server = binding.server?;
        binding.holder = None;
        self.requests[request.index()].first = binding.next_retained.take();
        self.servers[server.index()].holder = None;
        self.settle(b, os);
        Some(server)
    }
}
