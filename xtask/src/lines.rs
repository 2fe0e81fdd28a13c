//! Counts what the kernel's ceilings are about: executable lines and uses of `unsafe`.
//!
//! A line counts if a token of code stands on it. Comments are no tokens. Not counted are `use` declarations,
//! attributes, what is compiled for tests only, and lines that hold nothing but brackets, commas and
//! semicolons. The lines of a text (assembly, for the most part) count one by one.

use std::collections::BTreeSet;
use std::iter::Peekable;

use anyhow::{Result, anyhow};
use proc_macro2::token_stream::IntoIter;
use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Executable lines.
    pub lines: usize,
    /// Uses of the word `unsafe` in code.
    pub unsafes: usize,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.lines += other.lines;
        self.unsafes += other.unsafes;
    }
}

/// Counts a source file in Rust.
///
/// # Errors
/// If it is none.
pub fn rust(source: &str) -> Result<Count> {
    let tokens: TokenStream = source.parse().map_err(|error| anyhow!("no Rust: {error}"))?;
    let mut counter = Counter::default();
    counter.stream(tokens);
    Ok(Count { lines: counter.lines.len(), unsafes: counter.unsafes })
}

/// Counts a source file of assembly: lines that are more than a comment.
pub fn assembly(source: &str) -> Count {
    let code = |line: &&str| !line.is_empty() && !["@", "//", "#", "/*", "*"].iter().any(|mark| line.starts_with(mark));
    Count { lines: source.lines().map(str::trim).filter(code).count(), unsafes: 0 }
}

#[derive(Default)]
struct Counter {
    lines: BTreeSet<usize>,
    unsafes: usize,
}

impl Counter {
    fn stream(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match &token {
                TokenTree::Punct(mark) if mark.as_char() == '#' => match attribute(&mut tokens) {
                    Some(group) => {
                        self.unsafe_in(group.stream());
                        if is_test_only(&group) {
                            skip_item(&mut tokens);
                        }
                    }
                    None => self.mark(token.span()),
                },
                TokenTree::Ident(word) if word == "use" => {
                    while tokens
                        .next()
                        .is_some_and(|token| !matches!(&token, TokenTree::Punct(mark) if mark.as_char() == ';'))
                    {
                    }
                }
                TokenTree::Ident(word) => {
                    self.unsafes += usize::from(word == "unsafe");
                    self.mark(token.span());
                }
                TokenTree::Group(group) => self.stream(group.stream()),
                TokenTree::Punct(mark) if matches!(mark.as_char(), ',' | ';') => {}
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.mark(token.span()),
            }
        }
    }

    /// `#[unsafe(no_mangle)]` is a use of `unsafe`, although attributes are no lines.
    fn unsafe_in(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(word) if word == "unsafe" => self.unsafes += 1,
                TokenTree::Group(group) => self.unsafe_in(group.stream()),
                _ => {}
            }
        }
    }

    fn mark(&mut self, span: Span) {
        self.lines.extend(span.start().line..=span.end().line);
    }
}

/// The brackets of an attribute whose `#` was just taken.
fn attribute(tokens: &mut Peekable<IntoIter>) -> Option<Group> {
    if matches!(tokens.peek(), Some(TokenTree::Punct(mark)) if mark.as_char() == '!') {
        tokens.next();
    }
    match tokens.peek() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => match tokens.next() {
            Some(TokenTree::Group(group)) => Some(group),
            _ => None,
        },
        _ => None,
    }
}

/// Whether an attribute is `#[test]` or `#[cfg(test)]`.
fn is_test_only(attribute: &Group) -> bool {
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    text == "test" || text == "cfg(test)"
}

/// Skips an item: up to its block, or its semicolon.
fn skip_item(tokens: &mut Peekable<IntoIter>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
            TokenTree::Punct(mark) if mark.as_char() == ';' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(source: &str) -> usize {
        rust(source).expect("it is Rust").lines
    }

    #[test]
    fn code_counts() {
        assert_eq!(lines("fn f() { g(); }"), 1);
        assert_eq!(lines("fn f(\n    a: u32,\n    b: u32,\n) -> u32 {\n    a + b\n}\n"), 5);
        assert_eq!(lines("const A: &str = \"one\n two\n three\";"), 3);
        assert_eq!(lines("match a {\n    1 => {\n    }\n    _ => {}\n}"), 3);
    }

    #[test]
    fn what_is_no_code_does_not_count() {
        assert_eq!(lines(""), 0);
        assert_eq!(lines("// a\n/* b\n c */\n/// d\n//! e\n\n"), 0);
        assert_eq!(lines("use a::b;\nuse c::{\n    d,\n    e,\n};\npub(crate) mod x;\n"), 1);
        assert_eq!(lines("#![no_std]\n#[inline(always)]\n#[cfg(any(\n    a,\n    b,\n))]\nfn f() {}\n"), 1);
        assert_eq!(lines("fn f() {\n}\n\nfn g() {\n    (\n    );\n}"), 2);
    }

    #[test]
    fn tests_do_not_count() {
        assert_eq!(
            lines("fn f() {}\n#[cfg(test)]\nmod tests {\n    use super::*;\n    fn g() { h(); }\n}\nfn i() {}\n"),
            2
        );
        assert_eq!(lines("#[cfg(test)]\nmod tests;\nfn f() {}\n"), 1);
        assert_eq!(lines("#[cfg(not(test))]\nfn f() {}\n"), 1);
        assert_eq!(lines("#[test]\nfn f() {\n    g();\n}\n"), 0);
    }

    #[test]
    fn every_unsafe_in_code_is_counted() {
        let source = "// unsafe\nunsafe fn f() {}\nfn g() { unsafe { f() } }\nunsafe impl Send for A {}\n#[unsafe(no_mangle)]\nfn h() { \"unsafe\"; }\n";
        assert_eq!(rust(source).expect("it is Rust").unsafes, 4);
    }

    #[test]
    fn assembly_counts_without_comments() {
        assert_eq!(assembly("@ comment\n\n  mov r0, #0\nlabel:\n// comment\n  bx lr @ return\n").lines, 3);
    }
}
