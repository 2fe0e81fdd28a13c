//! What a policy is, and what all of them need.

use rt::Decision;

use crate::table::{Parameters, Table};

/// What is to be decided.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Bit n: process slot n is ready. Never 0.
    pub ready: u64,
    /// Those that were not ready at the decision before.
    pub appeared: u64,
    /// The slot that was chosen last, which need not be ready any more.
    pub previous: Option<u32>,
    /// Ticks for which that one ran since.
    pub ticks: u32,
}

impl Round {
    /// Whether a slot is ready.
    pub fn has(&self, slot: u32) -> bool {
        slot < u64::BITS && self.ready >> slot & 1 == 1
    }

    /// Whether this decision was called for while the slot's slice was not over: it was chosen last, it wants to go on,
    /// and somebody else has become ready. (With nobody new, it gave the processor away itself.)
    pub fn interrupts(&self, slot: u32) -> bool {
        self.previous == Some(slot) && self.has(slot) && self.appeared != 0
    }
}

/// A policy: decides from who is ready now, what each of them asked for, and what it remembers of the decisions before.
///
/// What it remembers is derived state and may be lost at any time; the promises below hold from then on anew.
pub trait Policy {
    /// The policy at its start, with these parameters.
    fn new(table: &Table) -> Self;
    /// This slot has been chosen without it: its rounds begin behind that.
    fn begin(&mut self, slot: u32);
    /// The parameters of a slot have changed.
    fn changed(&mut self, slot: usize, parameters: Parameters);
    /// Chooses one of those that are ready, and its slice: 1 to [`scheduler::MAX_SLICE`] ticks.
    fn decide(&mut self, table: &Table, round: &Round) -> Decision;
    /// Whether what it keeps agrees with the parameters.
    fn is_sound(&self, table: &Table) -> bool;
}

/// The slots behind a slot.
#[inline(always)]
pub fn behind(slot: u32) -> u64 {
    !1 << (slot & 63)
}

/// The first slot of a set behind `slot`, going round. The set is not empty.
pub fn next_after(set: u64, slot: u32) -> u32 {
    let next = set & behind(slot);
    if next != 0 { next.trailing_zeros() } else { set.trailing_zeros() }
}

#[cfg(test)]
mod tests {
    use super::next_after;

    #[test]
    fn slots_follow_each_other_in_a_circle() {
        for (set, slot, next) in [
            (0b1011, 0, 1),
            (0b1011, 1, 3),
            (0b1011, 3, 0),
            (0b1011, 62, 0),
            (0b1011, 63, 0),
            (1 << 63 | 1, 0, 63),
            (1 << 63 | 1, 62, 63),
            (1 << 63 | 1, 63, 0),
            (1 << 5, 5, 5),
            (u64::MAX, 63, 0),
        ] {
            assert_eq!(next_after(set, slot), next, "{set:#x} behind {slot}");
        }
    }
}
