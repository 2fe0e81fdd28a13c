//! What a campaign's clients and the injector share: the log in which each client notes the results of its calls.
//!
//! A log is memory of its client alone: no service has a way to it, so what stands in it is what the client saw. The
//! injector finds it by its magic in the guest's memory when a run has come to its end.
#![no_std]
#![forbid(unsafe_code)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First bytes of a [`Log`].
pub const MAGIC: [u8; 8] = *b"TRIALLOG";
/// Entries that a log holds.
pub const ENTRIES: usize = 384;
/// First bytes of a [`Summary`].
pub const SUMMARY_MAGIC: [u8; 8] = *b"TRIALSUM";
/// Failures that a summary holds: as many as the kernel remembers.
pub const FAILURES: usize = 32;
/// Objects that a summary holds.
pub const OBJECTS: usize = 16;

/// How a call ended, as [`Entry::status`] has it: 0 is success.
pub mod status {
    /// The call returned an error of the kernel: this plus its number ([`abi::Error`]).
    pub const KERNEL: u32 = 0x1_0000;
    /// The call returned an error of the service: this plus its number.
    pub const SERVICE: u32 = 0x2_0000;
}

/// Marks in a client's instructions that delimit what is observed: `dbg #n`, a hint that does nothing in any mode
/// (ARM ARM, A8.8.42). The first begins the run of a workload, the second ends it.
pub mod mark {
    /// `dbg #7`: everything before it is preparation.
    pub const BEGIN: u32 = 0xe320_f0f7;
    /// `dbg #8`: every log is complete.
    pub const END: u32 = 0xe320_f0f8;
}

/// One call of a client.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Entry {
    /// Which call: ordinal of the step in the client's course. A call that is made again after an error has the same one.
    pub step: u32,
    /// 0, or why it failed: [`status`].
    pub status: u32,
    /// What it returned, condensed: equal in every run if nothing is lost.
    pub value: u32,
    /// How late it was, in microseconds: alarms only, not compared but bounded.
    pub late: u32,
    /// When it began, in microseconds since boot.
    pub began: u32,
    /// When it had returned.
    pub ended: u32,
}

/// The log of one client. In a `static`, at an address that is a multiple of 8.
#[repr(C, align(8))]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Log {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// Number of the client in its workload, from 0.
    pub client: u32,
    /// Its process number, as in [`abi::info::FailureInfo::process`].
    pub process: u32,
    /// 1 when it has come to its end.
    pub complete: u32,
    /// Entries so far; beyond [`ENTRIES`] they are counted and not kept.
    pub count: u32,
    /// The entries.
    pub entries: [Entry; ENTRIES],
}

/// A failure of an object, without its registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Failure {
    /// Name of the object, zero padded.
    pub object: [u8; 16],
    /// [`abi::FailureKind`].
    pub kind: u32,
    /// Program counter.
    pub pc: u32,
    /// Fault address.
    pub address: u32,
    /// Method number, or `0x8000_0000` + hook number.
    pub method: u32,
    /// Process at the outer end of the request, 0 for none.
    pub process: u32,
    /// Milliseconds since boot.
    pub tick: u32,
    /// Who called whom: [`abi::info::FailureInfo::chain`].
    pub chain: [u8; 8],
}

/// What became of an object.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Object {
    /// Name, zero padded.
    pub name: [u8; 16],
    /// [`abi::info::ObjectState`].
    pub state: u32,
    /// Rebuildings since boot.
    pub restarts: u32,
    /// Failures since boot.
    pub failures: u32,
    /// Calls that were tried again.
    pub retried: u32,
    /// Requests that ended with an error because the object kept failing.
    pub failed_requests: u32,
    /// Sessions that were lost.
    pub lost_sessions: u32,
}

/// What the kernel says at the end of a run, read by the program that started the clients.
#[repr(C, align(8))]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Summary {
    /// [`SUMMARY_MAGIC`].
    pub magic: [u8; 8],
    /// 1 when it is filled.
    pub complete: u32,
    /// Clients that were started.
    pub clients: u32,
    /// How each of the first eight ended: its status, 128 + [`abi::FailureKind`] if it crashed.
    pub ended: [u32; 8],
    /// Failures in all.
    pub failures: u32,
    /// Objects in all.
    pub objects: u32,
    /// The latest failures, the latest first.
    pub failure: [Failure; FAILURES],
    /// The objects.
    pub object: [Object; OBJECTS],
}
