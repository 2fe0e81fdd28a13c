//! What a campaign's clients and the injector share: the workloads, and the log in which each client notes the results of
//! its calls.
//!
//! A log is memory of its client alone: no service has a way to it, so what stands in it is what the client saw. The
//! injector finds it by its magic in the guest's memory when a run has come to its end.
//!
//! By then the clients have ended, and their page frames are free: the kernel has linked them through their first words, and
//! overwrites nothing else until it hands them out again. So a log lies within one page, behind its first two words
//! ([`OFFSET`]); the same goes for the summary.
#![no_std]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
pub mod page;
mod workload;

pub use workload::{LINE_PREFIX, Workload, client_of_line};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First bytes of a [`Log`].
pub const MAGIC: [u8; 8] = *b"TRIALLOG";
/// Where in its page a [`Log`] or a [`Summary`] begins.
pub const OFFSET: usize = 8;
/// Entries that a log holds.
pub const ENTRIES: usize = 168;
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
    /// The call returned what its interface does not know: this plus the lower half of the code.
    pub const PROTOCOL: u32 = 0x3_0000;
    /// What the client waited for did not come within the bound of the wait.
    pub const TIMEOUT: u32 = 0x4_0000;
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

/// The log of one client: in a page of its own, from [`OFFSET`] on.
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

impl Log {
    /// All zero: no log yet, as the magic is missing.
    pub const EMPTY: Log = Log {
        magic: [0; 8],
        client: 0,
        process: 0,
        complete: 0,
        count: 0,
        entries: [Entry { step: 0, status: 0, value: 0, late: 0, began: 0, ended: 0 }; ENTRIES],
    };
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

impl Summary {
    /// All zero: no summary yet, as the magic is missing.
    pub const EMPTY: Summary = Summary {
        magic: [0; 8],
        complete: 0,
        clients: 0,
        ended: [0; 8],
        failures: 0,
        objects: 0,
        failure: [Failure {
            object: [0; 16],
            kind: 0,
            pc: 0,
            address: 0,
            method: 0,
            process: 0,
            tick: 0,
            chain: [0; 8],
        }; FAILURES],
        object: [Object {
            name: [0; 16],
            state: 0,
            restarts: 0,
            failures: 0,
            retried: 0,
            failed_requests: 0,
            lost_sessions: 0,
        }; OBJECTS],
    };
}

/// Bytes of a page of the guest.
const PAGE: usize = abi::layout::PAGE as usize;

const _: () = assert!(OFFSET + size_of::<Log>() <= PAGE && OFFSET.is_multiple_of(align_of::<Log>()));
const _: () = assert!(OFFSET + size_of::<Summary>() <= PAGE && OFFSET.is_multiple_of(align_of::<Summary>()));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_no_gaps_and_words_where_the_injector_reads_them() {
        assert_eq!((size_of::<Entry>(), align_of::<Entry>()), (24, 4));
        assert_eq!((size_of::<Failure>(), align_of::<Failure>()), (48, 4));
        assert_eq!((size_of::<Object>(), align_of::<Object>()), (40, 4));
        assert_eq!(size_of::<Log>(), 24 + ENTRIES * size_of::<Entry>());
        assert_eq!(core::mem::offset_of!(Log, entries), 24);
        assert_eq!(core::mem::offset_of!(Summary, failure), 56);
        assert_eq!(size_of::<Summary>(), 56 + FAILURES * size_of::<Failure>() + OBJECTS * size_of::<Object>());
    }

    #[test]
    fn codes_of_errors_do_not_run_into_each_other() {
        let kernel =
            (1..=u32::from(u16::MAX)).filter_map(abi::Error::from_code).map(|error| status::KERNEL + error as u32);
        assert!(kernel.clone().count() > 10);
        assert!(kernel.into_iter().all(|code| code > status::KERNEL && code < status::SERVICE));
        const { assert!(status::SERVICE + abi::error::SERVICE_ERRORS < status::PROTOCOL) };
        const { assert!(status::PROTOCOL + u16::MAX as u32 <= status::TIMEOUT) };
    }
}
