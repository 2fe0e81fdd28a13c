//! Requests of clients.

use core::net::IpAddr;

use rt::{LentRead, LentWrite};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::{AnySocket, Socket, dns, icmp, tcp, udp};
use smoltcp::wire::{DnsQueryType, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress, IpEndpoint};
use zerocopy::{FromBytes, IntoBytes};

use crate::interface::Net;
use crate::region::{self, FIRST_LISTENER, LISTENERS, Listener, Phase, QUERIES, SLOTS, TCP, UDP};
use crate::server::{Machine, PATIENCE, Server, Session, vacant};
use crate::shared::mix;
use crate::table::Kind;
use crate::{Address, Configuration, NetError, Protocol, Statistics, Status, stack};

/// Bytes of an [`Address`].
const ADDRESS: usize = size_of::<Address>();
/// Bytes of the header of an echo request or reply.
const ECHO_HEADER: usize = 8;
/// Bytes of the longest name.
const NAME: usize = 253;
/// The port that DHCP has.
const DHCP: u16 = 68;
/// Where ports begin that are given to who asks for any (RFC 6335).
const DYNAMIC: u16 = 49152;

/// Does something with a socket that the client holds.
fn with<S: AnySocket<'static>, R>(
    session: &mut Session,
    socket: u32,
    body: impl FnOnce(&mut S) -> R,
) -> Result<R, NetError> {
    let slot = session.slots.get(socket as usize).filter(|slot| slot.phase == Phase::Held);
    let handle = slot.and_then(|slot| slot.handle).ok_or(NetError::NoSuchSocket)?;
    session.with_set(|set, _| {
        let socket = set.iter_mut().find(|(other, _)| *other == handle).map(|(_, socket)| socket);
        S::downcast_mut(socket.ok_or(NetError::NoSuchSocket)?).map(body).ok_or(NetError::NoSuchSocket)
    })
}

/// Reads a record out of a lent buffer.
fn record<T: FromBytes + IntoBytes>(lent: &LentRead<'_>) -> Result<T, NetError> {
    let mut record = T::new_zeroed();
    if lent.len() < size_of::<T>() {
        return Err(NetError::BadRecord);
    }
    lent.copy(0, record.as_mut_bytes())?;
    Ok(record)
}

/// Writes a record to a lent buffer.
fn put<T: IntoBytes + zerocopy::Immutable>(mut lent: LentWrite<'_>, record: &T) -> Result<(), NetError> {
    if lent.len() < size_of::<T>() {
        return Err(NetError::BadRecord);
    }
    Ok(lent.copy(0, record.as_bytes())?)
}

/// The address that a record names, if packets can be sent to it.
fn peer(address: &Address) -> Result<IpEndpoint, NetError> {
    let socket = address.socket().filter(|socket| !socket.ip().is_unspecified()).ok_or(NetError::Unreachable)?;
    Ok(socket.into())
}

/// What is ready: taken from, put into, and ended, as sets of socket numbers.
pub(crate) fn readiness(session: &mut Session) -> (u32, u32, u32) {
    let (mut readable, mut writable, mut ended) = (0, 0, 0);
    let queries = session.queries;
    let resolver = session.resolver;
    session.with_set(|set, slots| {
        for (number, slot) in slots.iter().enumerate() {
            let Some(handle) = slot.handle else { continue };
            let Some((_, socket)) = set.iter().find(|(other, _)| *other == handle) else { continue };
            match (slot.phase, socket) {
                (Phase::Pending(listener), Socket::Tcp(socket)) if is_taken(socket.state()) => {
                    readable |= 1 << (FIRST_LISTENER + usize::from(listener));
                }
                (Phase::Held, Socket::Tcp(socket)) => {
                    let opening = matches!(socket.state(), tcp::State::SynSent | tcp::State::SynReceived);
                    readable |= u32::from(socket.can_recv() || !socket.may_recv() && !opening) << number;
                    let free = socket.send_capacity() - socket.send_queue();
                    writable |= u32::from(socket.may_send() && free * 4 >= socket.send_capacity()) << number;
                    ended |= u32::from(socket.state() == tcp::State::Closed) << number;
                }
                (Phase::Held, Socket::Udp(socket)) => {
                    readable |= u32::from(socket.can_recv()) << number;
                    writable |= u32::from(socket.can_send()) << number;
                }
                (Phase::Held, Socket::Icmp(socket)) => {
                    readable |= u32::from(socket.can_recv()) << number;
                    writable |= u32::from(socket.can_send()) << number;
                }
                _ => {}
            }
        }
        // The library does not say whether an answer is there without giving it: the client is to ask.
        if resolver.is_some() {
            for (number, query) in queries.iter().enumerate() {
                readable |= u32::from(query.is_some()) << (SLOTS + number);
            }
        }
    });
    (readable, writable, ended)
}

/// Whether a connection with this state can be accepted.
fn is_taken(state: tcp::State) -> bool {
    matches!(state, tcp::State::Established | tcp::State::CloseWait)
}

impl<M: Machine> Server<M> {
    /// A port that nobody has.
    fn any_port(&mut self, kind: Kind) -> Result<u16, NetError> {
        let count = u16::MAX - DYNAMIC;
        let first = (mix(&mut self.random) % u64::from(count)) as u16;
        let ports =
            (0..count).map(|offset| DYNAMIC + ((u32::from(first) + u32::from(offset)) % u32::from(count)) as u16);
        let mut free =
            ports.filter(|port| !self.table.has_port(kind, *port) && !self.table.has_port(Kind::Listener, *port));
        free.next().ok_or(NetError::PortInUse)
    }

    /// The end of a request that changed something.
    fn finish<T>(&mut self, session: &mut Session, result: T) -> Result<T, NetError> {
        let now = self.machine.now();
        self.settle(session, now);
        self.seen(session);
        Ok(result)
    }

    /// The source address of packets to this one.
    fn source(&self, to: IpAddress) -> Option<IpAddress> {
        self.stack.interface.get_source_address(&to)
    }
}

impl<M: Machine> Net for Server<M> {
    fn listen(&mut self, session: &mut Session, port: u16, backlog: u32) -> Result<u32, NetError> {
        if port == 0 || self.table.has_port(Kind::Listener, port) {
            return Err(NetError::PortInUse);
        }
        let free = session.listeners.iter().position(|listener| listener.port == 0);
        let free = free.ok_or(NetError::TooManySockets)?;
        session.listeners[free] = Listener { port, backlog: backlog.clamp(1, TCP as u32) as u16 };
        self.finish(session, (FIRST_LISTENER + free) as u32)
    }

    fn accept(&mut self, session: &mut Session, listener: u32) -> Result<u32, NetError> {
        let number = (listener as usize).checked_sub(FIRST_LISTENER).filter(|number| *number < LISTENERS);
        let number = number.filter(|number| session.listeners[*number].port != 0).ok_or(NetError::NoSuchSocket)?;
        let slot = session.with_set(|set, slots| {
            let waiting = slots.iter().enumerate().filter(|(_, slot)| slot.phase == Phase::Pending(number as u8));
            let ready = waiting.filter(|(_, slot)| {
                slot.handle.is_some_and(|handle| is_taken(set.get::<tcp::Socket<'_>>(handle).state()))
            });
            ready.min_by_key(|(_, slot)| slot.since).map(|(number, _)| number)
        });
        match slot {
            Some(slot) => {
                session.slots[slot].phase = Phase::Held;
                self.seen(session);
                // What came with the connection is news to who has just taken it.
                session.told.0 &= !(1 << slot);
                session.told.2 &= !(1 << slot);
                Ok(slot as u32)
            }
            None => {
                self.seen(session);
                Err(NetError::WouldBlock)
            }
        }
    }

    fn connect(&mut self, session: &mut Session, to: LentRead<'_>) -> Result<u32, NetError> {
        let remote = peer(&record(&to)?)?;
        if remote.port == 0 || !remote.addr.is_unicast() || self.source(remote.addr).is_none() {
            return Err(NetError::Unreachable);
        }
        let slot = vacant(session).ok_or(NetError::TooManySockets)?;
        let port = self.any_port(Kind::Tcp)?;
        let now = self.machine.now();
        let handle = region::put_tcp(session, slot, Phase::Held, now);
        let context = self.stack.interface.context();
        let opened = session.with_set(|set, _| {
            let socket = set.get_mut::<tcp::Socket<'_>>(handle);
            socket.set_timeout(Some(smoltcp::time::Duration::from_secs(PATIENCE)));
            socket.connect(context, remote, port)
        });
        if opened.is_err() {
            session.free(slot);
            return Err(NetError::Unreachable);
        }
        self.finish(session, slot as u32)
    }

    fn send(&mut self, session: &mut Session, socket: u32, data: LentRead<'_>) -> Result<u32, NetError> {
        let sent = with(session, socket, |socket: &mut tcp::Socket<'_>| {
            if matches!(socket.state(), tcp::State::SynSent | tcp::State::SynReceived) {
                return Err(NetError::WouldBlock);
            }
            if !socket.may_send() {
                return Err(if socket.state() == tcp::State::Closed { NetError::Reset } else { NetError::Closed });
            }
            let mut sent = 0;
            // Twice: the ring may go round its end.
            for _ in 0..2 {
                let copied = socket.send(|room| {
                    let count = room.len().min(data.len() - sent);
                    match data.copy(sent, &mut room[..count]) {
                        Ok(()) => (count, Ok(count)),
                        Err(error) => (0, Err(error)),
                    }
                });
                sent += copied.map_err(|_| NetError::Closed)??;
            }
            if sent == 0 && !data.is_empty() { Err(NetError::WouldBlock) } else { Ok(sent as u32) }
        })?;
        match sent {
            Ok(sent) => self.finish(session, sent),
            Err(error) => {
                self.seen(session);
                Err(error)
            }
        }
    }

    fn recv(&mut self, session: &mut Session, socket: u32, mut to: LentWrite<'_>) -> Result<u32, NetError> {
        let taken = with(session, socket, |socket: &mut tcp::Socket<'_>| {
            if matches!(socket.state(), tcp::State::SynSent | tcp::State::SynReceived) {
                return Err(NetError::WouldBlock);
            }
            let mut taken = 0;
            for _ in 0..2 {
                let copied = socket.recv(|bytes| {
                    let count = bytes.len().min(to.len() - taken);
                    match to.copy(taken, &bytes[..count]) {
                        Ok(()) => (count, Ok(count)),
                        Err(error) => (0, Err(error)),
                    }
                });
                match copied {
                    Ok(count) => taken += count?,
                    Err(_) if taken > 0 => break,
                    Err(tcp::RecvError::Finished) => return Ok(0),
                    Err(tcp::RecvError::InvalidState) => return Err(NetError::Reset),
                }
            }
            if taken == 0 && !to.is_empty() { Err(NetError::WouldBlock) } else { Ok(taken as u32) }
        })?;
        match taken {
            // The window has grown: the peer may have to hear of it.
            Ok(taken) => self.finish(session, taken),
            Err(error) => {
                self.seen(session);
                Err(error)
            }
        }
    }

    fn shutdown(&mut self, session: &mut Session, socket: u32) -> Result<(), NetError> {
        with(session, socket, |socket: &mut tcp::Socket<'_>| socket.close())?;
        self.finish(session, ())
    }

    fn close(&mut self, session: &mut Session, socket: u32) -> Result<(), NetError> {
        let number = socket as usize;
        let held = session.slots.get(number).is_some_and(|slot| slot.phase == Phase::Held);
        if number < TCP && held {
            with(session, socket, |socket: &mut tcp::Socket<'_>| socket.close())?;
            session.slots[number].phase = Phase::Orphan;
        } else if number < SLOTS && held {
            session.free(number);
        } else if let Some(query) = number.checked_sub(SLOTS).filter(|query| *query < QUERIES) {
            let query = session.queries[query].take().ok_or(NetError::NoSuchSocket)?;
            let resolver = region::resolver(session);
            session.with_set(|set, _| set.get_mut::<dns::Socket<'_>>(resolver).cancel_query(query));
        } else {
            let listener = number.checked_sub(FIRST_LISTENER).filter(|listener| *listener < LISTENERS);
            let listener = listener.filter(|listener| session.listeners[*listener].port != 0);
            let listener = listener.ok_or(NetError::NoSuchSocket)?;
            session.listeners[listener] = Listener::default();
            for slot in 0..TCP {
                if session.slots[slot].phase == Phase::Pending(listener as u8) {
                    session.slots[slot].phase = Phase::Orphan;
                    let handle = session.slots[slot].handle.ok_or(NetError::NoSuchSocket)?;
                    session.with_set(|set, _| set.get_mut::<tcp::Socket<'_>>(handle).abort());
                }
            }
        }
        self.finish(session, ())
    }

    fn abort(&mut self, session: &mut Session, socket: u32) -> Result<(), NetError> {
        with(session, socket, |socket: &mut tcp::Socket<'_>| socket.abort())?;
        session.slots[socket as usize].phase = Phase::Orphan;
        self.finish(session, ())
    }

    fn open_datagrams(&mut self, session: &mut Session, protocol: Protocol, port: u16) -> Result<u32, NetError> {
        let (slots, kind) = match protocol {
            Protocol::Udp => (TCP..TCP + UDP, Kind::Udp),
            Protocol::Echo => (TCP + UDP..SLOTS, Kind::Echo),
        };
        let free = slots.into_iter().find(|slot| session.slots[*slot].phase == Phase::Free);
        let slot = free.ok_or(NetError::TooManySockets)?;
        if port == DHCP && kind == Kind::Udp || port != 0 && self.table.has_port(kind, port) {
            return Err(NetError::PortInUse);
        }
        let port = if port == 0 { self.any_port(kind)? } else { port };
        let now = self.machine.now();
        let bound = match protocol {
            Protocol::Udp => {
                let handle = region::put_udp(session, slot, now);
                session.with_set(|set, _| set.get_mut::<udp::Socket<'_>>(handle).bind(port).is_ok())
            }
            Protocol::Echo => {
                let handle = region::put_echo(session, slot, now);
                let ident = icmp::Endpoint::Ident(port);
                session.with_set(|set, _| set.get_mut::<icmp::Socket<'_>>(handle).bind(ident).is_ok())
            }
        };
        if !bound {
            session.free(slot);
            return Err(NetError::PortInUse);
        }
        session.idents[slot - TCP] = port;
        self.finish(session, slot as u32)
    }

    fn send_to(&mut self, session: &mut Session, socket: u32, data: LentRead<'_>) -> Result<(), NetError> {
        let remote = peer(&record(&data)?)?;
        let length = data.len() - ADDRESS;
        let source = self.source(remote.addr).ok_or(NetError::Unreachable)?;
        if (socket as usize) < TCP + UDP {
            if remote.port == 0 {
                return Err(NetError::Unreachable);
            }
            with(session, socket, |socket: &mut udp::Socket<'_>| {
                if length > socket.payload_send_capacity() {
                    return Err(NetError::TooLong);
                }
                let room = socket.send(length, remote).map_err(|_| NetError::WouldBlock)?;
                Ok(data.copy(ADDRESS, room)?)
            })??;
        } else {
            let ident = session.slots.get(socket as usize).map_or(0, |_| session.idents[socket as usize - TCP]);
            with(session, socket, |socket: &mut icmp::Socket<'_>| {
                let mut payload = [0; 1472 - ECHO_HEADER];
                let payload = payload.get_mut(..length).ok_or(NetError::TooLong)?;
                data.copy(ADDRESS, payload)?;
                let (number, payload) = payload.split_first_chunk().ok_or(NetError::BadRecord)?;
                let seq_no = u16::from_be_bytes(*number);
                let size = ECHO_HEADER + payload.len();
                let room = socket.send(size, remote.addr).map_err(|_| NetError::WouldBlock)?;
                let checksums = ChecksumCapabilities::default();
                match (source, remote.addr) {
                    (IpAddress::Ipv6(source), IpAddress::Ipv6(remote)) => {
                        let request = Icmpv6Repr::EchoRequest { ident, seq_no, data: payload };
                        request.emit(&source, &remote, &mut Icmpv6Packet::new_unchecked(room), &checksums);
                    }
                    _ => {
                        let request = Icmpv4Repr::EchoRequest { ident, seq_no, data: payload };
                        request.emit(&mut Icmpv4Packet::new_unchecked(room), &checksums);
                    }
                }
                Ok::<(), NetError>(())
            })??;
        }
        self.finish(session, ())
    }

    fn recv_from(&mut self, session: &mut Session, socket: u32, mut to: LentWrite<'_>) -> Result<u32, NetError> {
        if to.len() < ADDRESS {
            return Err(NetError::BadRecord);
        }
        let mut write = |from: Address, parts: [&[u8]; 2]| {
            to.copy(0, from.as_bytes())?;
            let mut at = ADDRESS;
            for part in parts {
                let count = part.len().min(to.len() - at);
                to.copy(at, &part[..count])?;
                at += count;
            }
            Ok(at as u32)
        };
        let taken = if (socket as usize) < TCP + UDP {
            with(session, socket, |socket: &mut udp::Socket<'_>| {
                let (payload, from) = socket.recv().map_err(|_| NetError::WouldBlock)?;
                write(core::net::SocketAddr::from(from.endpoint).into(), [payload, &[]])
            })?
        } else {
            with(session, socket, |socket: &mut icmp::Socket<'_>| {
                let (packet, from) = socket.recv().map_err(|_| NetError::WouldBlock)?;
                // Replies have the same form in both families; what is too short for one has no number and no payload.
                let number = packet.get(6..ECHO_HEADER).unwrap_or_default();
                write(Address::of(from.into()), [number, packet.get(ECHO_HEADER..).unwrap_or_default()])
            })?
        };
        self.seen(session);
        taken
    }

    fn resolve(&mut self, session: &mut Session, family: u32, name: LentRead<'_>) -> Result<u32, NetError> {
        let mut bytes = [0; NAME];
        let bytes = bytes.get_mut(..name.len()).ok_or(NetError::BadName)?;
        name.copy(0, bytes)?;
        let name = core::str::from_utf8(bytes).ok().filter(|name| name.is_ascii()).ok_or(NetError::BadName)?;
        let kind = if family == 6 { DnsQueryType::Aaaa } else { DnsQueryType::A };
        let mut servers = [IpAddress::v4(0, 0, 0, 0); crate::SERVERS];
        let known = self.interface().servers.iter().filter_map(Address::ip);
        let count = servers.iter_mut().zip(known).map(|(place, server)| *place = server.into()).count();
        if count == 0 {
            return Err(NetError::NoServer);
        }
        let free = session.queries.iter().position(Option::is_none).ok_or(NetError::TooManySockets)?;
        let resolver = region::resolver(session);
        let context = self.stack.interface.context();
        let query = session.with_set(|set, _| {
            let socket = set.get_mut::<dns::Socket<'_>>(resolver);
            socket.update_servers(&servers[..count]);
            socket.start_query(context, name, kind)
        });
        session.queries[free] = Some(query.map_err(|_| NetError::BadName)?);
        self.finish(session, (SLOTS + free) as u32)
    }

    fn answer(&mut self, session: &mut Session, query: u32, mut to: LentWrite<'_>) -> Result<u32, NetError> {
        let place = (query as usize).checked_sub(SLOTS).filter(|place| *place < QUERIES);
        let place = place.ok_or(NetError::NoSuchSocket)?;
        let handle = session.queries[place].ok_or(NetError::NoSuchSocket)?;
        let resolver = region::resolver(session);
        let answer = session.with_set(|set, _| set.get_mut::<dns::Socket<'_>>(resolver).get_query_result(handle));
        match answer {
            Err(dns::GetQueryResultError::Pending) => {
                // Told again when something has come for the session, whatever it is.
                session.told.0 &= !(1 << query);
                Err(NetError::WouldBlock)
            }
            Err(dns::GetQueryResultError::Failed) => {
                session.queries[place] = None;
                self.finish(session, ())?;
                Err(NetError::NoAnswer)
            }
            Ok(addresses) => {
                session.queries[place] = None;
                let mut count = 0;
                for address in addresses.iter().take(to.len() / ADDRESS) {
                    to.copy(count * ADDRESS, Address::of((*address).into()).as_bytes())?;
                    count += 1;
                }
                self.finish(session, count as u32)
            }
        }
    }

    fn ready(&mut self, session: &mut Session) -> Result<(u32, u32, u32), NetError> {
        Ok(readiness(session))
    }

    fn status(&mut self, session: &mut Session, socket: u32, to: LentWrite<'_>) -> Result<(), NetError> {
        let number = socket as usize;
        let mut status = Status { state: 11, ..Status::default() };
        if number < TCP {
            with(session, socket, |socket: &mut tcp::Socket<'_>| {
                let address = |endpoint: Option<IpEndpoint>| {
                    endpoint.map_or(Address::NONE, |endpoint| core::net::SocketAddr::from(endpoint).into())
                };
                (status.remote, status.local) = (address(socket.remote_endpoint()), address(socket.local_endpoint()));
                status.state = socket.state() as u32;
                (status.sending, status.received) = (socket.send_queue() as u32, socket.recv_queue() as u32);
            })?;
        } else {
            let held = session.slots.get(number).filter(|slot| slot.phase == Phase::Held);
            held.ok_or(NetError::NoSuchSocket)?;
            status.local.port = session.idents[number - TCP];
        }
        put(to, &status)
    }

    fn configure(&mut self, session: &mut Session, configuration: LentRead<'_>) -> Result<(), NetError> {
        let wanted: Configuration = record(&configuration)?;
        let good = wanted.addresses.iter().filter(|address| **address != Address::NONE);
        let good = good.map(|address| stack::cidr(address).map(|_| *address).ok_or(NetError::BadRecord));
        let own = stack::link_local(self.interface().mac);
        let mut addresses = [Address::NONE; crate::ADDRESSES];
        let others = good.filter(|address| !matches!(address, Ok(address) if *address == own));
        for (place, address) in addresses.iter_mut().zip([Ok(own)].into_iter().chain(others)) {
            *place = Address { port: 0, ..address? };
        }
        // The first IPv4 address stands first, as a lease's does.
        addresses.sort_by_key(|address| if address.family == 0 { 7 } else { address.family });
        let router = |gateway: &Address, family| match gateway.ip() {
            Some(ip) if gateway.family == family && !ip.is_multicast() && !ip.is_unspecified() => *gateway,
            _ => Address::NONE,
        };
        let [first, second] = &wanted.gateways;
        let shared = &mut *self.shared;
        let configuration = &mut shared.configuration;
        configuration.addresses = addresses;
        configuration.gateways = [router(first, 4), router(second, 6)];
        configuration.servers = wanted.servers.map(|server| match server.ip() {
            Some(IpAddr::V4(_) | IpAddr::V6(_)) => server,
            None => Address::NONE,
        });
        configuration.automatic = u8::from(wanted.automatic == 1);
        shared.renew_at = 0;
        self.stack.reconfigure(shared);
        self.finish(session, ())
    }

    fn configuration(&mut self, _: &mut Session, to: LentWrite<'_>) -> Result<(), NetError> {
        put(to, self.interface())
    }

    fn statistics(&mut self, _: &mut Session, to: LentWrite<'_>) -> Result<(), NetError> {
        put::<Statistics>(to, &self.shared.statistics)
    }
}
