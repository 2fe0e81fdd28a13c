//! A model of the system around the supervisor, in which it can be made to fail at any of its kernel calls.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use rt::abi::call::{name_str, pack_name};
use rt::abi::image::{Entry, Flags, Kind, Policy};
use rt::abi::info::{FailureInfo, ObjectInfo, ObjectState, ProcessInfo};
use rt::abi::{Control, FailureKind};
use rt::{Error, Events, Service, Session};
use zerocopy::{FromZeros, IntoBytes};

use crate::record::Common;
use crate::server::{Reader, Server};
use crate::system::System;

/// Failures that the kernel remembers.
pub const RING: usize = 32;
/// The policy of the services in the model.
pub const POLICY: Policy =
    Policy { heartbeat: 0, misses: 2, min_run: 50, max_restarts: 6, backoff: 10, backoff_cap: 50, give_up: 0 };

/// The system.
#[derive(Default)]
pub struct World {
    pub now: u64,
    pub objects: Vec<ObjectInfo>,
    pub entries: Vec<Entry>,
    /// Whether each object answers self-tests.
    pub answers: Vec<bool>,
    pub failures: Vec<FailureInfo>,
    pub deadline: Option<u64>,
    pub log: Vec<String>,
    pub orders: Vec<(String, Control)>,
    pub reboots: u32,
    /// The supervisor fails at this kernel call, counted down.
    pub fails_in: Option<u32>,
    /// There is something that the kernel tells the supervisor.
    pub event: bool,
    /// Failures that strike as soon as the latest one has been asked for: they come in between.
    pub between: Vec<(usize, u32)>,
}

impl World {
    /// An object fails under a process (0: under nobody), and is rebuilt at once.
    pub fn fail(&mut self, object: usize, process: u32) {
        let tick = (self.now / 1000) as u32;
        self.event = true;
        let info = &mut self.objects[object];
        info.failures += 1;
        info.restarts += 1;
        if info.state == ObjectState::Running as u32 {
            info.since = tick;
        }
        let number = self.failures.len() as u32 + 1;
        self.failures.push(FailureInfo {
            object: info.name,
            number,
            kind: FailureKind::Panic as u32,
            pc: 0x1_0000 + number,
            method: 1,
            session: if process == 0 { u32::MAX } else { process + 1000 },
            process,
            tick,
            chain: [if process == 0 { object as u8 } else { 64 }, object as u8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            ..FailureInfo::NONE
        });
    }

    fn call(&mut self) {
        if let Some(left) = &mut self.fails_in {
            *left = left.wrapping_sub(1);
            if *left == 0 {
                self.fails_in = None;
                std::panic::resume_unwind(Box::new("as asked"));
            }
        }
    }
}

/// A handle on it.
#[derive(Clone, Default)]
pub struct Handle(pub Rc<RefCell<World>>);

impl Handle {
    fn call(&self) -> std::cell::RefMut<'_, World> {
        let mut world = self.0.borrow_mut();
        world.call();
        world
    }
}

impl System for Handle {
    fn now(&mut self) -> u64 {
        self.call().now
    }
    fn object(&mut self, index: u32) -> Option<ObjectInfo> {
        self.call().objects.get(index as usize).copied()
    }
    fn failure(&mut self, back: u32) -> Option<FailureInfo> {
        let mut world = self.call();
        let found = world.failures.iter().rev().take(RING).nth(back as usize).copied();
        if let Some((object, process)) = world.between.pop() {
            world.fail(object, process);
        }
        found
    }
    fn entry(&mut self, index: u32) -> Option<Entry> {
        self.call().entries.get(index as usize).copied()
    }
    fn process(&mut self, slot: u32) -> Option<ProcessInfo> {
        self.call();
        Some(ProcessInfo { name: pack_name("demo"), process: 70 + slot, state: 1, ..ProcessInfo::default() })
    }
    fn control(&mut self, service: &str, what: Control) -> Result<(), Error> {
        let mut world = self.call();
        let index = world.objects.iter().position(|info| name_str(&info.name) == service).ok_or(Error::NotFound)?;
        world.orders.push((service.to_owned(), what));
        world.event |= what == Control::Stop;
        let tick = (world.now / 1000) as u32;
        let answers = world.answers[index];
        let info = &mut world.objects[index];
        let running = info.state == ObjectState::Running as u32;
        match what {
            Control::Restart => (info.restarts, info.since) = (info.restarts + 1, tick),
            Control::Start if !running => {
                (info.state, info.restarts, info.since) = (ObjectState::Running as u32, info.restarts + 1, tick);
            }
            Control::Start => {}
            Control::Hold => info.state = ObjectState::Held as u32,
            Control::Stop => info.state = ObjectState::Stopped as u32,
            Control::Probe if answers => info.probed = 0,
            Control::Probe => info.probed = tick.max(1),
        }
        Ok(())
    }
    fn deadline(&mut self, at: Option<u64>) {
        self.call().deadline = at;
    }
    fn log(&mut self, line: &str) {
        self.call().log.push(line.to_owned());
    }
    fn reboot(&mut self) {
        self.call().reboots += 1;
    }
}

/// The supervisor in its world.
pub struct Bed {
    pub world: Handle,
    pub server: Option<Server<Handle>>,
}

impl Bed {
    /// Services with these names and policies; the last entry is the supervisor itself.
    pub fn new(services: &[(&str, Policy)]) -> Bed {
        let world = Handle::default();
        {
            let mut world = world.0.borrow_mut();
            world.now = 1_000_000;
            for (index, (name, policy)) in services.iter().chain([&("supervisor", Policy::default())]).enumerate() {
                let mut entry = Entry::new_zeroed();
                (entry.name, entry.kind, entry.policy) = (pack_name(name), Kind::Object as u32, *policy);
                if *name == "supervisor" {
                    entry.flags = Flags::SUPERVISOR.bits();
                }
                world.entries.push(entry);
                let info = ObjectInfo { name: pack_name(name), entry: index as u32, ..ObjectInfo::default() };
                world.objects.push(ObjectInfo { stack_used: 100 + index as u32, ..info });
                world.answers.push(true);
            }
        }
        let common = Box::leak(Box::new(Common::new_zeroed()));
        let server = Some(Server::over(common, world.clone()));
        let mut bed = Bed { world, server };
        bed.settle();
        bed
    }

    pub fn server(&mut self) -> &mut Server<Handle> {
        self.server.as_mut().expect("there is one but while it fails")
    }

    pub fn common(&mut self) -> &mut Common {
        self.server().common
    }

    /// A failure of the supervisor: what the activation changed is undone, the rest starts anew.
    pub fn rebuild(&mut self, before: Option<&[u8]>) {
        let common = self.server.take().expect("it runs").common;
        if let Some(before) = before {
            common.as_mut_bytes().copy_from_slice(before);
        }
        self.server = Some(Server::over(common, self.world.clone()));
    }

    /// Wakes it, as the kernel does: again if it fails.
    pub fn wake(&mut self) {
        self.world.0.borrow_mut().event = false;
        loop {
            let before = self.common().as_bytes().to_vec();
            let result = catch_unwind(AssertUnwindSafe(|| self.server().event(Events::FAILURE)));
            match result {
                Ok(_) => break,
                Err(_) => {
                    self.world.0.borrow_mut().fails_in = None;
                    self.rebuild(Some(&before));
                }
            }
        }
    }

    /// Wakes it until it wants nothing at once.
    pub fn settle(&mut self) {
        self.wake();
        while self.is_wanted() {
            self.wake();
        }
    }

    fn is_wanted(&self) -> bool {
        let world = self.world.0.borrow();
        world.event || world.deadline.is_some_and(|at| at <= world.now)
    }

    /// Lets time pass, and wakes it whenever it asked for that.
    pub fn pass(&mut self, ms: u64) {
        let end = self.world.0.borrow().now + ms * 1000;
        loop {
            let next = self.world.0.borrow().deadline.filter(|at| *at <= end);
            let Some(at) = next else { break };
            let now = self.world.0.borrow().now;
            self.world.0.borrow_mut().now = now.max(at);
            self.settle();
        }
        self.world.0.borrow_mut().now = end;
    }

    /// A failure, and what comes of it.
    pub fn fail(&mut self, object: usize, process: u32) {
        self.world.0.borrow_mut().fail(object, process);
        self.settle();
    }

    pub fn state(&self, object: usize) -> u32 {
        self.world.0.borrow().objects[object].state
    }

    pub fn orders(&self) -> Vec<(String, Control)> {
        std::mem::take(&mut self.world.0.borrow_mut().orders)
    }

    pub fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.world.0.borrow_mut().log)
    }
}

/// A new client's session.
pub fn session(number: u32) -> Session<Reader> {
    Session::for_test(number)
}
