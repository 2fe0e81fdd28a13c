//! Lending what is not one's own.

use rt::Error;
use rt::abi::call::{LEND_READ, LEND_WRITE, METHOD_SHIFT};
use rt::abi::layout::{COMMON_BASE, HEAP_BASE, IMAGE_BASE, PAGE, SSR_BASE, STACK_TOP, USER_END};
use victim::case::{KERNEL_DATA, KERNEL_TEXT};
use victim::harm::raw_call;
use victim::{HEAP, STACK, VictimClient};

use crate::{Checked, Line, ensure};

/// Lines of this file begin here.
const FILE: u32 = 3000;
/// Number of the method `echo`, which copies one range to the other.
const ECHO: u32 = 11;
/// Own memory that nothing else uses: the heap.
const OWN: u32 = HEAP_BASE + PAGE;

const FINE: u32 = 0;
const RANGE: u32 = Error::BadRange as u32;

/// Ranges of one call (address and length), and the code that it ends with.
type Lent = ((u32, u32), (u32, u32), u32);

/// Own ranges in every shape that is allowed.
const ALLOWED: &[Lent] = &[
    ((OWN, 16), (OWN + 16, 16), FINE),
    ((OWN + 16, 16), (OWN, 16), FINE),
    ((OWN + 1, 15), (OWN + 33, 15), FINE),
    ((OWN, 2 * PAGE), (HEAP_BASE, PAGE), FINE),
    ((IMAGE_BASE, PAGE), (OWN, PAGE), FINE),
    ((HEAP_BASE + HEAP - 4, 4), (OWN, 4), FINE),
    ((STACK_TOP - STACK, 4), (STACK_TOP - STACK + 4, 4), FINE),
    ((OWN, 0), (OWN, 0), FINE),
    ((0, 0), (OWN, 16), FINE),
    ((OWN, 16), (KERNEL_DATA, 0), FINE),
];

/// Ranges that must be refused.
const REFUSED: &[Lent] = &[
    // Overlapping.
    ((OWN, 16), (OWN, 16), RANGE),
    ((OWN, 16), (OWN + 15, 16), RANGE),
    ((OWN + 15, 16), (OWN, 16), RANGE),
    ((OWN, 2 * PAGE), (OWN + PAGE, 1), RANGE),
    // Not to be written.
    ((OWN, 16), (IMAGE_BASE, 16), RANGE),
    ((OWN, 16), (IMAGE_BASE + 0xffc, 8), RANGE),
    // Page 0, guard pages, holes.
    ((0, 16), (OWN, 16), RANGE),
    ((OWN, 16), (0, 16), RANGE),
    ((0xffc, 8), (OWN, 16), RANGE),
    ((STACK_TOP - STACK - 4, 8), (OWN, 8), RANGE),
    ((OWN, 8), (STACK_TOP - STACK - 4, 8), RANGE),
    ((STACK_TOP - 4, 8), (OWN, 8), RANGE),
    ((HEAP_BASE + HEAP - 4, 8), (OWN, 8), RANGE),
    ((OWN, 8), (HEAP_BASE + HEAP - 4, 8), RANGE),
    ((OWN, HEAP), (STACK_TOP - STACK, 8), RANGE),
    // Regions that a program does not have.
    ((SSR_BASE, 16), (OWN, 16), RANGE),
    ((OWN, 16), (SSR_BASE, 16), RANGE),
    ((COMMON_BASE, 16), (OWN, 16), RANGE),
    ((OWN, 16), (COMMON_BASE, 16), RANGE),
    // Beyond user space, and round the end of the address space.
    ((USER_END - 8, 16), (OWN, 16), RANGE),
    ((OWN, 16), (USER_END - 8, 16), RANGE),
    ((USER_END, 16), (OWN, 16), RANGE),
    ((0x0900_0000, 4), (OWN, 4), RANGE),
    ((OWN, 4), (0x0900_0000, 4), RANGE),
    ((KERNEL_TEXT, 16), (OWN, 16), RANGE),
    ((OWN, 16), (KERNEL_TEXT, 16), RANGE),
    ((KERNEL_DATA, 16), (OWN, 16), RANGE),
    ((OWN, 16), (KERNEL_DATA, 16), RANGE),
    ((0x4200_0000, PAGE), (OWN, 16), RANGE),
    ((OWN, 16), (0x4200_0000, PAGE), RANGE),
    ((u32::MAX, 1), (OWN, 1), RANGE),
    ((u32::MAX - 7, 16), (OWN, 16), RANGE),
    ((OWN, u32::MAX), (OWN, 16), RANGE),
    ((OWN, 16), (u32::MAX - 7, 16), RANGE),
    ((OWN, 16), (OWN + 16, u32::MAX - OWN), RANGE),
    ((OWN, 16), (OWN + 32, 0x8000_0000), RANGE),
];

/// Only own memory can be lent, and only for what it can be used for.
pub fn ranges() -> Checked {
    let Ok(victim) = VictimClient::bind() else { return Err(Line(FILE + line!())) };
    let handle = victim.handle();
    for &((read, read_length), (write, write_length), code) in ALLOWED.iter().chain(REFUSED) {
        let word = ECHO << METHOD_SHIFT | LEND_READ | LEND_WRITE;
        let mut registers =
            [0, 0, read, read_length, write, write_length, 0, word, handle.index, handle.generation, 0, 0, 0];
        raw_call(&mut registers);
        ensure!(registers[0] == code);
        if code == FINE {
            ensure!(registers[1] == read_length.min(write_length));
        }
    }
    // Nothing lent at all: the service finds ranges of whatever length the registers say, and no byte in them.
    let mut registers =
        [0, 0, OWN, 64, OWN + 64, 64, 0, ECHO << METHOD_SHIFT, handle.index, handle.generation, 0, 0, 0];
    raw_call(&mut registers);
    ensure!(registers[0] != FINE);
    ensure!(victim.add(1).is_ok_and(|(sum, _)| sum == 1));
    Ok(())
}
