//! The manifests as nodes and edges.

use std::path::PathBuf;

use abi::image::{Flags, Kind};
use serde::Serialize;

use crate::board::Board;
use crate::image::Manifest;

/// Nodes and edges; serialised it is the output of `--json`.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Model {
    /// Programs and services in the order of their entries in an image, then devices.
    pub nodes: Vec<Node>,
    /// By the part that may, in the same order.
    pub edges: Vec<Edge>,
}

/// A program, a service, or something that a service owns.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Node {
    /// Unique.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub what: What,
}

/// What a node is.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    /// A program: a client, in a domain of its own.
    Program(Part),
    /// A service: a protected object.
    Service(Part),
    /// Device registers.
    Registers {
        /// Name of the device, where the board has one for it.
        device: Option<&'static str>,
        /// First physical address.
        start: u32,
        /// Bytes.
        length: u32,
    },
    /// A line of the interrupt controller.
    Interrupt {
        /// Its number.
        number: u32,
    },
}

/// What the manifest of a program or service says.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Part {
    /// The manifest, relative to the workspace.
    pub manifest: PathBuf,
    /// Part of what `cargo xtask run` boots.
    pub booted: bool,
    /// Kernel calls that need a right and are granted.
    pub calls: Vec<String>,
    /// `scheduler` or `supervisor`.
    pub role: Option<&'static str>,
    /// Has state across sessions: kept whole by a request that uses it.
    pub serial: bool,
    /// May be part of a circle of waiting requests.
    pub allow_reentry: bool,
    /// Bytes of each client's Server State Region.
    pub ssr: u32,
    /// Bytes of the common region.
    pub common: u32,
}

/// What a part may do with another one, or has of the board.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// May open sessions with it and call it.
    Calls,
    /// May start it.
    Spawns,
    /// Has it to itself.
    Owns,
}

/// A directed edge.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Edge {
    /// Name of the node that may.
    pub from: String,
    /// Name of the other one.
    pub to: String,
    /// What it may.
    #[serde(rename = "kind")]
    pub relation: Relation,
}

impl Model {
    /// The graph of these manifests, of which some are `booted` by default.
    pub fn of(shown: &[&Manifest], booted: &[&Manifest], board: &Board) -> Self {
        let mut model = Model { nodes: Vec::new(), edges: Vec::new() };
        for manifest in shown {
            let booted = booted.iter().any(|other| other.name == manifest.name);
            let part = part(manifest, booted);
            let what = if manifest.kind == Kind::Program { What::Program(part) } else { What::Service(part) };
            model.nodes.push(Node { name: manifest.name.clone(), what });
        }
        for manifest in shown {
            for (names, relation) in [(&manifest.callees, Relation::Calls), (&manifest.spawns, Relation::Spawns)] {
                names.iter().for_each(|name| model.link(&manifest.name, &name.value, relation));
            }
            for range in manifest.mmio.iter().map(|range| range.value) {
                let (start, length) = (range.address, range.length);
                let known = board.devices.iter().find(|(first, end, _)| (*first..*end).contains(&start));
                let what = What::Registers { device: known.map(|(_, _, name)| *name), start, length };
                model.own(manifest, format!("registers {start:#010x}"), what);
            }
            for number in manifest.interrupts.iter().map(|line| line.value) {
                model.own(manifest, format!("interrupt {number}"), What::Interrupt { number });
            }
        }
        model
    }

    fn link(&mut self, from: &str, to: &str, relation: Relation) {
        self.edges.push(Edge { from: from.to_owned(), to: to.to_owned(), relation });
    }

    fn own(&mut self, owner: &Manifest, name: String, what: What) {
        self.link(&owner.name, &name, Relation::Owns);
        self.nodes.push(Node { name, what });
    }
}

fn part(manifest: &Manifest, booted: bool) -> Part {
    let role = [(Flags::SCHEDULER, "scheduler"), (Flags::SUPERVISOR, "supervisor")];
    Part {
        manifest: manifest.file.clone(),
        booted,
        calls: manifest.rights().iter_names().map(|(name, _)| name.to_lowercase()).collect(),
        role: role.into_iter().find(|(flag, _)| manifest.flags.contains(*flag)).map(|(_, name)| name),
        serial: manifest.flags.contains(Flags::SERIAL),
        allow_reentry: manifest.allow_reentry,
        ssr: manifest.ssr_pages.value * abi::layout::PAGE,
        common: manifest.common.value,
    }
}
