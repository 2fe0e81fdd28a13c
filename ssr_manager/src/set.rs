//! Sets of bindings: the sessions of a server, what a client holds, the slots that are free again.

use crate::{BindingId, MAX_BINDINGS};

/// Bits of a word.
const WORD: usize = u32::BITS as usize;

abi::initial! {
    /// A set of bindings, met in the order of their indices. Every operation takes the same short time, whatever is in
    /// the set and wherever.
    #[derive(Clone, Copy)]
    pub(crate) struct Set {
        /// Bit `n`: word `n` of `members` is not 0.
        words: [u32; MAX_BINDINGS / WORD / WORD] = [0; MAX_BINDINGS / WORD / WORD],
        /// Bit `n`: word `n` of `words` is not 0.
        top: [u32; 1] = [0],
        members: [u32; MAX_BINDINGS / WORD] = [0; MAX_BINDINGS / WORD],
        len: u16 = 0,
    }
}

impl Set {
    /// Makes a binding a member that is none, or ends its membership.
    pub(crate) fn put(&mut self, b: BindingId, member: bool) {
        let any = put(&mut self.members, b.index(), member);
        let any = put(&mut self.words, b.index() / WORD, any);
        put(&mut self.top, b.index() / WORD / WORD, any);
        self.len = if member { self.len + 1 } else { self.len - 1 };
    }

    /// How many members there are.
    pub(crate) fn len(&self) -> usize {
        self.len.into()
    }

    /// The members after this one, as [`Set::next`] gives them.
    pub(crate) fn after(&self, last: Option<BindingId>) -> impl Iterator<Item = BindingId> {
        core::iter::successors(self.next(last), |b| self.next(Some(*b)))
    }

    /// The first member after this one, which need not be a member (any more); the very first for `None`.
    pub(crate) fn next(&self, after: Option<BindingId>) -> Option<BindingId> {
        let from = after.map_or(0, |b| b.index() + 1);
        let index = first(&self.members, from).or_else(|| {
            let word = from / WORD + 1;
            let word =
                first(&self.words, word).or_else(|| first(&self.words, first(&self.top, word / WORD + 1)? * WORD));
            first(&self.members, word? * WORD)
        })?;
        Some(BindingId::new(index as u16))
    }
}

/// Sets or clears a bit. Whether a bit of its word is set now.
fn put(words: &mut [u32], index: usize, value: bool) -> bool {
    let word = &mut words[index / WORD];
    *word = *word & !(1 << (index % WORD)) | u32::from(value) << (index % WORD);
    *word != 0
}

/// The first bit that is set in the word of this index, from the index on.
fn first(words: &[u32], from: usize) -> Option<usize> {
    let bits = words.get(from / WORD)? & u32::MAX << (from % WORD);
    (bits != 0).then(|| from - from % WORD + bits.trailing_zeros() as usize)
}
