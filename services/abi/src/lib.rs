//! The contract between the kernel, the services, the programs and the host tool.
//!
//! Everything that two of them must agree on stands here once: call numbers, error codes,
//! the layout of a domain's address space, the header of a Server State Region, the boot
//! image with its manifests, and the records that the kernel gives to whoever may ask.
//! The crate has no code that runs with privilege and no `unsafe`.
#![no_std]
#![forbid(unsafe_code)]

pub mod call;
pub mod dma;
pub mod error;
pub mod event;
pub mod failure;
pub mod image;
pub mod info;
mod initial;
pub mod layout;
pub mod ssr;

pub use call::{Control, Handle, Hook, KernelCall};
pub use error::Error;
pub use event::Events;
pub use failure::{FailureKind, Sabotage};
