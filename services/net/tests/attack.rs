//! Attacks: whatever comes in, no failure escapes the stack, its memory is bounded, and others keep their connections.
//!
//! `CURIOS_FRAMES=1000000 cargo test -p net --release --test attack` for many frames; a few in every run of the tests.

mod world;

use std::net::IpAddr;

use net::region::TCP;
use net::{Address, Configuration, Net, NetError, Protocol};
use rt::{LentRead, LentWrite};
use smoltcp::socket::tcp;
use world::frames::{Ends, Random, attack, repair};
use world::peer::{self, Peer};
use world::{MAC, World};
use zerocopy::{FromZeros, IntoBytes};

const OWN: [u8; 4] = [10, 0, 2, 15];
const PORT: u16 = 80;
const OTHER: u16 = 81;
/// Frames without `CURIOS_FRAMES`.
const FRAMES: usize = 60_000;

fn ends() -> Ends {
    let own = net::stack::link_local(MAC);
    Ends {
        mac: MAC,
        v4: OWN,
        v6: own.ip,
        peer_mac: [2, 0, 0, 0, 0, 0x66],
        peer_v4: [10, 0, 2, 66],
        peer_v6: Address::of(IpAddr::V6("fe80::66".parse().expect("an address"))).ip,
    }
}

fn set_up(world: &mut World, automatic: u8) {
    world.event();
    let mut configuration = Configuration::new_zeroed();
    configuration.addresses[0] = Address { prefix: 24, ..Address::of(IpAddr::from(OWN)) };
    configuration.gateways[0] = Address::of(IpAddr::from(peer::V4));
    configuration.servers[0] = Address::of(IpAddr::from([10, 0, 2, 66]));
    configuration.automatic = automatic;
    let bytes = configuration.as_bytes();
    world.call(0, |server, session| server.configure(session, LentRead::for_test(bytes))).expect("good");
}

/// A frame arrives and is dealt with.
fn feed(world: &mut World, frame: Vec<u8>) {
    world.fake.0.borrow_mut().receive(frame);
    world.event();
    world.fake.0.borrow_mut().sent.clear();
}

#[test]
fn spoilt_frames_break_nothing() {
    let count = std::env::var("CURIOS_FRAMES").ok().and_then(|count| count.parse().ok()).unwrap_or(FRAMES);
    let ends = ends();
    let mut random = Random(0x2026_1121);
    let mut open = vec![PORT, OTHER, 7, 68, 40_000];
    let mut world = World::new(3);
    set_up(&mut world, 1);
    world.call(0, |server, session| server.listen(session, PORT, 4)).expect("listens");
    world.call(1, |server, session| server.listen(session, OTHER, 4)).expect("listens");
    let udp = world.call(2, |server, session| server.open_datagrams(session, Protocol::Udp, 7)).expect("opens");
    let echo = world.call(2, |server, session| server.open_datagrams(session, Protocol::Echo, 1)).expect("opens");
    let query = world.call(2, |server, session| server.resolve(session, 4, LentRead::for_test(b"host.example")));
    query.expect("asks");
    let to = Address { port: 40_002, ..Address::of(IpAddr::from(ends.peer_v4)) };
    let socket = world.call(2, |server, session| server.connect(session, LentRead::for_test(to.as_bytes())));
    socket.expect("opens");
    open.extend(49_152..49_160);
    for number in 0..count {
        // Some at a time, as they come; and time passes.
        let board = world.fake.clone();
        board.0.borrow_mut().receive(attack(&ends, &mut random, &open));
        if random.below(4) == 0 || number + 1 == count {
            board.0.borrow_mut().now += random.below(3_000) as u64;
            world.event();
            board.0.borrow_mut().sent.clear();
        }
        if number % 512 == 0 {
            // Clients look at what came, whatever it is.
            let mut buffer = [0; 2048];
            for socket in [udp, echo] {
                let taken = world
                    .call(2, |server, session| server.recv_from(session, socket, LentWrite::for_test(&mut buffer)));
                assert!(taken.is_ok() || taken == Err(NetError::WouldBlock));
            }
        }
    }
    assert_eq!((world.crashes, world.panics), (0, 0));
    assert!(world.server.table().is_sound());
    let seen = world.server.shared().statistics.received;
    assert!(seen + world.fake.0.borrow().overruns >= count as u64, "{seen} frames were seen");
}

/// A client of another session transfers through a flood of connection requests, from addresses that never answer.
#[test]
fn a_flood_of_requests_leaves_others_alone() {
    let ends = ends();
    let mut random = Random(99);
    let mut world = World::new(2);
    let mut peer = Peer::new();
    set_up(&mut world, 0);
    let flooded = world.call(0, |server, session| server.listen(session, PORT, 4)).expect("listens");
    let listener = world.call(1, |server, session| server.listen(session, OTHER, 4)).expect("listens");
    let victim = peer.connect(IpAddr::from(OWN), OTHER, 4096);
    // One that wants to get in through the flood.
    let guest = peer.connect(IpAddr::from(OWN), PORT, 4096);
    let (mut socket, mut received, mut sent, mut guest_in) = (None, 0, 0, false);
    const LENGTH: usize = 50_000;
    for round in 0..20_000 {
        assert!(round < 19_999, "{received} of {LENGTH} bytes through the flood, guest in: {guest_in}");
        for _ in 0..6 {
            let mut request = vec![0; 14 + 20 + 20];
            request[..6].copy_from_slice(&MAC);
            request[6..12].copy_from_slice(&ends.peer_mac);
            request[12..34].copy_from_slice(&[
                8,
                0,
                0x45,
                0,
                0,
                40,
                0,
                1,
                0x40,
                0,
                64,
                6,
                0,
                0,
                10,
                0,
                2,
                100 + random.below(100) as u8,
                10,
                0,
                2,
                15,
            ]);
            let port = 1024 + random.below(60_000) as u16;
            request[34..36].copy_from_slice(&port.to_be_bytes());
            request[36..38].copy_from_slice(&PORT.to_be_bytes());
            request[46..48].copy_from_slice(&[0x50, 2]);
            request[48] = 16;
            repair(&mut request);
            world.fake.0.borrow_mut().receive(request);
        }
        let now = world.now();
        peer.poll(now);
        let outward = std::mem::take(&mut peer.wire.outward);
        outward.into_iter().for_each(|frame| world.fake.0.borrow_mut().receive(frame));
        world.event();
        let board = world.fake.clone();
        for frame in std::mem::take(&mut board.0.borrow_mut().sent) {
            // To the peer only, or to all.
            if frame[..6] == peer::MAC || frame[0] & 1 == 1 {
                peer.wire.inward.push_back(frame);
            }
        }
        board.0.borrow_mut().now += 200;
        if let Ok(taken) = world.call(0, |server, session| server.accept(session, flooded)) {
            guest_in = true;
            world.call(0, |server, session| server.close(session, taken)).expect("closes");
        }
        socket = socket.or_else(|| world.call(1, |server, session| server.accept(session, listener)).ok());
        let end = peer.sockets.get_mut::<tcp::Socket<'_>>(victim);
        while end.can_send() && sent < LENGTH {
            sent += end.send_slice(&[7; 1000][..(LENGTH - sent).min(1000)]).expect("it may send");
        }
        if let Some(socket) = socket {
            let mut buffer = [0; 2000];
            let taken = world.call(1, |server, session| server.recv(session, socket, LentWrite::for_test(&mut buffer)));
            received += taken.map_or(0, |count| count as usize);
        }
        if received == LENGTH && guest_in && round > 300 {
            break;
        }
    }
    assert_ne!(peer.sockets.get::<tcp::Socket<'_>>(guest).state(), tcp::State::SynSent);
    assert!(world.server.shared().statistics.received > 1000);
}

/// A thousand connections are asked for; as many are open as there is room for, and the rest is not answered, or gets in when
/// one is closed.
#[test]
fn a_thousand_connections_share_the_places() {
    let mut world = World::new(1);
    set_up(&mut world, 0);
    let listener = world.call(0, |server, session| server.listen(session, PORT, 16)).expect("listens");
    let (mut served, mut most) = (0, 0);
    let mut open: Vec<u32> = Vec::new();
    for wave in 0..50 {
        let mut peer = Peer::new();
        let handles: Vec<_> = (0..20).map(|_| peer.connect(IpAddr::from(OWN), PORT, 256)).collect();
        for _ in 0..30 {
            let now = world.now();
            peer.poll(now);
            let outward = std::mem::take(&mut peer.wire.outward);
            outward.into_iter().for_each(|frame| world.fake.0.borrow_mut().receive(frame));
            world.event();
            let sent = std::mem::take(&mut world.fake.0.borrow_mut().sent);
            peer.wire.inward.extend(sent);
            while let Ok(socket) = world.call(0, |server, session| server.accept(session, listener)) {
                open.push(socket);
            }
            most = most.max(open.len());
            if open.len() == TCP {
                break;
            }
            world.fake.0.borrow_mut().now += 1000;
        }
        served += open.len();
        for socket in open.drain(..) {
            world.call(0, |server, session| server.abort(session, socket)).expect("aborts");
        }
        world.fake.0.borrow_mut().sent.clear();
        assert_eq!(handles.len(), 20);
        assert!(served >= (wave + 1) * 10, "{served} of {} were served", (wave + 1) * 20);
    }
    assert_eq!(most, TCP);
}

/// What makes the stack fail each time it is looked at is dropped at the third time, and nobody loses a session.
#[test]
fn a_poisoned_frame_is_dropped_unread() {
    let mut world = World::new(1);
    set_up(&mut world, 1);
    world.call(0, |server, session| server.listen(session, PORT, 4)).expect("listens");
    let ends = ends();
    let mut random = Random(5);
    for _ in 0..20 {
        world.fake.0.borrow_mut().receive(attack(&ends, &mut random, &[PORT]));
    }
    // Each activation that finds frames fails at its end, as if one of them had broken it, until it is the third.
    let mut failures = 0;
    while !world.fake.0.borrow().received.is_empty() {
        let before = world.fake.0.borrow().received.len();
        for _ in 0..2 {
            world.plan.push_back((0, world::Crash::End));
        }
        world.event();
        failures += 2;
        assert!(failures < 200, "{before} frames are never dealt with");
    }
    assert!(world.server.shared().statistics.shunned > 0);
    feed(&mut world, vec![0; 60]);
    assert_eq!(world.server.shared().setbacks, 0);
}
