//! The plan of a campaign: which experiments there are, in which order, and what each of them does.
//!
//! It depends on the images, the golden runs and the seed alone: whoever computes it, on whichever machine and for whichever
//! shard, gets the same one.

use std::ops::ControlFlow;

use anyhow::{Context, Result, bail, ensure};
use experiment::{Action, Injection, Planned};

use super::engines::Engines;
use super::fault::{Candidates, FaultModel, Interrupts, Seed, interrupts_in};
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
    interrupts: Interrupts,
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

/// Finds the interrupts of the target: looks at the registers wherever one of its hooks is entered.
fn survey(unit: &Unit<'_>, engine: &Engines) -> Result<Interrupts> {
    let (Some(domain), Some(hook)) = (unit.domain, unit.target.hook) else { return Ok(Interrupts::default()) };
    let entries = (0..).zip(&unit.stream).filter(|(_, pc)| **pc == hook).map(|(at, _)| at);
    let look = |at| Planned { id: format!("look {at}"), at, pc: hook, action: Action::Look, second: None };
    let mut upcalls = Vec::new();
    engine.run(unit, &unit.job(entries.map(look).collect(), engine.parallel), &mut |plan, seen| {
        if let Injection::Done { registers, .. } = &seen.first
            && let Some(bits) = interrupts_in(registers)
        {
            upcalls.push((u32::try_from(plan.at).context("the golden run is too long")?, bits));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    upcalls.sort_unstable();
    Ok(Interrupts { upcalls, waiting: unit.kernel.waiting_events(domain) })
}

impl Plan {
    /// Shares `count` experiments among fault models: those of `asked` that apply to the unit. If `strict`, they all must.
    ///
    /// # Errors
    /// If a model must apply and does not, and why; if none does.
    pub fn new(unit: &Unit<'_>, engine: &Engines, asked: &[FaultModel], strict: bool, count: u64) -> Result<Plan> {
        let needed = asked.iter().any(|model| model.needs_interrupts() && model.applies(&unit.target).is_ok());
        let interrupts = if needed { survey(unit, engine)? } else { Interrupts::default() };
        let mut plan = Plan { counts: Vec::new(), interrupts };
        let mut fitting = Vec::new();
        for model in asked {
            match plan.with_candidates(unit, *model, |_| ()) {
                Ok(()) => fitting.push(*model),
                Err(why) => ensure!(!strict, "{model} does not apply: {why}"),
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
        Candidates::new(model, &unit.target, &unit.stream, &self.interrupts).map(|candidates| then(&candidates))
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
                (0..*count).map(|number| draw(unit, *model, candidates, seed, number)).collect::<Vec<_>>()
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
        let plan = Plan::new(unit, engine, &[model], true, 1)?;
        let drawn = plan.with_candidates(unit, model, |candidates| draw(unit, model, candidates, seed, number));
        let (planned, of) = drawn.map_err(anyhow::Error::msg)?;
        Ok(Experiment { number: 0, fault: model, planned, of })
    }
}

fn draw(unit: &Unit<'_>, model: FaultModel, candidates: &Candidates<'_>, seed: u64, number: u64) -> (Planned, u64) {
    // The same faults for all ways to recover: they are compared with each other.
    let drawn = candidates.draw(&Seed { campaign: seed, service: &unit.service, number });
    let id = name(unit, model, seed, number);
    let planned = Planned { id, at: drawn.at, pc: drawn.pc, action: drawn.action, second: drawn.second };
    (planned, unit.stream.len() as u64)
}
