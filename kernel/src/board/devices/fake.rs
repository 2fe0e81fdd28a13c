//! A bus that records, for tests of the drivers.

use core::cell::RefCell;
use std::collections::BTreeMap;
use std::vec::Vec;

use super::Registers;

/// An access to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Offset.
    Read(u32),
    /// Offset and value.
    Write(u32, u32),
}

pub use Access::{Read, Write};

/// Registers that keep what is written to them, and give what the test has queued or set.
#[derive(Default)]
pub struct Bus {
    values: RefCell<BTreeMap<u32, u32>>,
    queued: RefCell<BTreeMap<u32, Vec<u32>>>,
    accesses: RefCell<Vec<Access>>,
}

impl Bus {
    /// What a register holds from now on.
    pub fn set(&self, offset: u32, value: u32) {
        self.values.borrow_mut().insert(offset, value);
    }

    /// What the next reads of a register give, one after the other, before it gives what it holds.
    pub fn queue(&self, offset: u32, values: &[u32]) {
        self.queued.borrow_mut().insert(offset, values.iter().rev().copied().collect());
    }

    /// The accesses since this was last asked.
    pub fn accesses(&self) -> Vec<Access> {
        core::mem::take(&mut self.accesses.borrow_mut())
    }

    /// The same without those that read.
    pub fn writes(&self) -> Vec<(u32, u32)> {
        let of = |access| if let Write(offset, value) = access { Some((offset, value)) } else { None };
        self.accesses().into_iter().filter_map(of).collect()
    }
}

impl Registers for Bus {
    fn read(&self, offset: u32) -> u32 {
        self.accesses.borrow_mut().push(Read(offset));
        let next = self.queued.borrow_mut().get_mut(&offset).and_then(Vec::pop);
        next.unwrap_or_else(|| self.values.borrow().get(&offset).copied().unwrap_or(0))
    }

    fn write(&self, offset: u32, value: u32) {
        self.accesses.borrow_mut().push(Write(offset, value));
        self.set(offset, value);
    }
}
