//! The address space of a domain: 32 MiB below TTBR0 (TTBCR.N = 7), the same shape for all.
//!
//! What is not named here is never mapped. A program has no SSR, common region or device window.

/// Bytes of a page.
pub const PAGE: u32 = 4096;
/// End of the user address space.
pub const USER_END: u32 = 0x0200_0000;
/// Start of the image: text, constants, data, bss, in this order, each on pages of its own.
pub const IMAGE_BASE: u32 = 0x0001_0000;
/// End of the room for the image.
pub const IMAGE_END: u32 = 0x0080_0000;
/// Start of the heap.
pub const HEAP_BASE: u32 = 0x0080_0000;
/// End of the room for the heap.
pub const HEAP_END: u32 = 0x00e0_0000;
/// Top of the first stack. Below it the stack, below that a guard page that is never mapped.
pub const STACK_TOP: u32 = 0x00f0_0000;
/// The largest stack, in bytes.
pub const STACK_MAX: u32 = 0x0008_0000;
/// Start of the DMA window: memory that the device of a driver reaches, too ([`crate::dma`]). Below it a guard page.
pub const DMA_BASE: u32 = 0x00f1_0000;
/// End of the room for it.
pub const DMA_END: u32 = 0x0100_0000;
/// Start of the common region.
pub const COMMON_BASE: u32 = 0x0100_0000;
/// End of the room for the common region.
pub const COMMON_END: u32 = 0x01d0_0000;
/// Where the one open SSR appears. Whole megabyte: a view has one second-level table for it.
pub const SSR_BASE: u32 = 0x01e0_0000;
/// The largest SSR, in pages.
pub const SSR_MAX_PAGES: u32 = 256;
/// Where device ranges appear, one after the other in the order of the manifest, each from a page boundary.
pub const MMIO_BASE: u32 = 0x01f0_0000;
/// End of the room for device ranges.
pub const MMIO_END: u32 = 0x0200_0000;

/// Whether an address lies in a region whose changes are undone when a request fails: common region or SSR.
pub const fn undoable(address: u32) -> bool {
    (address >= COMMON_BASE && address < COMMON_END) || (address >= SSR_BASE && address < MMIO_BASE)
}
