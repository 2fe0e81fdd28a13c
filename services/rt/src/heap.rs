//! The heap of a protected object or program: `linked_list_allocator` over the range that the manifest asks for.
//!
//! A request that it cannot meet gets no memory; a service that has no answer to that (`try_reserve`) fails with the
//! kind "heap exhausted", by way of the panic that Rust then makes.

#[cfg(target_os = "none")]
mod target {
    use core::alloc::{GlobalAlloc, Layout};
    use core::cell::UnsafeCell;
    use core::ptr::{self, NonNull};

    use abi::layout::HEAP_BASE;
    use linked_list_allocator::Heap;

    /// One thread runs in a domain at a time, and no allocation is interrupted by another.
    struct Single(UnsafeCell<State>);

    struct State {
        heap: Heap,
        /// Bytes of its range; 0 until it has one.
        len: u32,
        /// The latest request was refused.
        refused: bool,
    }

    // SAFETY: a protected object is a monitor and a program has one thread: the content is never reached twice at once.
    unsafe impl Sync for Single {}

    #[global_allocator]
    static HEAP: Single = Single(UnsafeCell::new(State { heap: Heap::empty(), len: 0, refused: false }));

    impl Single {
        /// Reaches the state. Not re-entrant: the closures below call nothing that allocates.
        fn with<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
            // SAFETY: see `Sync`, and the line above.
            use_it(unsafe { &mut *self.0.get() })
        }
    }

    // SAFETY: `Heap` hands out what is free, once; layouts come back as they went.
    unsafe impl GlobalAlloc for Single {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            self.with(|state| match state.heap.allocate_first_fit(layout) {
                Ok(block) => {
                    state.refused = false;
                    block.as_ptr()
                }
                Err(()) => {
                    state.refused = true;
                    ptr::null_mut()
                }
            })
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: by the contract of `GlobalAlloc`, `block` came from `alloc` with this layout, so it is not null.
            self.with(|state| unsafe { state.heap.deallocate(NonNull::new_unchecked(block), layout) });
        }
    }

    /// Gives the heap its range, once in the life of an image's data.
    pub(crate) fn start_with(len: u32) {
        HEAP.with(|state| {
            if state.len != 0 || len == 0 {
                return;
            }
            state.len = len;
            // SAFETY: the kernel maps `len` bytes at `HEAP_BASE` for this domain alone; nothing else refers to them.
            unsafe { state.heap.init(ptr::with_exposed_provenance_mut(HEAP_BASE as usize), len as usize) };
        });
    }

    /// Bytes of the heap's range.
    pub(crate) fn len() -> u32 {
        HEAP.with(|state| state.len)
    }

    /// Whether the latest request was refused.
    pub(crate) fn refused() -> bool {
        HEAP.with(|state| state.refused)
    }
}

#[cfg(target_os = "none")]
pub(crate) use target::{len, refused, start_with};

/// Gives an object its heap, as its constructor's first step.
#[cfg(target_os = "none")]
pub(crate) fn start(_: &mut crate::server::Activation, len: u32) {
    start_with(len);
}

/// On the host the heap is the host's.
#[cfg(not(target_os = "none"))]
pub(crate) fn start(_: &mut crate::server::Activation, _len: u32) {}
