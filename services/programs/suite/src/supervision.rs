//! The supervisor: what it makes of failures, what it does about them, what it remembers, and its own failures.

use alloc::vec::Vec;

use hostile::Role;
use racer::Run;
use rt::abi::failure::{Moment, SabotageKind};
use rt::abi::info::ObjectState;
use rt::abi::{FailureKind, Sabotage};
use rt::{CallError, Error, sys};
use supervisor::{LogEntry, PolicyField, ServiceInfo, Standing, SupervisorClient, SupervisorError, Verdict};
use tally::TallyClient;
use victim::{Attack, VictimClient};
use zerocopy::IntoBytes;

use crate::check::{Check, Suite, Why, ensure, equal, fail, get};
use crate::clients;
use crate::world::{Before, Witness, failure, kernel, object, process, wait_until};

/// Services that the other tests make fail as often as they like.
const SACRIFICIAL: [&str; 10] =
    ["victim", "vault", "ledger", "lazy", "bare", "mayfly", "relay", "tally", "timer", "store"];

/// Has the supervisor leave the sacrificial services to the kernel.
pub fn prepare(suite: &mut Suite) {
    suite.run("supervisor: policies are changed at run time", || {
        for service in SACRIFICIAL {
            set(service, &[(PolicyField::MinRun, 0)])?;
        }
        Ok(())
    });
}

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    suite.run("supervisor: a crash loop is held, then given up, and started anew", crash_loop);
    suite.run("supervisor: failures far apart are transients", transients);
    suite.run("supervisor: what one client alone meets is its own fault", own_fault);
    suite.run("supervisor: who cannot answer is restarted, and that is told", unanswered);
    suite.run("supervisor: a restart without a fault is no failure", restart);
    suite.run("supervisor: a stopped service keeps its sessions", stop_and_start);
    suite.run("supervisor: orders and policies that make no sense are refused", refused);
    suite.run("supervisor: the log has every failure once, in order", log);
    for &kind in SabotageKind::ALL {
        for moment in [Moment::Entry, Moment::End] {
            suite.run(format_args!("supervisor: fails itself, {} at {moment:?}", kind.name()), || own(kind, moment));
        }
    }
    suite.run("supervisor: fails itself while a service is held", own_while_held);
    suite.run("supervisor: twenty failures of its own in a row", own_often);
}

/// A session with the supervisor.
fn bind() -> Result<SupervisorClient, Why> {
    Ok(get!(SupervisorClient::bind(), "bind to the supervisor"))
}

/// Changes the policy of a service.
fn set(service: &str, values: &[(PolicyField, u32)]) -> Check {
    let supervisor = bind()?;
    for (field, value) in values {
        get!(supervisor.set_policy(*field, *value, service.as_bytes()), "{} of {service} = {value}", field.name());
    }
    Ok(())
}

/// What the supervisor says of a service.
fn show(service: &str) -> Result<ServiceInfo, Why> {
    let mut info = ServiceInfo::default();
    get!(bind()?.show(service.as_bytes(), info.as_mut_bytes()), "show {service}");
    Ok(info)
}

fn standing(service: &str, standing: Standing) -> bool {
    show(service).is_ok_and(|info| info.standing == standing as u32)
}

fn state(service: &str, state: ObjectState) -> bool {
    object(service).is_ok_and(|info| info.state == state as u32)
}

/// The latest entries of the log, latest first.
fn latest<const N: usize>() -> Result<Vec<LogEntry>, Why> {
    let mut entries = [LogEntry::default(); N];
    let count = get!(bind()?.log(0, entries.as_mut_bytes()), "log");
    Ok(entries[..count as usize].to_vec())
}

/// A service that the supervisor leaves to the kernel for a while.
pub struct Lenient(&'static str);

/// Has the supervisor leave a service to the kernel.
pub fn lenient(service: &'static str) -> Result<Lenient, Why> {
    set(service, &[(PolicyField::MinRun, 0)])?;
    Ok(Lenient(service))
}

impl Lenient {
    /// It has the policy of its manifest again.
    pub fn end(self) -> Check {
        get!(bind()?.reset_policy(self.0.as_bytes()), "reset_policy");
        Ok(())
    }
}

/// Has a policy in force while `body` runs; then the service runs, and is left to the kernel.
fn with_policy(service: &str, values: &[(PolicyField, u32)], body: impl FnOnce() -> Check) -> Check {
    set(service, values)?;
    let result = body();
    let supervisor = bind()?;
    // Refused if it runs, which is as well.
    let _ = supervisor.start(service.as_bytes());
    get!(supervisor.reset_policy(service.as_bytes()), "reset_policy");
    set(service, &[(PolicyField::MinRun, 0)])?;
    wait_until("a service that runs", || state(service, ObjectState::Running))?;
    result
}

/// Makes a service fail under nobody's request, at its next self-test.
fn fail_alone(service: &str) -> Check {
    let before = object(service)?.failures;
    get!(sys::sabotage(service, Sabotage { kind: SabotageKind::Panic, moment: Moment::End }), "sabotage");
    wait_until("a failure at a self-test", || object(service).is_ok_and(|info| info.failures > before))
}

/// Makes a service fail under a request, which is tried again and goes well.
fn fail_once(client: &VictimClient) -> Check {
    let builds = get!(client.state(), "state").3;
    get!(client.attack(Attack::Panic, 0, builds + 1), "a request that fails once");
    Ok(())
}

/// What the supervisor made of the latest failure.
fn verdict() -> Result<Verdict, Why> {
    let number = failure(0)?.number;
    let mut found = None;
    wait_until("the supervisor's verdict", || {
        found = latest::<1>().ok().and_then(|entries| entries.first().copied());
        found.is_some_and(|entry| entry.number == number)
    })?;
    match found.and_then(|entry| Verdict::ALL.get(entry.verdict as usize)) {
        Some(verdict) => Ok(*verdict),
        None => fail!("an entry of the log without a verdict"),
    }
}

fn crash_loop() -> Check {
    let client = get!(VictimClient::bind_to("vault"), "bind");
    get!(client.add(5), "add");
    let values = [
        (PolicyField::Heartbeat, 10),
        (PolicyField::MinRun, 60),
        (PolicyField::BackoffCap, 60),
        (PolicyField::Backoff, 30),
        (PolicyField::MaxRestarts, 4),
    ];
    with_policy("vault", &values, || {
        get!(sys::pause(70), "pause");
        let before = object("victim")?;
        let mut verdicts = [Verdict::Unjudged; 5];
        for verdict_of in &mut verdicts {
            wait_until("a service that runs", || state("vault", ObjectState::Running))?;
            fail_alone("vault")?;
            *verdict_of = verdict()?;
            if *verdict_of == Verdict::Held {
                wait_until("the hold", || state("vault", ObjectState::Held))?;
                // Its callers wait until it is started again.
                let start = get!(sys::time_us(), "time");
                get!(client.state(), "state of the session while its service is held");
                let waited = (get!(sys::time_us(), "time") - start) / 1000;
                ensure!((20..70).contains(&waited), "waited for {waited} ms");
            }
        }
        use Verdict::{GivenUp, Held, ShortRun, Transient};
        equal!(verdicts, [Transient, ShortRun, Held, Held, GivenUp], "verdicts");
        wait_until("the end", || state("vault", ObjectState::Stopped))?;
        equal!(client.add(1).map(|_| ()), Err(kernel(Error::Stopped)), "a call");
        equal!(VictimClient::bind_to("vault").err(), Some(Error::Stopped), "result of bind");
        get!(sys::pause(70), "pause");
        ensure!(standing("vault", Standing::GivenUp), "it is not given up");
        get!(bind()?.start(b"vault"), "start");
        equal!(client.add(1).map(|sums| sums.0), Ok(6), "sum of the session");
        let info = show("vault")?;
        equal!((info.standing, info.short_runs), (Standing::Watched as u32, 0), "standing and short runs");
        // Whoever depends on it was restarted with each start, without a fault.
        wait_until("its dependant's restarts", || {
            object("victim").is_ok_and(|info| info.restarts == before.restarts + 3)
        })?;
        equal!(object("victim")?.failures, before.failures, "failures of its dependant");
        Ok(())
    })
}

fn transients() -> Check {
    let values = [(PolicyField::Heartbeat, 10), (PolicyField::MinRun, 20), (PolicyField::MaxRestarts, 2)];
    with_policy("vault", &values, || {
        for _ in 0..8 {
            get!(sys::pause(25), "pause");
            fail_alone("vault")?;
            equal!(verdict()?, Verdict::Transient, "verdict");
        }
        equal!(show("vault")?.short_runs, 0, "short runs");
        ensure!(state("vault", ObjectState::Running), "it does not run");
        Ok(())
    })
}

fn own_fault() -> Check {
    let client = get!(VictimClient::bind_to("lazy"), "bind");
    let other = get!(VictimClient::bind_to("lazy"), "bind");
    let values = [(PolicyField::MinRun, 10_000), (PolicyField::Backoff, 5), (PolicyField::MaxRestarts, 3)];
    with_policy("lazy", &values, || {
        // Whatever it met before, this is the beginning of a row.
        get!(bind()?.stop(b"lazy"), "stop");
        wait_until("the end", || state("lazy", ObjectState::Stopped))?;
        get!(bind()?.start(b"lazy"), "start");
        wait_until("the start", || state("lazy", ObjectState::Running))?;
        for round in 0..20 {
            fail_once(if round % 2 == 0 { &client } else { &other })?;
            equal!(verdict()?, Verdict::Client, "verdict in round {round}");
        }
        equal!(show("lazy")?.short_runs, 0, "short runs");
        let mut held = false;
        let child = clients::spawn(Role::Crasher, 0)?;
        wait_until("the end of a client that keeps crashing it", || {
            held |= state("lazy", ObjectState::Held);
            process(child).state != 1 && process(child).state != 2
        })?;
        clients::expect_good(child, Role::Crasher)?;
        let entries = latest::<12>()?;
        let held = entries.iter().filter(|entry| entry.verdict == Verdict::Held as u32).count();
        equal!(held, 1, "times that a second client's failures held it");
        equal!(show("lazy")?.short_runs, 2, "short runs");
        Ok(())
    })
}

fn unanswered() -> Check {
    let client = get!(VictimClient::bind_to("vault"), "bind");
    get!(client.add(5), "add");
    let values = [(PolicyField::Heartbeat, 10), (PolicyField::Misses, 3)];
    with_policy("vault", &values, || {
        get!(sys::pause(50), "pause");
        let before = object("vault")?;
        // The kernel gives it no time while somebody of a higher priority computes.
        let child = get!(sys::spawn("racer", Run::computes(1, 32, 4).argument()), "spawn a racer");
        let mut entries = Vec::new();
        let told = wait_until("the supervisor's word", || {
            entries = latest::<1>().unwrap_or_default();
            entries.first().is_some_and(|entry| entry.number == 0)
        });
        clients::kill(child)?;
        told?;
        let entry = entries[0];
        equal!(rt::abi::call::name_str(&entry.object), "vault", "service");
        equal!(FailureKind::from_number(entry.kind), Some(FailureKind::SelfTest), "kind");
        equal!(entry.verdict, Verdict::Restarted as u32, "verdict");
        wait_until("its restart", || object("vault").is_ok_and(|info| info.restarts == before.restarts + 1))?;
        get!(sys::pause(100), "pause");
        let now = object("vault")?;
        equal!((now.restarts, now.failures), (before.restarts + 1, before.failures), "restarts and failures");
        equal!(client.add(1).map(|sums| sums.0), Ok(6), "sum of the session");
        equal!(latest::<1>()?[0].sequence, entry.sequence, "latest entry of the log: it answers now");
        Ok(())
    })
}

fn restart() -> Check {
    let mut witness = Witness::new()?;
    let client = get!(TallyClient::bind(), "bind");
    get!(client.add(7), "add");
    let supervisor = bind()?;
    let (start, sequence) = (object("tally")?, latest::<1>()?.first().map(|entry| entry.sequence));
    for round in 1..=10 {
        get!(supervisor.restart(b"tally"), "restart");
        wait_until("the restart", || object("tally").is_ok_and(|info| info.restarts == start.restarts + round))?;
        equal!(client.sum(), Ok((7, 1)), "sum after restart {round}");
    }
    equal!(object("tally")?.failures, start.failures, "failures");
    equal!(show("tally")?.short_runs, 0, "short runs");
    equal!(latest::<1>()?.first().map(|entry| entry.sequence), sequence, "latest entry of the log");
    witness.intact()
}

fn stop_and_start() -> Check {
    let mut witness = Witness::new()?;
    let client = get!(VictimClient::bind_to("vault"), "bind");
    let digest = get!(client.fill(0, 500, 77, Attack::None, 0, 0), "fill");
    let supervisor = bind()?;
    get!(supervisor.stop(b"vault"), "stop");
    wait_until("the end", || state("vault", ObjectState::Stopped))?;
    equal!(client.digest(), Err(kernel(Error::Stopped)), "a call");
    ensure!(standing("vault", Standing::Stopped), "it is not said to be stopped");
    let refused = supervisor.restart(b"vault");
    equal!(refused, Err(CallError::Service(SupervisorError::NotRunning)), "restart of a stopped service");
    get!(sys::pause(50), "pause");
    ensure!(state("vault", ObjectState::Stopped), "somebody has started it");
    get!(supervisor.start(b"vault"), "start");
    equal!(client.digest(), Ok(digest), "digest of the session");
    let refused = supervisor.start(b"vault");
    equal!(refused, Err(CallError::Service(SupervisorError::Running)), "start of a service that runs");
    witness.intact()
}

fn refused() -> Check {
    let supervisor = bind()?;
    let no = |error: SupervisorError| Err(CallError::Service(error));
    for name in [&b"supervisor"[..], b"no-such-service", b"", b"suite", b"a-name-that-is-too-long"] {
        let error = if name == b"supervisor" { SupervisorError::Itself } else { SupervisorError::NoService };
        equal!(supervisor.restart(name), no(error), "restart of {name:?}");
        equal!(supervisor.stop(name), no(error), "stop of {name:?}");
        equal!(supervisor.start(name), no(error), "start of {name:?}");
        equal!(supervisor.set_policy(PolicyField::MinRun, 1, name), no(error), "set_policy of {name:?}");
    }
    for (field, value) in [
        (PolicyField::Heartbeat, 9),
        (PolicyField::Misses, 0),
        (PolicyField::Backoff, 1001),
        (PolicyField::BackoffCap, 9),
        (PolicyField::GiveUp, 2),
        (PolicyField::MinRun, supervisor::MAX_TIME + 1),
    ] {
        let result = supervisor.set_policy(field, value, b"vault");
        equal!(result, no(SupervisorError::BadPolicy), "{} = {value}", field.name());
    }
    let mut short = [0; size_of::<LogEntry>() - 1];
    let too_short = no(SupervisorError::BadBuffer);
    equal!(supervisor.log(0, &mut short).map(|_| ()), too_short, "log to a short buffer");
    equal!(supervisor.list(0, &mut short).map(|_| ()), too_short, "list to a short buffer");
    let mut infos = [ServiceInfo::default(); 20];
    let count = get!(supervisor.list(0, infos.as_mut_bytes()), "list") as usize;
    for name in SACRIFICIAL.iter().chain(&["supervisor", "scheduler"]) {
        let found = infos[..count].iter().any(|info| rt::abi::call::name_str(&info.name) == *name);
        ensure!(found, "{name} is not in the list");
    }
    Ok(())
}

/// The kernel's failures from this number on are in the log, each once and in order; what else there is are self-tests.
fn complete(from: u32) -> Check {
    let to = failure(0)?.number;
    let mut numbers = Vec::new();
    wait_until("the log", || {
        let entries = latest::<100>().unwrap_or_default();
        numbers = entries.iter().rev().map(|entry| entry.number).filter(|number| *number >= from).collect();
        numbers.last() == Some(&to)
    })?;
    ensure!(numbers.iter().copied().eq(from..=to), "failures {from} to {to} are in the log as {numbers:?}");
    Ok(())
}

fn log() -> Check {
    let client = get!(VictimClient::bind(), "bind");
    let first = failure(0)?.number + 1;
    let supervisor = bind()?;
    // Everything until now is read.
    let mut entries = [LogEntry::default(); 16];
    while get!(supervisor.log_next(entries.as_mut_bytes()), "log_next").0 > 0 {}
    for _ in 0..40 {
        fail_once(&client)?;
    }
    complete(first)?;
    let mut read = Vec::new();
    loop {
        let (count, missed) = get!(supervisor.log_next(entries.as_mut_bytes()), "log_next");
        equal!(missed, 0, "entries missed");
        if count == 0 {
            break;
        }
        read.extend(entries[..count as usize].iter().map(|entry| (entry.number, entry.session)));
    }
    let expected = (first..first + 40).map(|number| (number, client.handle().index));
    ensure!(read.iter().copied().eq(expected), "read {read:?}");
    Ok(())
}

/// Makes the supervisor fail when it is told of the next failure.
fn sabotage(kind: SabotageKind, moment: Moment) -> Check {
    get!(sys::sabotage("supervisor", Sabotage { kind, moment }), "sabotage");
    Ok(())
}

fn own(kind: SabotageKind, moment: Moment) -> Check {
    let mut witness = Witness::new()?;
    let client = get!(VictimClient::bind(), "bind");
    let first = failure(0)?.number + 1;
    let before = Before::of("supervisor")?;
    sabotage(kind, moment)?;
    fail_once(&client)?;
    wait_until("both failures", || failure(0).is_ok_and(|info| info.number == first + 1))?;
    complete(first)?;
    before.since("supervisor", 1..=1, 0, 0)?;
    // Mostly it fails at being told of the other failure; it may have been woken before, to tell of lines that it left out.
    let itself = |entry: &LogEntry| rt::abi::call::name_str(&entry.object) == "supervisor";
    let (own, other): (Vec<_>, Vec<_>) = latest::<2>()?.into_iter().partition(itself);
    equal!((own.len(), other.len()), (1, 1), "failures of itself and of the other");
    equal!(own[0].verdict, Verdict::Unjudged as u32, "verdict on itself");
    equal!(other[0].session, client.handle().index, "session of the failure that it was told of");
    equal!(show("victim")?.policy.min_run, 0, "policy that was changed");
    witness.intact()
}

fn own_while_held() -> Check {
    let client = get!(VictimClient::bind(), "bind");
    let values = [
        (PolicyField::Heartbeat, 10),
        (PolicyField::MinRun, 10_000),
        (PolicyField::Backoff, 100),
        (PolicyField::MaxRestarts, 9),
    ];
    with_policy("vault", &values, || {
        while !standing("vault", Standing::Held) {
            fail_alone("vault")?;
            verdict()?;
        }
        let until = show("vault")?.held_until;
        for moment in [Moment::Entry, Moment::End] {
            sabotage(SabotageKind::Panic, moment)?;
            let failures = object("supervisor")?.failures;
            fail_once(&client)?;
            wait_until("its failure", || object("supervisor").is_ok_and(|info| info.failures > failures))?;
        }
        let info = show("vault")?;
        equal!((info.standing, info.held_until), (Standing::Held as u32, until), "standing, and until when");
        wait_until("its start", || state("vault", ObjectState::Running))?;
        let now = (get!(sys::time_us(), "time") / 1000) as u32;
        ensure!((until..until + 20).contains(&now), "started at {now} ms instead of {until} ms");
        Ok(())
    })
}

fn own_often() -> Check {
    let mut witness = Witness::new()?;
    let client = get!(VictimClient::bind(), "bind");
    let first = failure(0)?.number + 1;
    let before = Before::of("supervisor")?;
    for round in 0..20 {
        sabotage(SabotageKind::ALL[round % 6], if round % 2 == 0 { Moment::End } else { Moment::Entry })?;
        fail_once(&client)?;
        wait_until("its failure", || failure(0).is_ok_and(|info| info.number == first + 2 * round as u32 + 1))?;
    }
    before.since("supervisor", 20..=20, 0, 0)?;
    complete(first)?;
    witness.intact()
}
