//! ARMv7-A: the only place with assembly. Cleaner names for the rest of the kernel, no policy.

pub mod boot;
pub mod cpu;
pub mod entry;
pub mod mmu;
