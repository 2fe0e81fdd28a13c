//! `block`: the service.
//!
//! A request is one transfer: it is checked, given to the disk, and waited for. What is asked for, with its number, is
//! in the session's region ([`Asked`]); when it goes to the device the same goes into the DMA window, which survives a
//! failure as it is. A request that is tried again after a failure has the same number again, so that it finds there
//! what the device had finished, and is issued again only if that was nothing.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

extern crate alloc;

mod asked;
mod disk;
mod memory;

use alloc::boxed::Box;

use block::{Block, BlockError, Info, MAX_TRANSFER, SECTOR};
use rt::{Construct, Error, Events, LentRead, LentWrite, Next, Service, Session};
use virtio::{Device, Port};

use crate::asked::{Asked, Kind};
use crate::disk::{Disk, Start};
use crate::memory::Memory;

/// Bytes of the DMA window, as in the manifest.
const DMA: usize = 80 * 1024;

/// The service.
struct Server<P> {
    medium: Medium<P>,
}

/// What the sectors lie on.
enum Medium<P> {
    /// A device.
    Disk(Box<Disk<P>>),
    /// The common region, as there is no device.
    Memory(Memory),
    /// A device that cannot be driven.
    None,
}

impl<P: Port> Server<P> {
    fn over(device: Option<P>, common: &'static mut [u8]) -> Self {
        let medium = match device.map(Disk::start) {
            Some(Start::Disk(disk)) => Medium::Disk(disk),
            Some(Start::Unusable) => Medium::None,
            Some(Start::Empty) | None => Medium::Memory(Memory::new(common)),
        };
        Server { medium }
    }

    fn info(&self) -> Result<Info, BlockError> {
        match &self.medium {
            Medium::Disk(disk) => Ok(disk.info()),
            Medium::Memory(memory) => Ok(memory.info()),
            Medium::None => Err(BlockError::NoDevice),
        }
    }

    /// Checks a request, and notes it in its session.
    fn ask(
        &self,
        session: &mut Session<Asked>,
        kind: Kind,
        first: u64,
        len: usize,
    ) -> Result<(u32, Asked), BlockError> {
        let info = self.info()?;
        if kind != Kind::Sync {
            if !len.is_multiple_of(SECTOR) || !(SECTOR..=MAX_TRANSFER).contains(&len) {
                return Err(BlockError::BadLength);
            }
            let end = first.checked_add((len / SECTOR) as u64);
            end.filter(|end| *end <= info.sectors).ok_or(BlockError::OutOfRange)?;
        }
        if kind == Kind::Write && info.flags.contains(block::DiskFlags::READ_ONLY) {
            return Err(BlockError::ReadOnly);
        }
        session.next(kind, first, len as u32);
        Ok((session.number(), **session))
    }
}

impl<P: Port + 'static> Service for Server<P>
where
    Server<P>: TakeDevice<P>,
{
    type State = Asked;

    fn new(construct: &mut Construct) -> Self {
        let server = Server::over(Self::device(), construct.take_common());
        // The line is masked whenever the driver is built. On the host, where there is none, the call is refused.
        let _ = rt::sys::acknowledge(disk::LINE);
        server
    }

    /// The device interrupts although nobody waits: it was late.
    fn event(&mut self, _: Events) -> Next {
        if let Medium::Disk(disk) = &mut self.medium {
            disk.quiet();
        }
        let _ = rt::sys::acknowledge(disk::LINE);
        Next::Done
    }

    fn self_test(&mut self) -> Result<(), Error> {
        match &self.medium {
            Medium::Disk(disk) if !disk.is_well() => Err(Error::Stopped),
            _ => Ok(()),
        }
    }
}

/// Where the device of a service comes from.
trait TakeDevice<P> {
    fn device() -> Option<P>;
}

impl TakeDevice<Device> for Server<Device> {
    fn device() -> Option<Device> {
        Device::take(DMA)
    }
}

impl<P: Port + 'static> Block for Server<P>
where
    Server<P>: TakeDevice<P>,
{
    fn info(&mut self, _: &mut Session<Asked>) -> Result<Info, BlockError> {
        Server::info(self)
    }

    fn read(&mut self, session: &mut Session<Asked>, first: u64, mut to: LentWrite<'_>) -> Result<(), BlockError> {
        let (number, asked) = self.ask(session, Kind::Read, first, to.len())?;
        match &mut self.medium {
            Medium::Disk(disk) => to.copy(0, disk.read(number, &asked)?).map_err(|_| BlockError::BadBuffer),
            Medium::Memory(memory) => to.copy(0, memory.range(first, to.len())?).map_err(|_| BlockError::BadBuffer),
            Medium::None => Err(BlockError::NoDevice),
        }
    }

    fn write(&mut self, session: &mut Session<Asked>, first: u64, from: LentRead<'_>) -> Result<(), BlockError> {
        let (number, asked) = self.ask(session, Kind::Write, first, from.len())?;
        match &mut self.medium {
            Medium::Disk(disk) => disk.write(number, &asked, &from),
            Medium::Memory(memory) => from.copy(0, memory.range(first, from.len())?).map_err(|_| BlockError::BadBuffer),
            Medium::None => Err(BlockError::NoDevice),
        }
    }

    fn sync(&mut self, session: &mut Session<Asked>) -> Result<(), BlockError> {
        let (number, asked) = self.ask(session, Kind::Sync, 0, 0)?;
        match &mut self.medium {
            Medium::Disk(disk) => disk.sync(number, &asked),
            Medium::Memory(_) | Medium::None => Ok(()),
        }
    }
}

rt::service!(Server<Device>: block::Block);
