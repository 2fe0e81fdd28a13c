//! Events: the one way in which anything reaches a domain that it did not ask for.
//!
//! Interrupts, deadlines, heartbeats and notifications set sticky bits of their receiver. A program takes them with
//! [`crate::KernelCall::WaitEvents`]; an object gets them in one upcall on its kernel thread, when nobody else is in it
//! ([`crate::Hook::Event`]). A bit that is set already stays one bit: an event says "look", not "how often".

use bitflags::bitflags;

/// Interrupt lines of one service, at most.
pub const MAX_LINES: usize = 4;

bitflags! {
    /// Bits 0 to 15 are notifications: each session has the bits that its client chose when it was opened. The others are
    /// the kernel's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Events: u32 {
        /// Notifications of services, as the client named them.
        const NOTIFICATIONS = 0xffff;
        /// Interrupt of the first line in the manifest; bits 17 to 19 are the others'.
        const LINE_0 = 1 << 16;
        /// See [`Events::LINE_0`].
        const LINE_1 = 1 << 17;
        /// See [`Events::LINE_0`].
        const LINE_2 = 1 << 18;
        /// See [`Events::LINE_0`].
        const LINE_3 = 1 << 19;
        /// The time of [`crate::KernelCall::Deadline`] has come.
        const DEADLINE = 1 << 24;
        /// A self-test is asked for.
        const HEARTBEAT = 1 << 25;
        /// To the supervisor: an object failed or stopped.
        const FAILURE = 1 << 26;
        /// To a parent: a child has ended.
        const CHILD = 1 << 27;
    }
}

impl Events {
    /// The interrupt lines.
    pub const LINES: Events = Events::from_bits_truncate(0xf << 16);

    /// The event of a line, 0 to 3.
    pub const fn line(line: usize) -> Events {
        Events::from_bits_truncate(Events::LINE_0.bits() << (line % MAX_LINES))
    }
}
