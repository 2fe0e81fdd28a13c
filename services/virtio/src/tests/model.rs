//! A device with its kernel: reads the real descriptors and rings, and knows who may write what.

use core::ptr::NonNull;
use std::boxed::Box;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use rt::Error;

use crate::{PAGE, Port, Slot, Value};

/// Where the DMA memory lies on the bus.
pub const BUS: u32 = 0x4800_0000;
/// Descriptors of a table page.
pub const SIZE: u32 = 16;

#[repr(C, align(4096))]
#[derive(Clone, Copy)]
struct Page([u8; PAGE as usize]);

/// A buffer of a chain: place in the memory, length, whether the device writes it.
pub type Part = (usize, usize, bool);

pub struct Device {
    pub legacy: bool,
    memory: NonNull<[u8]>,
    /// What table pages must hold: only the kernel writes them.
    tables: BTreeMap<u32, Vec<u8>>,
    registers: BTreeMap<u32, u32>,
    features: u64,
    pub configuration: Vec<u8>,
    /// By queue: address registers and how far the available ring was read and the used ring written.
    pub queues: [Rings; 2],
    pub notified: Vec<u32>,
    /// Calls of `describe` that wrote a descriptor.
    pub described: usize,
    pub refuses: bool,
}

#[derive(Clone, Copy, Default)]
pub struct Rings {
    descriptors: u32,
    available: u32,
    used: u32,
    seen: u16,
    done: u16,
}

#[derive(Clone)]
pub struct Bus(pub Rc<RefCell<Device>>);

impl Bus {
    pub fn new(legacy: bool, kind: u32, pages: usize) -> Self {
        let memory = Box::leak(vec![Page([0xa5; PAGE as usize]); pages].into_boxed_slice());
        let memory = NonNull::slice_from_raw_parts(NonNull::from(memory).cast::<u8>(), pages * PAGE as usize);
        let mut tables = BTreeMap::new();
        for page in [0, 2] {
            tables.insert(page * PAGE, vec![0xa5; PAGE as usize]);
        }
        let registers = [(0, 0x7472_6976), (4, if legacy { 1 } else { 2 }), (8, kind), (0x34, 1024)].into();
        let features = 1 << 5 | 1 << 9 | 1 << 28 | 1 << 29 | if legacy { 0 } else { 1 << 32 | 1 << 34 };
        Bus(Rc::new(RefCell::new(Device {
            legacy,
            memory,
            tables,
            registers,
            features,
            configuration: Vec::new(),
            queues: [Rings::default(); 2],
            notified: Vec::new(),
            described: 0,
            refuses: false,
        })))
    }
}

#[allow(unsafe_code)]
impl Device {
    pub fn bytes(&self, at: usize, len: usize) -> Vec<u8> {
        assert!(at + len <= self.memory.len(), "{at:#x} + {len:#x} is outside");
        // SAFETY: in range; nobody holds a reference to it while the test looks.
        unsafe { std::slice::from_raw_parts(self.memory.cast::<u8>().add(at).as_ptr(), len).to_vec() }
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.memory.len(), "{at:#x} is outside");
        // SAFETY: as in `bytes`.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.memory.cast::<u8>().add(at).as_ptr(), bytes.len());
        }
    }

    pub fn set_register(&mut self, register: u32, value: u32) {
        self.registers.insert(register, value);
    }

    fn half(&self, at: u32) -> u16 {
        let bytes = self.bytes(at as usize, 2);
        u16::from_le_bytes([bytes[0], bytes[1]])
    }

    pub fn word(&self, at: usize) -> u32 {
        let bytes = self.bytes(at, 4);
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// Nobody but the kernel has written a table page.
    pub fn check_tables(&self) {
        for (at, table) in &self.tables {
            assert!(self.bytes(*at as usize, PAGE as usize) == *table, "table page {at:#x} was written");
        }
    }

    /// The next chain that is available: its head and buffers.
    pub fn next(&mut self, queue: usize) -> Option<(u16, Vec<Part>)> {
        self.check_tables();
        let rings = self.queues[queue];
        if rings.descriptors == 0 || self.half(rings.available + 2 - BUS) == rings.seen {
            return None;
        }
        let head = self.half(rings.available + 4 + 2 * (u32::from(rings.seen) % SIZE) - BUS);
        self.queues[queue].seen = rings.seen.wrapping_add(1);
        let (mut parts, mut index) = (Vec::new(), u32::from(head));
        loop {
            assert!(index < SIZE && parts.len() < SIZE as usize);
            let at = (rings.descriptors - BUS + 16 * index) as usize;
            let (low, high, len, flags) = (self.word(at), self.word(at + 4), self.word(at + 8), self.word(at + 12));
            assert_eq!((high, flags & !0xffff_0003), (0, 0));
            parts.push(((low - BUS) as usize, len as usize, flags & 2 != 0));
            if flags & 1 == 0 {
                return Some((head, parts));
            }
            index = flags >> 16;
        }
    }

    /// Says that a chain is finished.
    pub fn finish(&mut self, queue: usize, head: u16, written: u32) {
        let rings = self.queues[queue];
        let used = (rings.used - BUS) as usize;
        let at = used + 4 + 8 * (u32::from(rings.done) % SIZE) as usize;
        self.put(at, &u32::from(head).to_le_bytes());
        self.put(at + 4, &written.to_le_bytes());
        self.set_used(queue, rings.done.wrapping_add(1));
        self.registers.insert(0x60, 1);
    }

    pub fn set_used(&mut self, queue: usize, index: u16) {
        let used = (self.queues[queue].used - BUS) as usize;
        self.put(used + 2, &index.to_le_bytes());
        self.queues[queue].done = index;
    }

    fn selected(&mut self) -> &mut Rings {
        let queue = self.registers.get(&0x30).copied().unwrap_or(0) as usize;
        &mut self.queues[queue]
    }

    /// The kernel's rules (README.md).
    fn write(&mut self, register: u32, value: Value) -> Result<(), Error> {
        let tables: Vec<u32> = self.tables.keys().copied().collect();
        let (word, page) = match value {
            Value::Word(word) => (word, None),
            Value::Page(page) => (BUS + page, Some(page)),
        };
        let is_table = page.is_some_and(|page| tables.contains(&page));
        let inside = page.is_none_or(|page| page % PAGE == 0 && (page as usize) < self.memory.len());
        let good = inside
            && match register {
                0x28 | 0x3c => word == PAGE && self.legacy,
                0x38 => word == SIZE,
                0x40 => self.legacy && (is_table || value == Value::Word(0)),
                0x80 => !self.legacy && is_table,
                0x90 => !self.legacy && page.is_some(),
                0xa0 => !self.legacy && page.is_some() && !is_table,
                0x84 | 0x94 | 0xa4 => word == 0 && page.is_none(),
                0x14 | 0x20 | 0x24 | 0x30 | 0x44 | 0x50 | 0x64 | 0x70 => page.is_none(),
                _ => page.is_none() && register >= 0x100,
            };
        if !good {
            return Err(Error::NotPermitted);
        }
        match register {
            0x40 if word == 0 => *self.selected() = Rings::default(),
            0x40 => {
                let rings =
                    Rings { descriptors: word, available: word + 16 * SIZE, used: word + PAGE, ..Rings::default() };
                *self.selected() = rings;
            }
            0x80 => self.selected().descriptors = word,
            0x90 => self.selected().available = word,
            0xa0 => self.selected().used = word,
            0x44 if word == 0 => *self.selected() = Rings::default(),
            0x50 => self.notified.push(word),
            0x64 => {
                self.registers.insert(0x60, 0);
            }
            0x70 if word == 0 => self.queues = [Rings::default(); 2],
            _ => {}
        }
        self.registers.insert(register, word);
        Ok(())
    }

    fn describe(&mut self, slot: u32, what: Slot) -> Result<(), Error> {
        let (page, at) = (slot & !(PAGE - 1), (slot % PAGE) as usize);
        let tables: Vec<u32> = self.tables.keys().copied().collect();
        let memory = self.memory.len() as u32;
        let table = self.tables.get_mut(&page).ok_or(Error::BadRange)?;
        let words = match what {
            _ if self.refuses => return Err(Error::NotPermitted),
            Slot::Descriptor { buffer, len, flags } => {
                let end = buffer.checked_add(len).filter(|end| *end <= memory).ok_or(Error::BadRange)?;
                let overlaps = tables.iter().any(|table| buffer < table + PAGE && *table < end);
                if at % 16 != 0 || at >= 16 * SIZE as usize || overlaps || flags & 0xffff & !3 != 0 {
                    return Err(Error::NotPermitted);
                }
                self.described += 1;
                vec![BUS + buffer, 0, len, flags]
            }
            Slot::Word(word) if at % 4 == 0 && at >= 16 * SIZE as usize => vec![word],
            Slot::Word(_) => return Err(Error::NotPermitted),
        };
        for (offset, word) in words.into_iter().enumerate() {
            let at = at + 4 * offset;
            table[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        let table = table.clone();
        self.put(page as usize, &table);
        Ok(())
    }
}

// SAFETY: the memory is leaked, page aligned, and the model's own.
#[allow(unsafe_code)]
unsafe impl Port for Bus {
    fn read(&self, register: u32) -> u32 {
        let device = self.0.borrow();
        match register {
            0x10 if device.registers.get(&0x14) == Some(&1) => (device.features >> 32) as u32,
            0x10 => device.features as u32,
            0x40 | 0x44 => {
                let queue = device.registers.get(&0x30).copied().unwrap_or(0) as usize;
                device.queues[queue].descriptors / PAGE
            }
            _ => device.registers.get(&register).copied().unwrap_or(0),
        }
    }

    fn read_byte(&self, offset: u32) -> u8 {
        self.0.borrow().configuration.get(offset as usize - 0x100).copied().unwrap_or(0xff)
    }

    fn write(&mut self, register: u32, value: Value) -> Result<(), Error> {
        self.0.borrow_mut().write(register, value)
    }

    fn describe(&mut self, slot: u32, what: Slot) -> Result<(), Error> {
        self.0.borrow_mut().check_tables();
        self.0.borrow_mut().describe(slot, what)
    }

    fn memory(&self) -> NonNull<[u8]> {
        self.0.borrow().memory
    }
}
