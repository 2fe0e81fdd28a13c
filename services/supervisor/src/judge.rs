//! What a failure means: a transient, a client's fault, or one more turn of a crash loop.
//!
//! The kernel rebuilds whatever fails at once; here it is decided whether that was once too often (MINIX 3's reincarnation
//! server: DSN'07, section 5). Only short runs in a row count, and of those only what several clients met, or none: who
//! makes a service fail over and over again is the kernel's to blame.

use rt::abi::image::Policy;
use supervisor::{MAX_TIME, MIN_HEARTBEAT};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Whose request it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The process at its outer end, 0 for none: the kernel reloads and closes sessions by itself.
    process: u32,
    /// The session, `u32::MAX` for none.
    session: u32,
}

impl Client {
    /// The client of a failure with this process (0 for none) and session (`u32::MAX` for none), if it has one.
    pub fn of(process: u32, session: u32) -> Option<Client> {
        (process != 0 || session != u32::MAX).then_some(Client { process, session })
    }

    /// Whether both can be the same client. Sessions of one process are: it could have opened them to fail under each. A session's
    /// number tells only where the process is not known, for numbers are used again.
    fn is(self, other: Client) -> bool {
        if self.process != 0 && other.process != 0 {
            return self.process == other.process;
        }
        self.session != u32::MAX && self.session == other.session
    }
}

/// The short runs in a row that a service has behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Row {
    /// The client of the latest failure that has one: its process,
    process: u32,
    /// and its session.
    session: u32,
    /// Short runs that count.
    pub short_runs: u32,
    flags: u32,
}

/// There is such a client.
const KNOWN: u32 = 1;
/// It is not the only one in this row.
const SEVERAL: u32 = 2;
/// Runs that ended under that one client were short, and not counted as long as it is the only one.
const PENDING: u32 = 4;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing.
    Transient,
    /// Nothing: the client is to blame.
    Client,
    /// Nothing yet.
    ShortRun,
    /// Hold the service for so many ticks.
    Hold(u32),
    /// Give it up.
    GiveUp,
}

impl Row {
    /// Whether this can be a row.
    pub fn is_sound(&self) -> bool {
        self.flags & !(KNOWN | SEVERAL | PENDING) == 0
            && (self.flags & KNOWN != 0 || (self.flags == 0 && self.process == 0 && self.session == 0))
            && (self.flags & SEVERAL == 0 || self.flags & PENDING == 0)
    }

    /// Judges a failure after a run of so many ticks, under this client.
    ///
    /// Failures in a row under the same client count once; and those under the first client of a row only when another one
    /// follows.
    pub fn judge(&mut self, policy: &Policy, run: u32, client: Option<Client>) -> Judgement {
        let short = run < policy.min_run;
        if !short {
            *self = Row::default();
        }
        let counts = match client {
            None => u32::from(short),
            Some(client) if self.flags & KNOWN == 0 => {
                self.flags = if short { KNOWN | PENDING } else { KNOWN };
                (self.process, self.session) = (client.process, client.session);
                0
            }
            Some(client) if client.is(Client { process: self.process, session: self.session }) => {
                if short && self.flags & SEVERAL == 0 {
                    self.flags |= PENDING;
                }
                // The kernel's own hooks do not tell the process: it is not forgotten for that.
                if client.process != 0 {
                    self.process = client.process;
                }
                self.session = client.session;
                0
            }
            Some(client) => {
                let pending = u32::from(self.flags & PENDING != 0);
                self.flags = KNOWN | SEVERAL;
                (self.process, self.session) = (client.process, client.session);
                u32::from(short) + pending
            }
        };
        self.short_runs = self.short_runs.saturating_add(counts);
        let runs = self.short_runs;
        if counts == 0 {
            return if short { Judgement::Client } else { Judgement::Transient };
        }
        if policy.max_restarts > 0 && runs >= policy.max_restarts {
            return Judgement::GiveUp;
        }
        if runs < 2 || policy.backoff == 0 {
            return Judgement::ShortRun;
        }
        let doubled = policy.backoff.saturating_mul(1u32.checked_shl(runs - 2).unwrap_or(u32::MAX));
        Judgement::Hold(doubled.min(policy.backoff_cap))
    }
}

/// Whether a policy makes sense: asked before it is changed at run time.
pub fn makes_sense(policy: &Policy) -> bool {
    let times = [policy.heartbeat, policy.min_run, policy.backoff, policy.backoff_cap];
    times.iter().all(|time| *time <= MAX_TIME)
        && policy.backoff <= policy.backoff_cap
        && (policy.heartbeat == 0 || policy.heartbeat >= MIN_HEARTBEAT)
        && policy.misses >= 1
        && policy.give_up <= 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy =
        Policy { heartbeat: 0, misses: 2, min_run: 50, max_restarts: 10, backoff: 10, backoff_cap: 100, give_up: 0 };

    fn process(number: u32) -> Option<Client> {
        Client::of(number, 3)
    }

    fn judged(failures: &[(u32, Option<Client>)]) -> Vec<Judgement> {
        let mut row = Row::default();
        failures.iter().map(|(run, client)| row.judge(&POLICY, *run, *client)).collect()
    }

    #[test]
    fn backs_off_longer_and_longer_and_gives_up() {
        use Judgement::{GiveUp, Hold, ShortRun, Transient};
        let failures: Vec<_> = [50].into_iter().chain([49; 11]).map(|run| (run, None)).collect();
        let mut expected = vec![Transient, ShortRun, Hold(10), Hold(20), Hold(40), Hold(80)];
        expected.extend([Hold(100), Hold(100), Hold(100), Hold(100), GiveUp, GiveUp]);
        assert_eq!(judged(&failures), expected);
    }

    #[test]
    fn a_long_run_ends_the_row() {
        use Judgement::{Hold, ShortRun, Transient};
        let failures = [(0, None), (0, None), (50, None), (0, None), (0, None), (1000, None)];
        assert_eq!(judged(&failures), [ShortRun, Hold(10), Transient, ShortRun, Hold(10), Transient]);
    }

    #[test]
    fn one_client_alone_is_its_own_fault() {
        use Judgement::{Client, Hold, ShortRun, Transient};
        assert_eq!(judged(&[(0, process(70)); 50]), [Client; 50]);
        let other_session = |session| (0, super::Client::of(70, session));
        assert_eq!(judged(&[other_session(1), other_session(2), other_session(3)]), [Client; 3]);
        // The second client shows that it was not the first one; each group of failures counts once.
        let failures = [(0, process(70)), (0, process(70)), (0, process(71)), (0, process(71)), (0, process(70))];
        assert_eq!(judged(&failures), [Client, Client, Hold(10), Client, Hold(20)]);
        // After a long run the first failure is no short run, so only the second client's counts.
        assert_eq!(judged(&[(60, process(70)), (0, process(71))]), [Transient, ShortRun]);
        assert_eq!(judged(&[(60, process(70)), (0, process(70)), (0, process(71))]), [Transient, Client, Hold(10)]);
        // A failure under nobody counts by itself.
        assert_eq!(judged(&[(0, process(70)), (0, None), (0, process(70))]), [Client, ShortRun, Client]);
    }

    #[test]
    fn clients_are_known_by_process_or_session() {
        use Judgement::Client;
        assert_eq!(super::Client::of(0, u32::MAX), None);
        let judged = |clients: &[(u32, u32)]| -> Vec<Judgement> {
            judged(
                &clients
                    .iter()
                    .map(|(process, session)| (0, super::Client::of(*process, *session)))
                    .collect::<Vec<_>>(),
            )
        };
        // A method fails, then the reload of its session, then a method under another session of the same process.
        assert_eq!(judged(&[(70, 3), (0, 3), (70, 4), (0, 4), (70, u32::MAX)]), [Client; 5]);
        assert_eq!(judged(&[(0, 3), (0, 3)]), [Client; 2]);
        for other in [(71, 4), (0, 4), (71, u32::MAX)] {
            assert_eq!(judged(&[(70, 3), other])[1], Judgement::Hold(10), "{other:?}");
        }
    }

    #[test]
    fn what_a_policy_leaves_out_does_not_happen() {
        let mut row = Row::default();
        for policy in [Policy { min_run: 0, ..POLICY }, Policy { max_restarts: 0, backoff: 0, ..POLICY }] {
            for _ in 0..100 {
                let judgement = row.judge(&policy, 0, None);
                assert!(matches!(judgement, Judgement::Transient | Judgement::ShortRun), "{judgement:?}");
            }
        }
        let endless = Policy { max_restarts: 0, ..POLICY };
        assert!((0..100).all(|_| row.judge(&endless, 0, None) == Judgement::Hold(100)));
        assert_eq!(Row::default().judge(&Policy { max_restarts: 1, ..POLICY }, 0, None), Judgement::GiveUp);
    }

    #[test]
    fn nonsense_is_no_policy() {
        assert!(makes_sense(&POLICY));
        for policy in [
            Policy { backoff: 101, ..POLICY },
            Policy { backoff_cap: MAX_TIME + 1, ..POLICY },
            Policy { heartbeat: MIN_HEARTBEAT - 1, ..POLICY },
            Policy { misses: 0, ..POLICY },
            Policy { min_run: MAX_TIME + 1, ..POLICY },
            Policy { give_up: 2, ..POLICY },
        ] {
            assert!(!makes_sense(&policy), "{policy:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever happens, a row is sound, holds keep to the cap, and what one client alone does never counts.
        #[test]
        fn rows_stay_sound(
            failures in proptest::collection::vec((0u32..100, proptest::option::of(60u32..63)), 0..40),
            max_restarts in 0u32..6,
            backoff in 0u32..5000,
        ) {
            let policy = Policy { max_restarts, backoff, backoff_cap: 5000, ..POLICY };
            let mut row = Row::default();
            let mut clients = std::collections::BTreeSet::new();
            for (run, number) in failures {
                let client = number.and_then(process);
                let before = row.short_runs;
                let judgement = row.judge(&policy, run, client);
                prop_assert!(row.is_sound());
                if run >= policy.min_run {
                    clients.clear();
                    prop_assert_eq!(judgement, Judgement::Transient);
                    prop_assert_eq!(row.short_runs, 0);
                }
                clients.insert(number);
                if let Judgement::Hold(ticks) = judgement {
                    prop_assert!(ticks >= backoff && ticks <= 5000 && row.short_runs >= 2);
                }
                if number.is_some() && clients.len() == 1 {
                    prop_assert_eq!(row.short_runs, 0);
                }
                if run < policy.min_run && number.is_none() {
                    prop_assert_eq!(row.short_runs, before + 1);
                }
                prop_assert_eq!(judgement == Judgement::GiveUp, max_restarts > 0 && row.short_runs >= max_restarts
                    && row.short_runs > if run < policy.min_run { before } else { 0 });
            }
        }
    }
}
