//! Lent buffers, as the server sees them: a length, and copying in or out through the kernel.
//!
//! A buffer stays the client's memory; its content can change between two copies. Copy, then validate.

use core::marker::PhantomData;

/// A range that the client lends for reading.
pub struct LentRead<'a> {
    len: u32,
    #[cfg(not(target_os = "none"))]
    bytes: &'a [u8],
    activation: PhantomData<&'a [u8]>,
}

/// A range that the client lends for writing. What it holds is defined for the client only if the call succeeds.
pub struct LentWrite<'a> {
    len: u32,
    #[cfg(not(target_os = "none"))]
    bytes: &'a mut [u8],
    activation: PhantomData<&'a mut [u8]>,
}

impl LentRead<'_> {
    /// Bytes in the range.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the range has no bytes.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl LentWrite<'_> {
    /// Bytes in the range.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the range has no bytes.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(target_os = "none")]
mod target {
    use abi::{Error, KernelCall};

    use super::{LentRead, LentWrite, PhantomData};
    use crate::arch::{self, UNUSED, used};

    impl LentRead<'_> {
        /// The range that this activation was lent: `len` is r3 of the call.
        #[doc(hidden)]
        #[inline(always)]
        pub fn of_call(len: u32) -> Self {
            LentRead { len, activation: PhantomData }
        }

        /// Copies the bytes of the range from `offset` on, as many as `to` has.
        ///
        /// # Errors
        /// [`Error::BadRange`] if the range does not have so many.
        #[inline(always)]
        pub fn copy(&self, offset: usize, to: &mut [u8]) -> Result<(), Error> {
            crate::sabotage::before_copy();
            // SAFETY: r1 and r2 are a range that is borrowed mutably.
            let [code, ..] = unsafe {
                arch::kernel_call(
                    KernelCall::CopyIn,
                    [
                        used(offset as u32),
                        used(to.as_mut_ptr().expose_provenance() as u32),
                        used(to.len() as u32),
                        UNUSED,
                        UNUSED,
                        UNUSED,
                    ],
                )
            };
            if code == 0 { Ok(()) } else { Err(Error::from_code(code).unwrap_or(Error::BadRange)) }
        }
    }

    impl LentWrite<'_> {
        /// The range that this activation was lent: `len` is r5 of the call.
        #[doc(hidden)]
        #[inline(always)]
        pub fn of_call(len: u32) -> Self {
            LentWrite { len, activation: PhantomData }
        }

        /// Copies all of `from` into the range, from `offset` on.
        ///
        /// # Errors
        /// [`Error::BadRange`] if the range does not have so many bytes.
        #[inline(always)]
        pub fn copy(&mut self, offset: usize, from: &[u8]) -> Result<(), Error> {
            crate::sabotage::before_copy();
            // SAFETY: r1 and r2 are a range that is borrowed; the call reads it.
            let [code, ..] = unsafe {
                arch::kernel_call(
                    KernelCall::CopyOut,
                    [
                        used(offset as u32),
                        used(from.as_ptr().expose_provenance() as u32),
                        used(from.len() as u32),
                        UNUSED,
                        UNUSED,
                        UNUSED,
                    ],
                )
            };
            if code == 0 { Ok(()) } else { Err(Error::from_code(code).unwrap_or(Error::BadRange)) }
        }
    }
}

#[cfg(not(target_os = "none"))]
mod host {
    use abi::Error;

    use super::{LentRead, LentWrite, PhantomData};

    impl<'a> LentRead<'a> {
        /// Never reached on the host.
        #[doc(hidden)]
        pub fn of_call(_len: u32) -> Self {
            Self::for_test(&[])
        }

        /// For tests on the host: lends these bytes.
        pub fn for_test(bytes: &'a [u8]) -> Self {
            LentRead { len: bytes.len() as u32, bytes, activation: PhantomData }
        }

        /// Copies the bytes of the range from `offset` on, as many as `to` has.
        ///
        /// # Errors
        /// [`Error::BadRange`] if the range does not have so many.
        pub fn copy(&self, offset: usize, to: &mut [u8]) -> Result<(), Error> {
            let end = offset.checked_add(to.len()).ok_or(Error::BadRange)?;
            to.copy_from_slice(self.bytes.get(offset..end).ok_or(Error::BadRange)?);
            Ok(())
        }
    }

    impl<'a> LentWrite<'a> {
        /// Never reached on the host.
        #[doc(hidden)]
        pub fn of_call(_len: u32) -> Self {
            Self::for_test(&mut [])
        }

        /// For tests on the host: lends these bytes.
        pub fn for_test(bytes: &'a mut [u8]) -> Self {
            LentWrite { len: bytes.len() as u32, bytes, activation: PhantomData }
        }

        /// Copies all of `from` into the range, from `offset` on.
        ///
        /// # Errors
        /// [`Error::BadRange`] if the range does not have so many bytes.
        pub fn copy(&mut self, offset: usize, from: &[u8]) -> Result<(), Error> {
            let end = offset.checked_add(from.len()).ok_or(Error::BadRange)?;
            self.bytes.get_mut(offset..end).ok_or(Error::BadRange)?.copy_from_slice(from);
            Ok(())
        }
    }
}
