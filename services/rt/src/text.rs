//! Text in a buffer of fixed size.

use core::fmt;

/// Collects formatted text, `N` bytes at most; what does not fit is cut at a character's boundary.
#[derive(Clone, Copy, Debug)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
    cut: bool,
}

impl<const N: usize> Text<N> {
    /// No text.
    pub const fn new() -> Self {
        Text { bytes: [0; N], len: 0, cut: false }
    }

    /// The text so far.
    pub fn as_str(&self) -> &str {
        // Only whole characters are ever put in.
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }

    /// Whether some of it did not fit.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Forgets the text.
    pub fn clear(&mut self) {
        self.len = 0;
        self.cut = false;
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.cut {
            return Ok(());
        }
        let end = text.floor_char_boundary(N - self.len);
        self.bytes[self.len..self.len + end].copy_from_slice(&text.as_bytes()[..end]);
        self.len += end;
        self.cut = end < text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Write;

    use super::Text;

    #[test]
    fn cuts_between_characters_and_stays_cut() {
        let mut text = Text::<4>::new();
        write!(text, "ab").unwrap();
        assert_eq!((text.as_str(), text.is_cut()), ("ab", false));
        write!(text, "cä").unwrap();
        assert_eq!((text.as_str(), text.is_cut()), ("abc", true));
        write!(text, "d").unwrap();
        assert_eq!(text.as_str(), "abc");
        text.clear();
        write!(text, "äö").unwrap();
        assert_eq!((text.as_str(), text.is_cut()), ("äö", false));
    }
}
