//! The workload of `timer`: alarms far away that must stay as they were set, and alarms that expire.

use rt::{Error, Events};
use timer::{Alarms, Expiry, SLEEP, TimerError};
use zerocopy::{FromZeros, IntoBytes};

use crate::course::{Answer, Course, Failed, Subject, fold, hash, hash_words, now, refused, wait_for};

/// What the timer's notifications set.
const ALARM: Events = Events::from_bits_truncate(1);
/// Alarms that never expire: their numbers begin here.
const FAR: u32 = 100;
/// So many of them.
const FAR_COUNT: u32 = 8;
/// When they are due: in an hour and more.
const FAR_US: u64 = 3_600_000_000;
/// How often it looks again at an alarm that has expired meanwhile, or not yet.
const LOOKS: u32 = 16;

struct Client {
    timer: Subject<Alarms>,
}

/// A periodic alarm.
struct Periodic {
    alarm: u32,
    first: u64,
    period: u64,
    taken: u64,
}

fn bind() -> Result<Alarms, Error> {
    Alarms::bind(ALARM)
}

/// Number of expiries of an alarm, at least one, for which it waits.
fn wait(timer: &Alarms, alarm: u32) -> Result<u32, Failed> {
    for _ in 0..LOOKS {
        match timer.take_of(alarm) {
            Err(error) if error.would_block() => {}
            count => return Ok(count?),
        }
        wait_for(ALARM)?;
    }
    Err(Failed::TIMEOUT)
}

impl Periodic {
    /// Waits until so many expiries are taken. Whether none was early.
    fn collect(&mut self, timer: &Alarms, count: u64) -> Result<Answer, Failed> {
        let mut early = false;
        let mut time = 0;
        while self.taken < count {
            self.taken += u64::from(wait(timer, self.alarm)?);
            time = now();
            early |= self.due() > time;
        }
        Ok(Answer::late(hash_words(&[self.alarm, early.into()]), time.saturating_sub(self.due())))
    }

    /// When the latest of those that were taken was due.
    fn due(&self) -> u64 {
        self.first + (self.taken - 1) * self.period
    }

    /// Whether the service has counted as many as were taken.
    fn agrees(&mut self, timer: &Alarms) -> Result<Answer, Failed> {
        for _ in 0..LOOKS {
            let (next, period) = timer.alarm(self.alarm)?;
            match timer.take_of(self.alarm) {
                Err(error) if error.would_block() => {
                    let agrees = next == self.first + self.taken * self.period && period == self.period;
                    return Ok(hash_words(&[self.alarm, agrees.into()]).into());
                }
                // It expired in between.
                count => self.taken += u64::from(count?),
            }
        }
        Err(Failed::TIMEOUT)
    }
}

impl Client {
    /// Sets an alarm; when it is due. Whether that is the time after now that was asked for.
    fn set(&mut self, alarm: u32, delay: u64, period: u64) -> u64 {
        let mut due = 0;
        self.timer.call(|timer| {
            let before = now();
            due = timer.set(alarm, delay, period)?;
            Ok(u32::from((before + delay..=now() + delay).contains(&due)).into())
        });
        due
    }

    /// Sets an alarm that is due far away: that time.
    fn set_far(&mut self, alarm: u32, at: u64, period: u64) {
        self.timer.call(|timer| Ok((timer.set_at(alarm, at, period)? as u32).into()));
    }

    /// When an alarm is due, and its period.
    fn look(&mut self, alarm: u32) {
        self.timer.call(|timer| {
            let (due, period) = timer.alarm(alarm)?;
            Ok(fold(hash(&due.to_le_bytes()), &period.to_le_bytes()).into())
        });
    }

    /// Waits until an alarm that was set once has expired: how often it did, and whether early.
    fn wait(&mut self, alarm: u32, due: u64) {
        self.timer.call(|timer| {
            let count = wait(timer, alarm)?;
            let time = now();
            Ok(Answer::late(hash_words(&[alarm, count, u32::from(time < due)]), time.saturating_sub(due)))
        });
    }

    fn sleep(&mut self, delay: u64) {
        let due = self.set(SLEEP, delay, 0);
        self.wait(SLEEP, due);
    }

    fn cancel(&mut self, alarm: u32) {
        self.timer.call(|timer| Ok(timer.cancel(alarm)?.into()));
    }

    /// Whether nothing has expired.
    fn nothing(&mut self) {
        self.timer.call(|timer| match timer.take() {
            Err(error) if error.would_block() => Ok(1.into()),
            other => {
                let (alarm, count) = other?;
                Ok(hash_words(&[alarm, count]).into())
            }
        });
    }

    /// Takes what has expired.
    fn take_all(&mut self) {
        let mut expiries = [Expiry::new_zeroed(); 6];
        self.timer.call(|timer| {
            let count = timer.take_all(expiries.as_mut_bytes())?;
            Ok(hash(expiries.get(..count as usize).unwrap_or_default().as_bytes()).into())
        });
    }
}

/// Sets, waits, takes, sets anew, cancels; then looks at all that is left.
pub fn run(course: Course) {
    let client = course.client;
    let mut own = Client { timer: Subject::bind(course, bind) };
    let far = |number: u32| (FAR + number, FAR_US + u64::from(number * 1_000 + client), u64::from(number) * 5_000);
    for (alarm, at, period) in (0..FAR_COUNT).map(far) {
        own.set_far(alarm, at, period);
    }
    // Four at once, in another order than that of their numbers.
    for (alarm, delay) in [(4, 300), (2, 900), (7, 500), (3, 700)] {
        own.set(alarm, delay, 0);
    }
    own.look(FAR + 3);
    own.sleep(1_500);
    own.take_all();
    own.nothing();

    let period = 1_500 + u64::from(client) * 250;
    let mut periodic = [(1, period), (5, 2 * period)].map(|(alarm, period)| Periodic {
        alarm,
        first: own.set(alarm, period, period),
        period,
        taken: 0,
    });
    own.timer.call(|timer| periodic[0].collect(timer, 3));
    own.timer.call(|timer| periodic[1].collect(timer, 2));
    own.set_far(FAR + 2, FAR_US * 2, 0);
    own.cancel(FAR + 5);
    own.timer.call(|timer| periodic[0].collect(timer, 6));
    for periodic in &mut periodic {
        own.timer.call(|timer| periodic.agrees(timer));
    }
    for periodic in &periodic {
        // Its expiries since the look are as many as time would have it.
        own.timer.call(|timer| timer.cancel(periodic.alarm).map_err(Failed::from).map(|_| 0.into()));
    }

    // One that has expired and is set anew, and one that is cancelled.
    own.set(6, 200, 0);
    own.set(8, 300, 0);
    own.sleep(1_000);
    own.set_far(6, FAR_US * 3, 0);
    own.cancel(8);
    own.nothing();
    let due = own.set(9, 400, 0);
    own.wait(9, due);
    own.timer.call(|timer| refused(timer.cancel(9), TimerError::NoSuchAlarm));
    own.timer.call(|timer| refused(timer.set(9, 0, 999), TimerError::PeriodTooShort));
    own.timer.call(|timer| refused(timer.set(9, u64::MAX, 0), TimerError::TooFar));

    // All that is left, at rest.
    for number in [0, 1, 2, 3, 4, 6, 7] {
        own.look(FAR + number);
    }
    own.look(6);
    own.timer.call(|timer| refused(timer.alarm(FAR + 5), TimerError::NoSuchAlarm));
    own.timer.call(|timer| Ok(Answer::late(0, timer.lateness()?)));
    own.nothing();
    own.timer.end();
}
