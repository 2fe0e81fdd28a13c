//! A driver whose device would reach memory by itself: it gets addresses of its own DMA window to it, and no others.

use bell::BellClient;
use rt::abi::layout::{DMA_BASE, MMIO_BASE, PAGE};
use rt::abi::{FailureKind, Sabotage, failure};
use rt::{CallError, Error, sys};

use crate::check::{Check, Suite, equal, get};
use crate::world::Before;

/// Registers of `bell`'s device, which differ from board to board.
struct Known {
    /// Holds a bus address of a page without descriptors, and can be read back.
    address: u32,
    /// May hold `value` only.
    fixed: u32,
    value: u32,
    /// May hold anything.
    free: u32,
}

fn known(bell: &BellClient) -> Result<Known, crate::check::Why> {
    let [address, fixed, value, free] = [
        get!(bell.known(0), "known"),
        get!(bell.known(1), "known"),
        get!(bell.known(2), "known"),
        get!(bell.known(3), "known"),
    ];
    Ok(Known { address, fixed, value, free })
}

/// The page with descriptors, of which there are [`DESCRIPTORS`].
const TABLE: u32 = DMA_BASE + PAGE;
/// Descriptors in it.
const DESCRIPTORS: u32 = 4;
/// Bytes of the window.
const WINDOW: u32 = 4 * PAGE;

const RANGE: u32 = Error::BadRange as u32;
const ARGUMENT: u32 = Error::BadArgument as u32;

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    suite.run("dma: registers get addresses of the window only", registers);
    suite.run("dma: descriptors name the window only", descriptors);
    suite.run("dma: checked registers and descriptors cannot be written without the kernel", locked);
    suite.run("dma: what is in the window survives a failure", survives);
}

/// The bus address of the window's first page.
fn base(bell: &BellClient) -> Result<u32, crate::check::Why> {
    let address = known(bell)?.address;
    equal_code(bell, address, DMA_BASE, 0)?;
    Ok(get!(bell.touch(MMIO_BASE + address, false, 0), "read"))
}

fn equal_code(bell: &BellClient, register: u32, value: u32, code: u32) -> Result<(), crate::check::Why> {
    equal!(get!(bell.tell(register, value), "write"), code, "error of writing {value:#x} to register {register:#x}");
    Ok(())
}

fn registers() -> Check {
    let bell = get!(BellClient::bind(), "bind");
    let first = base(&bell)?;
    let Known { address, fixed, value, free } = known(&bell)?;
    equal!(first % PAGE, 0, "offset of the window in its page");
    for page in [2, 3] {
        equal_code(&bell, address, DMA_BASE + page * PAGE, 0)?;
        let there = get!(bell.touch(MMIO_BASE + address, false, 0), "read");
        equal!(there, first + page * PAGE, "bus address of page {page}");
    }
    equal_code(&bell, address, 0, 0)?;
    for wrong in [TABLE, DMA_BASE + 4, DMA_BASE + WINDOW, DMA_BASE - PAGE, first, 0x4001_0000, u32::MAX, 0x1000] {
        equal_code(&bell, address, wrong, RANGE)?;
    }
    equal_code(&bell, fixed, value, 0)?;
    for wrong in [0, 2, u32::MAX] {
        equal_code(&bell, fixed, wrong, ARGUMENT)?;
    }
    equal_code(&bell, free, u32::MAX, 0)?;
    for register in [PAGE, 2, u32::MAX - 3, 0u32.wrapping_sub(MMIO_BASE)] {
        equal_code(&bell, register, 0, RANGE)?;
    }
    Ok(())
}

fn descriptors() -> Check {
    let bell = get!(BellClient::bind(), "bind");
    let first = base(&bell)?;
    let buffer = DMA_BASE + 2 * PAGE + 8;
    let last = TABLE + 16 * (DESCRIPTORS - 1);
    for (slot, length, link) in [(TABLE, 100, 0), (last, 2 * PAGE - 8, 0xffff_0003), (TABLE + 16, 0, 1)] {
        equal!(get!(bell.describe(slot, buffer, length, link), "describe"), 0, "error at {slot:#x}");
        for (offset, expected) in [(0, first + 2 * PAGE + 8), (4, 0), (8, length), (12, link)] {
            equal!(get!(bell.touch(slot + offset, false, 0), "read"), expected, "word {offset} at {slot:#x}");
        }
    }
    let refused = [
        (DMA_BASE, buffer, 4, 0, RANGE),
        (TABLE + 8, buffer, 4, 0, RANGE),
        (TABLE + PAGE, buffer, 4, 0, RANGE),
        (TABLE, TABLE, 4, 0, RANGE),
        (TABLE, TABLE - 1, 2, 0, RANGE),
        (TABLE, DMA_BASE, WINDOW, 0, RANGE),
        (TABLE, buffer, 2 * PAGE - 7, 0, RANGE),
        (TABLE, buffer, u32::MAX, 0, RANGE),
        (TABLE, DMA_BASE + WINDOW, 1, 0, RANGE),
        (TABLE, 0x4001_0000, 4, 0, RANGE),
        (TABLE, first, 4, 0, RANGE),
        (TABLE, buffer, 4, 4, ARGUMENT),
        (TABLE, buffer, 4, 0x8000, ARGUMENT),
        (last + 18, 1, 0, 0, RANGE),
        (TABLE + PAGE - 2, 1, 0, 0, RANGE),
    ];
    for (slot, buffer, length, link, code) in refused {
        let result = get!(bell.describe(slot, buffer, length, link), "describe");
        equal!(result, code, "error of {buffer:#x}, {length} bytes, {link:#x} at {slot:#x}");
    }
    for at in [last + 16, TABLE + PAGE - 4] {
        equal!(get!(bell.describe(at, 0x1234_5678, 0, 0), "write"), 0, "error of a word at {at:#x}");
        equal!(get!(bell.touch(at, false, 0), "read"), 0x1234_5678, "word at {at:#x}");
    }
    Ok(())
}

fn locked() -> Check {
    let Known { address, free, .. } = known(&get!(BellClient::bind(), "bind"))?;
    for at in [TABLE, TABLE + PAGE - 4, MMIO_BASE + address, MMIO_BASE + free] {
        let bell = get!(BellClient::bind(), "bind");
        let held = get!(bell.touch(at, false, 0), "read");
        equal!(bell.touch(at, true, !held), Err(CallError::Kernel(Error::ServerFault)), "result of writing {at:#x}");
        let failure = crate::world::failure(0)?;
        equal!((failure.kind, failure.address), (FailureKind::DataAbort as u32, at), "failure");
        equal!(get!(bell.touch(at, false, 0), "read"), held, "word at {at:#x}");
    }
    let bell = get!(BellClient::bind(), "bind");
    equal!(get!(bell.touch(DMA_BASE + 8, true, 5), "write"), 5, "a word of a buffer");
    Ok(())
}

fn survives() -> Check {
    let bell = get!(BellClient::bind(), "bind");
    let first = base(&bell)?;
    get!(bell.touch(DMA_BASE + 16, true, 77), "write");
    get!(bell.describe(TABLE, DMA_BASE, 64, 0), "describe");
    let before = Before::of("bell")?;
    let sabotage = Sabotage { kind: failure::SabotageKind::Panic, moment: failure::Moment::Entry };
    get!(sys::sabotage("bell", sabotage), "sabotage");
    equal!(get!(bell.touch(DMA_BASE + 16, false, 0), "read"), 77, "a word of a buffer");
    before.since("bell", 1..=1, 0, 0)?;
    equal!(get!(bell.touch(TABLE, false, 0), "read"), first, "address in a descriptor");
    Ok(())
}
