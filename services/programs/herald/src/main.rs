//! `herald`: with the argument 0 it publishes a number, and the next one when all readers have said that they saw it; with
//! another one it is such a reader.
//!
//! Its status is the number of errors, at most 255: calls that failed, changes that were not seen, doubled or out of order, keys
//! of others that could be changed, notifications that did not come; and above it the changes published or seen.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use core::fmt::Write;

use console::{ConsoleClient, Output};
use herald::{ALL_READERS, NEWS, PUBLISHER, READERS, STOP, Seen};
use rt::{CallError, Error, Events, sys};
use store::{MAX_VALUE, Notice, StoreError, Subscriber};

/// What the store's notifications set.
const CHANGED: Events = Events::from_bits_truncate(1);
/// Ticks without a notification after which it looks by itself.
const PATIENCE: u32 = 5_000;
/// Each time so many changes were made or seen, a key of somebody else is tried.
const TRIAL: u32 = 16;
/// Errors after which there is no point in going on.
const MAX_ERRORS: u32 = 20;

struct Herald {
    number: u32,
    store: Subscriber,
    console: ConsoleClient,
    changes: u32,
    errors: u32,
}

/// What it waits for.
enum Heard {
    /// A key was published.
    News(&'static str),
    /// It is to come to an end.
    Stop,
}

impl Herald {
    fn new(number: u32) -> Result<Self, Error> {
        Ok(Herald { number, store: Subscriber::bind(CHANGED)?, console: ConsoleClient::bind()?, changes: 0, errors: 0 })
    }

    fn say(&mut self, text: core::fmt::Arguments<'_>) {
        let mut output = Output::new(&self.console);
        let written = writeln!(output, "herald {}: {text}", self.number);
        if output.finish().is_err() || written.is_err() {
            self.errors += 1;
        }
    }

    fn wrong(&mut self, text: core::fmt::Arguments<'_>) {
        self.errors += 1;
        self.say(text);
    }

    fn check<T>(&mut self, what: &str, result: Result<T, CallError<StoreError>>) -> Option<T> {
        result.map_err(|error| self.wrong(format_args!("{what}: {error}"))).ok()
    }

    /// Waits for the next change that matters.
    fn hear(&mut self) -> Heard {
        let mut told = true;
        while self.errors < MAX_ERRORS {
            let next = self.store.next_change();
            match self.check("changes", next) {
                Some(None) => match sys::wait_events(CHANGED, PATIENCE) {
                    Ok(events) => told = !events.is_empty(),
                    Err(error) => self.wrong(format_args!("wait: {error}")),
                },
                Some(Some(notice)) => {
                    // Unless it came between the wait and the question.
                    if !told && sys::wait_events(CHANGED, 1).is_ok_and(|events| events.is_empty()) {
                        self.wrong(format_args!("nobody told of {notice:?}"));
                    }
                    told = true;
                    match notice {
                        Notice::Published(key) if key.as_str() == STOP => return Heard::Stop,
                        Notice::Published(key) => {
                            let known = READERS.into_iter().chain([NEWS]).find(|known| *known == key.as_str());
                            match known {
                                Some(known) => return Heard::News(known),
                                None => self.wrong(format_args!("told of {key:?}")),
                            }
                        }
                        // The end of another reader.
                        Notice::Withdrawn(_) => {}
                        Notice::Missed => self.wrong(format_args!("changes were missed")),
                    }
                }
                None => {}
            }
        }
        Heard::Stop
    }

    /// The number under a key, and its version.
    fn number_of(&mut self, key: &str) -> Option<(u32, u64)> {
        let mut value = [0; MAX_VALUE];
        match self.store.get(key, &mut value) {
            Ok(entry) => entry.value.try_into().ok().map(|bytes| (u32::from_le_bytes(bytes), entry.version)),
            // Its owner has come to its end meanwhile.
            Err(CallError::Service(StoreError::NotFound)) => None,
            Err(error) => {
                self.wrong(format_args!("{key}: {error}"));
                None
            }
        }
    }

    /// Tries to change what belongs to somebody else.
    fn trespass(&mut self, key: &str) {
        for publish in [false, true] {
            let result = match publish {
                false => self.store.withdraw(key.as_bytes()).map(drop),
                true => self.store.put(key, b"mine").map(drop),
            };
            match result {
                Err(CallError::Service(StoreError::NotOwner)) => {}
                // Its owner has come to its end: the key is nobody's.
                Err(CallError::Service(StoreError::NotFound)) => return,
                // It has in between, as all are told to.
                Ok(()) if publish && self.store.get(STOP, &mut [0; MAX_VALUE]).is_ok() => {
                    let withdrawn = self.store.withdraw(key.as_bytes());
                    self.check(key, withdrawn);
                }
                Ok(()) => self.wrong(format_args!("{key} could be changed")),
                Err(error) => self.wrong(format_args!("{key}: {error}")),
            }
        }
    }

    fn publish(&mut self) {
        let followed = self.store.follow(ALL_READERS, true).and_then(|()| self.store.follow(STOP, true));
        self.check("subscribe", followed);
        let (mut read, mut version) = ([None; READERS.len()], 0);
        loop {
            while read.iter().any(|seen| *seen != Some(self.changes)) {
                match self.hear() {
                    Heard::Stop => return,
                    Heard::News(key) => {
                        let seen = self.number_of(key);
                        if let Some((index, (seen, _))) = READERS.iter().position(|reader| *reader == key).zip(seen) {
                            read[index] = Some(seen);
                        }
                    }
                }
            }
            if self.changes % TRIAL == TRIAL - 1 {
                self.trespass(READERS[self.changes as usize / TRIAL as usize % READERS.len()]);
            }
            let put = self.store.put(NEWS, &(self.changes + 1).to_le_bytes());
            if let Some(new) = self.check(NEWS, put) {
                if new <= version {
                    self.wrong(format_args!("version {new} after {version}"));
                }
                version = new;
            }
            self.changes += 1;
            if let Err(error) = sys::pause(2) {
                self.wrong(format_args!("pause: {error}"));
            }
        }
    }

    fn read(&mut self, own: &str) {
        let put = self.store.put(own, &0u32.to_le_bytes());
        self.check(own, put);
        let followed = self.store.follow(NEWS, true).and_then(|()| self.store.follow(STOP, true));
        self.check("subscribe", followed);
        let mut seen = Seen::default();
        while let Heard::News(_) = self.hear() {
            let Some((value, version)) = self.number_of(NEWS) else { continue };
            let before = seen;
            if !seen.next(value, version) {
                self.wrong(format_args!("{seen:?} after {before:?}"));
            }
            self.changes += 1;
            if self.changes.is_multiple_of(TRIAL) {
                self.trespass(NEWS);
            }
            let put = self.store.put(own, &value.to_le_bytes());
            self.check(own, put);
        }
    }

    fn run(&mut self) {
        match READERS.get((self.number as usize).wrapping_sub(1)) {
            Some(own) if self.number != PUBLISHER => self.read(own),
            _ => self.publish(),
        }
        let (changes, what) = (self.changes, if self.number == PUBLISHER { "published" } else { "seen" });
        self.say(format_args!("{changes} changes {what}"));
    }
}

fn herald(number: u32) -> u32 {
    match Herald::new(number) {
        Ok(mut herald) => {
            herald.run();
            herald.errors.min(255) | herald.changes.min(0xff_ffff) << 8
        }
        Err(error) => {
            // Without a session there is nobody to tell but the kernel's log; the status says it, too.
            let _ = sys::log(error.text());
            1
        }
    }
}

rt::program!(herald);
