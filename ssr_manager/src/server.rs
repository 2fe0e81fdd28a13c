//! What the manager knows of a server.

use abi::layout::{COMMON_BASE, COMMON_END, PAGE};

use crate::{BindingId, Page, RequestId, UndoId};

/// Checksums of pages in one frame.
pub(crate) const SUMS: usize = crate::PAGE_SIZE / size_of::<u64>();
const SUM_FRAMES: usize = 7;
/// Pages of the largest common region.
pub const MAX_COMMON_PAGES: usize = SUM_FRAMES * SUMS;
const _: () = assert!((COMMON_END - COMMON_BASE) / PAGE <= MAX_COMMON_PAGES as u32);

/// What a server's manifest says about its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Pages of each SSR, 0 to [`abi::layout::SSR_MAX_PAGES`].
    pub ssr_pages: u16,
    /// Frames reserved for pre-images of large SSRs and of the common region.
    pub undo_pages: u16,
    /// Pages of the common region, up to [`MAX_COMMON_PAGES`].
    pub common_pages: u16,
    /// Sessions that the server accepts.
    pub max_bindings: u16,
    /// State across sessions: retained whole until the outermost call commits.
    pub serial: bool,
    /// Checksums over SSRs and common region.
    pub integrity: bool,
}

impl ServerConfig {
    pub(crate) const NONE: ServerConfig =
        ServerConfig { ssr_pages: 0, undo_pages: 0, common_pages: 0, max_bindings: 0, serial: false, integrity: false };
}

#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub(crate) config: ServerConfig,
    /// Pre-image of the running call on a small SSR.
    pub(crate) preimage: Page,
    /// Entries of the undo log, with their frames, that hold no pre-image.
    pub(crate) reserve: Option<UndoId>,
    pub(crate) reserve_free: u16,
    /// Frames in all that this server and its sessions hold.
    pub(crate) frames: u32,
    pub(crate) first_session: Option<BindingId>,
    pub(crate) last_session: Option<BindingId>,
    /// How often the server's private state was lost, modulo 2^32.
    pub(crate) epoch: u32,
    pub(crate) sessions: u16,
    /// Sessions whose client is a program.
    pub(crate) direct: u16,
    /// An activation is running, of the session `open` or of none.
    pub(crate) active: bool,
    pub(crate) open: Option<BindingId>,
    pub(crate) request: Option<RequestId>,
    /// The running call is the first use of its binding in the request.
    pub(crate) first_use: bool,
    /// Bindings that requests retain.
    pub(crate) retained: u16,
    /// The latest request that retained a binding; for a serial server the only one.
    pub(crate) retained_by: Option<RequestId>,
    /// Pre-images of the common region.
    pub(crate) undo: Option<UndoId>,
    /// Checksums of the common region's pages.
    pub(crate) sums: [Page; SUM_FRAMES],
}

impl Server {
    pub(crate) const fn new() -> Self {
        Server {
            config: ServerConfig::NONE,
            preimage: Page::NONE,
            reserve: None,
            reserve_free: 0,
            frames: 0,
            first_session: None,
            last_session: None,
            epoch: 0,
            sessions: 0,
            direct: 0,
            active: false,
            open: None,
            request: None,
            first_use: false,
            retained: 0,
            retained_by: None,
            undo: None,
            sums: [Page::NONE; SUM_FRAMES],
        }
    }

    /// The request that retains the server whole.
    pub(crate) fn holder(&self) -> Option<RequestId> {
        if self.retained == 0 || !self.config.serial { None } else { self.retained_by }
    }

    /// An activation begins.
    pub(crate) fn start(&mut self, open: Option<BindingId>, request: Option<RequestId>, first_use: bool) {
        (self.active, self.open, self.request, self.first_use) = (true, open, request, first_use);
    }
}
