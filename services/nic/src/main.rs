//! `nic`: the virtio-net driver.
//!
//! A frame that was received stays in the buffer that the device wrote; the common region says which buffers those are, noted
//! by the upcall at the device's interrupt. Buffers go back to the device in `flush`, when the request that released them
//! has committed. A frame to send is put into a buffer of its own at once, and noted in the session; the device gets it
//! in `flush`. After a failure, before which the kernel resets the device, the constructor reads out of the old rings what the
//! device had finished: what it had received is noted then, and what it had not sent is given to it again.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

extern crate alloc;

mod card;
mod ring;

use alloc::boxed::Box;
use alloc::vec;

use nic::{FRAME_MAX, KEPT_MAX, Nic, batch};
use rt::{Construct, Error, Events, LentRead, LentWrite, Next, Service, Session, SsrState, sys};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::card::Card;
use crate::ring::Ring;

/// The interrupt of the device: the only line of the manifest.
const LINE: u32 = 0;
/// Bytes of the longest batch of frames to send.
const BATCH: usize = KEPT_MAX * batch::record(FRAME_MAX);
/// How many ticks a request waits for the device to send something, when all buffers are full.
const PATIENCE: u32 = 10;

/// What the client has: for each buffer the frame in it.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[ssr(validate = Outgoing::holds)]
#[repr(C)]
struct Outgoing {
    /// Bytes of the frame that is to be sent, or that the device is sending; 0: none.
    lengths: [u16; KEPT_MAX],
    /// The order of the frames that the device has not got: 1 and up; 0: it has.
    order: [u16; KEPT_MAX],
}

impl Outgoing {
    fn holds(&self) -> bool {
        self.lengths.iter().all(|length| usize::from(*length) <= FRAME_MAX)
    }

    /// The buffer whose frame is to be sent first.
    fn first(&self) -> Option<usize> {
        let waiting = self.order.iter().enumerate().filter(|(_, order)| **order > 0);
        waiting.min_by_key(|(_, order)| **order).map(|(buffer, _)| buffer)
    }
}

/// The driver.
struct Driver {
    ring: &'static mut Ring,
    /// `None`: there is no card.
    card: Option<Card>,
    /// Frames to send, as the client lent them.
    batch: Box<[u8]>,
    /// The session of the client.
    client: Option<u32>,
    /// Bits of the buffers that the device had sent before it was reset.
    sent: u64,
}

impl Driver {
    /// Notes what was received; whether it was anything.
    fn take_in(&mut self) -> bool {
        let Some(card) = &mut self.card else { return false };
        let mut any = false;
        while let Some((buffer, length)) = card.received() {
            self.ring.note(buffer, length.min(FRAME_MAX));
            any = true;
        }
        any
    }

    /// Gives the device all buffers that hold nothing.
    fn lend_all(&mut self) {
        let Some(card) = &mut self.card else { return };
        for buffer in 0..KEPT_MAX {
            if self.ring.held(buffer).is_none() {
                card.lend(buffer);
            }
        }
    }

    /// Frees the buffers that were sent.
    fn reap(&mut self, session: &mut Session<Outgoing>) {
        let Some(card) = &mut self.card else { return };
        while let Some(buffer) = card.sent() {
            session.lengths[buffer] = 0;
        }
    }

    fn tell(&self) {
        if let Some(client) = self.client {
            // A session that has ended since has nobody to tell.
            let _ = sys::notify(client);
        }
    }
}

impl Service for Driver {
    type State = Outgoing;

    fn new(construct: &mut Construct) -> Self {
        let ring: &mut Ring =
            construct.take_common_as().expect("the manifest gives the card a common region of a page");
        ring.repair();
        let mut driver = Driver { ring, card: None, batch: vec![0; BATCH].into_boxed_slice(), client: None, sent: 0 };
        if let Some((mut card, finished)) = Card::connect(driver.ring.base, driver.ring.noted as u16) {
            for (buffer, length) in finished.received.into_iter().flatten() {
                driver.ring.note(buffer, length.min(FRAME_MAX));
            }
            driver.ring.noted = 0;
            driver.sent = finished.sent;
            for buffer in 0..KEPT_MAX {
                if driver.ring.held(buffer).is_none()
                    && let Some(base) = card.lend(buffer)
                {
                    driver.ring.base = base;
                }
            }
            driver.card = Some(card);
            // The line is masked whenever the driver is built.
            let _ = sys::acknowledge(LINE);
        }
        driver
    }

    fn open(&mut self, session: &mut Session<Outgoing>) -> Result<(), Error> {
        self.client = Some(session.number());
        Ok(())
    }

    fn reload(&mut self, session: &mut Session<Outgoing>) -> Result<(), Error> {
        self.client = Some(session.number());
        let sent = core::mem::take(&mut self.sent);
        let Some(card) = &mut self.card else { return Ok(()) };
        for buffer in 0..KEPT_MAX {
            let length = usize::from(session.lengths[buffer]);
            if length == 0 {
                continue;
            }
            card.reload(buffer, length);
            // The device had it, and was reset before it said that it was sent.
            if session.order[buffer] == 0 {
                if sent >> buffer & 1 == 1 {
                    session.lengths[buffer] = 0;
                } else {
                    card.send(buffer);
                }
            }
        }
        // What was received when the driver failed, or while it was rebuilt.
        self.tell();
        Ok(())
    }

    fn close(&mut self, _: &mut Session<Outgoing>) {
        self.client = None;
    }

    /// The device interrupts: something was received.
    fn event(&mut self, _: Events) -> Next {
        if self.take_in() {
            self.tell();
        }
        let _ = sys::acknowledge(LINE);
        Next::Done
    }

    /// Puts out what was sent, and gives back to the device what was released. Frames go out at least once.
    fn flush(&mut self, session: &mut Session<Outgoing>) -> Result<(), Error> {
        self.lend_all();
        let Some(card) = &mut self.card else { return Ok(()) };
        while let Some(buffer) = session.first() {
            card.reload(buffer, usize::from(session.lengths[buffer]));
            card.send(buffer);
            session.order[buffer] = 0;
        }
        self.reap(session);
        Ok(())
    }
}

impl Nic for Driver {
    fn mac(&mut self, _: &mut Session<Outgoing>) -> Result<u64, Error> {
        let [a, b, c, d, e, f] = self.card.as_ref().ok_or(Error::NotFound)?.mac;
        Ok(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    fn peek(&mut self, _: &mut Session<Outgoing>, mut to: LentWrite<'_>) -> Result<u32, Error> {
        let card = self.card.as_mut().ok_or(Error::NotFound)?;
        let mut at = 0;
        for (buffer, kept) in self.ring.oldest_first() {
            let header = batch::Header { number: kept.number, length: kept.length };
            let Some(record) = card.record(buffer, header) else { continue };
            if at + record.len() > to.len() {
                break;
            }
            to.copy(at, record)?;
            at += record.len();
        }
        Ok(at as u32)
    }

    fn release(&mut self, session: &mut Session<Outgoing>, first: u32, mask: u64) -> Result<(), Error> {
        if self.ring.release(first, mask) {
            self.tell();
        }
        session.request_flush();
        Ok(())
    }

    fn send(&mut self, session: &mut Session<Outgoing>, frames: LentRead<'_>) -> Result<u32, Error> {
        let length = frames.len().min(BATCH);
        frames.copy(0, &mut self.batch[..length])?;
        session.request_flush();
        let mut next = session.order.iter().copied().max().unwrap_or(0);
        let (mut at, mut count) = (0, 0);
        let mut patience = PATIENCE;
        while let Some((_, place, step)) = batch::first(&self.batch[at..length]) {
            let place = at + place.start..at + place.end;
            let mut free = session.lengths.iter().position(|length| *length == 0);
            while free.is_none() && patience > 0 {
                self.reap(session);
                free = session.lengths.iter().position(|length| *length == 0);
                if free.is_none() {
                    patience -= 1;
                    sys::wait_events(Events::empty(), 1)?;
                }
            }
            let card = self.card.as_mut().ok_or(Error::NotFound)?;
            let Some(buffer) = free.filter(|_| !place.is_empty()) else { break };
            if !card.load(buffer, &self.batch[place.clone()]) {
                break;
            }
            next += 1;
            session.lengths[buffer] = place.len() as u16;
            session.order[buffer] = next;
            at += step;
            count += 1;
        }
        Ok(count)
    }
}

rt::service!(Driver: nic::Nic);
