//! Server State Regions: life cycle, binding, grants, undo, integrity, enumeration.
//!
//! A Server State Region (SSR) holds what a server knows about one client (CuriOS, section 3). This
//! library is the state machine behind it: it decides which region is open, what must be kept to undo
//! a call or a whole request, and when pages and sessions end. It owns no hardware: the kernel drives it and
//! offers frames and page tables through [`Platform`]. No `unsafe`, no heap, no recursion; all pools are
//! static and have their size from const parameters.
//!
//! # Terms
//! - *Server*: a protected object, a monitor: at most one *activation* runs in it.
//! - *Session* or *binding*: one client of one server, with one SSR, which that server sees only
//!   while it serves this client.
//! - *Request*: the outermost call of a thread with all calls nested in it. A binding is *nested* if its
//!   client is an object. What a nested call changed is *retained* until the outermost call commits.
//! - *Pre-image*: the bytes before a change. `first`: as of the first use in the request; `current`: as of
//!   the start of the running call.
//!
//! # Invariants (each has a property test)
//! 1. A server has at most one open SSR, and only between [`Manager::begin`] (or [`Manager::adopt`]) and
//!    [`Manager::finish`] or [`Manager::rollback`].
//! 2. Each page has at most two pre-images; their frames come from the server's own reserve.
//! 3. `rollback` restores what held at `begin`; `undo_next` what held at the first use in the request.
//! 4. A page of a large SSR below `used`, or of a common region, is writable only in an activation that
//!    holds its pre-image.
//! 5. When the last binding has ended, every frame taken since registration has been given back.
//! 6. A handle of an ended session is never taken for that of a later session in the same slot.
//! 7. Absent: no operation reads or writes a region's state on its own account but for the header's
//!    four words, and none depends on what a server wrote there.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod binding;
mod call;
mod integrity;
mod manager;
mod memory;
mod request;
mod server;
mod set;
#[cfg(test)]
mod tests;
mod undo;

pub use binding::{Binding, State};
pub use call::{Begin, BeginError, Damaged};
pub use integrity::Verified;
pub use manager::{MAX_BINDINGS, Manager};
pub use memory::{Access, PAGE_SIZE, Page, Platform, Region, RegionKind};
pub use server::{MAX_COMMON_PAGES, ServerConfig};
pub use undo::Fault;

use core::num::NonZeroU16;

macro_rules! ids {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(transparent)]
        pub struct $name(NonZeroU16);

        impl $name {
            /// The one with this index, below 65,535.
            pub const fn new(index: u16) -> Self {
                Self(NonZeroU16::MIN.saturating_add(index))
            }

            /// Its index.
            pub const fn index(self) -> usize {
                self.0.get() as usize - 1
            }
        }
    )*};
}
// An id is stored as index + 1, so that `None` is 0 and a new manager is zero throughout: a static one
// takes no room in the kernel image.
ids! {
    /// A binding: index of its slot, the same as the session number and as the handle's index.
    BindingId,
    /// A server: index of the protected object.
    ServerId,
    /// A request in progress: index of the thread at its outer end.
    RequestId,
    /// An entry of the undo log.
    UndoId,
}
