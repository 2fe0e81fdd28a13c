//! The workload of `scheduler`: each client sets its priority, weight and slice, computes, gives the processor away, and
//! reads back what it set. All of that makes decisions; what the clients see does not depend on them.

use core::hint::black_box;

use rt::{Error, sys};
use scheduler::{PolicyKind, SchedulerClient, SchedulerError, weight_of};

use crate::course::{Course, Subject, hash_words, refused};

/// Priority of this program in its manifest: the highest that it may have.
const LIMIT: u32 = 4;
/// Rounds of setting and reading back.
const ROUNDS: u32 = 9;
/// How often the processor is given away in each of them.
const YIELDS: u32 = 3;
/// What is computed in each of them takes about ten instructions times this.
const WORK: u32 = 400;

struct Client {
    scheduler: Subject<SchedulerClient>,
    client: u32,
}

fn bind() -> Result<SchedulerClient, Error> {
    SchedulerClient::bind()
}

impl Client {
    /// Priority, weight and slice of a round.
    fn parameters(&self, round: u32) -> [u32; 3] {
        let mixed = hash_words(&[self.client, round]);
        // Neighbouring priorities: whoever is above the others is so for short, and nobody waits for a fair turn.
        [LIMIT - (mixed & 1), 1 + (mixed >> 8) % weight_of(LIMIT), 1 + (mixed >> 24) % 3]
    }

    fn set(&mut self, round: u32) {
        let [priority, weight, slice] = self.parameters(round);
        self.scheduler.call(|scheduler| {
            scheduler.set(priority, weight, slice)?;
            Ok(0.into())
        });
    }

    fn get(&mut self) {
        self.scheduler.call(|scheduler| {
            let (priority, weight, slice, limit) = scheduler.get()?;
            Ok(hash_words(&[priority, weight, slice, limit]).into())
        });
    }

    fn policy(&mut self) {
        self.scheduler.call(|scheduler| Ok((scheduler.policy()? as u32).into()));
    }

    /// Whether it was chosen no more often than there were decisions. Both begin anew when the scheduler is rebuilt.
    fn statistics(&mut self) {
        self.scheduler.call(|scheduler| {
            let (decisions, turns, _) = scheduler.statistics()?;
            Ok(u32::from(turns <= decisions).into())
        });
    }

    /// Gives the processor away and computes: one step, whose value is what was computed.
    fn work(&mut self, round: u32) {
        let client = self.client;
        self.scheduler.call(|_| {
            let mut state = client + round * 8;
            for _ in 0..YIELDS {
                sys::yield_now()?;
                for _ in 0..WORK {
                    state = black_box(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
                }
            }
            Ok(state.into())
        });
    }

    fn refused(&mut self, priority: u32, weight: u32, slice: u32, expected: SchedulerError) {
        self.scheduler.call(|scheduler| refused(scheduler.set(priority, weight, slice), expected));
    }
}

/// Sets, works, reads back; then once more with another session.
pub fn run(course: Course) {
    let client = course.client;
    let mut own = Client { scheduler: Subject::bind(course, bind), client };
    own.get();
    own.policy();
    for round in 0..ROUNDS {
        own.set(round);
        own.work(round);
        own.get();
        // What is refused changes nothing.
        match round % 4 {
            0 => own.refused(LIMIT + 1, 1, 1, SchedulerError::Priority),
            1 => own.refused(0, weight_of(LIMIT) + 1, 1, SchedulerError::Weight),
            2 => own.refused(0, 1, 0, SchedulerError::Slice),
            _ => {
                let set = |scheduler: &SchedulerClient| scheduler.set_policy(PolicyKind::Stride);
                own.scheduler.call(|scheduler| refused(set(scheduler), SchedulerError::NotAllowed));
            }
        }
        own.work(round + ROUNDS);
        own.get();
    }
    own.statistics();
    // A session begins with the manifest's values, whatever those of the one before were.
    own.scheduler.reopen();
    own.get();
    own.set(ROUNDS);
    own.work(0);

    // All that is left, at rest.
    own.get();
    own.policy();
    own.statistics();
    own.scheduler.end();
}
