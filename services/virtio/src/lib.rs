//! `virtio`: what the drivers of virtio devices share (Virtual I/O Device, version 1.2: "virtio" below).
//!
//! A driver is a service like others. There is no IOMMU, so what a device does with memory is as dangerous as what a
//! processor does, and the kernel writes whatever tells the device where memory is: address registers, and the pages
//! with descriptors. The crate `virtio-drivers` knows queues and devices, but writes its descriptors itself. So it is
//! given memory that no device sees, a *shadow* of each queue ([`Shadow`]), and [`Checked`] mirrors what it does there:
//! new descriptors go out by the kernel call `describe`, then the available ring, then the notification; what the
//! device has used comes back into the shadow.
//!
//! - [`Port`] is the way to the device, the kernel and the DMA memory: in a service a [`Device`], in tests a model.
//! - [`Window`] hands out pieces of the DMA memory, each once ([`Buffer`]).
//! - [`Checked`] is the transport for everything in `virtio-drivers` that wants one.
//! - [`Queue`] is one queue whose buffers are its own while the device has them: safe to use.
//!
//! Legacy and modern devices (virtio 4.2.4 and 4.2.2) look the same from outside.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod device;
mod leftover;
mod memory;
mod mirror;
mod port;
mod queue;
mod shadow;
#[cfg(test)]
mod tests;
mod transport;

pub use device::Device;
pub use leftover::Leftover;
pub use memory::{Buffer, Layout, Window};
pub use port::{Port, Slot, Value};
pub use queue::{Finished, Parts, Queue, Refused};
pub use shadow::Shadow;
pub use transport::{Absent, Checked, Fault};
pub use virtio_drivers;

/// Bytes of a page: the unit of address registers and of the kernel's rules.
pub const PAGE: u32 = 4096;
