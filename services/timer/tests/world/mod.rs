//! A kernel for the service, small enough to be right: requests, steps and hooks that commit or are rolled back, one
//! deadline, notifications. Beside each session a model of what it must hold.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use rt::{Events, Next, Service, Session};
use timer::alarms::{self, NEVER, State};
use timer::server::{Machine, Server};

/// Sessions below this are those of objects, whose requests can be undone.
pub const OBJECTS: usize = 2;

/// What is the kernel's: no rollback touches it, but for the notifications.
#[derive(Default)]
pub struct Board {
    pub now: u64,
    pub deadline: Option<u64>,
    notes: Vec<u32>,
    /// Calls of the service until it fails in one; 0: it does not.
    fuse: u32,
}

#[derive(Clone, Default)]
pub struct Fake(pub Rc<RefCell<Board>>);

impl Fake {
    /// Fails before the call has an effect. The next call will, too, if there was one more in the fuse.
    fn burn(&mut self) {
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

    fn deadline(&mut self, at_us: Option<u64>) {
        self.burn();
        self.0.borrow_mut().deadline = at_us;
    }

    fn notify(&mut self, session: u32) {
        self.burn();
        self.0.borrow_mut().notes.push(session);
    }
}

/// What an alarm must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub due: u64,
    pub period: u64,
    pub count: u64,
}

impl Wanted {
    /// Expiry by expiry.
    fn expire(&mut self, now: u64) {
        while self.due <= now {
            self.count += 1;
            self.due = if self.period == 0 { NEVER } else { self.due + self.period };
        }
    }
}

pub struct Client {
    pub session: Session<State>,
    pub wanted: BTreeMap<u32, Wanted>,
    /// The alarm that was taken last.
    pub taken: u32,
    pub late: u64,
    /// It was told to wait, and has not been notified since.
    pub waiting: bool,
    needs_reload: bool,
}

/// Where a request or step fails.
#[derive(Clone, Copy, Debug)]
pub enum Crash {
    Never,
    /// In so manieth call of the kernel, from 1.
    In(u32),
    /// When all is done, before the commit.
    End,
}

pub struct World {
    pub fake: Fake,
    server: Server<Fake>,
    pub clients: Vec<Option<Client>>,
    /// The event was posted and is not yet dealt with.
    posted: bool,
    pub seen: BTreeMap<&'static str, u32>,
}

impl World {
    pub fn new(clients: usize) -> Self {
        let fake = Fake::default();
        let server = Server::on(fake.clone());
        let mut world = World { fake, server, clients: Vec::new(), posted: false, seen: BTreeMap::new() };
        for number in 0..clients {
            world.clients.push(None);
            world.open(number);
        }
        world
    }

    pub fn now(&self) -> u64 {
        self.fake.0.borrow().now
    }

    pub fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// A new session with this number.
    pub fn open(&mut self, number: usize) {
        let mut session = Session::<State>::for_test(number as u32);
        session.set_client_for_test(if number < OBJECTS { 7 } else { 64 });
        self.server.open(&mut session).expect("opens");
        let client =
            Client { session, wanted: BTreeMap::new(), taken: u32::MAX, late: 0, waiting: false, needs_reload: false };
        self.clients[number] = Some(client);
    }

    pub fn close(&mut self, number: usize) {
        if let Some(mut client) = self.clients[number].take() {
            self.server.close(&mut client.session);
        }
    }

    /// The session is lost without the service being asked.
    pub fn lose(&mut self, number: usize) {
        self.clients[number] = None;
    }

    pub fn client(&mut self, number: usize) -> &mut Client {
        self.clients[number].as_mut().expect("an open session")
    }

    /// The object is asked whether all is well.
    pub fn probe(&mut self) {
        self.server.self_test().expect("the queue agrees with itself");
    }

    /// The object fails between two activations.
    pub fn crash(&mut self) {
        self.note("crash");
        self.server = Server::on(self.fake.clone());
        for number in 0..self.clients.len() {
            self.reload(number);
        }
    }

    fn reload(&mut self, number: usize) {
        if let Some(client) = &mut self.clients[number] {
            client.needs_reload = false;
            assert!(client.session.is_intact());
            self.server.reload(&mut client.session).expect("a committed session is sound");
        }
    }

    /// Runs an activation with or without a session until it commits. Failures: the session is rolled back, the object
    /// rebuilt, the call tried again; with `again` false it is up to the caller to do that.
    fn activate<T>(
        &mut self,
        number: Option<usize>,
        crash: Crash,
        again: bool,
        run: impl Fn(&mut Server<Fake>, Option<&mut Session<State>>) -> T,
    ) -> Option<T> {
        let mut crash = crash;
        loop {
            if let Some(number) = number.filter(|number| self.client(*number).needs_reload) {
                self.note("late reload");
                self.reload(number);
            }
            let before = number.map(|number| self.client(number).session.bytes_for_test().to_vec());
            self.fake.0.borrow_mut().fuse = if let Crash::In(call) = crash { call } else { 0 };
            let session = number.and_then(|number| self.clients[number].as_mut()).map(|client| &mut client.session);
            let result = catch_unwind(AssertUnwindSafe(|| run(&mut self.server, session)));
            self.fake.0.borrow_mut().fuse = 0;
            let notes = std::mem::take(&mut self.fake.0.borrow_mut().notes);
            if let Ok(value) = result
                && !matches!(crash, Crash::End)
            {
                for session in notes {
                    self.client(session as usize).waiting = false;
                }
                return Some(value);
            }
            self.note(if matches!(crash, Crash::End) { "crash at the end" } else { "crash inside" });
            if let (Some(number), Some(before)) = (number, before) {
                self.client(number).session.bytes_for_test().copy_from_slice(&before);
            }
            crash = Crash::Never;
            self.crash();
            if !again {
                return None;
            }
        }
    }

    /// A request of a client, once and to its end.
    pub fn call<T>(
        &mut self,
        number: usize,
        crash: Crash,
        run: impl Fn(&mut Server<Fake>, &mut Session<State>) -> T,
    ) -> T {
        let run = |server: &mut Server<Fake>, session: Option<&mut Session<State>>| {
            run(server, session.expect("a call has a session"))
        };
        self.activate(Some(number), crash, true, run).expect("tried until it commits")
    }

    /// The state of a session is put back to what it was, by the undo of a request that another service made. The service is
    /// told at once, or not before the session is next used.
    pub fn undo(&mut self, number: usize, before: &Snapshot, late: bool) {
        self.note("undo");
        let client = self.client(number);
        client.session.bytes_for_test().copy_from_slice(&before.bytes);
        client.wanted = before.wanted.clone();
        client.taken = before.taken;
        client.waiting = before.waiting;
        client.needs_reload = true;
        if !late {
            self.reload(number);
        }
    }

    pub fn snapshot(&mut self, number: usize) -> Snapshot {
        let client = self.client(number);
        Snapshot {
            bytes: client.session.bytes_for_test().to_vec(),
            wanted: client.wanted.clone(),
            taken: client.taken,
            waiting: client.waiting,
        }
    }

    /// Time passes, and the tick posts the event if the deadline has come.
    pub fn pass(&mut self, us: u64) {
        let mut board = self.fake.0.borrow_mut();
        board.now += us;
        if board.deadline.is_some_and(|deadline| deadline <= board.now) {
            board.deadline = None;
            self.posted = true;
        }
    }

    /// Delivers the event, if there is one. The `crash`-es strike one activation after the other; between two steps time
    /// passes.
    pub fn deliver(&mut self, crashes: &[Crash], step_us: u64) {
        let mut crashes = crashes.iter().copied();
        while self.posted {
            let mut crash = || crashes.next().unwrap_or(Crash::Never);
            let sweep = self.now();
            let mut looked_at = Vec::new();
            let event = |server: &mut Server<Fake>, _: Option<&mut Session<State>>| server.event(Events::DEADLINE);
            let mut next = self.activate(None, crash(), false, event);
            while let Some(Next::Session(session)) = next {
                assert!(!looked_at.contains(&session), "each session once an event");
                looked_at.push(session);
                let number = session as usize;
                self.pass(step_us);
                if self.clients[number].is_none() {
                    self.note("skipped");
                    let skipped = move |server: &mut Server<Fake>, _: Option<&mut Session<State>>| {
                        server.skipped(session, Events::DEADLINE)
                    };
                    next = self.activate(None, crash(), false, skipped);
                    continue;
                }
                self.note("step");
                let step = |server: &mut Server<Fake>, session: Option<&mut Session<State>>| {
                    server.step(session.expect("a step has one"), Events::DEADLINE)
                };
                next = self.activate(Some(number), crash(), false, step);
                if next.is_some() {
                    let now = self.now();
                    let client = self.client(number);
                    for wanted in client.wanted.values_mut().filter(|wanted| wanted.due <= now) {
                        client.late = client.late.max(now - wanted.due);
                        wanted.expire(now);
                    }
                }
            }
            // If an activation failed, the event comes again.
            if next == Some(Next::Done) {
                self.posted = false;
                for client in self.clients.iter().flatten() {
                    assert!(client.wanted.values().all(|wanted| wanted.due > sweep), "an alarm was not looked at");
                }
            }
        }
    }

    /// What holds whenever no activation runs.
    pub fn check(&mut self) {
        assert!(self.server.queue().is_sound());
        let board = self.fake.0.borrow();
        let armed = if self.posted { Some(0) } else { board.deadline };
        for (number, client) in self.clients.iter().enumerate() {
            let Some(client) = client else { continue };
            assert!(alarms::is_sound(&client.session));
            let found = alarms::all(&client.session).iter().map(|alarm| {
                let wanted = Wanted { due: alarm.due_us, period: alarm.period_us, count: alarm.count.into() };
                (alarm.id, wanted)
            });
            assert_eq!(found.collect::<BTreeMap<_, _>>(), client.wanted);
            if let Some(due) = alarms::next_due(&client.session) {
                assert!(self.server.queue().due(number as u32).is_some_and(|queued| queued <= due), "a lost alarm");
                assert!(armed.is_some_and(|armed| armed <= due), "an alarm without a deadline");
            }
            let expired = client.wanted.values().any(|wanted| wanted.count > 0);
            assert!(!(client.waiting && expired), "a client waits although an alarm has expired");
        }
    }
}

pub struct Snapshot {
    bytes: Vec<u8>,
    wanted: BTreeMap<u32, Wanted>,
    taken: u32,
    waiting: bool,
}
