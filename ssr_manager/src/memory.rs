//! What the kernel offers: page frames, access to their bytes, and page tables.

use abi::info::Pool;

use crate::{BindingId, ServerId};

/// Bytes of a page.
pub const PAGE_SIZE: usize = abi::layout::PAGE as usize;

/// Physical address of a 4 KiB frame; 0 is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Page(pub u32);

impl Page {
    /// No frame.
    pub const NONE: Page = Page(0);
}

/// A region whose changes can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// The Server State Region of a binding.
    Ssr(BindingId),
    /// The common region of a server.
    Common(ServerId),
}

/// Which region of the active server an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    /// The open Server State Region.
    Ssr,
    /// The server's common region.
    Common,
}

/// What a server may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read; a write faults.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// Frames and page tables, offered by the kernel.
///
/// The kernel maps the pages of a common region itself, [`Access::ReadOnly`], before it registers the server;
/// those of an SSR are mapped and unmapped here, in the view of their binding and in no other, [`Platform::expose`] aside.
pub trait Platform {
    /// A frame with any content, or `None` if there is none left.
    fn alloc(&mut self) -> Option<Page>;

    /// Gives back a frame from [`Platform::alloc`]. Its content is still that of its last use.
    fn free(&mut self, page: Page);

    /// Zeroes a frame.
    fn zero(&mut self, page: Page);

    /// Copies the first `bytes` (a multiple of 32, up to [`PAGE_SIZE`]) of one frame to another.
    fn copy(&mut self, to: Page, from: Page, bytes: usize);

    /// The 32-bit word at `index` (0 to 1023) of a frame.
    fn word(&self, page: Page, index: usize) -> u32;

    /// Writes the 32-bit word at `index` (0 to 1023) of a frame.
    fn set_word(&mut self, page: Page, index: usize, value: u32);

    /// [`abi::image::Fletcher`]'s sum of the first `bytes` (a multiple of 32) of a frame.
    fn checksum(&self, page: Page, bytes: usize) -> u64;

    /// The frame behind page `index` of a region.
    fn page(&self, region: Region, index: usize) -> Page;

    /// Makes `page` the page `index` of a new binding's SSR, in that binding's view. Indices come in
    /// ascending order.
    ///
    /// # Errors
    /// The pool that is used up. The binding is then not made.
    fn map(&mut self, binding: BindingId, index: usize, page: Page, access: Access) -> Result<(), Pool>;

    /// Takes page `index` out of the binding's view, TLB included, and tells which frame it was.
    fn unmap(&mut self, binding: BindingId, index: usize) -> Page;

    /// Without protection only: maps a page of another session of the same server, writable, behind the SSR of a binding;
    /// [`Page::NONE`] ends that.
    fn expose(&mut self, binding: BindingId, index: usize, page: Page);

    /// The binding has ended, or was not made after all: called once for each index that `bind` took,
    /// after its pages were unmapped. The kernel drops the view.
    fn ended(&mut self, binding: BindingId);

    /// What the server may do with page `index` of a region from now on (page table and TLB).
    fn protect(&mut self, region: Region, index: usize, access: Access);
}
