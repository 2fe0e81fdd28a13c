//! What publisher and readers share: the keys, and what a reader expects of the news.
#![no_std]
#![forbid(unsafe_code)]

/// The publisher's number; the others read.
pub const PUBLISHER: u32 = 0;
/// Clients that publish or read.
pub const HERALDS: u32 = 3;
/// Under this key the publisher counts.
pub const NEWS: &str = "demo.news";
/// Under these keys readers publish what they have read.
pub const READERS: [&str; HERALDS as usize - 1] = ["demo.reader.1", "demo.reader.2"];
/// All of them.
pub const ALL_READERS: &str = "demo.reader.*";
/// Under this key the demonstration publishes that its clients are to come to an end.
pub const STOP: &str = "demo.stop";

/// What a reader has seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// The latest value.
    pub value: Option<u32>,
    /// Its version.
    pub version: u64,
}

impl Seen {
    /// Takes a value to the books. Whether it is the one that follows, and its version is newer.
    pub fn next(&mut self, value: u32, version: u64) -> bool {
        let follows = self.value.is_none_or(|before| value == before.wrapping_add(1)) && version > self.version;
        *self = Seen { value: Some(value), version };
        follows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_doubled_or_out_of_order_shows() {
        let mut seen = Seen::default();
        assert!(seen.next(5, 9) && seen.next(6, 10) && seen.next(7, 15));
        assert!(!seen.next(9, 16), "missed");
        assert!(!seen.next(9, 17), "doubled");
        assert!(!seen.next(10, 17), "an old version");
    }
}
