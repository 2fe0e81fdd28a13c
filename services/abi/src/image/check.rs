//! The parser of boot images: what the kernel checks before it trusts a byte.

use zerocopy::FromBytes;

use super::{
    Entry, Flags, Header, Image, ImageError, Kind, MAGIC, MAX_ENTRIES, MAX_INTERRUPT, NONE, Recovery, Rights, VERSION,
    checksum, table_checksum,
};
use crate::dma::{DESCRIPTOR, Holds, MAX_TABLE_PAGES};
use crate::layout;

/// Checks an image and gives access to it.
///
/// Everything that the kernel relies on later is checked here: sizes, alignment, order and overlap of
/// segments, indices, and all checksums. `bytes` starts on an 8-byte boundary and may be longer than the image.
///
/// # Errors
/// The first thing that is wrong, as [`ImageError`].
pub fn parse(bytes: &[u8]) -> Result<Image<'_>, ImageError> {
    let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| ImageError::Truncated)?;
    if header.magic != MAGIC {
        return Err(ImageError::Magic);
    }
    if header.version != VERSION {
        return Err(ImageError::Version);
    }
    let length = header.length as usize;
    if length > bytes.len() || !header.length.is_multiple_of(layout::PAGE) {
        return Err(ImageError::Truncated);
    }
    let count = header.entries as usize;
    if count == 0 || count > MAX_ENTRIES || header.entry_size as usize != size_of::<Entry>() {
        return Err(ImageError::Entries);
    }
    let table = rest.get(..count * size_of::<Entry>()).ok_or(ImageError::Truncated)?;
    if table_checksum(header, table) != header.checksum {
        return Err(ImageError::TableChecksum);
    }
    let recovery = Recovery::from_number(header.recovery).ok_or(ImageError::Recovery)?;
    let entries = <[Entry]>::ref_from_bytes(table).map_err(|_| ImageError::Truncated)?;
    let image = Image { bytes: &bytes[..length], entries, recovery };
    for index in 0..count {
        check_entry(&image, index)?;
    }
    Ok(image)
}

fn check_entry(image: &Image<'_>, index: usize) -> Result<(), ImageError> {
    let entry = &image.entries[index];
    let fail = |field| Err(ImageError::Field { entry: index, field });
    let page = layout::PAGE;
    let name_end = entry.name.iter().position(|b| *b == 0).unwrap_or(16);
    if name_end == 0
        || !entry.name[..name_end].iter().all(u8::is_ascii_graphic)
        || entry.name[name_end..].iter().any(|b| *b != 0)
    {
        return fail("name");
    }
    if image.entries[..index].iter().any(|other| other.name == entry.name) {
        return fail("name");
    }
    if !(1..=3).contains(&entry.kind) {
        return fail("kind");
    }
    let blob = entry.kind == Kind::Blob as u32;
    let mut floor = layout::IMAGE_BASE;
    for (name, segment) in [("text", &entry.text), ("rodata", &entry.rodata), ("data", &entry.data)] {
        if segment.memory_size == 0 {
            if segment.file_size != 0 || segment.address != 0 {
                return fail(name);
            }
            continue;
        }
        let end = segment.offset as u64 + u64::from(segment.file_size).next_multiple_of(u64::from(page));
        if !segment.offset.is_multiple_of(page)
            || end > image.bytes.len() as u64
            || segment.file_size > segment.memory_size
        {
            return fail(name);
        }
        if !blob {
            let end = u64::from(segment.address) + u64::from(segment.memory_size);
            if !segment.address.is_multiple_of(page) || segment.address < floor || end > u64::from(layout::IMAGE_END) {
                return fail(name);
            }
            floor = (end as u32).next_multiple_of(page);
        }
        let padded = segment.file_size.next_multiple_of(page) as usize;
        if checksum(&image.bytes[segment.offset as usize..segment.offset as usize + padded]) != segment.checksum {
            return Err(ImageError::SegmentChecksum { entry: index, segment: name });
        }
    }
    if blob {
        return Ok(());
    }
    let in_text = |address: u32| {
        address.is_multiple_of(4)
            && address >= entry.text.address
            && address - entry.text.address < entry.text.file_size
    };
    if !in_text(entry.entry_call) {
        return fail("entry_call");
    }
    let object = entry.kind == Kind::Object as u32;
    if object && !in_text(entry.entry_hook) {
        return fail("entry_hook");
    }
    if entry.methods > 64 {
        return fail("methods");
    }
    let sizes = [
        ("heap", entry.heap, layout::HEAP_END - layout::HEAP_BASE),
        ("stack", entry.stack, layout::STACK_MAX),
        ("common", entry.common, layout::COMMON_END - layout::COMMON_BASE),
        ("dma", entry.dma, layout::DMA_END - layout::DMA_BASE),
    ];
    for (name, size, limit) in sizes {
        if !size.is_multiple_of(page) || size > limit {
            return fail(name);
        }
    }
    if entry.stack == 0 {
        return fail("stack");
    }
    let device = entry.mmio.iter().any(|range| range.length != 0) || entry.dma != 0;
    if !object && (entry.common != 0 || entry.ssr_pages != 0 || device) {
        return fail("kind");
    }
    if entry.common_blob != NONE {
        match image.entries.get(entry.common_blob as usize) {
            Some(other) if other.kind == Kind::Blob as u32 && other.data.file_size <= entry.common => {}
            _ => return fail("common_blob"),
        }
    }
    if entry.ssr_pages > layout::SSR_MAX_PAGES {
        return fail("ssr_pages");
    }
    if Rights::from_bits(entry.rights).is_none() {
        return fail("rights");
    }
    if Flags::from_bits(entry.flags).is_none() {
        return fail("flags");
    }
    if entry.budget < 2 || (object && entry.hook_budget < 2) {
        return fail("budget");
    }
    let role = Flags::from_bits_truncate(entry.flags) & (Flags::SCHEDULER | Flags::SUPERVISOR);
    let taken = |other: &Entry| !(Flags::from_bits_truncate(other.flags) & role).is_empty();
    if !role.is_empty() && (!object || image.entries[..index].iter().any(taken)) {
        return fail("flags");
    }
    let lines = || entry.interrupts.iter().filter(|line| **line != NONE);
    let owned = |line: &u32| {
        let others = image.entries[..index].iter().any(|other| other.interrupts.contains(line));
        others || lines().filter(|other| *other == line).count() > 1
    };
    if lines().any(|line| *line >= MAX_INTERRUPT || owned(line)) || (!object && lines().next().is_some()) {
        return fail("interrupts");
    }
    if lines().next().is_some() && entry.interrupt_rate == 0 {
        return fail("interrupt_rate");
    }
    let policy = &entry.policy;
    let silent = policy.heartbeat > 0 && policy.misses == 0;
    if policy.give_up > 1 || policy.backoff > policy.backoff_cap || silent {
        return fail("policy");
    }
    if entry.dependants >> index & 1 == 1 || (!object && entry.dependants != 0) {
        return fail("dependants");
    }
    if entry.priority > 7 {
        return fail("priority");
    }
    let mut mmio = 0u64;
    for range in &entry.mmio {
        if !range.address.is_multiple_of(page)
            || !range.length.is_multiple_of(page)
            || range.address.checked_add(range.length).is_none()
        {
            return fail("mmio");
        }
        mmio += u64::from(range.length);
    }
    if mmio > u64::from(layout::MMIO_END - layout::MMIO_BASE) {
        return fail("mmio");
    }
    let registers = layout::MMIO_BASE..layout::MMIO_BASE + mmio as u32;
    if entry.reset_register != 0
        && (!registers.contains(&entry.reset_register) || !entry.reset_register.is_multiple_of(4))
    {
        return fail("reset_register");
    }
    check_dma(entry).or_else(fail)?;
    for (name, set, kind) in [
        ("callees", entry.callees, Kind::Object),
        ("spawns", entry.spawns, Kind::Program),
        ("dependants", entry.dependants, Kind::Object),
    ] {
        for bit in 0..64 {
            if set >> bit & 1 == 1 && image.entries.get(bit).is_none_or(|other| other.kind != kind as u32) {
                return fail(name);
            }
        }
    }
    Ok(())
}

/// What the kernel relies on when it writes a device's registers and descriptors: tables that lie in the window, rules for
/// registers that only the kernel can write.
fn check_dma(entry: &Entry) -> Result<(), &'static str> {
    let pages = (entry.dma / layout::PAGE).min(MAX_TABLE_PAGES);
    let inside = u64::from(entry.dma_tables) < 1 << pages;
    if !inside || (entry.dma_tables == 0) != (entry.descriptors == 0) {
        return Err("dma_tables");
    }
    if entry.descriptors > layout::PAGE / DESCRIPTOR {
        return Err("descriptors");
    }
    let ranges = entry.mmio.iter().enumerate();
    let mut start = layout::MMIO_BASE;
    let mut checked = [0..0, 0..0, 0..0, 0..0];
    for (index, range) in ranges {
        if entry.checked >> index & 1 == 1 {
            checked[index] = start..start + range.length;
        }
        start += range.length;
    }
    if entry.checked >> checked.len() != 0 || (entry.dma != 0 && entry.checked == 0) {
        return Err("checked");
    }
    for (index, rule) in entry.registers.iter().enumerate().filter(|(_, rule)| rule.register != 0) {
        let known = rule.register % 4 == 0 && checked.iter().any(|range| range.contains(&rule.register));
        let twice = entry.registers[..index].iter().any(|other| other.register == rule.register);
        let shift = Holds::from_number(rule.holds).is_some_and(|holds| holds == Holds::Value || rule.value <= 12);
        if !known || twice || !shift {
            return Err("registers");
        }
    }
    Ok(())
}
