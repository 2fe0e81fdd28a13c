//! Frames, page tables and ASIDs: what protection is made of.

use abi::info::Pool;
use abi::layout::{self, PAGE};
use ssr_manager::Region;

use crate::arch::mmu::{self, Access};
use crate::domain::{DOMAINS, OBJECTS};
use crate::mem::Frames;
use crate::ssr::MAX_BINDINGS;

/// Highest ASID; 0 belongs to the empty view.
const LAST_ASID: u32 = 255;

abi::initial! {
    /// Memory and translation: the large arrays last.
    #[repr(C)]
    pub struct Machine {
        /// The frame pool.
        pub frames: Frames = Frames::new(),
        /// Free second-level tables, linked through their first words; 0 = none.
        free_l2: u32 = 0,
        /// Free first-level tables of views, likewise.
        free_l1: u32 = 0,
        /// Second-level tables in the pool, and free ones.
        pub tables: u32 = 0,
        /// See `tables`.
        pub tables_free: u32 = 0,
        last_asid: u32 = 0,
        /// Rollovers of the ASIDs.
        pub rollovers: u32 = 0,
        /// First-level table of each domain's own view, 0 = none.
        pub views: [u32; DOMAINS] = [0; DOMAINS],
        /// First frame of each object's common region, 0 = none.
        pub common: [u32; OBJECTS] = [0; OBJECTS],
        /// Second-level table of each binding's SSR window, 0 = none.
        ssr_tables: [u32; MAX_BINDINGS] = [0; MAX_BINDINGS],
        /// First-level table of each binding's view, 0 = none yet.
        binding_views: [u32; MAX_BINDINGS] = [0; MAX_BINDINGS],
    }
}

/// Page `page` of `bytes`, as far as they reach.
fn part(bytes: &[u8], page: u32) -> &[u8] {
    let start = (page as usize * PAGE as usize).min(bytes.len());
    &bytes[start..bytes.len().min(start + PAGE as usize)]
}

impl Machine {
    fn split_frame(&mut self, bytes: u32) -> Result<u32, Pool> {
        let frame = self.frames.alloc().ok_or(Pool::Frames)?;
        self.frames.zero(frame, 0);
        let mut list = 0;
        for table in (frame..frame + PAGE).step_by(bytes as usize) {
            self.frames.set_word(table, list);
            list = table;
        }
        Ok(list)
    }

    fn alloc_l2(&mut self) -> Result<u32, Pool> {
        if self.free_l2 == 0 {
            self.free_l2 = self.split_frame(mmu::L2_BYTES)?;
            self.tables += PAGE / mmu::L2_BYTES;
            self.tables_free += PAGE / mmu::L2_BYTES;
        }
        let table = self.free_l2;
        self.free_l2 = self.frames.word(table);
        self.tables_free -= 1;
        self.clear_table(table, mmu::L2_BYTES);
        Ok(table)
    }

    fn clear_table(&mut self, table: u32, bytes: u32) {
        for entry in (table..table + bytes).step_by(4) {
            self.frames.set_word(entry, mmu::FAULT);
            if entry.is_multiple_of(32) {
                mmu::publish_entry(entry);
            }
        }
    }

    fn free_l2(&mut self, table: u32) {
        self.frames.set_word(table, self.free_l2);
        self.free_l2 = table;
        self.tables_free += 1;
    }

    fn alloc_l1(&mut self) -> Result<u32, Pool> {
        if self.free_l1 == 0 {
            self.free_l1 = self.split_frame(mmu::L1_BYTES)?;
        }
        let table = self.free_l1;
        self.free_l1 = self.frames.word(table);
        self.clear_table(table, mmu::L1_BYTES);
        Ok(table)
    }

    fn free_l1(&mut self, table: u32) {
        self.frames.set_word(table, self.free_l1);
        self.free_l1 = table;
    }

    fn set_entry(&mut self, at: u32, value: u32) {
        self.frames.set_word(at, value);
        mmu::publish_entry(at);
    }

    /// The address of the second-level entry for a page of a view, if there is a table for it.
    fn entry_of(&self, view: u32, address: u32) -> Option<u32> {
        if address >= layout::USER_END || view < PAGE || view == mmu::empty_view() {
            return None;
        }
        let table = mmu::decode_table(self.frames.word(view + (address >> 20) * 4))?;
        Some(table + (address >> 12 & 0xff) * 4)
    }

    /// Where a user address of a view lies in memory, and whether user mode may write there. `None` for what is
    /// not mapped, and for devices: the kernel copies from and to memory only.
    pub fn translate(&self, view: u32, address: u32) -> Option<(u32, bool)> {
        let entry = self.frames.word(self.entry_of(view, address)?);
        let (frame, write) = mmu::decode_page(entry)?;
        self.frames.contains(frame).then_some((frame | address & (PAGE - 1), write))
    }

    /// Gives a domain its own view, empty.
    pub fn create_view(&mut self, domain: usize) -> Result<(), Pool> {
        self.views[domain] = self.alloc_l1()?;
        Ok(())
    }

    /// Maps a page in a domain's own view. Only before bindings to it exist, as their views share its tables.
    pub fn map(&mut self, domain: usize, address: u32, frame: u32, access: Access) -> Result<(), Pool> {
        let view = self.views[domain];
        let slot = view + (address >> 20) * 4;
        if self.frames.word(slot) == mmu::FAULT {
            let table = self.alloc_l2()?;
            self.set_entry(slot, mmu::table_entry(table));
        }
        if let Some(entry) = self.entry_of(view, address) {
            self.set_entry(entry, mmu::page_entry(frame, access));
        }
        Ok(())
    }

    /// As [`Machine::map`], for a frame that goes back to the pool if it cannot be mapped.
    pub fn map_owned(&mut self, domain: usize, address: u32, frame: u32, access: Access) -> Result<(), Pool> {
        let result = self.map(domain, address, frame, access);
        if result.is_err() {
            self.frames.free(frame);
        }
        result
    }

    /// Fills a frame with page `page` of `bytes`, zeros behind their end.
    pub fn fill_page(&mut self, frame: u32, bytes: &[u8], page: u32) {
        let bytes = part(bytes, page);
        self.frames.fill(frame, bytes);
        if bytes.len() < PAGE as usize {
            self.frames.zero(frame, bytes.len());
        }
    }

    /// Fills mapped pages of a domain again, from `start` on: with page `page` of `bytes` and those that follow.
    pub fn refill(&mut self, domain: usize, start: u32, bytes: &[u8], pages: core::ops::Range<u32>) {
        let view = self.views[domain];
        let filled = bytes.len().div_ceil(PAGE as usize) as u32;
        let mut entry = 0;
        for page in pages {
            // At the first page, and where the table before has come to its end.
            if entry % mmu::L2_BYTES == 0 {
                let Some(first) = self.entry_of(view, start + page * PAGE) else { return };
                entry = first;
            }
            let frame = self.frames.word(entry) & !(PAGE - 1);
            match page < filled {
                true => self.fill_page(frame, bytes, page),
                false => self.frames.zero(frame, 0),
            }
            entry += 4;
        }
    }

    /// Whether a frame holds page `page` of `bytes`.
    pub fn same_page(&self, frame: u32, bytes: &[u8], page: u32) -> bool {
        let bytes = part(bytes, page);
        let sum = abi::image::checksum(bytes);
        self.frames.checksum(frame, bytes.len().next_multiple_of(4)) == sum
    }

    /// Frees a domain's view, its tables and the frames that they map, device pages and the common region excepted.
    pub fn destroy_view(&mut self, domain: usize) {
        let view = core::mem::take(&mut self.views[domain]);
        if view == 0 {
            return;
        }
        for slot in 0..layout::COMMON_BASE >> 20 {
            let Some(table) = mmu::decode_table(self.frames.word(view + slot * 4)) else { continue };
            for entry in (table..table + mmu::L2_BYTES).step_by(4) {
                if let Some((frame, _)) = mmu::decode_page(self.frames.word(entry)) {
                    self.frames.free(frame);
                }
            }
            self.free_l2(table);
        }
        self.free_l1(view);
        mmu::forget_all();
    }

    /// The next ASID, and whether the numbers started anew: then the caller must clear every ASID it handed out.
    /// The TLB is already empty in that case (one flush a rollover).
    pub fn next_asid(&mut self) -> (u32, bool) {
        let rollover = self.last_asid == LAST_ASID;
        if rollover {
            self.last_asid = 0;
            // No walk may bring back what the flush removes: the view in force goes first.
            mmu::switch_view(0, mmu::empty_view());
            self.rollovers += 1;
            mmu::forget_all();
        }
        self.last_asid += 1;
        (self.last_asid, rollover)
    }

    /// The view of a binding: the server's tables, and one of its own for the SSR window. A binding without an SSR
    /// uses the server's own view.
    pub fn binding_view(&mut self, server: usize, binding: usize) -> Result<u32, Pool> {
        let base = self.views[server];
        if self.ssr_tables[binding] == 0 {
            return Ok(base);
        }
        if self.binding_views[binding] == 0 {
            let view = self.alloc_l1()?;
            self.frames.copy(view, base, mmu::L1_BYTES as usize);
            let slot = view + (layout::SSR_BASE >> 20) * 4;
            self.frames.set_word(slot, mmu::table_entry(self.ssr_tables[binding]));
            for line in (view..view + mmu::L1_BYTES).step_by(32) {
                mmu::publish_entry(line);
            }
            self.binding_views[binding] = view;
        }
        Ok(self.binding_views[binding])
    }

    /// Gives a binding its SSR window.
    pub fn create_ssr_table(&mut self, binding: usize) -> Result<(), Pool> {
        self.ssr_tables[binding] = self.alloc_l2()?;
        Ok(())
    }

    /// Frees window and view of a binding that has ended, its pages unmapped before.
    pub fn destroy_binding(&mut self, binding: usize) {
        let table = core::mem::take(&mut self.ssr_tables[binding]);
        if table != 0 {
            self.free_l2(table);
        }
        let view = core::mem::take(&mut self.binding_views[binding]);
        if view != 0 {
            self.free_l1(view);
        }
    }

    /// Writes the second-level entry of a region's page and forgets what the TLB knew of it.
    pub fn set_region_entry(&mut self, region: Region, index: usize, value: u32) {
        let (at, address) = self.region_entry(region, index);
        self.set_entry(at, value);
        mmu::forget_page(address);
    }

    /// Physical address of the second-level entry of a region's page, and the page's virtual address.
    pub fn region_entry(&self, region: Region, index: usize) -> (u32, u32) {
        let (at, address) = match region {
            Region::Ssr(binding) => {
                let address = layout::SSR_BASE + index as u32 * PAGE;
                (Some(self.ssr_tables[binding.index()] + index as u32 * 4), address)
            }
            Region::Common(server) => {
                let address = layout::COMMON_BASE + index as u32 * PAGE;
                (self.entry_of(self.views[server.index()], address), address)
            }
        };
        (at.expect("a region's pages have tables"), address)
    }
}
