//! Judges the manifests as a set, before anything is packed.
//!
//! What can be said at build time is not left to the kernel: names that nothing has, registers that
//! two services claim, more memory than the board has, an order of calls that could deadlock.

mod devices;
mod orders;

use abi::image::{Flags, Kind, Rights};
use abi::layout;

use super::manifest::Manifest;
use super::{Problem, Problems};
use crate::board::Board;

/// Checks all manifests of an image together. `blobs` are the names of its blobs.
///
/// # Errors
/// Everything that is wrong, each with its file and line.
pub fn check(manifests: &[Manifest], blobs: &[&str], board: &Board) -> Result<(), Problems> {
    let mut checker = Checker { manifests, problems: Vec::new() };
    for manifest in manifests {
        checker.name(manifest);
        checker.sizes(manifest);
        checker.numbers(manifest);
        checker.policy(manifest);
        checker.references(manifest, blobs);
        checker.contradictions(manifest);
        if !manifest.absent {
            checker.devices(manifest, board);
            checker.interrupts(manifest, board);
        }
    }
    checker.roles();
    checker.shared_devices();
    checker.cycles();
    checker.kept_in_the_middle();
    checker.orders();
    checker.dependants();
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
    }

    /// Rights without a use, and uses without their right.
    fn contradictions(&mut self, manifest: &Manifest) {
        let pause = manifest.calls.iter().find(|call| call.value == Rights::PAUSE);
        if let Some(call) = pause.filter(|_| manifest.kind == Kind::Object) {
            let text = "calls: a service may wait within its budget anyway; pause is for programs".into();
            self.add(manifest, call.line, text);
        }
        let quotas = [
            ("quota_bindings", manifest.quota_bindings, manifest.callees.len(), "callees"),
            ("quota_children", manifest.quota_children, manifest.spawns.len(), "spawns"),
        ];
        for (key, quota, names, list) in quotas {
            if quota.value == 0 && names > 0 {
                self.add(manifest, quota.line, format!("{key} 0: then {list} grant nothing"));
            }
            if quota.value > 0 && names == 0 {
                self.add(manifest, quota.line, format!("{key} {}: without {list} it grants nothing", quota.value));
            }
        }
        // A service has one session with each of its callees, and holds on to it.
        if manifest.kind == Kind::Object
            && (1..manifest.callees.len() as u64).contains(&manifest.quota_bindings.value.into())
        {
            let text =
                format!("quota_bindings {}: it has {} callees", manifest.quota_bindings.value, manifest.callees.len());
            self.add(manifest, manifest.quota_bindings.line, text);
        }
        let role_line = manifest.role_line.unwrap_or(manifest.line);
        if manifest.flags.contains(Flags::SCHEDULER)
            && let Some(callee) = manifest.callees.first()
        {
            let text = "callees: the scheduler would wait for those who wait for its decision".into();
            self.add(manifest, callee.line, text);
        }
        for (right, name) in [(Rights::INFO, "info"), (Rights::CONTROL, "control")] {
            if manifest.flags.contains(Flags::SUPERVISOR) && !manifest.rights().contains(right) {
                self.add(manifest, role_line, format!("role: a supervisor can do nothing without the call {name}"));
            }
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
}
