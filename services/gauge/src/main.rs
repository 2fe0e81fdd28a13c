//! `gauge`: 16 KiB of data, 64 KiB of heap, an SSR of any size up to a page. For measuring.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
extern crate alloc;
#[cfg(target_os = "none")]
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::Error;
use gauge::Gauge;
use rt::{Construct, LentRead, Service, Session, SsrState};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Words of initialised data: with what else there is, data and bss take 16 KiB.
const DATA_WORDS: usize = 3840;
/// Bytes of the SSR before its tail: header and state.
const FIXED: u32 = 32;

/// Initialised data that a recovery must bring back.
static DATA: [AtomicU32; DATA_WORDS] = [const { AtomicU32::new(1) }; DATA_WORDS];

/// What each client has; a tail of the length it asked for follows.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[repr(C)]
struct Count {
    calls: u32,
    unused: [u32; 3],
}

/// What lent data is copied to: one page.
#[repr(align(4096))]
struct Buffer([u8; 4096]);

/// The service.
struct Gauged {
    /// Made at the first use.
    buffer: Option<Box<Buffer>>,
}

impl Service for Gauged {
    type State = Count;

    fn new(_: &mut Construct) -> Self {
        Gauged { buffer: None }
    }
}

impl Gauge for Gauged {
    fn set_used(&mut self, session: &mut Session<Self::State>, bytes: u32) -> Result<(), Error> {
        session.set_tail_len(bytes.checked_sub(FIXED).ok_or(Error::BadArgument)? as usize)
    }

    fn count(&mut self, session: &mut Session<Self::State>) -> Result<u32, Error> {
        session.calls += 1;
        Ok(session.calls)
    }

    fn read(&mut self, _: &mut Session<Self::State>, lent: LentRead) -> Result<u32, Error> {
        let Buffer(buffer) = &mut **self.buffer.get_or_insert_with(|| Box::new(Buffer([0; 4096])));
        let length = lent.len().min(buffer.len());
        lent.copy(0, &mut buffer[..length])?;
        Ok(buffer[..length].last().copied().map_or(0, u32::from))
    }

    fn sum(&mut self, _: &mut Session<Self::State>) -> Result<u32, Error> {
        Ok(DATA.iter().map(|word| word.load(Ordering::Relaxed)).sum())
    }
}

rt::service!(Gauged: gauge::Gauge);
