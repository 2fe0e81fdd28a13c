//! The undo log: pre-images of pages, for large SSRs and common regions.
//!
//! Each entry owns one frame and belongs to one server, by whose reserve `register` made it: it is either there or
//! in the log of one of that server's regions. A page has at most two entries: one as of its first write in the
//! request, one as of its first write in the running call; they are the same entry if both are the same write.

use abi::info::Pool;

use crate::{Access, Manager, PAGE_SIZE, Page, Platform, Region, ServerId, UndoId};

/// One pre-image of one page of one region.
#[derive(Clone, Copy)]
pub(crate) struct Undo {
    pub(crate) frame: Page,
    /// Next entry of the same log or reserve.
    pub(crate) next: Option<UndoId>,
    page: u16,
    /// Made at the page's first write in the request.
    first: bool,
    /// Made in the running call; the page is writable.
    current: bool,
}

impl Undo {
    pub(crate) const fn new(frame: Page, next: Option<UndoId>) -> Self {
        Undo { frame, next, page: 0, first: false, current: false }
    }
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

impl<const S: usize, const B: usize, const U: usize, const R: usize> Manager<S, B, U, R> {
    #[inline]
    fn log(&mut self, region: Region) -> &mut Option<UndoId> {
        match region {
            Region::Ssr(b) => &mut self.bindings[b.index()].undo,
            Region::Common(server) => &mut self.servers[server.index()].undo,
        }
    }

    fn has_undo(&mut self, region: Region, matches: impl Fn(&Undo) -> bool) -> bool {
        let mut cursor = *self.log(region);
        while let Some(id) = cursor
            && !matches(&self.undo[id.index()])
        {
            cursor = self.undo[id.index()].next;
        }
        cursor.is_some()
    }

    /// Whether the running call has made this page writable.
    pub(crate) fn is_open(&mut self, region: Region, page: usize) -> bool {
        self.has_undo(region, |entry| usize::from(entry.page) == page && entry.current)
    }

    /// Keeps a pre-image of a page that is read-only and makes it writable.
    pub(crate) fn open_page(
        &mut self,
        server: ServerId,
        region: Region,
        page: usize,
        os: &mut impl Platform,
    ) -> Result<(), Pool> {
        let first = !self.has_undo(region, |entry| usize::from(entry.page) == page);
        let state = &mut self.servers[server.index()];
        let id = state.reserve.ok_or(Pool::Undo)?;
        let Undo { frame, next, .. } = self.undo[id.index()];
        (state.reserve, state.reserve_free) = (next, state.reserve_free - 1);
        os.copy(frame, os.page(region, page), PAGE_SIZE);
        let next = self.log(region).replace(id);
        self.undo[id.index()] = Undo { frame, next, page: page as u16, first, current: true };
        os.protect(region, page, Access::ReadWrite);
        Ok(())
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
        let state = &mut self.servers[server.index()];
        self.undo[id.index()] = Undo::new(frame, state.reserve.replace(id));
        state.reserve_free += 1;
    }
}
