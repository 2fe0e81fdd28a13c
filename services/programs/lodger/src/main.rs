//! `lodger`: has something with the timer and the store when it ends.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use lodger::{ALARMS, KEY, LEFT, REFUSED, Way};
use rt::{Events, sys};
use store::Subscriber;
use timer::{Alarms, TimerError};

const ALARM: Events = Events::from_bits_truncate(1);
const CHANGE: Events = Events::from_bits_truncate(2);

fn lodge(argument: u32) -> u32 {
    let Some(way) = Way::ALL.get(argument as usize) else { return REFUSED };
    let (Ok(alarms), Ok(subscriber)) = (Alarms::bind(ALARM), Subscriber::bind(CHANGE)) else { return REFUSED };
    if moves_in(*way, &alarms, &subscriber).is_err() {
        return REFUSED;
    }
    match way {
        Way::Stays => loop {
            if alarms.wait().is_err() || subscriber.next_change().is_err() || subscriber.put(KEY, &[0]).is_err() {
                return REFUSED;
            }
        },
        Way::Waits => {
            // Not within the time of a test.
            let _ = alarms.wait_for(ALARMS);
            REFUSED
        }
        // Without dropping what is open.
        Way::Leaves => sys::exit(LEFT),
        Way::Panics => panic!("a lodger that panics, as it was told to"),
    }
}

fn moves_in(way: Way, alarms: &Alarms, subscriber: &Subscriber) -> Result<(), rt::CallError<TimerError>> {
    let second = 1_000_000;
    for alarm in 0..ALARMS {
        alarms.set(alarm, 1_000 + u64::from(alarm) * 100, 2_000)?;
    }
    alarms.set(ALARMS, 1000 * second, 0)?;
    let done = subscriber.follow("*", true).and_then(|()| subscriber.put(KEY, &[way as u8]));
    done.map(|_| ()).map_err(|_| rt::CallError::Protocol(0))
}

rt::program!(lodge);
