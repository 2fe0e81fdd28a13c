//! Writes the boot image that [`abi::image::parse`] reads.

use std::collections::BTreeSet;

use abi::dma::Rule;
use abi::event::MAX_LINES;
use abi::image::{
    Entry, Header, Kind, MAGIC, Mmio, NONE, Policy, Recovery, Segment, VERSION, checksum, parse, table_checksum,
};
use abi::layout::PAGE;
use anyhow::{Context, Result, bail};
use zerocopy::{FromZeros, IntoBytes};

use super::elf::{Executable, Loaded};
use super::fit;
use super::manifest::Manifest;
use crate::board::Board;

/// Names of the blobs that an image can have: the content of the RAM disk.
pub const BLOBS: &[&str] = &["disk"];

/// Bytes that fill a common region at boot.
pub struct Blob {
    /// Its name, as manifests call it.
    pub name: &'static str,
    /// Its bytes; what the common region has beyond them is 0.
    pub bytes: Vec<u8>,
}

/// A program that the kernel starts at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its name.
    pub program: &'static str,
    /// How many of it.
    pub instances: u32,
    /// Argument of the first; the next one gets one more.
    pub argument: u32,
}

/// All that goes into an image.
pub struct Boot<'b> {
    /// Services and programs, in the order of their entries.
    pub parts: Vec<(&'b Manifest, Executable)>,
    /// Blobs.
    pub blobs: Vec<Blob>,
    /// Programs to start.
    pub starts: Vec<Start>,
    /// The board that it is for.
    pub board: &'b Board,
    /// Bytes of the kernel in front of it.
    pub kernel: usize,
    /// What the kernel does about services that fail.
    pub recovery: Recovery,
}

/// The manifests that an image for these programs needs: theirs, and those of all that they call or start.
///
/// Services come first, each after the services that it calls (as far as they do not call each other).
///
/// # Errors
/// If no program has one of the names.
pub fn selection<'m>(manifests: &'m [Manifest], programs: &[&str]) -> Result<Vec<&'m Manifest>> {
    fn visit<'m>(
        manifests: &'m [Manifest],
        manifest: &'m Manifest,
        seen: &mut BTreeSet<&'m str>,
        order: &mut Vec<&'m Manifest>,
    ) {
        if !seen.insert(&manifest.name) {
            return;
        }
        for name in manifest.callees.iter().chain(&manifest.spawns) {
            if let Some(next) = manifests.iter().find(|other| other.name == name.value) {
                visit(manifests, next, seen, order);
            }
        }
        order.push(manifest);
    }

    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    for name in programs {
        let program = manifests.iter().find(|manifest| manifest.name == *name && manifest.kind == Kind::Program);
        visit(manifests, program.with_context(|| format!("no program is called {name}"))?, &mut seen, &mut order);
    }
    order.sort_by_key(|manifest| manifest.kind as u32);
    Ok(order)
}

/// Packs a boot image.
///
/// # Errors
/// If a blob is larger than the region that it fills, a program to start is missing, the image does not fit
/// the board, or it would not pass the kernel's own check.
pub fn pack(boot: &Boot<'_>) -> Result<Vec<u8>> {
    fit::check_entries(boot)?;
    let count = boot.parts.len() + boot.blobs.len();
    let table_end = size_of::<Header>() + count * size_of::<Entry>();
    let mut image = vec![0; table_end.next_multiple_of(PAGE as usize)];
    let mut entries = Vec::with_capacity(count);
    for (manifest, executable) in &boot.parts {
        entries.push(part(boot, manifest, executable, &mut image)?);
    }
    for blob in &boot.blobs {
        let data = Loaded { address: 0, bytes: blob.bytes.clone(), memory_size: u32::try_from(blob.bytes.len())? };
        let mut entry = Entry::new_zeroed();
        entry.name = abi::call::pack_name(blob.name);
        entry.kind = Kind::Blob as u32;
        entry.common_blob = NONE;
        entry.interrupts = [NONE; MAX_LINES];
        entry.data = segment(&data, &mut image)?;
        entries.push(entry);
    }
    for start in &boot.starts {
        let index = boot
            .parts
            .iter()
            .position(|(manifest, _)| manifest.name == start.program && manifest.kind == Kind::Program);
        let index = index.with_context(|| format!("program {} is not part of the image", start.program))?;
        entries[index].autostart = start.instances;
        entries[index].argument = start.argument;
    }
    fit::check(boot, image.len())?;
    let mut header = Header {
        magic: MAGIC,
        version: VERSION,
        length: u32::try_from(image.len()).context("the image is larger than 4 GiB")?,
        entries: u32::try_from(count)?,
        entry_size: u32::try_from(size_of::<Entry>())?,
        recovery: boot.recovery as u32,
        reserved: 0,
        checksum: 0,
    };
    header.checksum = table_checksum(&header, entries.as_bytes());
    image[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    image[size_of::<Header>()..table_end].copy_from_slice(entries.as_bytes());
    verify(&image, &entries)?;
    Ok(image)
}

fn part(boot: &Boot<'_>, manifest: &Manifest, executable: &Executable, image: &mut Vec<u8>) -> Result<Entry> {
    let index_of = |name: &str, kind: Kind| {
        boot.parts
            .iter()
            .position(|(other, _)| other.name == name && other.kind == kind)
            .with_context(|| format!("{name} is not part of the image"))
    };
    let set_of = |names: &[super::manifest::At<String>], kind| {
        names.iter().try_fold(0u64, |set, name| Ok::<_, anyhow::Error>(set | 1 << index_of(&name.value, kind)?))
    };
    if executable.ssr_pages > manifest.ssr_pages.value {
        bail!(
            "{}:{}: ssr_pages is {}, but the state of {} takes {}",
            manifest.file.display(),
            manifest.ssr_pages.line,
            manifest.ssr_pages.value,
            manifest.name,
            executable.ssr_pages
        );
    }
    let mut entry = Entry::new_zeroed();
    entry.name = abi::call::pack_name(&manifest.name);
    entry.kind = manifest.kind as u32;
    entry.entry_call = executable.entry;
    entry.entry_hook = executable.hook.unwrap_or(0);
    entry.methods = executable.methods;
    entry.read_only = executable.read_only;
    entry.text = segment(&executable.text, image)?;
    entry.rodata = segment(&executable.rodata, image)?;
    entry.data = segment(&executable.data, image)?;
    entry.heap = manifest.heap.value;
    entry.stack = manifest.stack.value;
    entry.common = manifest.common.value;
    entry.common_blob = match &manifest.common_blob {
        None => NONE,
        Some(name) => {
            let index = boot.blobs.iter().position(|blob| blob.name == name.value);
            let index = index.with_context(|| format!("blob {} is not part of the image", name.value))?;
            if boot.blobs[index].bytes.len() as u64 > u64::from(manifest.common.value) {
                bail!("blob {} is larger than the common region of {}", name.value, manifest.name);
            }
            u32::try_from(boot.parts.len() + index)?
        }
    };
    entry.ssr_pages = manifest.ssr_pages.value;
    entry.undo_pages = manifest.undo_pages.value;
    entry.rights = manifest.rights().bits();
    entry.flags = manifest.flags.bits();
    entry.budget = manifest.budget.value;
    entry.hook_budget = manifest.hook_budget.value;
    entry.max_bindings = manifest.max_bindings.value;
    entry.quota_bindings = manifest.quota_bindings.value;
    entry.quota_children = manifest.quota_children.value;
    entry.priority = manifest.priority.value;
    entry.blame_limit = manifest.blame_limit.value;
    entry.blame_backoff = manifest.blame_backoff.value;
    entry.callees = set_of(&manifest.callees, Kind::Object)?;
    entry.spawns = set_of(&manifest.spawns, Kind::Program)?;
    for (index, (slot, range)) in entry.mmio.iter_mut().zip(&manifest.mmio).enumerate() {
        *slot = Mmio { address: range.value.address, length: range.value.length };
        entry.checked |= u32::from(range.value.checked) << index;
    }
    entry.dma = manifest.dma.value;
    entry.dma_tables = manifest.dma_tables.iter().fold(0, |set, page| set | 1u32.checked_shl(page.value).unwrap_or(0));
    entry.descriptors = manifest.descriptors.value;
    for (slot, rule) in entry.registers.iter_mut().zip(&manifest.registers) {
        let register = abi::layout::MMIO_BASE.saturating_add(rule.value.register);
        let value = rule.value.value.unwrap_or(rule.value.shift);
        *slot = Rule { register, holds: rule.value.holds() as u32, value };
    }
    entry.argument = manifest.argument.value;
    entry.interrupts = [NONE; MAX_LINES];
    for (slot, line) in entry.interrupts.iter_mut().zip(&manifest.interrupts) {
        *slot = line.value;
    }
    entry.interrupt_rate = manifest.interrupt_rate.value;
    if let Some(reset) = &manifest.reset {
        entry.reset_register = abi::layout::MMIO_BASE.saturating_add(reset.value.register);
        entry.reset_value = reset.value.value;
    }
    if manifest.kind == Kind::Object {
        // An image without some of the dependants has nothing to restart for them.
        let here = |index: &usize| manifest.dependants.iter().any(|name| name.value == boot.parts[*index].0.name);
        entry.dependants = (0..boot.parts.len()).filter(here).fold(0, |set, index| set | 1 << index);
        let policy = &manifest.policy;
        entry.policy = Policy {
            heartbeat: policy.heartbeat.value,
            misses: policy.misses.value,
            min_run: policy.min_run.value,
            max_restarts: policy.max_restarts.value,
            backoff: policy.backoff.value,
            backoff_cap: policy.backoff_cap.value,
            give_up: policy.give_up as u32,
        };
    }
    Ok(entry)
}

/// Appends the bytes of a segment, padded to whole pages.
fn segment(loaded: &Loaded, image: &mut Vec<u8>) -> Result<Segment> {
    if loaded.memory_size == 0 {
        return Ok(Segment::default());
    }
    let offset = image.len();
    image.extend(&loaded.bytes);
    image.resize(image.len().next_multiple_of(PAGE as usize), 0);
    Ok(Segment {
        address: loaded.address,
        offset: u32::try_from(offset).context("the image is larger than 4 GiB")?,
        file_size: u32::try_from(loaded.bytes.len())?,
        memory_size: loaded.memory_size,
        checksum: checksum(&image[offset..]),
    })
}

/// Asks the kernel's own parser, so that a bad image is found here and not at boot.
fn verify(image: &[u8], entries: &[Entry]) -> Result<()> {
    // The parser wants the bytes on an 8-byte boundary, which a vector of bytes does not promise.
    let mut words = vec![0u64; image.len() / 8];
    words.as_mut_bytes().copy_from_slice(image);
    parse(words.as_bytes()).map(|_| ()).map_err(|error| {
        let index = match error {
            abi::image::ImageError::Field { entry, .. } | abi::image::ImageError::SegmentChecksum { entry, .. } => {
                entries.get(entry)
            }
            _ => None,
        };
        let name = index.map_or("the table", Entry::name_str);
        anyhow::anyhow!("the kernel would refuse the image because of {name}: {error:?}")
    })
}
