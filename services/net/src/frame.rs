//! Whom a frame is for: found from its headers alone, before any session is open.

use smoltcp::wire::{
    ArpOperation, ArpPacket, EthernetFrame, EthernetProtocol, Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet,
    IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

use crate::table::{Key, Kind};

/// The port of name servers.
const DOMAIN: u16 = 53;

/// What the headers of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What the library takes for granted does not hold: the frame is dropped unread.
    Harmful,
    /// Nothing that could be for a client: the stack deals with it.
    Own,
    /// A neighbour says where it is; the stack deals with that, and those who wait for it can go on.
    Neighbour,
    /// For the session that has this key; of TCP, whether it asks for a connection.
    Session(Key, bool),
}

/// Classifies a frame. Lengths are checked, checksums are not: what is damaged inside reaches nobody but the session that it
/// claims to be for, where the library refuses it.
pub fn classify(frame: &[u8]) -> Class {
    inspect(frame).unwrap_or(Class::Own)
}

fn inspect(frame: &[u8]) -> Option<Class> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    match ethernet.ethertype() {
        EthernetProtocol::Arp => {
            let arp = ArpPacket::new_checked(ethernet.payload()).ok()?;
            Some(if arp.operation() == ArpOperation::Reply { Class::Neighbour } else { Class::Own })
        }
        EthernetProtocol::Ipv4 => {
            let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
            if ip.more_frags() || ip.frag_offset() != 0 {
                return None;
            }
            let mut key = Key::default();
            key.remote[..4].copy_from_slice(&ip.src_addr().octets());
            key.local[..4].copy_from_slice(&ip.dst_addr().octets());
            match ip.next_header() {
                IpProtocol::Icmp => {
                    let icmp = Icmpv4Packet::new_checked(ip.payload()).ok()?;
                    (icmp.msg_type() == Icmpv4Message::EchoReply).then(|| echo(icmp.echo_ident()))
                }
                protocol => transport(key, protocol, ip.payload()),
            }
        }
        EthernetProtocol::Ipv6 => {
            let ip = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
            let key = Key { remote: ip.src_addr().octets(), local: ip.dst_addr().octets(), ..Key::default() };
            match ip.next_header() {
                // Extension headers: nothing here needs any, and an advertisement could hide behind them.
                IpProtocol::HopByHop | IpProtocol::Ipv6Route | IpProtocol::Ipv6Frag | IpProtocol::Ipv6Opts => {
                    Some(Class::Harmful)
                }
                IpProtocol::Icmpv6 => {
                    let icmp = Icmpv6Packet::new_checked(ip.payload()).ok()?;
                    match icmp.msg_type() {
                        Icmpv6Message::EchoReply => Some(echo(icmp.echo_ident())),
                        Icmpv6Message::NeighborAdvert => Some(Class::Neighbour),
                        Icmpv6Message::RouterAdvert => Some(advertisement(ip.payload())),
                        _ => None,
                    }
                }
                protocol => transport(key, protocol, ip.payload()),
            }
        }
        _ => None,
    }
}

/// Looks at the prefixes of a router advertisement (RFC 4861, 4.2 and 4.6.2): the library makes addresses of them, and
/// panics if one cannot be an address of a host.
fn advertisement(message: &[u8]) -> Class {
    let mut options = message.get(16..).unwrap_or_default();
    while let [kind, units, ..] = options {
        let length = usize::from(*units) * 8;
        let Some(option) = options.get(..length).filter(|_| length > 0) else { return Class::Harmful };
        if *kind == 3 {
            let [_, 4, bits, _, _, _, _, _, _, _, _, _, _, _, _, _, first, ..] = option else { return Class::Harmful };
            if *bits > 64 || *first == 0xff || option[16..24] == [0; 8] {
                return Class::Harmful;
            }
        }
        options = &options[length..];
    }
    if options.is_empty() { Class::Own } else { Class::Harmful }
}

/// The key of a socket for echo requests.
fn echo(ident: u16) -> Class {
    Class::Session(Key::port(Kind::Echo, ident), false)
}

fn transport(key: Key, protocol: IpProtocol, payload: &[u8]) -> Option<Class> {
    match protocol {
        IpProtocol::Tcp => {
            let tcp = TcpPacket::new_checked(payload).ok()?;
            let opens = tcp.syn() && !tcp.ack() && !tcp.rst() && !tcp.fin();
            let key = Key { kind: Kind::Tcp, local_port: tcp.dst_port(), remote_port: tcp.src_port(), ..key };
            Some(Class::Session(key, opens))
        }
        IpProtocol::Udp => {
            let udp = UdpPacket::new_checked(payload).ok()?;
            Some(Class::Session(Key::port(Kind::Udp, udp.dst_port()), false))
        }
        _ => None,
    }
}

/// The port that a frame to a name server comes from. The frame is one of our own.
pub fn query_port(frame: &[u8]) -> Option<u16> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let port = |protocol, payload| {
        let udp = UdpPacket::new_checked(payload).ok().filter(|_| protocol == IpProtocol::Udp)?;
        (udp.dst_port() == DOMAIN).then(|| udp.src_port())
    };
    match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
            port(ip.next_header(), ip.payload())
        }
        EthernetProtocol::Ipv6 => {
            let ip = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
            port(ip.next_header(), ip.payload())
        }
        _ => None,
    }
}
