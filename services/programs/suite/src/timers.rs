//! The timer: no alarm is lost, early or doubled, whatever fails and whoever ends.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use lodger::Way;
use rt::abi::Sabotage;
use rt::abi::failure::{Moment, SabotageKind};
use rt::{CallError, Error, Events, sys};
use timer::{Alarms, Expiry, MAX_ALARMS, MIN_PERIOD_US, SLEEP, TIME_LIMIT_US, TimerClient, TimerError};

use crate::check::{Check, Suite, Why, ensure, equal, get};
use crate::clients::kill;
use crate::world::{Before, Witness, process, wait_until};

/// What the notifications of sessions here set.
const ALARM: Events = Events::from_bits_truncate(1);
/// How late an alarm may be at rest, in microseconds: a tick, and the way to the step.
const LATE: u64 = 2_000;
/// How late with a failure: the budget of what hangs, two ticks, and the recovery.
const LATE_BY_FAILURE: u64 = 15_000;

/// Clients of the large test, and alarms of each.
const CLIENTS: usize = 100;
const EACH: usize = 100;

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    suite.run("timer: alarms expire once, not early, and take turns", expire);
    suite.run("timer: a periodic alarm keeps its phase, and what was missed is counted", periodic);
    suite.run("timer: sleep", sleep);
    suite.run("timer: alarms are set anew, and cancelled", cancelled);
    suite.run("timer: what makes no sense is refused", refused);
    for &kind in SabotageKind::ALL {
        for moment in [Moment::Entry, Moment::Copy, Moment::End] {
            let name = kind.name();
            suite.run(format_args!("timer: alarms survive {name} at {moment:?} of a call"), || called(kind, moment));
            suite.run(format_args!("timer: alarms survive {name} at {moment:?} when one is due"), || due(kind, moment));
        }
    }
    suite.run("timer: 10,000 alarms of 100 clients, with failures all the time", crowd);
    for way in Way::ALL {
        suite.run(format_args!("timer: a client that {way:?} ends with alarms set"), || ended(way));
    }
    suite.run("timer: a client is killed while the timer recovers", killed);
}

fn bind() -> Result<Alarms, Why> {
    Ok(get!(Alarms::bind(ALARM), "bind to timer"))
}

/// An error of a method that returns errors of the kernel.
const BLOCKED: CallError<Error> = CallError::Kernel(Error::WouldBlock);

/// Waits for an alarm and looks at the clock.
fn next(alarms: &Alarms) -> Result<(Expiry, u64), Why> {
    let expiry = get!(alarms.wait(), "wait");
    Ok((expiry, get!(alarms.now(), "now")))
}

fn on_time(due: u64, now: u64, late: u64) -> Check {
    ensure!(now >= due, "an alarm {} us early", due - now);
    ensure!(now - due <= late, "an alarm {} us late", now - due);
    Ok(())
}

fn expire() -> Check {
    let alarms = bind()?;
    let first = get!(alarms.set(3, 4_000, 0), "set");
    let second = get!(alarms.set(2, 8_000, 0), "set");
    let third = get!(alarms.set(9, 8_000, 0), "set");
    equal!(alarms.take(), Err(BLOCKED), "an alarm at once");
    equal!(alarms.alarm(3), Ok((first, 0)), "an alarm that is set");
    let (expiry, now) = next(&alarms)?;
    equal!(expiry, Expiry { alarm: 3, count: 1 }, "the first alarm");
    on_time(first, now, LATE)?;
    equal!(alarms.alarm(3), Err(CallError::Service(TimerError::NoSuchAlarm)), "an alarm that was taken");
    // Behind the one that was taken last.
    get!(sys::pause(12), "pause");
    let now = get!(alarms.now(), "now");
    equal!(alarms.alarm(9), Ok((u64::MAX, 0)), "an alarm that has expired");
    equal!(alarms.take(), Ok((9, 1)), "the second alarm");
    equal!(alarms.take(), Ok((2, 1)), "the third alarm");
    equal!(alarms.take(), Err(BLOCKED), "a fourth alarm");
    ensure!(now >= second.max(third), "the clock stands still");
    let late = get!(alarms.lateness(), "lateness");
    ensure!(late <= LATE, "an alarm {late} us late");
    // Several at once, as many as there is room for.
    for alarm in 0..7 {
        get!(alarms.set_at(alarm, now, 0), "set");
    }
    let mut expiries = [Expiry::default(); 5];
    use zerocopy::IntoBytes;
    get!(sys::pause(3), "pause");
    equal!(alarms.take_all(expiries.as_mut_bytes()), Ok(5), "alarms taken at once");
    equal!(expiries.map(|expiry| expiry.alarm), [3, 4, 5, 6, 0], "their numbers");
    equal!(alarms.take_all(expiries.as_mut_bytes()), Ok(2), "alarms taken then");
    equal!(alarms.take_all(expiries.as_mut_bytes()), Err(BLOCKED), "alarms taken in the end");
    Ok(())
}

fn periodic() -> Check {
    let alarms = bind()?;
    let period = 3_000;
    let first = get!(alarms.set(5, 2_000, period), "set");
    let mut count = 0;
    for _ in 0..3 {
        let (expiry, now) = next(&alarms)?;
        on_time(first + count * period, now, LATE)?;
        equal!(expiry, Expiry { alarm: 5, count: 1 }, "the alarm");
        count += 1;
    }
    get!(sys::pause(20), "pause");
    let expiry = get!(alarms.wait(), "wait");
    let (due, _) = get!(alarms.alarm(5), "alarm");
    count += u64::from(expiry.count);
    ensure!(expiry.count >= 6, "{} expiries in 20 ms", expiry.count);
    equal!(due, first + count * period, "the next time");
    equal!(alarms.cancel(5), Ok(0), "expiries not yet taken");
    Ok(())
}

fn sleep() -> Check {
    let alarms = bind()?;
    get!(alarms.set(1, 1_000, 0), "set");
    for delay in [0, 1, 999, 1_000, 7_777] {
        let start = get!(alarms.now(), "now");
        get!(alarms.sleep(delay), "sleep");
        on_time(start + delay, get!(alarms.now(), "now"), LATE)?;
    }
    // Others are left alone.
    equal!(alarms.take(), Ok((1, 1)), "an alarm that expired meanwhile");
    let until = get!(alarms.now(), "now") + 3_000;
    get!(alarms.sleep_until(until), "sleep");
    on_time(until, get!(alarms.now(), "now"), LATE)?;
    get!(alarms.sleep_until(1), "sleep until a time that has passed");
    equal!(alarms.alarm(SLEEP), Err(CallError::Service(TimerError::NoSuchAlarm)), "the alarm behind it");
    Ok(())
}

fn cancelled() -> Check {
    let alarms = bind()?;
    for alarm in 0..4 {
        get!(alarms.set(alarm, 3_000, 0), "set");
    }
    equal!(alarms.cancel(1), Ok(0), "expiries of an alarm that is not due");
    get!(alarms.set(2, 30_000, 0), "set anew");
    get!(sys::pause(8), "pause");
    equal!(alarms.cancel(3), Ok(1), "expiries of an alarm that has expired");
    equal!(alarms.take(), Ok((0, 1)), "the one that is left");
    equal!(alarms.take(), Err(BLOCKED), "another one");
    let (due, _) = get!(alarms.alarm(2), "alarm");
    let (expiry, now) = next(&alarms)?;
    equal!(expiry.alarm, 2, "the one that was set anew");
    on_time(due, now, LATE)
}

fn refused() -> Check {
    let alarms = bind()?;
    let service = |error| Err(CallError::Service(error));
    equal!(alarms.set(1, u64::MAX, 0), service(TimerError::TooFar), "a delay without end");
    equal!(alarms.set(1, 0, u64::MAX), service(TimerError::TooFar), "a period without end");
    equal!(alarms.set_at(1, TIME_LIMIT_US, 0), service(TimerError::TooFar), "a time too far");
    equal!(alarms.set(1, 0, MIN_PERIOD_US - 1), service(TimerError::PeriodTooShort), "a short period");
    equal!(alarms.cancel(1).map(u64::from), service(TimerError::NoSuchAlarm), "cancelling no alarm");
    equal!(alarms.take_of(1), Err(CallError::Kernel(Error::NotFound)), "taking no alarm");
    equal!(alarms.take_all(&mut [0; 7]), Err(CallError::Kernel(Error::BadArgument)), "a short buffer");
    equal!(Alarms::bind(Events::empty()).err(), Some(Error::BadArgument), "alarms without events");
    for alarm in 0..MAX_ALARMS as u32 {
        get!(alarms.set(alarm, 1_000_000, 0), "set");
    }
    equal!(alarms.set(SLEEP, 1_000_000, 0), service(TimerError::TooManyAlarms), "one alarm too many");
    get!(alarms.set(7, 2_000_000, 0), "one of them anew");
    Ok(())
}

/// The event of the constructor, after an earlier failure, has been dealt with.
fn at_rest() -> Check {
    get!(sys::pause(3), "pause");
    Ok(())
}

/// Two clients with alarms; what the timer fails in is a call of one of them.
fn called(kind: SabotageKind, moment: Moment) -> Check {
    use zerocopy::IntoBytes;
    let mut witness = Witness::new()?;
    let (alarms, other) = (bind()?, bind()?);
    at_rest()?;
    let start = get!(alarms.now(), "now");
    let at = |alarm: u32| start + 20_000 + u64::from(alarm) * 500;
    for alarm in 0..20 {
        equal!(alarms.set_at(alarm, at(alarm), 0), Ok(at(alarm)), "time of an alarm");
        equal!(other.set_at(alarm, at(alarm), 0), Ok(at(alarm)), "time of another client's alarm");
    }
    let before = Before::of("timer")?;
    get!(sys::sabotage("timer", Sabotage { kind, moment }), "sabotage");
    equal!(alarms.set_at(20, at(20), 0), Ok(at(20)), "time of the alarm that was set in the failure");
    before.since("timer", 1..=1, 0, 0)?;
    get!(sys::sabotage("timer", Sabotage { kind, moment }), "sabotage");
    equal!(alarms.cancel(4), Ok(0), "expiries of the alarm that was cancelled in the failure");
    before.since("timer", 2..=2, 0, 0)?;
    let mut expiries = [Expiry::default(); 21];
    get!(alarms.sleep_until(at(21)), "sleep");
    get!(sys::sabotage("timer", Sabotage { kind, moment }), "sabotage");
    equal!(alarms.take_all(expiries.as_mut_bytes()), Ok(20), "alarms taken in the failure");
    before.since("timer", 3..=3, 0, 0)?;
    let wanted = (0..21).filter(|alarm| *alarm != 4).map(|alarm| Expiry { alarm, count: 1 });
    ensure!(expiries[..20].iter().copied().eq(wanted), "taken: {:?}", &expiries[..20]);
    equal!(alarms.take(), Err(BLOCKED), "an alarm that was taken already");
    equal!(other.take_all(expiries.as_mut_bytes()), Ok(20), "the other client's alarms");
    let late = get!(alarms.lateness(), "lateness").max(get!(other.lateness(), "lateness"));
    ensure!(late <= LATE, "an alarm {late} us late");
    witness.intact()
}

/// The timer fails in the upcall that an alarm brings about.
fn due(kind: SabotageKind, moment: Moment) -> Check {
    let (alarms, other) = (bind()?, bind()?);
    at_rest()?;
    let times = [get!(alarms.set(1, 3_000, 0), "set"), get!(alarms.set(2, 3_000, 9_000), "set")];
    get!(other.set(3, 3_000, 0), "set");
    let before = Before::of("timer")?;
    get!(sys::sabotage("timer", Sabotage { kind, moment }), "sabotage");
    // No call that would fail instead.
    equal!(sys::wait_events(ALARM, 100), Ok(ALARM), "the notification");
    before.since("timer", 1..=1, 0, 0)?;
    for (alarm, due) in [(1, times[0]), (2, times[1]), (2, times[1] + 9_000)] {
        let (expiry, now) = next(&alarms)?;
        equal!(expiry, Expiry { alarm, count: 1 }, "the alarm");
        on_time(due, now, LATE_BY_FAILURE)?;
    }
    equal!(other.wait(), Ok(Expiry { alarm: 3, count: 1 }), "the other client's alarm");
    equal!(other.take(), Err(BLOCKED), "the other client's alarm again");
    before.since("timer", 1..=1, 0, 0)
}

fn crowd() -> Check {
    let clients: Vec<TimerClient> =
        get!((0..CLIENTS).map(|_| TimerClient::bind_notified(ALARM)).collect::<Result<_, _>>(), "bind to timer");
    let mut left = vec![u128::MAX >> (128 - EACH); CLIENTS];
    let failures = Before::of("timer")?;
    let mut struck = 0;
    let mut strike = || -> Check {
        let kind = SabotageKind::ALL[struck as usize % SabotageKind::ALL.len()];
        let moment = [Moment::Entry, Moment::Copy, Moment::End][struck as usize / 5 % 3];
        struck += 1;
        get!(sys::sabotage("timer", Sabotage { kind, moment }), "sabotage");
        Ok(())
    };
    // All are set when the first one is due.
    let start = get!(clients[0].now(), "now") + 400_000;
    let at = |client: usize, alarm: u32| start + (alarm as usize * 37 % EACH * 1_000 + client * 131 % 1_000) as u64;
    for (client, alarms) in clients.iter().enumerate() {
        for alarm in 0..EACH as u32 {
            equal!(alarms.set_at(alarm, at(client, alarm), 0), Ok(at(client, alarm)), "time of an alarm");
        }
        if client % 10 == 0 {
            strike()?;
        }
    }
    ensure!(get!(clients[0].now(), "now") < start, "setting the alarms took too long");
    let mut rounds = 0;
    while left.iter().any(|left| *left != 0) {
        ensure!(rounds < 1_000, "lost alarms: {left:x?}");
        rounds += 1;
        if rounds % 4 == 0 {
            strike()?;
        }
        get!(sys::wait_events(ALARM, 20), "wait");
        for (client, alarms) in clients.iter().enumerate() {
            gather(alarms, &mut left[client], |alarm| at(client, alarm))?;
        }
    }
    let mut late = 0;
    for alarms in &clients {
        equal!(alarms.take(), Err(BLOCKED), "an alarm too many");
        late = late.max(get!(alarms.lateness(), "lateness"));
    }
    ensure!(late <= 2 * LATE_BY_FAILURE, "an alarm {late} us late");
    // The last one may not have struck yet.
    failures.since("timer", struck - 1..=struck, 0, 0)?;
    let text = format!("timer: {} alarms, {struck} failures, at most {late} us late", CLIENTS * EACH);
    sys::log(&text).map_err(|error| format!("log: {error:?}"))
}

/// Takes what has expired.
fn gather(alarms: &TimerClient, left: &mut u128, due: impl Fn(u32) -> u64) -> Check {
    use zerocopy::IntoBytes;
    let mut expiries = [Expiry::default(); 16];
    loop {
        let count = match alarms.take_all(expiries.as_mut_bytes()) {
            Err(BLOCKED) => return Ok(()),
            result => get!(result, "take") as usize,
        };
        let now = get!(alarms.now(), "now");
        for expiry in &expiries[..count] {
            equal!(expiry.count, 1, "expiries of an alarm that was set once");
            ensure!(*left >> expiry.alarm & 1 == 1, "alarm {} a second time", expiry.alarm);
            ensure!(now >= due(expiry.alarm), "alarm {} is early", expiry.alarm);
            *left &= !(1 << expiry.alarm);
        }
    }
}

/// Starts a lodger and waits until it has settled, or ended.
pub fn lodge(way: Way) -> Result<u32, Why> {
    let store = get!(store::StoreClient::bind(), "bind to store");
    let child = get!(sys::spawn("lodger", way as u32), "spawn");
    let there = || store.get(lodger::KEY, &mut [0; store::MAX_VALUE]).is_ok();
    wait_until("a lodger that has settled", || there() || process(child).state == 3)?;
    Ok(child)
}

/// Ends it, if it does not end by itself.
pub fn end(way: Way, child: u32) -> Check {
    match way {
        Way::Stays | Way::Waits => kill(child)?,
        Way::Leaves => equal!(sys::wait(child), Ok(lodger::LEFT), "status of a lodger that leaves"),
        Way::Panics => {
            let panic = 128 + rt::abi::FailureKind::Panic as u32;
            equal!(sys::wait(child), Ok(panic), "status of a lodger that panics");
        }
    }
    Ok(())
}

fn ended(way: Way) -> Check {
    let alarms = bind()?;
    let due = get!(alarms.set(1, 30_000, 0), "set");
    let before = Before::of("timer")?;
    let child = lodge(way)?;
    end(way, child)?;
    let (expiry, now) = next(&alarms)?;
    equal!(expiry, Expiry { alarm: 1, count: 1 }, "the alarm of a client that goes on");
    on_time(due, now, LATE)?;
    before.untouched("timer")
}

fn killed() -> Check {
    let alarms = bind()?;
    let before = Before::of("timer")?;
    let kinds = [SabotageKind::EndlessLoop, SabotageKind::Panic, SabotageKind::HeapCorruption];
    for (round, kind) in (0..9).zip(kinds.into_iter().cycle()) {
        let child = lodge(Way::Stays)?;
        let due = get!(alarms.set(1, 9_000, 0), "set");
        get!(sys::sabotage("timer", Sabotage { kind, moment: Moment::End }), "sabotage");
        get!(sys::pause(1 + round % 4), "pause");
        kill(child)?;
        let (expiry, now) = next(&alarms)?;
        equal!(expiry, Expiry { alarm: 1, count: 1 }, "the alarm of a client that goes on");
        on_time(due, now, LATE_BY_FAILURE)?;
    }
    before.since("timer", 9..=9, 0, 0)
}
