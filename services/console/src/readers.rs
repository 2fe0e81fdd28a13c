//! Sessions whose clients wait for input.

/// As many as the manifest lets in (`max_bindings`).
const MOST: usize = 64;

/// A set of session numbers.
pub struct Readers {
    numbers: [u32; MOST],
    len: usize,
}

impl Default for Readers {
    fn default() -> Self {
        Readers { numbers: [0; MOST], len: 0 }
    }
}

impl Readers {
    /// Those in it.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.numbers.iter().take(self.len).copied()
    }

    /// Puts a session in, if it is not there. There is a place for every session that there can be.
    pub fn insert(&mut self, number: u32) {
        if self.len < MOST && self.iter().all(|known| known != number) {
            self.numbers[self.len] = number;
            self.len += 1;
        }
    }

    /// Takes a session out.
    pub fn remove(&mut self, number: u32) {
        let place = self.iter().position(|known| known == number);
        if let Some(place) = place {
            self.len -= 1;
            self.numbers[place] = self.numbers[self.len];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_is_in_it_once() {
        let mut readers = Readers::default();
        for number in (0..100).chain(0..100) {
            readers.insert(number);
        }
        assert_eq!(readers.iter().count(), MOST);
        (0..50).for_each(|number| readers.remove(number));
        readers.remove(7);
        let mut left: Vec<u32> = readers.iter().collect();
        left.sort_unstable();
        assert_eq!(left, (50..64).collect::<Vec<_>>());
    }
}
