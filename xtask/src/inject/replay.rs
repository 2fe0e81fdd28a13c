//! One experiment again, by its name.

use std::ops::ControlFlow;

use anyhow::{Context, Result};
use clap::ValueEnum;
use experiment::Job;
use trial::Entry;

use super::fault::FaultModel;
use super::judge::Run;
use super::model::Recovery;
use super::plan::{self, Experiment, Plan};
use super::unit::Unit;
use super::{Setup, campaign, engine};
use crate::host;
use crate::postmortem::Executables;

/// Instructions of a trace, at most.
const MAX_TRACED: u32 = 20_000;

/// What is shown of the experiment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// What came of it.
    Outcome,
    /// The machine at the fault, to gdb.
    Gdb,
    /// The instructions from the fault to the first failure.
    Trace,
}

/// The experiment that a name means.
pub struct Wanted<'i> {
    id: &'i str,
    service: &'i str,
    recovery: Recovery,
    model: FaultModel,
    seed: u64,
    number: u64,
}

impl<'i> Wanted<'i> {
    /// Takes a name apart.
    ///
    /// # Errors
    /// If there cannot be such an experiment.
    pub fn parse(id: &'i str) -> Result<Wanted<'i>> {
        let (service, recovery, model, seed, number) = plan::parse(id)?;
        super::known(&[service.to_owned()])?;
        let way = Recovery::from_str(recovery, false).ok();
        let recovery = way.with_context(|| format!("there is no way to recover {recovery}; see `inject list`"))?;
        let model = FaultModel::try_from(model.to_owned()).map_err(anyhow::Error::msg).context("see `inject list`")?;
        Ok(Wanted { id, service, recovery, model, seed, number })
    }
}

/// Carries the experiment out and tells everything that was seen of it.
///
/// # Errors
/// If there is no such experiment, or the emulator fails.
pub fn replay(setup: &Setup, executables: &Executables, wanted: &Wanted<'_>, show: Show) -> Result<()> {
    let Wanted { id, service, recovery, model, seed, number } = *wanted;
    let bar = host::spinner(&format!("golden run of {service} ({})", recovery.name()));
    let unit = Unit::prepare(setup, executables, service, recovery)?;
    let experiment = Plan::one(&unit, &setup.engines, model, seed, number)?;
    bar.finish_and_clear();
    let job = unit.job(vec![experiment.planned.clone()], 1);
    match show {
        Show::Outcome => outcome(setup, &unit, &experiment, &job),
        Show::Gdb => {
            let standing = engine::stand(&unit.machine, &unit.golden, &job)?;
            host::say(&format!("{id} at {:#x}: {:x?}", experiment.planned.pc, standing.injection));
            println!(
                "gdb-multiarch {} -ex 'target remote {}'",
                unit.executable(setup)?.display(),
                standing.socket.display()
            );
            host::say("the machine stands at the fault; it ends when gdb ends it (`kill`)");
            standing.wait()
        }
        Show::Trace => trace(&unit, &job),
    }
}

fn outcome(setup: &Setup, unit: &Unit<'_>, experiment: &Experiment, job: &Job) -> Result<()> {
    let mut seen = None;
    setup.engines.run(unit, job, &mut |_, observation| {
        seen = Some(observation);
        Ok(ControlFlow::Break(()))
    })?;
    let observation = seen.context("the experiment did not come to its end")?;
    let record = campaign::judged(unit, &unit.symbols()?, experiment, &observation)?;
    println!("{}", serde_json::to_string_pretty(&record)?);
    println!("console:");
    String::from_utf8_lossy(&observation.console).lines().for_each(|line| println!("  {}", line.trim_end()));
    let run = Run::like(&unit.run, &observation);
    for (golden, client) in unit.run.clients.iter().zip(&run.clients) {
        differences(golden.number, &golden.entries, &client.entries);
    }
    Ok(())
}

/// The instructions from the fault to the first failure, or to the bound on their number: those of the target with their lines.
fn trace(unit: &Unit<'_>, job: &Job) -> Result<()> {
    let (own, kernel) = (unit.symbols()?, unit.kernel_symbols()?);
    let (mut number, mut last) = (0, String::new());
    let within = |ranges: &[(u32, u32)], at: u32| ranges.iter().any(|(start, end)| *start <= at && at < *end);
    engine::trace(&unit.machine, &unit.golden, job, &mut |pc, physical| {
        let symbols = match physical {
            Some(at) if within(&unit.text, at) => Some(&own),
            Some(at) if within(&[job.kernel], at) => Some(&kernel),
            _ => None,
        };
        let place = symbols.and_then(|symbols| symbols.places(pc).into_iter().next()).unwrap_or_default();
        let function = place.function.unwrap_or_else(|| "elsewhere".to_owned());
        let line = place.line.map(|(file, line)| format!(" {}:{line}", file.display())).unwrap_or_default();
        let text = format!("{function}{line}");
        println!("{number:>6} {pc:#010x} {}", if text == last { "" } else { &text });
        last = text;
        number += 1;
        let failed = physical == Some(job.recorder);
        Ok(if failed || number >= MAX_TRACED { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(())
}

/// The calls of a client that did not end as in the golden run.
fn differences(client: u32, golden: &[Entry], entries: &[Entry]) {
    for entry in entries {
        let expected = golden.iter().find(|other| other.step == entry.step && other.status == 0);
        let same = expected.is_some_and(|other| (other.status, other.value) == (entry.status, entry.value));
        if !same
            && !golden
                .iter()
                .any(|other| (other.step, other.status, other.value) == (entry.step, entry.status, entry.value))
        {
            println!("client {client}: {entry:x?}, golden: {expected:x?}");
        }
    }
    if entries.len() < golden.len() {
        println!("client {client}: {} of {} entries", entries.len(), golden.len());
    }
}
