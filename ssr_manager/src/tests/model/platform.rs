//! Frames and page tables in maps. Touching a frame that is free panics.

use std::collections::BTreeMap;

use crate::{Access, BindingId, PAGE_SIZE, Page, Platform, Region, ServerId};
use abi::image::Fletcher;
use abi::info::Pool;

/// First address of the frames that `alloc` gives; those of common regions lie below.
const HEAP: u32 = 0x4000_0000;

/// A kernel's memory without a kernel.
#[derive(Default)]
pub struct Machine {
    frames: BTreeMap<u32, Box<[u8; PAGE_SIZE]>>,
    commons: BTreeMap<(ServerId, usize), (Page, Access)>,
    views: BTreeMap<(BindingId, usize), (Page, Access)>,
    /// Pages of others behind a binding's own.
    pub exposed: BTreeMap<(BindingId, usize), Page>,
    /// Bindings that have ended, in order.
    pub ended: Vec<BindingId>,
    /// Frames that `alloc` may still give.
    pub budget: usize,
    /// Pages that `map` may still take.
    pub tables: usize,
    serial: u32,
}

impl Machine {
    pub fn new(budget: usize) -> Self {
        Machine { budget, tables: usize::MAX, ..Machine::default() }
    }

    /// Frames in the hands of the manager.
    pub fn live(&self) -> usize {
        self.frames.keys().filter(|address| **address >= HEAP).count()
    }

    /// The kernel's part before `register`: a common region, mapped read-only.
    pub fn make_common(&mut self, server: ServerId, pages: usize) {
        for index in 0..pages {
            let page = Page(0x1000 * (1 + (server.index() * 0x1000 + index) as u32));
            self.frames.insert(page.0, Box::new([index as u8; PAGE_SIZE]));
            self.commons.insert((server, index), (page, Access::ReadOnly));
        }
    }

    fn entry(&self, region: Region, index: usize) -> &(Page, Access) {
        match region {
            Region::Ssr(binding) => self.views.get(&(binding, index)),
            Region::Common(server) => self.commons.get(&(server, index)),
        }
        .expect("a page of the region")
    }

    pub fn access(&self, region: Region, index: usize) -> Access {
        self.entry(region, index).1
    }

    /// The bytes of a page, for a look from outside.
    pub fn bytes(&self, region: Region, index: usize) -> &[u8; PAGE_SIZE] {
        self.frame(self.entry(region, index).0)
    }

    /// Writes without regard to access: damage, or the write that a page table has let through.
    pub fn poke(&mut self, region: Region, offset: usize, value: u8) {
        let page = self.entry(region, offset / PAGE_SIZE).0;
        self.frame_mut(page)[offset % PAGE_SIZE] = value;
    }

    fn frame(&self, page: Page) -> &[u8; PAGE_SIZE] {
        self.frames.get(&page.0).expect("a frame in use")
    }

    fn frame_mut(&mut self, page: Page) -> &mut [u8; PAGE_SIZE] {
        self.frames.get_mut(&page.0).expect("a frame in use")
    }
}

impl Platform for Machine {
    fn alloc(&mut self) -> Option<Page> {
        self.budget = self.budget.checked_sub(1)?;
        self.serial += 1;
        let page = Page(HEAP + self.serial * PAGE_SIZE as u32);
        // What the last owner left.
        self.frames.insert(page.0, Box::new([0xa5; PAGE_SIZE]));
        Some(page)
    }

    fn free(&mut self, page: Page) {
        assert!(page.0 >= HEAP && self.frames.remove(&page.0).is_some(), "freed twice, or never allocated");
        assert!(self.views.values().all(|(mapped, _)| *mapped != page), "freed while mapped");
        assert!(self.exposed.values().all(|mapped| *mapped != page), "freed while exposed");
        self.budget += 1;
    }

    fn zero(&mut self, page: Page) {
        self.frame_mut(page).fill(0);
    }

    fn copy(&mut self, to: Page, from: Page, bytes: usize) {
        assert!(bytes.is_multiple_of(32) && to != from);
        let source = *self.frame(from);
        self.frame_mut(to)[..bytes].copy_from_slice(&source[..bytes]);
    }

    fn word(&self, page: Page, index: usize) -> u32 {
        u32::from_le_bytes(self.frame(page)[4 * index..4 * index + 4].try_into().expect("four bytes"))
    }

    fn set_word(&mut self, page: Page, index: usize, value: u32) {
        self.frame_mut(page)[4 * index..4 * index + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn checksum(&self, page: Page, bytes: usize) -> u64 {
        let mut sum = Fletcher::new();
        (0..bytes / 4).for_each(|index| sum.add(self.word(page, index)));
        sum.value()
    }

    fn page(&self, region: Region, index: usize) -> Page {
        self.entry(region, index).0
    }

    fn map(&mut self, binding: BindingId, index: usize, page: Page, access: Access) -> Result<(), Pool> {
        self.tables = self.tables.checked_sub(1).ok_or(Pool::PageTables)?;
        assert!(self.views.values().all(|(mapped, _)| *mapped != page), "a page in two views");
        assert!(self.views.insert((binding, index), (page, access)).is_none(), "mapped twice");
        Ok(())
    }

    fn unmap(&mut self, binding: BindingId, index: usize) -> Page {
        self.tables = self.tables.saturating_add(1);
        self.views.remove(&(binding, index)).expect("a mapped page").0
    }

    fn expose(&mut self, binding: BindingId, index: usize, page: Page) {
        match page {
            Page::NONE => self.exposed.remove(&(binding, index)),
            page => self.exposed.insert((binding, index), page),
        };
    }

    fn ended(&mut self, binding: BindingId) {
        assert!(self.views.keys().all(|(of, _)| *of != binding), "ended while mapped");
        self.exposed.retain(|(of, _), _| *of != binding);
        self.ended.push(binding);
    }

    fn protect(&mut self, region: Region, index: usize, access: Access) {
        let entry = match region {
            Region::Ssr(binding) => self.views.get_mut(&(binding, index)),
            Region::Common(server) => self.commons.get_mut(&(server, index)),
        };
        entry.expect("a page of the region").1 = access;
    }
}
