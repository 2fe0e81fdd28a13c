//! A kernel for the service, small enough to be right: requests, nested ones, steps and hooks that commit or are rolled back,
//! notifications, one deadline. Beside it a model: what is published, and what each client believes of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use rt::{Cause, Events, Next, Service, Session};
use store::registry::Registry;
use store::server::{Machine, Server};
use store::session::{self, State};
use zerocopy::{FromBytes, IntoBytes};

/// Sessions below this are those of objects, whose requests can be nested.
pub const OBJECTS: usize = 2;

#[derive(Default)]
struct Board {
    woken: bool,
    notes: Vec<u32>,
    sessions: BTreeSet<u32>,
    /// Calls of the service until it fails in one; 0: it does not.
    fuse: u32,
}

#[derive(Clone, Default)]
pub struct Fake(Rc<RefCell<Board>>);

impl Fake {
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
    fn wake(&mut self) {
        self.burn();
        self.0.borrow_mut().woken = true;
    }

    fn notify(&mut self, session: u32) -> bool {
        self.burn();
        let known = self.0.borrow().sessions.contains(&session);
        if known {
            self.0.borrow_mut().notes.push(session);
        }
        known
    }
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

#[derive(Clone, Default)]
pub struct Belief {
    /// For each pattern the keys that match it, and the version that the client knows of.
    pub known: BTreeMap<String, BTreeMap<String, u64>>,
    /// Versions told since the latest subscription began: each once, in order.
    pub told: BTreeSet<u64>,
    /// There was nothing to be told, and no notification since.
    pub waiting: bool,
}

pub struct Client {
    pub session: Session<State>,
    pub belief: Belief,
    needs_reload: bool,
}

/// An entry: session, value, version.
pub type Published = (u32, Vec<u8>, u64);

pub struct World {
    fake: Fake,
    server: Option<Server<Fake>>,
    pub clients: Vec<Option<Client>>,
    pub truth: BTreeMap<String, Published>,
    /// The greatest version that anybody has seen.
    pub greatest: u64,
    /// Notifications of a request that is not over; `None`: every call is a request of its own.
    nested: Option<Vec<u32>>,
    pub seen: BTreeMap<&'static str, u32>,
}

pub struct Snapshot {
    registry: Vec<u8>,
    clients: Vec<(Vec<u8>, Belief)>,
    truth: BTreeMap<String, Published>,
    greatest: u64,
}

pub fn matches(pattern: &str, key: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == key, |start| key.starts_with(start))
}

impl World {
    pub fn new(clients: usize) -> Self {
        let region = vec![0_u64; size_of::<Registry>() / 8].leak();
        let registry = Registry::mut_from_bytes(region.as_mut_bytes()).expect("size and alignment are right");
        let fake = Fake::default();
        let server = Some(Server::over(registry, Cause::Boot, fake.clone()));
        let (truth, seen) = (BTreeMap::new(), BTreeMap::new());
        let mut world = World { fake, server, clients: Vec::new(), truth, greatest: 0, nested: None, seen };
        for number in 0..clients {
            world.clients.push(None);
            world.open(number);
        }
        world
    }

    pub fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub fn server(&mut self) -> &mut Server<Fake> {
        self.server.as_mut().expect("put back after each crash")
    }

    pub fn client(&mut self, number: usize) -> &mut Client {
        self.clients[number].as_mut().expect("an open session")
    }

    /// A new session with this number; what one that was lost had published is withdrawn.
    pub fn open(&mut self, number: usize) {
        let mut session = Session::<State>::for_test(number as u32);
        session.set_client_for_test(domain(number));
        self.fake.0.borrow_mut().sessions.insert(number as u32);
        self.clients[number] = Some(Client { session, belief: Belief::default(), needs_reload: false });
        self.hook(number, Crash::Never, |server, session| server.open(session).expect("opens"));
        self.truth.retain(|_, (owner, ..)| *owner != number as u32);
    }

    pub fn close(&mut self, number: usize, crash: Crash) {
        self.hook(number, crash, Server::close);
        self.lose(number);
        self.truth.retain(|_, (owner, ..)| *owner != number as u32);
    }

    /// The session is gone without the service being asked.
    pub fn lose(&mut self, number: usize) {
        self.clients[number] = None;
        self.fake.0.borrow_mut().sessions.remove(&(number as u32));
    }

    /// The object fails between two activations.
    pub fn crash(&mut self) {
        self.note("crash");
        let registry = self.server.take().expect("put back after each crash").into_registry();
        self.server = Some(Server::over(registry, Cause::Recovery, self.fake.clone()));
        for number in 0..self.clients.len() {
            self.reload(number);
        }
        self.deliver_notes();
    }

    fn reload(&mut self, number: usize) {
        let server = self.server.as_mut().expect("put back after each crash");
        if let Some(client) = &mut self.clients[number] {
            client.needs_reload = false;
            assert!(client.session.is_intact());
            server.reload(&mut client.session).expect("a committed session is sound");
        }
    }

    fn deliver_notes(&mut self) {
        let notes = std::mem::take(&mut self.fake.0.borrow_mut().notes);
        if let Some(kept) = &mut self.nested {
            return kept.extend(notes);
        }
        for session in notes {
            if let Some(client) = &mut self.clients[session as usize] {
                client.belief.waiting = false;
            }
        }
    }

    /// Runs an activation. If it fails, all is put back, the object rebuilt, and `None` returned.
    fn activate<T>(
        &mut self,
        number: Option<usize>,
        crash: Crash,
        run: impl FnOnce(&mut Server<Fake>, Option<&mut Session<State>>) -> T,
    ) -> Option<T> {
        if let Some(number) = number.filter(|number| self.client(*number).needs_reload) {
            self.note("late reload");
            self.reload(number);
            self.deliver_notes();
        }
        let before = number.map(|number| self.client(number).session.bytes_for_test().to_vec());
        let registry = self.server().registry().as_bytes().to_vec();
        self.fake.0.borrow_mut().fuse = if let Crash::In(call) = crash { call } else { 0 };
        let session = number.and_then(|number| self.clients[number].as_mut()).map(|client| &mut client.session);
        let server = self.server.as_mut().expect("put back after each crash");
        let result = catch_unwind(AssertUnwindSafe(|| run(server, session)));
        self.fake.0.borrow_mut().fuse = 0;
        if let Ok(value) = result
            && !matches!(crash, Crash::End)
        {
            self.deliver_notes();
            return Some(value);
        }
        self.note(if matches!(crash, Crash::End) { "crash at the end" } else { "crash inside" });
        self.fake.0.borrow_mut().notes.clear();
        self.server().registry().as_mut_bytes().copy_from_slice(&registry);
        if let (Some(number), Some(before)) = (number, before) {
            self.client(number).session.bytes_for_test().copy_from_slice(&before);
        }
        self.crash();
        None
    }

    /// A request of a client, once and to its end.
    pub fn call<T>(
        &mut self,
        number: usize,
        mut crash: Crash,
        run: impl Fn(&mut Server<Fake>, &mut Session<State>) -> T,
    ) -> T {
        loop {
            let run = |server: &mut Server<Fake>, session: Option<&mut Session<State>>| {
                run(server, session.expect("a call has a session"))
            };
            if let Some(value) = self.activate(Some(number), crash, run) {
                return value;
            }
            crash = Crash::Never;
        }
    }

    fn hook(&mut self, number: usize, crash: Crash, run: impl Fn(&mut Server<Fake>, &mut Session<State>)) {
        self.call(number, crash, run);
    }

    /// Begins a request of objects; nobody else is served before it ends.
    pub fn begin(&mut self) -> Snapshot {
        self.nested = Some(Vec::new());
        let registry = self.server().registry().as_bytes().to_vec();
        let keep = |client: &mut Option<Client>| {
            let client = client.as_mut().expect("an open session");
            (client.session.bytes_for_test().to_vec(), client.belief.clone())
        };
        let clients = self.clients[..OBJECTS].iter_mut().map(keep).collect();
        Snapshot { registry, clients, truth: self.truth.clone(), greatest: self.greatest }
    }

    pub fn commit(&mut self) {
        self.note("commit");
        let notes = self.nested.take().expect("a request");
        self.fake.0.borrow_mut().notes = notes;
        self.deliver_notes();
    }

    /// Undoes the request; the service is told at once, or not before a session is next used.
    pub fn undo(&mut self, before: Snapshot, late: bool) {
        self.note("undo");
        self.nested = None;
        self.server().registry().as_mut_bytes().copy_from_slice(&before.registry);
        for (number, (bytes, belief)) in before.clients.into_iter().enumerate() {
            let client = self.client(number);
            client.session.bytes_for_test().copy_from_slice(&bytes);
            client.belief = belief;
            client.needs_reload = true;
            if !late {
                self.reload(number);
            }
        }
        self.deliver_notes();
        (self.truth, self.greatest) = (before.truth, before.greatest);
    }

    /// Delivers the event, if there is one.
    pub fn deliver(&mut self, crashes: &[Crash]) {
        let mut crashes = crashes.iter().copied();
        while std::mem::take(&mut self.fake.0.borrow_mut().woken) {
            let mut crash = || crashes.next().unwrap_or(Crash::Never);
            let mut next = self.activate(None, crash(), |server, _| server.event(Events::DEADLINE));
            while let Some(Next::Session(session)) = next {
                let number = session as usize;
                next = if self.clients.get(number).is_some_and(Option::is_some) {
                    self.note("step");
                    self.activate(Some(number), crash(), |server, session| {
                        server.step(session.expect("a step has one"), Events::DEADLINE)
                    })
                } else {
                    self.note("skipped");
                    let next = self.activate(None, crash(), |server, _| server.skipped(session, Events::DEADLINE));
                    if next.is_some() {
                        self.truth.retain(|_, (owner, ..)| *owner != session);
                    }
                    next
                };
            }
            if next.is_none() {
                // The event comes again.
                self.fake.0.borrow_mut().woken = true;
            }
        }
    }

    /// The entries that match a pattern.
    pub fn matching(&self, pattern: &str) -> BTreeMap<String, u64> {
        let all = self.truth.iter().filter(|(key, _)| matches(pattern, key));
        all.map(|(key, (.., version))| (key.clone(), *version)).collect()
    }

    /// A client that has been told everything.
    pub fn check_belief(&self, belief: &Belief) {
        for (pattern, known) in &belief.known {
            assert_eq!(*known, self.matching(pattern), "{pattern}");
        }
    }

    /// What holds whenever no activation runs.
    pub fn check(&mut self) {
        let sound = self.server().self_test();
        sound.expect("the registry is sound");
        let entry = |place: &store::registry::Place| {
            let owner = place.owner().expect("an entry has one");
            assert_eq!(place.domain, domain(owner as usize));
            (place.key.as_str().to_owned(), (owner, place.value.as_slice().to_vec(), place.version))
        };
        let found: BTreeMap<_, _> = self.server().registry().entries().map(entry).collect();
        assert_eq!(found, self.truth);
        for (number, client) in self.clients.iter().enumerate() {
            let Some(client) = client else { continue };
            assert!(session::is_sound(&client.session));
            let own = session::entries(&client.session).iter();
            let own: BTreeMap<_, _> = own.map(|one| (one.key.as_str().to_owned(), one.version)).collect();
            let wanted = self.truth.iter().filter(|(_, (owner, ..))| *owner == number as u32);
            assert_eq!(own, wanted.map(|(key, (.., version))| (key.clone(), *version)).collect());
            // Who waits has nothing to be told, but that while a step is due a notification may be, too.
            if client.belief.waiting && self.nested.is_none() && !self.fake.0.borrow().woken {
                self.check_belief(&client.belief);
            }
        }
    }
}

fn domain(number: usize) -> u32 {
    if number < OBJECTS { 7 + number as u32 } else { 64 + number as u32 }
}
