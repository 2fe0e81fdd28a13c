//! Experiments by forking: the parent follows the golden run, each child carries out one experiment.

use std::ffi::{c_int, c_uint, c_void};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use experiment::{Action, End, Injection, Job, Observation, Planned};

use crate::emulator::{
    Block, Internals, NO_REGISTERS, qemu_plugin_insn_haddr, qemu_plugin_insn_vaddr,
    qemu_plugin_register_vcpu_insn_exec_cb, qemu_plugin_register_vcpu_tb_exec_cb, qemu_plugin_tb_get_insn,
    qemu_plugin_tb_n_insns,
};
use crate::guest::{Memory, share_with_children};
use crate::{BEGIN, END as END_MARK, Options, fail, the};

/// Number of CPSR in GDB's order.
const CPSR: c_int = 25;
/// How long a child may go on without a tick of the guest before it counts as hung.
const STANDSTILL: Duration = Duration::from_secs(20);
/// Pause between two looks whether the guest sleeps.
const NAP: Duration = Duration::from_micros(20);
/// The same while it has been busy for a while.
const LONG_NAP: Duration = Duration::from_micros(200);
/// Status of a child that has left its observation.
const GOOD: c_int = 0;

/// What a callback knows of the block that is about to be executed.
struct Known {
    /// Virtual address.
    address: u32,
    /// Physical address.
    physical: u32,
    /// Instructions of the target in it.
    targets: u64,
    /// Whether its first instruction is one.
    begins: bool,
    /// Whether it is an exception vector.
    vector: bool,
    /// Whether the kernel records a failure there.
    records: bool,
}

/// How far a child's experiment has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// On the way to the first point.
    First,
    /// On the way to the second point: once the kernel has recorded a failure, at this count of the target's instructions.
    Second(Option<u64>),
    /// Nothing more to inject.
    Done,
}

/// A child's experiment.
struct Child {
    number: usize,
    plan: Planned,
    progress: Progress,
    first: Injection,
    second: Option<Injection>,
    /// Word to be put back, and where (physical): the instruction in whose place another one was executed.
    borrowed: Option<(u32, u32)>,
}

/// Parent or child.
pub struct Forks {
    options: Options,
    memory: Memory,
    internals: Internals,
    job: Job,
    /// Between the marks.
    running: bool,
    /// Instructions of the target so far.
    count: u64,
    /// The next experiment.
    next: usize,
    /// Children that run, and what they do.
    children: Vec<(libc::pid_t, usize)>,
    child: Option<Child>,
    /// Ticks at the begin mark.
    began: u32,
    /// Bytes in the console's file at the begin mark.
    console: u64,
    /// The same when this child was forked.
    forked_console: usize,
}

fn within(range: (u32, u32), address: u32) -> bool {
    range.0 <= address && address < range.1
}

impl Forks {
    /// Reads the job.
    ///
    /// # Errors
    /// If it cannot be read, or the emulator lacks a function.
    pub fn new(options: Options, memory: Memory) -> Result<Forks, String> {
        let internals = Internals::find()?;
        let bytes = std::fs::read(&options.job).map_err(|error| format!("cannot read {}: {error}", options.job))?;
        let job: Job = postcard::from_bytes(&bytes).map_err(|error| format!("{}: {error}", options.job))?;
        // SAFETY: the handler is a function that lives as long as the process.
        unsafe { on_exit(Some(at_exit), std::ptr::null_mut()) };
        Ok(Forks {
            options,
            memory,
            internals,
            job,
            running: false,
            count: 0,
            next: 0,
            children: Vec::new(),
            child: None,
            began: 0,
            console: 0,
            forked_console: 0,
        })
    }

    /// Registers callbacks for a block and those of its instructions that belong to the target.
    pub fn translated(&mut self, block: *mut Block) {
        let mut known = Known { address: 0, physical: 0, targets: 0, begins: false, vector: false, records: false };
        let mut wanted = false;
        // SAFETY: the block is being translated; so for all calls below.
        let count = unsafe { qemu_plugin_tb_n_insns(block) };
        for index in 0..count {
            // SAFETY: the index is below the number of instructions.
            let (instruction, address, host) = unsafe {
                let instruction = qemu_plugin_tb_get_insn(block, index);
                (instruction, qemu_plugin_insn_vaddr(instruction) as u32, qemu_plugin_insn_haddr(instruction))
            };
            let Some(physical) = self.memory.physical(host as usize) else { continue };
            if index == 0 {
                (known.address, known.physical) = (address, physical);
                known.vector = within(self.job.vectors, physical);
                known.records = physical == self.job.recorder;
                wanted |= known.vector || known.records;
            }
            let target = self.job.target.iter().any(|range| within(*range, physical));
            if target {
                known.targets += 1;
                known.begins |= index == 0;
                wanted = true;
            }
            let mark = match self.memory.word(physical) {
                BEGIN => Some(begin as crate::emulator::Executed),
                END_MARK => Some(end as crate::emulator::Executed),
                _ => None,
            };
            // SAFETY: the callbacks have the signature that is asked for.
            unsafe {
                if let Some(mark) = mark {
                    qemu_plugin_register_vcpu_insn_exec_cb(instruction, mark, NO_REGISTERS, std::ptr::null_mut());
                }
                if target {
                    qemu_plugin_register_vcpu_insn_exec_cb(instruction, counted, NO_REGISTERS, std::ptr::null_mut());
                }
            }
        }
        if wanted {
            // The block may be executed as long as the process lives.
            let data = Box::into_raw(Box::new(known));
            // SAFETY: `plugin_at_block` hands the call on to `at_block`, with the data registered here.
            unsafe { qemu_plugin_register_vcpu_tb_exec_cb(block, plugin_at_block, NO_REGISTERS, data.cast()) };
        }
    }

    /// Before a block: forks for all experiments whose points lie in it; in a child, goes on with its experiment.
    fn at_block(&mut self, block: &Known, host_pc: usize) {
        if !self.running {
            return;
        }
        if self.child.is_none() {
            while let Some(plan) = self.job.experiments.get(self.next)
                && plan.at < self.count + block.targets
            {
                self.next += 1;
                if self.fork(self.next - 1) {
                    break;
                }
            }
        }
        if self.child.is_some() {
            self.experiment(block, host_pc);
        }
    }

    /// One step of a child's experiment.
    fn experiment(&mut self, block: &Known, host_pc: usize) {
        let internals = self.internals;
        let Some(child) = &mut self.child else { return };
        if (block.vector || block.targets > 0)
            && let Some((physical, word)) = child.borrowed.take()
        {
            internals.set_physical(physical, word);
            // What was translated of this block may hold the borrowed word.
            internals.rewind(host_pc);
            internals.leave();
        }
        let point = match child.progress {
            Progress::First => child.plan.at,
            Progress::Second(None) => {
                if block.records
                    && let Some((after, _)) = child.plan.second
                {
                    child.progress = Progress::Second(Some(self.count + after));
                }
                return;
            }
            Progress::Second(Some(point)) => point,
            Progress::Done => return,
        };
        if block.targets == 0 || point >= self.count + block.targets {
            return;
        }
        if self.count < point || !block.begins {
            self.count += u64::from(block.begins);
            internals.step(host_pc);
        }
        self.inject(block, host_pc);
    }

    /// Here and now.
    fn inject(&mut self, block: &Known, host_pc: usize) {
        let (internals, pc) = (self.internals, block.address);
        let mut registers = [0; 17];
        for (number, value) in (0..).zip(&mut registers[..15]) {
            *value = internals.register(number);
        }
        registers[15] = pc;
        registers[16] = internals.register(CPSR);
        let context: Vec<u32> = self.job.context.iter().map(|address| self.memory.word(*address)).collect();
        let Some(child) = &mut self.child else { return };
        let (action, expected) = match (child.progress, child.plan.second) {
            (Progress::Second(_), Some((_, action))) => (action, pc),
            _ => (child.plan.action, child.plan.pc),
        };
        let resolved = experiment::resolve(action, &registers, &mut |address| internals.word(address));
        let action = resolved.as_ref().copied().unwrap_or(action);
        let (mut step, look) = (false, action == Action::Look);
        let done = match resolved {
            _ if pc != expected => Err(format!("the instruction there is at {pc:#x}, not at {expected:#x}")),
            Err(why) => Err(why),
            Ok(Action::Stack { .. } | Action::Ssr { .. }) => Err("its place is not known".to_owned()),
            Ok(Action::Look) => Ok((0, 0)),
            Ok(Action::Nothing) => {
                internals.rewind(host_pc);
                Ok((0, 0))
            }
            Ok(Action::Register { register, mask }) => {
                let before = registers[usize::from(register).min(16)];
                internals.rewind(host_pc);
                let number = if register == 16 { CPSR } else { c_int::from(register) };
                internals.set_register(number, before ^ mask);
                Ok((before, internals.register(number)))
            }
            Ok(Action::Jump { pc: to }) => {
                internals.rewind(host_pc);
                internals.set_register(15, to);
                Ok((pc, internals.register(15)))
            }
            Ok(Action::Memory { address, keep, flip }) if experiment::is_physical(address) => {
                let before = self.memory.word(address);
                internals.set_physical(address, before & keep ^ flip);
                internals.rewind(host_pc);
                Ok((before, self.memory.word(address)))
            }
            Ok(Action::Memory { address, keep, flip }) => match internals.word(address) {
                Some(before) => {
                    internals.set_word(address, before & keep ^ flip);
                    internals.rewind(host_pc);
                    Ok((before, internals.word(address).unwrap_or(before)))
                }
                None => Err(format!("nothing is mapped at {address:#x}")),
            },
            Ok(Action::Patch { word } | Action::Instead { word }) => match internals.word(pc) {
                Some(before) => {
                    internals.set_word(pc, word);
                    step = matches!(action, Action::Instead { .. });
                    if !step {
                        internals.rewind(host_pc);
                    }
                    Ok((before, internals.word(pc).unwrap_or(before)))
                }
                None => Err(format!("nothing is mapped at {pc:#x}")),
            },
        };
        let failed = done.is_err();
        let injection = match done {
            Ok((before, after)) => Injection::Done { action, before, after, registers, context },
            Err(why) => Injection::Failed(why),
        };
        let second = child.progress != Progress::First;
        child.progress =
            if second || failed || child.plan.second.is_none() { Progress::Done } else { Progress::Second(None) };
        if step && let Injection::Done { before, .. } = injection {
            child.borrowed = Some((block.physical, before));
        }
        if second {
            child.second = Some(injection);
        } else {
            child.first = injection;
        }
        if failed && !second {
            self.finish(End::Broken);
        }
        if look {
            self.finish(End::Complete);
        }
        self.count += u64::from(step);
        if step {
            internals.step(host_pc);
        }
        if failed {
            return;
        }
        internals.leave();
    }

    /// Forks for an experiment. Whether this is the child.
    fn fork(&mut self, number: usize) -> bool {
        while self.children.len() >= self.job.parallel.max(1) as usize {
            self.reap();
        }
        if self.children.is_empty() && number == 0 {
            share_with_children();
        }
        // Here, not in the child: the parent writes on as soon as it is alone.
        self.forked_console = std::fs::metadata(&self.options.console).map_or(0, |file| file.len() as usize);
        // SAFETY: the emulator's lock is held, so that no other thread is in the midst of anything. The child goes on with this
        // thread alone, and with one that it starts itself.
        match self.internals.alone(|| unsafe { libc::fork() }) {
            -1 => fail(&format!("cannot fork: {}", std::io::Error::last_os_error())),
            0 => {
                self.become_child(number);
                true
            }
            child => {
                self.children.push((child, number));
                false
            }
        }
    }

    fn become_child(&mut self, number: usize) {
        self.children.clear();
        self.child = Some(Child {
            number,
            plan: self.job.experiments[number].clone(),
            progress: Progress::First,
            first: Injection::Failed("the point was not reached".into()),
            second: None,
            borrowed: None,
        });
        if let Err(error) = self.own_console(number) {
            eprintln!("plugin: {error}");
            // SAFETY: ends this child; the parent counts it as broken.
            unsafe { libc::_exit(1) };
        }
        let (internals, memory, tick) = (self.internals, self.memory, self.job.tick);
        let last = self.began.wrapping_add(self.job.limit);
        std::thread::spawn(move || watch(internals, memory, tick, last));
    }

    /// Gives a child a console file of its own in place of its parent's.
    fn own_console(&mut self, number: usize) -> std::io::Result<()> {
        let own = File::create(self.console_of(number))?;
        for entry in std::fs::read_dir("/proc/self/fd")? {
            let entry = entry?;
            let Some(descriptor) = entry.file_name().to_str().and_then(|name| name.parse::<c_int>().ok()) else {
                continue;
            };
            if std::fs::read_link(entry.path()).is_ok_and(|path| path.as_os_str() == self.options.console.as_str()) {
                // SAFETY: both are open files of this process.
                unsafe { libc::dup2(own.as_raw_fd(), descriptor) };
            }
        }
        Ok(())
    }

    fn console_of(&self, number: usize) -> String {
        format!("{}/{number}.console", self.options.out)
    }

    /// Waits for a child.
    fn reap(&mut self) {
        let mut status = 0;
        // SAFETY: waits for a child of this process.
        let ended = unsafe { libc::waitpid(-1, &mut status, 0) };
        let Some(place) = self.children.iter().position(|(child, _)| *child == ended) else { return };
        let (_, number) = self.children.swap_remove(place);
        let good = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == GOOD;
        self.say(if good { "done" } else { "broken" }, number);
    }

    /// Tells the host tool.
    fn say(&self, what: &str, number: usize) {
        let mut out = std::io::stdout().lock();
        // If nobody listens any more, there is nobody to tell that.
        let _ = writeln!(out, "{what} {number}").and_then(|()| out.flush());
    }

    /// A child's end: leaves the observation, and ends.
    fn finish(&mut self, end: End) -> ! {
        let Some(child) = self.child.take() else {
            fail("only a child's experiment comes to an end");
        };
        let ticks = self.memory.word(self.job.tick).wrapping_sub(self.began);
        let end = if end == End::Complete && ticks > self.job.limit { End::Limit } else { end };
        let mut console = self.parents_console();
        console.extend(std::fs::read(self.console_of(child.number)).unwrap_or_default());
        // One that was planned and never struck is told of.
        let missed = child.plan.second.map(|_| Injection::Failed("the point was not reached".into()));
        let observation = Observation {
            first: child.first,
            second: child.second.or(missed),
            end,
            ticks,
            console,
            memory: self.job.ranges.iter().map(|(start, bytes)| self.memory.read(*start, *bytes)).collect(),
        };
        let path = format!("{}/{}.observation", self.options.out, child.number);
        let written = postcard::to_stdvec(&observation).is_ok_and(|bytes| std::fs::write(path, bytes).is_ok());
        let _ = std::fs::remove_file(self.console_of(child.number));
        // SAFETY: ends this child without the emulator's own clearing up, which is its parent's.
        unsafe { libc::_exit(if written { GOOD } else { 1 }) }
    }

    /// What the golden run had put out between the begin mark and the fork.
    fn parents_console(&self) -> Vec<u8> {
        let bytes = std::fs::read(&self.options.console).unwrap_or_default();
        let end = self.forked_console.min(bytes.len());
        bytes[(self.console as usize).min(end)..end].to_vec()
    }

    /// The golden run has come to its end.
    fn end(&mut self) -> ! {
        if self.child.is_some() {
            self.finish(End::Complete);
        }
        while !self.children.is_empty() {
            self.reap();
        }
        (self.next..self.job.experiments.len()).for_each(|number| self.say("unreached", number));
        // SAFETY: ends the emulator; all children have ended.
        unsafe { libc::_exit(0) }
    }
}

/// In a child: does what the emulator's main loop did, and ends the child if the guest does not.
fn watch(internals: Internals, memory: Memory, tick: u32, last: u32) {
    let (mut seen, mut since, mut naps) = (memory.word(tick), Instant::now(), 0);
    loop {
        naps = if internals.pump() { 0 } else { naps + 1 };
        let now = memory.word(tick);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        // A run that goes on beyond its last tick by more than a few has hung, whatever comes of it.
        let late = now.wrapping_sub(last) as i32 > 4;
        if late || since.elapsed() > STANDSTILL {
            internals.alone(|| {
                // The processor's thread runs on, but nothing that it does counts any more: this ends the process.
                if let Some(forks) = the().forks() {
                    forks.finish(End::Limit);
                }
            });
        }
        std::thread::sleep(if naps > 8 { LONG_NAP } else { NAP });
    }
}

unsafe extern "C" fn begin(_: c_uint, _: *mut c_void) {
    if let Some(forks) = the().forks() {
        forks.running = true;
        forks.began = forks.memory.word(forks.job.tick);
        forks.console = std::fs::metadata(&forks.options.console).map_or(0, |file| file.len());
    }
}

unsafe extern "C" fn end(_: c_uint, _: *mut c_void) {
    if let Some(forks) = the().forks()
        && forks.running
    {
        forks.end();
    }
}

unsafe extern "C" fn counted(_: c_uint, _: *mut c_void) {
    if let Some(forks) = the().forks() {
        forks.count += u64::from(forks.running);
    }
}

/// The guest has ended the system, or the emulator gives up.
extern "C" fn at_exit(status: c_int, _: *mut c_void) {
    if let Some(forks) = the().forks()
        && forks.child.is_some()
    {
        forks.finish(End::Exit(status));
    }
}

unsafe extern "C" {
    /// Has `handler` called when the process exits (glibc).
    fn on_exit(handler: Option<extern "C" fn(c_int, *mut c_void)>, data: *mut c_void) -> c_int;
    /// Calls [`at_block`] with its own return address, which says where in the emulator's code the block is.
    fn plugin_at_block(processor: c_uint, data: *mut c_void);
}

#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl plugin_at_block",
    ".hidden plugin_at_block",
    "plugin_at_block:",
    "mov rdx, [rsp]",
    "jmp {at_block}",
    at_block = sym at_block,
);

#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".globl plugin_at_block",
    ".hidden plugin_at_block",
    "plugin_at_block:",
    "mov x2, x30",
    "b {at_block}",
    at_block = sym at_block,
);

extern "C-unwind" fn at_block(_: c_uint, data: *mut c_void, host_pc: usize) {
    // SAFETY: what `translated` registered, which is never freed.
    let block = unsafe { &*data.cast::<Known>() };
    if let Some(forks) = the().forks() {
        forks.at_block(block, host_pc);
    }
}
