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
        /// Second-level tables.
        pub l2: Tables<{ mmu::L2_BYTES }> = Tables::INITIAL,
        /// First-level tables of views.
        pub l1: Tables<{ mmu::L1_BYTES }> = Tables::INITIAL,
        last_asid: u32 = 0,
        /// Rollovers of the ASIDs.
        pub rollovers: u32 = 0,
        /// First-level table of each domain's own view, 0 = none.
        pub views: [u32; DOMAINS] = [0; DOMAINS],
        /// First frame of each object's common region, 0 = none.
        pub common: [u32; OBJECTS] = [0; OBJECTS],
        /// First frame of each object's DMA window, 0 = none.
        pub dma: [u32; OBJECTS] = [0; OBJECTS],
        /// Second-level table of each binding's SSR window, 0 = none.
        ssr_tables: [u32; MAX_BINDINGS] = [0; MAX_BINDINGS],
        /// First-level table of each binding's view, 0 = none yet.
        binding_views: [u32; MAX_BINDINGS] = [0; MAX_BINDINGS],
    }
}

abi::initial! {
    /// Page tables of one size: split from frames, and kept for their next use.
    pub struct Tables<const BYTES: u32> {
        /// Free ones, linked through their first words; 0 = none.
        list: u32 = 0,
        /// How many there are in all.
        pub total: u32 = 0,
        /// How many are free.
        pub free: u32 = 0,
    }
}

impl<const BYTES: u32> Tables<BYTES> {
    /// A table that translates nothing.
    pub fn take(&mut self, frames: &mut Frames) -> Result<u32, Pool> {
        if self.list == 0 {
            let frame = frames.alloc().ok_or(Pool::Frames)?;
            (frame..frame + PAGE).step_by(BYTES as usize).for_each(|table| self.put(table, frames));
            self.total += PAGE / BYTES;
        }
        let table = self.list;
        self.list = frames.word(table);
        self.free -= 1;
        (table..table + BYTES).step_by(4).for_each(|entry| frames.set_word(entry, mmu::FAULT));
        Self::publish(table);
        Ok(table)
    }

    /// Takes a table back; 0 is none.
    fn put(&mut self, table: u32, frames: &mut Frames) {
        if table != 0 {
            frames.set_word(table, self.list);
            self.list = table;
            self.free += 1;
        }
    }

    /// Makes a whole table visible to table walks.
    fn publish(table: u32) {
        (table..table + BYTES).step_by(mmu::LINE).for_each(mmu::publish_entry);
    }
}

/// Page `page` of `bytes`, as far as they reach.
fn part(bytes: &[u8], page: u32) -> &[u8] {
    let start = (page as usize * PAGE as usize).min(bytes.len());
    &bytes[start..bytes.len().min(start + PAGE as usize)]
}

impl Machine {
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

    /// Maps a page in a domain's own view. Only before bindings to it exist, as their views share its tables.
    pub fn map(&mut self, domain: usize, address: u32, frame: u32, access: Access) -> Result<(), Pool> {
        let view = self.views[domain];
        let slot = view + (address >> 20) * 4;
        if self.frames.word(slot) == mmu::FAULT {
            let table = self.l2.take(&mut self.frames)?;
            self.set_entry(slot, mmu::table_entry(table));
        }
        if let Some(entry) = self.entry_of(view, address) {
            self.set_entry(entry, mmu::page_entry(frame, access));
        }
        Ok(())
    }

    /// Fills a frame with page `page` of `bytes`, zeros behind their end.
    pub fn fill_page(&mut self, frame: u32, bytes: &[u8], page: u32) {
        let bytes = part(bytes, page);
        if bytes.len() < PAGE as usize {
            self.frames.zero(frame);
        }
        self.frames.fill(frame, bytes);
    }

    /// Fills mapped pages of a domain again, from `start` on: with page `page` of `bytes` and those that follow.
    #[inline(never)]
    pub fn refill(&mut self, domain: usize, start: u32, bytes: &[u8], mut pages: core::ops::Range<u32>) {
        let filled = bytes.len().div_ceil(PAGE as usize) as u32;
        while !pages.is_empty()
            && let Some(mut entry) = self.entry_of(self.views[domain], start + pages.start * PAGE)
        {
            // As far as one table reaches.
            for page in pages.start..pages.end.min(pages.start + (mmu::L2_BYTES - entry % mmu::L2_BYTES) / 4) {
                let frame = self.frames.word(entry) & !(PAGE - 1);
                match page < filled {
                    true => self.fill_page(frame, bytes, page),
                    false => self.frames.zero(frame),
                }
                entry += 4;
                pages.start = page + 1;
            }
        }
    }

    /// Whether a frame holds page `page` of `bytes`.
    pub fn same_page(&self, frame: u32, bytes: &[u8], page: u32) -> bool {
        self.frames.same(frame, part(bytes, page))
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
            self.l2.put(table, &mut self.frames);
        }
        self.l1.put(view, &mut self.frames);
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
            let view = self.l1.take(&mut self.frames)?;
            self.frames.copy(view, base, mmu::L1_BYTES as usize);
            let slot = view + (layout::SSR_BASE >> 20) * 4;
            self.frames.set_word(slot, mmu::table_entry(self.ssr_tables[binding]));
            Tables::<{ mmu::L1_BYTES }>::publish(view);
            self.binding_views[binding] = view;
        }
        Ok(self.binding_views[binding])
    }

    /// Gives a binding its SSR window.
    pub fn create_ssr_table(&mut self, binding: usize) -> Result<(), Pool> {
        self.ssr_tables[binding] = self.l2.take(&mut self.frames)?;
        Ok(())
    }

    /// Frees window and view of a binding that has ended, its pages unmapped before.
    pub fn destroy_binding(&mut self, binding: usize) {
        self.l2.put(core::mem::take(&mut self.ssr_tables[binding]), &mut self.frames);
        self.l1.put(core::mem::take(&mut self.binding_views[binding]), &mut self.frames);
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
