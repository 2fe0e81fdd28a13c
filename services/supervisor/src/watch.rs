//! Looking after the services: what the supervisor does whenever it is woken.
//!
//! Each look starts from how things are (the kernel's records, its own in the common region), not from what woke it: events may
//! be lost or doubled, and a look that fails is undone and made again. Orders cannot be undone. So they are noted by the look that
//! decides on them, and given by the next one, which decides nothing: were it to fail, it would give the same ones again,
//! which does no harm; and no look ever judges by what it did itself before it failed. What clients order is given at once.

use rt::abi::call::name_str;
use rt::abi::image::MAX_ENTRIES;
use rt::abi::info::{FailureInfo, ObjectInfo, ObjectState};
use rt::abi::{Control, FailureKind};
use supervisor::{LogEntry, Standing, Verdict};

use crate::judge::{Client, Judgement};
use crate::lines::{self, Line, line};
use crate::record::REBOOT;
use crate::server::Server;
use crate::system::System;

/// Failures that the kernel remembers.
const RING: u32 = 32;
/// Failures judged in one look, lest it take too long to tell of them; the rest is for the next one, which follows at once.
const FAILURES_A_LOOK: u32 = 2;
/// Times that a failure is asked for again because newer ones came in between.
const PATIENCE: u32 = 8;
/// The end of a call chain.
const END: u8 = 0xff;
/// The longest call chain.
const MAX_CHAIN: usize = 8;
/// The first domain that is a process.
const FIRST_PROCESS: u8 = 64;

/// Microseconds in a tick.
const TICK: u64 = 1000;
/// Microseconds between two looks at a service that was started and does not run yet: so its run is seen to begin.
const STARTING: u64 = 2 * TICK;

impl<S: System> Server<S> {
    /// Gives the orders that the look before decided on; if there are none, reads failures and judges them, ends back-offs that
    /// are over, decides on self-tests that are due.
    pub fn look(&mut self) {
        if self.has_orders() {
            self.give_orders();
            return self.look_again();
        }
        let mut left = FAILURES_A_LOOK;
        while left > 0 {
            let Some((info, missed)) = self.next_failure() else { break };
            self.failed(&info, missed);
            self.common.seen = info.number;
            left -= 1;
        }
        let now = self.system.now();
        let mut next = 0;
        while let Some(info) = self.system.object(next) {
            if (info.entry as usize) < MAX_ENTRIES && !self.manifests[info.entry as usize].own {
                self.attend(info.entry as usize, &info, now);
            }
            next += 1;
        }
        let omitted = if self.common.window.ends().is_some() { self.common.window.end(now) } else { 0 };
        self.say_omitted(omitted);
        if left == 0 { self.look_again() } else { self.arm() }
    }

    /// Whether orders are to be given.
    fn has_orders(&self) -> bool {
        self.common.records.iter().any(|record| record.order != 0)
    }

    /// Gives them.
    pub(crate) fn give_orders(&mut self) {
        for index in 0..MAX_ENTRIES {
            let order = self.common.records[index].order;
            if order == 0 {
                continue;
            }
            self.common.records[index].order = 0;
            let name = self.manifests[index].name;
            match Control::from_number(order - 1) {
                None => self.system.reboot(),
                Some(what) => {
                    if let Err(error) = self.system.control(name_str(&name), what) {
                        self.say([line(format_args!("{what:?} of {}: {error}", name_str(&name)))]);
                    }
                }
            }
        }
    }

    /// The earliest failure that was not read yet, and how many before it the kernel has forgotten.
    fn next_failure(&mut self) -> Option<(FailureInfo, u32)> {
        let seen = self.common.seen;
        let mut found = None;
        for _ in 0..PATIENCE {
            let latest = self.system.failure(0)?.number;
            if latest <= seen {
                return None;
            }
            // As far back as the kernel remembers.
            let wanted = latest - seen - 1;
            let mut back = wanted.min(RING - 1);
            found = self.system.failure(back);
            while found.is_none() && back > 0 {
                back -= 1;
                found = self.system.failure(back);
            }
            // If newer ones came between the two questions, this is not the one that was meant.
            if found.is_some_and(|info| info.number == seen + 1) || back < wanted {
                break;
            }
        }
        found.filter(|info| info.number > seen).map(|info| (info, info.number - seen - 1))
    }

    /// Enters a failure into the log, says so, and judges it.
    fn failed(&mut self, info: &FailureInfo, missed: u32) {
        if missed > 0 {
            self.say([line(format_args!("{missed} failures before {} were overwritten unread", info.number))]);
        }
        let index = self.find(&info.object);
        let mut names = [[0; 16]; MAX_CHAIN];
        let mut length = 0;
        let mut last = END;
        for domain in info.chain.into_iter().take_while(|domain| *domain != END) {
            // A kernel thread is in its own object: that is one place.
            if domain != last {
                names[length] = self.name_of(domain, info.process);
                length += 1;
            }
            last = domain;
        }
        self.say([lines::failure(info), lines::registers(info, names[..length].iter().map(name_str))]);
        let stack_used = index.and_then(|index| self.object(index)).map_or(0, |object| object.stack_used);
        let verdict = match index {
            Some(index) if !self.manifests[index].own => {
                let record = &mut self.common.records[index];
                let run = match record.starting {
                    1 => 0,
                    _ => run(record.start, info.tick).or(run(record.before, info.tick)).unwrap_or(0),
                };
                (record.before, record.start) = (record.start, info.tick);
                self.judge(index, run, Client::of(info.process, info.session), false)
            }
            _ => Verdict::Unjudged,
        };
        self.common.push(LogEntry {
            object: info.object,
            number: info.number,
            missed,
            kind: info.kind,
            verdict: verdict as u32,
            tick: info.tick,
            pc: info.pc,
            method: info.method,
            session: info.session,
            process: info.process,
            stack_used,
            ..LogEntry::default()
        });
    }

    /// The name of a domain. A process that has ended since, and whose slot has another one now, has none.
    fn name_of(&mut self, domain: u8, process: u32) -> [u8; 16] {
        match domain.checked_sub(FIRST_PROCESS) {
            None => self.manifests[usize::from(domain)].name,
            Some(slot) => {
                let info = self.system.process(slot.into());
                info.filter(|info| info.process == process)
                    .map_or(*b"?\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", |info| info.name)
            }
        }
    }

    /// Judges a failure after a run of so many ticks, and does what follows from it. A service that is `hung` has not been
    /// rebuilt yet.
    fn judge(&mut self, index: usize, run: u32, client: Option<Client>, hung: bool) -> Verdict {
        if !matches!(self.common.records[index].standing(), Standing::Watched | Standing::Held) {
            return Verdict::Unjudged;
        }
        let policy = self.policy(index);
        let judgement = self.common.records[index].row.judge(&policy, run, client);
        let runs = self.common.records[index].row.short_runs;
        let name = self.manifests[index].name;
        let name = name_str(&name);
        match judgement {
            Judgement::Hold(ticks) => {
                let until = self.system.now() + u64::from(ticks) * TICK;
                self.hold(index, until);
                self.say([line(format_args!("{name} is held for {ticks} ms: {runs} short runs in a row"))]);
                Verdict::Held
            }
            Judgement::GiveUp => {
                self.give_up(index, format_args!("{runs} short runs in a row"));
                Verdict::GivenUp
            }
            _ if hung => {
                self.order(index, Control::Restart);
                Verdict::Restarted
            }
            Judgement::Transient => Verdict::Transient,
            Judgement::Client => Verdict::Client,
            Judgement::ShortRun => Verdict::ShortRun,
        }
    }

    /// Looks after one service.
    fn attend(&mut self, index: usize, info: &ObjectInfo, now: u64) {
        let record = &mut self.common.records[index];
        let running = info.state == ObjectState::Running as u32;
        if running && run(record.start, info.since).is_some_and(|later| later > 0) {
            (record.before, record.start) = (record.start, info.since);
        }
        if running && record.starting != 0 {
            record.starting = 0;
        }
        match record.standing() {
            Standing::Held if now >= record.held_until => self.start_again(index, "again"),
            Standing::Watched if info.state == ObjectState::Held as u32 => {
                // Not by this supervisor, as far as it remembers: as long as it would hold it at most.
                let until = now + u64::from(self.policy(index).backoff_cap) * TICK;
                self.hold(index, until);
            }
            Standing::Watched if info.state == ObjectState::Stopped as u32 => {
                self.give_up(index, format_args!("the kernel cannot build it"));
            }
            Standing::Watched if running => self.probe(index, info, now),
            // While it is being rebuilt it cannot answer.
            Standing::Watched if record.next_probe != 0 && record.next_probe <= now => {
                record.next_probe = now + STARTING
            }
            _ => {}
        }
    }

    /// Asks for a self-test if one is due.
    fn probe(&mut self, index: usize, info: &ObjectInfo, now: u64) {
        let policy = self.policy(index);
        let record = &mut self.common.records[index];
        if policy.heartbeat == 0 {
            if record.next_probe != 0 {
                record.next_probe = 0;
            }
            return;
        }
        let period = u64::from(policy.heartbeat) * TICK;
        // A time further off than a period comes from another policy.
        let pending = record.next_probe != 0 && record.next_probe <= now + period;
        if pending && now < record.next_probe {
            return;
        }
        record.next_probe = now + period;
        if !pending {
            record.unanswered = 0;
            return;
        }
        if info.probed == 0 {
            (record.alive, record.unanswered) = (((now / TICK) as u32).max(1), 0);
        } else {
            record.unanswered += 1;
        }
        if record.unanswered < policy.misses.max(1) {
            return self.order(index, Control::Probe);
        }
        let (tests, tick) = (record.unanswered, (now / TICK) as u32);
        // It lived for as long as it answered.
        let lived = if record.alive == 0 { 0 } else { run(record.start, record.alive).unwrap_or(0) };
        (record.unanswered, record.alive) = (0, 0);
        let name = self.manifests[index].name;
        self.say([line(format_args!("{} did not answer {tests} self-tests", name_str(&name)))]);
        let verdict = self.judge(index, lived, None, true);
        self.common.push(LogEntry {
            object: name,
            kind: FailureKind::SelfTest as u32,
            verdict: verdict as u32,
            tick,
            session: u32::MAX,
            stack_used: info.stack_used,
            ..LogEntry::default()
        });
    }

    /// Holds a service until then.
    fn hold(&mut self, index: usize, until: u64) {
        let record = &mut self.common.records[index];
        (record.standing, record.starting) = (Standing::Held as u32, 0);
        (record.held_until, record.next_probe) = (until, 0);
        self.order(index, Control::Hold);
    }

    /// Gives a service up, so that it can be seen.
    fn give_up(&mut self, index: usize, why: core::fmt::Arguments<'_>) {
        let reboot = self.policy(index).give_up == 1;
        let record = &mut self.common.records[index];
        (record.standing, record.starting) = (Standing::GivenUp as u32, 0);
        (record.held_until, record.next_probe) = (0, 0);
        let name = self.manifests[index].name;
        let what = if reboot { "the board starts anew" } else { "it is stopped" };
        // Never left out: nobody else would say it.
        self.system.log(line(format_args!("{} is given up: {why}; {what}", name_str(&name))).as_str());
        self.order(index, Control::Stop);
        if reboot {
            self.common.records[index].order = REBOOT;
        }
    }

    /// Starts a service that was held or stopped, and then those that depend on it anew.
    pub(crate) fn start_again(&mut self, index: usize, how: &str) {
        let record = &mut self.common.records[index];
        (record.standing, record.starting) = (Standing::Watched as u32, 1);
        (record.held_until, record.next_probe) = (0, 0);
        let name = self.manifests[index].name;
        self.say([line(format_args!("{} starts {how}", name_str(&name)))]);
        self.order(index, Control::Start);
        let mut dependants = self.manifests[index].dependants;
        while dependants != 0 {
            let dependant = dependants.trailing_zeros() as usize;
            dependants &= dependants - 1;
            // One that is held or stopped has its own time to start.
            let runs = self.object(dependant).is_some_and(|info| info.state == ObjectState::Running as u32);
            let watched = self.common.records[dependant].standing() == Standing::Watched;
            if runs && watched && !self.manifests[dependant].own {
                let depends = self.manifests[dependant].name;
                self.order(dependant, Control::Restart);
                let depends = name_str(&depends);
                self.say([line(format_args!("{depends} is restarted: it depends on {}", name_str(&name)))]);
            }
        }
    }

    /// Notes an order, which replaces one noted before; a self-test replaces none.
    pub(crate) fn order(&mut self, index: usize, what: Control) {
        let record = &mut self.common.records[index];
        if what != Control::Probe || record.order == 0 {
            record.order = 1 + what as u32;
        }
    }

    /// Says something, unless too much was said within this second.
    pub(crate) fn say<const N: usize>(&mut self, text: [Line; N]) {
        let now = self.system.now();
        let (admitted, omitted) = self.common.window.admit(now, N as u32);
        self.say_omitted(omitted);
        if admitted {
            text.iter().for_each(|line| self.system.log(line.as_str()));
        }
    }

    fn say_omitted(&mut self, omitted: u32) {
        if omitted > 0 {
            self.system.log(line(format_args!("{omitted} lines were left out: too many within a second")).as_str());
        }
    }

    /// Asks to be woken at once.
    pub(crate) fn look_again(&mut self) {
        self.system.deadline(Some(1));
    }

    /// Asks to be woken when there is something to do next.
    pub(crate) fn arm(&mut self) {
        if self.has_orders() {
            return self.look_again();
        }
        let now = self.system.now();
        let services = self.common.records.iter().flat_map(|record| {
            let held = (record.standing() == Standing::Held).then_some(record.held_until);
            let probe = (record.next_probe != 0).then_some(record.next_probe);
            let starting = (record.starting != 0).then_some(now + STARTING);
            [held, probe, starting]
        });
        let next = services.chain([self.common.window.ends()]).flatten().min();
        self.system.deadline(next);
    }
}

/// Ticks from `start` to `end`; `None` if that was before.
fn run(start: u32, end: u32) -> Option<u32> {
    let ticks = end.wrapping_sub(start);
    (ticks as i32 >= 0).then_some(ticks)
}
