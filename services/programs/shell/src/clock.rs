//! Commands about time.

use core::fmt::{self, Write};

use crate::command::{Context, Failure};
use crate::words::Words;

/// Microseconds in a millisecond.
const MS: u64 = 1_000;
/// The longest time that `sleep` and `alarm` take, in milliseconds: some 49 days.
const MAX_MS: u64 = u32::MAX as u64;

/// A time since the start, in microseconds.
pub struct Uptime(pub u64);

impl fmt::Display for Uptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0 / 1000;
        let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "{hours}:{minutes:02}:{seconds:02}.{:03}", ms % 1000)
    }
}

/// A number of milliseconds, in microseconds.
fn milliseconds(word: Option<&str>) -> Result<u64, Failure> {
    let ms = word.ok_or(Failure::Usage)?.parse().ok().filter(|ms| *ms <= MAX_MS);
    ms.map(|ms: u64| ms * MS).ok_or(Failure::Said("a time is a number of milliseconds, 4294967295 at most"))
}

pub fn uptime(context: &mut Context<'_, '_>, _: &Words) -> Result<(), Failure> {
    let (alarms, out) = context.alarms()?;
    let now = alarms.now().map_err(|error| Failure::asked("timer", "", error))?;
    writeln!(out, "up {} (h:mm:ss); the board has no calendar", Uptime(now))?;
    Ok(())
}

pub fn sleep(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    if words.argument_count() != 1 {
        return Err(Failure::Usage);
    }
    let delay = milliseconds(words.get(1))?;
    let (alarms, _) = context.alarms()?;
    alarms.sleep(delay).map_err(|error| Failure::asked("timer", "", error))
}

pub fn alarm(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let asked = |error| Failure::asked("timer", "", error);
    match (words.get(1), words.argument_count()) {
        (Some("cancel"), 2) => {
            let number: u32 = words.get(2).and_then(|word| word.parse().ok()).ok_or(Failure::Usage)?;
            let (alarms, out) = context.alarms()?;
            alarms.cancel(number).map_err(asked)?;
            writeln!(out, "alarm {number} is cancelled")?;
        }
        (first, 1..=2) => {
            let delay = milliseconds(first)?;
            let period = if words.argument_count() == 2 { milliseconds(words.get(2))? } else { 0 };
            // The number that `sleep` uses comes last.
            let number = context.sessions.alarm % (timer::SLEEP - 1) + 1;
            let (alarms, out) = context.alarms()?;
            let due = alarms.set(number, delay, period).map_err(asked)?;
            write!(out, "alarm {number} is due at {}", Uptime(due))?;
            if period > 0 {
                write!(out, ", and every {} ms; `alarm cancel {number}` ends it", period / MS)?;
            }
            writeln!(out)?;
            context.sessions.alarm = number;
        }
        _ => return Err(Failure::Usage),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!(Uptime(0).to_string(), "0:00:00.000");
        assert_eq!(Uptime(3_723_004_999).to_string(), "1:02:03.004");
        assert_eq!(Uptime(360_000_000_000).to_string(), "100:00:00.000");
    }

    #[test]
    fn milliseconds_are_numbers_within_bounds() {
        assert!(matches!(milliseconds(Some("20")), Ok(20_000)));
        assert!(matches!(milliseconds(Some("4294967295")), Ok(4_294_967_295_000)));
        for bad in ["4294967296", "-1", "x", ""] {
            assert!(matches!(milliseconds(Some(bad)), Err(Failure::Said(_))), "{bad}");
        }
        assert!(matches!(milliseconds(None), Err(Failure::Usage)));
    }
}
