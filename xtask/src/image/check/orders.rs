//! Refuses manifests under which requests could wait for each other.
//!
//! What a request holds, until when: the *monitor* of each object that it is in, until that activation ends; each *session*
//! between two objects that it used, until it commits; each `serial` object that it used, until it commits. A request of
//! a program begins with its call and commits when that call returns, so a program holds nothing between its calls. Requests
//! wait for each other if each holds what the other wants. Three rules exclude that:
//!
//! 1. No object calls itself, be it through others: it would want its own monitor.
//! 2. An object that is called by objects and calls objects is `serial`. Otherwise a request that has used it, and comes
//!    back, could want the monitor of somebody who wants the session that the first one keeps.
//! 3. The relation "may be taken before" among serial objects has no cycle. A serial object is taken before all that it
//!    leads to, and of two callees of one object either may be called first.
//!
//! That is enough. By rule 2 an object in between is taken once and held to the end, together with its sessions; one that
//! calls nobody wants nothing; one that no object calls begins its request, holding nothing. So whoever waits waits
//! for a serial object, and by rules 1 and 3 these can be numbered so that each request takes them in order. That covers
//! hooks, too: `flush` after the commit and the constructor during a recovery make the same calls as the methods.
//!
//! The kernel does not rely on it: where requests would wait for each other it gives the error `Reentry` to the one that
//! comes last. A service that copes with this error from its callees says `allow_reentry = true`; what it alone gives rise to is then
//! permitted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use abi::image::{Flags, Kind};

use super::Checker;
use crate::image::manifest::{At, Manifest};

/// Names, and the names that each one leads to directly.
#[derive(Default)]
struct Relation<'m>(BTreeMap<&'m str, BTreeSet<&'m str>>);

impl<'m> Relation<'m> {
    /// A relation that the objects state in one of their lists.
    fn of(manifests: &'m [Manifest], list: fn(&Manifest) -> &Vec<At<String>>) -> Self {
        let objects = manifests.iter().filter(|manifest| manifest.kind == Kind::Object);
        Relation(
            objects
                .map(|manifest| (&*manifest.name, list(manifest).iter().map(|name| &*name.value).collect()))
                .collect(),
        )
    }

    fn next(&self, name: &str) -> impl Iterator<Item = &'m str> + '_ {
        self.0.get(name).into_iter().flatten().copied()
    }

    /// The shortest way from one to another, both included, of at least one step.
    fn path(&self, from: &'m str, to: &str) -> Option<Vec<&'m str>> {
        let mut before: BTreeMap<&str, &'m str> = BTreeMap::new();
        let mut open = VecDeque::from([from]);
        while let Some(name) = open.pop_front() {
            for next in self.next(name) {
                if next == to {
                    let mut path = vec![next, name];
                    while let Some(&earlier) =
                        path.last().filter(|last| **last != from).and_then(|last| before.get(last))
                    {
                        path.push(earlier);
                    }
                    path.reverse();
                    return Some(path);
                }
                if next != from && !before.contains_key(next) {
                    before.insert(next, name);
                    open.push_back(next);
                }
            }
        }
        None
    }

    /// One and all that it leads to.
    fn reach(&self, from: &'m str) -> BTreeSet<&'m str> {
        let mut seen = BTreeSet::from([from]);
        let mut open = vec![from];
        while let Some(name) = open.pop() {
            open.extend(self.next(name).filter(|next| seen.insert(next)));
        }
        seen
    }
}

impl<'m> Checker<'m> {
    /// Rule 1.
    pub(super) fn cycles(&mut self) {
        let manifests: &'m [Manifest] = self.manifests;
        let calls = Relation::of(manifests, |manifest| &manifest.callees);
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for manifest in objects(manifests).filter(|manifest| !manifest.allow_reentry) {
            let Some(path) = calls.path(&manifest.name, &manifest.name) else { continue };
            if told.contains(&*manifest.name) {
                continue;
            }
            told.extend(&path);
            let line = line_of(&manifest.callees, path[1]).unwrap_or(manifest.line);
            let text = format!(
                "callees {}: a request that goes round would wait for itself; let one of them do without, or see allow_reentry in \
                 xtask/README.md",
                path.join(" -> ")
            );
            self.add(manifest, line, text);
        }
    }

    /// Rule 2.
    pub(super) fn kept_in_the_middle(&mut self) {
        let manifests: &'m [Manifest] = self.manifests;
        for manifest in objects(manifests).filter(|manifest| !manifest.allow_reentry && !manifest.is_serial()) {
            let others = || objects(manifests).filter(|other| other.name != manifest.name);
            let caller = others().find(|other| other.callees.iter().any(|callee| callee.value == manifest.name));
            if let (Some(caller), Some(callee)) = (caller, manifest.callees.first()) {
                let text = format!(
                    "callees: {} calls {}, which calls {}: a request keeps the last of these sessions when it has left {}, and \
                     could wait for somebody who is in {} by then: say serial = true, or see allow_reentry in xtask/README.md",
                    caller.name, manifest.name, callee.value, manifest.name, manifest.name
                );
                self.add(manifest, callee.line, text);
            }
        }
    }

    /// Rule 3.
    pub(super) fn orders(&mut self) {
        let manifests: &'m [Manifest] = self.manifests;
        let calls = Relation::of(manifests, |manifest| &manifest.callees);
        let serial: BTreeSet<&str> =
            objects(manifests).filter(|manifest| manifest.is_serial()).map(|manifest| &*manifest.name).collect();
        let behind = |name| calls.reach(name).intersection(&serial).copied().collect::<BTreeSet<_>>();
        let mut before = Relation::default();
        let mut cause: BTreeMap<(&str, &str), (&Manifest, usize)> = BTreeMap::new();
        for manifest in objects(manifests).filter(|manifest| !manifest.allow_reentry) {
            for callee in &manifest.callees {
                let others = manifest.callees.iter().filter(|other| other.value != callee.value);
                let own = serial.get(&*manifest.name).copied();
                for first in others.flat_map(|other| behind(&other.value)).chain(own) {
                    for second in behind(&callee.value).into_iter().filter(|second| *second != first) {
                        before.0.entry(first).or_default().insert(second);
                        cause.entry((first, second)).or_insert((manifest, callee.line));
                    }
                }
            }
        }
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for (&(first, second), &(manifest, line)) in &cause {
            if told.contains(first) {
                continue;
            }
            let Some(mut back) = before.path(second, first) else { continue };
            told.extend(&back);
            let elsewhere = cause.get(&(back[0], back[1])).map_or(String::new(), |(other, line)| {
                format!(" ({}:{line} can lead to the other order)", other.file.display())
            });
            back.insert(0, first);
            let text = format!(
                "callees: the serial services {} can be taken in either order{elsewhere}, so two requests could wait for each \
                 other: let one of them be called only through the other, or see allow_reentry in xtask/README.md",
                back[..back.len() - 1].join(" and ")
            );
            self.add(manifest, line, text);
        }
    }

    /// A service that starts anew with those that depend on it must not be one of these.
    pub(super) fn dependants(&mut self) {
        let manifests: &'m [Manifest] = self.manifests;
        let relation = Relation::of(manifests, |manifest| &manifest.dependants);
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for manifest in objects(manifests) {
            let Some(path) = relation.path(&manifest.name, &manifest.name) else { continue };
            if told.contains(&*manifest.name) {
                continue;
            }
            told.extend(&path);
            let line = line_of(&manifest.dependants, path[1]).unwrap_or(manifest.line);
            self.add(
                manifest,
                line,
                format!("dependants {}: they would restart each other for ever", path.join(" -> ")),
            );
        }
    }
}

fn objects(manifests: &[Manifest]) -> impl Iterator<Item = &Manifest> {
    manifests.iter().filter(|manifest| manifest.kind == Kind::Object)
}

fn line_of(names: &[At<String>], wanted: &str) -> Option<usize> {
    names.iter().find(|name| name.value == wanted).map(|name| name.line)
}

impl Manifest {
    fn is_serial(&self) -> bool {
        self.flags.contains(Flags::SERIAL)
    }
}
