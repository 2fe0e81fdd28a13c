//! Sessions: safe, typed access to the one Server State Region that is open.
//!
//! While an activation runs, the kernel maps the SSR of the client being served at one fixed address and no
//! other; the object is a monitor, so one activation runs at a time. That is the invariant behind the only
//! `unsafe` here: the region belongs to the one [`Session`] that the activation has.

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use abi::Error;
use abi::layout::PAGE;
use abi::ssr::{HEADER, SsrHeader};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes before the state.
const HEADER_BYTES: usize = HEADER as usize;

/// State that lives in an SSR, as plain bytes. Derive it: `#[derive(SsrState)]`, beside the four traits of
/// `zerocopy` that it builds on.
///
/// A new session starts with all bytes zero; the service's `open` gives them a meaning.
pub trait SsrState: FromBytes + IntoBytes + Immutable + KnownLayout + 'static {
    /// Hash of the type's name and version; never 0. A session whose tag differs is not this type's.
    const TAG: u32;
    /// Pages of the SSR; the manifest's `ssr_pages` must say the same. 0 only for `()`: no state, no SSR.
    const PAGES: u32;

    /// Whether the content makes sense: asked before a restored session is used again. Whatever the rest of
    /// the service relies on (indices, lengths, order) is checked here.
    fn validate(&self) -> bool {
        true
    }
}

impl SsrState for () {
    const TAG: u32 = 1;
    const PAGES: u32 = 0;
}

/// State that is a live Rust value at its fixed address in the SSR, for values that are no plain bytes: a socket
/// of a protocol library, say. Valid only for the image that made it; use it as [`Opaque<T>`].
///
/// # Safety
/// The value refers to nothing but constants of the image and its own SSR: no heap, no statics that change, no
/// handles. It has no destructor that must run (none will), and every state that it is in between two requests
/// may be restored at any later time.
pub unsafe trait OpaqueState: Sized + 'static {
    /// Pages of the SSR; the manifest's `ssr_pages` must say the same.
    const PAGES: u32;
    /// The value of a new session.
    fn create() -> Self;
    /// As [`SsrState::validate`].
    fn validate(&self) -> bool {
        true
    }
}

/// Wraps an [`OpaqueState`], so that it can be a service's [`State`].
pub struct Opaque<T>(PhantomData<T>);

mod sealed {
    pub trait Sealed {}
    impl<S: super::SsrState> Sealed for S {}
    impl<T: super::OpaqueState> Sealed for super::Opaque<T> {}
}

/// What a session can hold: an [`SsrState`], `()`, or an [`Opaque`] value.
pub trait State: sealed::Sealed + 'static {
    /// The type that the service sees.
    type Value;
    /// Pages of the SSR.
    const PAGES: u32;
    /// Bytes of the value.
    const SIZE: usize = size_of::<Self::Value>();
    /// The tag in the header.
    fn tag() -> u32;
    /// Makes the first value of a new session out of zeros.
    fn create(bytes: &mut [u8]);
    /// The value at the start of these bytes.
    fn value(bytes: &[u8]) -> &Self::Value;
    /// The value at the start of these bytes.
    fn value_mut(bytes: &mut [u8]) -> &mut Self::Value;
    /// Whether the value makes sense.
    fn validate(value: &Self::Value) -> bool;
}

/// What both casts below rely on; evaluated when the service is compiled.
const fn fits<T>(pages: u32) {
    assert!(align_of::<T>() <= HEADER_BYTES, "state in an SSR is aligned to 16 bytes at most");
    assert!(
        size_of::<T>() == 0 || HEADER_BYTES + size_of::<T>() <= pages as usize * PAGE as usize,
        "the state does not fit into the pages of its SSR"
    );
}

impl<S: SsrState> State for S {
    type Value = S;
    const PAGES: u32 = S::PAGES;

    #[inline(always)]
    fn tag() -> u32 {
        S::TAG
    }
    fn create(_: &mut [u8]) {}
    #[inline(always)]
    fn value(bytes: &[u8]) -> &S {
        const { fits::<S>(S::PAGES) };
        match S::ref_from_prefix(bytes) {
            Ok((value, _)) => value,
            Err(_) => unreachable!("size and alignment were checked at compile time"),
        }
    }
    #[inline(always)]
    fn value_mut(bytes: &mut [u8]) -> &mut S {
        const { fits::<S>(S::PAGES) };
        match S::mut_from_prefix(bytes) {
            Ok((value, _)) => value,
            Err(_) => unreachable!("size and alignment were checked at compile time"),
        }
    }
    fn validate(value: &S) -> bool {
        value.validate()
    }
}

impl<T: OpaqueState> State for Opaque<T> {
    type Value = T;
    const PAGES: u32 = T::PAGES;

    fn tag() -> u32 {
        image_tag()
    }
    fn create(bytes: &mut [u8]) {
        const { fits::<T>(T::PAGES) };
        assert!(bytes.len() >= size_of::<T>());
        // SAFETY: the bytes are as long as a `T` (checked) and aligned for it (16 bytes, `fits`).
        unsafe { bytes.as_mut_ptr().cast::<T>().write(T::create()) }
    }
    #[inline(always)]
    fn value(bytes: &[u8]) -> &T {
        const { fits::<T>(T::PAGES) };
        assert!(bytes.len() >= size_of::<T>());
        // SAFETY: long enough and aligned as in `create`. The bytes hold a `T` that this same image made: `create` ran
        // when the session opened, and `Session::is_intact` compares the image's tag before a restored one is used.
        unsafe { &*bytes.as_ptr().cast::<T>() }
    }
    #[inline(always)]
    fn value_mut(bytes: &mut [u8]) -> &mut T {
        const { fits::<T>(T::PAGES) };
        assert!(bytes.len() >= size_of::<T>());
        // SAFETY: as in `value`.
        unsafe { &mut *bytes.as_mut_ptr().cast::<T>() }
    }
    fn validate(value: &T) -> bool {
        value.validate()
    }
}

/// A word that identifies the image: the start of its build id, which is a hash of all its content; never 0.
#[cfg(target_os = "none")]
fn image_tag() -> u32 {
    unsafe extern "C" {
        /// The ELF note with the build id (service.ld): 16 bytes of header, then 20 bytes of SHA-1.
        static __build_id: [u32; 9];
    }
    // SAFETY: service.ld puts the note of the linker (`--build-id=sha1`, link.rs) there; it is never written.
    let start = unsafe { __build_id[4] };
    start | 1
}

/// On the host there is one image.
#[cfg(not(target_os = "none"))]
fn image_tag() -> u32 {
    1
}

/// The memory of an SSR.
#[cfg(target_os = "none")]
pub(crate) struct Region<S>(PhantomData<S>);

#[cfg(target_os = "none")]
impl<S: State> Region<S> {
    /// The region that the kernel opened for this activation.
    #[inline(always)]
    pub(crate) fn of(_: &crate::server::Activation) -> Self {
        Region(PhantomData)
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        let base = core::ptr::with_exposed_provenance::<u8>(abi::layout::SSR_BASE as usize);
        // SAFETY: the kernel maps `PAGES` pages there for this activation (the host tool compares the manifest with
        // `__po_ssr_pages`), nobody else has them meanwhile, and there is one `Region` to an activation.
        unsafe { core::slice::from_raw_parts(base, S::PAGES as usize * PAGE as usize) }
    }

    #[inline(always)]
    fn bytes_mut(&mut self) -> &mut [u8] {
        let base = core::ptr::with_exposed_provenance_mut::<u8>(abi::layout::SSR_BASE as usize);
        // SAFETY: as in `bytes`; the borrow of the one `Region` makes it exclusive.
        unsafe { core::slice::from_raw_parts_mut(base, S::PAGES as usize * PAGE as usize) }
    }
}

/// The memory of an SSR: on the host, some of its own.
#[cfg(not(target_os = "none"))]
pub(crate) struct Region<S>(std::boxed::Box<[u128]>, PhantomData<S>);

#[cfg(not(target_os = "none"))]
impl<S: State> Region<S> {
    /// No activation runs on the host: an empty region.
    pub(crate) fn of(_: &crate::server::Activation) -> Self {
        Region(std::boxed::Box::default(), PhantomData)
    }

    /// As many zeroed pages as the state needs.
    fn new() -> Self {
        Region(std::vec![0; S::PAGES as usize * PAGE as usize / 16].into(), PhantomData)
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.as_mut_bytes()
    }
}

/// The session of the client being served: its state (through `Deref`), and what goes with it.
///
/// The state may be followed by a *tail*: bytes whose number changes, up to the end of the SSR. What a request
/// costs follows the bytes in use, so buffers that are mostly empty belong there.
pub struct Session<S: State> {
    region: Region<S>,
    flush: bool,
    client: u32,
}

impl<S: State> Session<S> {
    /// The session of this activation.
    #[inline(always)]
    pub(crate) fn of(activation: &crate::server::Activation) -> Self {
        Session { region: Region::of(activation), flush: false, client: 0 }
    }

    /// A new session for tests on the host, as the hook `open` finds it.
    #[cfg(not(target_os = "none"))]
    pub fn for_test(number: u32) -> Self {
        let mut session = Session::<S> { region: Region::new(), flush: false, client: 64 };
        if S::PAGES > 0 {
            *session.header_mut() = SsrHeader { magic: abi::ssr::MAGIC, used: HEADER, session: number, tag: 0 };
        }
        session.begin();
        session
    }

    /// In hooks and steps: number of the client's domain (objects: 0 to 63, processes: 64 and more). In a method 0: what a
    /// service needs of it then, it noted at `open` and `reload`.
    pub fn client(&self) -> u32 {
        self.client
    }

    /// As the kernel said it.
    pub(crate) fn set_client(&mut self, client: u32) {
        self.client = client;
    }

    /// For tests on the host: who the client is.
    #[cfg(not(target_os = "none"))]
    pub fn set_client_for_test(&mut self, client: u32) {
        self.client = client;
    }

    /// For tests on the host: all bytes of the SSR, header included.
    #[cfg(not(target_os = "none"))]
    pub fn bytes_for_test(&mut self) -> &mut [u8] {
        self.region.bytes_mut()
    }

    #[inline(always)]
    fn header(&self) -> &SsrHeader {
        const { assert!(S::PAGES > 0, "a service without state has no SSR") };
        match SsrHeader::ref_from_prefix(self.region.bytes()) {
            Ok((header, _)) => header,
            Err(_) => unreachable!("a page holds a header"),
        }
    }

    #[inline(always)]
    fn header_mut(&mut self) -> &mut SsrHeader {
        match SsrHeader::mut_from_prefix(self.region.bytes_mut()) {
            Ok((header, _)) => header,
            Err(_) => unreachable!("a page holds a header"),
        }
    }

    /// Makes a new session this state's own.
    pub(crate) fn begin(&mut self) {
        if S::PAGES == 0 {
            return;
        }
        let header = self.header_mut();
        header.used = HEADER + S::SIZE as u32;
        header.tag = S::tag();
        S::create(&mut self.region.bytes_mut()[HEADER_BYTES..]);
    }

    /// Whether a restored session can be used: it is this state's, its lengths are possible, and its content makes sense.
    pub fn is_intact(&self) -> bool {
        if S::PAGES == 0 {
            return true;
        }
        let bytes = self.region.bytes();
        let Ok((header, rest)) = SsrHeader::ref_from_prefix(bytes) else {
            return false;
        };
        header.tag == S::tag()
            && (HEADER_BYTES + S::SIZE..=bytes.len()).contains(&(header.used as usize))
            && S::validate(S::value(rest))
    }

    /// Whether it is this state's, and its content makes sense, as far as the service says what that is
    /// ([`SsrState::validate`]). The rest of the header is the kernel's to examine.
    #[inline(always)]
    pub(crate) fn holds(&self) -> bool {
        S::PAGES == 0
            || SsrHeader::ref_from_prefix(self.region.bytes())
                .is_ok_and(|(header, rest)| header.tag == S::tag() && S::validate(S::value(rest)))
    }

    /// Number of the session: the same while it lives, restarts of the service included.
    #[inline(always)]
    pub fn number(&self) -> u32 {
        self.header().session
    }

    /// Asks for the hook `flush` once this request is committed.
    #[inline(always)]
    pub fn request_flush(&mut self) {
        self.flush = true;
    }

    /// Whether the hook `flush` was asked for.
    #[inline(always)]
    pub fn flush_requested(&self) -> bool {
        self.flush
    }

    /// The most bytes that the tail can have.
    pub const fn tail_capacity(&self) -> usize {
        S::PAGES as usize * PAGE as usize - HEADER_BYTES - S::SIZE
    }

    /// The tail.
    pub fn tail(&self) -> &[u8] {
        // A damaged length panics here: the failure is this session's own.
        &self.region.bytes()[HEADER_BYTES + S::SIZE..self.header().used as usize]
    }

    /// The tail.
    pub fn tail_mut(&mut self) -> &mut [u8] {
        self.parts_mut().1
    }

    /// State and tail, to change both.
    pub fn parts_mut(&mut self) -> (&mut S::Value, &mut [u8]) {
        let used = self.header().used as usize;
        let (fixed, tail) = self.region.bytes_mut()[HEADER_BYTES..used].split_at_mut(S::SIZE);
        (S::value_mut(fixed), tail)
    }

    /// Makes the tail so long; new bytes are zero.
    ///
    /// # Errors
    /// [`Error::Exhausted`] if `len` is more than [`Session::tail_capacity`].
    pub fn set_tail_len(&mut self, len: usize) -> Result<(), Error> {
        if len > self.tail_capacity() {
            return Err(Error::Exhausted);
        }
        let old = self.tail().len();
        let start = HEADER_BYTES + S::SIZE;
        // The length last grows: were it first, a failure between the two would leave old bytes in use.
        if len > old {
            self.region.bytes_mut()[start + old..start + len].fill(0);
        }
        self.header_mut().used = (start + len) as u32;
        Ok(())
    }

    /// Appends to the tail as much as fits; returns how many bytes that were.
    pub fn extend_tail(&mut self, bytes: &[u8]) -> usize {
        let old = self.tail().len();
        let count = bytes.len().min(self.tail_capacity() - old);
        let start = HEADER_BYTES + S::SIZE + old;
        self.region.bytes_mut()[start..start + count].copy_from_slice(&bytes[..count]);
        self.header_mut().used = (start + count) as u32;
        count
    }
}

impl<S: State> Deref for Session<S> {
    type Target = S::Value;

    #[inline(always)]
    fn deref(&self) -> &S::Value {
        S::value(state_bytes(self.region.bytes()))
    }
}

impl<S: State> DerefMut for Session<S> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut S::Value {
        let bytes = self.region.bytes_mut();
        if bytes.is_empty() { S::value_mut(bytes) } else { S::value_mut(&mut bytes[HEADER_BYTES..]) }
    }
}

/// What follows the header; nothing where there is no SSR.
#[inline(always)]
fn state_bytes(bytes: &[u8]) -> &[u8] {
    bytes.get(HEADER_BYTES..).unwrap_or_default()
}
