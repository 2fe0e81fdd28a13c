//! The transport: registers by way of the port, queues by way of their mirrors.

use core::fmt;

use rt::Error;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::PAGE;
use crate::memory::{Layout, Window};
use crate::mirror::{self, Mirror, Parts};
use crate::port::{Port, Value};

/// Registers (virtio 4.2.2; those of the legacy interface: 4.2.4). Offsets in bytes.
mod register {
    pub const MAGIC: u32 = 0x000;
    pub const VERSION: u32 = 0x004;
    pub const DEVICE: u32 = 0x008;
    pub const DEVICE_FEATURES: u32 = 0x010;
    pub const DEVICE_FEATURES_SELECT: u32 = 0x014;
    pub const DRIVER_FEATURES: u32 = 0x020;
    pub const DRIVER_FEATURES_SELECT: u32 = 0x024;
    pub const LEGACY_PAGE_SIZE: u32 = 0x028;
    pub const QUEUE_SELECT: u32 = 0x030;
    pub const QUEUE_MOST: u32 = 0x034;
    pub const QUEUE_SIZE: u32 = 0x038;
    pub const LEGACY_QUEUE_ALIGN: u32 = 0x03c;
    pub const LEGACY_QUEUE_PAGE: u32 = 0x040;
    pub const QUEUE_READY: u32 = 0x044;
    pub const QUEUE_NOTIFY: u32 = 0x050;
    pub const INTERRUPT_STATUS: u32 = 0x060;
    pub const INTERRUPT_ACKNOWLEDGE: u32 = 0x064;
    pub const STATUS: u32 = 0x070;
    pub const QUEUE_DESCRIPTORS: u32 = 0x080;
    pub const QUEUE_AVAILABLE: u32 = 0x090;
    pub const QUEUE_USED: u32 = 0x0a0;
    pub const GENERATION: u32 = 0x0fc;
    /// Where the configuration space begins.
    pub const CONFIGURATION: u32 = 0x100;
}

/// "virt".
const MAGIC: u32 = 0x7472_6976;
/// Features of the device itself are below this bit (virtio 2.2).
const OF_DEVICE: u64 = (1 << 24) - 1;
/// A modern device (VIRTIO_F_VERSION_1).
const VERSION_1: u64 = 1 << 32;
/// How often a register is read that must change at once.
const PATIENCE: u32 = 1_000_000;

/// Why there is no device to drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// There is no virtio transport, or nothing is connected to it.
    Empty,
    /// Another kind of device is connected; its number.
    Other(u32),
    /// A version of the interface that is not known here.
    Version(u32),
    /// The DMA memory is too small for the queues, or not aligned to pages.
    Memory,
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absent::Empty => f.write_str("nothing is connected"),
            Absent::Other(kind) => write!(f, "a virtio device of another kind ({kind}) is connected"),
            Absent::Version(version) => write!(f, "virtio-mmio version {version} is not known"),
            Absent::Memory => f.write_str("the manifest's DMA memory is too small for the queues"),
        }
    }
}

/// Why the device could not be told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A buffer does not lie in the DMA memory.
    Outside,
    /// A queue is not what a queue can be: a number beyond its size, a chain without an end.
    Queue,
    /// The kernel refused: the rules of the manifest are not those of this device.
    Kernel(Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Outside => f.write_str("a buffer lies outside the DMA memory"),
            Fault::Queue => f.write_str("a queue is damaged"),
            Fault::Kernel(error) => write!(f, "the kernel refuses: {error}"),
        }
    }
}

/// The most queues of one device.
const QUEUES: usize = 2;

/// A virtio-mmio device behind checked registers: the `Transport` of `virtio-drivers`.
///
/// Where that trait has no way to say that something went wrong, a refusal of the kernel is a panic: the manifest does
/// not fit the driver.
pub struct Checked<P> {
    pub(crate) port: P,
    pub(crate) layout: Layout,
    legacy: bool,
    kind: DeviceType,
    queues: [Option<Mirror>; QUEUES],
}

impl<P: Port> Checked<P> {
    /// The device behind this port, if it is of this kind; and the memory for its buffers. The device should have been
    /// reset, by the kernel or by a boot.
    ///
    /// # Errors
    /// Why there is none.
    pub fn new(port: P, kind: DeviceType, layout: Layout) -> core::result::Result<(Self, Window), Absent> {
        let memory = port.memory();
        let aligned = memory.cast::<u8>().addr().get().is_multiple_of(PAGE as usize);
        if !aligned || memory.len() < layout.buffers() as usize || usize::from(layout.queues()) > QUEUES {
            return Err(Absent::Memory);
        }
        let found = port.read(register::DEVICE);
        if port.read(register::MAGIC) != MAGIC || found == 0 {
            return Err(Absent::Empty);
        }
        if found != kind as u32 {
            return Err(Absent::Other(found));
        }
        let legacy = match port.read(register::VERSION) {
            1 => true,
            2 => false,
            version => return Err(Absent::Version(version)),
        };
        let window = Window::of(&port, layout);
        Ok((Checked { port, layout, legacy, kind, queues: [const { None }; QUEUES] }, window))
    }

    /// Whether it is a device of the legacy interface.
    pub fn is_legacy(&self) -> bool {
        self.legacy
    }

    /// How many requests of a queue, modulo 65536, the device had finished when it was reset: the index of its used
    /// ring, which survives. Asked before the queue is set up again, which begins a ring at 0.
    pub fn left(&self, queue: u16) -> u16 {
        mirror::used_index(self.port.memory(), self.layout.used(queue))
    }

    /// Tells the device what was added to a queue.
    ///
    /// # Errors
    /// Nothing of it can be told: see [`Fault`].
    pub fn publish(&mut self, queue: u16) -> core::result::Result<(), Fault> {
        let mirror = self.queues.get_mut(usize::from(queue)).and_then(Option::as_mut).ok_or(Fault::Queue)?;
        if mirror.publish(&mut self.port)? {
            self.port.write(register::QUEUE_NOTIFY, Value::Word(queue.into())).map_err(Fault::Kernel)?;
        }
        Ok(())
    }

    /// Moves what the device has used into the shadows of all queues. Whether that was anything.
    ///
    /// # Errors
    /// [`Fault::Queue`]: the device says what cannot be.
    pub fn take_used(&mut self) -> core::result::Result<bool, Fault> {
        let mut any = false;
        for mirror in self.queues.iter_mut().flatten() {
            any |= mirror.take()?;
        }
        Ok(any)
    }

    fn write(&mut self, register: u32, value: u32) {
        self.set(register, Value::Word(value));
    }

    fn set(&mut self, register: u32, value: Value) {
        if let Err(error) = self.port.write(register, value) {
            panic!("virtio: the kernel refuses {value:x?} for register {register:#x}: {error}");
        }
    }

    /// Sets the address registers of a modern queue: low word, high word.
    fn set_address(&mut self, register: u32, page: u32) {
        self.set(register, Value::Page(page));
        self.write(register + 4, 0);
    }
}

impl<P: Port> Transport for Checked<P> {
    fn device_type(&self) -> DeviceType {
        self.kind
    }

    /// Features that the mirrors do not know are not seen: indirect descriptors, notification by index, packed rings.
    fn read_device_features(&mut self) -> u64 {
        let mut features = 0;
        for half in 0..2 {
            self.write(register::DEVICE_FEATURES_SELECT, half);
            features |= u64::from(self.port.read(register::DEVICE_FEATURES)) << (32 * half);
        }
        features & (OF_DEVICE | if self.legacy { 0 } else { VERSION_1 })
    }

    fn write_driver_features(&mut self, features: u64) {
        for half in 0..2 {
            self.write(register::DRIVER_FEATURES_SELECT, half);
            self.write(register::DRIVER_FEATURES, (features >> (32 * half)) as u32);
        }
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.write(register::QUEUE_SELECT, queue.into());
        self.port.read(register::QUEUE_MOST)
    }

    fn notify(&mut self, queue: u16) {
        if let Err(fault) = self.publish(queue) {
            panic!("virtio: queue {queue}: {fault}");
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.port.read(register::STATUS))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.write(register::STATUS, status.bits());
    }

    fn set_guest_page_size(&mut self, size: u32) {
        if self.legacy {
            self.write(register::LEGACY_PAGE_SIZE, size);
        }
    }

    fn requires_legacy_layout(&self) -> bool {
        self.legacy
    }

    /// The addresses are the shadow's; the device is told where the real queue lies.
    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        let (layout, legacy) = (self.layout, self.legacy);
        let size = u16::try_from(size).ok().filter(|size| size.is_power_of_two() && *size <= 128 && *size >= 2);
        let Some(size) = size.filter(|_| queue < layout.queues()) else {
            panic!("virtio: queue {queue}: there is no room for it in the layout");
        };
        let shadow = Parts { descriptors, available: driver_area, used: device_area };
        let mut mirror = Mirror::new(&self.port, layout, queue, size, shadow, legacy);
        if let Err(fault) = mirror.begin(&mut self.port) {
            panic!("virtio: queue {queue}: {fault}");
        }
        self.queues[usize::from(queue)] = Some(mirror);
        self.write(register::QUEUE_SELECT, queue.into());
        self.write(register::QUEUE_SIZE, size.into());
        if legacy {
            self.write(register::LEGACY_QUEUE_ALIGN, PAGE);
            self.set(register::LEGACY_QUEUE_PAGE, Value::Page(layout.table(queue)));
        } else {
            self.set_address(register::QUEUE_DESCRIPTORS, layout.table(queue));
            self.set_address(register::QUEUE_AVAILABLE, layout.available(queue));
            self.set_address(register::QUEUE_USED, layout.used(queue));
            self.write(register::QUEUE_READY, 1);
        }
    }

    fn queue_unset(&mut self, queue: u16) {
        self.write(register::QUEUE_SELECT, queue.into());
        if self.legacy {
            self.write(register::LEGACY_QUEUE_PAGE, 0);
        } else {
            self.write(register::QUEUE_READY, 0);
            // The device has stopped when it says so (virtio 4.2.2.2).
            let mut patience = 0..PATIENCE;
            while self.port.read(register::QUEUE_READY) != 0 && patience.next().is_some() {}
        }
        if let Some(mirror) = self.queues.get_mut(usize::from(queue)) {
            *mirror = None;
        }
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.write(register::QUEUE_SELECT, queue.into());
        let register = if self.legacy { register::LEGACY_QUEUE_PAGE } else { register::QUEUE_READY };
        self.port.read(register) != 0
    }

    /// Also moves what the device has used into the shadows, so that whoever polls calls this first.
    fn ack_interrupt(&mut self) -> InterruptStatus {
        let status = self.port.read(register::INTERRUPT_STATUS);
        if status != 0 {
            self.write(register::INTERRUPT_ACKNOWLEDGE, status);
        }
        if let Err(fault) = self.take_used() {
            panic!("virtio: what the device has used: {fault}");
        }
        InterruptStatus::from_bits_truncate(status)
    }

    fn read_config_generation(&self) -> u32 {
        // The legacy interface has none.
        if self.legacy { 0 } else { self.port.read(register::GENERATION) }
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        let room = (PAGE - register::CONFIGURATION) as usize;
        offset
            .checked_add(size_of::<T>())
            .filter(|end| *end <= room)
            .ok_or(virtio_drivers::Error::ConfigSpaceTooSmall)?;
        let mut value = T::new_zeroed();
        for (at, byte) in value.as_mut_bytes().iter_mut().enumerate() {
            *byte = self.port.read_byte(register::CONFIGURATION + (offset + at) as u32);
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Result<()> {
        // By words: registers are written so.
        if !offset.is_multiple_of(4) || !size_of::<T>().is_multiple_of(4) {
            return Err(virtio_drivers::Error::Unsupported);
        }
        for (at, bytes) in value.as_bytes().as_chunks::<4>().0.iter().enumerate() {
            self.write(register::CONFIGURATION + (offset + 4 * at) as u32, u32::from_le_bytes(*bytes));
        }
        Ok(())
    }
}
