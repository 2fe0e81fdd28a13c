//! Frames received: which buffer holds which, in the common region, so that it survives every failure.

use nic::KEPT_MAX;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A buffer with a frame; `length` 0: the buffer is the device's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Kept {
    /// The frame's number.
    pub number: u32,
    /// Its bytes.
    pub length: u32,
}

/// The common region. All zero: no frames.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ring {
    /// Bus address of the first buffer; 0: not known yet.
    pub base: u64,
    /// Number of the next frame.
    next: u32,
    /// How many finished receptions were noted since the queue was set up, modulo 65536.
    pub noted: u32,
    /// By buffer.
    kept: [Kept; KEPT_MAX],
}

impl Ring {
    /// A frame was received into a buffer.
    pub fn note(&mut self, buffer: usize, length: usize) {
        self.noted = u32::from(self.noted as u16).wrapping_add(1);
        if let Some(kept) = self.kept.get_mut(buffer).filter(|kept| kept.length == 0 && length > 0) {
            *kept = Kept { number: self.next, length: length as u32 };
            self.next = self.next.wrapping_add(1);
        }
    }

    /// What the buffer holds.
    pub fn held(&self, buffer: usize) -> Option<Kept> {
        self.kept.get(buffer).copied().filter(|kept| kept.length > 0)
    }

    /// The buffers with frames, the oldest first.
    pub fn oldest_first(&self) -> impl Iterator<Item = (usize, Kept)> {
        let mut order = [(0u32, 0usize); KEPT_MAX];
        let mut count = 0;
        for (buffer, kept) in self.kept.iter().enumerate().filter(|(_, kept)| kept.length > 0) {
            // The age: numbers may have gone round.
            order[count] = (self.next.wrapping_sub(kept.number), buffer);
            count += 1;
        }
        order[..count].sort_unstable_by(|one, other| other.cmp(one));
        order.into_iter().take(count).map(|(_, buffer)| (buffer, self.kept[buffer]))
    }

    /// Releases frames: number `first` and those behind it, by the bits of the mask. Returns whether any are left.
    pub fn release(&mut self, first: u32, mask: u64) -> bool {
        let mut left = false;
        for kept in self.kept.iter_mut().filter(|kept| kept.length > 0) {
            match kept.number.wrapping_sub(first) {
                offset @ 0..64 if mask >> offset & 1 == 1 => kept.length = 0,
                _ => left = true,
            }
        }
        left
    }

    /// Forgets what cannot be: lengths that no frame has.
    pub fn repair(&mut self) {
        self.kept.iter_mut().filter(|kept| kept.length as usize > nic::FRAME_MAX).for_each(|kept| kept.length = 0);
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn frames_keep_their_order_and_are_released_by_number() {
        let mut ring = Ring::new_zeroed();
        ring.next = u32::MAX - 1;
        for buffer in [5, 3, 9, 1] {
            ring.note(buffer, 60 + buffer);
        }
        ring.note(3, 70);
        let order = |ring: &Ring| ring.oldest_first().map(|(buffer, _)| buffer).collect::<Vec<_>>();
        assert_eq!(order(&ring), [5, 3, 9, 1]);
        assert_eq!(ring.held(3), Some(Kept { number: u32::MAX, length: 63 }));
        assert!(ring.release(u32::MAX - 1, 0b101));
        assert_eq!(order(&ring), [3, 1]);
        assert!(!ring.release(u32::MAX, 0b101));
        assert!(order(&ring).is_empty() && ring.held(1).is_none());
        assert_eq!(ring.noted, 5);
    }

    #[test]
    fn impossible_lengths_are_forgotten() {
        let mut ring = Ring::new_zeroed();
        ring.note(0, 1514);
        ring.kept[1].length = 1515;
        ring.repair();
        assert_eq!(ring.oldest_first().count(), 1);
    }
}
