//! A binding: one client's session with one server.

use core::mem::{offset_of, size_of};

use crate::{BindingId, Page, RequestId, ServerId, UndoId};

/// Where a binding is in its life.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The slot is free.
    Free = 0,
    /// Made; the server's `open` hook has not finished. The client has no handle yet.
    Opening,
    /// Takes calls.
    Active,
    /// No more calls; the `close` hook is due.
    Closing,
    /// Its state is lost. Calls fail until the client unbinds.
    Lost,
    /// Revoked, but still part of an activation or of a request in progress: ends with that.
    Ending,
}

abi::initial! {
    /// One client's session with one server.
    ///
    /// The kernel's fast path reads the first ten fields at their offsets (`core::mem::offset_of!`); their order,
    /// the size and the alignment of 128 bytes are part of its contract. While `fast_generation` is not 0 and `epoch`
    /// is the server's, it may run a call without this library: it copies `used` bytes from `ssr` to `preimage`,
    /// enters the server and at the return checks the header and stores the new `used`. If anything else happens in
    /// between, the kernel calls [`crate::Manager::adopt`] first.
    #[repr(C, align(128))]
    #[derive(Clone, Copy, Debug)]
    pub struct Binding {
        /// The handle's generation while the fast path may be taken, else 0.
        pub fast_generation: u32 = 0,
        /// Address of the client's structure in the kernel, as given to `bind`.
        pub owner: u32 = 0,
        /// Address of the server's structure in the kernel, as given to `bind`.
        pub object: u32 = 0,
        /// Bytes of the SSR in use, rounded up to a multiple of 32; 0 without an SSR.
        pub used: u32 = 0,
        /// Physical address of the SSR's first page; 0 without an SSR.
        pub ssr: u32 = 0,
        /// Physical address of the server's pre-image page; 0 unless the SSR is one page.
        pub preimage: u32 = 0,
        /// CONTEXTIDR of the view; 0 while it has none. Set by the kernel with `set_view`.
        pub contextidr: u32 = 0,
        /// TTBR0 of the view. Set by the kernel with `set_view`.
        pub ttbr0: u32 = 0,
        /// Session number: the index of this binding.
        pub session: u32 = 0,
        /// The server's epoch at the last `open` or `reload` hook of this session. If it is another one now, the
        /// `reload` hook is due and the fast path may not be taken.
        pub epoch: u32 = 0,
        /// What the client wants to be notified by; see [`crate::Manager::set_events`].
        pub(crate) events: u32 = 0,
        pub(crate) generation: u32 = 0,
        /// Number of the client, as given to `bind`.
        pub client: u32 = 0,
        /// The pre-image page of a nested small SSR, as of the first use in the request.
        pub(crate) first: Page = Page::NONE,
        /// `used` at the first use in the request; `None` while no pre-image of it is kept.
        pub(crate) first_used: Option<u32> = None,
        /// Checksums of the pages of a large SSR.
        pub(crate) sums: Page = Page::NONE,
        /// Checksum of a small SSR, over `used` bytes.
        pub(crate) sum: u64 = 0,
        /// The server; `None` for a free slot.
        pub server: Option<ServerId> = None,
        /// Next binding that `holder` retains.
        pub(crate) next_retained: Option<BindingId> = None,
        /// The request that retains this binding.
        pub(crate) holder: Option<RequestId> = None,
        /// Pre-images of pages of a large SSR.
        pub(crate) undo: Option<UndoId> = None,
        /// Pages mapped.
        pub(crate) pages: u16 = 0,
        /// Pages of a large SSR, from the first, that are read-only at rest.
        pub(crate) bound: u16 = 0,
        /// Where it is in its life.
        pub state: State = State::Free,
        /// Whether the client is an object.
        pub nested: bool = false,
        pub(crate) flush: bool = false,
        /// The server has checksums.
        pub(crate) integrity: bool = false,
    }
}

const _: () = assert!(size_of::<Binding>() == 128 && offset_of!(Binding, used) == 12);

impl Binding {
    /// Whether hooks still concern it: opened, and its state not lost.
    pub(crate) fn in_session(&self) -> bool {
        matches!(self.state, State::Active | State::Closing)
    }
}
