//! One experiment again, by its name.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use trial::Entry;

use super::campaign;
use super::engines::Engines;
use super::fault::FaultModel;
use super::judge::Run;
use super::model::Recovery;
use super::plan::{self, Plan};
use super::unit::{self, Unit};
use crate::artefact::System;
use crate::host;
use crate::postmortem::Executables;

/// Carries the experiment out and tells everything that was seen of it.
///
/// # Errors
/// If there is no such experiment, or the emulator fails.
pub fn replay(
    system: &System,
    executables: &Executables,
    emulator: &Path,
    engine: &Engines,
    disk: &[u8],
    id: &str,
) -> Result<()> {
    let (service, recovery, model, seed, number) = plan::parse(id)?;
    ensure!(unit::targets().contains(&service), "there is no service {service}");
    let recovery = Recovery::from_str(recovery, false).map_err(anyhow::Error::msg)?;
    let model = FaultModel::try_from(model.to_owned()).map_err(anyhow::Error::msg)?;
    let bar = host::spinner(&format!("golden run of {service} ({})", recovery.name()));
    let unit = Unit::prepare(system, executables, emulator, &engine.plugin, disk, service, recovery)?;
    let experiment = Plan::one(&unit, engine, model, seed, number)?;
    bar.finish_and_clear();
    let symbols = unit.symbols()?;
    let target = if model.strikes_kernel() { unit.interrupt_points() } else { unit.text.clone() };
    let mut seen = None;
    engine.run(&unit, &unit.job(target, vec![experiment.planned.clone()], 1), &mut |_, observation| {
        seen = Some(observation);
        Ok(ControlFlow::Break(()))
    })?;
    let observation = seen.context("the experiment did not come to its end")?;
    let record = campaign::judged(&unit, &symbols, &experiment, &observation)?;
    println!("{}", serde_json::to_string_pretty(&record)?);
    println!("console:");
    String::from_utf8_lossy(&observation.console).lines().for_each(|line| println!("  {}", line.trim_end()));
    let run = Run::like(&unit.run, &observation);
    for (golden, client) in unit.run.clients.iter().zip(&run.clients) {
        differences(golden.number, &golden.entries, &client.entries);
    }
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
