//! A command line, taken apart.

use core::fmt::Write;

use console::LINE_MAX;
use rt::Text;

/// The most words of a line.
const MAX_WORDS: usize = 32;

/// The words of a line. Blanks separate them; quotes (`"` or `'`) and a backslash keep blanks, and each other, in a word.
pub struct Words {
    text: Text<LINE_MAX>,
    /// Where each word ends in `text`.
    ends: [usize; MAX_WORDS],
    count: usize,
}

impl Words {
    /// Takes a line apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Self, &'static str> {
        let mut words = Words { text: Text::new(), ends: [0; MAX_WORDS], count: 0 };
        let mut letters = line.chars().peekable();
        loop {
            while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
            if letters.peek().is_none() {
                return Ok(words);
            }
            let mut quote = None;
            while let Some(letter) = letters.next_if(|letter| quote.is_some() || !letter.is_whitespace()) {
                match letter {
                    '\\' if quote != Some('\'') => {
                        words.push(letters.next().ok_or("nothing follows the backslash")?);
                    }
                    '"' | '\'' if quote.is_none() => quote = Some(letter),
                    _ if quote == Some(letter) => quote = None,
                    _ => words.push(letter),
                }
            }
            if quote.is_some() {
                return Err("a quote is not closed");
            }
            *words.ends.get_mut(words.count).ok_or("too many words")? = words.text.as_str().len();
            words.count += 1;
        }
    }

    fn push(&mut self, letter: char) {
        // The words are no longer than the line, which fits.
        let _ = self.text.write_char(letter);
    }

    /// Word `index`; 0 is the command.
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends[..self.count].get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        self.text.as_str().get(start..end)
    }

    /// The words behind the command.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        (1..self.count).filter_map(|index| self.get(index))
    }

    /// How many words there are behind the command.
    pub fn argument_count(&self) -> usize {
        self.count.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let words = Words::parse(line).unwrap();
        (0..words.count).map(|index| words.get(index).unwrap().to_owned()).collect()
    }

    #[test]
    fn splits_at_blanks() {
        assert_eq!(words(""), [""; 0]);
        assert_eq!(words("  ls   /a\t/b "), ["ls", "/a", "/b"]);
        let parsed = Words::parse("cp a b").unwrap();
        assert_eq!(parsed.arguments().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((parsed.argument_count(), Words::parse("").unwrap().argument_count()), (2, 0));
    }

    #[test]
    fn keeps_what_is_quoted() {
        assert_eq!(words(r#"write "a file" 'it''s "so"'"#), ["write", "a file", "its \"so\""]);
        assert_eq!(words(r#"a\ b \"c "d\"e" '\' "" x"#), ["a b", "\"c", "d\"e", "\\", "", "x"]);
        assert_eq!(words("ä\\ö 'ü ü'"), ["äö", "ü ü"]);
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(Words::parse("a 'b").err(), Some("a quote is not closed"));
        assert_eq!(Words::parse("a\\").err(), Some("nothing follows the backslash"));
        assert_eq!(Words::parse(&"x ".repeat(33)).err(), Some("too many words"));
        assert!(Words::parse(&"x ".repeat(32)).is_ok());
    }
}
