//! What clients can ask for.

use core::convert::Infallible;

use rt::{Error, LentWrite, Session, interface};

use crate::TimerError;

/// Clock and alarms. All times are microseconds, of the clock that starts with the system.
#[interface(name = "timer")]
pub trait Timer {
    /// The time since boot.
    #[read_only]
    fn now(&mut self, session: &mut Session<Self::State>) -> Result<u64, Infallible>;

    /// Sets an alarm that is due after `delay_us`, and with a period other than 0 again after each period. Returns the time at
    /// which it is due. It replaces an alarm of the same number, together with expiries of that one not yet taken.
    fn set(
        &mut self,
        session: &mut Session<Self::State>,
        alarm: u32,
        delay_us: u64,
        period_us: u64,
    ) -> Result<u64, TimerError>;

    /// As `set`, with the time at which the alarm is first due. A time that has passed counts as now.
    fn set_at(
        &mut self,
        session: &mut Session<Self::State>,
        alarm: u32,
        at_us: u64,
        period_us: u64,
    ) -> Result<u64, TimerError>;

    /// Removes an alarm. Returns how many of its expiries had not been taken; they are gone with it.
    fn cancel(&mut self, session: &mut Session<Self::State>, alarm: u32) -> Result<u32, TimerError>;

    /// When an alarm is due next, and its period. A time of `u64::MAX`: it has expired, and waits to be taken.
    #[read_only]
    fn alarm(&mut self, session: &mut Session<Self::State>, alarm: u32) -> Result<(u64, u64), TimerError>;

    /// Takes an alarm that has expired: its number, and its expiries since it was last taken. They take turns in the order
    /// of their numbers. An alarm that was set once is removed by this. `WouldBlock`: none has expired; the client is
    /// notified when one does.
    fn take(&mut self, session: &mut Session<Self::State>) -> Result<(u32, u32), Error>;

    /// As `take`, for this alarm only; returns its expiries. `NotFound`: no such alarm is set.
    fn take_of(&mut self, session: &mut Session<Self::State>, alarm: u32) -> Result<u32, Error>;

    /// Takes as many alarms that have expired as there is room for; returns their number. The buffer is filled with
    /// [`crate::Expiry`] records. `BadArgument`: there is no room for one.
    fn take_all(&mut self, session: &mut Session<Self::State>, expiries: LentWrite<'_>) -> Result<u32, Error>;

    /// By how much an alarm of this session was late at most: from the time when it was due to the step that counted the
    /// expiry and notified the client.
    #[read_only]
    fn lateness(&mut self, session: &mut Session<Self::State>) -> Result<u64, Infallible>;
}
