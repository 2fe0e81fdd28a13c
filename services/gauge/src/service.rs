//! 16 KiB of data, 64 KiB of heap, an SSR of any size up to a page.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::Error;
use rt::{Construct, Events, LentRead, Next, Service, Session, SsrState, sys};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cycles;
use crate::interface::Gauge;

/// Words of initialised data: with what else there is, data and bss take 16 KiB.
const DATA_WORDS: usize = 3840;
/// Bytes of the SSR before its tail: header and state.
const FIXED: u32 = 32;

/// Initialised data that a recovery must bring back.
static DATA: [AtomicU32; DATA_WORDS] = [const { AtomicU32::new(1) }; DATA_WORDS];

/// What each client has; a tail of the length it asked for follows.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[repr(C)]
pub struct Count {
    calls: u32,
    unused: [u32; 3],
}

/// What lent data is copied to: one page.
#[repr(align(4096))]
struct Buffer([u8; 4096]);

/// The service.
pub struct Gauged {
    /// Made at the first use.
    buffer: Option<Box<Buffer>>,
    /// What `spun` tells.
    spun: (u32, u32),
    /// Session to be notified.
    waiting: Option<u32>,
    /// What `notified_at` tells.
    notified_at: u32,
}

impl Service for Gauged {
    type State = Count;

    fn new(_: &mut Construct) -> Self {
        Gauged { buffer: None, spun: (0, 0), waiting: None, notified_at: 0 }
    }

    fn event(&mut self, events: Events) -> Next {
        if events.contains(Events::DEADLINE)
            && let Some(session) = self.waiting.take()
        {
            self.notified_at = cycles();
            // A session that has ended since has nobody to tell.
            let _ = sys::notify(session);
        }
        Next::Done
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

    fn spin(&mut self, _: &mut Session<Self::State>, cycles: u32) -> Result<(), Error> {
        let start = crate::cycles();
        let (mut now, mut back, mut longest) = (start, start, 0);
        while now.wrapping_sub(start) < cycles {
            let next = crate::cycles();
            if next.wrapping_sub(now) > longest {
                (longest, back) = (next.wrapping_sub(now), next);
            }
            now = next;
        }
        self.spun = (back, crate::cycles());
        Ok(())
    }

    fn spun(&mut self, _: &mut Session<Self::State>) -> Result<(u32, u32), Error> {
        Ok(self.spun)
    }

    fn notify_soon(&mut self, session: &mut Session<Self::State>) -> Result<(), Error> {
        self.waiting = Some(session.number());
        // In the past: the next tick.
        sys::deadline(Some(0))
    }

    fn notified_at(&mut self, _: &mut Session<Self::State>) -> Result<u32, Error> {
        Ok(self.notified_at)
    }
}
