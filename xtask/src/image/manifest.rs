//! Manifests: what each service and program may do and how much it may use.
//!
//! They stand in the packages' `Cargo.toml` as `[package.metadata.service]`. Nothing is granted that
//! is not written there; xtask/README.md lists the keys. Each value keeps its place in the file, so that an error can name the line.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use abi::dma::Holds;
use abi::image::{Flags, Kind, Rights};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use toml::Spanned;

use super::Problem;
use crate::board::{self, Board};

/// A value and the line that it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its line in the manifest, from 1.
    pub line: usize,
}

/// A range of device registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MmioRange {
    /// Physical address.
    pub address: u32,
    /// Bytes.
    pub length: u32,
    /// Mapped for reading only: the kernel writes it, as `registers` says.
    #[serde(default)]
    pub checked: bool,
}

/// What a register of a device that reaches memory may hold; see [`abi::dma`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterRule {
    /// Offset from the start of the first range of `mmio`, through all ranges.
    pub register: u32,
    /// The only value that it may hold.
    pub value: Option<u32>,
    /// The bus address of what, otherwise.
    pub holds: Option<Address>,
    /// By how many bits the address is shifted right.
    #[serde(default)]
    pub shift: u32,
}

impl RegisterRule {
    /// What it may hold.
    pub fn holds(&self) -> Holds {
        match self.holds {
            None => Holds::Value,
            Some(Address::Any) => Holds::Any,
            Some(Address::Buffer) => Holds::Buffer,
            Some(Address::Table) => Holds::Table,
        }
    }
}

/// What a bus address may be that of: a page of the DMA window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// Any page: the device only reads it.
    Any,
    /// A page without descriptors.
    Buffer,
    /// A page with descriptors.
    Table,
}

/// The register that resets a device, and what to write there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// Offset from the start of the first range of `mmio`, through all ranges.
    pub register: u32,
    /// The value.
    pub value: u32,
}

/// What the supervisor does about a service; see [`abi::image::Policy`]. Times in ticks of a millisecond.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Time between two self-tests, 0 = none.
    pub heartbeat: At<u32>,
    /// Periods without an answer before it counts as hung.
    pub misses: At<u32>,
    /// A run shorter than this counts towards a crash loop.
    pub min_run: At<u32>,
    /// Short runs in a row before it is given up, 0 = never.
    pub max_restarts: At<u32>,
    /// How long it is held after the second short run in a row; doubled with each that follows.
    pub backoff: At<u32>,
    /// The longest that it is held.
    pub backoff_cap: At<u32>,
    /// What happens when it is given up.
    pub give_up: GiveUp,
}

/// What happens when a service is given up. The numbers are those of [`abi::image::Policy::give_up`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GiveUp {
    /// It stops; its callers get an error.
    #[default]
    Stop = 0,
    /// The board starts anew.
    Reboot = 1,
}

/// A manifest as its file states it; [`super::check`] judges the values.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The manifest's file, relative to the workspace.
    pub file: std::path::PathBuf,
    /// Name of the package, which is the name of the service or program.
    pub name: String,
    /// Service or program.
    pub kind: Kind,
    /// Line of the table's first key.
    pub line: usize,
    /// Bytes of heap.
    pub heap: At<u32>,
    /// Bytes of each stack.
    pub stack: At<u32>,
    /// Bytes of the common region.
    pub common: At<u32>,
    /// Name of the blob that fills the common region at boot.
    pub common_blob: Option<At<String>>,
    /// Pages of each SSR.
    pub ssr_pages: At<u32>,
    /// Pages reserved for pre-images.
    pub undo_pages: At<u32>,
    /// Kernel calls granted, one right each.
    pub calls: Vec<At<Rights>>,
    /// Properties.
    pub flags: Flags,
    /// Processor time of a method call, in ticks.
    pub budget: At<u32>,
    /// Processor time of a hook, in ticks.
    pub hook_budget: At<u32>,
    /// Sessions accepted.
    pub max_bindings: At<u32>,
    /// Sessions held.
    pub quota_bindings: At<u32>,
    /// Children at once.
    pub quota_children: At<u32>,
    /// Priority of its threads.
    pub priority: At<u32>,
    /// Failures of a session before it is revoked.
    pub blame_limit: At<u32>,
    /// Ticks before a blamed client may bind again.
    pub blame_backoff: At<u32>,
    /// Services that it may bind to.
    pub callees: Vec<At<String>>,
    /// Those of them that it can do without, on boards that do not have them.
    pub optional_callees: Vec<String>,
    /// Programs that it may start.
    pub spawns: Vec<At<String>>,
    /// Argument of its constructor.
    pub argument: At<u32>,
    /// Its manifest speaks of boards, but not of this one: there is nothing that it could drive.
    pub absent: bool,
    /// Device registers.
    pub mmio: Vec<At<MmioRange>>,
    /// Bytes of the DMA window.
    pub dma: At<u32>,
    /// Pages of it that hold descriptors.
    pub dma_tables: Vec<At<u32>>,
    /// Descriptors in each of these.
    pub descriptors: At<u32>,
    /// What may be written to registers.
    pub registers: Vec<At<RegisterRule>>,
    /// How its device is reset when it recovers.
    pub reset: Option<At<Reset>>,
    /// Interrupts that it owns.
    pub interrupts: Vec<At<u32>>,
    /// Interrupts of one line within a tick.
    pub interrupt_rate: At<u32>,
    /// Line of `role`, for a service that has one: [`Flags::SCHEDULER`] or [`Flags::SUPERVISOR`].
    pub role_line: Option<usize>,
    /// What the supervisor does about it; means nothing for a program.
    pub policy: Policy,
    /// Services that start anew when this one was held or given up and starts again.
    pub dependants: Vec<At<String>>,
    /// It copes with the error `Reentry`, so that it may be part of a cycle of waiting requests.
    pub allow_reentry: bool,
}

impl Manifest {
    /// All kernel calls granted.
    pub fn rights(&self) -> Rights {
        self.calls.iter().map(|call| call.value).collect()
    }
}

/// Takes out the services that have nothing to drive on the board, and those that call them; programs stay, and find them missing.
/// Returns their names, too.
pub fn without_absent(mut manifests: Vec<Manifest>) -> (Vec<Manifest>, Vec<String>) {
    let mut absent: Vec<String> = Vec::new();
    let gone = |manifest: &Manifest, absent: &[String]| {
        let needed = |name: &&At<String>| !manifest.optional_callees.contains(&name.value);
        let calls = manifest.callees.iter().filter(needed).any(|name| absent.contains(&name.value));
        manifest.absent || (manifest.kind == Kind::Object && calls)
    };
    while let Some(index) = manifests.iter().position(|manifest| gone(manifest, &absent)) {
        absent.push(manifests.remove(index).name);
    }
    for manifest in &mut manifests {
        manifest.callees.retain(|name| !absent.contains(&name.value));
        manifest.dependants.retain(|name| !absent.contains(&name.value));
    }
    absent.sort();
    (manifests, absent)
}

/// Bytes: a number, or a text such as `"64K"` or `"12M"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size(u32);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes below 4 GiB, or a text such as \"64K\" or \"12M\"")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Size, E> {
                u32::try_from(value).map(Size).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                let unit = [("K", 10), ("M", 20)]
                    .into_iter()
                    .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
                let bytes = unit.and_then(|(number, shift)| number.parse::<u32>().ok()?.checked_mul(1 << shift));
                bytes.map(Size).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}

/// A kernel call that a manifest grants by name.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Call {
    Pause,
    Time,
    Info,
    Sabotage,
    Shutdown,
    Log,
    Counter,
    Deadline,
    Control,
    Emit,
}

impl Call {
    fn right(self) -> Rights {
        match self {
            Call::Pause => Rights::PAUSE,
            Call::Time => Rights::TIME,
            Call::Info => Rights::INFO,
            Call::Sabotage => Rights::SABOTAGE,
            Call::Shutdown => Rights::SHUTDOWN,
            Call::Log => Rights::LOG,
            Call::Counter => Rights::COUNTER,
            Call::Deadline => Rights::DEADLINE,
            Call::Control => Rights::CONTROL,
            Call::Emit => Rights::EMIT,
        }
    }
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Integrity {
    None,
    Checksum,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Role {
    Scheduler,
    Supervisor,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TableKind {
    Object,
    Program,
}

/// `[package.metadata.service]` as it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    kind: TableKind,
    heap: Option<Spanned<Size>>,
    stack: Spanned<Size>,
    common: Option<Spanned<Size>>,
    common_blob: Option<Spanned<String>>,
    ssr_pages: Option<Spanned<u32>>,
    undo_pages: Option<Spanned<u32>>,
    #[serde(default)]
    calls: Vec<Spanned<Call>>,
    #[serde(default)]
    callees: Vec<Spanned<String>>,
    #[serde(default)]
    optional_callees: Vec<Spanned<String>>,
    #[serde(default)]
    spawns: Vec<Spanned<String>>,
    serial: Option<Spanned<bool>>,
    lazy_reload: Option<Spanned<bool>>,
    doubt_errors: Option<Spanned<bool>>,
    integrity: Option<Spanned<Integrity>>,
    budget: Option<Spanned<u32>>,
    hook_budget: Option<Spanned<u32>>,
    max_bindings: Option<Spanned<u32>>,
    quota_bindings: Option<Spanned<u32>>,
    quota_children: Option<Spanned<u32>>,
    priority: Option<Spanned<u32>>,
    blame_limit: Option<Spanned<u32>>,
    blame_backoff: Option<Spanned<u32>>,
    argument: Option<Spanned<u32>>,
    #[serde(default)]
    mmio: Vec<Spanned<MmioRange>>,
    dma: Option<Spanned<Size>>,
    #[serde(default)]
    dma_tables: Vec<Spanned<u32>>,
    descriptors: Option<Spanned<u32>>,
    #[serde(default)]
    registers: Vec<Spanned<RegisterRule>>,
    reset: Option<Spanned<Reset>>,
    #[serde(default)]
    interrupts: Vec<Spanned<u32>>,
    #[serde(default)]
    board: BTreeMap<String, Spanned<Hardware>>,
    role: Option<Spanned<Role>>,
    interrupt_rate: Option<Spanned<u32>>,
    policy: Option<Spanned<PolicyTable>>,
    allow_reentry: Option<Spanned<bool>>,
}

/// `[package.metadata.service.board.NAME]` as it stands in the file: what is different on each board.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hardware {
    argument: Option<Spanned<u32>>,
    #[serde(default)]
    mmio: Vec<Spanned<MmioRange>>,
    #[serde(default)]
    registers: Vec<Spanned<RegisterRule>>,
    reset: Option<Spanned<Reset>>,
    #[serde(default)]
    interrupts: Vec<Spanned<u32>>,
}

/// `[package.metadata.service.policy]` as it stands in the file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyTable {
    heartbeat: Option<Spanned<u32>>,
    misses: Option<Spanned<u32>>,
    min_run: Option<Spanned<u32>>,
    max_restarts: Option<Spanned<u32>>,
    backoff: Option<Spanned<u32>>,
    backoff_cap: Option<Spanned<u32>>,
    #[serde(default)]
    give_up: GiveUp,
    #[serde(default)]
    dependants: Vec<Spanned<String>>,
}

impl Table {
    /// Keys that are there although only a protected object can have them.
    fn of_objects_only(&self) -> Vec<(&'static str, Range<usize>)> {
        fn there<T>(key: &'static str, value: Option<&Spanned<T>>) -> Option<(&'static str, Range<usize>)> {
            value.map(|value| (key, value.span()))
        }
        let keys = [
            there("common", self.common.as_ref()),
            there("common_blob", self.common_blob.as_ref()),
            there("ssr_pages", self.ssr_pages.as_ref()),
            there("undo_pages", self.undo_pages.as_ref()),
            there("serial", self.serial.as_ref()),
            there("lazy_reload", self.lazy_reload.as_ref()),
            there("doubt_errors", self.doubt_errors.as_ref()),
            there("integrity", self.integrity.as_ref()),
            there("budget", self.budget.as_ref()),
            there("hook_budget", self.hook_budget.as_ref()),
            there("max_bindings", self.max_bindings.as_ref()),
            there("blame_limit", self.blame_limit.as_ref()),
            there("blame_backoff", self.blame_backoff.as_ref()),
            there("dma", self.dma.as_ref()),
            there("dma_tables", self.dma_tables.first()),
            there("descriptors", self.descriptors.as_ref()),
            there("role", self.role.as_ref()),
            there("board", self.board.values().next()),
            there("interrupt_rate", self.interrupt_rate.as_ref()),
            there("policy", self.policy.as_ref()),
            there("allow_reentry", self.allow_reentry.as_ref()),
        ];
        keys.into_iter().flatten().chain(self.of_hardware()).collect()
    }

    /// Keys that are there and stand for each board by itself, if boards differ.
    fn of_hardware(&self) -> Vec<(&'static str, Range<usize>)> {
        let keys = [
            self.argument.as_ref().map(|value| ("argument", value.span())),
            self.mmio.first().map(|value| ("mmio", value.span())),
            self.registers.first().map(|value| ("registers", value.span())),
            self.reset.as_ref().map(|value| ("reset", value.span())),
            self.interrupts.first().map(|value| ("interrupts", value.span())),
        ];
        keys.into_iter().flatten().collect()
    }

    /// Keys that are there although only a program can have them.
    fn of_programs_only(&self) -> Vec<(&'static str, Range<usize>)> {
        let spawns = self.spawns.first().map(|name| ("spawns", name.span()));
        let children = self.quota_children.as_ref().map(|number| ("quota_children", number.span()));
        [spawns, children].into_iter().flatten().collect()
    }
}

#[derive(Deserialize)]
struct Document {
    package: PackageTable,
}

#[derive(Deserialize)]
struct PackageTable {
    name: String,
    metadata: Option<MetadataTable>,
}

#[derive(Deserialize)]
struct MetadataTable {
    service: Option<Spanned<Table>>,
}

/// Priority of a thread whose manifest names none: the middle of 0 to 7.
const DEFAULT_PRIORITY: u32 = 4;
/// Failures of one session before it is revoked, where the manifest names no number: as many as a
/// user would still take for bad luck.
const DEFAULT_BLAME_LIMIT: u32 = 3;
/// Back-off of a blamed client, in ticks of a millisecond, where the manifest names none.
const DEFAULT_BLAME_BACKOFF: u32 = 1000;
/// Processor time of a call or hook, in ticks of a millisecond, where the manifest names none.
const DEFAULT_BUDGET: u32 = 50;
/// Interrupts of one line within a tick, where the manifest names no number: a UART of 16 bytes of FIFO at 2 Mbaud has
/// about as many.
const DEFAULT_INTERRUPT_RATE: u32 = 20;
/// Time between self-tests, where the manifest names none: no self-tests, since a service that hangs in a call is found
/// by its budget. Services that act by themselves (alarms, devices) ask for them.
const DEFAULT_HEARTBEAT: u32 = 0;
/// Unanswered self-tests until a service counts as hung: one may be late behind a queue of calls.
const DEFAULT_MISSES: u32 = 2;
/// Ticks that a run must last not to count towards a crash loop: more than 20 restarts a second are one.
const DEFAULT_MIN_RUN: u32 = 50;
/// Short runs in a row until a service is given up. With the back-off below it was held for 2.3 seconds by then.
const DEFAULT_MAX_RESTARTS: u32 = 10;
/// First back-off, in ticks: about the time of a recovery with many sessions.
const DEFAULT_BACKOFF: u32 = 10;
/// Longest back-off, in ticks: what a user at a terminal still waits for.
const DEFAULT_BACKOFF_CAP: u32 = 1000;

/// Places in one file.
struct Lines<'t> {
    text: &'t str,
}

impl Lines<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or(self.text.as_bytes());
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn at<T>(&self, value: Spanned<T>) -> At<T> {
        let line = self.line(&value.span());
        At { value: value.into_inner(), line }
    }

    fn all<T>(&self, values: Vec<Spanned<T>>) -> Vec<At<T>> {
        values.into_iter().map(|value| self.at(value)).collect()
    }
}

/// Reads the manifest in the text of a `Cargo.toml`, as it is on a board. `file` is its name for errors.
///
/// # Errors
/// What is malformed, unknown or missing, or that there is no manifest at all.
pub fn read(file: &Path, text: &str, board: &Board) -> Result<Manifest, Problem> {
    let lines = Lines { text };
    let problem = |line, text: String| Problem { file: file.to_owned(), line, text };
    let document: Document = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| lines.line(&span));
        problem(line, error.message().to_owned())
    })?;
    let name = document.package.name;
    let Some(table) = document.package.metadata.and_then(|metadata| metadata.service) else {
        return Err(problem(1, format!("{name} has no manifest: add [package.metadata.service]")));
    };
    let line = lines.line(&table.span());
    let mut table = table.into_inner();
    let (kind, misplaced, noun) = match table.kind {
        TableKind::Object => (Kind::Object, table.of_programs_only(), "a protected object"),
        TableKind::Program => (Kind::Program, table.of_objects_only(), "a program"),
    };
    if let Some((key, span)) = misplaced.first() {
        return Err(problem(lines.line(span), format!("{key}: {noun} has none")));
    }
    if kind == Kind::Object && table.max_bindings.is_none() {
        return Err(problem(line, "max_bindings is missing: how many clients may have a session?".into()));
    }
    for (name, hardware) in &table.board {
        if board::find(name).is_none() {
            return Err(problem(
                lines.line(&hardware.span()),
                format!("no board is called {name}: {}", board::names()),
            ));
        }
        if let Some((key, span)) = table.of_hardware().first() {
            return Err(problem(lines.line(span), format!("{key}: move it to the tables of the boards")));
        }
    }
    let called = |name: &Spanned<String>| table.callees.iter().any(|callee| callee.as_ref() == name.as_ref());
    if let Some(name) = table.optional_callees.iter().find(|name| !called(name)) {
        let text = format!("optional_callees: {} is none of the callees", name.as_ref());
        return Err(problem(lines.line(&name.span()), text));
    }
    let absent = !table.board.is_empty() && !table.board.contains_key(board.name);
    let hardware = match table.board.remove(board.name) {
        Some(hardware) => hardware.into_inner(),
        None => Hardware {
            argument: table.argument,
            mmio: table.mmio,
            registers: table.registers,
            reset: table.reset,
            interrupts: table.interrupts,
        },
    };
    let number =
        |value: Option<Spanned<u32>>, default| value.map_or(At { value: default, line }, |value| lines.at(value));
    let size = |value: Option<Spanned<Size>>| {
        value.map_or(At { value: 0, line }, |value| {
            let At { value: Size(value), line } = lines.at(value);
            At { value, line }
        })
    };
    let mut flags = Flags::empty();
    flags.set(Flags::SERIAL, table.serial.is_some_and(Spanned::into_inner));
    flags.set(Flags::LAZY_RELOAD, table.lazy_reload.is_some_and(Spanned::into_inner));
    flags.set(Flags::DOUBT_ERRORS, table.doubt_errors.is_some_and(Spanned::into_inner));
    flags.set(Flags::INTEGRITY, table.integrity.is_some_and(|value| value.into_inner() == Integrity::Checksum));
    let role_line = table.role.as_ref().map(|role| lines.line(&role.span()));
    let role = table.role.map(Spanned::into_inner);
    let policy_line = table.policy.as_ref().map_or(line, |policy| lines.line(&policy.span()));
    let policy = table.policy.map(Spanned::into_inner).unwrap_or_default();
    let of_policy = |value: Option<Spanned<u32>>, default| {
        value.map_or(At { value: default, line: policy_line }, |value| lines.at(value))
    };
    flags.set(Flags::SCHEDULER, role == Some(Role::Scheduler));
    flags.set(Flags::SUPERVISOR, role == Some(Role::Supervisor));
    Ok(Manifest {
        file: file.to_owned(),
        name,
        kind,
        line,
        heap: size(table.heap),
        stack: size(Some(table.stack)),
        common: size(table.common),
        common_blob: table.common_blob.map(|value| lines.at(value)),
        ssr_pages: number(table.ssr_pages, 0),
        undo_pages: number(table.undo_pages, 0),
        calls: table
            .calls
            .into_iter()
            .map(|call| lines.at(call))
            .map(|At { value, line }| At { value: value.right(), line })
            .collect(),
        flags,
        budget: number(table.budget, DEFAULT_BUDGET),
        hook_budget: number(table.hook_budget, DEFAULT_BUDGET),
        max_bindings: number(table.max_bindings, 0),
        quota_bindings: number(table.quota_bindings, table.callees.len() as u32),
        quota_children: number(table.quota_children, table.spawns.len() as u32),
        priority: number(table.priority, DEFAULT_PRIORITY),
        blame_limit: number(table.blame_limit, DEFAULT_BLAME_LIMIT),
        blame_backoff: number(table.blame_backoff, DEFAULT_BLAME_BACKOFF),
        callees: lines.all(table.callees),
        optional_callees: table.optional_callees.into_iter().map(Spanned::into_inner).collect(),
        spawns: lines.all(table.spawns),
        argument: number(hardware.argument, 0),
        absent,
        mmio: lines.all(hardware.mmio),
        dma: size(table.dma),
        dma_tables: lines.all(table.dma_tables),
        descriptors: number(table.descriptors, 0),
        registers: lines.all(hardware.registers),
        reset: hardware.reset.map(|value| lines.at(value)),
        interrupts: lines.all(hardware.interrupts),
        interrupt_rate: number(table.interrupt_rate, DEFAULT_INTERRUPT_RATE),
        role_line,
        policy: Policy {
            heartbeat: of_policy(policy.heartbeat, DEFAULT_HEARTBEAT),
            misses: of_policy(policy.misses, DEFAULT_MISSES),
            min_run: of_policy(policy.min_run, DEFAULT_MIN_RUN),
            max_restarts: of_policy(policy.max_restarts, DEFAULT_MAX_RESTARTS),
            backoff: of_policy(policy.backoff, DEFAULT_BACKOFF),
            backoff_cap: of_policy(policy.backoff_cap, DEFAULT_BACKOFF_CAP),
            give_up: policy.give_up,
        },
        dependants: lines.all(policy.dependants),
        allow_reentry: table.allow_reentry.is_some_and(Spanned::into_inner),
    })
}
