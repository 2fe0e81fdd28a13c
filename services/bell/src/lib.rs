//! The interface of `bell`: a device that interrupts when it is asked to.
#![no_std]
#![forbid(unsafe_code)]

use rt::{Session, interface};

rt::errors! {
    /// What can go wrong with the bell.
    pub enum BellError {
        /// The device does not interrupt.
        Silent = 0x100, "it was told to, and did not";
    }
}

/// Rings, and hears itself ring.
///
/// The interrupt is taken while `ring` runs, but an object is a monitor: its event is delivered after the return of the
/// call. Nothing of this is per client.
#[interface(name = "bell")]
pub trait Bell {
    /// Makes the device interrupt now.
    fn ring(&mut self, session: &mut Session<Self::State>) -> Result<(), BellError>;

    /// Interrupts heard by upcalls, and by `wait`; survives failures of the service.
    #[read_only]
    fn count(&mut self, session: &mut Session<Self::State>) -> Result<(u32, u32), BellError>;

    /// Waits for the device inside the activation, for so many ticks at most; whether it interrupted. With `ring` it is made
    /// to: at once, unless its line is masked, as it is for the rest of the tick once it has interrupted too often.
    fn wait(&mut self, session: &mut Session<Self::State>, ring: bool, ticks: u32) -> Result<bool, BellError>;

    /// Whether the driver leaves its line masked when the device has interrupted. Calling this acknowledges what was not.
    fn leave_masked(&mut self, session: &mut Session<Self::State>, yes: bool) -> Result<(), BellError>;

    /// Rings again at each of the next `times` interrupts, from the handler of the event: the device cannot be
    /// silenced. Zero ends it.
    fn storm(&mut self, session: &mut Session<Self::State>, times: u32) -> Result<(), BellError>;

    /// Lets the second line interrupt, once. That is another service's device: see `striker`.
    fn listen(&mut self, session: &mut Session<Self::State>) -> Result<(), BellError>;

    /// Registers of the device, of which the manifest has rules: 0, one that may hold the bus address of a buffer; 1, one that
    /// may hold one value only; 2, that value; 3, one that may hold anything.
    #[read_only]
    fn known(&mut self, session: &mut Session<Self::State>, what: u32) -> Result<u32, BellError>;

    /// Writes a register of the device by way of the kernel; the kernel's error, 0 for none.
    fn tell(&mut self, session: &mut Session<Self::State>, register: u32, value: u32) -> Result<u32, BellError>;

    /// Describes a buffer to the device, or writes a word behind the descriptors; the kernel's error, 0 for none.
    fn describe(
        &mut self,
        session: &mut Session<Self::State>,
        slot: u32,
        buffer: u32,
        length: u32,
        link: u32,
    ) -> Result<u32, BellError>;

    /// A word of the DMA window or of the device's registers, which the driver has read by itself; with `write` it has
    /// written it before, by itself.
    fn touch(&mut self, session: &mut Session<Self::State>, at: u32, write: bool, value: u32)
    -> Result<u32, BellError>;

    /// What the cycle counter was when the event of the second line came, in the first instructions of its handler; 0 if
    /// none came since `listen`. Somebody in the image needs the right `counter`, without which the counter is not there.
    #[read_only]
    fn heard_at(&mut self, session: &mut Session<Self::State>) -> Result<u32, BellError>;
}
