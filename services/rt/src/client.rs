//! The client's side: an open session, and the calls that typed clients are made of.

use abi::call::{LEND_READ, LEND_WRITE, METHOD_SHIFT};
use abi::{Error, Events, Handle, KernelCall};

use crate::arch::{self, Register, used};
use crate::sys;
use crate::word::{CallError, Reply, ServiceError};

/// An open session with a service. Dropping it closes the session.
///
/// `#[interface]` writes a typed client round it; nobody else needs its calls.
#[derive(Debug)]
pub struct Binding {
    handle: Handle,
}

impl Binding {
    /// Opens a session. The service's notifications set the bits `notify` of the caller's events.
    ///
    /// # Errors
    /// As [`sys::bind`].
    pub fn open(service: &str, notify: Events) -> Result<Self, Error> {
        Ok(Binding { handle: sys::bind(service, notify)? })
    }

    /// Closes the session and says whether that worked.
    ///
    /// # Errors
    /// As [`sys::unbind`]: [`Error::StaleHandle`] if it had ended already.
    pub fn close(self) -> Result<(), Error> {
        let handle = self.handle;
        core::mem::forget(self);
        sys::unbind(handle)
    }

    /// The handle behind it, as the kernel knows it.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Calls a method with plain arguments.
    ///
    /// # Errors
    /// What the kernel or the service says.
    #[inline(always)]
    pub fn call<const METHOD: u16, T: Reply, E: ServiceError>(&self, args: [Register; 6]) -> Result<T, CallError<E>> {
        // SAFETY: nothing is lent.
        reply(unsafe { arch::method_call(self.handle, word(METHOD, 0), args) })
    }

    /// Calls a method that is lent a range for reading; r2 and r3 of `args` are replaced.
    ///
    /// # Errors
    /// What the kernel or the service says.
    #[inline(always)]
    pub fn call_reading<const METHOD: u16, T: Reply, E: ServiceError>(
        &self,
        args: [Register; 6],
        lent: &[u8],
    ) -> Result<T, CallError<E>> {
        let args = [args[0], args[1], address(lent), used(lent.len() as u32), args[4], args[5]];
        // SAFETY: the range is borrowed for the length of the call.
        reply(unsafe { arch::method_call(self.handle, word(METHOD, LEND_READ), args) })
    }

    /// Calls a method that is lent a range for writing; r4 and r5 of `args` are replaced.
    ///
    /// # Errors
    /// What the kernel or the service says.
    #[inline(always)]
    pub fn call_writing<const METHOD: u16, T: Reply, E: ServiceError>(
        &self,
        args: [Register; 6],
        lent: &mut [u8],
    ) -> Result<T, CallError<E>> {
        let args = [args[0], args[1], args[2], args[3], address_mut(lent), used(lent.len() as u32)];
        // SAFETY: the range is borrowed mutably for the length of the call.
        reply(unsafe { arch::method_call(self.handle, word(METHOD, LEND_WRITE), args) })
    }

    /// Calls a method that is lent a range for reading and one for writing; r2 to r5 of `args` are replaced.
    ///
    /// # Errors
    /// What the kernel or the service says.
    #[inline(always)]
    pub fn call_reading_writing<const METHOD: u16, T: Reply, E: ServiceError>(
        &self,
        args: [Register; 6],
        read: &[u8],
        write: &mut [u8],
    ) -> Result<T, CallError<E>> {
        let args =
            [args[0], args[1], address(read), used(read.len() as u32), address_mut(write), used(write.len() as u32)];
        // SAFETY: the ranges are borrowed for the length of the call, the second one mutably.
        reply(unsafe { arch::method_call(self.handle, word(METHOD, LEND_READ | LEND_WRITE), args) })
    }
}

/// Makes a call until its answer is another than "would block", and waits for these events in between: those that the
/// session's notifications set.
///
/// # Errors
/// What the call says; what [`sys::wait_events`] says.
pub fn when_ready<T, E: ServiceError>(
    events: Events,
    mut call: impl FnMut() -> Result<T, CallError<E>>,
) -> Result<T, CallError<E>> {
    loop {
        match call() {
            Err(error) if error.would_block() => sys::wait_events(events, 0).map_err(CallError::Kernel)?,
            answer => return answer,
        };
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        // A session that has ended already needs no closing; there is nobody to tell.
        let _ = sys::unbind(self.handle);
    }
}

/// The call word.
const fn word(method: u16, flags: u32) -> u32 {
    KernelCall::Call as u32 | (method as u32) << METHOD_SHIFT | flags
}

#[inline(always)]
fn address(bytes: &[u8]) -> Register {
    used(bytes.as_ptr().expose_provenance() as u32)
}

#[inline(always)]
fn address_mut(bytes: &mut [u8]) -> Register {
    used(bytes.as_mut_ptr().expose_provenance() as u32)
}

#[inline(always)]
fn reply<T: Reply, E: ServiceError>([code, r1, r2, r3, r4]: [u32; 5]) -> Result<T, CallError<E>> {
    const { assert!(T::COUNT <= 4, "a result has at most four words") };
    if code != 0 {
        return Err(CallError::from_code(code));
    }
    T::take(&[r1, r2, r3, r4], 0).ok_or(CallError::Protocol(0))
}
