//! The other end of the wire: the library once more, with memory of its own and no failures.

use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Address, Ipv6Address};

/// Own IPv4 address of the peer.
pub const V4: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);
/// Own IPv6 address of the peer.
pub const V6: Ipv6Address = Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
/// Address of its card.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

#[derive(Default)]
pub struct Wire {
    pub inward: VecDeque<Vec<u8>>,
    pub outward: VecDeque<Vec<u8>>,
}

pub struct In(Vec<u8>);
pub struct Out<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::RxToken for In {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl phy::TxToken for Out<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0; length];
        let result = write(&mut frame);
        self.0.push_back(frame);
        result
    }
}

impl phy::Device for Wire {
    type RxToken<'a> = In;
    type TxToken<'a> = Out<'a>;

    fn receive(&mut self, _: Instant) -> Option<(In, Out<'_>)> {
        Some((In(self.inward.pop_front()?), Out(&mut self.outward)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Out<'_>> {
        Some(Out(&mut self.outward))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

pub struct Peer {
    pub wire: Wire,
    pub interface: Interface,
    pub sockets: SocketSet<'static>,
    next_port: u16,
}

impl Peer {
    pub fn new() -> Self {
        let mut wire = Wire::default();
        let mut config = Config::new(EthernetAddress(MAC).into());
        config.random_seed = 7;
        let mut interface = Interface::new(config, &mut wire, Instant::from_micros(0));
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(V4.into(), 24)).expect("room");
            addresses.push(IpCidr::new(V6.into(), 64)).expect("room");
        });
        let storage = Box::leak((0..32).map(|_| SocketStorage::EMPTY).collect::<Vec<_>>().into_boxed_slice());
        Peer { wire, interface, sockets: SocketSet::new(storage), next_port: 40_000 }
    }

    /// A new TCP socket.
    pub fn tcp(&mut self, room: usize) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(&mut Box::leak(vec![0u8; room].into_boxed_slice())[..]);
        let (receive, send) = (buffer(), buffer());
        self.sockets.add(tcp::Socket::new(receive, send))
    }

    /// Connects to the service.
    pub fn connect(&mut self, address: std::net::IpAddr, port: u16, room: usize) -> SocketHandle {
        let handle = self.tcp(room);
        self.next_port += 1;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(self.interface.context(), (address, port), self.next_port).expect("connects");
        handle
    }

    pub fn poll(&mut self, now: u64) {
        self.interface.poll(Instant::from_micros(now as i64), &mut self.wire, &mut self.sockets);
    }

    #[allow(dead_code)] // not every test lets time pass by itself
    pub fn due(&mut self, now: u64) -> Option<u64> {
        let at = self.interface.poll_at(Instant::from_micros(now as i64), &self.sockets)?;
        Some(at.total_micros().max(0) as u64)
    }
}
