//! What programs need beside the methods: waiting.

use core::ops::Deref;

use rt::client::when_ready;
use rt::{CallError, Error, Events};

use crate::{Expiry, TimerClient, TimerError};

/// The alarm that [`Alarms::sleep`] uses.
pub const SLEEP: u32 = u32::MAX;

/// A session with the timer, and the events that its notifications set: alarms that can be waited for.
///
/// Events say "look", not what there is to see: whoever waits for the same events for another reason may find them taken, so a
/// session has bits of its own.
#[derive(Debug)]
pub struct Alarms {
    client: TimerClient,
    events: Events,
}

impl Alarms {
    /// Opens a session whose notifications set these events, which must not be none.
    ///
    /// # Errors
    /// As [`rt::sys::bind`]; [`Error::BadArgument`]: without events nobody could wait.
    pub fn bind(events: Events) -> Result<Self, Error> {
        if (events & Events::NOTIFICATIONS).is_empty() {
            return Err(Error::BadArgument);
        }
        Ok(Alarms { client: TimerClient::bind_notified(events)?, events })
    }

    /// What its notifications set.
    pub fn events(&self) -> Events {
        self.events
    }

    /// Waits until an alarm has expired, and takes it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(&self) -> Result<Expiry, CallError<TimerError>> {
        let (alarm, count) = when_ready(self.events, || self.client.take()).map_err(error)?;
        Ok(Expiry { alarm, count })
    }

    /// Waits until this alarm has expired, and takes it; returns the number of its expiries. Others stay.
    ///
    /// # Errors
    /// What the kernel says; [`TimerError::NoSuchAlarm`].
    pub fn wait_for(&self, alarm: u32) -> Result<u32, CallError<TimerError>> {
        when_ready(self.events, || self.client.take_of(alarm)).map_err(error)
    }

    /// Returns after so many microseconds, at the tick of a millisecond that follows. Uses the alarm [`SLEEP`].
    ///
    /// # Errors
    /// As [`TimerClient::set`], and what the kernel says.
    pub fn sleep(&self, delay_us: u64) -> Result<(), CallError<TimerError>> {
        self.client.set(SLEEP, delay_us, 0)?;
        self.wait_for(SLEEP).map(|_| ())
    }

    /// Returns at this time, at the tick of a millisecond that follows; at the next one if it has passed. Uses the alarm [`SLEEP`].
    ///
    /// # Errors
    /// As [`TimerClient::set_at`], and what the kernel says.
    pub fn sleep_until(&self, at_us: u64) -> Result<(), CallError<TimerError>> {
        self.client.set_at(SLEEP, at_us, 0)?;
        self.wait_for(SLEEP).map(|_| ())
    }
}

impl Deref for Alarms {
    type Target = TimerClient;

    fn deref(&self) -> &TimerClient {
        &self.client
    }
}

/// The errors of `take` and its kin among those of the timer.
fn error(error: CallError<Error>) -> CallError<TimerError> {
    match error {
        CallError::Kernel(Error::NotFound) | CallError::Service(Error::NotFound) => {
            CallError::Service(TimerError::NoSuchAlarm)
        }
        CallError::Kernel(error) | CallError::Service(error) => CallError::Kernel(error),
        CallError::Protocol(code) => CallError::Protocol(code),
    }
}
