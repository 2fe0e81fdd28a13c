//! `cargo xtask inject`: fault-injection campaigns that an outsider can repeat, experiment by experiment.
//!
//! | module | what holds there |
//! |---|---|
//! | `model` | the terms: outcomes, ways to recover, actions |
//! | `machine`, `layout`, `guest` | the emulator, and how the kernel's memory is read from outside |
//! | `golden` | the run without a fault, instruction by instruction |
//! | `fault` | fault models: what is done to whom, and where that makes sense |
//! | `unit`, `plan` | a service with its image and golden run; its experiments |
//! | `engines`, `forks`, `engine` | carrying experiments out |
//! | `judge` | what came of one |
//! | `campaign`, `results`, `statistics`, `report` | all of them: their course, their folder, their page |
//!
//! **Architecture invariant:** the plan and the results depend on the sources, the emulator and the seed alone: not on the
//! engine, on the number of jobs, on shards or interruptions.

mod campaign;
mod engine;
mod engines;
mod fault;
mod forks;
mod golden;
mod guest;
mod judge;
mod layout;
mod machine;
mod model;
mod plan;
mod replay;
mod report;
mod results;
mod statistics;
mod unit;

use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};

use crate::artefact::System;
use crate::board::DEFAULT;
use crate::disk;
use crate::host;
use crate::postmortem::Executables;
use crate::qemu;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;
use campaign::Part;
use engines::{Engine, Engines};
use fault::FaultModel;
use model::Recovery;
use plan::Plan;
use results::{Campaign, Configuration, Results, Shard, summary};
use unit::Unit;

/// Mark of the table in README.md.
const MARK: &str = "inject";
/// Bytes of the disk of the workloads, at most.
const DISK_ROOM: usize = 12 << 20;
/// What the self-test of forks is done with: each way to change the machine.
const SAMPLE: [FaultModel; 6] = [
    FaultModel::Register,
    FaultModel::Flip(model::Region::Stack),
    FaultModel::Skip,
    FaultModel::Swifi(fault::Mutation::Bit),
    FaultModel::Crash(fault::Crash::DataAbort),
    FaultModel::Crash(fault::Crash::Panic),
];
/// Experiments of the self-test.
const SAMPLES: u64 = 12;
/// Experiments for each service and way to recover, if nothing else is asked for.
const COUNT: u64 = 1000;
/// The seed, likewise.
const SEED: u64 = 1;
/// Services that are tested if none is named: those with a workload.
const SERVICES: [&str; 6] = ["timer", "scheduler", "fs", "console", "store", "supervisor"];

/// Injects faults into services, a program or the kernel, and says what came of them
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Inject {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Command {
    /// Put the shards of a campaign together: the same files as of a campaign in one go
    Merge {
        /// The shards' folders
        #[arg(required = true)]
        folders: Vec<PathBuf>,
        /// Folder for the whole
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Go on although experiments are missing
        #[arg(long)]
        partial: bool,
    },
    /// Carry out one experiment again, and tell all that is seen of it
    Replay {
        /// Its name, as in results.jsonl and in the report
        id: String,
        /// Stop at the fault, and wait for gdb
        #[arg(long, conflicts_with = "trace")]
        gdb: bool,
        /// Show the instructions from the fault to the first failure
        #[arg(long)]
        trace: bool,
    },
    /// Write the report of a campaign anew, and show its table
    Report {
        /// Its folder
        folder: PathBuf,
        /// One JSON object for each service and fault model instead of a table
        #[arg(long)]
        json: bool,
        /// Write the table into README.md, too
        #[arg(long)]
        readme: bool,
    },
    /// Measure how many experiments a second each way to carry them out can do
    Rates {
        /// The service to measure with
        #[arg(long, value_name = "S", default_value = "store")]
        service: String,
        /// Experiments
        #[arg(long, value_name = "N", default_value_t = 64)]
        count: u64,
    },
    /// Services and fault models
    List,
}

#[derive(Args)]
struct Options {
    /// Service to test, `program` or `kernel`; may be given several times [default: all services with a workload]
    #[arg(long, value_name = "S")]
    service: Vec<String>,
    /// Fault model; may be given several times [default: all that apply]. See `list`
    #[arg(long, value_name = "F", hide_possible_values = true)]
    fault: Vec<FaultModel>,
    /// How the image recovers from failures; may be given several times: the ways are then compared [default: rollback]
    #[arg(long, value_name = "WAY", hide_possible_values = true)]
    recovery: Vec<Recovery>,
    /// All ways to recover: the same as naming each with --recovery
    #[arg(long, conflicts_with = "recovery")]
    baselines: bool,
    /// Experiments for each service and way to recover [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Seed of all that is random [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Experiments at the same time [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    /// Only every N-th experiment, from the I-th on: for several machines. See `merge`
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Go on with the campaign in a folder that was broken off. What is not given is as it was there
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    resume: Option<PathBuf>,
    /// Folder for the results [default: target/curios/inject/ and a number]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// One JSON object for each service and fault model instead of a table
    #[arg(long)]
    json: bool,
    /// How experiments are carried out; the results are the same
    #[arg(long, value_name = "WAY", default_value = "auto")]
    engine: Engine,
}

impl Inject {
    /// Carries out the command. Status 1 if the campaign was broken off.
    ///
    /// # Errors
    /// What the host lacks, what does not apply, what cannot be read or written.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        match self.command {
            Some(Command::Merge { folders, out, partial }) => {
                let merged = results::merge(&folders, &out, partial)?;
                merged.notices.iter().for_each(|notice| host::say(notice));
                host::say(&format!("{} experiments in {}", merged.records.len(), out.display()));
                Ok(ExitCode::SUCCESS)
            }
            Some(Command::Replay { id, gdb, trace }) => {
                let wanted = replay::Wanted::parse(&id)?;
                let setup = Setup::new(workspace, Some(1), Engine::Forks)?;
                let executables = Executables::of(&setup.system)?;
                let show = match (gdb, trace) {
                    (true, _) => replay::Show::Gdb,
                    (_, true) => replay::Show::Trace,
                    _ => replay::Show::Outcome,
                };
                replay::replay(&setup, &executables, &wanted, show)?;
                Ok(ExitCode::SUCCESS)
            }
            Some(Command::Report { folder, json, readme }) => {
                let results = Results::read(&folder)?;
                results.notices.iter().for_each(|notice| host::say(notice));
                tell(&folder, &results, json)?;
                if readme {
                    let configuration = &results.configuration;
                    let seed = configuration.seed;
                    let text = format!(
                        "\n{} experiments, seed {seed}, {} (`cargo xtask inject --count {} --seed {seed}`):\n\n{}\n",
                        results.records.len(),
                        configuration.qemu,
                        configuration.count,
                        report::table(&results)
                    );
                    workspace.replace_in_readme(MARK, &text)?;
                }
                Ok(ExitCode::SUCCESS)
            }
            Some(Command::Rates { service, count }) => rates(workspace, &service, count),
            Some(Command::List) => {
                list();
                Ok(ExitCode::SUCCESS)
            }
            None => self.options.run(workspace),
        }
    }
}

fn list() {
    println!("services:");
    unit::targets().iter().for_each(|target| println!("  {target}"));
    println!("fault models:");
    for model in FaultModel::ALL {
        println!("  {:<18} {}", model.name(), model.description());
    }
    println!("ways to recover:");
    Recovery::ALL.iter().for_each(|way| println!("  {}", way.name()));
}

/// What a campaign is about: the options, each with a value.
struct Asked {
    services: Vec<String>,
    models: Vec<FaultModel>,
    /// Whether each model must apply to each service.
    strict: bool,
    ways: Vec<Recovery>,
    count: u64,
    seed: u64,
}

/// In the order of `all`, each once: neither the order of options nor their repetition makes another campaign.
fn in_order<T: PartialEq + PartialEq<U>, U>(asked: &mut Vec<T>, all: &[U]) {
    asked.sort_by_key(|one| all.iter().position(|other| one == other));
    asked.dedup();
}

impl Options {
    /// Gives what was not asked for its value: that of the campaign which is gone on with, if there is one. What is wrong with
    /// the folders is said now, not after the golden runs.
    fn complete(&self) -> Result<Asked> {
        known(&self.service)?;
        let mut asked = Asked {
            services: self.service.clone(),
            models: self.fault.clone(),
            strict: !self.fault.is_empty(),
            ways: if self.baselines { Recovery::ALL.to_vec() } else { self.recovery.clone() },
            count: self.count.unwrap_or(COUNT),
            seed: self.seed.unwrap_or(SEED),
        };
        let mut usual = (SERVICES.map(str::to_owned).to_vec(), FaultModel::ALL.to_vec(), vec![Recovery::Rollback]);
        if let Some(folder) = &self.out {
            Campaign::vacant(folder)?;
        }
        if let Some(folder) = &self.resume {
            let Results { configuration, shard, .. } = Results::read(folder)?;
            let other = self.shard.filter(|own| *own != shard);
            ensure!(
                other.is_none(),
                "{} holds shard {shard} of its campaign: go on with it without `--shard`",
                folder.display()
            );
            let models = configuration.faults.into_iter().map(FaultModel::try_from).collect::<Result<_, _>>();
            let models = models.map_err(anyhow::Error::msg).context("this campaign cannot be gone on with")?;
            usual = (configuration.services, models, configuration.recovery);
            asked.count = self.count.unwrap_or(configuration.count);
            asked.seed = self.seed.unwrap_or(configuration.seed);
        }
        if asked.services.is_empty() {
            asked.services = usual.0;
        }
        if asked.models.is_empty() {
            asked.models = usual.1;
        }
        if asked.ways.is_empty() {
            asked.ways = usual.2;
        }
        in_order(&mut asked.services, &unit::targets());
        in_order(&mut asked.models, &FaultModel::ALL);
        in_order(&mut asked.ways, &Recovery::ALL);
        Ok(asked)
    }

    fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        let asked = self.complete()?;
        let mut setup = Setup::new(workspace, self.jobs, self.engine)?;
        let executables = Executables::of(&setup.system)?;
        let mut parts = Vec::new();
        for service in &asked.services {
            for recovery in &asked.ways {
                let bar = host::spinner(&format!("golden run of {service} ({})", recovery.name()));
                let unit = match Unit::prepare(&setup, &executables, service, *recovery) {
                    Err(_) if asked.ways.len() > 1 && unit::needs_recovery(service, *recovery) => {
                        bar.finish_and_clear();
                        host::say(&format!(
                            "{service} is left out for {}: its workload begins with failures of another service, and does \
                             not get beyond them",
                            recovery.name()
                        ));
                        continue;
                    }
                    unit => unit?,
                };
                if setup.engines.engine == Engine::Auto {
                    setup.choose(&unit, asked.seed)?;
                }
                let plan = Plan::new(&unit, &setup.engines, &asked.models, asked.strict, asked.count)?;
                bar.finish_and_clear();
                parts.push(Part { unit, plan });
            }
        }
        let configuration = asked.configuration(workspace, &setup, &parts)?;
        let folder = match (&self.resume, &self.out) {
            (Some(folder), _) | (None, Some(folder)) => folder.clone(),
            (None, None) => next_folder(workspace)?,
        };
        let (mut campaign, notices) = match &self.resume {
            Some(_) => Campaign::resume(&folder, &configuration)?,
            None => {
                let shard = self.shard.unwrap_or(Shard::WHOLE);
                (Campaign::create(&folder, &configuration, shard)?, Vec::new())
            }
        };
        notices.iter().for_each(|notice| host::say(notice));
        host::say(&format!("{} experiments, results in {}", campaign.planned(), folder.display()));
        if !campaign::carry_out(&mut campaign, &parts, &setup.engines, asked.seed)? {
            host::say(&format!(
                "broken off after {} of {} experiments; go on with `cargo xtask inject --resume {}`",
                campaign.records().len(),
                campaign.planned(),
                folder.display()
            ));
            return Ok(ExitCode::FAILURE);
        }
        let results = campaign.finish()?;
        tell(&folder, &results, self.json)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Asked {
    fn configuration(&self, workspace: &Workspace, setup: &Setup, parts: &[Part<'_>]) -> Result<Configuration> {
        let git = |arguments: &[&str]| {
            let output = host::output(Process::new("git").args(arguments).current_dir(&workspace.root)).ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let mut faults: Vec<FaultModel> = parts.iter().flat_map(|part| part.plan.models()).collect();
        faults.sort_unstable_by_key(|model| FaultModel::ALL.iter().position(|known| known == model));
        faults.dedup();
        Ok(Configuration {
            format: Configuration::FORMAT,
            commit: git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".to_owned()),
            dirty: git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty()),
            compiler: setup.compiler.clone(),
            qemu: host::first_line(Process::new(&setup.emulator).arg("--version"))
                .context("the emulator does not say its version")?,
            seed: self.seed,
            count: self.count,
            experiments: parts.iter().map(|part| part.plan.total()).sum(),
            services: self.services.clone(),
            faults: faults.iter().map(|model| model.name().to_owned()).collect(),
            recovery: self.ways.clone(),
            engine: format!("{:?}", setup.engines.engine).to_lowercase(),
            golden: parts.iter().map(|part| part.unit.told()).collect(),
        })
    }
}

/// What every experiment needs.
pub struct Setup {
    emulator: PathBuf,
    engines: Engines,
    system: System,
    disk: Vec<u8>,
    compiler: String,
}

impl Setup {
    fn new(workspace: &Workspace, jobs: Option<u32>, engine: Engine) -> Result<Setup> {
        let emulator = qemu::find()?;
        let plugin = machine::plugin(workspace)?;
        let engines = Engines { plugin, parallel: jobs.map_or_else(processors, Ok)?, engine };
        let compiler = Toolchain::find(workspace)?.identity();
        let system = System::build(workspace, DEFAULT)?;
        Ok(Setup { emulator, engines, system, disk: disk::load(None, DISK_ROOM)?, compiler })
    }

    /// Decides how experiments are carried out: by forks if that gives the same as the public interfaces.
    fn choose(&mut self, unit: &Unit<'_>, seed: u64) -> Result<()> {
        let plan = Plan::new(unit, &self.engines, &SAMPLE, false, SAMPLES)?;
        self.engines.engine = match self.engines.self_test(unit, &plan.experiments(unit, seed, 0)?)? {
            None => Engine::Forks,
            Some(why) => {
                host::say(&format!(
                    "forking the emulator does not work here ({why}): by its public interfaces, slower"
                ));
                Engine::Public
            }
        };
        Ok(())
    }
}

/// Writes the report, and shows the results.
fn tell(folder: &Path, results: &Results, json: bool) -> Result<()> {
    let page = report::write(folder, results)?;
    if json {
        print!("{}", summary::json(&summary::groups(&results.configuration, &results.records))?);
    } else {
        println!("{}\n{}", report::bars(results), report::table(results));
    }
    host::say(&format!("report: {}", page.display()));
    Ok(())
}

/// Measures the ways to carry experiments out.
fn rates(workspace: &Workspace, service: &str, count: u64) -> Result<ExitCode> {
    known(&[service.to_owned()])?;
    let setup = Setup::new(workspace, Some(1), Engine::Forks)?;
    let executables = Executables::of(&setup.system)?;
    let unit = Unit::prepare(&setup, &executables, service, Recovery::Rollback)?;
    let plan = Plan::new(&unit, &setup.engines, &FaultModel::ALL, false, count)?;
    let rates = setup.engines.rates(&unit, &plan.experiments(&unit, 1, 0)?)?;
    let plain = rates.first().map_or(1.0, |(_, rate)| *rate);
    for (way, rate) in rates {
        println!("{way:<20} {rate:8.1} experiments a second, {:5.1} times", rate / plain);
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether all of these can be tested.
fn known(services: &[String]) -> Result<()> {
    let known = unit::targets();
    for service in services {
        ensure!(known.contains(&service.as_str()), "there is no service {service}; known are {}", known.join(", "));
    }
    Ok(())
}

/// A folder that does not exist yet.
fn next_folder(workspace: &Workspace) -> Result<PathBuf> {
    let parent = workspace.products().join("inject");
    for number in 1..u32::MAX {
        let folder = parent.join(number.to_string());
        if !folder.exists() {
            return Ok(folder);
        }
    }
    bail!("{} is full of campaigns", parent.display())
}

fn processors() -> Result<u32> {
    let number = std::thread::available_parallelism().context("cannot count the processors")?;
    u32::try_from(number.get()).context("too many processors")
}
