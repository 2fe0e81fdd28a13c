//! The header of a Server State Region.
//!
//! The kernel writes it when a session opens and checks it at each return; the service keeps
//! `used` and `tag` true. State follows the header from [`HEADER`] on.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First word of each SSR.
pub const MAGIC: u32 = 0x3152_5353;
/// Bytes of the header; the state follows it, 16-byte aligned.
pub const HEADER: u32 = 16;

/// The first 16 bytes of an SSR.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SsrHeader {
    /// [`MAGIC`].
    pub magic: u32,
    /// Bytes in use, header included: 16 to the size of the region. What lies beyond is not undone, and is lost.
    pub used: u32,
    /// Number of the session (index of the binding): stable while the session lives.
    pub session: u32,
    /// The service's own: type and version of the state; 0 until it sets one.
    pub tag: u32,
}
