//! The service: what the card brings, what is due, and which session is to be opened for it.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use nic::{FRAME_MAX, batch};
use rt::{Construct, Error, Events, Next, Opaque, Service};
use smoltcp::socket::{Socket, tcp};

use crate::frame::{self, Class};
use crate::region::{self, Phase, SLOTS, Sockets, TCP};
use crate::schedule::Schedule;
use crate::shared::{Shared, mix};
use crate::stack::{Stack, link_local};
use crate::table::{Key, Kind, Table};
use crate::{Address, Configuration};

/// A session.
pub type Session = rt::Session<Opaque<Sockets>>;

/// Received frames that are looked at together: as many as fit, at least this many.
const BATCH: usize = 32;
/// How often a stack without a card looks for one, in microseconds.
const SEARCH: u64 = 1_000_000;
/// How often neighbours are heard once more at least, if anything happens at all, in microseconds.
const RECALL: u64 = 1_000_000;
/// After so many failures in a row frames are taken one at a time.
const CAREFUL: u32 = 1;
/// After so many the first one is dropped unread. The kernel would drop the session after one more.
const SHUN: u32 = 2;
/// The address of a card that is not there.
const NO_CARD: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// How long a connection may hear nothing of its peer while it waits for it, in seconds.
pub const PATIENCE: u64 = 60;

/// What the service needs of others: the kernel and the card. Tests have their own.
pub trait Machine: Default + 'static {
    /// Microseconds since boot; never less than before.
    fn now(&mut self) -> u64;
    /// Asks for the event [`Events::DEADLINE`] at this time, instead of any asked for before; `None`: never.
    fn deadline(&mut self, at: Option<u64>);
    /// Notifies the client of a session, when the activation commits.
    fn notify(&mut self, session: u32);
    /// The card's address, if there is a card.
    fn mac(&mut self) -> Option<[u8; 6]>;
    /// As [`nic::Nic::peek`].
    fn peek(&mut self, to: &mut [u8]) -> usize;
    /// As [`nic::Nic::release`].
    fn release(&mut self, first: u32, mask: u64);
    /// As [`nic::Nic::send`].
    fn send(&mut self, frames: &[u8]) -> u32;
}

/// A received frame that is not dealt with.
struct Frame {
    number: u32,
    place: Range<usize>,
    session: u32,
    key: Key,
    /// It asks for a connection.
    opens: bool,
}

/// The service.
pub struct Server<M> {
    pub(crate) machine: M,
    pub(crate) shared: &'static mut Shared,
    pub(crate) stack: Stack,
    pub(crate) table: Table,
    schedule: Schedule,
    /// Received frames, as the card gave them.
    bytes: Box<[u8]>,
    /// Those of them that are for sessions.
    frames: Vec<Frame>,
    /// Those that are dealt with and not yet released: the first one's number, and a bit for each.
    done: Option<(u32, u64)>,
    /// The deadline, or the one whose event is being delivered.
    armed: Option<u64>,
    /// What was due by then is done before the event is over.
    sweep: u64,
    /// When to look for a card again; `None`: it is there.
    search: Option<u64>,
    /// When neighbours are heard once more.
    recall: u64,
    /// Where random numbers come from.
    pub(crate) random: u64,
}

impl<M: Machine> Server<M> {
    /// The service before its first session, or with all sessions still to be reloaded.
    pub fn on(mut machine: M, shared: &'static mut Shared) -> Self {
        let now = machine.now();
        if shared.statistics.built > 0 {
            shared.setbacks = shared.setbacks.saturating_add(1);
        }
        shared.statistics.built += 1;
        let linked = shared.configured == 1 && shared.configuration.link == 1;
        let mac = if linked { shared.configuration.mac } else { NO_CARD };
        let stack = Stack::new(shared, mac, now);
        let random = mix(&mut shared.seed);
        // What the deadline was before a failure is not known. The event that this brings sets the right one.
        machine.deadline(Some(0));
        Server {
            machine,
            shared,
            stack,
            table: Table::default(),
            schedule: Schedule::default(),
            bytes: vec![0; BATCH * batch::record(FRAME_MAX)].into_boxed_slice(),
            frames: Vec::with_capacity(nic::KEPT_MAX),
            done: None,
            armed: Some(0),
            sweep: 0,
            search: (!linked).then_some(0),
            recall: 0,
            random,
        }
    }

    /// The derived table, for tests.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The common region, for tests.
    pub fn shared(&self) -> &Shared {
        self.shared
    }

    /// Makes sure that an event comes by then.
    fn arm(&mut self, due: u64) {
        if self.armed.is_none_or(|armed| due < armed) {
            self.machine.deadline(Some(due));
            self.armed = Some(due);
        }
    }

    /// Looks for a card where there was none.
    fn find_card(&mut self, now: u64) {
        if self.search.is_none_or(|at| now < at) {
            return;
        }
        match self.machine.mac() {
            Some(mac) => {
                self.search = None;
                let configuration = &mut self.shared.configuration;
                let stale = link_local(configuration.mac);
                (configuration.mac, configuration.link) = (mac, 1);
                for address in configuration.addresses.iter_mut().filter(|address| **address == stale) {
                    *address = link_local(mac);
                }
                self.stack = Stack::new(self.shared, mac, now);
            }
            None => self.search = Some(now + SEARCH),
        }
    }

    /// Takes a look at what the card has: deals with what is for no session, and notes whom the rest is for.
    fn look(&mut self, now: u64) {
        self.frames.clear();
        if self.search.is_some() {
            return;
        }
        let room = if self.shared.setbacks >= CAREFUL { batch::record(FRAME_MAX) } else { self.bytes.len() };
        let length = self.machine.peek(&mut self.bytes[..room]).min(room);
        let mut at = 0;
        let mut shun = self.shared.setbacks >= SHUN;
        while let Some((header, place, next)) = batch::first(&self.bytes[at..length]) {
            let place = at + place.start..at + place.end;
            at += next;
            self.shared.statistics.received += 1;
            if core::mem::take(&mut shun) {
                self.shared.statistics.shunned += 1;
                self.done(header.number);
                continue;
            }
            let frame = &self.bytes[place.clone()];
            let class = frame::classify(frame);
            if let Class::Session(key, opens) = class {
                let listener = || self.table.find(&Key::port(Kind::Listener, key.local_port)).filter(|_| opens);
                if let Some(session) = self.table.find(&key).or_else(listener) {
                    self.frames.push(Frame { number: header.number, place, session, key, opens });
                    continue;
                }
            }
            self.shared.statistics.own += 1;
            if class == Class::Harmful {
                self.done(header.number);
                continue;
            }
            self.stack.receive(Some(frame), now);
            if class == Class::Neighbour {
                self.shared.remember(frame);
                self.schedule.hasten(now);
            }
            self.done(header.number);
        }
        self.release();
    }

    /// A frame is dealt with.
    fn done(&mut self, number: u32) {
        match &mut self.done {
            Some((first, mask)) if number.wrapping_sub(*first) < 64 => *mask |= 1 << number.wrapping_sub(*first),
            _ => {
                self.release();
                self.done = Some((number, 1));
            }
        }
    }

    /// Releases what is dealt with.
    fn release(&mut self) {
        if let Some((first, mask)) = self.done.take() {
            self.machine.release(first, mask);
        }
    }

    /// Gives the card what is to be sent.
    fn forward(&mut self) {
        let (bytes, count) = self.stack.outbox.frames();
        if count > 0 {
            let taken = if self.search.is_some() { 0 } else { self.machine.send(bytes) };
            self.shared.statistics.sent += u64::from(taken);
            self.shared.statistics.refused += u64::from(count.saturating_sub(taken));
            self.stack.outbox.clear();
        }
    }

    /// What comes next: a session with a frame, one that is due, or the end of the event.
    fn next(&mut self) -> Next {
        let due = self.schedule.first();
        let session = match (self.frames.first(), due) {
            (Some(frame), _) => Some(frame.session),
            (None, Some((at, session))) if at <= self.sweep => Some(session),
            _ => None,
        };
        if let Some(session) = session {
            return Next::Session(session);
        }
        self.progress();
        let own = self.stack.due(self.shared, self.sweep);
        let all = due.map(|(at, _)| at).into_iter().chain(own).chain(self.search);
        // What is due by now has just been tried.
        self.armed = all.min().map(|at| at.max(self.sweep + 1));
        self.machine.deadline(self.armed);
        Next::Done
    }

    /// Something was done to its end.
    fn progress(&mut self) {
        if self.shared.setbacks > 0 {
            self.shared.setbacks = 0;
        }
    }

    /// Sends what the sockets have to send, and derives from the session what is kept elsewhere.
    pub(crate) fn settle(&mut self, session: &mut Session, now: u64) {
        let number = session.number();
        let mut due = self.stack.send_for(session, now);
        self.forward();
        // An outbox that was full: as often as a session can fill it.
        for _ in 0..8 {
            if due != Some(0) {
                break;
            }
            due = self.stack.send_for(session, now);
            self.forward();
        }
        for port in self.stack.outbox.take_query_ports() {
            if !session.query_ports.contains(&port) {
                let place = session.next_query_port % region::QUERY_PORTS;
                session.query_ports[place] = port;
                session.next_query_port = place + 1;
            }
        }
        tidy(session);
        self.table.set(number, &keys(session));
        // A socket that cannot send now, whatever it says, is asked again at the next tick.
        let due = due.map(|at| at.max(now + 1));
        self.schedule.set(number, due);
        if let Some(due) = due {
            self.arm(due);
        }
    }

    /// Makes room for a connection that a frame asks for; whether the frame is to be looked at.
    fn admit(&mut self, session: &mut Session, frame: &Frame, now: u64) -> bool {
        if !frame.opens {
            return true;
        }
        let same = (0..TCP).find(|slot| tcp_key(session, *slot).as_ref() == Some(&frame.key));
        match same {
            Some(slot) if state(session, slot) == Some(tcp::State::TimeWait) => session.free(slot),
            Some(_) => return true,
            None => {}
        }
        let port = frame.key.local_port;
        let Some(listener) = session.listeners.iter().position(|listener| listener.port == port) else { return true };
        let waiting = |slot: &usize| {
            session.slots[*slot].phase == Phase::Pending(listener as u8)
                && state(session, *slot) != Some(tcp::State::SynReceived)
        };
        let full = (0..TCP).filter(waiting).count() >= usize::from(session.listeners[listener].backlog);
        let slot = if full { None } else { vacant(session).or_else(|| oldest(session, half_open)) };
        let Some(slot) = slot else {
            self.shared.statistics.turned_away += 1;
            return false;
        };
        let handle = region::put_tcp(session, slot, Phase::Pending(listener as u8), now);
        session.with_set(|set, _| {
            let socket = set.get_mut::<tcp::Socket<'_>>(handle);
            socket.set_timeout(Some(smoltcp::time::Duration::from_secs(PATIENCE)));
            // The port is not 0, and the socket is new.
            socket.listen(port).is_ok()
        })
    }

    /// Tells the client of what has become ready.
    fn tell(&mut self, session: &mut Session) {
        let ready = crate::methods::readiness(session);
        let told = core::mem::replace(&mut session.told, ready);
        if ready.0 & !told.0 | ready.1 & !told.1 | ready.2 & !told.2 != 0 {
            self.machine.notify(session.number());
        }
    }

    /// After a request: what the client has taken is not ready any more, and what is was seen by it.
    pub(crate) fn seen(&self, session: &mut Session) {
        let ready = crate::methods::readiness(session);
        let told = session.told;
        session.told = (told.0 & ready.0, told.1 & ready.1, told.2 & ready.2);
    }
}

/// The connection's key of a slot, if it has one.
fn tcp_key(session: &mut Session, slot: usize) -> Option<Key> {
    let handle = session.slots[slot].handle?;
    let (local, remote) = session.with_set(|set, _| {
        let socket = set.get::<tcp::Socket<'_>>(handle);
        Some((socket.local_endpoint()?, socket.remote_endpoint()?))
    })?;
    Some(Key {
        kind: Kind::Tcp,
        local_port: local.port,
        remote_port: remote.port,
        remote: Address::of(remote.addr.into()).ip,
        local: Address::of(local.addr.into()).ip,
    })
}

/// The state of a slot's connection.
fn state(session: &mut Session, slot: usize) -> Option<tcp::State> {
    let handle = session.slots[slot].handle?;
    Some(session.with_set(|set, _| set.get::<tcp::Socket<'_>>(handle).state()))
}

/// A connection that is not established.
fn half_open(phase: Phase, state: tcp::State) -> bool {
    matches!(phase, Phase::Pending(_)) && state == tcp::State::SynReceived
}

/// A connection that is over, but for the time that it must be remembered, or for a peer that does not end it: all that was sent has
/// arrived.
fn over(phase: Phase, state: tcp::State) -> bool {
    phase == Phase::Orphan && matches!(state, tcp::State::TimeWait | tcp::State::FinWait2)
}

/// The slot of this kind that is longest in its use.
fn oldest(session: &mut Session, kind: fn(Phase, tcp::State) -> bool) -> Option<usize> {
    let slots = (0..TCP).filter(|slot| {
        let phase = session.slots[*slot].phase;
        state(session, *slot).is_some_and(|state| kind(phase, state))
    });
    let slots: Vec<usize> = slots.collect();
    slots.into_iter().min_by_key(|slot| session.slots[*slot].since)
}

/// A slot for a connection: a free one, or that of the connection that is over for the longest time.
pub(crate) fn vacant(session: &mut Session) -> Option<usize> {
    let free = session.slots[..TCP].iter().position(|slot| slot.phase == Phase::Free);
    free.or_else(|| oldest(session, over))
}

/// Frees the slots of connections that have come to their end and that no client holds.
fn tidy(session: &mut Session) {
    for slot in 0..TCP {
        let over = match (session.slots[slot].phase, state(session, slot)) {
            (Phase::Pending(_), Some(state)) => {
                matches!(state, tcp::State::Closed | tcp::State::Listen | tcp::State::TimeWait)
            }
            (Phase::Orphan, Some(state)) => state == tcp::State::Closed,
            _ => false,
        };
        if over {
            session.free(slot);
        }
    }
    if session.queries.iter().all(Option::is_none) {
        session.query_ports = [0; region::QUERY_PORTS];
    }
}

/// What packets for a session are found by.
fn keys(session: &mut Session) -> Vec<Key> {
    let mut keys = Vec::with_capacity(32);
    let listeners = session.listeners.iter().filter(|listener| listener.port != 0);
    keys.extend(listeners.map(|listener| Key::port(Kind::Listener, listener.port)));
    let queries = session.query_ports.iter().filter(|port| **port != 0);
    keys.extend(queries.map(|port| Key::port(Kind::Udp, *port)));
    keys.extend((0..TCP).filter_map(|slot| tcp_key(session, slot)));
    for slot in TCP..SLOTS {
        let Some(handle) = session.slots[slot].handle else { continue };
        let key = session.with_set(|set, _| match set.iter().find(|(other, _)| *other == handle) {
            Some((_, Socket::Udp(socket))) => Some(Key::port(Kind::Udp, socket.endpoint().port)),
            _ => None,
        });
        // Echo requests: the identifier is the slot's own, see `methods`.
        keys.push(key.unwrap_or_else(|| Key::port(Kind::Echo, session.idents[slot - TCP])));
    }
    keys
}

impl<M: Machine> Service for Server<M> {
    type State = Opaque<Sockets>;

    fn new(construct: &mut Construct) -> Self {
        let shared = construct.take_common_as().expect("the manifest gives the stack a common region of a page");
        Self::on(M::default(), shared)
    }

    fn open(&mut self, session: &mut Session) -> Result<(), Error> {
        // A session that was lost leaves its number behind.
        self.forget(session.number());
        region::prepare(session)
    }

    fn is_sound(session: &Session) -> bool {
        region::is_prepared(session)
    }

    fn reload(&mut self, session: &mut Session) -> Result<(), Error> {
        if !region::is_prepared(session) {
            return Err(Error::SessionLost);
        }
        let number = session.number();
        self.table.set(number, &keys(session));
        // A step finds out what is due.
        self.schedule.set(number, Some(0));
        self.arm(0);
        Ok(())
    }

    fn close(&mut self, session: &mut Session) {
        let now = self.machine.now();
        for slot in 0..TCP {
            if let Some(handle) = session.slots[slot].handle {
                session.with_set(|set, _| set.get_mut::<tcp::Socket<'_>>(handle).abort());
            }
        }
        // Peers are told as far as the card takes it.
        self.stack.send_for(session, now);
        self.forward();
        self.forget(session.number());
    }

    fn event(&mut self, _: Events) -> Next {
        let now = self.machine.now();
        self.sweep = now;
        self.find_card(now);
        self.look(now);
        if self.stack.keep_house(self.shared, now) || now >= self.recall {
            self.stack.recall(self.shared, now);
            self.recall = now + RECALL;
        }
        self.forward();
        self.next()
    }

    fn step(&mut self, session: &mut Session, _: Events) -> Next {
        let now = self.machine.now();
        let number = session.number();
        for frame in self.take_frames(number) {
            if self.admit(session, &frame, now) {
                self.stack.receive_for(session, &self.bytes[frame.place], now);
            }
            self.done(frame.number);
        }
        self.settle(session, now);
        self.release();
        self.tell(session);
        self.progress();
        self.next()
    }

    fn skipped(&mut self, session: u32, _: Events) -> Next {
        let now = self.machine.now();
        for frame in self.take_frames(session) {
            // For nobody any more: the peer hears that.
            self.stack.receive(Some(&self.bytes[frame.place]), now);
            self.done(frame.number);
        }
        self.forward();
        self.release();
        self.forget(session);
        self.next()
    }

    fn self_test(&mut self) -> Result<(), Error> {
        if self.table.is_sound() && self.schedule.is_sound() { Ok(()) } else { Err(Error::ServerFault) }
    }
}

impl<M: Machine> Server<M> {
    /// Forgets what was derived from a session.
    fn forget(&mut self, session: u32) {
        self.table.remove(session);
        self.schedule.set(session, None);
    }

    /// Takes out the frames of a session, in order.
    fn take_frames(&mut self, session: u32) -> Vec<Frame> {
        let (own, others) = core::mem::take(&mut self.frames).into_iter().partition(|frame| frame.session == session);
        self.frames = others;
        own
    }

    /// The interface as it is set up.
    pub(crate) fn interface(&self) -> &Configuration {
        &self.shared.configuration
    }
}
