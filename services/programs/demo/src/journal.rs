//! The supervisor's failure log, read as it grows, and compared with what the kernel counted.

use abi::info::FailureInfo;
use rt::{CallError, sys};
use supervisor::{LogEntry, SupervisorClient, SupervisorError};
use zerocopy::{FromZeros, IntoBytes};

/// Entries that are read at once.
const BATCH: usize = 8;
/// Ticks that the supervisor gets to enter a failure: it may have to be rebuilt first.
const PATIENCE: u32 = 2000;

/// The log, as far as it was read.
pub struct Journal<'a> {
    supervisor: &'a SupervisorClient,
    /// Failures that were found in it.
    pub listed: u32,
    /// Entries that are missing, doubled, out of order, or not what the kernel recorded.
    pub wrong: u32,
}

impl<'a> Journal<'a> {
    /// Nothing read yet.
    pub fn new(supervisor: &'a SupervisorClient) -> Self {
        Journal { supervisor, listed: 0, wrong: 0 }
    }

    /// Reads on until the log has all that the kernel has counted, or for as long as there is patience.
    ///
    /// # Errors
    /// What the supervisor says.
    pub fn read(&mut self) -> Result<(), CallError<SupervisorError>> {
        for _ in 0..PATIENCE {
            let latest = sys::info::<FailureInfo>(0).map_or(0, |failure| failure.number);
            if self.listed >= latest {
                return Ok(());
            }
            let mut entries = [LogEntry::new_zeroed(); BATCH];
            let (count, forgotten) = self.supervisor.log_next(entries.as_mut_bytes())?;
            self.wrong += forgotten;
            for entry in &entries[..(count as usize).min(BATCH)] {
                self.check(entry);
            }
            if count == 0 {
                sys::pause(1).map_err(CallError::Kernel)?;
            }
        }
        self.wrong += 1;
        Ok(())
    }

    /// Compares an entry with the kernel's own record, if it still has that.
    fn check(&mut self, entry: &LogEntry) {
        // Self-tests that were not answered are no failures that the kernel counts.
        if entry.number == 0 {
            return;
        }
        let latest = sys::info::<FailureInfo>(0).map_or(0, |failure| failure.number);
        let recorded = sys::info::<FailureInfo>(latest.saturating_sub(entry.number));
        let same = recorded.is_ok_and(|record| {
            let other = record.number != entry.number;
            other || (record.object, record.kind, record.tick) == (entry.object, entry.kind, entry.tick)
        });
        self.wrong += u32::from(entry.number != self.listed + 1 || entry.missed != 0 || !same);
        self.listed = entry.number;
    }
}
