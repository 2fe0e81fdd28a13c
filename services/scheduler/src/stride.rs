//! Stride scheduling: processor time in proportion to the weights (Waldspurger and Weihl, 1995).
//!
//! Each slot has a *pass*, its own time: a tick moves it on by the slot's stride, which is [`STRIDE`] through its weight.
//! Whoever is ready and least far goes next. Who was not ready for a while begins where the others are: what it did not use is
//! not saved up.
//!
//! Bound: the passes of threads that stay ready never differ by more than the longest slice moves one of them. So after T
//! ticks each of n threads that never wait has had its share of T with an error below n * `MAX_SLICE` ticks; and nobody starves,
//! since a thread that runs leaves the others' passes where they are.

use rt::Decision;
use scheduler::PolicyKind;

use crate::policy::{Policy, Round, behind};
use crate::table::{Parameters, SLOTS, Table};

/// What a tick costs with a weight of 1. Large, so that dividing it loses less than a part in 4,000.
const STRIDE: u32 = 1 << 20;
/// Who was not seen to run for a tick pays this part of one: else whoever gives the processor away in time would run for
/// nothing, and be chosen again and again. Less than a switch takes on a slow board.
const LEAST: u64 = 256;

/// The policy.
pub struct Stride {
    strides: [u32; SLOTS],
    passes: [u64; SLOTS],
    /// The pass of the one who was chosen last: where those who appear begin.
    now: u64,
}

impl Stride {
    /// [`PolicyKind`] of this policy.
    pub const KIND: PolicyKind = PolicyKind::Stride;

    fn stride(parameters: Parameters) -> u32 {
        STRIDE / parameters.weight.max(1)
    }
}

impl Policy for Stride {
    fn new(table: &Table) -> Self {
        let strides = core::array::from_fn(|slot| Stride::stride(table.get(slot)));
        Stride { strides, passes: [0; SLOTS], now: 0 }
    }

    fn begin(&mut self, _: u32) {
        // Equals take turns behind whoever ran last, whoever chose that one.
    }

    fn changed(&mut self, slot: usize, parameters: Parameters) {
        self.strides[slot % SLOTS] = Stride::stride(parameters);
    }

    fn decide(&mut self, table: &Table, round: &Round) -> Decision {
        let previous = round.previous.filter(|slot| *slot < SLOTS as u32);
        if let Some(slot) = previous {
            let stride = u64::from(self.strides[slot as usize]);
            let cost = match round.ticks {
                // It goes on, and pays when it is done.
                0 if round.interrupts(slot) => 0,
                0 => stride / LEAST,
                ticks => stride * u64::from(ticks),
            };
            let pass = &mut self.passes[slot as usize];
            *pass = pass.saturating_add(cost);
        }
        for slot in slots(round.appeared) {
            self.passes[slot] = self.passes[slot].max(self.now);
        }
        // Of equals, the next one behind whoever ran last: so they take turns even if the passes are lost again and again.
        let behind = behind(previous.unwrap_or(SLOTS as u32 - 1));
        let mut best = (u64::MAX, SLOTS);
        for slot in slots(round.ready & behind).chain(slots(round.ready & !behind)) {
            if self.passes[slot] < best.0 {
                best = (self.passes[slot], slot);
            }
        }
        let (pass, slot) = best;
        self.now = self.now.max(pass);
        Decision { slot: slot as u32, slice: table.get(slot).slice }
    }

    fn is_sound(&self, table: &Table) -> bool {
        (0..SLOTS).all(|slot| self.strides[slot] == Stride::stride(table.get(slot)))
    }
}

/// The slots of a set, in order.
fn slots(mut set: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let slot = set.trailing_zeros();
        // With nothing left, the next line leaves nothing.
        set &= set.wrapping_sub(1);
        (slot < u64::BITS).then_some(slot as usize)
    })
}
