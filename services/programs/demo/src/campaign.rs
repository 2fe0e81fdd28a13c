//! Making services fail, and watching that they recover.

use abi::failure::{FailureKind, Moment, SabotageKind};
use abi::info::{FailureInfo, ObjectInfo, ObjectState};
use abi::{Error, Sabotage};
use rt::sys;

/// The services that fail, and how many of each ten failures are theirs.
const TARGETS: [(&str, u32); 2] = [("fs", 7), ("console", 3)];
/// Ticks to wait for a failure to strike, and for its recovery.
const PATIENCE: u32 = 3000;
/// Longest pause between two failures, in ticks.
const MAX_PAUSE: u32 = 3;

/// What came of the failures of one kind.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    /// Failures that struck.
    pub injected: u32,
    /// Recoveries after them.
    pub recovered: u32,
    /// Calls that were tried again.
    pub retried: u32,
    /// Calls that ended with an error, and sessions lost.
    pub errors: u32,
    /// Failures that the kernel took for another kind than expected.
    pub mistaken: u32,
}

/// A reproducible sequence of numbers (xorshift32, Marsaglia 2003).
pub struct Random(u32);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u32) -> Self {
        Random(seed.wrapping_mul(2_654_435_761) | 1)
    }

    /// A number below `limit`, which is not 0 and at most 65,536.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        ((self.0 >> 16) * limit) >> 16
    }
}

/// The kinds in which a sabotage of this kind may be detected.
fn expected(kind: SabotageKind) -> &'static [FailureKind] {
    match kind {
        SabotageKind::Panic => &[FailureKind::Panic],
        SabotageKind::DataAbort | SabotageKind::ForeignSsr | SabotageKind::KernelWrite => &[FailureKind::DataAbort],
        SabotageKind::PrefetchAbort | SabotageKind::JumpToData => &[FailureKind::PrefetchAbort],
        SabotageKind::Undefined => &[FailureKind::Undefined],
        SabotageKind::Alignment => &[FailureKind::Alignment],
        SabotageKind::StackOverflow => &[FailureKind::StackOverflow],
        SabotageKind::EndlessLoop => &[FailureKind::Budget],
        SabotageKind::SsrHeader => &[FailureKind::SsrDamaged],
        // What a ruined allocator does first is up to it.
        SabotageKind::HeapCorruption => &[
            FailureKind::DataAbort,
            FailureKind::Panic,
            FailureKind::HeapExhausted,
            FailureKind::Alignment,
            FailureKind::Budget,
        ],
    }
}

/// The record of a service.
pub fn object(name: &str) -> Result<ObjectInfo, Error> {
    let wanted = abi::call::pack_name(name);
    let mut index = 0;
    loop {
        let info: ObjectInfo = sys::info(index)?;
        if info.name == wanted {
            return Ok(info);
        }
        index += 1;
    }
}

/// Makes one service fail once, waits until it has recovered, and counts what happened. `false`: nothing called
/// the service, so that the failure did not strike.
///
/// # Errors
/// Those of the kernel calls.
pub fn strike(random: &mut Random, kind: SabotageKind, tally: &mut Tally) -> Result<bool, Error> {
    let mut pick = random.below(10);
    let mut service = TARGETS[0].0;
    for (name, share) in TARGETS {
        service = name;
        if pick < share {
            break;
        }
        pick -= share;
    }
    let moment = [Moment::Entry, Moment::Copy, Moment::End][random.below(3) as usize];
    sys::pause(random.below(MAX_PAUSE + 1))?;
    let before = object(service)?;
    sys::sabotage(service, Sabotage { kind, moment })?;
    let mut after = before;
    for _ in 0..PATIENCE {
        sys::pause(1)?;
        after = object(service)?;
        if after.failures != before.failures && after.state != ObjectState::Recovering as u32 {
            break;
        }
    }
    if after.failures == before.failures {
        return Ok(false);
    }
    let latest: FailureInfo = sys::info(0)?;
    let known = FailureKind::from_number(latest.kind).is_some_and(|found| expected(kind).contains(&found));
    tally.injected += 1;
    tally.mistaken += u32::from(!known);
    tally.recovered += u32::from(after.state == ObjectState::Running as u32);
    tally.retried += after.retried - before.retried;
    tally.errors += after.failed_requests - before.failed_requests + after.lost_sessions - before.lost_sessions;
    Ok(true)
}
