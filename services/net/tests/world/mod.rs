//! A kernel, a card and a wire for the service, small enough to be right: requests, steps and hooks that commit or are rolled
//! back with what they did to the card, one deadline, notifications; and at the other end of the wire another stack.
#![allow(dead_code)] // each test uses a part of it

pub mod frames;
pub mod peer;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use net::server::{Machine, Server, Session};
use net::shared::Shared;
use nic::{KEPT_MAX, batch};
use rt::{Events, Next, Service};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// The address of the card.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x10];

/// What the card has and what the kernel knows; changes of the running activation stand apart until it commits.
#[derive(Default)]
pub struct Board {
    pub now: u64,
    pub deadline: Option<u64>,
    /// Frames received, with their numbers.
    pub received: VecDeque<(u32, Vec<u8>)>,
    next_number: u32,
    /// Frames sent.
    pub sent: VecDeque<Vec<u8>>,
    /// Frames that were lost because the card was full.
    pub overruns: u64,
    /// Numbers that the activation released, frames that it sent, sessions that it notified.
    releases: Vec<u32>,
    sends: Vec<Vec<u8>>,
    notes: Vec<u32>,
    /// Calls of the service until it fails in one; 0: it does not.
    fuse: u32,
}

impl Board {
    /// A frame arrives.
    pub fn receive(&mut self, frame: Vec<u8>) {
        if self.received.len() >= KEPT_MAX {
            self.overruns += 1;
            return;
        }
        self.received.push_back((self.next_number, frame));
        self.next_number = self.next_number.wrapping_add(1);
    }

    fn commit(&mut self) -> Vec<u32> {
        let releases = std::mem::take(&mut self.releases);
        self.received.retain(|(number, _)| !releases.contains(number));
        let sends = std::mem::take(&mut self.sends);
        self.sent.extend(sends);
        std::mem::take(&mut self.notes)
    }

    fn roll_back(&mut self) {
        self.releases.clear();
        self.sends.clear();
        self.notes.clear();
    }
}

#[derive(Clone, Default)]
pub struct Fake(pub Rc<RefCell<Board>>);

impl Fake {
    /// Fails before the call has an effect, if that is what is wanted.
    fn burn(&self) {
        let fuse = self.0.borrow().fuse;
        if fuse > 0 {
            self.0.borrow_mut().fuse = fuse - 1;
            if fuse == 1 {
                // Not a panic: nobody wants to read of it.
                resume_unwind(Box::new("crash"));
            }
        }
    }
}

impl Machine for Fake {
    fn now(&mut self) -> u64 {
        self.burn();
        self.0.borrow().now
    }

    fn deadline(&mut self, at: Option<u64>) {
        self.burn();
        self.0.borrow_mut().deadline = at;
    }

    fn notify(&mut self, session: u32) {
        self.burn();
        self.0.borrow_mut().notes.push(session);
    }

    fn mac(&mut self) -> Option<[u8; 6]> {
        self.burn();
        Some(MAC)
    }

    fn peek(&mut self, to: &mut [u8]) -> usize {
        self.burn();
        let board = self.0.borrow();
        let mut used = 0;
        for (number, frame) in board.received.iter().filter(|(number, _)| !board.releases.contains(number)) {
            let Some(room) = batch::reserve(to, &mut used, *number, frame.len()) else { break };
            room.copy_from_slice(frame);
        }
        used
    }

    fn release(&mut self, first: u32, mask: u64) {
        self.burn();
        let numbers = (0..64).filter(|bit| mask >> bit & 1 == 1).map(|bit| first.wrapping_add(bit));
        self.0.borrow_mut().releases.extend(numbers);
    }

    fn send(&mut self, mut frames: &[u8]) -> u32 {
        self.burn();
        let mut count = 0;
        while let Some((_, place, next)) = batch::first(frames) {
            self.0.borrow_mut().sends.push(frames[place].to_vec());
            frames = &frames[next..];
            count += 1;
        }
        count
    }
}

/// When an activation fails.
#[derive(Clone, Copy, Debug)]
pub enum Crash {
    /// In so manieth call of kernel or card, from 1.
    In(u32),
    /// When all is done, before the commit.
    End,
}

pub struct World {
    pub fake: Fake,
    pub server: Server<Fake>,
    pub sessions: Vec<Option<Session>>,
    pub notified: Vec<bool>,
    shared: Vec<u8>,
    /// The failures to come, each after so many activations.
    pub plan: VecDeque<(u32, Crash)>,
    pub crashes: u32,
    /// The frames that panicked the library itself end the test, unless it expects that.
    pub tolerant: bool,
    /// Activations that failed by themselves.
    pub panics: u32,
}

fn build(fake: &Fake, shared: &[u8]) -> Server<Fake> {
    // One for each time the service is built: a leak that ends with the test.
    let shared = Box::leak(Box::new(Shared::read_from_bytes(shared).expect("the length is that of the record")));
    Server::on(fake.clone(), shared)
}

impl World {
    pub fn new(sessions: usize) -> Self {
        let fake = Fake::default();
        fake.0.borrow_mut().now = 1_000_000;
        let shared = Shared::new_zeroed().as_bytes().to_vec();
        let server = build(&fake, &shared);
        let shared = server.shared().as_bytes().to_vec();
        let mut world = World {
            fake,
            server,
            sessions: Vec::new(),
            notified: vec![false; sessions],
            shared,
            plan: VecDeque::new(),
            crashes: 0,
            tolerant: false,
            panics: 0,
        };
        for number in 0..sessions {
            let mut session = Session::for_test(number as u32);
            world.server.open(&mut session).expect("opens");
            world.sessions.push(Some(session));
        }
        world
    }

    pub fn now(&self) -> u64 {
        self.fake.0.borrow().now
    }

    /// The object is rebuilt from what was committed.
    pub fn rebuild(&mut self) {
        self.crashes += 1;
        self.server = build(&self.fake, &self.shared);
        self.shared = self.server.shared().as_bytes().to_vec();
        for session in self.sessions.iter_mut().flatten() {
            assert!(session.is_intact(), "a committed session is intact");
            self.server.reload(session).expect("a committed session can be reloaded");
        }
    }

    /// Runs an activation until it commits; `None`: it failed three times by itself.
    pub fn activate<T>(
        &mut self,
        number: Option<usize>,
        mut run: impl FnMut(&mut Server<Fake>, Option<&mut Session>) -> T,
    ) -> Option<T> {
        let mut attempts = 0;
        loop {
            let crash = match self.plan.front_mut() {
                Some((0, crash)) => {
                    let crash = *crash;
                    self.plan.pop_front();
                    Some(crash)
                }
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            };
            let before = number.map(|number| {
                let session = self.sessions[number].as_mut().expect("an open session");
                session.bytes_for_test().to_vec()
            });
            self.fake.0.borrow_mut().fuse = if let Some(Crash::In(call)) = crash { call } else { 0 };
            let session = number.and_then(|number| self.sessions[number].as_mut());
            let result = catch_unwind(AssertUnwindSafe(|| run(&mut self.server, session)));
            let burnt = self.fake.0.borrow().fuse == 0 && matches!(crash, Some(Crash::In(_)));
            self.fake.0.borrow_mut().fuse = 0;
            match result {
                Ok(value) if !matches!(crash, Some(Crash::End)) => {
                    self.shared = self.server.shared().as_bytes().to_vec();
                    if let Some(number) = number {
                        let session = self.sessions[number].as_ref().expect("still open");
                        assert!(session.is_intact() && Server::<Fake>::is_sound(session));
                    }
                    for session in self.fake.0.borrow_mut().commit() {
                        self.notified[session as usize] = true;
                    }
                    return Some(value);
                }
                Ok(_) => {}
                Err(_) if burnt => {}
                Err(panic) => {
                    if !self.tolerant {
                        resume_unwind(panic);
                    }
                    self.panics += 1;
                    attempts += 1;
                }
            }
            self.fake.0.borrow_mut().roll_back();
            if let (Some(number), Some(before)) = (number, before) {
                let session = self.sessions[number].as_mut().expect("an open session");
                session.bytes_for_test().copy_from_slice(&before);
            }
            self.rebuild();
            // An upcall or step comes again from the upcall on; a request is tried again.
            if attempts > 0 {
                return None;
            }
        }
    }

    /// A request of a client.
    pub fn call<T>(&mut self, number: usize, mut run: impl FnMut(&mut Server<Fake>, &mut Session) -> T) -> T {
        self.activate(Some(number), |server, session| run(server, session.expect("it is open")))
            .expect("requests do not fail by themselves")
    }

    /// The event and all its steps.
    pub fn event(&mut self) {
        self.fake.0.borrow_mut().deadline = None;
        let events = Events::DEADLINE;
        let mut skipped: Option<u32> = None;
        let mut next = Next::Done;
        let mut first = true;
        loop {
            let crashes = self.crashes;
            let step = match (next, skipped.take()) {
                (_, Some(gone)) => self.activate(None, |server, _| server.skipped(gone, events)),
                (Next::Session(number), None) => {
                    if self.sessions.get(number as usize).is_some_and(Option::is_some) {
                        self.activate(Some(number as usize), |server, session| {
                            server.step(session.expect("it is open"), events)
                        })
                    } else {
                        skipped = Some(number);
                        continue;
                    }
                }
                (Next::Done, None) if first => self.activate(None, |server, _| server.event(events)),
                (Next::Done, None) => return,
            };
            first = false;
            // Whatever failed, the event comes again from its start. (An activation that was tried again here has run in the
            // rebuilt object, which knows nothing of the frames of before.)
            match step {
                Some(step) if crashes == self.crashes => next = step,
                _ => (next, first) = (Next::Done, true),
            }
        }
    }

    /// Whether there is something to do now.
    pub fn is_due(&self) -> bool {
        let board = self.fake.0.borrow();
        !board.received.is_empty() || board.deadline.is_some_and(|at| at <= board.now)
    }
}
