//! What must survive the supervisor's own failures: it lies in the common region, and is looked over when it is rebuilt.
//!
//! Every change is undone with the activation that made it, so between two activations all of it agrees. What does not make
//! sense all the same (a flipped bit) is repaired piece by piece: one service is judged anew, one entry of the log is lost.

use rt::abi::Control;
use rt::abi::image::{MAX_ENTRIES, Policy};
use supervisor::{LOG_ENTRIES, LogEntry, Standing, Verdict};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::judge::{Row, makes_sense};

/// Says that the region holds records of this version. At boot it is zero.
const MAGIC: u32 = 0x7375_7031;

/// What is remembered of a service.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Record {
    /// When it is started again, in microseconds since boot, if it is held.
    pub held_until: u64,
    /// When the next self-test is due, in microseconds since boot; 0 = none is.
    pub next_probe: u64,
    /// Short runs.
    pub row: Row,
    /// [`Standing`].
    pub standing: u32,
    /// Tick at which the present run began, as far as known: the end of the latest recovery, or else the latest failure.
    pub start: u32,
    /// Tick at which the run before it began.
    pub before: u32,
    /// 1: it was started, and has not been seen to run since: whatever it fails of now it fails of at once.
    pub starting: u32,
    /// Tick at which it was last found to have answered a self-test; 0 = not since it was last found hung.
    pub alive: u32,
    /// Periods without an answer.
    pub unanswered: u32,
    /// The order that it is given next: 0 = none, 1 + number of a [`Control`], or [`REBOOT`] for the whole board.
    pub order: u32,
    /// 1: `policy` is in force instead of that of the manifest.
    pub changed: u32,
    /// A policy.
    pub policy: Policy,
    unused: u32,
}

/// See [`Record::order`].
pub const REBOOT: u32 = 1 + Control::Probe as u32 + 1;

impl Record {
    /// How the supervisor stands to it.
    pub fn standing(&self) -> Standing {
        <Standing as rt::Word>::from_word(self.standing).unwrap_or(Standing::Watched)
    }

    /// Whether it makes sense.
    fn is_sound(&self) -> bool {
        self.standing <= Standing::Stopped as u32
            && self.row.is_sound()
            && self.changed <= 1
            && self.starting <= 1
            && self.order <= REBOOT
            && (self.changed == 0 || makes_sense(&self.policy))
    }
}

/// What limits the lines in the system's log.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Window {
    /// When it began, in microseconds since boot.
    pub start: u64,
    /// Lines written since.
    pub written: u32,
    /// Lines left out since.
    pub omitted: u32,
}

/// The common region.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Common {
    magic: u32,
    /// The number of the latest failure that was read.
    pub seen: u32,
    /// The sequence number of the latest entry of the log.
    sequence: u32,
    unused: u32,
    /// Lines in the system's log.
    pub window: Window,
    /// Services, by their entries in the boot image.
    pub records: [Record; MAX_ENTRIES],
    /// Entry s is at (s - 1) modulo the length.
    log: [LogEntry; LOG_ENTRIES],
}

const _: () = assert!(size_of::<Common>() <= 16 * 1024, "the manifest gives 16K of common region");

impl Common {
    /// Looks it over. Whether it holds what an earlier life left.
    pub fn repair(&mut self) -> bool {
        if self.magic != MAGIC {
            self.as_mut_bytes().fill(0);
            self.magic = MAGIC;
            return false;
        }
        for record in self.records.iter_mut().filter(|record| !record.is_sound()) {
            *record = Record::new_zeroed();
        }
        let latest = self.sequence;
        for (index, entry) in (0..).zip(&mut self.log) {
            let place = entry.sequence.wrapping_sub(1) % LOG_ENTRIES as u32 == index;
            let age = latest.wrapping_sub(entry.sequence);
            if entry.sequence != 0 && (!place || age >= LOG_ENTRIES as u32 || entry.verdict > Verdict::Unjudged as u32)
            {
                *entry = LogEntry::default();
            }
        }
        true
    }

    /// Appends to the log.
    pub fn push(&mut self, entry: LogEntry) {
        let sequence = self.sequence.wrapping_add(1).max(1);
        self.log[(sequence - 1) as usize % LOG_ENTRIES] = LogEntry { sequence, ..entry };
        self.sequence = sequence;
    }

    /// The latest sequence number.
    pub fn latest(&self) -> u32 {
        self.sequence
    }

    /// The earliest sequence number that the log can still have.
    pub fn earliest(&self) -> u32 {
        self.sequence.saturating_sub(LOG_ENTRIES as u32) + 1
    }

    /// The entry with this sequence number.
    pub fn entry(&self, sequence: u32) -> Option<&LogEntry> {
        let entry = &self.log[sequence.checked_sub(1)? as usize % LOG_ENTRIES];
        (entry.sequence == sequence).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(common: &Common) -> Vec<u32> {
        (1..=common.latest()).filter_map(|sequence| common.entry(sequence)).map(|entry| entry.number).collect()
    }

    fn common() -> Box<Common> {
        let mut common = Box::new(Common::new_zeroed());
        assert!(!common.repair());
        common
    }

    #[test]
    fn the_log_keeps_the_latest() {
        let mut common = common();
        for number in 1..=300 {
            common.push(LogEntry { number, ..LogEntry::default() });
        }
        assert!(common.repair());
        assert_eq!(numbers(&common), (173..=300).collect::<Vec<_>>());
        assert_eq!((common.earliest(), common.latest()), (173, 300));
    }

    #[test]
    fn damage_costs_what_is_damaged() {
        let mut common = common();
        for number in 1..=200 {
            common.push(LogEntry { number, ..LogEntry::default() });
        }
        common.records[3].short_runs_for_test(4);
        common.records[5].standing = 77;
        common.records[5].short_runs_for_test(4);
        common.log[9].sequence ^= 1 << 20;
        common.log[11].verdict = 99;
        assert!(common.repair());
        assert_eq!((common.records[3].row.short_runs, common.records[5].row.short_runs), (4, 0));
        assert_eq!(common.records[5].standing(), Standing::Watched);
        let expected: Vec<u32> = (73..=200).filter(|number| ![138, 140].contains(number)).collect();
        assert_eq!(numbers(&common), expected);
    }

    #[test]
    fn anything_can_be_repaired() {
        let mut common = common();
        let mut state = 0x9e37_79b9u32;
        for byte in common.as_mut_bytes().iter_mut().skip(4) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        assert!(common.repair());
        assert!(common.records.iter().all(Record::is_sound));
        assert!(common.log.iter().all(|entry| entry.sequence == 0 || common.entry(entry.sequence).is_some()));
    }

    impl Record {
        fn short_runs_for_test(&mut self, runs: u32) {
            self.row.short_runs = runs;
        }
    }
}
