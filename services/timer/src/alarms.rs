//! A client's alarms, as they lie in its Server State Region: [`State`], then in the tail one [`Alarm`] after the other, in
//! the order of their numbers. All logic takes the time as an argument.

use rt::{Session, SsrState};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Expiry, MAX_ALARMS, MIN_PERIOD_US, TIME_LIMIT_US, TimerError};

/// The time of an alarm that was set once and has expired.
pub const NEVER: u64 = u64::MAX;

/// Bytes of an alarm.
const SIZE: usize = size_of::<Alarm>();

/// The fixed part of a session.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[ssr(pages = 1)]
#[repr(C)]
pub struct State {
    /// The greatest lateness so far, in microseconds.
    pub late_us: u64,
    /// Alarms with expiries that were not taken.
    pub expired: u32,
    /// Number of the alarm that was taken last: the search for the next one starts behind it.
    pub taken: u32,
}

/// An alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Alarm {
    /// When it is due next, in microseconds; [`NEVER`] when it was set once and has expired.
    pub due_us: u64,
    /// Its period in microseconds, 0 for none.
    pub period_us: u64,
    /// The client's number for it.
    pub id: u32,
    /// Expiries that were not taken.
    pub count: u32,
}

const _: () = {
    let room = rt::abi::layout::PAGE as usize - rt::abi::ssr::HEADER as usize - size_of::<State>();
    assert!(MAX_ALARMS * SIZE <= room, "the alarms do not fit into the page");
    assert!(size_of::<State>().is_multiple_of(align_of::<Alarm>()));
};

impl Alarm {
    /// Whether there can be such an alarm: what [`set`] and [`expire`] make.
    fn is_sound(&self) -> bool {
        let due = self.due_us < 2 * TIME_LIMIT_US || (self.due_us == NEVER && self.period_us == 0 && self.count > 0);
        let period = self.period_us == 0 || (MIN_PERIOD_US..TIME_LIMIT_US).contains(&self.period_us);
        let once = self.period_us > 0 || (self.due_us == NEVER) == (self.count > 0);
        due && period && once
    }

    /// Counts all expiries up to `now`, at least one of which is due.
    fn expire(&mut self, now: u64) {
        let mut count = 1;
        if self.period_us == 0 {
            self.due_us = NEVER;
        } else {
            // By whole periods, so that the phase is kept. Division is long, and seldom needed.
            let late = now - self.due_us;
            if late >= self.period_us {
                count += late / self.period_us;
            }
            // At most `now` + a period: no overflow as long as the clock is below `TIME_LIMIT_US`.
            self.due_us = self.due_us.saturating_add(count.saturating_mul(self.period_us));
        }
        self.count = self.count.saturating_add(count.try_into().unwrap_or(u32::MAX));
    }
}

/// The alarms of a session. A tail that is not made of whole alarms panics: the failure is this session's own.
pub fn all(session: &Session<State>) -> &[Alarm] {
    <[Alarm]>::ref_from_bytes(session.tail()).expect("the tail holds whole alarms")
}

/// State and alarms, to change both.
fn parts(session: &mut Session<State>) -> (&mut State, &mut [Alarm]) {
    let (state, tail) = session.parts_mut();
    (state, <[Alarm]>::mut_from_bytes(tail).expect("the tail holds whole alarms"))
}

/// Where the alarm with this number is, or else belongs.
fn find(session: &Session<State>, id: u32) -> Result<usize, usize> {
    all(session).binary_search_by_key(&id, |alarm| alarm.id)
}

/// Whether a restored session makes sense.
pub fn is_sound(session: &Session<State>) -> bool {
    let Ok(alarms) = <[Alarm]>::ref_from_bytes(session.tail()) else { return false };
    let expired = alarms.iter().filter(|alarm| alarm.count > 0).count();
    alarms.len() <= MAX_ALARMS
        && alarms.iter().all(Alarm::is_sound)
        && alarms.is_sorted_by(|one, next| one.id < next.id)
        && expired == session.expired as usize
}

/// The time of the next expiry, if there will be one.
pub fn next_due(session: &Session<State>) -> Option<u64> {
    all(session).iter().map(|alarm| alarm.due_us).min().filter(|due| *due != NEVER)
}

/// Sets an alarm.
///
/// # Errors
/// [`TimerError::TooManyAlarms`].
pub fn set(session: &mut Session<State>, id: u32, due_us: u64, period_us: u64) -> Result<(), TimerError> {
    let alarm = Alarm { due_us, period_us, id, count: 0 };
    match find(session, id) {
        Ok(at) => {
            let (state, alarms) = parts(session);
            state.expired -= u32::from(alarms[at].count > 0);
            alarms[at] = alarm;
        }
        Err(at) => {
            let count = all(session).len();
            if count >= MAX_ALARMS || session.set_tail_len((count + 1) * SIZE).is_err() {
                return Err(TimerError::TooManyAlarms);
            }
            let (_, alarms) = parts(session);
            alarms.copy_within(at..count, at + 1);
            alarms[at] = alarm;
        }
    }
    Ok(())
}

/// The alarm with this number.
///
/// # Errors
/// [`TimerError::NoSuchAlarm`].
pub fn get(session: &Session<State>, id: u32) -> Result<Alarm, TimerError> {
    find(session, id).map(|at| all(session)[at]).map_err(|_| TimerError::NoSuchAlarm)
}

/// Removes an alarm; returns its expiries that were not taken.
///
/// # Errors
/// [`TimerError::NoSuchAlarm`].
pub fn cancel(session: &mut Session<State>, id: u32) -> Result<u32, TimerError> {
    let at = find(session, id).map_err(|_| TimerError::NoSuchAlarm)?;
    let count = all(session)[at].count;
    session.expired -= u32::from(count > 0);
    remove(session, at);
    Ok(count)
}

fn remove(session: &mut Session<State>, at: usize) {
    let (_, alarms) = parts(session);
    alarms.copy_within(at + 1.., at);
    let left = alarms.len() - 1;
    // A tail can always be shortened.
    let _ = session.set_tail_len(left * SIZE);
}

/// Counts the expiries up to `now`; returns whether there were any.
pub fn expire(session: &mut Session<State>, now: u64) -> bool {
    let (state, alarms) = parts(session);
    let mut any = false;
    for alarm in alarms.iter_mut().filter(|alarm| alarm.due_us <= now) {
        any = true;
        state.late_us = state.late_us.max(now - alarm.due_us);
        state.expired += u32::from(alarm.count == 0);
        alarm.expire(now);
    }
    any
}

/// The next alarm that has expired, behind the one that was taken last.
pub fn next_expired(session: &Session<State>) -> Option<Expiry> {
    expired(session).next()
}

/// The alarms that have expired, beginning behind the one that was taken last.
pub fn expired(session: &Session<State>) -> impl Iterator<Item = Expiry> {
    let alarms = if session.expired == 0 { &[] } else { all(session) };
    let first = alarms.partition_point(|alarm| alarm.id <= session.taken);
    let (before, behind) = alarms.split_at(first);
    let expired = behind.iter().chain(before).filter(|alarm| alarm.count > 0);
    expired.map(|alarm| Expiry { alarm: alarm.id, count: alarm.count })
}

/// Takes the expiries of an alarm: removes it if it was set once. 0: there are none.
///
/// # Errors
/// [`TimerError::NoSuchAlarm`].
pub fn take(session: &mut Session<State>, id: u32) -> Result<u32, TimerError> {
    let at = find(session, id).map_err(|_| TimerError::NoSuchAlarm)?;
    let (state, alarms) = parts(session);
    let count = core::mem::take(&mut alarms[at].count);
    if count > 0 {
        state.expired -= 1;
        if alarms[at].due_us == NEVER {
            remove(session, at);
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use rt::Session;

    use super::*;

    fn session() -> Session<State> {
        Session::for_test(3)
    }

    #[test]
    fn a_page_holds_the_promised_alarms_in_order() {
        let mut session = session();
        for id in (0..MAX_ALARMS as u32).rev() {
            set(&mut session, id * 2, u64::from(id), 0).unwrap();
        }
        assert_eq!(set(&mut session, 1, 5, 0), Err(TimerError::TooManyAlarms));
        assert_eq!(set(&mut session, 2, 5, 0), Ok(()));
        assert_eq!(all(&session).len(), MAX_ALARMS);
        assert!(is_sound(&session));
    }

    #[test]
    fn a_periodic_alarm_keeps_its_phase_and_counts_what_was_missed() {
        let mut session = session();
        set(&mut session, 1, 10_000, 3_000).unwrap();
        assert!(!expire(&mut session, 9_999));
        assert!(expire(&mut session, 10_000));
        assert_eq!(get(&session, 1).unwrap().due_us, 13_000);
        assert!(expire(&mut session, 22_000));
        assert_eq!(get(&session, 1).unwrap(), Alarm { due_us: 25_000, period_us: 3_000, id: 1, count: 5 });
        assert_eq!((session.late_us, session.expired), (9_000, 1));
        assert_eq!(take(&mut session, 1), Ok(5));
        assert_eq!(take(&mut session, 1), Ok(0));
    }

    #[test]
    fn expired_alarms_take_turns() {
        let mut session = session();
        for id in [0, 4, u32::MAX] {
            set(&mut session, id, 0, MIN_PERIOD_US).unwrap();
        }
        let mut order = std::vec::Vec::new();
        for now in 0..6 {
            expire(&mut session, now * MIN_PERIOD_US);
            let expiry = next_expired(&session).unwrap();
            session.taken = expiry.alarm;
            take(&mut session, expiry.alarm).unwrap();
            order.push(expiry.alarm);
        }
        assert_eq!(order, [4, u32::MAX, 0, 4, u32::MAX, 0]);
    }

    #[test]
    fn the_count_does_not_run_over() {
        let mut session = session();
        set(&mut session, 1, 0, MIN_PERIOD_US).unwrap();
        for now in [TIME_LIMIT_US - 1, TIME_LIMIT_US] {
            expire(&mut session, now);
            assert_eq!(get(&session, 1).unwrap().count, u32::MAX);
            assert!(get(&session, 1).unwrap().due_us > now && is_sound(&session));
        }
    }

    /// Every field, out of its bounds, is found.
    #[test]
    fn nonsense_is_not_sound() {
        let damages: [fn(&mut State, &mut [Alarm]); 9] = [
            |state, _| state.expired += 1,
            |_, alarms| alarms[0].id = alarms[1].id,
            |_, alarms| alarms.swap(0, 2),
            |_, alarms| alarms[0].due_us = 2 * TIME_LIMIT_US,
            |_, alarms| alarms[0].due_us = NEVER,
            |_, alarms| alarms[1].due_us = NEVER,
            |_, alarms| alarms[1].period_us = MIN_PERIOD_US - 1,
            |_, alarms| alarms[1].period_us = TIME_LIMIT_US,
            |_, alarms| alarms[2].count = 0,
        ];
        for (number, damage) in damages.into_iter().enumerate() {
            let mut session = session();
            set(&mut session, 1, 500, 0).unwrap();
            set(&mut session, 2, 600, 5_000).unwrap();
            set(&mut session, 3, 100, 0).unwrap();
            assert!(expire(&mut session, 100) && is_sound(&session));
            let (state, alarms) = parts(&mut session);
            damage(state, alarms);
            assert!(!is_sound(&session), "damage {number}");
        }
        let mut session = session();
        session.set_tail_len(SIZE + 1).unwrap();
        assert!(!is_sound(&session));
        session.set_tail_len((MAX_ALARMS + 1) * SIZE).unwrap();
        assert!(!is_sound(&session));
    }
}
