//! One service under one way to recover: its image, its golden run, and what an experiment on it is compared with.

use std::path::Path;

use abi::image::Kind as EntryKind;
use anyhow::{Context, Result, bail};
use experiment::{Action, End, Injection, Job, Observation, Planned};
use sha2::{Digest, Sha256};
use trial::Workload;

use super::fault::{self, Target};
use super::golden::Golden;
use super::guest::{Kernel, Served};
use super::judge::{self, Run, Speakers, Struck};
use super::machine::Machine;
use super::model::Recovery;
use super::{Setup, results};
use crate::artefact::Bootable;
use crate::guest::KERNEL;
use crate::image::{Executable, Manifest, Start};
use crate::postmortem::{Executables, Symbols};

/// The program that runs the workloads.
const ROOT: &str = "trial";
/// Its clients.
const CLIENT: &str = "trialist";
/// What `--service` calls a client.
pub const PROGRAM: &str = "program";
/// The workload for targets that have none of their own: the one whose clients use most of the kernel.
const GENERAL: Workload = Workload::Store;
/// Ticks that a run may take beyond twice those of the golden run before it counts as hung.
const PATIENCE: u32 = 3_000;
/// Hooks by their numbers ([`abi::Hook`]).
const HOOKS: [&str; 9] = ["construct", "open", "reload", "flush", "close", "sabotaged", "event", "step", "decide"];
/// The client that is struck when a program is the target.
const STRUCK: usize = 1;

/// What faults can be injected into: the services that have a workload, a program, the kernel.
pub fn targets() -> Vec<&'static str> {
    Workload::ALL.iter().map(|workload| workload.name()).chain([PROGRAM, KERNEL]).collect()
}

/// Whether a workload makes services fail before it begins, and the image may not recover from that.
pub fn needs_recovery(service: &str, recovery: Recovery) -> bool {
    let failures = |workload: &Workload| workload.name() == service && workload.failures() > 0;
    recovery != Recovery::Rollback && Workload::ALL.iter().any(failures)
}

/// See the module.
pub struct Unit<'s> {
    /// What is struck.
    pub service: String,
    /// How the image recovers.
    pub recovery: Recovery,
    /// The same for the planner.
    pub target: Target,
    /// The emulator with its files.
    pub machine: Machine,
    /// The golden run as it was recorded.
    pub golden: Golden,
    /// The same for the judge.
    pub run: Run,
    /// Where the kernel keeps what.
    pub kernel: Kernel,
    /// The target's domain; none for the kernel.
    pub domain: Option<u32>,
    /// Ranges of physical memory that hold its instructions.
    pub text: Vec<(u32, u32)>,
    /// Virtual addresses of the instructions that it executed, in order.
    pub stream: Vec<u32>,
    /// SHA-256 of the image.
    pub image: String,
    limit: u32,
    /// Objects that may call the target, or be called by it, be it through others.
    chain: Vec<String>,
    /// Names of the target's methods are found with these.
    executables: &'s Executables,
    _bootable: Bootable,
}

/// Everything that is called by, or calls, the object at `index`.
fn chain(parts: &[(&Manifest, Executable)], name: &str) -> Vec<String> {
    let mut known = vec![name.to_owned()];
    loop {
        let before = known.len();
        for (manifest, _) in parts.iter().filter(|(manifest, _)| manifest.kind == EntryKind::Object) {
            let calls = |of: &Manifest, other: &str| of.callees.iter().any(|callee| callee.value == other);
            let near = known.iter().any(|one| {
                calls(manifest, one)
                    || parts.iter().any(|(other, _)| other.name == *one && calls(other, &manifest.name))
            });
            if near && !known.contains(&manifest.name) {
                known.push(manifest.name.clone());
            }
        }
        if known.len() == before {
            known.retain(|one| one != name);
            return known;
        }
    }
}

impl<'s> Unit<'s> {
    /// Packs the image, runs it once and records that.
    ///
    /// # Errors
    /// If something is missing, or the golden run is not what it should be.
    pub fn prepare(setup: &Setup, executables: &'s Executables, service: &str, recovery: Recovery) -> Result<Unit<'s>> {
        let Setup { emulator, engines, system, disk, .. } = setup;
        let workload = Workload::ALL.iter().copied().find(|workload| workload.name() == service).unwrap_or(GENERAL);
        let starts = [Start { program: ROOT, instances: 1, argument: workload.number() }];
        let bootable = system.pack_with("inject", &starts, Some(disk), recovery.into())?;
        let bytes = std::fs::read(bootable.path()).context("cannot read the image")?;
        let image = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let machine = Machine::new(emulator, system.board, &bootable.path())?;
        let kernel_file = std::fs::read(system.executable(KERNEL)?).context("cannot read the kernel")?;
        let kernel = Kernel::read(&kernel_file)?;
        let golden = Golden::record(&machine, &engines.plugin)?;
        let observation = Observation {
            first: Injection::Done {
                action: Action::Nothing,
                before: 0,
                after: 0,
                registers: [0; 17],
                context: Vec::new(),
            },
            second: None,
            end: End::Complete,
            ticks: 0,
            console: golden.console.clone(),
            memory: golden.memory.clone(),
        };
        let prefix = |client: u32| format!("{}{client} ", trial::LINE_PREFIX);
        let own_console = workload == Workload::Console;
        let prefixes: Vec<String> = (0..workload.clients()).filter(|_| own_console).map(prefix).collect();
        let parts = system.parts(&[ROOT])?;
        let names = parts.iter().map(|(manifest, _)| manifest.name.clone()).collect();
        let run = Run::golden(&observation, Speakers { prefixes, names })
            .with_context(|| format!("the golden run of {service} is not fit to be compared with"))?;
        let (domain, mut target) = if service == KERNEL {
            (None, Target::kernel(&kernel_file)?)
        } else {
            let name = if service == PROGRAM { CLIENT } else { service };
            let place = parts.iter().position(|(manifest, _)| manifest.name == name);
            let place = place.with_context(|| format!("the image has no {name}"))?;
            let file = std::fs::read(system.executable(name)?).with_context(|| format!("cannot read {name}"))?;
            let domain = match service {
                PROGRAM => run.clients.get(STRUCK).context("the workload has too few clients")?.process & 0xff,
                _ => place as u32,
            };
            (Some(domain), Target::domain(&file, parts[place].0)?)
        };
        target.name = service.to_owned();
        let text = match domain {
            Some(domain) => golden.text_of(&kernel, domain, (target.regions.text.start, target.regions.text.end)),
            None => vec![kernel.text],
        };
        let stream = golden.stream(&text);
        if stream.is_empty() {
            bail!("{service} does nothing in its workload");
        }
        if let Some(domain) = domain {
            let heap = golden.memory_of(&kernel, domain, target.regions.heap.clone())?;
            target.regions.heap.end = target.regions.heap.start + fault::heap_in_use(&heap);
        }
        let times = run.clients.iter().flat_map(|client| &client.entries);
        let (first, last) =
            times.fold((u32::MAX, 0), |(first, last), entry| (first.min(entry.began), last.max(entry.ended)));
        Ok(Unit {
            service: service.to_owned(),
            recovery,
            target,
            machine,
            run,
            kernel,
            domain,
            text,
            stream,
            image,
            limit: last.saturating_sub(first) / 1000 * 2 + PATIENCE,
            chain: chain(&parts, service),
            executables,
            golden,
            _bootable: bootable,
        })
    }

    /// A job on this unit.
    pub fn job(&self, experiments: Vec<Planned>, parallel: u32) -> Job {
        Job {
            target: self.text.clone(),
            vectors: self.kernel.vectors,
            kernel: self.kernel.text,
            recorder: self.kernel.recovery,
            tick: self.kernel.tick,
            limit: self.limit,
            ranges: self.golden.ranges.clone(),
            context: self.domain.map(|domain| self.kernel.context(domain)).unwrap_or_default(),
            experiments,
            parallel,
        }
    }

    /// Who was being served when a fault was injected.
    ///
    /// # Errors
    /// If the engine did not bring what that is known by.
    pub fn served(&self, observation: &Observation) -> Result<Served> {
        match (&observation.first, self.domain) {
            (Injection::Done { context, .. }, Some(domain)) if self.kind() == fault::Kind::Service => {
                self.kernel.served(domain, context)
            }
            _ => Ok(Served::Nobody),
        }
    }

    fn kind(&self) -> fault::Kind {
        self.target.kind
    }

    /// What the judge has to know of a fault.
    pub fn struck(&self, served: Served, action: Action) -> Struck {
        let client = match (self.kind(), served) {
            (fault::Kind::Program, _) => self.domain,
            (_, Served::Request { process, .. }) => Some(process),
            (_, Served::Hook { client, .. }) => client,
            (_, Served::Nobody) => None,
        };
        // A client is known by its process number, which holds its domain.
        let process =
            |domain: u32| self.run.clients.iter().map(|client| client.process).find(|process| process & 0xff == domain);
        Struck {
            target: match self.kind() {
                fault::Kind::Service => judge::Target::Object,
                fault::Kind::Program => judge::Target::Program,
                fault::Kind::Kernel => judge::Target::Kernel,
            },
            name: self.service.clone(),
            domain: self.domain.map(|domain| domain as u8),
            client: client.and_then(process),
            chain: self.chain.clone(),
            action,
        }
    }

    /// Who was served, for people: number of the client in the workload, and name of the method or hook.
    pub fn named(&self, served: Served, symbols: &Symbols<'_>) -> (Option<u32>, Option<String>) {
        let number = |domain: u32| {
            self.run.clients.iter().find(|client| client.process & 0xff == domain).map(|client| client.number)
        };
        match served {
            Served::Request { process, method } => {
                let name = symbols.method(method).unwrap_or_else(|| format!("method {method}"));
                (number(process), Some(name))
            }
            Served::Hook { hook, client } => {
                let name = HOOKS.get(hook as usize).map_or_else(|| format!("hook {hook}"), |name| (*name).to_owned());
                (client.and_then(number), Some(name))
            }
            Served::Nobody => (None, None),
        }
    }

    /// The package of the target.
    fn package(&self) -> &str {
        match self.kind() {
            fault::Kind::Service => &self.service,
            fault::Kind::Program => CLIENT,
            fault::Kind::Kernel => KERNEL,
        }
    }

    /// The executable of the target, with debug information.
    ///
    /// # Errors
    /// If there is none.
    pub fn executable<'p>(&self, setup: &'p Setup) -> Result<&'p Path> {
        setup.system.executable(self.package())
    }

    /// The symbols of the target.
    ///
    /// # Errors
    /// If its executable cannot be read.
    pub fn symbols(&self) -> Result<Symbols<'_>> {
        self.executables.symbols(self.package())
    }

    /// The symbols of the kernel.
    ///
    /// # Errors
    /// If its executable cannot be read.
    pub fn kernel_symbols(&self) -> Result<Symbols<'_>> {
        self.executables.symbols(KERNEL)
    }

    /// What the results say of the golden run.
    pub fn told(&self) -> results::Golden {
        results::Golden {
            service: self.service.clone(),
            recovery: self.recovery,
            image: self.image.clone(),
            clients: self.run.clients.len() as u32,
            results: self.run.results() as u32,
            instructions: self.golden.executed.len() as u64,
            target: self.stream.len() as u64,
        }
    }
}
