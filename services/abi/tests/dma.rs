//! The rules for devices that reach memory, against what they are to prevent.

use abi::Error;
use abi::dma::{DESCRIPTOR, Holds, Rule};
use abi::image::{Entry, Mmio};
use abi::layout::{DMA_BASE, MMIO_BASE, PAGE};
use proptest::prelude::*;
use zerocopy::FromZeros;

const BASE: u32 = 0x4567_8000;
const PAGES: u32 = 6;

/// A driver with a window of six pages and one rule of each kind.
fn driver(tables: u32, descriptors: u32) -> Entry {
    let mut entry = Entry::new_zeroed();
    entry.mmio[0] = Mmio { address: 0x0a00_0000, length: 2 * PAGE };
    (entry.checked, entry.dma, entry.dma_tables, entry.descriptors) = (1, PAGES * PAGE, tables, descriptors);
    for (index, holds) in [Holds::Value, Holds::Any, Holds::Buffer, Holds::Table].into_iter().enumerate() {
        let value = if holds == Holds::Value { 4096 } else { 4 * index as u32 };
        entry.registers[index] = Rule { register: MMIO_BASE + 0x40 * index as u32, holds: holds as u32, value };
    }
    entry
}

fn addresses() -> impl Strategy<Value = u32> {
    let near = (0..PAGES + 2, -2i32..=20).prop_map(|(page, off)| (DMA_BASE + page * PAGE).wrapping_add_signed(off));
    prop_oneof![near, any::<u32>(), (0..=PAGES).prop_map(|page| DMA_BASE + page * PAGE), Just(BASE)]
}

proptest! {
    /// A register that carries an address gets 0 or that of a page of the window; which pages, its rule says.
    #[test]
    fn addresses_in_registers(tables in 0u32..1 << PAGES, register in 1usize..4, value in addresses()) {
        let entry = driver(tables, 16);
        let Rule { register, holds, value: shift } = entry.registers[register];
        let page = value.wrapping_sub(DMA_BASE) / PAGE;
        let whole = value >= DMA_BASE && value % PAGE == 0 && page < PAGES;
        let table = whole && tables >> page & 1 == 1;
        let fits = match Holds::from_number(holds) {
            Some(Holds::Any) => whole,
            Some(Holds::Buffer) => whole && !table,
            _ => table,
        };
        let expected = match value {
            0 => Ok(0),
            _ if fits => Ok((BASE + page * PAGE) >> shift),
            _ => Err(Error::BadRange),
        };
        prop_assert_eq!(entry.register_value(BASE, register, value), expected);
    }

    /// What is described lies in the window, and nothing but buffers does.
    #[test]
    fn descriptors(
        tables in 0u32..1 << PAGES,
        descriptors in 1u32..=256,
        slot in addresses(),
        buffer in addresses(),
        length in prop_oneof![0..3 * PAGE, any::<u32>()],
        link in prop_oneof![0u32..8, any::<u32>()],
    ) {
        let entry = driver(tables, descriptors);
        match entry.descriptor(BASE, slot, [buffer, length, link]) {
            Err(error) => prop_assert!(matches!(error, Error::BadRange | Error::BadArgument)),
            Ok((at, words, count)) => {
                let offset = slot - DMA_BASE;
                prop_assert_eq!(at, BASE + offset);
                prop_assert_eq!(tables >> (offset / PAGE) & 1, 1);
                if count == 1 {
                    prop_assert!(offset % PAGE >= descriptors * DESCRIPTOR && offset.is_multiple_of(4));
                    prop_assert_eq!(words[0], buffer);
                } else {
                    prop_assert!(count == 4 && offset.is_multiple_of(DESCRIPTOR));
                    prop_assert!(offset % PAGE + DESCRIPTOR <= descriptors * DESCRIPTOR);
                    let start = buffer - DMA_BASE;
                    prop_assert_eq!(words, [BASE + start, 0, length, link]);
                    prop_assert!(u64::from(start) + u64::from(length) <= u64::from(PAGES * PAGE));
                    for byte in [start, start + length.saturating_sub(1)] {
                        prop_assert!(length == 0 || tables >> (byte / PAGE) & 1 == 0);
                    }
                    prop_assert_eq!(link & 0xfffc, 0);
                }
            }
        }
    }
}

/// Registers that are none, and the one that may hold one value.
#[test]
fn values() {
    let entry = driver(1, 16);
    assert_eq!(entry.register_value(BASE, MMIO_BASE, 4096), Ok(4096));
    assert_eq!(entry.register_value(BASE, MMIO_BASE, 0), Err(Error::BadArgument));
    assert_eq!(entry.register_value(BASE, MMIO_BASE + 4, 77), Ok(77));
    for register in [0, MMIO_BASE - 4, MMIO_BASE + 2, MMIO_BASE + 2 * PAGE, u32::MAX] {
        assert_eq!(entry.register_value(BASE, register, 0), Err(Error::BadRange));
    }
}
