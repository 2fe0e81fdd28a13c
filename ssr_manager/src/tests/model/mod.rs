//! A model of clients, servers and requests that keeps its own copy of every state, does what a kernel would do, and
//! compares after each step.

mod calls;
mod check;
pub mod platform;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use crate::*;
use abi::info::Pool;
use abi::ssr::{HEADER, MAGIC};
use abi::{Error, Handle};
use platform::Machine;

pub const SERVERS: usize = 5;
pub const BINDINGS: usize = 10;
pub const UNDO: usize = 32;
pub const REQUESTS: usize = 3;
/// Programs (one a request), then servers.
pub const CLIENTS: usize = REQUESTS + SERVERS;
/// What the number of a living client has above its index.
pub const GENERATION: u32 = 0x100;
pub type Ssr = Manager<SERVERS, BINDINGS, UNDO, CLIENTS>;

/// Whether a client is an object.
fn is_object(client: u32) -> bool {
    client as usize & 0xff >= REQUESTS
}

/// Number of the client whose thread runs request `r`.
fn program(r: usize) -> u32 {
    GENERATION | r as u32
}

/// Number of a server as a client.
fn object(server: ServerId) -> u32 {
    GENERATION | (REQUESTS + server.index()) as u32
}

/// An SSR as the service would describe it.
#[derive(Clone, PartialEq)]
struct Memory {
    bytes: Vec<u8>,
    used: usize,
}

struct Session {
    server: ServerId,
    client: u32,
    handle: Handle,
    memory: Memory,
    /// State at the first use in the request that may still undo it.
    first: Option<Memory>,
    holder: Option<RequestId>,
    state: State,
    needs_reload: bool,
    events: u32,
    contextidr: bool,
}

impl Session {
    fn nested(&self) -> bool {
        is_object(self.client)
    }
}

struct Activation {
    open: Option<BindingId>,
    request: Option<RequestId>,
    memory: Option<Memory>,
    common: Vec<u8>,
    first_use: bool,
    finishes: u32,
}

struct Server {
    config: ServerConfig,
    common: Vec<u8>,
    /// The common region at the first use in the request that retains the server.
    first: Option<Vec<u8>>,
    retained: BTreeSet<BindingId>,
    active: Option<Activation>,
    /// Pages written since the reserve was last full.
    written: BTreeSet<(Option<BindingId>, usize)>,
}

pub struct World {
    pub ssr: Box<Ssr>,
    pub machine: Machine,
    servers: Vec<Server>,
    sessions: BTreeMap<BindingId, Session>,
    stacks: [Vec<ServerId>; REQUESTS],
    stale: Vec<Handle>,
    /// How often each thing happened that a run should not miss.
    pub seen: BTreeMap<&'static str, usize>,
}

fn server_id(index: usize) -> ServerId {
    ServerId::new(index as u16)
}

fn request_id(index: usize) -> RequestId {
    RequestId::new(index as u16)
}

impl World {
    pub fn new(configs: &[ServerConfig; SERVERS]) -> Self {
        let (mut ssr, mut machine) = (Box::new(Ssr::new()), Machine::new(10_000));
        let mut servers = Vec::new();
        for (index, config) in configs.iter().enumerate() {
            machine.make_common(server_id(index), config.common_pages.into());
            let common = (0..config.common_pages).flat_map(|page| [page as u8; PAGE_SIZE]).collect();
            ssr.register(server_id(index), config, &mut machine).expect("room for the reserve");
            let config = *config;
            servers.push(Server {
                config,
                common,
                first: None,
                retained: BTreeSet::new(),
                active: None,
                written: BTreeSet::new(),
            });
        }
        let stacks = Default::default();
        let (sessions, stale) = (BTreeMap::new(), Vec::new());
        World { ssr, machine, servers, sessions, stacks, stale, seen: BTreeMap::new() }
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn pick(&self, choice: usize, mut filter: impl FnMut(BindingId, &Session) -> bool) -> Option<BindingId> {
        let mut ids: Vec<_> =
            self.sessions.iter().filter(|(id, session)| filter(**id, session)).map(|(id, _)| *id).collect();
        ids.sort();
        (!ids.is_empty()).then(|| ids[choice % ids.len()])
    }

    /// Who may hold the next activation of a session up.
    fn holder(&self, b: BindingId) -> Option<RequestId> {
        let session = &self.sessions[&b];
        let server = &self.servers[session.server.index()];
        let whole = server.retained.iter().next().filter(|_| server.config.serial);
        session.holder.or(whole.and_then(|other| self.sessions[other].holder))
    }

    pub fn bind(&mut self, server: usize, client: u32, frames: Option<usize>) {
        let nested = is_object(client);
        let before = (self.machine.live(), self.machine.ended.len());
        let budget = std::mem::replace(&mut self.machine.budget, frames.unwrap_or(10_000));
        let result = self.ssr.bind(server_id(server), client, 0x8000 + client, 0x9000, nested, &mut self.machine);
        self.machine.budget = budget;
        let config = self.servers[server].config;
        let of_server = self.sessions.values().filter(|session| session.server.index() == server).count();
        let b = match result {
            Ok(b) => b,
            Err(pool) => {
                let full = of_server >= config.max_bindings.into();
                match pool {
                    Pool::ServerBindings => assert!(full),
                    Pool::Bindings => assert!(self.sessions.len() == BINDINGS),
                    Pool::Frames => assert!(!full && frames.is_some()),
                    _ => panic!("no such pool in bind: {pool:?}"),
                }
                assert_eq!(self.machine.live(), before.0, "a failed bind keeps frames");
                self.machine.ended.truncate(before.1);
                self.saw("bind failed");
                return;
            }
        };
        assert!(of_server < config.max_bindings.into());
        let size = usize::from(config.ssr_pages) * PAGE_SIZE;
        let mut bytes = vec![0; size];
        if size > 0 {
            let header = [MAGIC, HEADER, b.index() as u32, 0];
            header.iter().zip(bytes.chunks_mut(4)).for_each(|(word, chunk)| chunk.copy_from_slice(&word.to_le_bytes()));
        }
        let session = Session {
            server: server_id(server),
            client,
            handle: self.ssr.handle(b),
            memory: Memory { bytes, used: if size > 0 { 32 } else { 0 } },
            first: None,
            holder: None,
            state: State::Opening,
            needs_reload: false,
            events: 0,
            contextidr: false,
        };
        assert!(self.sessions.insert(b, session).is_none(), "a slot in use");
        for offset in 0..size {
            assert_eq!(
                self.machine.bytes(Region::Ssr(b), offset / PAGE_SIZE)[offset % PAGE_SIZE],
                self.sessions[&b].memory.bytes[offset]
            );
        }
        assert_eq!(self.ssr.find(self.ssr.handle(b), client), Err(Error::BadHandle), "found before it was opened");
    }

    /// The open hook, in an activation of its own, then `opened`.
    pub fn open(&mut self, choice: usize, seed: usize) {
        let Some(b) = self.pick(choice, |_, session| session.state == State::Opening) else { return };
        let holder = self.holder(b);
        if self.begin(b, holder) == Ok(Begin::Ready) {
            let server = self.sessions[&b].server;
            if self.set_size(server, seed * 641) && self.scribble(server, seed, 2) {
                self.finish(server);
                self.ssr.opened(b, &mut self.machine);
                let session = self.sessions.get_mut(&b).expect("open");
                (session.state, session.first) = (State::Active, None);
            }
        }
    }

    pub fn closing(&mut self, choice: usize) {
        let Some(b) = self.pick(choice, |_, session| session.state == State::Active) else { return };
        self.ssr.closing(b);
        self.sessions.get_mut(&b).expect("a session").state = State::Closing;
    }

    pub fn lose(&mut self, choice: usize) {
        let Some(b) = self.pick(choice, |_, session| session.state != State::Ending) else { return };
        self.ssr.lose(b);
        let session = self.sessions.get_mut(&b).expect("a session");
        // One that is closing has no client who would be told.
        if session.state != State::Closing {
            session.state = State::Lost;
        }
    }

    pub fn revoke(&mut self, choice: usize) {
        let Some(b) = self.pick(choice, |_, _| true) else { return };
        let open =
            self.servers[self.sessions[&b].server.index()].active.as_ref().is_some_and(|active| active.open == Some(b));
        let deferred = open || self.sessions[&b].holder.is_some();
        self.sessions.get_mut(&b).expect("a session").state = State::Ending;
        self.ssr.revoke(b, &mut self.machine);
        assert_eq!(self.ssr.binding(b).state, if deferred { State::Ending } else { State::Free });
        self.saw(if deferred { "revoke deferred" } else { "revoked" });
        self.settle();
    }

    pub fn view(&mut self, choice: usize) {
        let Some(b) = self.pick(choice, |_, _| true) else { return };
        self.ssr.set_view(b, 0x100 + b.index() as u32, 0x7000);
        self.sessions.get_mut(&b).expect("a session").contextidr = true;
    }

    pub fn events(&mut self, choice: usize) {
        let Some(b) = self.pick(choice, |_, _| true) else { return };
        self.ssr.set_events(b, choice as u32);
        self.sessions.get_mut(&b).expect("a session").events = choice as u32;
    }

    pub fn rollover(&mut self) {
        self.ssr.clear_views();
        self.sessions.values_mut().for_each(|session| session.contextidr = false);
    }

    /// Takes note of the sessions that have ended, which must be those that were due.
    fn settle(&mut self) {
        let due: BTreeSet<_> = self
            .sessions
            .iter()
            .filter(|(b, session)| {
                let active = &self.servers[session.server.index()].active;
                let open = active.as_ref().is_some_and(|active| active.open == Some(**b));
                session.state == State::Ending && session.holder.is_none() && !open
            })
            .map(|(b, _)| *b)
            .collect();
        let ended: BTreeSet<_> = std::mem::take(&mut self.machine.ended).into_iter().collect();
        assert_eq!(ended, due);
        for b in due {
            let session = self.sessions.remove(&b).expect("a session");
            self.stale.push(session.handle);
        }
    }
}
