//! Places that are known at the moment of the injection only.

use abi::layout::{PAGE, SSR_BASE, SSR_MAX_PAGES};
use abi::ssr::{HEADER, MAGIC};

use crate::Action;

/// Bytes of a word.
const WORD: u32 = 4;
/// Number of the stack pointer.
const SP: usize = 13;

/// An action with all places filled in that are known at the injection only: what comes back is neither
/// [`Action::Stack`] nor [`Action::Ssr`]. `registers` are r0 to r15 and CPSR, `read` reads a word at a virtual address,
/// as the target would at that moment.
///
/// # Errors
/// Why there is no such place: it is then as if nothing had been asked for.
pub fn resolve(
    action: Action,
    registers: &[u32; 17],
    read: &mut dyn FnMut(u32) -> Option<u32>,
) -> Result<Action, String> {
    let (address, keep, flip) = match action {
        Action::Stack { nth, low, top, keep, flip } => (stack_word(registers[SP], nth, low, top)?, keep, flip),
        Action::Ssr { nth, keep, flip } => (ssr_word(nth, read)?, keep, flip),
        known => return Ok(known),
    };
    Ok(Action::Memory { address, keep, flip })
}

/// A word from the stack pointer up. The stack is full descending (AAPCS, 6.2.1): what lies below is free.
fn stack_word(pointer: u32, nth: u32, low: u32, top: u32) -> Result<u32, String> {
    if pointer < low || pointer > top {
        return Err(format!(
            "the stack pointer {pointer:#010x} does not point into the stack, {low:#010x} to {top:#010x}"
        ));
    }
    let first = pointer.next_multiple_of(WORD);
    match top.saturating_sub(first) / WORD {
        0 => Err("nothing is on the stack".to_owned()),
        words => Ok(first + nth % words * WORD),
    }
}

/// A word of the SSR that the target sees.
fn ssr_word(nth: u32, read: &mut dyn FnMut(u32) -> Option<u32>) -> Result<u32, String> {
    match read(SSR_BASE) {
        None => return Err("no session is open".to_owned()),
        Some(MAGIC) => {}
        Some(word) => return Err(format!("the SSR begins with {word:#010x} instead of its magic number")),
    }
    let used = read(SSR_BASE + WORD).ok_or("the SSR cannot be read")?;
    if !(HEADER..=SSR_MAX_PAGES * PAGE).contains(&used) {
        return Err(format!("the SSR's header says that {used} bytes are in use"));
    }
    Ok(SSR_BASE + nth % (used / WORD) * WORD)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: Action = Action::Stack { nth: 5, low: 0x1000, top: 0x2000, keep: !0, flip: 1 };

    fn at(pointer: u32) -> [u32; 17] {
        let mut registers = [0; 17];
        registers[SP] = pointer;
        registers
    }

    fn unread(address: u32) -> Option<u32> {
        panic!("{address:#x} is none of its business")
    }

    #[test]
    fn stack_words_count_from_the_stack_pointer_up() {
        let memory = |address| Ok(Action::Memory { address, keep: !0, flip: 1 });
        assert_eq!(resolve(STACK, &at(0x1f00), &mut unread), memory(0x1f14));
        // Two words are in use: 5 modulo 2.
        assert_eq!(resolve(STACK, &at(0x1ff8), &mut unread), memory(0x1ffc));
        assert_eq!(resolve(STACK, &at(0x1ff7), &mut unread), memory(0x1ffc));
        for nowhere in [0x2000, 0x1fff, 0x2001, 0xfff, 0, u32::MAX] {
            assert!(resolve(STACK, &at(nowhere), &mut unread).is_err(), "{nowhere:#x}");
        }
    }

    #[test]
    fn ssr_words_are_those_in_use() {
        let ssr = |nth| Action::Ssr { nth, keep: 0, flip: 7 };
        let struck = |nth, magic, used| {
            let mut read = |address| match address {
                SSR_BASE => magic,
                other if other == SSR_BASE + 4 => used,
                other => unread(other),
            };
            resolve(ssr(nth), &[0; 17], &mut read)
        };
        let memory = |offset| Ok(Action::Memory { address: SSR_BASE + offset, keep: 0, flip: 7 });
        assert_eq!(struck(0, Some(MAGIC), Some(40)), memory(0));
        assert_eq!(struck(9, Some(MAGIC), Some(40)), memory(36));
        assert_eq!(struck(10, Some(MAGIC), Some(43)), memory(0));
        assert_eq!(struck(7, Some(MAGIC), Some(SSR_MAX_PAGES * PAGE)), memory(28));
        assert!(struck(0, None, Some(40)).is_err_and(|why| why.contains("no session")));
        assert!(struck(0, Some(0), Some(40)).is_err_and(|why| why.contains("magic")));
        for used in [None, Some(0), Some(15), Some(SSR_MAX_PAGES * PAGE + 1)] {
            assert!(struck(0, Some(MAGIC), used).is_err(), "{used:?}");
        }
    }

    #[test]
    fn what_is_known_stays() {
        for known in [
            Action::Nothing,
            Action::Patch { word: 1 },
            Action::Jump { pc: 4 },
            Action::Register { register: 3, mask: 1 },
        ] {
            assert_eq!(resolve(known, &[1; 17], &mut unread), Ok(known));
        }
    }
}
