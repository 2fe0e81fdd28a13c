//! The undo log: pre-images of pages, for large SSRs and common regions.
//!
//! A page gets an entry at its first write and the entry at most two frames, all from the server's reserve.
//! `register` counts the reserves against the pool of entries, so that entries never run out before frames.

use abi::info::Pool;

use crate::{Access, Manager, PAGE_SIZE, Page, Platform, Region, ServerId, UndoId};

/// The pre-images of one page of one region.
#[derive(Clone, Copy)]
pub(crate) struct Undo {
    /// Next entry of the same region; in a free entry the next free one.
    next: Option<UndoId>,
    page: u16,
    /// Writable in the running call. Without `current` it was this call that took `first`.
    open: bool,
    first: Page,
    current: Page,
}

impl Undo {
    pub(crate) const fn new() -> Self {
        Undo { next: None, page: 0, open: false, first: Page::NONE, current: Page::NONE }
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
    pub(crate) fn take_frame(&mut self, server: ServerId, platform: &mut impl Platform) -> Result<Page, Pool> {
        let page = platform.alloc().ok_or(Pool::Frames)?;
        self.servers[server.index()].frames += 1;
        Ok(page)
    }

    pub(crate) fn give_frame(&mut self, server: ServerId, page: Page, platform: &mut impl Platform) {
        if page != Page::NONE {
            platform.free(page);
            self.servers[server.index()].frames -= 1;
        }
    }

    pub(crate) fn put_reserve(&mut self, server: ServerId, page: Page, platform: &mut impl Platform) {
        if page != Page::NONE {
            let server = &mut self.servers[server.index()];
            platform.set_word(page, 0, server.reserve.0);
            server.reserve = page;
            server.reserve_free += 1;
        }
    }

    pub(crate) fn take_reserve(&mut self, server: ServerId, platform: &impl Platform) -> Result<Page, Pool> {
        let server = &mut self.servers[server.index()];
        let page = server.reserve;
        if page == Page::NONE {
            return Err(Pool::Undo);
        }
        server.reserve = Page(platform.word(page, 0));
        server.reserve_free -= 1;
        Ok(page)
    }

    fn log(&mut self, region: Region) -> &mut Option<UndoId> {
        match region {
            Region::Ssr(binding) => &mut self.bindings[binding.index()].undo,
            Region::Common(server) => &mut self.servers[server.index()].undo,
        }
    }

    fn find_undo(&mut self, region: Region, page: usize) -> Option<UndoId> {
        let mut cursor = *self.log(region);
        while let Some(id) = cursor
            && usize::from(self.undo[id.index()].page) != page
        {
            cursor = self.undo[id.index()].next;
        }
        cursor
    }

    pub(crate) fn is_open(&mut self, region: Region, page: usize) -> bool {
        self.find_undo(region, page).is_some_and(|id| self.undo[id.index()].open)
    }

    /// Keeps a pre-image of a page that is read-only and makes it writable.
    pub(crate) fn open_page(
        &mut self,
        server: ServerId,
        region: Region,
        page: usize,
        platform: &mut impl Platform,
    ) -> Result<(), Pool> {
        let id = match self.find_undo(region, page) {
            Some(id) => id,
            None => self
                .undo_free
                .or((self.undo_fresh < U).then(|| UndoId::new(self.undo_fresh as u16)))
                .ok_or(Pool::Undo)?,
        };
        let frame = self.take_reserve(server, platform)?;
        platform.copy(frame, platform.page(region, page), PAGE_SIZE);
        let entry = &mut self.undo[id.index()];
        if entry.first != Page::NONE {
            entry.current = frame;
        } else {
            match self.undo_free {
                Some(_) => self.undo_free = entry.next,
                None => self.undo_fresh += 1,
            }
            *entry = Undo { page: page as u16, first: frame, ..Undo::new() };
            let next = self.log(region).replace(id);
            self.undo[id.index()].next = next;
        }
        self.undo[id.index()].open = true;
        platform.protect(region, page, Access::ReadWrite);
        Ok(())
    }

    /// Ends the changes to a region in one of four ways; no page is open afterwards.
    pub(crate) fn close_pages(&mut self, server: ServerId, region: Region, fate: Fate, platform: &mut impl Platform) {
        let mut kept = None;
        let mut cursor = self.log(region).take();
        while let Some(id) = cursor {
            let entry = self.undo[id.index()];
            cursor = entry.next;
            if entry.open {
                platform.protect(region, entry.page.into(), Access::ReadOnly);
            }
            let source = match fate {
                Fate::RollBack if entry.current != Page::NONE => entry.current,
                Fate::RollBack if entry.open => entry.first,
                Fate::Undo => entry.first,
                _ => Page::NONE,
            };
            if source != Page::NONE {
                platform.copy(platform.page(region, entry.page.into()), source, PAGE_SIZE);
            }
            if entry.open || fate == Fate::Undo {
                self.seal(region, entry.page.into(), platform);
            }
            self.put_reserve(server, entry.current, platform);
            let keep = match fate {
                Fate::Retain => true,
                Fate::RollBack => !entry.open || entry.current != Page::NONE,
                Fate::Commit | Fate::Undo => false,
            };
            if keep {
                self.undo[id.index()] = Undo { next: kept, open: false, current: Page::NONE, ..entry };
                kept = Some(id);
            } else {
                self.put_reserve(server, entry.first, platform);
                self.undo[id.index()] = Undo { next: self.undo_free, ..Undo::new() };
                self.undo_free = Some(id);
            }
        }
        *self.log(region) = kept;
    }
}
