//! What belongs to no client and must not be forgotten, so it lies in the common region: which policy is active, and whose turn
//! it was when the scheduler had been built anew.

use scheduler::PolicyKind;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Says that the region holds a choice. At boot it is zero.
const MAGIC: u32 = 0x6369_6c70;

/// The choice, as it lies in the common region.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Choice {
    magic: u32,
    policy: u32,
    /// The policy's complement: a damaged word is not taken for a choice.
    check: u32,
    /// The slot that was chosen first when the scheduler was built last. Any value will do.
    pub turn: u32,
}

impl Choice {
    /// The policy that was chosen. `None`: none was, or it cannot be read any more.
    pub fn get(&self) -> Option<PolicyKind> {
        let intact = self.magic == MAGIC && self.check == !self.policy;
        PolicyKind::ALL.get(self.policy as usize).copied().filter(|_| intact)
    }

    /// Remembers a choice.
    pub fn set(&mut self, policy: PolicyKind) {
        (self.magic, self.policy, self.check) = (MAGIC, policy as u32, !(policy as u32));
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn only_what_was_chosen_is_a_choice() {
        let mut choice = Choice::new_zeroed();
        assert_eq!(choice.get(), None);
        for policy in PolicyKind::ALL {
            choice.set(policy);
            assert_eq!(choice.get(), Some(policy));
        }
        for bit in 0..96 {
            choice.set(PolicyKind::Stride);
            choice.as_mut_bytes()[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(choice.get(), None, "bit {bit}");
        }
    }
}
