//! A client's Server State Region: live sockets of `smoltcp` at their fixed address, and the buffers that they refer to.
//!
//! The state proper ([`Sockets`]) holds sockets and what is known of each; the buffers ([`Buffers`]) are the tail of the region
//! and are reached through the sockets alone. A socket therefore refers to nothing but its own region, which is what makes the
//! region a complete connection: restored byte by byte at the same address, it goes on.
//!
//! All `unsafe` of this crate is here. It rests on three facts: a region lies at one address for as long as it lives (on the
//! target that of every SSR, on the host that of the test's memory); one session is open at a time; and a buffer belongs to at
//! most one socket, that of the slot with the same number.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;
use core::slice;

use rt::{Error, Opaque, OpaqueState, Session};
use smoltcp::iface::{SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::{dns, icmp, tcp, udp};

/// TCP connections of a session.
pub const TCP: usize = 16;
/// UDP sockets of a session.
pub const UDP: usize = 2;
/// Sockets for echo requests of a session.
pub const ECHO: usize = 1;
/// Slots: TCP, then UDP, then echo.
pub const SLOTS: usize = TCP + UDP + ECHO;
/// Queries to name servers of a session; their numbers follow those of the slots.
pub const QUERIES: usize = 2;
/// Ports of queries that are remembered: each server that is asked means a new one.
pub const QUERY_PORTS: usize = QUERIES * 3;
/// Number of the first listener.
pub const FIRST_LISTENER: usize = 24;
/// Listeners of a session.
pub const LISTENERS: usize = 4;

/// Bytes of the receive buffer of a connection, which is its largest window.
pub const TCP_RECEIVE: usize = 16 << 10;
/// Bytes of the send buffer of a connection.
pub const TCP_SEND: usize = 16 << 10;
/// Bytes in each direction of a datagram socket.
pub const DATAGRAMS: usize = 4 << 10;
/// Datagrams in each direction of a datagram socket.
const PACKETS: usize = 8;

/// Pages of a region.
const PAGES: u32 = 140;

/// What a slot is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// For nothing; there is no socket.
    Free,
    /// A connection that a listener accepted and no client has taken.
    Pending(u8),
    /// The client's.
    Held,
    /// Given up by the client, but not yet at its end.
    Orphan,
}

/// What is known of a slot beside its socket.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// Its use.
    pub phase: Phase,
    /// Its socket; there is one unless it is free.
    pub handle: Option<SocketHandle>,
    /// When its present use began, in microseconds.
    pub since: u64,
}

/// A port that connections are accepted at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listener {
    /// The port; 0: none.
    pub port: u16,
    /// Connections that wait to be taken, at most.
    pub backlog: u16,
}

/// The sockets of a session.
pub struct Sockets {
    storage: [SocketStorage<'static>; SLOTS + 1],
    /// The slots, by socket number.
    pub slots: [Slot; SLOTS],
    /// The listeners.
    pub listeners: [Listener; LISTENERS],
    /// The socket of all queries, from the first on.
    pub resolver: Option<SocketHandle>,
    /// The queries: the library's names for them.
    pub queries: [Option<dns::QueryHandle>; QUERIES],
    /// Ports that queries were sent from, a ring; 0: none.
    pub query_ports: [u16; QUERY_PORTS],
    /// Where the next one is written.
    pub next_query_port: usize,
    /// Identifiers of echo requests; by slot, from [`TCP`] on.
    pub idents: [u16; UDP + ECHO],
    /// What was ready when the client was last told.
    pub told: (u32, u32, u32),
}

/// The buffers, in the tail.
#[repr(C, align(8))]
struct Buffers {
    tcp_receive: [[u8; TCP_RECEIVE]; TCP],
    tcp_send: [[u8; TCP_SEND]; TCP],
    udp_payload: [[[u8; DATAGRAMS]; 2]; UDP],
    echo_payload: [[[u8; DATAGRAMS]; 2]; ECHO],
    udp_packets: [[[MaybeUninit<udp::PacketMetadata>; PACKETS]; 2]; UDP],
    echo_packets: [[[MaybeUninit<icmp::PacketMetadata>; PACKETS]; 2]; ECHO],
    queries: [MaybeUninit<Option<dns::DnsQuery>>; QUERIES],
}

/// Bytes of the tail.
pub const TAIL: usize = size_of::<Buffers>();

const _: () = {
    let header = rt::abi::ssr::HEADER as usize;
    let all = header + size_of::<Sockets>() + TAIL;
    let room = PAGES as usize * rt::abi::layout::PAGE as usize;
    assert!(all <= room, "sockets and buffers do not fit into the pages of the SSR");
    assert!(
        (header + size_of::<Sockets>()).is_multiple_of(align_of::<Buffers>()),
        "the tail is aligned as its buffers are"
    );
    assert!(SLOTS + QUERIES <= FIRST_LISTENER && FIRST_LISTENER + LISTENERS <= 32, "numbers are bits of a word");
};

// SAFETY: sockets refer to constants of the image (the library's) and to the buffers in the tail of the same region, which
// has the same address whenever it is mapped. None has a destructor, as without the library's feature `alloc` they own no
// memory. Every state between two requests is complete: time stamps are those of the system's clock, which no failure sets back.
unsafe impl OpaqueState for Sockets {
    const PAGES: u32 = PAGES;

    fn create() -> Self {
        Sockets {
            storage: [const { SocketStorage::EMPTY }; SLOTS + 1],
            slots: [Slot { phase: Phase::Free, handle: None, since: 0 }; SLOTS],
            listeners: [Listener::default(); LISTENERS],
            resolver: None,
            queries: [None; QUERIES],
            query_ports: [0; QUERY_PORTS],
            next_query_port: 0,
            idents: [0; UDP + ECHO],
            told: (0, 0, 0),
        }
    }

    fn validate(&self) -> bool {
        self.slots.iter().all(|slot| (slot.phase == Phase::Free) == slot.handle.is_none())
    }
}

impl Sockets {
    /// The sockets as a set of the library, for the length of a closure, beside what is known of each slot.
    pub fn with_set<R>(&mut self, body: impl FnOnce(&mut SocketSet<'static>, &mut [Slot; SLOTS]) -> R) -> R {
        // SAFETY: the set borrows the storage for ever as its type has it, but is gone when this function returns, before
        // anybody else can reach `storage`; the closure cannot keep what it is lent.
        let storage: &'static mut [SocketStorage<'static>] =
            unsafe { slice::from_raw_parts_mut(self.storage.as_mut_ptr(), self.storage.len()) };
        body(&mut SocketSet::new(storage), &mut self.slots)
    }

    /// Ends the use of a slot, and its socket.
    pub fn free(&mut self, slot: usize) {
        if let Some(handle) = self.slots[slot].handle.take() {
            self.with_set(|set, _| set.remove(handle));
        }
        self.slots[slot].phase = Phase::Free;
    }
}

/// Gives a new region its buffers.
///
/// # Errors
/// None, as the region is large enough.
pub fn prepare(session: &mut Session<Opaque<Sockets>>) -> Result<(), Error> {
    session.set_tail_len(TAIL)
}

/// Whether a region has its buffers.
pub fn is_prepared(session: &Session<Opaque<Sockets>>) -> bool {
    session.tail().len() == TAIL
}

/// The buffers of a region.
fn buffers(session: &mut Session<Opaque<Sockets>>) -> *mut Buffers {
    let tail = session.tail_mut();
    assert!(tail.len() == TAIL, "the region has its buffers from the beginning");
    tail.as_mut_ptr().cast()
}

/// A buffer, or an array that describes one, for a socket of the same region.
///
/// # Safety
/// `array` lies in the region, and no other socket has it.
unsafe fn lend<T, const N: usize>(array: *mut [T; N]) -> &'static mut [T] {
    // SAFETY: it lies in the region, which stays at its place for as long as there are sockets in it; the caller promises
    // that nobody else has it. Bytes of a region are always initialised, and other elements the caller has written.
    unsafe { slice::from_raw_parts_mut(array.cast::<T>(), N) }
}

/// As [`lend`], after writing a value to each element.
///
/// # Safety
/// As of [`lend`].
unsafe fn lend_filled<T, const N: usize>(array: *mut [MaybeUninit<T>; N], value: impl Fn() -> T) -> &'static mut [T] {
    for index in 0..N {
        // SAFETY: inside the array, which the caller promises to nobody else.
        unsafe { array.cast::<T>().add(index).write(value()) };
    }
    // SAFETY: as the caller promises; all elements were written. `MaybeUninit<T>` is laid out as `T`.
    unsafe { lend(array.cast::<[T; N]>()) }
}

/// Puts a socket into a free slot; `make` gets the buffers of this slot.
fn put<S: smoltcp::socket::AnySocket<'static>>(
    session: &mut Session<Opaque<Sockets>>,
    slot: usize,
    phase: Phase,
    now: u64,
    make: impl FnOnce(*mut Buffers) -> S,
) -> SocketHandle {
    // Whoever had the buffers before is gone from here on.
    session.free(slot);
    let socket = make(buffers(session));
    let handle = session.with_set(|set, _| set.add(socket));
    // No two are equally old.
    let latest = session.slots.iter().map(|slot| slot.since).max().unwrap_or(0);
    session.slots[slot] = Slot { phase, handle: Some(handle), since: now.max(latest.saturating_add(1)) };
    handle
}

/// Makes a TCP socket in a slot below [`TCP`]; what was there is gone.
pub fn put_tcp(session: &mut Session<Opaque<Sockets>>, slot: usize, phase: Phase, now: u64) -> SocketHandle {
    assert!(slot < TCP);
    put(session, slot, phase, now, |all| {
        // SAFETY: the arrays of this slot; its socket, which alone had them, was freed.
        let (receive, send) =
            unsafe { (lend(&raw mut (*all).tcp_receive[slot]), lend(&raw mut (*all).tcp_send[slot])) };
        let mut socket = tcp::Socket::new(tcp::SocketBuffer::new(receive), tcp::SocketBuffer::new(send));
        socket.set_nagle_enabled(false);
        socket
    })
}

/// Makes a UDP socket in a slot from [`TCP`] on; what was there is gone.
pub fn put_udp(session: &mut Session<Opaque<Sockets>>, slot: usize, now: u64) -> SocketHandle {
    let index = slot - TCP;
    assert!(index < UDP);
    put(session, slot, Phase::Held, now, |all| {
        let [receive, send] = [0, 1].map(|way| {
            // SAFETY: the arrays of this slot; its socket, which alone had them, was freed.
            let (packets, payload) = unsafe {
                (
                    lend_filled(&raw mut (*all).udp_packets[index][way], || udp::PacketMetadata::EMPTY),
                    lend(&raw mut (*all).udp_payload[index][way]),
                )
            };
            udp::PacketBuffer::new(packets, payload)
        });
        udp::Socket::new(receive, send)
    })
}

/// Makes a socket for echo requests in a slot from [`TCP`] + [`UDP`] on; what was there is gone.
pub fn put_echo(session: &mut Session<Opaque<Sockets>>, slot: usize, now: u64) -> SocketHandle {
    let index = slot - TCP - UDP;
    assert!(index < ECHO);
    put(session, slot, Phase::Held, now, |all| {
        let [receive, send] = [0, 1].map(|way| {
            // SAFETY: the arrays of this slot; its socket, which alone had them, was freed.
            let (packets, payload) = unsafe {
                (
                    lend_filled(&raw mut (*all).echo_packets[index][way], || icmp::PacketMetadata::EMPTY),
                    lend(&raw mut (*all).echo_payload[index][way]),
                )
            };
            icmp::PacketBuffer::new(packets, payload)
        });
        icmp::Socket::new(receive, send)
    })
}

/// The socket of the session's queries; made at the first.
pub fn resolver(session: &mut Session<Opaque<Sockets>>) -> SocketHandle {
    if let Some(handle) = session.resolver {
        return handle;
    }
    let all = buffers(session);
    // SAFETY: the array of the queries, which only the one socket has that is made here, once.
    let queries = unsafe { lend_filled(&raw mut (*all).queries, || None) };
    let handle = session.with_set(|set, _| set.add(dns::Socket::new(&[], queries)));
    session.resolver = Some(handle);
    handle
}
