//! Making services fail, and watching that they recover.

use abi::failure::{FailureKind, Moment, SabotageKind};
use abi::info::{FailureInfo, ObjectInfo, ObjectState, ProcessInfo};
use abi::{Error, Hook, Sabotage};
use rt::{CallError, sys};
use supervisor::{LogEntry, SupervisorClient, SupervisorError};
use zerocopy::{FromZeros, IntoBytes};

/// The service that nobody but the demonstration itself calls.
const QUIET: &str = "supervisor";
/// The services that fail.
pub const TARGETS: [&str; 6] = ["fs", "console", "timer", "scheduler", QUIET, "store"];
/// How many of each [`SHARES`] failures are theirs.
const SHARE: [u32; TARGETS.len()] = [5, 2, 3, 2, 2, 2];
/// The sum of all shares.
const SHARES: u32 = 16;
/// The most services that fail at once.
const MAX_GROUP: u32 = 4;
/// Ticks to wait for a failure to strike, and for its recovery.
const PATIENCE: u32 = 5000;
/// Longest pause between two failures, in ticks.
const MAX_PAUSE: u32 = 3;
/// Ticks for which a service is spared after two failures in a row under the same process. A request that fails three times
/// ends with an error, as it should; and its client tries again only when it has the processor.
const REST: u64 = 30;
/// The same if that process is one of those that compute below all others: so long it may have to wait for its turn.
const LONG_REST: u64 = MAX_GAP as u64;
/// The longest time for which a program that computes may not run, in ticks of a millisecond.
pub const MAX_GAP: u32 = 1_000;
/// Failures that the kernel remembers.
const RING: u32 = 32;

/// What came of some of the failures.
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

impl Tally {
    /// Adds another one.
    pub fn add(&mut self, other: &Tally) {
        self.injected += other.injected;
        self.recovered += other.recovered;
        self.retried += other.retried;
        self.errors += other.errors;
        self.mistaken += other.mistaken;
    }
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

/// Whether a sabotage of this kind may be detected so.
fn is_expected(kind: SabotageKind, failure: &FailureInfo) -> bool {
    let upcall = [Hook::Event, Hook::Decide].into_iter().any(|hook| failure.method == 0x8000_0000 | hook as u32);
    let expected: &[FailureKind] = match kind {
        SabotageKind::Panic => &[FailureKind::Panic],
        SabotageKind::DataAbort | SabotageKind::ForeignSsr | SabotageKind::KernelWrite => &[FailureKind::DataAbort],
        SabotageKind::PrefetchAbort | SabotageKind::JumpToData => &[FailureKind::PrefetchAbort],
        SabotageKind::Undefined => &[FailureKind::Undefined],
        SabotageKind::Alignment => &[FailureKind::Alignment],
        SabotageKind::StackOverflow => &[FailureKind::StackOverflow],
        SabotageKind::EndlessLoop => &[FailureKind::Budget],
        // An upcall has no session open: there is no header to overwrite.
        SabotageKind::SsrHeader if upcall => &[FailureKind::DataAbort],
        SabotageKind::SsrHeader => &[FailureKind::SsrDamaged],
        // What a ruined allocator does first is up to it.
        SabotageKind::HeapCorruption => &[
            FailureKind::DataAbort,
            FailureKind::Panic,
            FailureKind::HeapExhausted,
            FailureKind::Alignment,
            FailureKind::Budget,
        ],
    };
    FailureKind::from_number(failure.kind).is_some_and(|found| expected.contains(&found))
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

/// Whether a process is one of those that compute.
fn computes(process: u32) -> bool {
    let wanted = abi::call::pack_name("spinner");
    (0..)
        .map_while(|slot| sys::info::<ProcessInfo>(slot).ok())
        .any(|info| info.process == process && info.name == wanted)
}

/// The latest failure of a service, if the kernel remembers it.
fn latest(name: &str) -> Option<FailureInfo> {
    let wanted = abi::call::pack_name(name);
    (0..RING).filter_map(|back| sys::info::<FailureInfo>(back).ok()).find(|failure| failure.object == wanted)
}

/// One service of those that fail at once.
struct Victim {
    target: usize,
    kind: usize,
    before: ObjectInfo,
    after: ObjectInfo,
}

impl Victim {
    fn has_failed(&self) -> bool {
        self.after.failures != self.before.failures
    }

    /// Whether it has failed and runs again.
    fn has_recovered(&self) -> bool {
        self.has_failed() && self.after.state == ObjectState::Running as u32
    }

    /// What came of its failure.
    fn count(&self, failure: Option<FailureInfo>) -> Tally {
        let (before, after) = (&self.before, &self.after);
        let known = failure.is_some_and(|failure| is_expected(SabotageKind::ALL[self.kind], &failure));
        Tally {
            injected: 1,
            recovered: u32::from(self.has_recovered()),
            retried: after.retried - before.retried,
            errors: after.failed_requests - before.failed_requests + after.lost_sessions - before.lost_sessions,
            mistaken: u32::from(!known),
        }
    }
}

/// The failures so far.
pub struct Campaign<'a> {
    random: Random,
    supervisor: &'a SupervisorClient,
    /// Of each service, the process under which it failed last, 0 for none.
    blamed: [u32; TARGETS.len()],
    /// Until when each service is spared, in milliseconds since boot.
    spared: [u64; TARGETS.len()],
    /// Failures that struck.
    pub number: u32,
    /// Of these, how many came together with others.
    pub together: u32,
    /// What came of them by [`SabotageKind`], in the order of its numbers.
    pub kinds: [Tally; SabotageKind::ALL.len()],
    /// And by [`TARGETS`].
    pub services: [Tally; TARGETS.len()],
}

impl<'a> Campaign<'a> {
    /// None so far.
    pub fn new(seed: u32, supervisor: &'a SupervisorClient) -> Self {
        Campaign {
            random: Random::new(seed),
            supervisor,
            blamed: [0; TARGETS.len()],
            spared: [0; TARGETS.len()],
            number: 0,
            together: 0,
            kinds: [Tally::default(); SabotageKind::ALL.len()],
            services: [Tally::default(); TARGETS.len()],
        }
    }

    /// A service that is neither among these nor spared, by the shares; `None` if there is no such one.
    fn pick(&mut self, taken: &[Option<Victim>], now: u64) -> Option<usize> {
        let spared = self.spared;
        let free =
            |target: usize| spared[target] <= now && taken.iter().flatten().all(|victim| victim.target != target);
        if !(0..TARGETS.len()).any(free) {
            return None;
        }
        loop {
            let mut pick = self.random.below(SHARES);
            let mut target = 0;
            while pick >= SHARE[target] {
                pick -= SHARE[target];
                target += 1;
            }
            if free(target) {
                return Some(target);
            }
        }
    }

    /// Makes one service fail once, or each of several at the same time, `most` at most. Waits until all have recovered, and counts
    /// what happened. Returns how many did not fail, because nothing called them.
    ///
    /// # Errors
    /// Those of the kernel calls, and what the supervisor says.
    pub fn strike(&mut self, most: u32) -> Result<u32, CallError<SupervisorError>> {
        let several = self.random.below(4) == 0;
        let group = if several { 2 + self.random.below(MAX_GROUP - 1) } else { 1 }.min(most);
        let mut victims = [const { None }; MAX_GROUP as usize];
        sys::pause(self.random.below(MAX_PAUSE + 1))?;
        let now = sys::time_us()? / 1_000;
        for index in 0..group as usize {
            let Some(target) = self.pick(&victims, now) else { break };
            let kind = (self.number as usize + index) % SabotageKind::ALL.len();
            let before = object(TARGETS[target])?;
            victims[index] = Some(Victim { target, kind, before, after: before });
        }
        for victim in victims.iter().flatten() {
            let moment = [Moment::Entry, Moment::Copy, Moment::End][self.random.below(3) as usize];
            sys::sabotage(TARGETS[victim.target], Sabotage { kind: SabotageKind::ALL[victim.kind], moment })?;
        }
        for _ in 0..PATIENCE {
            sys::pause(1)?;
            for victim in victims.iter_mut().flatten() {
                victim.after = object(TARGETS[victim.target])?;
                if TARGETS[victim.target] == QUIET && !victim.has_failed() {
                    self.supervisor.log(0, LogEntry::new_zeroed().as_mut_bytes())?;
                }
            }
            if victims.iter().flatten().all(Victim::has_recovered) {
                break;
            }
        }
        let mut missed = 0;
        let now = sys::time_us()? / 1_000;
        let group = victims.iter().flatten().count();
        for victim in victims.iter().flatten() {
            if !victim.has_failed() {
                missed += 1;
                continue;
            }
            let failure = latest(TARGETS[victim.target]);
            let process = failure.map_or(0, |failure| failure.process);
            if process != 0 && process == self.blamed[victim.target] {
                self.spared[victim.target] = now + if computes(process) { LONG_REST } else { REST };
            }
            self.blamed[victim.target] = process;
            let tally = victim.count(failure);
            self.number += 1;
            self.together += u32::from(group > 1);
            self.kinds[victim.kind].add(&tally);
            self.services[victim.target].add(&tally);
        }
        Ok(missed)
    }
}
