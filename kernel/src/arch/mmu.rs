//! Short-descriptor translation tables, TTBR0/TTBR1 split, ASIDs (ARM ARM B3.5).
//!
//! TTBR1 points to the kernel's table: global, privileged only, built once. TTBR0 points to a
//! view's first-level table of 32 entries (TTBCR.N = 7, 32 MiB). Table walks bypass the data cache on a Cortex-A8,
//! so each entry is cleaned to the point of coherency when written.

use core::arch::{asm, global_asm};

use abi::layout;
pub use boards::Range;
use boards::devices::DEVICE_WINDOW;

/// Second-level or first-level entry that faults.
pub const FAULT: u32 = 0;
/// Bytes of a view's first-level table.
pub const L1_BYTES: u32 = 128;
/// Bytes of a second-level table.
pub const L2_BYTES: u32 = 1024;

/// Bytes that one operation of cache maintenance by address reaches at least.
pub const LINE: usize = 32;

const DEVICE: u32 = 1 << 2;
const NORMAL_SECTION: u32 = 1 << 12 | 1 << 3 | 1 << 2;
const NORMAL_PAGE: u32 = 1 << 6 | 1 << 3 | 1 << 2;
const SECTION_XN: u32 = 1 << 4;
const PAGE_XN: u32 = 1;
const PAGE_NOT_GLOBAL: u32 = 1 << 11;

/// What user mode may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read.
    Read,
    /// Read and execute.
    Execute,
    /// Read and write.
    Write,
    /// Read and write device registers.
    Device,
    /// Read device registers; the kernel writes them.
    CheckedDevice,
}

/// A second-level entry for a page of user space.
pub fn page_entry(frame: u32, access: Access) -> u32 {
    let base = frame | PAGE_NOT_GLOBAL | 0b10;
    let read_only = 1 << 9 | 0b10 << 4;
    match access {
        Access::Read => base | NORMAL_PAGE | PAGE_XN | read_only,
        Access::Execute => base | NORMAL_PAGE | read_only,
        Access::Write => base | NORMAL_PAGE | PAGE_XN | 0b11 << 4,
        Access::Device => base | 1 << 2 | PAGE_XN | 0b11 << 4,
        Access::CheckedDevice => base | 1 << 2 | PAGE_XN | 0b10 << 4,
    }
}

/// The frame of a second-level entry and whether user mode may write it; `None` for a fault entry.
pub fn decode_page(entry: u32) -> Option<(u32, bool)> {
    (entry & 0b10 != 0).then_some((entry & !0xfff, entry & 1 << 9 == 0))
}

/// A first-level entry for a second-level table.
pub fn table_entry(table: u32) -> u32 {
    table | 0b01
}

/// The second-level table of a first-level entry.
pub fn decode_table(entry: u32) -> Option<u32> {
    (entry & 0b11 == 0b01).then_some(entry & !0x3ff)
}

/// TTBR0 that translates nothing: in force while ASID and table change.
pub fn empty_view() -> u32 {
    unsafe extern "C" {
        static arch_empty_view: u8;
    }
    &raw const arch_empty_view as u32
}

global_asm!(
    ".section .bss.tables, \"aw\", %nobits",
    ".balign 16384",
    ".global arch_kernel_table",
    "arch_kernel_table: .space 16384",
    ".global arch_kernel_pages",
    "arch_kernel_pages: .space 1024",
    ".balign 128",
    ".global arch_empty_view",
    "arch_empty_view: .space 128",
);

// As many registers an instruction as there are, without loops. The zeros come from the empty view.
global_asm!(
    ".section .text.pages, \"ax\"",
    ".arm",
    // r0 = page.
    ".global arch_zero_page",
    "arch_zero_page:",
    "push {{r4-r11, lr}}",
    "movw r1, #:lower16:arch_empty_view",
    "movt r1, #:upper16:arch_empty_view",
    "ldm r1, {{r1-r12, lr}}",
    ".rept 78",
    "stm r0!, {{r1-r12, lr}}",
    ".endr",
    "stm r0, {{r1-r10}}",
    "pop {{r4-r11, pc}}",
    // r0 = page, r1 = page to copy.
    ".global arch_copy_page",
    "arch_copy_page:",
    "push {{r4-r11, lr}}",
    ".rept 85",
    "ldm r1!, {{r2-r12, lr}}",
    "stm r0!, {{r2-r12, lr}}",
    ".endr",
    "ldm r1, {{r2-r5}}",
    "stm r0, {{r2-r5}}",
    "pop {{r4-r11, pc}}",
);

unsafe extern "C" {
    /// Zeroes a page.
    ///
    /// # Safety
    /// `page` is page aligned and valid for writes of 4096 bytes.
    #[link_name = "arch_zero_page"]
    pub fn zero_page(page: *mut u8);
    /// Copies a page.
    ///
    /// # Safety
    /// Both are page aligned, `to` valid for writes of 4096 bytes and `from` for reads.
    #[link_name = "arch_copy_page"]
    pub fn copy_page(to: *mut u8, from: *const u8);
}

/// Builds the kernel's table and turns the MMU and the caches on.
///
/// Kernel text is executable and read-only, constants are read-only, everything else is not executable;
/// the boot image is read-only. `ram` is mapped one to one, `devices` in their window, privileged only, global.
pub fn init(ram: Range, devices: &[Range], image: Range) {
    unsafe extern "C" {
        static mut arch_kernel_table: [u32; 4096];
        static mut arch_kernel_pages: [u32; 256];
        static __kernel_start: u8;
        static __rodata_start: u8;
        static __rodata_end: u8;
        static __kernel_stack_bottom: u8;
        static __kernel_stack_top: u8;
        static __panic_stack_bottom: u8;
        static __panic_stack_top: u8;
    }
    let (table, pages) = (&raw mut arch_kernel_table, &raw mut arch_kernel_pages);
    // SAFETY: runs once, before anything else uses the tables, on the only thread there is.
    let (table, pages) = unsafe { (&mut *table, &mut *pages) };
    let privileged_write = 0b01 << 10;
    for address in (ram.start..ram.start + ram.length).step_by(1 << 20) {
        let in_image = address >= image.start && address - image.start < image.length;
        let access = if in_image { 1 << 15 | privileged_write } else { privileged_write };
        table[(address >> 20) as usize] = address | access | NORMAL_SECTION | SECTION_XN | 0b10;
    }
    for range in devices {
        for address in (range.start..range.start + range.length).step_by(1 << 20) {
            table[((address | DEVICE_WINDOW) >> 20) as usize] = address | privileged_write | DEVICE | SECTION_XN | 0b10;
        }
    }
    let start = &raw const __kernel_start as u32;
    let (rodata, end) = (&raw const __rodata_start as u32, &raw const __rodata_end as u32);
    let stacks = [
        &raw const __kernel_stack_bottom as u32..&raw const __kernel_stack_top as u32,
        &raw const __panic_stack_bottom as u32..&raw const __panic_stack_top as u32,
    ];
    let megabyte = start & !0xf_ffff;
    for (index, entry) in pages.iter_mut().enumerate() {
        let address = megabyte + index as u32 * layout::PAGE;
        let read_only = address | NORMAL_PAGE | 1 << 9 | 0b01 << 4 | 0b10;
        if address >= start && address < rodata {
            *entry = read_only;
        } else if address >= rodata && address < end {
            *entry = read_only | PAGE_XN;
        } else if stacks.iter().any(|stack| stack.contains(&address)) {
            *entry = address | NORMAL_PAGE | PAGE_XN | 0b01 << 4 | 0b10;
        }
    }
    table[(megabyte >> 20) as usize] = table_entry(pages.as_ptr() as u32);
    // SAFETY: the table maps the running code, its stack and data where they are; caches hold nothing
    // (the boot code cleaned and invalidated them and they have been off since).
    unsafe {
        asm!(
            "dsb",
            "mcr p15, 0, {domains}, c3, c0, 0",    // DACR: domain 0 client
            "mcr p15, 0, {split}, c2, c0, 2",      // TTBCR: EAE = 0, N = 7
            "mcr p15, 0, {empty}, c2, c0, 0",
            "mcr p15, 0, {table}, c2, c0, 1",
            "mcr p15, 0, {zero}, c13, c0, 1",
            "mcr p15, 0, {zero}, c8, c7, 0",
            "mcr p15, 0, {zero}, c7, c5, 0",
            "mcr p15, 0, {zero}, c7, c5, 6",
            "dsb",
            "isb",
            "mrc p15, 0, {zero}, c1, c0, 0",
            "bic {zero}, {zero}, #0x30000000",     // TRE, AFE off
            "orr {zero}, {zero}, #0x1000",         // I
            "orr {zero}, {zero}, #0x0800",         // Z
            "orr {zero}, {zero}, #0x0005",         // C, M
            "mcr p15, 0, {zero}, c1, c0, 0",
            "isb",
            domains = in(reg) 1,
            split = in(reg) 7,
            empty = in(reg) empty_view(),
            table = in(reg) table.as_ptr() as u32,
            zero = inout(reg) 0 => _,
            options(nostack)
        );
    }
}

/// Cleans the line of a table entry just written to the point of coherency (DCCMVAC, B4.2.1) and completes it.
pub fn publish_entry(address: u32) {
    // SAFETY: cache maintenance by address changes no memory content.
    unsafe { asm!("mcr p15, 0, {}, c7, c10, 1", "dsb", in(reg) address, options(nostack, preserves_flags)) };
}

/// Forgets one page's translations in all address spaces (TLBIMVAA, B4.2.2).
pub fn forget_page(address: u32) {
    // SAFETY: TLB maintenance only removes cached translations.
    unsafe {
        asm!("mcr p15, 0, {}, c8, c7, 3", "dsb", "isb", in(reg) address & !0xfff, options(nostack, preserves_flags))
    };
}

/// Forgets all translations that are not global, and all branch predictions (TLBIALL, BPIALL).
pub fn forget_all() {
    // SAFETY: as for `forget_page`.
    unsafe {
        asm!("mcr p15, 0, {0}, c8, c7, 0", "mcr p15, 0, {0}, c7, c5, 6", "dsb", "isb", in(reg) 0, options(nostack, preserves_flags))
    };
}

/// Makes new text visible to instruction fetch: data cache to the point of unification by line of 32 bytes,
/// then the instruction cache and branch predictor as a whole (ARM ARM A3.5.4).
pub fn publish_text(address: u32, length: u32) {
    for line in (address..address + length).step_by(LINE) {
        // SAFETY: DCCMVAU changes no memory content.
        unsafe { asm!("mcr p15, 0, {}, c7, c11, 1", in(reg) line, options(nostack, preserves_flags)) };
    }
    // SAFETY: ICIALLU and BPIALL drop cached copies only.
    unsafe {
        asm!("dsb", "mcr p15, 0, {0}, c7, c5, 0", "mcr p15, 0, {0}, c7, c5, 6", "dsb", "isb", in(reg) 0, options(nostack, preserves_flags))
    };
}

/// Writes a device register that a view maps; the view stays in force.
///
/// # Safety
/// `address` is a word in the device window of that view, mapped for writing.
pub unsafe fn write_device(contextidr: u32, ttbr0: u32, address: u32, value: u32) {
    switch_view(contextidr, ttbr0);
    // SAFETY: the caller's promise; no Rust object lives in user space.
    unsafe { (address as *mut u32).write_volatile(value) };
}

/// Switches to a view: by way of the empty table, so that no walk pairs the old table with the new ASID (B3.10.4).
pub fn switch_view(contextidr: u32, ttbr0: u32) {
    // SAFETY: user space only: the kernel runs on TTBR1. `ttbr0` comes from the table pool.
    unsafe {
        asm!(
            "mcr p15, 0, {empty}, c2, c0, 0",
            "isb",
            "mcr p15, 0, {asid}, c13, c0, 1",
            "isb",
            "mcr p15, 0, {view}, c2, c0, 0",
            "isb",
            empty = in(reg) empty_view(),
            asid = in(reg) contextidr,
            view = in(reg) ttbr0,
            options(nostack, preserves_flags)
        );
    }
}
