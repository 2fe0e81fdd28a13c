//! The SSRManager's pools, as sized for this kernel, and its way to frames and page tables.

use abi::info::Pool;
use ssr_manager::{Access as Grant, BindingId, Manager, Page, Platform, Region};

use crate::arch::mmu::{self, Access};
use crate::domain::{DOMAINS, OBJECTS};
use crate::machine::Machine;

/// Sessions in the whole system. An immediate operand of the fast path: a power of two.
pub const MAX_BINDINGS: usize = 8192;
/// Pages with a pre-image at the same time.
const MAX_UNDO: usize = 4096;

/// The SSRManager of this kernel: a server is an object, a request a thread.
pub type Ssr = Manager<OBJECTS, MAX_BINDINGS, MAX_UNDO, DOMAINS>;

fn access(grant: Grant) -> Access {
    match grant {
        Grant::ReadOnly => Access::Read,
        Grant::ReadWrite => Access::Write,
    }
}

impl Platform for Machine {
    fn alloc(&mut self) -> Option<Page> {
        self.frames.alloc().map(Page)
    }

    fn free(&mut self, page: Page) {
        self.frames.free(page.0);
    }

    fn zero(&mut self, page: Page) {
        self.frames.zero(page.0);
    }

    fn copy(&mut self, to: Page, from: Page, bytes: usize) {
        self.frames.copy(to.0, from.0, bytes);
    }

    fn word(&self, page: Page, index: usize) -> u32 {
        self.frames.word(page.0 + index as u32 * 4)
    }

    fn set_word(&mut self, page: Page, index: usize, value: u32) {
        self.frames.set_word(page.0 + index as u32 * 4, value);
    }

    fn checksum(&self, page: Page, bytes: usize) -> u64 {
        self.frames.checksum(page.0, bytes)
    }

    fn page(&self, region: Region, index: usize) -> Page {
        match region {
            Region::Common(server) => Page(self.common[server.index()] + index as u32 * abi::layout::PAGE),
            Region::Ssr(_) => {
                let entry = self.frames.word(self.region_entry(region, index).0);
                Page(mmu::decode_page(entry).map_or(0, |(frame, _)| frame))
            }
        }
    }

    fn map(&mut self, binding: BindingId, index: usize, page: Page, grant: Grant) -> Result<(), Pool> {
        if index == 0 {
            self.create_ssr_table(binding.index())?;
        }
        self.set_region_entry(Region::Ssr(binding), index, mmu::page_entry(page.0, access(grant)));
        Ok(())
    }

    fn unmap(&mut self, binding: BindingId, index: usize) -> Page {
        let page = self.page(Region::Ssr(binding), index);
        self.set_region_entry(Region::Ssr(binding), index, mmu::FAULT);
        page
    }

    fn expose(&mut self, binding: BindingId, index: usize, page: Page) {
        let entry = if page == Page::NONE { mmu::FAULT } else { mmu::page_entry(page.0, Access::Write) };
        self.set_region_entry(Region::Ssr(binding), index, entry);
    }

    fn ended(&mut self, binding: BindingId) {
        self.destroy_binding(binding.index());
    }

    fn protect(&mut self, region: Region, index: usize, grant: Grant) {
        let page = self.page(region, index);
        self.set_region_entry(region, index, mmu::page_entry(page.0, access(grant)));
    }
}
