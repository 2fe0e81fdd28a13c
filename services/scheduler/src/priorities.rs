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

use crate::policy::{Policy, Round, next_after};
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
    /// Where the round in each level is; `None`: it begins behind whoever ran last.
    cursors: [Option<u32>; LEVELS],
    /// Time since the last fair turn: ticks, times [`DECISIONS`], and decisions.
    due: u32,
    /// Who had the last fair turn.
    turn: Option<u32>,
    /// Who has a fair turn.
    guest: Option<u32>,
    /// Who has a turn of its level.
    running: Option<Running>,
}

impl Priorities {
    /// [`PolicyKind`] of this policy.
    pub const KIND: PolicyKind = PolicyKind::Priorities;
}

impl Policy for Priorities {
    fn new(table: &Table) -> Self {
        let mut levels = [0; LEVELS];
        for slot in 0..SLOTS {
            levels[table.get(slot).priority as usize % LEVELS] |= 1 << slot;
        }
        Priorities { levels, cursors: [None; LEVELS], due: 0, turn: None, guest: None, running: None }
    }

    fn changed(&mut self, slot: usize, parameters: Parameters) {
        let bit = 1u64 << (slot % SLOTS);
        self.levels.iter_mut().for_each(|level| *level &= !bit);
        self.levels[parameters.priority as usize % LEVELS] |= bit;
    }

    fn decide(&mut self, table: &Table, round: &Round) -> Decision {
        self.due = self.due.saturating_add(round.ticks.saturating_mul(DECISIONS)).saturating_add(1);
        let before = round.previous.unwrap_or(SLOTS as u32 - 1);
        if let Some(slot) = self.guest.take()
            && round.ticks < FAIR_SLICE
            && round.interrupts(slot)
        {
            self.guest = Some(slot);
            return Decision { slot, slice: FAIR_SLICE };
        }
        if self.due >= PERIOD * DECISIONS {
            let slot = next_after(round.ready, self.turn.unwrap_or(before));
            (self.due, self.turn, self.guest) = (0, Some(slot), Some(slot));
            return Decision { slot, slice: FAIR_SLICE };
        }
        let top = (0..LEVELS).rev().find(|level| self.levels[*level] & round.ready != 0);
        // Each slot is in one level.
        let Some(level) = top else { return Decision { slot: round.ready.trailing_zeros(), slice: 1 } };
        let ready = self.levels[level] & round.ready;
        if let Some(running) = &mut self.running
            && round.interrupts(running.slot)
            && ready >> running.slot & 1 == 1
            && round.ticks < running.left
        {
            running.left -= round.ticks;
            return Decision { slot: running.slot, slice: running.left };
        }
        let slot = next_after(ready, self.cursors[level].unwrap_or(before));
        let slice = table.get(slot as usize).slice;
        self.cursors[level] = Some(slot);
        self.running = Some(Running { slot, left: slice });
        Decision { slot, slice }
    }

    fn is_sound(&self, table: &Table) -> bool {
        (0..SLOTS).all(|slot| {
            let level = table.get(slot).priority as usize;
            (0..LEVELS).all(|other| self.levels[other] >> slot & 1 == u64::from(other == level))
        })
    }
}
