//! Priorities with round robin, and a fair turn for everybody.
//!
//! Strict priorities starve whoever is below a thread that never waits. So every so often ([`PERIOD`]) a decision is a *fair
//! turn*: the next of all that are ready, whatever its priority, runs for a tick. A turn is over when its thread has had
//! that tick or has given it away, not when somebody else becomes ready.
//!
//! Bound: fair turns go round, so a thread that stays ready has one at the latest when each slot that was ready meanwhile
//! has had one. With n of them that is after n * (`PERIOD` + `MAX_SLICE` + 1) ticks (2.8 s for all 64, 0.13 s for three). It
//! costs those of high priority one tick in `PERIOD`. When the scheduler is rebuilt the bound begins anew; but the first
//! decision then is the next turn of another round (`server.rs`), so even one that fails every time starves nobody.

use rt::Decision;
use scheduler::PolicyKind;

use crate::policy::{Policy, Round, behind, next_after};
use crate::table::{Parameters, SLOTS, Table};

/// Ticks between fair turns.
pub const PERIOD: u32 = 32;
/// So many decisions count as a tick, as none of them may have seen one go by: less than a switch takes on a slow board.
const DECISIONS: u32 = 256;
/// Ticks of a fair turn.
const FAIR_SLICE: u32 = 1;
/// Priorities.
const LEVELS: usize = 8;

/// A slot and the ticks that it has left.
#[derive(Clone, Copy, Debug)]
struct Running {
    slot: u32,
    left: u32,
}

/// The policy.
pub struct Priorities {
    /// Bit n of `levels[p]`: slot n has priority p.
    levels: [u64; LEVELS],
    /// The highest level that is not empty.
    highest: usize,
    /// The slots behind the one that had the latest turn of each level.
    behind: [u64; LEVELS],
    /// Time since the last fair turn: ticks, times [`DECISIONS`], and decisions.
    due: u32,
    /// Who had the last fair turn.
    turn: u32,
    /// Who has a fair turn.
    guest: Option<u32>,
    /// Who has a turn of its level.
    running: Running,
}

impl Priorities {
    /// [`PolicyKind`] of this policy.
    pub const KIND: PolicyKind = PolicyKind::Priorities;

    /// A fair turn, if one begins or goes on.
    #[cold]
    fn fair(&mut self, round: &Round) -> Option<Decision> {
        let guest = self.guest.take().filter(|slot| round.ticks < FAIR_SLICE && round.interrupts(*slot));
        let slot = match guest {
            Some(slot) => slot,
            None if self.due >= PERIOD * DECISIONS => {
                self.due = 0;
                self.turn = next_after(round.ready, self.turn);
                self.turn
            }
            None => return None,
        };
        self.guest = Some(slot);
        Some(Decision { slot, slice: FAIR_SLICE })
    }

    /// What is left of a turn that was interrupted, if nobody of a higher level has become ready.
    #[cold]
    fn rest(&mut self, round: &Round, ready: u64) -> Option<Decision> {
        let Running { slot, left } = self.running;
        if !round.interrupts(slot) || ready >> slot & 1 == 0 || round.ticks >= left {
            return None;
        }
        self.running.left -= round.ticks;
        Some(Decision { slot, slice: self.running.left })
    }
}

impl Policy for Priorities {
    fn new(table: &Table) -> Self {
        let mut policy = Priorities {
            levels: [0; LEVELS],
            highest: 0,
            behind: [0; LEVELS],
            due: 0,
            turn: SLOTS as u32 - 1,
            guest: None,
            running: Running { slot: 0, left: 0 },
        };
        (0..SLOTS).for_each(|slot| policy.changed(slot, table.get(slot)));
        policy
    }

    fn begin(&mut self, slot: u32) {
        (self.behind, self.turn) = ([behind(slot); LEVELS], slot);
    }

    fn changed(&mut self, slot: usize, parameters: Parameters) {
        let bit = 1u64 << (slot % SLOTS);
        self.levels.iter_mut().for_each(|level| *level &= !bit);
        self.levels[parameters.priority as usize % LEVELS] |= bit;
        self.highest = self.levels.iter().rposition(|level| *level != 0).unwrap_or(0);
    }

    #[inline(always)]
    fn decide(&mut self, table: &Table, round: &Round) -> Decision {
        self.due = self.due.saturating_add(round.ticks.saturating_mul(DECISIONS) | 1);
        if (self.guest.is_some() || self.due >= PERIOD * DECISIONS)
            && let Some(decision) = self.fair(round)
        {
            return decision;
        }
        for level in (0..=self.highest % LEVELS).rev() {
            let ready = self.levels[level] & round.ready;
            if ready == 0 {
                continue;
            }
            if round.appeared != 0
                && let Some(decision) = self.rest(round, ready)
            {
                return decision;
            }
            let next = ready & self.behind[level];
            let slot = if next != 0 { next.trailing_zeros() } else { ready.trailing_zeros() };
            let slice = table.get(slot as usize).slice;
            self.behind[level] = behind(slot);
            self.running = Running { slot, left: slice };
            return Decision { slot, slice };
        }
        // Each slot is in one level, so one of them was found.
        Decision { slot: round.ready.trailing_zeros(), slice: 1 }
    }

    fn is_sound(&self, table: &Table) -> bool {
        (0..SLOTS).all(|slot| {
            let level = table.get(slot).priority as usize;
            level <= self.highest
                && (0..LEVELS).all(|other| self.levels[other] >> slot & 1 == u64::from(other == level))
        })
    }
}
