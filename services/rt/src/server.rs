//! The server's side: what a service implements, and what stands between the kernel's entries and that.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use abi::call::Cause;
use abi::{Error, Events, Hook, KernelCall};

use crate::arch::{self, UNUSED, used};
use crate::session::{Session, State};
use crate::word::{Reply, ServiceError, registers};

/// A service: a value that the kernel builds at boot, rebuilds after every failure, and calls.
///
/// The fields of the value are derived state: whatever a client must find again belongs to the session's
/// state, whatever all clients share to the common region.
pub trait Service: Sized + 'static {
    /// What the service keeps for each client: an [`SsrState`](crate::SsrState), an [`Opaque`](crate::Opaque)
    /// value, or `()` for nothing.
    type State: State;

    /// Builds the service, at boot and after each failure.
    fn new(construct: &mut Construct) -> Self;

    /// A new client; its state is zero.
    ///
    /// # Errors
    /// The client's attempt to bind fails with this error.
    fn open(&mut self, _session: &mut Session<Self::State>) -> Result<(), Error> {
        Ok(())
    }

    /// The session's state was restored, or the service rebuilt: derive from it what the service keeps elsewhere.
    ///
    /// # Errors
    /// The session is lost.
    fn reload(&mut self, _session: &mut Session<Self::State>) -> Result<(), Error> {
        Ok(())
    }

    /// Whether a session's state, its tail included, makes sense. Asked before anything is committed: a request that leaves it
    /// otherwise is undone and runs again.
    fn is_sound(_session: &Session<Self::State>) -> bool {
        true
    }

    /// The request is committed: put out what was held back. Runs again if it fails, from the state it left.
    ///
    /// # Errors
    /// The client's call fails with this error, though its effects stand.
    fn flush(&mut self, _session: &mut Session<Self::State>) -> Result<(), Error> {
        Ok(())
    }

    /// The client is gone.
    fn close(&mut self, _session: &mut Session<Self::State>) {}

    /// Events have come: interrupts, the deadline, notifications. No session is open; what a session needs is done in
    /// [`Service::step`]. If this or a step fails, it comes again with the same events.
    fn event(&mut self, _events: Events) -> Next {
        Next::Done
    }

    /// The session that [`Service::event`] or the step before asked for is open. Commits at its end.
    fn step(&mut self, _session: &mut Session<Self::State>, _events: Events) -> Next {
        Next::Done
    }

    /// As [`Service::event`]: the session that was asked for ends or is lost, and cannot be opened. It must not be
    /// asked for again.
    fn skipped(&mut self, _session: u32, _events: Events) -> Next {
        Next::Done
    }

    /// The supervisor asks whether all is well. No session is open.
    ///
    /// # Errors
    /// The service is rebuilt, as after any other failure.
    fn self_test(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// The kernel asks its scheduler which of the processes that are `ready` runs next (bit n: process slot n). The
    /// one before ran for so many `ticks`. Only the service with `role = "scheduler"` is asked.
    fn decide(&mut self, ready: u64, _previous: Option<u32>, _ticks: u32) -> Decision {
        Decision { slot: ready.trailing_zeros(), slice: 1 }
    }
}

/// What an upcall wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The events are dealt with.
    Done,
    /// A step with this session ([`Session::number`]).
    Session(u32),
}

impl Next {
    fn word(self) -> u32 {
        match self {
            Next::Done => 0,
            Next::Session(number) => number.saturating_add(1),
        }
    }
}

/// What a scheduler decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The process to run: one of those that are ready. The kernel takes its own choice instead of any other.
    pub slot: u32,
    /// For how many ticks of a millisecond.
    pub slice: u32,
}

/// What a service is built with.
pub struct Construct {
    cause: Cause,
    heap: u32,
    argument: u32,
    common: &'static mut [u8],
}

impl Construct {
    /// For tests on the host.
    #[cfg(not(target_os = "none"))]
    pub fn for_test(cause: Cause, argument: u32, common: &'static mut [u8]) -> Self {
        Construct { cause, heap: 0, argument, common }
    }

    /// Why the service is built.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Bytes of heap.
    pub fn heap_len(&self) -> usize {
        self.heap as usize
    }

    /// The argument from the manifest.
    pub fn argument(&self) -> u32 {
        self.argument
    }

    /// The common region, 16-byte aligned: the first time all of it, after that nothing.
    pub fn take_common(&mut self) -> &'static mut [u8] {
        core::mem::take(&mut self.common)
    }

    /// The start of the common region as a `T`; `None` if it is too short, or was taken before.
    pub fn take_common_as<T>(&mut self) -> Option<&'static mut T>
    where
        T: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::KnownLayout + 'static,
    {
        T::mut_from_prefix(self.take_common()).ok().map(|(value, _)| value)
    }
}

/// Proof that the kernel has entered the object: only entry code in assembly makes one, by making none (it has no
/// size). An object is a monitor, and no activation returns but by ending: there is one at a time.
#[repr(C)]
pub struct Activation {
    private: [u8; 0],
}

/// Where the service's value lives.
pub struct Slot<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: the content is reached through an `Activation` only, and there is one of those at a time.
unsafe impl<T> Sync for Slot<T> {}

impl<T> Slot<T> {
    /// An empty slot.
    #[allow(clippy::new_without_default)] // a default would be a second name for what `service!` alone calls
    pub const fn new() -> Self {
        Slot(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// The service.
    ///
    /// # Safety
    /// The kernel's hook `Construct` has run to its end, as it has before every other entry.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)] // the activation is what is borrowed mutably
    unsafe fn get<'a>(&'a self, _: &'a mut Activation) -> &'a mut T {
        // SAFETY: exclusive by the activation, initialised by the caller's promise.
        unsafe { (*self.0.get()).assume_init_mut() }
    }

    /// Puts the service in.
    fn set(&self, _: &mut Activation, value: T) {
        // SAFETY: exclusive by the activation.
        unsafe { (*self.0.get()).write(value) };
    }
}

/// The one object of an image; [`service!`](crate::service) implements it.
///
/// # Safety
/// `slot` always returns the same slot, and nobody else has it.
pub unsafe trait Object: 'static {
    /// The service.
    type Service: Service;
    /// Where it lives.
    fn slot() -> &'static Slot<Self::Service>;
}

/// Whether a method was entered to fail on purpose. A type, so that the methods of normal calls test nothing.
pub trait Plan {
    /// After the method's last instruction.
    fn end();
}

/// A normal call.
pub struct Normal;

impl Plan for Normal {
    #[inline(always)]
    fn end() {}
}

/// A call that is to fail as the hook entry was told.
#[cfg(target_os = "none")]
pub struct Sabotaged;

#[cfg(target_os = "none")]
impl Plan for Sabotaged {
    fn end() {
        crate::sabotage::after_method();
    }
}

impl Activation {
    /// Runs a method and ends the activation. `None` from the body: an argument was no value of its type.
    #[inline(always)]
    pub fn method<O: Object, P: Plan, T: Reply, E: ServiceError>(
        mut self,
        body: impl FnOnce(&mut O::Service, &mut Session<<O::Service as Service>::State>) -> Option<Result<T, E>>,
    ) -> ! {
        let mut session = Session::of(&self);
        // SAFETY: the kernel enters methods only in a constructed object.
        let service = unsafe { O::slot().get(&mut self) };
        let result = body(service, &mut session);
        P::end();
        check::<O::Service>(&session);
        let call = if session.flush_requested() { KernelCall::ReturnFlush } else { KernelCall::Return };
        match result {
            Some(Ok(value)) => {
                let [r1, r2, r3, r4] = registers(value);
                arch::leave(call, [used(0), r1, r2, r3, r4])
            }
            Some(Err(error)) => refuse(call, error.code()),
            None => refuse(call, Error::BadArgument as u32),
        }
    }
}

/// Lets no state be committed that does not make sense: what made it so is undone with the request.
#[inline(always)]
fn check<S: Service>(session: &Session<S::State>) {
    #[cold]
    #[inline(never)]
    fn damaged() -> ! {
        panic!("the session's state does not hold");
    }
    if !session.holds() || !S::is_sound(session) {
        damaged();
    }
}

/// Ends the activation of a method with an error. Errors can be doubted ([`KernelCall::ReturnError`]), but not the one that says
/// "ask again", which is part of normal operation.
#[cold]
fn refuse(call: KernelCall, code: u32) -> ! {
    if code == Error::WouldBlock as u32 {
        finish(call, code);
    }
    let flush = used(u32::from(call == KernelCall::ReturnFlush));
    arch::leave(KernelCall::ReturnError, [used(code), flush, UNUSED, UNUSED, UNUSED])
}

/// Ends the activation with a code.
fn finish(call: KernelCall, code: u32) -> ! {
    arch::leave(call, [used(code), UNUSED, UNUSED, UNUSED, UNUSED])
}

/// Where the entry `__po_hook` goes on: r0-r5 as the kernel gave them, r6 = sabotage word, r7 = hook.
#[allow(improper_ctypes_definitions)] // `Activation` has no size: no register, no stack
#[allow(clippy::too_many_arguments)] // they are registers
pub extern "C" fn hook<O: Object>(
    mut activation: Activation,
    r0: u32,
    r1: u32,
    r2: u32,
    r3: u32,
    r4: u32,
    r5: u32,
    r6: u32,
    r7: u32,
) -> ! {
    let hook = match Hook::try_from(r7 & 0xff) {
        Ok(hook) => hook,
        Err(error) => finish(KernelCall::Return, error as u32),
    };
    if hook == Hook::Construct {
        construct::<O>(&mut activation, [r0, r1, r2, r3]);
        finish(KernelCall::Return, 0);
    }
    if hook == Hook::Sabotaged {
        sabotaged([r0, r1, r2, r3, r4, r5, r6, r7]);
    }
    #[cfg(target_os = "none")]
    if r6 != 0 && hook != Hook::Sabotaged {
        crate::sabotage::before_method(r6);
    }
    if matches!(hook, Hook::Event | Hook::Decide) {
        upcall::<O>(&mut activation, hook, [r0, r1, r2, r3]);
    }
    let mut session = Session::<<O::Service as Service>::State>::of(&activation);
    session.set_client(r1);
    // SAFETY: the kernel enters hooks of sessions only in a constructed object.
    let service = unsafe { O::slot().get(&mut activation) };
    if hook == Hook::Step {
        let next = service.step(&mut session, Events::from_bits_truncate(r2));
        end_of_upcall();
        check::<O::Service>(&session);
        arch::leave(KernelCall::Return, [used(0), used(next.word()), UNUSED, UNUSED, UNUSED]);
    }
    let result = match hook {
        Hook::Open => {
            session.begin();
            service.open(&mut session)
        }
        Hook::Reload if !session.is_intact() => Err(Error::SessionLost),
        Hook::Reload => service.reload(&mut session),
        Hook::Flush => service.flush(&mut session),
        Hook::Close => {
            service.close(&mut session);
            Ok(())
        }
        Hook::Construct | Hook::Sabotaged | Hook::Event | Hook::Step | Hook::Decide => Ok(()),
    };
    if result.is_ok() && matches!(hook, Hook::Open | Hook::Reload) {
        check::<O::Service>(&session);
    }
    finish(KernelCall::Return, result.map_or_else(|error| error as u32, |()| 0));
}

/// A sabotage that waits for the end of an upcall strikes.
fn end_of_upcall() {
    #[cfg(target_os = "none")]
    crate::sabotage::after_method();
}

/// An upcall without a session.
fn upcall<O: Object>(activation: &mut Activation, hook: Hook, [r0, r1, r2, r3]: [u32; 4]) -> ! {
    // SAFETY: the kernel makes upcalls only to a constructed object.
    let service = unsafe { O::slot().get(activation) };
    if hook == Hook::Decide {
        let decision = service.decide(u64::from(r1) << 32 | u64::from(r0), r2.checked_sub(1), r3);
        end_of_upcall();
        arch::leave(KernelCall::Return, [used(0), used(decision.slot), used(decision.slice), UNUSED, UNUSED]);
    }
    let mut events = Events::from_bits_truncate(r0);
    if r1 == 0 && events.contains(Events::HEARTBEAT) {
        events.remove(Events::HEARTBEAT);
        if let Err(error) = service.self_test() {
            finish(KernelCall::Return, error as u32);
        }
    }
    let next = match r1.checked_sub(1) {
        Some(session) => service.skipped(session, events),
        None if events.is_empty() => Next::Done,
        None => service.event(events),
    };
    end_of_upcall();
    arch::leave(KernelCall::Return, [used(0), used(next.word()), UNUSED, UNUSED, UNUSED]);
}

/// Builds the object.
fn construct<O: Object>(activation: &mut Activation, [cause, heap, common, argument]: [u32; 4]) {
    crate::heap::start(activation, heap);
    let cause = if cause == Cause::Boot as u32 { Cause::Boot } else { Cause::Recovery };
    let mut construct = Construct { cause, heap, argument, common: common_region(activation, common) };
    O::slot().set(activation, O::Service::new(&mut construct));
}

/// The common region.
#[cfg(target_os = "none")]
fn common_region(_: &mut Activation, len: u32) -> &'static mut [u8] {
    let base = core::ptr::with_exposed_provenance_mut::<u8>(abi::layout::COMMON_BASE as usize);
    // SAFETY: the kernel maps so many bytes there, for this object alone. It is handed out once for each time the
    // object is built, and no value of the object outlives that.
    unsafe { core::slice::from_raw_parts_mut(base, len as usize) }
}

/// On the host no hook runs.
#[cfg(not(target_os = "none"))]
fn common_region(_: &mut Activation, _len: u32) -> &'static mut [u8] {
    &mut []
}

/// Enters the method of the call through the second table, whose methods fail as asked.
#[cfg(target_os = "none")]
fn sabotaged([r0, r1, r2, r3, r4, r5, r6, r7]: [u32; 8]) -> ! {
    unsafe extern "C" {
        /// Written by `#[interface]` beside `__po_call`: takes r4, r5 and r7 from the stack.
        fn __po_sabotaged(r0: u32, r1: u32, r2: u32, r3: u32, r4: u32, r5: u32, r6: u32, r7: u32) -> !;
    }
    crate::sabotage::before_method(r6);
    // SAFETY: the kernel checked the method's number; this activation is over but for that method.
    unsafe { __po_sabotaged(r0, r1, r2, r3, r4, r5, r6, r7) }
}

/// On the host no hook runs.
#[cfg(not(target_os = "none"))]
fn sabotaged(_: [u32; 8]) -> ! {
    finish(KernelCall::Return, Error::NoSuchCall as u32)
}
