//! The service: requests of clients, deadlines, and what is rebuilt after a failure.

use core::convert::Infallible;

use rt::{Construct, Error, Events, LentWrite, Next, Service, Session, sys};
use zerocopy::{FromZeros, IntoBytes};

use crate::alarms::{self, State};
use crate::interface::Timer;
use crate::queue::Queue;
use crate::{Expiry, MAX_ALARMS, MIN_PERIOD_US, TIME_LIMIT_US, TimerError};

/// Domains with numbers below this are objects.
const OBJECTS: u32 = 64;

/// What the service needs of the kernel. Tests have their own.
pub trait Machine: Default + 'static {
    /// Microseconds since boot; never less than before.
    fn now(&mut self) -> u64;
    /// Asks for the event [`Events::DEADLINE`] at this time, instead of any asked for before; `None`: never. It stands at once,
    /// whatever becomes of the activation.
    fn deadline(&mut self, at_us: Option<u64>);
    /// Notifies the client of a session, when the activation commits.
    fn notify(&mut self, session: u32);
}

/// The kernel itself. A refusal is a manifest without the rights: a failure that says so.
#[derive(Default)]
pub struct Kernel;

impl Machine for Kernel {
    fn now(&mut self) -> u64 {
        sys::time_us().expect("the manifest grants `time`")
    }

    fn deadline(&mut self, at_us: Option<u64>) {
        sys::deadline(at_us).expect("the manifest grants `deadline`");
    }

    fn notify(&mut self, session: u32) {
        sys::notify(session).expect("the session that is open is the service's own");
    }
}

/// The service.
pub struct Server<M> {
    machine: M,
    queue: Queue,
    /// The deadline, or the one whose event is being delivered: then the next one is set before that is over.
    armed: Option<u64>,
    /// Sessions that were due by then are looked at before the event is over, each once: what a step puts back into the
    /// queue is later.
    sweep: u64,
}

impl<M: Machine> Server<M> {
    /// The service before its first session, or with all sessions still to be reloaded.
    pub fn on(mut machine: M) -> Self {
        // What the deadline was before a failure is not known, nor whether its event was delivered. The event that this
        // brings sets the right one.
        machine.deadline(Some(0));
        Server { machine, queue: Queue::new(), armed: Some(0), sweep: 0 }
    }

    /// The derived queue, for tests.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Makes sure that an event comes by then. Later deadlines are not set here: [`Server::next`] does that.
    fn arm(&mut self, due_us: u64) {
        if self.armed.is_none_or(|armed| due_us < armed) {
            self.machine.deadline(Some(due_us));
            self.armed = Some(due_us);
        }
    }

    /// The next session to look at, or none: then the next deadline is set.
    fn next(&mut self) -> Next {
        match self.queue.first() {
            Some((due_us, session)) if due_us <= self.sweep => Next::Session(session),
            first => {
                self.armed = first.map(|(due_us, _)| due_us);
                self.machine.deadline(self.armed);
                Next::Done
            }
        }
    }

    fn start(
        &mut self,
        session: &mut Session<State>,
        alarm: u32,
        due_us: u64,
        period_us: u64,
    ) -> Result<u64, TimerError> {
        if due_us.max(period_us) >= TIME_LIMIT_US {
            return Err(TimerError::TooFar);
        }
        if (1..MIN_PERIOD_US).contains(&period_us) {
            return Err(TimerError::PeriodTooShort);
        }
        alarms::set(session, alarm, due_us, period_us)?;
        self.queue.advance(session.number(), due_us);
        self.arm(due_us);
        Ok(due_us)
    }
}

impl<M: Machine> Service for Server<M> {
    type State = State;

    fn new(_: &mut Construct) -> Self {
        Self::on(M::default())
    }

    fn open(&mut self, session: &mut Session<State>) -> Result<(), Error> {
        // A session that was lost leaves its number behind.
        self.queue.remove(session.number());
        // The first turn is that of the lowest number.
        session.taken = u32::MAX;
        Ok(())
    }

    fn is_sound(session: &Session<State>) -> bool {
        alarms::is_sound(session)
    }

    fn reload(&mut self, session: &mut Session<State>) -> Result<(), Error> {
        let number = session.number();
        self.queue.remove(number);
        if !alarms::is_sound(session) {
            return Err(Error::SessionLost);
        }
        // The request of an object may still be undone, and this state with it: a step, which comes after that, decides.
        let undoable = session.client() < OBJECTS;
        if let Some(due_us) = if undoable { Some(0) } else { alarms::next_due(session) } {
            self.queue.set(number, Some(due_us));
            self.arm(due_us);
        }
        Ok(())
    }

    fn close(&mut self, session: &mut Session<State>) {
        self.queue.remove(session.number());
    }

    fn event(&mut self, _: Events) -> Next {
        self.sweep = self.machine.now();
        self.next()
    }

    fn step(&mut self, session: &mut Session<State>, _: Events) -> Next {
        let number = session.number();
        let now = self.machine.now();
        if alarms::expire(session, now) {
            self.machine.notify(number);
        }
        self.queue.set(number, alarms::next_due(session));
        self.next()
    }

    fn skipped(&mut self, session: u32, _: Events) -> Next {
        self.queue.remove(session);
        self.next()
    }

    fn self_test(&mut self) -> Result<(), Error> {
        if !self.queue.is_sound() {
            return Err(Error::ServerFault);
        }
        // Were the event of a deadline lost, by whomever, it comes now.
        if let Some((due_us, _)) = self.queue.first() {
            self.machine.deadline(Some(due_us));
            self.armed = Some(due_us);
        }
        Ok(())
    }
}

impl<M: Machine> Timer for Server<M> {
    fn now(&mut self, _: &mut Session<State>) -> Result<u64, Infallible> {
        Ok(self.machine.now())
    }

    fn set(
        &mut self,
        session: &mut Session<State>,
        alarm: u32,
        delay_us: u64,
        period_us: u64,
    ) -> Result<u64, TimerError> {
        let due_us = self.machine.now().checked_add(delay_us).ok_or(TimerError::TooFar)?;
        self.start(session, alarm, due_us, period_us)
    }

    fn set_at(
        &mut self,
        session: &mut Session<State>,
        alarm: u32,
        at_us: u64,
        period_us: u64,
    ) -> Result<u64, TimerError> {
        let due_us = self.machine.now().max(at_us);
        self.start(session, alarm, due_us, period_us)
    }

    fn cancel(&mut self, session: &mut Session<State>, alarm: u32) -> Result<u32, TimerError> {
        alarms::cancel(session, alarm)
    }

    fn alarm(&mut self, session: &mut Session<State>, alarm: u32) -> Result<(u64, u64), TimerError> {
        alarms::get(session, alarm).map(|alarm| (alarm.due_us, alarm.period_us))
    }

    fn take(&mut self, session: &mut Session<State>) -> Result<(u32, u32), Error> {
        let expiry = alarms::next_expired(session).ok_or(Error::WouldBlock)?;
        session.taken = expiry.alarm;
        let count = alarms::take(session, expiry.alarm).map_err(|_| Error::NotFound)?;
        Ok((expiry.alarm, count))
    }

    fn take_of(&mut self, session: &mut Session<State>, alarm: u32) -> Result<u32, Error> {
        match alarms::take(session, alarm) {
            Ok(0) => Err(Error::WouldBlock),
            Ok(count) => Ok(count),
            Err(_) => Err(Error::NotFound),
        }
    }

    fn take_all(&mut self, session: &mut Session<State>, mut expiries: LentWrite<'_>) -> Result<u32, Error> {
        let mut records = [Expiry::new_zeroed(); MAX_ALARMS];
        let room = (expiries.len() / size_of::<Expiry>()).min(MAX_ALARMS);
        if room == 0 {
            return Err(Error::BadArgument);
        }
        let mut count = 0;
        for (record, expiry) in records[..room].iter_mut().zip(alarms::expired(session)) {
            *record = expiry;
            count += 1;
        }
        let Some(last) = records[..count].last() else { return Err(Error::WouldBlock) };
        // Nothing is taken that could not be handed over.
        expiries.copy(0, records[..count].as_bytes())?;
        session.taken = last.alarm;
        for record in &records[..count] {
            alarms::take(session, record.alarm).map_err(|_| Error::NotFound)?;
        }
        Ok(count as u32)
    }

    fn lateness(&mut self, session: &mut Session<State>) -> Result<u64, Infallible> {
        Ok(session.late_us)
    }
}
