//! The undo log: pre-images of pages, for large SSRs and common regions.
//!
//! Each entry owns one frame and belongs to one server, by whose reserve `register` made it: it is either there or
//! in the log of one of that server's regions. A page has at most two entries: one as of its first write in the
//! request, one as of its first write in the running call; they are the same entry if both are the same write.

use core::iter::successors;

use abi::info::Pool;

use crate::{Access, Manager, PAGE_SIZE, Page, Platform, Region, RegionKind, RequestId, ServerId, UndoId};

abi::initial! {
    /// One pre-image of one page of one region.
    #[derive(Clone, Copy)]
    pub(crate) struct Undo {
        pub(crate) frame: Page = Page::NONE,
        /// Next entry of the same log or reserve.
        pub(crate) next: Option<UndoId> = None,
        page: u16 = 0,
        /// Made at the page's first write in the request.
        first: bool = false,
        /// Made in the running call; the page is writable.
        current: bool = false,
    }
}

/// What a write fault was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The pre-image is kept and the page writable: run on.
    Opened,
    /// The page is writable already (a stale TLB entry): run on.
    Spurious,
    /// No page that this activation may write: a failure.
    NotOurs,
    /// The page does not have its checksum: a failure. An SSR is lost now; for a common region the kernel decides.
    Damaged,
}

/// What becomes of the pre-images of a region.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The call succeeded, its request goes on: keep what was first.
    Retain,
    /// The changes are final: keep nothing.
    Commit,
    /// The call failed: restore what it found.
    RollBack,
    /// The request failed: restore what it found.
    Undo,
}

impl Fate {
    /// That of a call that succeeded, by the request that may undo it.
    pub(crate) fn of(holder: Option<RequestId>) -> Fate {
        if holder.is_some() { Fate::Retain } else { Fate::Commit }
    }
}

impl<const S: usize, const B: usize, const U: usize, const R: usize> Manager<S, B, U, R> {
    #[inline]
    fn log(&mut self, region: Region) -> &mut Option<UndoId> {
        match region {
            Region::Ssr(b) => &mut self.bindings[b.index()].undo,
            Region::Common(server) => &mut self.servers[server.index()].undo,
        }
    }

    fn has_undo(&mut self, region: Region, such: impl Fn(&Undo) -> bool) -> bool {
        successors(*self.log(region), |id| self.undo[id.index()].next).any(|id| such(&self.undo[id.index()]))
    }

    /// A write to a read-only page of the active server's SSR or common region: keeps a pre-image of the page and makes
    /// it writable, if the running call may write it.
    ///
    /// # Errors
    /// [`Pool::Undo`]: the server's reserve is used up; a failure of the activation.
    pub fn write_fault(
        &mut self,
        server: ServerId,
        kind: RegionKind,
        page: usize,
        os: &mut impl Platform,
    ) -> Result<Fault, Pool> {
        let state = &self.servers[server.index()];
        let (region, pages, bound) = match (kind, state.open) {
            (RegionKind::Common, _) if state.active => {
                (Region::Common(server), state.config.common_pages, state.config.common_pages)
            }
            (RegionKind::Ssr, Some(b)) if state.config.ssr_pages > 1 => {
                (Region::Ssr(b), self.bindings[b.index()].pages, self.bindings[b.index()].bound)
            }
            _ => return Ok(Fault::NotOurs),
        };
        if page >= pages.into() {
            return Ok(Fault::NotOurs);
        }
        if page >= bound.into() || self.has_undo(region, |entry| usize::from(entry.page) == page && entry.current) {
            return Ok(Fault::Spurious);
        }
        if !self.verify(region, page, os) {
            return Ok(Fault::Damaged);
        }
        let first = !self.has_undo(region, |entry| usize::from(entry.page) == page);
        let reserve = &mut self.servers[server.index()].reserve;
        let id = reserve.ok_or(Pool::Undo)?;
        let Undo { frame, next, .. } = self.undo[id.index()];
        *reserve = next;
        os.copy(frame, os.page(region, page), PAGE_SIZE);
        let next = self.log(region).replace(id);
        self.undo[id.index()] = Undo { frame, next, page: page as u16, first, current: true };
        os.protect(region, page, Access::ReadWrite);
        Ok(Fault::Opened)
    }

    /// Ends the changes to a region in one of four ways; no page is open afterwards.
    #[inline]
    pub(crate) fn close_pages(&mut self, server: ServerId, region: Region, fate: Fate, os: &mut impl Platform) {
        let log = self.log(region).take();
        if log.is_some() {
            self.close_log(server, region, log, fate, os);
        }
    }

    /// [`Manager::close_pages`] for those in `log`, which were the region's.
    fn close_log(&mut self, server: ServerId, region: Region, log: Option<UndoId>, fate: Fate, os: &mut impl Platform) {
        let mut kept = None;
        let mut cursor = log;
        while let Some(id) = cursor {
            let entry = self.undo[id.index()];
            cursor = entry.next;
            let page = usize::from(entry.page);
            if entry.current {
                os.protect(region, page, Access::ReadOnly);
            }
            let (restore, keep) = match fate {
                Fate::Retain => (false, entry.first),
                Fate::Commit => (false, false),
                Fate::RollBack => (entry.current, !entry.current),
                Fate::Undo => (entry.first, false),
            };
            if restore {
                os.copy(os.page(region, page), entry.frame, PAGE_SIZE);
            }
            if restore || entry.current {
                self.seal(region, page, os);
            }
            if keep {
                self.undo[id.index()] = Undo { next: kept, current: false, ..entry };
                kept = Some(id);
            } else {
                self.put_reserve(server, id, entry.frame);
            }
        }
        *self.log(region) = kept;
    }

    pub(crate) fn put_reserve(&mut self, server: ServerId, id: UndoId, frame: Page) {
        let next = self.servers[server.index()].reserve.replace(id);
        self.undo[id.index()] = Undo { frame, next, ..Undo::INITIAL };
    }
}
