//! virtio-blk (virtio 5.2): one request at a time.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use bitflags::bitflags;
use block::{BlockError, DiskFlags, Info, MAX_TRANSFER};
use rt::{Events, LentRead, sys};
use virtio::virtio_drivers::transport::{DeviceStatus, DeviceType, Transport};
use virtio::{Absent, Buffer, Checked, Layout, Parts, Port, Queue, Window};
use zerocopy::{FromBytes, IntoBytes};

use crate::asked::{Asked, Kind, Note};

/// The interrupt of the device: the first, and only, line of the manifest.
pub const LINE: u32 = 0;
/// How long a request may take, in ticks of a millisecond: a little less than the budget of a call.
const PATIENCE: u32 = 400;
/// Descriptors of the queue, as in the manifest.
const DESCRIPTORS: usize = 16;
/// One queue.
const LAYOUT: Layout = Layout::new(1);
/// Bytes of a request's header: type, 0, sector (virtio 5.2.6).
const HEADER: usize = 16;
/// What the device writes when it is done: good, not good, or no such request.
const GOOD: u8 = 0;
/// What stands there until then.
const OPEN: u8 = 0xff;
/// Bytes that are compared at once.
const COMPARED: usize = 512;

bitflags! {
    /// Features (virtio 5.2.3, 6).
    #[derive(Clone, Copy, Debug)]
    struct Features: u64 {
        /// The disk is read-only.
        const RO = 1 << 5;
        /// The device has a cache and empties it on demand.
        const FLUSH = 1 << 9;
        /// A modern device.
        const VERSION_1 = 1 << 32;
    }
}

/// A device that is driven.
pub struct Disk<P> {
    transport: Checked<P>,
    queue: Queue<DESCRIPTORS>,
    info: Info,
    /// Requests given to the device since it was set up.
    issued: u16,
    /// Where the note of the latest request lies.
    note: Buffer,
    /// What a request is made of; `None` while the device has it.
    request: Option<Request>,
    /// The data buffer, while the device has a request without data.
    idle: Option<Buffer>,
    /// The latest request before the service failed, if the device had finished it. Until the next one is issued.
    left: Option<Note>,
}

/// The buffers of a request.
struct Request {
    header: Buffer,
    data: Buffer,
    status: Buffer,
}

/// What was found at the port.
pub enum Start<P> {
    /// A disk.
    Disk(Box<Disk<P>>),
    /// Nothing, or another kind of device.
    Empty,
    /// A disk that cannot be driven.
    Unusable,
}

impl<P: Port> Disk<P> {
    /// Sets up the device, which has been reset. What it had finished before is looked at first.
    pub fn start(port: P) -> Start<P> {
        match Checked::new(port, DeviceType::Block, LAYOUT) {
            Ok((transport, window)) => {
                Self::set_up(transport, window).map_or(Start::Unusable, |disk| Start::Disk(Box::new(disk)))
            }
            Err(Absent::Empty | Absent::Other(_)) => Start::Empty,
            Err(Absent::Version(_) | Absent::Memory) => Start::Unusable,
        }
    }

    fn set_up(mut transport: Checked<P>, mut window: Window) -> Option<Self> {
        let note = window.take(size_of::<Note>(), 64)?;
        let header = window.take(HEADER, 16)?;
        let status = window.take(1, 64)?;
        let data = window.take(MAX_TRANSFER, virtio::PAGE as usize)?;
        let left = Note::read_from_bytes(note.bytes()).ok().and_then(|note| note.finished(transport.left(0)));
        let left = left.filter(|_| status.bytes() == [GOOD]);
        let request = Some(Request { header, data, status });
        let (queue, info) = agree(&mut transport)?;
        Some(Disk { transport, queue, info, issued: 0, note, request, idle: None, left })
    }

    pub fn info(&self) -> Info {
        self.info
    }

    /// Whether the device works as far as it says itself.
    pub fn is_well(&self) -> bool {
        let status = self.transport.get_status();
        status.contains(DeviceStatus::DRIVER_OK) && !status.contains(DeviceStatus::DEVICE_NEEDS_RESET)
    }

    /// Takes notice of an interrupt that nobody waits for.
    pub fn quiet(&mut self) {
        self.transport.ack_interrupt();
    }

    /// Carries out a read; returns the data.
    pub fn read(&mut self, session: u32, asked: &Asked) -> Result<&[u8], BlockError> {
        let finished = self.left.is_some_and(|note| note.is_of(session, asked));
        self.data(asked.bytes())?;
        if !finished {
            self.carry_out(session, asked, Kind::Read)?;
        }
        self.data(asked.bytes()).map(|data| &*data)
    }

    /// Carries out a write.
    pub fn write(&mut self, session: u32, asked: &Asked, from: &LentRead<'_>) -> Result<(), BlockError> {
        let finished = self.left.is_some_and(|note| note.is_of(session, asked));
        let data = self.data(asked.bytes())?;
        if finished && is_same(data, from)? {
            return Ok(());
        }
        from.copy(0, data).map_err(|_| BlockError::BadBuffer)?;
        self.carry_out(session, asked, Kind::Write)
    }

    /// Empties the device's cache.
    pub fn sync(&mut self, session: u32, asked: &Asked) -> Result<(), BlockError> {
        let finished = self.left.is_some_and(|note| note.is_of(session, asked));
        if finished || !self.info.flags.contains(DiskFlags::CACHED) {
            return Ok(());
        }
        self.carry_out(session, asked, Kind::Sync)
    }

    /// Where the data of a request of this length lies.
    fn data(&mut self, len: usize) -> Result<&mut [u8], BlockError> {
        let request = self.request.as_mut().ok_or(BlockError::NoAnswer)?;
        if request.data.set_len(len) { Ok(request.data.bytes_mut()) } else { Err(BlockError::BadLength) }
    }

    fn carry_out(&mut self, session: u32, asked: &Asked, kind: Kind) -> Result<(), BlockError> {
        self.left = None;
        self.issue(session, asked, kind)?;
        match self.wait()? {
            GOOD => Ok(()),
            _ => Err(BlockError::Medium),
        }
    }

    /// Gives a request to the device.
    fn issue(&mut self, session: u32, asked: &Asked, kind: Kind) -> Result<(), BlockError> {
        let Some(Request { mut header, data, mut status }) = self.request.take() else {
            return Err(BlockError::NoAnswer);
        };
        let code: u32 = match kind {
            Kind::Read => 0,
            Kind::Write => 1,
            Kind::Sync => 4,
        };
        header.bytes_mut()[..4].copy_from_slice(&code.to_le_bytes());
        header.bytes_mut()[4..8].fill(0);
        header.bytes_mut()[8..].copy_from_slice(&asked.first().to_le_bytes());
        status.bytes_mut().fill(OPEN);
        self.note.bytes_mut().copy_from_slice(Note::of(session, asked, self.issued).as_bytes());
        let (read, write) = match kind {
            Kind::Read => (vec![header], vec![data, status]),
            Kind::Write => (vec![header, data], vec![status]),
            Kind::Sync => {
                self.idle = Some(data);
                (vec![header], vec![status])
            }
        };
        if let Err(refused) = self.queue.submit(&mut self.transport, read, write) {
            // The queue is ours alone, and empty: only a damaged state leads here.
            panic!("the device was not given a request: {:?}", refused.fault);
        }
        self.issued = self.issued.wrapping_add(1);
        Ok(())
    }

    /// Waits until the device has finished, and returns the status of the request.
    fn wait(&mut self) -> Result<u8, BlockError> {
        loop {
            match self.queue.finished(&mut self.transport) {
                Ok(None) => {}
                Ok(Some(finished)) => return Ok(self.take_back(finished.read, finished.write)),
                Err(fault) => panic!("the device's answer: {fault}"),
            }
            match sys::wait_events(Events::line(LINE as usize), PATIENCE) {
                Ok(events) if !events.is_empty() => {
                    // What has come since is seen by `finished`, or interrupts again.
                    self.transport.ack_interrupt();
                    let _ = sys::acknowledge(LINE);
                }
                _ => break,
            }
        }
        self.start_anew().ok_or(BlockError::NoAnswer)
    }

    /// The buffers of a request are ours again. Returns its status.
    fn take_back(&mut self, read: Parts, write: Parts) -> u8 {
        // In the order of the queue: header, data if any, status.
        let mut parts: Vec<Buffer> = read.into_iter().chain(write).collect();
        let status = parts.pop();
        let data = if parts.len() > 1 { parts.pop() } else { self.idle.take() };
        let (Some(header), Some(data), Some(status)) = (parts.pop(), data, status) else {
            panic!("a request came back in parts");
        };
        let code = status.bytes().first().copied().unwrap_or(OPEN);
        self.request = Some(Request { header, data, status });
        code
    }

    /// Resets the device, which finishes or gives up the request that it has. Returns the status of one that it finished.
    fn start_anew(&mut self) -> Option<u8> {
        self.transport.set_status(DeviceStatus::empty());
        let finished = self.queue.finished(&mut self.transport).ok().flatten();
        let Some((queue, _)) = agree(&mut self.transport) else {
            panic!("the device cannot be set up again");
        };
        let old = core::mem::replace(&mut self.queue, queue);
        self.issued = 0;
        self.note.bytes_mut().fill(0);
        if let Some(finished) = finished {
            return Some(self.take_back(finished.read, finished.write));
        }
        if let Some((read, write)) = old.abandon().next() {
            self.take_back(read, write);
        }
        None
    }
}

/// Agrees with a device that was reset on how it is driven. `None` if it does not agree.
fn agree<P: Port>(transport: &mut Checked<P>) -> Option<(Queue<DESCRIPTORS>, Info)> {
    let features = transport.begin_init(Features::all());
    if !transport.is_legacy() && !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
        return None;
    }
    let [low, high] = transport.read_consistent(|| transport.read_config_space::<[u32; 2]>(0)).ok()?;
    let mut flags = DiskFlags::empty();
    flags.set(DiskFlags::READ_ONLY, features.contains(Features::RO));
    flags.set(DiskFlags::CACHED, features.contains(Features::FLUSH));
    let queue = Queue::new(transport, 0).ok()?;
    transport.finish_init();
    Some((queue, Info { sectors: u64::from(high) << 32 | u64::from(low), flags }))
}

/// Whether the client lends these bytes.
fn is_same(data: &[u8], from: &LentRead<'_>) -> Result<bool, BlockError> {
    let mut part = [0; COMPARED];
    for (index, bytes) in data.chunks(COMPARED).enumerate() {
        let part = &mut part[..bytes.len()];
        from.copy(index * COMPARED, part).map_err(|_| BlockError::BadBuffer)?;
        if part != bytes {
            return Ok(false);
        }
    }
    Ok(true)
}
