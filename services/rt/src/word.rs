//! Arguments and results: what travels in registers.

use core::convert::Infallible;

use abi::Error;
use abi::error::SERVICE_ERRORS;

use crate::arch::{Register, UNUSED, used};

/// A value that fills one register.
///
/// The other side of a call is not trusted: not every word need be a value.
pub trait Word: Sized {
    /// The word for this value.
    fn into_word(self) -> u32;
    /// The value of this word, if it is one.
    fn from_word(word: u32) -> Option<Self>;
}

impl Word for u32 {
    #[inline(always)]
    fn into_word(self) -> u32 {
        self
    }
    #[inline(always)]
    fn from_word(word: u32) -> Option<Self> {
        Some(word)
    }
}

impl Word for i32 {
    #[inline(always)]
    fn into_word(self) -> u32 {
        self as u32
    }
    #[inline(always)]
    fn from_word(word: u32) -> Option<Self> {
        Some(word as i32)
    }
}

impl Word for bool {
    #[inline(always)]
    fn into_word(self) -> u32 {
        self.into()
    }
    #[inline(always)]
    fn from_word(word: u32) -> Option<Self> {
        match word {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

macro_rules! narrow_words {
    ($($type:ty),*) => {$(
        impl Word for $type {
            #[inline(always)]
            fn into_word(self) -> u32 {
                self.into()
            }
            #[inline(always)]
            fn from_word(word: u32) -> Option<Self> {
                word.try_into().ok()
            }
        }
    )*};
}
narrow_words!(u8, u16, char);

/// Results in registers: up to four words.
pub trait Reply: Sized {
    /// Words it fills, 0 to 4.
    const COUNT: usize;
    /// Writes itself from register `at` on.
    fn put(self, registers: &mut [Register; 4], at: usize);
    /// Reads itself from register `at` on; `None` if the words are no such value.
    fn take(registers: &[u32; 4], at: usize) -> Option<Self>;
}

impl<W: Word> Reply for W {
    const COUNT: usize = 1;
    #[inline(always)]
    fn put(self, registers: &mut [Register; 4], at: usize) {
        registers[at] = used(self.into_word());
    }
    #[inline(always)]
    fn take(registers: &[u32; 4], at: usize) -> Option<Self> {
        W::from_word(registers[at])
    }
}

macro_rules! long_replies {
    ($($type:ty),*) => {$(
        impl Reply for $type {
            const COUNT: usize = 2;
            #[inline(always)]
            fn put(self, registers: &mut [Register; 4], at: usize) {
                registers[at] = used(self as u32);
                registers[at + 1] = used((self as u64 >> 32) as u32);
            }
            #[inline(always)]
            fn take(registers: &[u32; 4], at: usize) -> Option<Self> {
                Some((u64::from(registers[at + 1]) << 32 | u64::from(registers[at])) as $type)
            }
        }
    )*};
}
long_replies!(u64, i64);

macro_rules! tuple_replies {
    ($(($($name:ident),*))*) => {$(
        impl<$($name: Reply),*> Reply for ($($name,)*) {
            const COUNT: usize = 0 $(+ $name::COUNT)*;
            #[inline(always)]
            #[allow(non_snake_case, unused_mut, unused_variables, unused_assignments)] // the names serve as type and value; () has none
            fn put(self, registers: &mut [Register; 4], mut at: usize) {
                let ($($name,)*) = self;
                $(
                    let words = $name::COUNT;
                    Reply::put($name, registers, at);
                    at += words;
                )*
            }
            #[inline(always)]
            #[allow(unused_mut, unused_variables, unused_assignments)] // () has no parts
            fn take(registers: &[u32; 4], mut at: usize) -> Option<Self> {
                Some(($(
                    {
                        let value = $name::take(registers, at)?;
                        at += $name::COUNT;
                        value
                    },
                )*))
            }
        }
    )*};
}
tuple_replies!(()(A, B)(A, B, C)(A, B, C, D));

/// The registers of a result.
#[inline(always)]
pub(crate) fn registers<T: Reply>(value: T) -> [Register; 4] {
    const { assert!(T::COUNT <= 4, "a result has at most four words") };
    let mut registers = [UNUSED; 4];
    value.put(&mut registers, 0);
    registers
}

/// The errors of one service's methods: codes from [`SERVICE_ERRORS`] on, or [`abi::Error`] itself, or none at all
/// ([`Infallible`]). [`errors!`](crate::errors) writes the implementation.
pub trait ServiceError: Sized {
    /// The code that travels in r0; never 0.
    fn code(&self) -> u32;
    /// The error with this code, if this service has it.
    fn from_code(code: u32) -> Option<Self>;
}

impl ServiceError for Error {
    #[inline(always)]
    fn code(&self) -> u32 {
        *self as u32
    }
    fn from_code(_: u32) -> Option<Self> {
        // Codes of the kernel reach the caller as `CallError::Kernel`, whoever returned them.
        None
    }
}

impl ServiceError for Infallible {
    #[inline(always)]
    fn code(&self) -> u32 {
        match *self {}
    }
    fn from_code(_: u32) -> Option<Self> {
        None
    }
}

/// Why a protected method call gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError<E> {
    /// The kernel refused or ended the call, or the service returned one of the kernel's errors (`WouldBlock`).
    Kernel(Error),
    /// The service's own error.
    Service(E),
    /// A reply that the interface does not know (r0): client and service were built from different interfaces.
    Protocol(u32),
}

impl<E> CallError<E> {
    /// Whether the session is gone, so that only binding again can help. What it held is lost; whether that
    /// matters is the caller's to say, which is why nothing binds again by itself.
    pub fn session_is_gone(&self) -> bool {
        matches!(self, CallError::Kernel(Error::SessionLost | Error::StaleHandle | Error::BadHandle | Error::Blamed))
    }

    /// Whether the service is not ready, so that asking again later can help.
    pub fn would_block(&self) -> bool {
        matches!(self, CallError::Kernel(Error::WouldBlock))
    }
}

impl<E: ServiceError> CallError<E> {
    /// The error with this code (r0, not 0).
    #[cold]
    pub fn from_code(code: u32) -> Self {
        if let Some(error) = E::from_code(code) {
            return CallError::Service(error);
        }
        match Error::from_code(code) {
            Some(error) if code < SERVICE_ERRORS => CallError::Kernel(error),
            _ => CallError::Protocol(code),
        }
    }
}

impl<E> From<Error> for CallError<E> {
    fn from(error: Error) -> Self {
        CallError::Kernel(error)
    }
}

impl<E: core::fmt::Display> core::fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            CallError::Kernel(error) => error.fmt(f),
            CallError::Service(error) => error.fmt(f),
            CallError::Protocol(code) => {
                write!(f, "the service gave a reply that its interface does not know ({code:#x})")
            }
        }
    }
}

/// Defines the errors of a service, with their codes (from 0x100 on) and what they say to a person.
///
/// ```
/// rt::errors! {
///     /// What can go wrong with a tally.
///     pub enum TallyError {
///         /// The sum does not fit.
///         Overflow = 0x100, "the sum does not fit";
///     }
/// }
/// assert_eq!(TallyError::Overflow.to_string(), "the sum does not fit");
/// ```
#[macro_export]
macro_rules! errors {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $code:literal, $text:literal;)+ }) => {
        $(#[$meta])*
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name {
            $($(#[$variant_meta])* $variant = $code,)+
        }

        const _: () = {
            $(assert!($code >= $crate::abi::error::SERVICE_ERRORS, "codes of services begin at 0x100");)+
        };

        impl $crate::ServiceError for $name {
            #[inline(always)]
            fn code(&self) -> u32 {
                *self as u32
            }
            fn from_code(code: u32) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $text,)+
                })
            }
        }

        impl core::error::Error for $name {}
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    errors! {
        /// For the tests.
        enum TestError {
            /// One.
            One = 0x100, "one";
            /// Two.
            Two = 0x1ff, "two";
        }
    }

    /// What the client reads of what the server wrote; registers that the server left alone read as `u32::MAX`.
    fn through<T: Reply>(value: T) -> Option<T> {
        let mut words = [u32::MAX; 4];
        for (word, register) in words.iter_mut().zip(registers(value)).take(T::COUNT) {
            // SAFETY: `put` initialises the first `COUNT` registers.
            *word = unsafe { register.assume_init() };
        }
        T::take(&words, 0)
    }

    #[test]
    fn replies_arrive_as_they_were_sent() {
        assert_eq!(through(()), Some(()));
        assert_eq!(through(0xffff_fffe_u32), Some(0xffff_fffe));
        assert_eq!(through(-5), Some(-5));
        assert_eq!(through('ä'), Some('ä'));
        assert_eq!(through(0x0123_4567_89ab_cdef_u64), Some(0x0123_4567_89ab_cdef));
        assert_eq!(through((true, u64::MAX - 1, 7u8)), Some((true, u64::MAX - 1, 7u8)));
        assert_eq!(through((1, 2, 3, 4)), Some((1, 2, 3, 4)));
        assert_eq!(<(u32, u64) as Reply>::COUNT, 3);
    }

    #[test]
    fn words_that_are_no_value_are_refused() {
        assert_eq!(bool::from_word(2), None);
        assert_eq!(u8::from_word(256), None);
        assert_eq!(char::from_word(0xd800), None);
        assert_eq!(<(u32, bool)>::take(&[1, 2, 0, 0], 0), None);
    }

    #[test]
    fn codes_become_the_error_of_whoever_sent_them() {
        let from = CallError::<TestError>::from_code;
        assert_eq!(from(0x1ff), CallError::Service(TestError::Two));
        assert_eq!(from(Error::WouldBlock as u32), CallError::Kernel(Error::WouldBlock));
        assert!(from(Error::WouldBlock as u32).would_block());
        assert!(from(Error::SessionLost as u32).session_is_gone());
        assert!(!from(Error::ServerFault as u32).session_is_gone());
        assert_eq!(from(0x101), CallError::Protocol(0x101));
        assert_eq!(from(0xff), CallError::Protocol(0xff));
        assert_eq!(CallError::<Error>::from_code(13), CallError::Kernel(Error::SessionLost));
        assert_eq!(TestError::from_code(TestError::One.code()), Some(TestError::One));
    }
}
