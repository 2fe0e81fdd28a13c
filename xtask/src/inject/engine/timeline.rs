//! From places in the golden run to counts of instructions, by which the emulator is told where to stop.

use anyhow::{Context, Result, ensure};
use experiment::{Job, Planned};

use crate::inject::golden::Golden;

/// `dbg #7`, the mark that the golden run begins with (`trial::mark`).
const BEGIN: u32 = trial::mark::BEGIN;
/// Offset of the vector of data aborts (ARM ARM, B1.8.1).
const DATA_ABORT: u32 = 0x10;

/// Where the golden run begins: virtual address of the mark.
///
/// # Errors
/// If it does not begin with the mark.
pub fn begin(golden: &Golden) -> Result<u32> {
    let first = golden.executed.first().and_then(|physical| golden.code.get(physical));
    let (address, word) = first.context("the golden run is empty")?;
    ensure!(*word == BEGIN, "the golden run does not begin with its mark");
    Ok(*address)
}

/// A point of the golden run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Instructions that the emulator has counted from the begin mark (included) to here.
    pub count: u64,
    /// Virtual address of the instruction there.
    pub pc: u32,
    /// Its physical address.
    pub physical: u32,
}

/// The points that a job's experiments can name.
pub struct Points<'g> {
    golden: &'g Golden,
    /// Places in the golden run of the instructions that the job counts, in order.
    counted: Vec<usize>,
    /// Places of instructions that the emulator does not count: those that ended with a data abort.
    aborted: Vec<usize>,
}

impl<'g> Points<'g> {
    /// Finds them.
    pub fn of(golden: &'g Golden, job: &Job) -> Points<'g> {
        let within = |address: &u32| job.target.iter().any(|(start, end)| start <= address && address < end);
        let executed = &golden.executed;
        let counted = (0..executed.len()).filter(|place| within(&executed[*place])).collect();
        let abort = job.vectors.0 + DATA_ABORT;
        let aborted = (1..executed.len()).filter(|place| executed[*place] == abort).map(|place| place - 1).collect();
        Points { golden, counted, aborted }
    }

    /// The point of an experiment.
    ///
    /// # Errors
    /// If the golden run has no such point.
    pub fn point(&self, plan: &Planned) -> Result<Point, String> {
        let place = usize::try_from(plan.at).ok().and_then(|at| self.counted.get(at)).copied();
        let place = place.ok_or_else(|| format!("the golden run has no instruction {} of the target", plan.at))?;
        let physical = self.golden.executed[place];
        let pc = self.golden.code.get(&physical).map(|(address, _)| *address);
        let pc = pc.ok_or_else(|| format!("nobody knows the instruction at {physical:#x}"))?;
        let aborted = self.aborted.partition_point(|other| *other < place);
        Ok(Point { count: (place - aborted) as u64, pc, physical })
    }
}
