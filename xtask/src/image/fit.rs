//! Whether an image fits its board: entries, the kernel's pools, and memory when all that manifests allow is used at once.
//!
//! Memory is counted as the kernel gives it out, in frames: what each part has mapped, every session that its clients
//! may open, pre-images, page tables, and every process that may run at the same time.

use std::fmt;

use abi::image::{Flags, Kind, MAX_ENTRIES};
use abi::layout::{self, PAGE};

use super::elf::Executable;
use super::manifest::Manifest;
use super::pack::Boot;
use super::{Problem, Problems};
use crate::board::Board;

/// Sessions in the whole system (`kernel/src/ssr.rs`).
pub const MAX_BINDINGS: u32 = 8192;
/// Pages with a pre-image at the same time (`kernel/src/ssr.rs`).
pub const MAX_UNDO: u32 = 4096;
/// Processes at the same time (`kernel/src/domain.rs`).
pub const MAX_PROCESSES: u64 = 64;
/// First-level tables in a frame.
const L1_A_FRAME: u64 = 32;
/// Second-level tables in a frame.
const L2_A_FRAME: u64 = 4;
/// Checksums of pages in a frame.
const SUMS_A_FRAME: u32 = PAGE / 8;
/// The kernel maps the boot image by megabytes; frames begin behind the last one.
const SECTION: u64 = 1 << 20;

/// What one part needs, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Need {
    /// How many of it there may be at once.
    instances: u64,
    /// Segments of all instances.
    image: u64,
    heap: u64,
    stack: u64,
    /// Common region, with its checksums.
    common: u64,
    /// Sessions that its clients may have open at once.
    sessions: u64,
    /// Their frames.
    regions: u64,
    /// Reserved for pre-images.
    undo: u64,
    /// First-level page tables, not frames.
    l1: u64,
    /// Second-level page tables, not frames.
    l2: u64,
}

impl Need {
    fn total(&self) -> u64 {
        self.image + self.heap + self.stack + self.common + self.regions + self.undo
    }
}

/// What an image needs of its board's memory.
struct Account<'b> {
    board: &'b Board,
    /// Bytes in front of the kernel, of the kernel, and of the boot image with what the kernel's mapping wastes behind it.
    fixed: [u64; 3],
    parts: Vec<(&'b Manifest, Need)>,
}

/// Checks that an image of `length` bytes fits its board.
///
/// # Errors
/// What does not fit, with the manifest that has the largest share in it.
pub fn check(boot: &Boot<'_>, length: usize) -> Result<(), Problems> {
    let mut problems = Vec::new();
    let mut add = |manifest: &Manifest, line, text| problems.push(Problem { file: manifest.file.clone(), line, text });
    let account = Account::of(boot, length);
    let undo: u32 = boot.parts.iter().map(|(manifest, _)| manifest.undo_pages.value).fold(0, u32::saturating_add);
    let most = boot.parts.iter().map(|(manifest, _)| manifest).max_by_key(|manifest| manifest.undo_pages.value);
    if let Some(most) = most.filter(|_| undo > MAX_UNDO) {
        let text = format!(
            "undo_pages {}: with those of the others {undo}, but the kernel has {MAX_UNDO}",
            most.undo_pages.value
        );
        add(most, most.undo_pages.line, text);
    }
    let clients = || boot.parts.iter().map(|(manifest, _)| *manifest).zip(Instances::of(boot).each);
    let wanted = |(client, count): &(&Manifest, u64)| count * u64::from(client.quota_bindings.value);
    let sessions: u64 = clients().map(|client| wanted(&client)).sum();
    if let Some((most, _)) = clients().max_by_key(wanted).filter(|_| sessions > u64::from(MAX_BINDINGS)) {
        let text = format!(
            "quota_bindings {}: all clients together may have {sessions} sessions, but the kernel has {MAX_BINDINGS}",
            most.quota_bindings.value
        );
        add(most, most.quota_bindings.line, text);
    }
    if let Some((most, need)) = account.parts.iter().max_by_key(|(_, need)| need.total())
        && account.needed() > account.has()
    {
        let shares = [
            (need.regions, most.max_bindings.line),
            (need.undo, most.undo_pages.line),
            (need.common, most.common.line),
            (need.heap, most.heap.line),
            (need.stack, most.stack.line),
            (need.image, most.line),
        ];
        let line = shares.into_iter().max().map_or(most.line, |(_, line)| line);
        add(most, line, account.to_string());
    }
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

/// Checks that there are no more entries than callees, spawned programs and dependants can name.
///
/// # Errors
/// The first part that is too much.
pub fn check_entries(boot: &Boot<'_>) -> Result<(), Problems> {
    let room = MAX_ENTRIES.saturating_sub(boot.blobs.len());
    match boot.parts.get(room) {
        None => Ok(()),
        Some((manifest, _)) => Err(Problems(vec![Problem {
            file: manifest.file.clone(),
            line: manifest.line,
            text: format!(
                "{}: an image has room for {MAX_ENTRIES} services, programs and blobs, but this one has {}",
                manifest.name,
                boot.parts.len() + boot.blobs.len()
            ),
        }])),
    }
}

impl<'b> Account<'b> {
    fn of(boot: &Boot<'b>, length: usize) -> Self {
        let instances = Instances::of(boot);
        let in_front = u64::from(boot.board.load_address - boot.board.memory_base);
        let image = (length as u64).next_multiple_of(SECTION);
        let needs =
            boot.parts.iter().zip(&instances.together).map(|(part, count)| need(boot, &instances.each, part, *count));
        Account {
            board: boot.board,
            fixed: [in_front, boot.kernel as u64, image],
            parts: boot.parts.iter().map(|(manifest, _)| *manifest).zip(needs).collect(),
        }
    }

    /// Frames of page tables.
    fn tables(&self) -> u64 {
        let sum = |tables: fn(&Need) -> u64| self.parts.iter().map(|(_, need)| tables(need)).sum::<u64>();
        sum(|need| need.l1).div_ceil(L1_A_FRAME) + sum(|need| need.l2).div_ceil(L2_A_FRAME)
    }

    fn needed(&self) -> u64 {
        let frames = self.parts.iter().map(|(_, need)| need.total()).sum::<u64>() + self.tables();
        self.fixed.iter().sum::<u64>() + frames * u64::from(PAGE)
    }

    fn has(&self) -> u64 {
        self.board.memory_size.into()
    }
}

/// How many there may be of each part.
struct Instances {
    /// Of this part, whatever there is of the others.
    each: Vec<u64>,
    /// Of all at once: the processes that start at boot, and those that take the most memory.
    together: Vec<u64>,
}

impl Instances {
    /// One of a service; of a program those that start at boot and those that others may start, as far as the kernel has
    /// room for processes.
    fn of(boot: &Boot<'_>) -> Self {
        let place = |name: &str| boot.parts.iter().position(|(manifest, _)| manifest.name == name);
        let mut level = vec![0; boot.parts.len()];
        for start in &boot.starts {
            if let Some(index) = place(start.program) {
                level[index] += u64::from(start.instances);
            }
        }
        let (mut each, mut together) = (level.clone(), level.clone());
        // A program may start itself: more generations than processes make no difference.
        for _ in 0..MAX_PROCESSES {
            let mut next = vec![0; boot.parts.len()];
            for ((manifest, _), parents) in boot.parts.iter().zip(&level) {
                for child in manifest.spawns.iter().filter_map(|name| place(&name.value)) {
                    next[child] = MAX_PROCESSES.min(next[child] + parents * u64::from(manifest.quota_children.value));
                }
            }
            level = next;
            each.iter_mut().zip(&level).for_each(|(all, more)| *all = MAX_PROCESSES.min(*all + more));
        }
        let mut room = MAX_PROCESSES.saturating_sub(together.iter().sum());
        let mut by_size: Vec<usize> = (0..each.len()).collect();
        by_size.sort_by_key(|index| std::cmp::Reverse(own_pages(&boot.parts[*index])));
        for index in by_size {
            let more = each[index].saturating_sub(together[index]).min(room);
            together[index] += more;
            room -= more;
        }
        for (index, _) in boot.parts.iter().enumerate().filter(|(_, (manifest, _))| manifest.kind == Kind::Object) {
            (each[index], together[index]) = (1, 1);
        }
        Instances { each, together }
    }
}

fn pages(bytes: u32) -> u64 {
    bytes.div_ceil(PAGE).into()
}

fn image_pages(executable: &Executable) -> u64 {
    executable.segments().iter().map(|(_, segment)| pages(segment.memory_size)).sum()
}

fn own_pages((manifest, executable): &(&Manifest, Executable)) -> u64 {
    image_pages(executable) + pages(manifest.heap.value) + pages(manifest.stack.value)
}

/// Second-level tables of a domain's own view: one for each megabyte in which something is mapped.
fn tables(manifest: &Manifest, executable: &Executable) -> u64 {
    let registers: u32 = manifest.mmio.iter().map(|range| range.value.length).fold(0, u32::saturating_add);
    let (heap, stack, common) = (manifest.heap.value, manifest.stack.value, manifest.common.value);
    let mut ranges = vec![
        (layout::HEAP_BASE, heap),
        (layout::STACK_TOP.saturating_sub(stack), stack),
        (layout::DMA_BASE, manifest.dma.value),
        (layout::COMMON_BASE, common),
        (layout::MMIO_BASE, registers),
    ];
    ranges.extend(executable.segments().iter().map(|(_, segment)| (segment.address, segment.memory_size)));
    let mut megabytes = 0u64;
    for (start, length) in ranges.into_iter().filter(|(_, length)| *length > 0) {
        for megabyte in start >> 20..=start.saturating_add(length - 1).min(layout::USER_END - 1) >> 20 {
            megabytes |= 1 << megabyte;
        }
    }
    megabytes.count_ones().into()
}

/// Sessions that objects and programs may want of a service.
fn demand(boot: &Boot<'_>, each: &[u64], server: &Manifest) -> (u64, u64) {
    let (mut nested, mut direct) = (0, 0);
    for ((client, _), count) in boot.parts.iter().zip(each) {
        let calls = client.callees.iter().any(|callee| callee.value == server.name);
        match client.kind {
            Kind::Object if calls => nested += 1,
            Kind::Program if calls => direct += count * u64::from(client.quota_bindings.value),
            _ => {}
        }
    }
    if server.kind == Kind::Object { (nested, direct) } else { (0, 0) }
}

/// What `count` instances of a part need, of which any client may have `each` instances.
fn need(boot: &Boot<'_>, each: &[u64], (manifest, executable): &(&Manifest, Executable), count: u64) -> Need {
    let (nested, direct) = demand(boot, each, manifest);
    let sessions = (nested + direct).min(manifest.max_bindings.value.into());
    let ssr = u64::from(manifest.ssr_pages.value);
    let checked = manifest.flags.contains(Flags::INTEGRITY);
    // A small region of an object as client has a pre-image of its own, a large one under checksums a page of these.
    let beside = if ssr == 1 { nested.min(sessions) } else { 0 } + if ssr > 1 && checked { sessions } else { 0 };
    let sums = if checked { (manifest.common.value / PAGE).div_ceil(SUMS_A_FRAME).into() } else { 0 };
    Need {
        instances: count,
        image: count * image_pages(executable),
        heap: count * pages(manifest.heap.value),
        stack: count * pages(manifest.stack.value),
        common: count * (pages(manifest.common.value) + pages(manifest.dma.value)) + sums,
        sessions,
        regions: sessions * ssr + beside,
        undo: u64::from(manifest.undo_pages.value) + u64::from(ssr == 1),
        l1: count + if ssr > 0 { sessions } else { 0 },
        l2: count * tables(manifest, executable) + if ssr > 0 { sessions } else { 0 },
    }
}

impl fmt::Display for Account<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |frames: u64| frames * u64::from(PAGE) / 1024;
        write!(
            f,
            "the image needs {} KiB when all that its manifests allow is used at once, but {} has {} KiB",
            self.needed().div_ceil(1024),
            self.board.name,
            self.has() / 1024
        )?;
        for (name, bytes) in ["before the kernel", "kernel", "boot image"].into_iter().zip(self.fixed) {
            write!(f, "\n    {name:<73} {:>8} KiB", bytes.div_ceil(1024))?;
        }
        write!(f, "\n    {:<73} {:>8} KiB", "page tables", kib(self.tables()))?;
        write!(
            f,
            "\n    {:16} {:>5} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6} {:>8}",
            "KiB", "times", "image", "heap", "stack", "common", "sessions", "undo", "all"
        )?;
        let mut parts: Vec<_> = self.parts.iter().collect();
        parts.sort_by_key(|(_, need)| std::cmp::Reverse(need.total()));
        for (manifest, need) in parts {
            write!(f, "\n    {:16} {:>5}", manifest.name, need.instances)?;
            for (frames, width) in [
                (need.image, 8),
                (need.heap, 8),
                (need.stack, 8),
                (need.common, 8),
                (need.regions, 8),
                (need.undo, 6),
                (need.total(), 8),
            ] {
                write!(f, " {:>width$}", kib(frames))?;
            }
            if need.sessions > 0 {
                write!(f, " ({} sessions)", need.sessions)?;
            }
        }
        Ok(())
    }
}
