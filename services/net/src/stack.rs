//! The library's interface and what belongs to no client: addresses, routes, neighbours, DHCP.
//!
//! All of it can be thrown away and made again from the common region ([`Shared`]).

use alloc::boxed::Box;
use core::net::IpAddr;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::dhcpv4;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv6Address, Ipv6Cidr};

use crate::device::{Device, Outbox};
use crate::region::Sockets;
use crate::shared::{Shared, mix};
use crate::{ADDRESSES, Address, Configuration};

/// How long after a lease was confirmed a stack that was rebuilt asks for it anew, in microseconds: half of the shortest lease
/// that is usual.
const RENEWAL: u64 = 60_000_000;

/// The interface with what it needs.
pub struct Stack {
    /// The library's interface.
    pub interface: Interface,
    /// Frames to send.
    pub outbox: Outbox,
    /// The sockets of the stack itself: DHCP.
    own: SocketSet<'static>,
    dhcp: Option<SocketHandle>,
    /// This interface got its lease itself.
    leased: bool,
}

/// The library's form of a time in microseconds.
pub fn instant(now: u64) -> Instant {
    Instant::from_micros(i64::try_from(now).unwrap_or(i64::MAX))
}

/// A time of the library in microseconds; one in the past is 0.
pub fn micros(instant: Instant) -> u64 {
    u64::try_from(instant.total_micros()).unwrap_or(0)
}

impl Stack {
    /// The interface as the common region describes it.
    pub fn new(shared: &mut Shared, mac: [u8; 6], now: u64) -> Self {
        // A new sequence each time, for any two stacks of the same system and, as far as the clock can tell, of two systems.
        shared.seed = shared.seed.wrapping_add(now).wrapping_add(shared.statistics.built);
        let mut config = Config::new(EthernetAddress(mac).into());
        config.random_seed = mix(&mut shared.seed);
        config.slaac = shared.configured == 0 || shared.configuration.automatic == 1;
        let mut outbox = Outbox::default();
        let interface = Interface::new(config, &mut Device { frame: None, outbox: &mut outbox }, instant(now));
        // The heap is the service's own, and goes with it.
        let own = SocketSet::new(&mut Box::leak(Box::new([SocketStorage::EMPTY]))[..]);
        let mut stack = Stack { interface, outbox, own, dhcp: None, leased: false };
        if shared.configured == 0 {
            let configuration = &mut shared.configuration;
            *configuration = Configuration { mac, automatic: 1, ..Configuration::default() };
            configuration.addresses[0] = link_local(mac);
            shared.configured = 1;
        }
        stack.apply(&shared.configuration);
        stack.recall(shared, now);
        stack.outbox.clear();
        stack
    }

    /// Hears once more where neighbours are. The library forgets that when an address changes, and when others crowd them out; and
    /// it asks for one neighbour a second, so that whoever makes it ask for many would keep it from the router.
    pub fn recall(&mut self, shared: &Shared, now: u64) {
        for frame in shared.remembered() {
            self.receive(Some(frame), now);
        }
    }

    /// Sets the interface up.
    pub fn apply(&mut self, configuration: &Configuration) {
        let cidrs = configuration.addresses.iter().filter_map(cidr);
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            // There is room for as many as a configuration has.
            cidrs.for_each(|cidr| {
                let _ = addresses.push(cidr);
            });
        });
        let routes = self.interface.routes_mut();
        routes.update(|routes| routes.clear());
        for gateway in configuration.gateways.iter().filter_map(Address::ip) {
            // Two routes always fit.
            let _ = match gateway {
                IpAddr::V4(v4) => routes.add_default_ipv4_route(v4),
                IpAddr::V6(v6) => routes.add_default_ipv6_route(v6),
            };
        }
    }

    /// Sets the interface up anew, as a client wants it.
    pub fn reconfigure(&mut self, shared: &Shared) {
        if let Some(handle) = self.dhcp.take() {
            self.own.remove(handle);
            self.leased = false;
        }
        self.apply(&shared.configuration);
    }

    /// Receives a frame, if any, as one that is for no client; sends what the stack itself has to send.
    pub fn receive(&mut self, frame: Option<&[u8]>, now: u64) {
        let mut device = Device { frame, outbox: &mut self.outbox };
        self.interface.poll(instant(now), &mut device, &mut self.own);
    }

    /// Receives a frame for a session.
    pub fn receive_for(&mut self, sockets: &mut Sockets, frame: &[u8], now: u64) {
        let mut device = Device { frame: Some(frame), outbox: &mut self.outbox };
        sockets.with_set(|set, _| self.interface.poll_ingress_single(instant(now), &mut device, set));
    }

    /// Lets the sockets of a session send what they can; returns when they are to be asked again, in microseconds. 0: there
    /// was no room for all of it.
    pub fn send_for(&mut self, sockets: &mut Sockets, now: u64) -> Option<u64> {
        let now = instant(now);
        let mut device = Device { frame: None, outbox: &mut self.outbox };
        sockets.with_set(|set, _| {
            while self.interface.poll_egress(now, &mut device, set) != smoltcp::iface::PollResult::None {}
            self.interface.poll_at(now, set).map(micros)
        })
    }

    /// DHCP and SLAAC: asks where that is due, and notes in the common region what has changed. Whether addresses have.
    pub fn keep_house(&mut self, shared: &mut Shared, now: u64) -> bool {
        let before = shared.configuration.addresses;
        let automatic = shared.configuration.automatic == 1;
        match self.dhcp {
            None if automatic && now >= shared.renew_at => self.dhcp = Some(self.own.add(dhcpv4::Socket::new())),
            Some(handle) if !automatic => {
                self.own.remove(handle);
                (self.dhcp, self.leased) = (None, false);
            }
            _ => {}
        }
        self.receive(None, now);
        if let Some(event) = self.dhcp.and_then(|handle| self.own.get_mut::<dhcpv4::Socket<'_>>(handle).poll()) {
            let configuration = &mut shared.configuration;
            match event {
                dhcpv4::Event::Configured(lease) => {
                    let mut address = Address::of(lease.address.address().into());
                    address.prefix = lease.address.prefix_len();
                    set_ipv4(configuration, Some(address));
                    let gateway = lease.router.map(|router| Address::of(router.into()));
                    configuration.gateways[0] = gateway.unwrap_or(Address::NONE);
                    let servers = lease.dns_servers.iter().map(|server| Address::of((*server).into()));
                    configuration.servers = [Address::NONE; crate::SERVERS];
                    configuration.servers.iter_mut().zip(servers).for_each(|(place, server)| *place = server);
                    self.leased = true;
                    shared.renew_at = now + RENEWAL;
                    self.apply(&shared.configuration);
                }
                // The library's first event; an address from before a failure is kept until a server says otherwise.
                dhcpv4::Event::Deconfigured if !self.leased => {}
                dhcpv4::Event::Deconfigured => {
                    set_ipv4(configuration, None);
                    configuration.gateways[0] = Address::NONE;
                    self.leased = false;
                    shared.renew_at = 0;
                    self.apply(&shared.configuration);
                }
            }
        } else if self.leased && now + RENEWAL / 2 > shared.renew_at {
            // The library renews the lease itself.
            shared.renew_at = now + RENEWAL;
        }
        self.note_addresses(&mut shared.configuration);
        shared.configuration.addresses != before
    }

    /// When the stack itself is to be asked again, in microseconds.
    pub fn due(&mut self, shared: &Shared, now: u64) -> Option<u64> {
        let own = self.interface.poll_at(instant(now), &self.own).map(micros);
        let lease = (shared.configuration.automatic == 1 && self.dhcp.is_none()).then_some(shared.renew_at);
        own.into_iter().chain(lease).min()
    }

    /// Notes the IPv6 addresses and the router that SLAAC found or gave up.
    fn note_addresses(&mut self, configuration: &mut Configuration) {
        let mut addresses = [Address::NONE; ADDRESSES];
        for (place, cidr) in addresses.iter_mut().zip(self.interface.ip_addrs()) {
            *place = Address { prefix: cidr.prefix_len(), ..Address::of(cidr.address().into()) };
        }
        if addresses != configuration.addresses {
            configuration.addresses = addresses;
        }
        let router = self.interface.routes().get_default_ipv6_route().map(|route| Address::of(route.via_router.into()));
        let router = router.unwrap_or(Address::NONE);
        if router != configuration.gateways[1] {
            configuration.gateways[1] = router;
        }
    }
}

/// Replaces the IPv4 address.
fn set_ipv4(configuration: &mut Configuration, address: Option<Address>) {
    let mut kept = [Address::NONE; ADDRESSES];
    let others = configuration.addresses.iter().filter(|address| address.family == 6).copied();
    kept.iter_mut().zip(address.into_iter().chain(others)).for_each(|(place, address)| *place = address);
    configuration.addresses = kept;
}

/// The library's form of an own address; `None` if it cannot be one.
pub fn cidr(address: &Address) -> Option<IpCidr> {
    let ip = address.ip()?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    let good = !ip.is_multicast() && !ip.is_unspecified() && address.prefix <= most;
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    (good && !broadcast).then(|| IpCidr::new(ip.into(), address.prefix))
}

/// The address that an interface gives itself (RFC 4291, appendix A).
pub fn link_local(mac: [u8; 6]) -> Address {
    let [a, b, c, d, e, f] = mac;
    let ip = Ipv6Address::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    let cidr = Ipv6Cidr::new(ip, 64);
    Address { prefix: cidr.prefix_len(), ..Address::of(IpAddr::V6(cidr.address())) }
}
