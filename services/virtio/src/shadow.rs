//! Memory for the shadows of queues: ordinary memory, which no device sees.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::ptr::NonNull;

use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// The `Hal` of `virtio-drivers` here: queues lie in the heap, and the "bus address" of anything is its address.
/// [`Checked`](crate::Checked) translates when it mirrors, and refuses what does not lie in the DMA memory.
#[derive(Debug)]
pub struct Shadow;

fn layout(pages: usize) -> Option<Layout> {
    Layout::from_size_align(pages.checked_mul(PAGE_SIZE)?, PAGE_SIZE).ok().filter(|layout| layout.size() > 0)
}

fn address(pointer: NonNull<u8>) -> PhysAddr {
    pointer.as_ptr().expose_provenance() as PhysAddr
}

// SAFETY: `dma_alloc` gives zeroed pages of the allocator, aligned to a page, which nobody else has until `dma_dealloc`
// gives them back.
#[allow(unsafe_code)]
unsafe impl Hal for Shadow {
    /// The address 0 tells the caller that there is no memory.
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // SAFETY: the layout has a size.
        let pointer = layout(pages).and_then(|layout| NonNull::new(unsafe { alloc_zeroed(layout) }));
        pointer.map_or((0, NonNull::dangling()), |pointer| (address(pointer), pointer))
    }

    unsafe fn dma_dealloc(_: PhysAddr, pointer: NonNull<u8>, pages: usize) -> i32 {
        let Some(layout) = layout(pages) else { return -1 };
        // SAFETY: by the caller's promise it came from `dma_alloc` with as many pages.
        unsafe { dealloc(pointer.as_ptr(), layout) };
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        // Asked for buses other than this one only.
        panic!("no such bus: {address:#x}");
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        address(buffer.cast())
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
