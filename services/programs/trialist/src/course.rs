//! A client's course: numbered calls, each noted with what came of it.

use core::sync::atomic::{AtomicU32, Ordering};

use abi::call::name_str;
use abi::info::ProcessInfo;
use rt::{CallError, Error, Events, ServiceError, sys};
use trial::{Entry, Log, MAGIC, status};

/// Ticks for which a course waits in all, so that it comes to its end whatever never comes.
const PATIENCE: u32 = 2_000;
/// Ticks that each wait has at least, then.
const LEAST: u32 = 20;
/// How often a call is made again that the kernel ended.
const AGAIN: u32 = 3;
/// Name of this program.
const OWN_NAME: &str = "trialist";

/// What is left of [`PATIENCE`].
static LEFT: AtomicU32 = AtomicU32::new(PATIENCE);

/// The log, and how far the course is.
pub struct Course {
    log: &'static mut Log,
    /// Number of the client.
    pub client: u32,
    step: u32,
}

/// What a call returned.
#[derive(Clone, Copy)]
pub struct Answer {
    value: u32,
    late: u64,
}

/// Why a call returned nothing.
#[derive(Clone, Copy)]
pub struct Failed {
    status: u32,
    again: bool,
    session_is_gone: bool,
}

impl Answer {
    /// A value that came so many microseconds after the time when it was due.
    pub fn late(value: u32, late: u64) -> Self {
        Answer { value, late }
    }
}

impl From<u32> for Answer {
    fn from(value: u32) -> Self {
        Answer { value, late: 0 }
    }
}

impl Failed {
    /// The bound of a wait.
    pub const TIMEOUT: Failed = Failed { status: status::TIMEOUT, again: false, session_is_gone: false };
}

impl<E: ServiceError> From<CallError<E>> for Failed {
    fn from(error: CallError<E>) -> Self {
        let session_is_gone = error.session_is_gone();
        let (status, again) = match error {
            CallError::Kernel(error) => (status::KERNEL + error as u32, !session_is_gone),
            CallError::Service(error) => (status::SERVICE + (error.code() & 0xffff), false),
            CallError::Protocol(code) => (status::PROTOCOL + (code & 0xffff), false),
        };
        Failed { status, again, session_is_gone }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::from(CallError::<Error>::Kernel(error))
    }
}

/// Microseconds since boot.
pub fn now() -> u64 {
    // The manifest grants it.
    sys::time_us().unwrap_or(0)
}

/// Waits for one of these events, within what is left of the patience.
///
/// # Errors
/// [`Failed::TIMEOUT`].
pub fn wait_for(events: Events) -> Result<(), Failed> {
    let (began, left) = (now(), LEFT.load(Ordering::Relaxed));
    let come = sys::wait_events(events, left.max(LEAST))?;
    let waited = u32::try_from((now() - began) / 1_000).unwrap_or(u32::MAX);
    LEFT.store(left.saturating_sub(waited), Ordering::Relaxed);
    if come.is_empty() { Err(Failed::TIMEOUT) } else { Ok(()) }
}

/// Leaves the processor for a tick, unless there is no patience left.
///
/// # Errors
/// [`Failed::TIMEOUT`].
pub fn pause() -> Result<(), Failed> {
    let left = LEFT.load(Ordering::Relaxed);
    LEFT.store(left.checked_sub(1).ok_or(Failed::TIMEOUT)?, Ordering::Relaxed);
    Ok(sys::pause(1)?)
}

impl Course {
    /// A course at its start.
    pub fn new(log: &'static mut Log, client: u32, argument: u32) -> Self {
        (log.magic, log.client, log.process) = (MAGIC, client, own_process(argument));
        Course { log, client, step: 0 }
    }

    /// Ends it.
    pub fn end(self) {
        self.log.complete = 1;
    }

    /// Notes a call of the present step.
    fn note(&mut self, began: u64, status: u32, value: u32, late: u64) {
        let late = late.min(u32::MAX.into()) as u32;
        let entry = Entry { step: self.step, status, value, late, began: began as u32, ended: now() as u32 };
        if let Some(place) = self.log.entries.get_mut(self.log.count as usize) {
            *place = entry;
        }
        self.log.count = self.log.count.saturating_add(1);
    }
}

/// A session with the service under test, or what became of it.
pub struct Subject<S> {
    /// Where its calls are noted.
    pub course: Course,
    bind: fn() -> Result<S, Error>,
    session: Result<S, Error>,
    /// Whether one was lost before.
    bound_anew: bool,
}

impl<S> Subject<S> {
    /// Opens it: the first step.
    pub fn bind(mut course: Course, bind: fn() -> Result<S, Error>) -> Self {
        let session = open(&mut course, bind);
        if session.is_ok() {
            course.note(now(), 0, 0, 0);
        }
        Subject { course, bind, session, bound_anew: false }
    }

    /// The next step: makes a call, and makes it again if the kernel ended it. What it returned, unless it failed for good.
    pub fn call(&mut self, mut make: impl FnMut(&S) -> Result<Answer, Failed>) -> Option<u32> {
        self.step(&mut make)
    }

    fn step(&mut self, make: &mut dyn FnMut(&S) -> Result<Answer, Failed>) -> Option<u32> {
        self.course.step += 1;
        for _ in 0..=AGAIN {
            let began = now();
            let result = match &self.session {
                Ok(session) => make(session),
                Err(error) => Err(Failed { again: false, ..Failed::from(*error) }),
            };
            match result {
                Ok(Answer { value, late }) => {
                    self.course.note(began, 0, value, late);
                    return Some(value);
                }
                Err(failed) => {
                    self.course.note(began, failed.status, 0, 0);
                    if failed.session_is_gone && !self.bound_anew {
                        self.bound_anew = true;
                        self.session = open(&mut self.course, self.bind);
                        return None;
                    }
                    if !failed.again {
                        return None;
                    }
                }
            }
        }
        None
    }

    /// Closes the session and opens another one: a step.
    pub fn reopen(&mut self) {
        self.course.step += 1;
        let began = now();
        // Dropping the session closes it.
        self.session = Err(Error::StaleHandle);
        self.session = open(&mut self.course, self.bind);
        if self.session.is_ok() {
            self.course.note(began, 0, 0, 0);
        }
    }

    /// Closes the session, and ends the course.
    pub fn end(self) {
        drop(self.session);
        self.course.end();
    }
}

/// Opens a session, in several attempts; those that fail are noted.
fn open<S>(course: &mut Course, bind: fn() -> Result<S, Error>) -> Result<S, Error> {
    let mut session = Err(Error::StaleHandle);
    for _ in 0..=AGAIN {
        let began = now();
        session = bind();
        match &session {
            Ok(_) => break,
            Err(error) => course.note(began, status::KERNEL + *error as u32, 0, 0),
        }
    }
    session
}

/// Takes an error of the service that was to come for a value: its code. 0: it did not come.
pub fn refused<T, E: ServiceError + PartialEq>(result: Result<T, CallError<E>>, expected: E) -> Result<Answer, Failed> {
    match result {
        Ok(_) => Ok(Answer::from(0)),
        Err(CallError::Service(error)) if error == expected => Ok(Answer::from(error.code())),
        Err(error) => Err(error.into()),
    }
}

/// Folds bytes into a number (FNV-1a).
pub fn fold(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// A number for these bytes.
pub fn hash(bytes: &[u8]) -> u32 {
    fold(0x811c_9dc5, bytes)
}

/// A number for these words.
pub fn hash_words(words: &[u32]) -> u32 {
    words.iter().fold(0x811c_9dc5, |hash, word| fold(hash, &word.to_le_bytes()))
}

/// Number of the process of this program that was started with this argument; 0 if the kernel knows of none.
fn own_process(argument: u32) -> u32 {
    let mut slots = (0..).map_while(|slot| sys::info::<ProcessInfo>(slot).ok());
    let own = |info: &ProcessInfo| info.argument == argument && info.state != 0 && name_str(&info.name) == OWN_NAME;
    slots.find(own).map_or(0, |info| info.process)
}
