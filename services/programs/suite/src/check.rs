//! Running a test, and saying how it went.

use alloc::string::String;
use core::fmt::{Display, Write};

use rt::{Text, sys};

use crate::world;

/// Why a test failed.
pub type Why = String;
/// How a test went.
pub type Check = Result<(), Why>;

/// Fails the test with a formatted reason.
macro_rules! fail {
    ($($argument:tt)*) => {
        return Err(alloc::format!($($argument)*))
    };
}

/// Fails the test with a formatted reason unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($argument:tt)*) => {
        if !$condition {
            $crate::check::fail!($($argument)*);
        }
    };
}

/// Fails the test unless both sides are equal; says what they are.
macro_rules! equal {
    ($left:expr, $right:expr, $($argument:tt)*) => {
        match (&$left, &$right) {
            (left, right) => {
                if *left != *right {
                    $crate::check::fail!("{}: {left:?} instead of {right:?}", format_args!($($argument)*));
                }
            }
        }
    };
}

/// Takes the value out of a result, or fails the test with its error.
macro_rules! get {
    ($result:expr, $($argument:tt)*) => {
        match $result {
            Ok(value) => value,
            Err(error) => $crate::check::fail!("{}: {error:?}", format_args!($($argument)*)),
        }
    };
}

pub(crate) use {ensure, equal, fail, get};

/// The count of it all.
pub struct Suite {
    passed: u32,
    failed: u32,
}

impl Suite {
    /// Nothing ran yet.
    pub fn new() -> Self {
        Suite { passed: 0, failed: 0 }
    }

    /// Runs a test; it must give back every session and process that it took.
    pub fn run(&mut self, name: impl Display, test: impl FnOnce() -> Check) {
        self.report(name, || {
            let before = world::in_use();
            test().and_then(|()| world::settle(before))
        });
    }

    /// Runs a test after which services may hold sessions with each other: they keep those that they once opened.
    pub fn run_first(&mut self, name: impl Display, test: impl FnOnce() -> Check) {
        self.report(name, test);
    }

    fn report(&mut self, name: impl Display, test: impl FnOnce() -> Check) {
        let result = test();
        if result.is_err() {
            // What it did not get round to, lest it disturb the next ones.
            world::end_children();
        }
        let mut line = Text::<250>::new();
        // Text cuts and never fails.
        let _ = match &result {
            Ok(()) => write!(line, "test {name} ... ok"),
            Err(why) => write!(line, "test {name} ... FAILED: {}", why),
        };
        say(line.as_str());
        match result {
            Ok(()) => self.passed += 1,
            Err(_) => self.failed += 1,
        }
    }

    /// Says the count and ends the system.
    pub fn end(&self) -> u32 {
        let mut line = Text::<64>::new();
        let _ = write!(line, "suite done: {} passed, {} failed", self.passed, self.failed);
        say(line.as_str());
        say("suite complete");
        let status = u8::from(self.failed > 0);
        // It returns only where the right is missing; then the status says that it went wrong.
        let _ = sys::shutdown(status);
        2
    }
}

/// A line in the kernel's log.
fn say(line: &str) {
    // The manifest grants it; were it not so, the missing lines would be the sign.
    let _ = sys::log(line);
}
