//! From places in the golden run to counts of instructions, by which the emulator is told where to stop.

use std::collections::BTreeMap;

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
    /// Whether it ends with a data abort: then it is not counted.
    pub aborts: bool,
}

/// The points that a job's experiments can name.
pub struct Points<'g> {
    /// Physical addresses of the golden run's instructions, and virtual address and word of each.
    executed: &'g [u32],
    code: &'g BTreeMap<u32, (u32, u32)>,
    /// Places in the golden run of the instructions that the job counts, in order.
    counted: Vec<usize>,
    /// Places of instructions that the emulator does not count: those that ended with a data abort.
    aborted: Vec<usize>,
}

impl<'g> Points<'g> {
    /// Finds them.
    pub fn of(golden: &'g Golden, job: &Job) -> Points<'g> {
        Points::among(&golden.executed, &golden.code, job)
    }

    fn among(executed: &'g [u32], code: &'g BTreeMap<u32, (u32, u32)>, job: &Job) -> Points<'g> {
        let within = |address: &u32| job.target.iter().any(|(start, end)| start <= address && address < end);
        let counted = (0..executed.len()).filter(|place| within(&executed[*place])).collect();
        let abort = job.vectors.0 + DATA_ABORT;
        let aborted = (1..executed.len()).filter(|place| executed[*place] == abort).map(|place| place - 1).collect();
        Points { executed, code, counted, aborted }
    }

    /// The point of an experiment.
    ///
    /// # Errors
    /// If the golden run has no such point.
    pub fn point(&self, plan: &Planned) -> Result<Point, String> {
        let place = usize::try_from(plan.at).ok().and_then(|at| self.counted.get(at)).copied();
        let place = place.ok_or_else(|| format!("the golden run has no instruction {} of the target", plan.at))?;
        let physical = self.executed[place];
        let pc = self.code.get(&physical).map(|(address, _)| *address);
        let pc = pc.ok_or_else(|| format!("nobody knows the instruction at {physical:#x}"))?;
        let aborted = self.aborted.partition_point(|other| *other < place);
        let aborts = self.aborted.get(aborted) == Some(&place);
        Ok(Point { count: (place - aborted) as u64, pc, physical, aborts })
    }
}

#[cfg(test)]
mod tests {
    use experiment::Action;

    use super::*;

    /// Two instructions of a target, of which the second aborts; the kernel's vector and its handler; the second again, and a third.
    const EXECUTED: [u32; 7] = [0x100, 0x104, 0x10, 0x20, 0x24, 0x104, 0x108];

    #[test]
    fn what_aborts_is_not_counted_and_known() {
        let code = EXECUTED.iter().map(|address| (*address, (address + 0x1000, 0))).collect();
        let job = Job {
            target: vec![(0x100, 0x200)],
            vectors: (0, 0x20),
            kernel: (0, 0x100),
            recorder: 0,
            tick: 0,
            limit: 0,
            ranges: Vec::new(),
            context: Vec::new(),
            experiments: Vec::new(),
            parallel: 1,
        };
        let points = Points::among(&EXECUTED, &code, &job);
        let point = |at| points.point(&Planned { id: String::new(), at, pc: 0, action: Action::Nothing, second: None });
        let expected = |count, physical, aborts| Ok(Point { count, pc: physical + 0x1000, physical, aborts });
        assert_eq!(point(0), expected(0, 0x100, false));
        assert_eq!(point(1), expected(1, 0x104, true));
        assert_eq!(point(2), expected(4, 0x104, false));
        assert_eq!(point(3), expected(5, 0x108, false));
        assert!(point(4).is_err());
    }
}
