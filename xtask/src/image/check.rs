//! Judges the manifests as a set, before anything is packed.
//!
//! What can be said at build time is not left to the kernel: names that nothing has, registers that
//! two services claim, more memory than the board has, an order of calls that could deadlock.

use std::collections::{BTreeMap, BTreeSet};

use abi::image::{Flags, Kind, MAX_ENTRIES, MAX_MMIO};
use abi::layout;

use super::manifest::{At, Manifest};
use super::{Problem, Problems};
use crate::board::Board;

/// Checks all manifests of an image together. `blobs` are the names of its blobs.
///
/// # Errors
/// Everything that is wrong, each with its file and line.
pub fn check(manifests: &[Manifest], blobs: &[&str], board: &Board) -> Result<(), Problems> {
    let mut checker = Checker { manifests, problems: Vec::new() };
    if manifests.len() + blobs.len() > MAX_ENTRIES
        && let Some(last) = manifests.last()
    {
        checker.add(last, last.line, format!("an image has room for {MAX_ENTRIES} services, programs and blobs"));
    }
    for manifest in manifests {
        checker.name(manifest);
        checker.sizes(manifest);
        checker.numbers(manifest);
        checker.policy(manifest);
        checker.references(manifest, blobs);
        checker.registers(manifest, board);
    }
    checker.roles();
    checker.overlaps();
    checker.memory(board);
    checker.orders();
    if checker.problems.is_empty() { Ok(()) } else { Err(Problems(checker.problems)) }
}

struct Checker<'m> {
    manifests: &'m [Manifest],
    problems: Vec<Problem>,
}

impl<'m> Checker<'m> {
    fn add(&mut self, manifest: &Manifest, line: usize, text: String) {
        self.problems.push(Problem { file: manifest.file.clone(), line, text });
    }

    fn name(&mut self, manifest: &Manifest) {
        let name = &manifest.name;
        if name.is_empty() || name.len() > 16 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.add(manifest, manifest.line, format!("name {name:?}: 1 to 16 letters of ASCII, please"));
        }
        if self.manifests.iter().filter(|other| other.name == *name).count() > 1 {
            self.add(manifest, manifest.line, format!("{name} has more than one manifest"));
        }
    }

    fn sizes(&mut self, manifest: &Manifest) {
        let sizes = [
            ("heap", manifest.heap, layout::HEAP_END - layout::HEAP_BASE),
            ("stack", manifest.stack, layout::STACK_MAX),
            ("common", manifest.common, layout::COMMON_END - layout::COMMON_BASE),
        ];
        for (key, size, limit) in sizes {
            if !size.value.is_multiple_of(layout::PAGE) {
                self.add(
                    manifest,
                    size.line,
                    format!("{key}: {} bytes are not whole pages of {}", size.value, layout::PAGE),
                );
            }
            if size.value > limit {
                self.add(
                    manifest,
                    size.line,
                    format!("{key}: {} bytes, but the address space has room for {limit}", size.value),
                );
            }
        }
        if manifest.stack.value == 0 {
            self.add(manifest, manifest.stack.line, "stack: nothing runs without one".into());
        }
        if manifest.ssr_pages.value > layout::SSR_MAX_PAGES {
            self.add(
                manifest,
                manifest.ssr_pages.line,
                format!("ssr_pages {}: at most {}", manifest.ssr_pages.value, layout::SSR_MAX_PAGES),
            );
        }
        if manifest.ssr_pages.value > 1 && manifest.undo_pages.value == 0 {
            self.add(manifest, manifest.ssr_pages.line, "an SSR of more than a page needs undo_pages".into());
        }
        if manifest.common.value > 0 && manifest.undo_pages.value == 0 {
            self.add(manifest, manifest.common.line, "a common region needs undo_pages".into());
        }
    }

    fn numbers(&mut self, manifest: &Manifest) {
        if manifest.priority.value > 7 {
            self.add(
                manifest,
                manifest.priority.line,
                format!("priority {}: 0 (lowest) to 7", manifest.priority.value),
            );
        }
        if manifest.kind == Kind::Object {
            for (key, budget) in [("budget", manifest.budget), ("hook_budget", manifest.hook_budget)] {
                if budget.value < 2 {
                    self.add(
                        manifest,
                        budget.line,
                        format!("{key} {}: at least 2 ticks, since the first may end at once", budget.value),
                    );
                }
            }
            let numbers = [
                ("max_bindings", manifest.max_bindings, "accepts no client"),
                ("blame_limit", manifest.blame_limit, "revokes before it blames"),
            ];
            for (key, number, meaning) in numbers {
                if number.value == 0 {
                    self.add(manifest, number.line, format!("{key} 0: such a service {meaning}"));
                }
            }
        }
    }

    fn policy(&mut self, manifest: &Manifest) {
        let policy = &manifest.policy;
        if policy.backoff.value > policy.backoff_cap.value {
            let text =
                format!("backoff {}: longer than backoff_cap, {}", policy.backoff.value, policy.backoff_cap.value);
            self.add(manifest, policy.backoff.line, text);
        }
        if policy.heartbeat.value > 0 && policy.misses.value == 0 {
            self.add(manifest, policy.misses.line, "misses 0: no answer could come in time".into());
        }
        for name in manifest.dependants.iter().filter(|name| name.value == manifest.name) {
            self.add(manifest, name.line, format!("dependants {:?}: a service does not depend on itself", name.value));
        }
    }

    fn references(&mut self, manifest: &Manifest, blobs: &[&str]) {
        let names = [
            ("callee", &manifest.callees, Kind::Object, "service"),
            ("spawns", &manifest.spawns, Kind::Program, "program"),
            ("dependants", &manifest.dependants, Kind::Object, "service"),
        ];
        for (key, list, kind, noun) in names {
            for name in list {
                if !self.manifests.iter().any(|other| other.name == name.value && other.kind == kind) {
                    self.add(manifest, name.line, format!("{key} {:?}: no {noun} has this name", name.value));
                }
            }
        }
        if let Some(blob) = &manifest.common_blob {
            if !blobs.contains(&blob.value.as_str()) {
                self.add(
                    manifest,
                    blob.line,
                    format!("common_blob {:?}: the image has {}", blob.value, blobs.join(", ")),
                );
            }
            if manifest.common.value == 0 {
                self.add(manifest, blob.line, "common_blob without a common region".into());
            }
        }
    }

    fn registers(&mut self, manifest: &Manifest, board: &Board) {
        if manifest.mmio.len() > MAX_MMIO {
            self.add(manifest, manifest.mmio[MAX_MMIO].line, format!("mmio: at most {MAX_MMIO} ranges"));
        }
        if let Some(reset) = &manifest.reset {
            let length: u64 = manifest.mmio.iter().map(|range| u64::from(range.value.length)).sum();
            if u64::from(reset.value.register) >= length || reset.value.register % 4 != 0 {
                self.add(manifest, reset.line, "reset: its register is no word of the mmio ranges".into());
            }
        }
        let mut room = u64::from(layout::MMIO_END - layout::MMIO_BASE);
        for range in &manifest.mmio {
            let (start, end) = ends(range);
            let shown = format!("mmio {start:#010x} to {end:#010x}");
            if start % u64::from(layout::PAGE) != 0 || end % u64::from(layout::PAGE) != 0 || start == end {
                self.add(manifest, range.line, format!("{shown}: not whole pages"));
            }
            if end > 1 << 32 {
                self.add(manifest, range.line, format!("{shown}: beyond the physical addresses"));
            }
            let memory = (board.memory_base, board.memory_base + (board.memory_size - 1), "memory");
            for (low, high, what) in board.reserved.iter().copied().chain([memory]) {
                if start < u64::from(high) && end > u64::from(low) {
                    self.add(
                        manifest,
                        range.line,
                        format!("{shown}: that is the {what} of {}, which is the kernel's", board.name),
                    );
                }
            }
            match room.checked_sub(end - start) {
                Some(rest) => room = rest,
                None => self.add(
                    manifest,
                    range.line,
                    format!("{shown}: more device registers than the address space has room for"),
                ),
            }
        }
    }

    /// The kernel asks one service who runs next, and tells one of failures.
    fn roles(&mut self) {
        for (role, noun) in [(Flags::SCHEDULER, "scheduler"), (Flags::SUPERVISOR, "supervisor")] {
            let mut holders = self.manifests.iter().filter(|manifest| manifest.flags.contains(role));
            let Some(first) = holders.next() else { continue };
            for manifest in holders {
                let text = format!("role: {} is the {noun} already ({})", first.name, first.file.display());
                self.add(manifest, manifest.role_line.unwrap_or(manifest.line), text);
            }
        }
    }

    fn overlaps(&mut self) {
        let ranges: Vec<_> = self
            .manifests
            .iter()
            .flat_map(|manifest| manifest.mmio.iter().map(move |range| (manifest, range)))
            .collect();
        for (index, (manifest, range)) in ranges.iter().enumerate() {
            let (start, end) = ends(range);
            for (other_manifest, other) in &ranges[..index] {
                let (other_start, other_end) = ends(other);
                if start < other_end && end > other_start {
                    let text = format!(
                        "mmio {start:#010x} to {end:#010x}: {} ({}:{}) has it too",
                        other_manifest.name,
                        other_manifest.file.display(),
                        other.line
                    );
                    self.add(manifest, range.line, text);
                }
            }
        }
    }

    /// Memory that the services take for as long as the system runs, all sessions open.
    fn memory(&mut self, board: &Board) {
        let mut left = u64::from(board.memory_size);
        for manifest in self.manifests.iter().filter(|manifest| manifest.kind == Kind::Object) {
            let page = u64::from(layout::PAGE);
            let sizes = [manifest.heap, manifest.stack, manifest.common].map(|size| u64::from(size.value));
            // A session has its region and, if that is one page, a pre-image beside the reserved ones.
            let session = u64::from(manifest.ssr_pages.value + 1) * page;
            let need = sizes.iter().sum::<u64>()
                + u64::from(manifest.undo_pages.value) * page
                + session * u64::from(manifest.max_bindings.value);
            match left.checked_sub(need) {
                Some(rest) => left = rest,
                None => {
                    let text = format!(
                        "{} needs {} KiB with all its sessions open, but {} of {} KiB of {} are left for it",
                        manifest.name,
                        need >> 10,
                        left >> 10,
                        board.memory_size >> 10,
                        board.name
                    );
                    self.add(manifest, manifest.max_bindings.line, text);
                    return;
                }
            }
        }
    }

    /// Refuses manifests under which two requests could wait for each other.
    ///
    /// A request keeps every `serial` object that it entered until its outermost call commits. A
    /// serial object is therefore taken before all that it calls, and an object with two callees may
    /// take the serial objects behind the one before those behind the other, or the reverse. If
    /// the relation "may be held while waiting for" has a cycle, two requests can close it.
    fn orders(&mut self) {
        let manifests: &'m [Manifest] = self.manifests;
        let reach = serial_reach(manifests);
        let empty = BTreeSet::new();
        let mut held_before: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut cause: BTreeMap<(&str, &str), (&Manifest, usize)> = BTreeMap::new();
        for manifest in manifests.iter().filter(|manifest| manifest.kind == Kind::Object) {
            for callee in &manifest.callees {
                let wanted = reach.get(callee.value.as_str()).unwrap_or(&empty);
                let own = manifest.flags.contains(Flags::SERIAL).then_some(manifest.name.as_str());
                let others = manifest.callees.iter().filter(|other| other.value != callee.value);
                let before =
                    others.flat_map(|other| reach.get(other.value.as_str()).unwrap_or(&empty)).copied().chain(own);
                for first in before {
                    for second in wanted.iter().filter(|second| **second != first) {
                        held_before.entry(first).or_default().insert(second);
                        cause.entry((first, second)).or_insert((manifest, callee.line));
                    }
                }
            }
        }
        for (&(first, second), &(manifest, line)) in &cause {
            if first < second && leads_to(&held_before, second, first) {
                let text = format!(
                    "the serial services {first} and {second} can be taken in either order, so two requests could wait for each other: \
                     let one of them be called only through the other"
                );
                self.add(manifest, line, text);
            }
        }
    }
}

/// For each service the serial services that a call to it may enter, itself included.
fn serial_reach(manifests: &[Manifest]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut reach: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for manifest in manifests.iter().filter(|manifest| manifest.kind == Kind::Object) {
        let own = manifest.flags.contains(Flags::SERIAL).then_some(manifest.name.as_str());
        reach.insert(&manifest.name, own.into_iter().collect());
    }
    // Services call each other in cycles, too; the sets only grow, so this ends.
    loop {
        let mut grown = false;
        for manifest in manifests {
            let behind: BTreeSet<&str> = manifest
                .callees
                .iter()
                .filter_map(|callee| reach.get(callee.value.as_str()))
                .flatten()
                .copied()
                .collect();
            if let Some(set) = reach.get_mut(manifest.name.as_str()) {
                let before = set.len();
                set.extend(behind);
                grown |= set.len() > before;
            }
        }
        if !grown {
            return reach;
        }
    }
}

fn leads_to(edges: &BTreeMap<&str, BTreeSet<&str>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        if name == to {
            return true;
        }
        open.extend(edges.get(name).into_iter().flatten().copied().filter(|next| seen.insert(next)));
    }
    false
}

fn ends(range: &At<super::manifest::MmioRange>) -> (u64, u64) {
    let start = u64::from(range.value.address);
    (start, start + u64::from(range.value.length))
}
