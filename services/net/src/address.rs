//! Addresses and records, as they travel in lent buffers.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An IP address with a port. All zero: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Address {
    /// The address; an IPv4 address in the first four bytes, the others 0.
    pub ip: [u8; 16],
    /// The port; 0 where there is none.
    pub port: u16,
    /// 4 or 6; 0: no address.
    pub family: u8,
    /// Bits of the prefix, where the address stands for a network or for an own address in it.
    pub prefix: u8,
}

impl Address {
    /// No address.
    pub const NONE: Address = Address { ip: [0; 16], port: 0, family: 0, prefix: 0 };

    /// An address without a port.
    pub fn of(ip: IpAddr) -> Self {
        SocketAddr::new(ip, 0).into()
    }

    /// The address, if there is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match (self.family, self.ip) {
            (4, [a, b, c, d, ..]) => Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
            (6, bytes) => Some(IpAddr::V6(Ipv6Addr::from(bytes))),
            _ => None,
        }
    }

    /// Address and port, if there is an address.
    pub fn socket(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.ip()?, self.port))
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let port = address.port();
        match address.ip() {
            IpAddr::V4(v4) => {
                let mut ip = [0; 16];
                ip[..4].copy_from_slice(&v4.octets());
                Address { ip, port, family: 4, prefix: 0 }
            }
            IpAddr::V6(v6) => Address { ip: v6.octets(), port, family: 6, prefix: 0 },
        }
    }
}

/// The most own addresses.
pub const ADDRESSES: usize = 6;
/// The most name servers.
pub const SERVERS: usize = 3;

/// How the interface is set up: what [`crate::Net::configuration`] tells, and [`crate::Net::configure`] takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Configuration {
    /// Own addresses with the prefixes of their networks.
    pub addresses: [Address; ADDRESSES],
    /// Router for all that lies outside, for each family; those of another family mean none.
    pub gateways: [Address; 2],
    /// Name servers.
    pub servers: [Address; SERVERS],
    /// The card's address.
    pub mac: [u8; 6],
    /// 1: IPv4 addresses come from a DHCP server, and IPv6 prefixes from routers.
    pub automatic: u8,
    /// 1: there is a card.
    pub link: u8,
}

/// Numbers of the stack, since the system started: what [`crate::Net::statistics`] tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Statistics {
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames for no client, answered or dropped by the stack itself.
    pub own: u64,
    /// Frames dropped unread, because they were there whenever the stack failed.
    pub shunned: u64,
    /// Frames that the card had no room for.
    pub refused: u64,
    /// Connection requests that found no place.
    pub turned_away: u64,
    /// How often the stack was built, the first time included.
    pub built: u64,
}

/// What [`crate::Net::status`] tells of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Status {
    /// The peer.
    pub remote: Address,
    /// The own end.
    pub local: Address,
    /// As in RFC 793, in the order of `smoltcp`: 0 closed, 1 listening, 2 SYN sent, 3 SYN received, 4 established, 5 and 6
    /// FIN wait, 7 close wait, 8 closing, 9 last ACK, 10 time wait. 11: not TCP.
    pub state: u32,
    /// Bytes to be sent or acknowledged.
    pub sending: u32,
    /// Bytes received and not taken.
    pub received: u32,
}

/// Names of [`Status::state`].
pub const STATES: [&str; 12] = [
    "closed",
    "listen",
    "syn sent",
    "syn received",
    "established",
    "fin wait 1",
    "fin wait 2",
    "close wait",
    "closing",
    "last ack",
    "time wait",
    "open",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_journey() {
        for text in ["10.0.2.15:80", "[fe80::1]:8080", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            let travelled = Address::read_from_bytes(Address::from(address).as_bytes()).unwrap();
            assert_eq!(travelled.socket(), Some(address));
        }
        assert_eq!(Address::NONE.ip(), None);
        assert_eq!(Address { family: 5, ..Address::NONE }.socket(), None);
    }
}
