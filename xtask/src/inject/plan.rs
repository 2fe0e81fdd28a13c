//! The plan of a campaign: which experiments there are, in which order, and what each of them does.
//!
//! It depends on the images, the golden runs and the seed alone: whoever computes it, on whichever machine and for whichever
//! shard, gets the same one.

use std::ops::ControlFlow;

use anyhow::{Result, bail, ensure};
use experiment::{Action, Injection, Planned};

use super::engines::Engines;
use super::fault::{Candidates, FaultModel, Seed, is_interrupt};
use super::unit::Unit;

/// An experiment of the plan.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Its place in the plan of the whole campaign.
    pub number: u64,
    /// The fault model.
    pub fault: FaultModel,
    /// What is done, when and where.
    pub planned: Planned,
    /// Instructions that it could have struck: those counted by [`Planned::at`].
    pub of: u64,
}

/// The experiments of one unit: those of each fault model, one model after the other.
pub struct Plan {
    /// The models that apply, with the number of experiments of each.
    counts: Vec<(FaultModel, u64)>,
    calls: Calls,
}

/// Calls of the kernel's function that gives domains their events.
#[derive(Default)]
struct Calls {
    /// How many there are in the golden run.
    all: u64,
    /// Ordinals of those that tell the target of an interrupt.
    interrupts: Vec<u64>,
}

/// The name of an experiment: all that a replay needs to know.
pub fn name(unit: &Unit<'_>, model: FaultModel, seed: u64, number: u64) -> String {
    format!("{}.{}.{model}.{seed}.{number}", unit.service, unit.recovery.name())
}

/// The parts of such a name: service, way to recover, fault model, seed, number.
///
/// # Errors
/// If it is none.
pub fn parse(id: &str) -> Result<(&str, &str, &str, u64, u64)> {
    let parts: Vec<&str> = id.split('.').collect();
    if let [service, recovery, model, seed, number] = parts[..]
        && let (Ok(seed), Ok(number)) = (seed.parse(), number.parse())
    {
        return Ok((service, recovery, model, seed, number));
    }
    bail!(
        "{id} is no experiment's name: they look like store.rollback.register.1.17 and stand in results.jsonl and in the report"
    )
}

/// Finds the calls that are interrupts of the target: looks at the registers of each call.
fn survey(unit: &Unit<'_>, engine: &Engines) -> Result<Calls> {
    let Some(domain) = unit.domain else { return Ok(Calls::default()) };
    let post = (unit.kernel.post, unit.kernel.post + 4);
    let all = unit.golden.stream(&[post]).len() as u64;
    let look = |at| Planned { id: format!("look {at}"), at, pc: post.0, action: Action::Look, second: None };
    let mut interrupts = Vec::new();
    engine.run(unit, &unit.job(vec![post], (0..all).map(look).collect(), engine.parallel), &mut |plan, seen| {
        if let Injection::Done { registers, .. } = &seen.first
            && is_interrupt(registers, domain)
        {
            interrupts.push(plan.at);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    interrupts.sort_unstable();
    Ok(Calls { all, interrupts })
}

impl Plan {
    /// Shares `count` experiments among the fault models: those `named`, or all that apply to the unit.
    ///
    /// # Errors
    /// If a model that is named does not apply, and why.
    pub fn new(unit: &Unit<'_>, engine: &Engines, named: &[FaultModel], count: u64) -> Result<Plan> {
        let asked = if named.is_empty() { &FaultModel::ALL[..] } else { named };
        let calls = asked.iter().any(|model| model.strikes_kernel() && model.applies(&unit.target).is_ok());
        let calls = if calls { survey(unit, engine)? } else { Calls::default() };
        let mut plan = Plan { counts: Vec::new(), calls };
        let mut fitting = Vec::new();
        for model in asked {
            match plan.with_candidates(unit, *model, |_| ()) {
                Ok(()) => fitting.push(*model),
                Err(why) => ensure!(named.is_empty(), "{model} does not apply: {why}"),
            }
        }
        ensure!(!fitting.is_empty(), "no fault model applies to {}", unit.service);
        let (each, more) = (count / fitting.len() as u64, count % fitting.len() as u64);
        let counts = (0..).zip(fitting).map(|(place, model)| (model, each + u64::from(place < more)));
        plan.counts = counts.filter(|(_, count)| *count > 0).collect();
        Ok(plan)
    }

    /// The instructions that a model can strike in a unit.
    fn with_candidates<T>(
        &self,
        unit: &Unit<'_>,
        model: FaultModel,
        then: impl FnOnce(&Candidates<'_>) -> T,
    ) -> Result<T, String> {
        let calls = vec![unit.kernel.post; self.calls.interrupts.len()];
        let executed = if model.strikes_kernel() { &calls } else { &unit.stream };
        Candidates::new(model, &unit.target, executed).map(|candidates| then(&candidates))
    }

    /// The models that apply.
    pub fn models(&self) -> impl Iterator<Item = FaultModel> {
        self.counts.iter().map(|(model, _)| *model)
    }

    /// Experiments in all.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// The experiments, of which the first has this `number` in the whole campaign.
    ///
    /// # Errors
    /// If the unit is another one than the plan was made for.
    pub fn experiments(&self, unit: &Unit<'_>, seed: u64, first: u64) -> Result<Vec<Experiment>> {
        let mut experiments = Vec::new();
        for (model, count) in &self.counts {
            let drawn = self.with_candidates(unit, *model, |candidates| {
                (0..*count).map(|number| self.draw(unit, *model, candidates, seed, number)).collect::<Vec<_>>()
            });
            for (planned, of) in drawn.map_err(anyhow::Error::msg)? {
                experiments.push(Experiment { number: first + experiments.len() as u64, fault: *model, planned, of });
            }
        }
        Ok(experiments)
    }

    /// One experiment by its number among those of its model.
    ///
    /// # Errors
    /// If the model does not apply.
    pub fn one(unit: &Unit<'_>, engine: &Engines, model: FaultModel, seed: u64, number: u64) -> Result<Experiment> {
        let plan = Plan::new(unit, engine, &[model], 1)?;
        let drawn = plan.with_candidates(unit, model, |candidates| plan.draw(unit, model, candidates, seed, number));
        let (planned, of) = drawn.map_err(anyhow::Error::msg)?;
        Ok(Experiment { number: 0, fault: model, planned, of })
    }

    fn draw(
        &self,
        unit: &Unit<'_>,
        model: FaultModel,
        candidates: &Candidates<'_>,
        seed: u64,
        number: u64,
    ) -> (Planned, u64) {
        // The same faults for all ways to recover: they are compared with each other.
        let drawn = candidates.draw(&Seed { campaign: seed, service: &unit.service, number });
        let calls = &self.calls;
        let (at, of) = match model.strikes_kernel() {
            true => (calls.interrupts.get(drawn.at as usize).copied().unwrap_or(calls.all), calls.all),
            false => (drawn.at, unit.stream.len() as u64),
        };
        let id = name(unit, model, seed, number);
        (Planned { id, at, pc: drawn.pc, action: drawn.action, second: drawn.second }, of)
    }
}
