//! The line being typed: a small editor, one byte at a time.

use console::LINE_MAX;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A line that is not complete yet. All zero: an empty one.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Line {
    bytes: [u8; LINE_MAX],
    len: u32,
    /// 0: none; 1: behind an escape character; 2: in a control sequence. Keys that send one are ignored.
    escape: u16,
    /// 1: the last byte was a carriage return, so that a line feed now is the same key.
    returned: u16,
}

/// What the terminal shows for a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Nothing.
    Nothing,
    /// The byte itself.
    Byte(u8),
    /// This many characters disappear.
    Erase(usize),
    /// A text.
    Text(&'static [u8]),
}

/// The bell: there is no room.
const BELL: u8 = 0x07;

impl Line {
    /// The most bytes that one byte can make the terminal show.
    pub const MAX_ECHO: usize = 3 * LINE_MAX;

    /// Whether the lengths are possible.
    pub fn holds(&self) -> bool {
        self.len as usize <= LINE_MAX
    }

    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }

    /// Starts an empty line.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Takes a byte: what it shows, and whether the line is complete.
    pub fn feed(&mut self, byte: u8) -> (Echo, bool) {
        let returned = core::mem::take(&mut self.returned) == 1;
        match (core::mem::take(&mut self.escape), byte) {
            (1, b'[' | b'O') => {
                self.escape = 2;
                return (Echo::Nothing, false);
            }
            (1, _) => return (Echo::Nothing, false),
            (2, 0x20..=0x3f) => {
                self.escape = 2;
                return (Echo::Nothing, false);
            }
            (2, 0x40..=0x7e) => return (Echo::Nothing, false),
            _ => {}
        }
        let echo = match byte {
            b'\n' if returned => Echo::Nothing,
            b'\r' | b'\n' => {
                self.returned = u16::from(byte == b'\r');
                return (Echo::Text(b"\n"), true);
            }
            0x03 => {
                self.clear();
                return (Echo::Text(b"^C\n"), true);
            }
            0x08 | 0x7f => self.erase(1),
            0x15 => self.erase(usize::MAX),
            0x1b => {
                self.escape = 1;
                Echo::Nothing
            }
            0..=0x1f => Echo::Nothing,
            _ if self.len as usize == LINE_MAX => Echo::Byte(BELL),
            _ => {
                self.bytes[self.len as usize] = byte;
                self.len += 1;
                Echo::Byte(byte)
            }
        };
        (echo, false)
    }

    /// Takes back up to `count` characters (bytes that continue one in UTF-8 go with it).
    fn erase(&mut self, count: usize) -> Echo {
        let mut erased = 0;
        while erased < count && self.len > 0 {
            self.len -= 1;
            if self.bytes[self.len as usize] & 0xc0 != 0x80 || self.len == 0 {
                erased += 1;
            }
        }
        if erased == 0 { Echo::Nothing } else { Echo::Erase(erased) }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    /// What the line holds and what the terminal shows after these bytes.
    fn typed(bytes: &[u8]) -> (Vec<u8>, Vec<Echo>, bool) {
        let mut line = Line::new_zeroed();
        let mut complete = false;
        let echoes = bytes
            .iter()
            .map(|byte| {
                let (echo, done) = line.feed(*byte);
                complete = done;
                echo
            })
            .collect();
        (line.bytes().to_vec(), echoes, complete)
    }

    #[test]
    fn takes_characters_until_return() {
        let (line, echoes, complete) = typed(b"ls\r");
        assert_eq!((&line[..], complete), (&b"ls"[..], true));
        assert_eq!(echoes, [Echo::Byte(b'l'), Echo::Byte(b's'), Echo::Text(b"\n")]);
    }

    #[test]
    fn return_and_line_feed_are_one_key() {
        let mut line = Line::new_zeroed();
        assert!(line.feed(b'\r').1);
        line.clear();
        assert_eq!(line.feed(b'\n'), (Echo::Nothing, false));
        assert_eq!(line.feed(b'\n'), (Echo::Text(b"\n"), true));
    }

    #[test]
    fn erases_whole_characters() {
        let (line, echoes, _) = typed("aä\x7f".as_bytes());
        assert_eq!(line, b"a");
        assert_eq!(echoes.last(), Some(&Echo::Erase(1)));
        let (line, echoes, _) = typed("xäö\x15".as_bytes());
        assert_eq!(line, b"");
        assert_eq!(echoes.last(), Some(&Echo::Erase(3)));
        assert_eq!(typed(b"\x08").1, [Echo::Nothing]);
        // Broken UTF-8: continuation bytes without a start.
        assert_eq!(typed(b"\x80\x80\x7f").0, b"");
    }

    #[test]
    fn gives_up_on_control_c() {
        let (line, echoes, complete) = typed(b"rm x\x03");
        assert_eq!((&line[..], complete), (&b""[..], true));
        assert_eq!(echoes.last(), Some(&Echo::Text(b"^C\n")));
    }

    #[test]
    fn ignores_keys_that_send_sequences() {
        assert_eq!(typed(b"a\x1b[A\x1b[1;5C\x1bOPb").0, b"ab");
        assert_eq!(typed(b"a\tb\x00").0, b"ab");
    }

    #[test]
    fn rings_when_full() {
        let (line, echoes, _) = typed(&[b'x'; LINE_MAX + 1]);
        assert_eq!(line.len(), LINE_MAX);
        assert_eq!(echoes.last(), Some(&Echo::Byte(BELL)));
    }
}
