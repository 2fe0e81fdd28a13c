//! Errors of kernel calls, each naming whose fault it was.

use crate::info::Pool;

macro_rules! errors {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What a kernel call or a protected method call can fail with (r0). Codes from
        /// [`SERVICE_ERRORS`] on belong to the service that returned them.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Error {
            $($(#[doc = $doc])* $name = $number,)*
        }

        impl Error {
            /// The error with this code; `None` for 0 and for codes of services.
            pub const fn from_code(code: u32) -> Option<Error> {
                match code {
                    $($number => Some(Error::$name),)*
                    _ => None,
                }
            }

            /// What happened, in words for a person.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Error::$name => $text,)*
                }
            }
        }
    };
}

errors! {
    /// Caller: no kernel call has this number.
    NoSuchCall = 1, "no such kernel call";
    /// Caller: the handle names no session of the caller.
    BadHandle = 2, "the handle names no session of this client";
    /// Caller: the session behind the handle has ended.
    StaleHandle = 3, "the session behind the handle has ended: bind again";
    /// Caller: the service has no such method.
    BadMethod = 4, "the service has no such method";
    /// Caller: the manifest does not grant this (r1 = bit number of the missing right, or the image index of the callee).
    NotPermitted = 5, "the manifest does not grant this right";
    /// Caller: the object is already active further up in the same request.
    Reentry = 6, "the object is already active in this request";
    /// Caller: too many nested calls.
    TooDeep = 7, "too many nested calls";
    /// Caller: a buffer is not the caller's own memory, is not aligned, wraps round, or overlaps the other one.
    BadRange = 8, "a buffer is not in the caller's own memory";
    /// Caller: an argument is out of its range.
    BadArgument = 9, "an argument is out of range";
    /// Caller: no service or program has this name.
    NotFound = 10, "nothing has this name";
    /// System: a static pool or a quota of the caller is used up (r1 = [`crate::info::Pool`]).
    Exhausted = 11, "a pool or a quota is used up";
    /// Service: the request failed, its effects are undone, the service has recovered.
    ServerFault = 12, "the request made the service fail; its effects are undone";
    /// Service: the state of this session could not be kept.
    SessionLost = 13, "the state of this session is lost: bind again";
    /// Caller: too many requests of this client made the service fail; it may not bind before the back-off ends.
    Blamed = 14, "requests of this client kept failing the service: try again later";
    /// Service: stopped, it does not recover.
    Stopped = 15, "the service is stopped";
    /// Service: not ready, ask again.
    WouldBlock = 16, "not ready: ask again";
    /// Caller: an outer activation of the request failed, or the nested request was undone.
    Aborted = 17, "the request was undone";
    /// Caller: the process number names no child of the caller.
    NoSuchProcess = 18, "no such process";
}

/// First code that belongs to services.
pub const SERVICE_ERRORS: u32 = 0x100;

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.text())
    }
}

/// Why the kernel does not do what a call asks for: the error in r0, and what it says in r1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub Error, pub u32);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal(error, 0)
    }
}

impl From<Pool> for Refusal {
    fn from(pool: Pool) -> Self {
        Refusal(Error::Exhausted, pool as u32)
    }
}
