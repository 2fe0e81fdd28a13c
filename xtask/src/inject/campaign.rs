//! A campaign from its options to its results.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use experiment::{Action, Injection, Observation, Planned};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::engines::Engines;
use super::fault::describe;
use super::judge::{self, Run, Verdict};
use super::model::Outcome;
use super::plan::{Experiment, Plan};
use super::results::summary::Counts;
use super::results::{Campaign, Hex, Record, Second, When, Where};
use super::unit::Unit;
use crate::postmortem::Symbols;

/// Controls of each unit: runs without a fault, at the beginning, in the midst and at the end of the golden run.
const CONTROLS: u64 = 3;

/// A unit with its part of the plan.
pub struct Part<'s> {
    /// The unit.
    pub unit: Unit<'s>,
    /// Its experiments.
    pub plan: Plan,
}

/// Carries out what a campaign still wants. Whether it has come to its end; Ctrl-C breaks it off.
///
/// # Errors
/// If the emulator fails, a control shows an effect, or the results cannot be written.
pub fn carry_out(campaign: &mut Campaign, parts: &[Part<'_>], engine: &Engines, seed: u64) -> Result<bool> {
    let stop = Arc::new(AtomicBool::new(false));
    let handler = Arc::clone(&stop);
    ctrlc::set_handler(move || handler.store(true, Ordering::SeqCst)).context("cannot handle Ctrl-C")?;
    let bar = progress(campaign);
    let mut counts = Counts::of(campaign.records());
    let mut first = 0;
    for part in parts {
        let experiments = part.plan.experiments(&part.unit, seed, first)?;
        first += part.plan.total();
        let mut wanted: Vec<&Experiment> = experiments.iter().filter(|one| campaign.wants(one.number)).collect();
        if wanted.is_empty() {
            continue;
        }
        control(&part.unit, engine)?;
        let symbols = part.unit.symbols()?;
        wanted.sort_by_key(|one| (one.planned.at, one.number));
        let planned = wanted.iter().map(|one| one.planned.clone()).collect();
        let mut seen = 0;
        let job = part.unit.job(planned, engine.parallel);
        engine.run(&part.unit, &job, &mut |plan, observation| {
            let found = wanted.iter().find(|one| one.planned.id == plan.id).context("an unknown experiment")?;
            let record = judged(&part.unit, &symbols, found, &observation)?;
            counts.add(record.outcome);
            campaign.append(record)?;
            seen += 1;
            bar.inc(1);
            bar.set_message(told(&counts));
            Ok(if stop.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if seen < wanted.len() {
            bar.finish_and_clear();
            return Ok(false);
        }
    }
    bar.finish_and_clear();
    Ok(true)
}

fn progress(campaign: &Campaign) -> ProgressBar {
    let bar = ProgressBar::new(campaign.planned());
    bar.set_position(campaign.records().len() as u64);
    bar.reset_eta();
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec}, {eta} left; {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// The counts that matter while one watches.
fn told(counts: &Counts) -> String {
    let shown = Outcome::ALL.into_iter().filter(|outcome| counts.get(*outcome) > 0);
    shown.map(|outcome| format!("{} {outcome}", counts.get(outcome))).collect::<Vec<_>>().join(", ")
}

/// Runs the unit without a fault: the results must be the golden run's.
fn control(unit: &Unit<'_>, engine: &Engines) -> Result<()> {
    let last = unit.stream.len() as u64 - 1;
    let planned = (0..CONTROLS)
        .map(|number| {
            let at = last * number / (CONTROLS - 1);
            let pc = unit.stream[at as usize];
            Planned { id: format!("control {number}"), at, pc, action: Action::Nothing, second: None }
        })
        .collect();
    let mut seen = 0;
    engine.run(unit, &unit.job(planned, engine.parallel), &mut |plan, observation| {
        let verdict = verdict(unit, Action::Nothing, &observation)?;
        ensure!(
            verdict.outcome == Outcome::Masked,
            "{} of {} ({}), a run without a fault, is {}: {}. Nothing that is found so can be believed",
            plan.id,
            unit.service,
            unit.recovery.name(),
            verdict.outcome,
            verdict.explanation
        );
        seen += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    ensure!(seen == CONTROLS, "{seen} of {CONTROLS} runs without a fault came to their end");
    Ok(())
}

/// What came of a run.
fn verdict(unit: &Unit<'_>, action: Action, observation: &Observation) -> Result<Verdict> {
    let run = Run::like(&unit.run, observation);
    Ok(judge::judge(&unit.run, &run, &unit.struck(unit.served(observation)?, action)))
}

fn words(injection: &Injection) -> (Option<Hex>, Option<Hex>) {
    match injection {
        Injection::Done { before, after, .. } => (Some(Hex(*before)), Some(Hex(*after))),
        Injection::Failed(_) => (None, None),
    }
}

/// The line of an experiment.
pub fn judged(
    unit: &Unit<'_>,
    symbols: &Symbols<'_>,
    experiment: &Experiment,
    observation: &Observation,
) -> Result<Record> {
    let Planned { id, at, pc, action, second } = &experiment.planned;
    let served = unit.served(observation)?;
    let verdict = verdict(unit, *action, observation)?;
    let place = symbols.places(*pc).into_iter().next().unwrap_or_default();
    let (file, line) = place.line.unwrap_or_default();
    let done = match &observation.first {
        Injection::Done { action, .. } => action,
        Injection::Failed(_) => action,
    };
    let (before, after) = words(&observation.first);
    let second = second.map(|(after_failure, action)| {
        let (before, after) = observation.second.as_ref().map(words).unwrap_or_default();
        Second { after_failure, what: describe(&action, *pc, &unit.target), before, after }
    });
    let (client, method) = unit.named(served, symbols);
    Ok(Record {
        id: id.clone(),
        number: experiment.number,
        service: unit.service.clone(),
        fault: experiment.fault.name().to_owned(),
        recovery: unit.recovery,
        outcome: verdict.outcome,
        when: When { instruction: *at, of: experiment.of, pc: Hex(*pc) },
        r#where: Where {
            function: place.function.unwrap_or_default(),
            file: file.display().to_string(),
            line,
            what: describe(done, *pc, &unit.target),
        },
        client,
        method,
        before,
        after,
        second,
        detected: verdict.detected,
        reach: verdict.reach,
        explanation: verdict.explanation,
        added_us: verdict.added_us,
        late_us: verdict.late_us,
        ticks: observation.ticks,
    })
}
