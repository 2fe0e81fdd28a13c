//! What the manager knows of a server.

use abi::layout::{COMMON_BASE, COMMON_END, PAGE};

use crate::set::Set;
use crate::{BindingId, Page, RequestId, UndoId};

/// Checksums of pages in one frame.
pub(crate) const SUMS: usize = crate::PAGE_SIZE / size_of::<u64>();
const SUM_FRAMES: usize = 7;
/// Pages of the largest common region.
pub const MAX_COMMON_PAGES: usize = SUM_FRAMES * SUMS;
const _: () = assert!((COMMON_END - COMMON_BASE) / PAGE <= MAX_COMMON_PAGES as u32);

abi::initial! {
    /// What a server's manifest says about its state.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ServerConfig {
        /// Pages of each SSR, 0 to [`abi::layout::SSR_MAX_PAGES`].
        pub ssr_pages: u16 = 0,
        /// Frames reserved for pre-images of large SSRs and of the common region.
        pub undo_pages: u16 = 0,
        /// Pages of the common region, up to [`MAX_COMMON_PAGES`].
        pub common_pages: u16 = 0,
        /// Sessions that the server accepts.
        pub max_bindings: u16 = 0,
        /// State across sessions: retained whole until the outermost call commits.
        pub serial: bool = false,
        /// Checksums over SSRs and common region.
        pub integrity: bool = false,
        /// No protection, to compare with: all SSRs lie behind each of them, as far as the window reaches, and are always
        /// writable. So is the common region, as the kernel has mapped it; not together with `integrity`.
        pub exposed: bool = false,
    }
}

abi::initial! {
    #[derive(Clone, Copy)]
    pub(crate) struct Server {
        pub(crate) config: ServerConfig = ServerConfig::INITIAL,
        /// Pre-image of the running call on a small SSR.
        pub(crate) preimage: Page = Page::NONE,
        /// Entries of the undo log, with their frames, that hold no pre-image.
        pub(crate) reserve: Option<UndoId> = None,
        /// Frames in all that this server and its sessions hold.
        pub(crate) frames: u32 = 0,
        /// How often the server's private state was lost, modulo 2^32.
        pub(crate) epoch: u32 = 0,
        pub(crate) sessions: Set = Set::INITIAL,
        /// An activation is running, of the session `open` or of none.
        pub(crate) active: bool = false,
        pub(crate) open: Option<BindingId> = None,
        pub(crate) request: Option<RequestId> = None,
        /// The running call is the first use of its binding in the request.
        pub(crate) first_use: bool = false,
        /// The request that retains a serial server whole.
        pub(crate) holder: Option<RequestId> = None,
        /// Pre-images of the common region.
        pub(crate) undo: Option<UndoId> = None,
        /// Checksums of the common region's pages.
        pub(crate) sums: [Page; SUM_FRAMES] = [Page::NONE; SUM_FRAMES],
    }
}

impl Server {
    /// An activation begins.
    pub(crate) fn start(&mut self, open: Option<BindingId>, request: Option<RequestId>, first_use: bool) {
        (self.active, self.open, self.request, self.first_use) = (true, open, request, first_use);
    }
}
