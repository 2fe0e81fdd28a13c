//! The instructions of a target, with what mutations ask about their surroundings.

use std::ops::Range;

use anyhow::{Context, Result, bail};
use object::read::elf::ElfFile32;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use super::a32::{self, Class};

/// Bytes of a word.
pub const WORD: u32 = 4;
/// Words from a parameter's set-up to the call that takes it, at most.
const REACH: usize = 16;

/// Functions of Rust's core library that panic, and whose arguments are all in registers; with each the registers (bits)
/// that hold pointers or lengths. What the others hold is only shown.
const PANICS: [(&str, u32); 6] = [
    ("core::panicking::panic", 0b111),
    ("core::panicking::panic_fmt", 0b111),
    ("core::option::expect_failed", 0b111),
    ("core::panicking::panic_bounds_check", 0b100),
    ("core::option::unwrap_failed", 0b1),
    ("core::panicking::panic_const::", 0b1),
];

/// Instructions and literal pools of a target.
pub struct Text {
    start: u32,
    words: Vec<u32>,
    /// Which of the words are instructions.
    code: Vec<bool>,
    /// Which of the words end, or go on with, a loop.
    loops: Vec<bool>,
    /// Where functions begin, in order.
    functions: Vec<u32>,
    endless: Vec<u32>,
    panics: Vec<u32>,
}

impl Text {
    /// Reads the section of an executable.
    ///
    /// # Errors
    /// If there is none, or it holds Thumb instructions.
    pub fn read(file: &ElfFile32<'_>) -> Result<Text> {
        let section = file.section_by_name(".text").context("the executable has no section .text")?;
        let start = u32::try_from(section.address()).context("text beyond 32 bits")?;
        let bytes = section.data().context("the section .text lies outside the file")?;
        let words: Vec<u32> = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let end = start.checked_add(words.len() as u32 * WORD).context("text beyond 32 bits")?;
        let inside = |address: u64| u32::try_from(address).ok().filter(|address| (start..end).contains(address));

        // Mapping symbols (AAELF32, 5.5.5): from `$a` on instructions, from `$d` on data.
        let mut marks = Vec::new();
        let (mut functions, mut panickers) = (Vec::new(), Vec::new());
        for symbol in file.symbols() {
            let (Some(address), Ok(name)) = (inside(symbol.address()), symbol.name()) else { continue };
            match name.as_bytes() {
                [b'$', b't', ..] => bail!("it holds Thumb instructions at {address:#010x}: faults are for A32 only"),
                [b'$', kind @ (b'a' | b'd'), ..] => marks.push((address, *kind == b'a')),
                _ if symbol.kind() == SymbolKind::Text => {
                    functions.push(address);
                    panickers.extend(panicker(name).map(|arguments| (address, arguments)));
                }
                _ => {}
            }
        }
        if marks.is_empty() {
            bail!("it does not tell instructions from data: its symbols were removed");
        }
        marks.sort_unstable();
        functions.sort_unstable();
        functions.dedup();
        let mut code = vec![false; words.len()];
        for (index, (address, instructions)) in marks.iter().enumerate() {
            let next = marks.get(index + 1).map_or(end, |(next, _)| *next);
            code[(address - start).div_ceil(WORD) as usize..(next - start).div_ceil(WORD) as usize].fill(*instructions);
        }
        let mut text =
            Text { start, words, code, loops: Vec::new(), functions, endless: Vec::new(), panics: Vec::new() };
        let endless = text.instructions().filter(|(_, word)| *word == a32::SELF_BRANCH);
        text.endless = endless.map(|(pc, _)| pc).collect();
        text.loops = text.find_loops();
        text.panics = text.find_panics(&panickers);
        Ok(text)
    }

    /// Addresses, from the first word to the end.
    pub fn range(&self) -> Range<u32> {
        self.start..self.start + self.words.len() as u32 * WORD
    }

    fn index(&self, pc: u32) -> Option<usize> {
        let offset = pc.checked_sub(self.start)?;
        (offset.is_multiple_of(WORD) && ((offset / WORD) as usize) < self.words.len())
            .then_some((offset / WORD) as usize)
    }

    fn address(&self, index: usize) -> u32 {
        self.start + index as u32 * WORD
    }

    /// The instruction at an address; `None` outside, and in literal pools.
    pub fn instruction(&self, pc: u32) -> Option<u32> {
        self.index(pc).filter(|index| self.code[*index]).map(|index| self.words[index])
    }

    /// Instructions with their addresses.
    pub fn instructions(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..self.words.len()).filter(|index| self.code[*index]).map(|index| (self.address(index), self.words[index]))
    }

    /// The function that an address lies in, as far as symbols tell.
    fn function(&self, pc: u32) -> Range<u32> {
        let next = self.functions.partition_point(|start| *start <= pc);
        let start = next.checked_sub(1).map_or(self.start, |index| self.functions[index]);
        start..self.functions.get(next).copied().unwrap_or(self.range().end)
    }

    /// Whether the instruction at `pc` is a branch that decides whether a loop goes on: one backwards, or one out of
    /// the words between a backward branch and where that goes.
    pub fn decides_loop(&self, pc: u32) -> bool {
        self.index(pc).is_some_and(|index| self.loops[index])
    }

    fn find_loops(&self) -> Vec<bool> {
        let mut loops = vec![false; self.words.len()];
        for (end, word) in self.instructions() {
            let Some(head) = self.own_branch(word, end).filter(|target| *target <= end) else { continue };
            for pc in (head..=end).step_by(WORD as usize) {
                let Some((index, word)) = self.index(pc).zip(self.instruction(pc)) else { continue };
                let Some(target) = self.own_branch(word, pc) else { continue };
                loops[index] |= !a32::always(word) && (pc == end || !(head..=end).contains(&target));
            }
        }
        loops
    }

    /// Where a branch goes to that neither links nor leaves its function.
    fn own_branch(&self, word: u32, pc: u32) -> Option<u32> {
        let links = word >> 24 & 1 == 1;
        a32::branch_target(word, pc).filter(|target| !links && self.function(pc).contains(target))
    }

    /// Whether the instruction at `pc` sets up a parameter of a call that follows it in a straight line: a register that
    /// the callee (r0 to r3, AAPCS 6.4) or the kernel (r0 to r5 and r7, `rt::arch`) may take, set for the last time.
    pub fn sets_parameter(&self, pc: u32) -> bool {
        let Some(word) = self.instruction(pc) else { return false };
        let set = a32::written(word);
        if a32::branches(word) || set.count_ones() != 1 {
            return false;
        }
        for step in 1..=REACH as u32 {
            let pc = pc + step * WORD;
            let Some(next) = self.instruction(pc) else { return false };
            if let Some(taken) = self.parameters(next, pc) {
                return taken & set != 0;
            }
            if a32::branches(next) || a32::always(next) && a32::written(next) & set != 0 {
                return false;
            }
        }
        false
    }

    /// Registers that a call takes its parameters in, if it is one.
    fn parameters(&self, word: u32, pc: u32) -> Option<u32> {
        match a32::decode(word)?.name {
            "bl" | "blx" => Some(0b1111),
            "svc" => Some(0b1011_1111),
            "b" if a32::always(word) && self.own_branch(word, pc).is_none() => Some(0b1111),
            _ => None,
        }
    }

    /// Where branches to themselves stand.
    pub fn endless_loops(&self) -> &[u32] {
        &self.endless
    }

    /// Where a panic of the target's own begins: from there on all arguments of a function that panics are constants.
    pub fn panics(&self) -> &[u32] {
        &self.panics
    }

    fn find_panics(&self, panickers: &[(u32, u32)]) -> Vec<u32> {
        let call = |(pc, word): (u32, u32)| {
            let target = a32::branch_target(word, pc).filter(|_| a32::always(word))?;
            let (_, arguments) = panickers.iter().find(|(address, _)| *address == target)?;
            self.constants_before(pc, *arguments)
        };
        self.instructions().filter_map(call).collect()
    }

    /// The first of the instructions in a straight line before `pc` that together load constants into all of `registers`.
    fn constants_before(&self, pc: u32, registers: u32) -> Option<u32> {
        let (mut pc, mut missing, mut halves) = (pc, registers, 0);
        while missing != 0 {
            pc = pc.checked_sub(WORD)?;
            let word = self.instruction(pc).filter(|word| a32::condition(*word) == Some(14))?;
            let encoding = a32::decode(word)?;
            let set = a32::written(word) & missing;
            match encoding.name {
                "movt" => halves |= set,
                "movw" => missing &= !set,
                "mov" | "mvn" if encoding.sources == 0 && halves & set == 0 => missing &= !set,
                _ if encoding.class == Class::Process && set == 0 && !a32::branches(word) => {}
                _ => return None,
            }
        }
        Some(pc)
    }
}

/// Registers with constants that a function needs that panics; `None` for every other function.
fn panicker(symbol: &str) -> Option<u32> {
    let name = addr2line::demangle_auto(symbol.into(), None);
    let plain = name.rsplit_once("::h").filter(|(_, hash)| hash.len() == 16).map_or(&*name, |(path, _)| path);
    let known = |(known, _): &&(&str, u32)| plain == *known || known.ends_with("::") && plain.starts_with(known);
    PANICS.iter().find(known).map(|(_, arguments)| *arguments)
}
