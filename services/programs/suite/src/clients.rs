//! Hostile clients: what they try ends with an error or with their own end, and reaches nobody else.

use hostile::Role;
use rt::abi::info::{FailureInfo, MemoryInfo, ObjectInfo, Topic};
use rt::abi::{FailureKind, KernelCall};
use rt::{Error, sys};
use victim::VictimClient;
use victim::case::{self, Case, Who};
use victim::harm::raw_call;

use crate::check::{Check, Suite, Why, ensure, equal, fail, get};
use crate::world::{Before, Witness, own_process, process, wait_until};

/// Status of a process that was killed.
pub const KILLED: u32 = 128;

/// Runs the tests.
pub fn run(suite: &mut Suite) {
    for (number, case) in case::all().enumerate().filter(|(_, case)| case.who == Who::Both) {
        suite.run(format_args!("client: {case}"), || ended(number as u32, &case));
    }
    suite.run("client: lent ranges", || without_fault(Role::Ranges, 0));
    suite.run("client: forged, stale and foreign handles", foreign_handles);
    suite.run("client: kernel calls without the right", || without_fault(Role::Calls, 0));
    suite.run("client: foreign processes", || without_fault(Role::Processes, own_process()?));
    suite.run("client: quota of sessions", || without_fault(Role::Quota, 0));
    suite.run("client: registers over kernel calls", || checked(Role::Registers, 0));
    suite.run("client: one that keeps crashing a service loses its sessions with it", blamed);
    suite.run("client: wild buffers of Info and Log", wild_buffers);
    suite.run("client: names of every length and content", wild_names);
    suite.run("client: processes that are not there", wild_processes);
    for seed in 1..=4 {
        suite.run(format_args!("client: calls at random, seed {seed}"), || random(&[seed]));
    }
    suite.run("client: calls at random, four at once", || random(&[11, 12, 13, 14]));
}

/// Starts a hostile client.
pub fn spawn(role: Role, parameter: u32) -> Result<u32, Why> {
    Ok(get!(sys::spawn("hostile", role.with(parameter)), "spawn"))
}

/// Runs a hostile client to its end, which must be a good one.
pub fn checked(role: Role, parameter: u32) -> Check {
    let child = spawn(role, parameter)?;
    expect_good(child, role)
}

/// Waits for a client that must end well.
pub fn expect_good(child: u32, role: Role) -> Check {
    match get!(sys::wait(child), "wait") {
        0 => Ok(()),
        status if (KILLED..KILLED + 16).contains(&status) => {
            fail!("{role:?} was ended: {:?}", FailureKind::from_number(status - KILLED))
        }
        status => fail!("{role:?}: the check in line {} of its file {} failed", status % 1000, status / 1000),
    }
}

/// Kills a client and waits for it.
pub fn kill(child: u32) -> Check {
    get!(sys::kill(child), "kill");
    equal!(sys::wait(child), Ok(KILLED), "status of a killed client");
    Ok(())
}

/// As [`checked`], and no service fails meanwhile.
fn without_fault(role: Role, parameter: u32) -> Check {
    let mut witness = Witness::new()?;
    let names = ["victim", "vault", "tally", "bare"];
    let before = names.map(Before::of);
    checked(role, parameter)?;
    for (before, name) in before.iter().zip(names) {
        get!(before.as_ref(), "record of {name}").untouched(name)?;
    }
    witness.intact()
}

fn ended(number: u32, case: &Case) -> Check {
    let mut witness = Witness::new()?;
    let before = Before::of("victim")?;
    let child = spawn(Role::Case, number)?;
    equal!(sys::wait(child), Ok(KILLED + case.kind as u32), "status of the client");
    equal!(sys::wait(child), Err(Error::NoSuchProcess), "waiting for it again");
    before.untouched("victim")?;
    witness.intact()
}

fn foreign_handles() -> Check {
    let own = get!(VictimClient::bind(), "bind");
    get!(own.add(9), "add");
    without_fault(Role::Handles, own.handle().index)?;
    equal!(
        own.state().map(|state| (state.0, state.1)),
        Ok((9, 1)),
        "sum and requests of the session that was aimed at"
    );
    Ok(())
}

fn blamed() -> Check {
    let mut witness = Witness::new()?;
    let own = get!(VictimClient::bind_to("lazy"), "bind");
    get!(own.add(9), "add");
    checked(Role::Crasher, 0)?;
    equal!(own.add(1).map(|sums| sums.0), Ok(10), "sum of an innocent session");
    ensure!(VictimClient::bind_to("lazy").is_ok(), "bind");
    witness.intact()
}

/// A kernel call by hand; returns r0 and r1.
pub fn call(number: KernelCall, arguments: &[u32]) -> (u32, u32) {
    let mut registers = [0; 13];
    registers[..arguments.len()].copy_from_slice(arguments);
    registers[7] = number as u32;
    raw_call(&mut registers);
    (registers[0], registers[1])
}

/// The suite has these rights; the buffers are wild.
fn wild_buffers() -> Check {
    let mut witness = Witness::new()?;
    let (range, argument, none) = (Error::BadRange as u32, Error::BadArgument as u32, Error::NotFound as u32);
    let places = case::PLACES.iter().chain(&[("own text", rt::abi::layout::IMAGE_BASE)]);
    let readable = |address: u32| address == rt::abi::layout::IMAGE_BASE;
    // Places that are beyond a program with the heap of a hostile client lie in the suite's larger one.
    let own = |address: u32| {
        address == rt::abi::layout::HEAP_BASE + victim::HEAP
            || address == rt::abi::layout::STACK_TOP - victim::STACK - 0x9000
    };
    for &(name, address) in places.filter(|(_, address)| !own(*address)) {
        for topic in [Topic::Object, Topic::Process, Topic::Memory] {
            equal!(call(KernelCall::Info, &[topic as u32, 0, address, 256]).0, range, "code of {topic:?} to {name}");
        }
        if !readable(address) {
            equal!(call(KernelCall::Log, &[address, 16]).0, range, "code of Log from {name}");
            equal!(call(KernelCall::Log, &[address, u32::MAX]).0, range, "code of a long Log from {name}");
        }
    }
    let mut buffer = [0x77u8; 256];
    let at = buffer.as_mut_ptr().expose_provenance() as u32;
    for length in 0..size_of::<ObjectInfo>() as u32 {
        equal!(
            call(KernelCall::Info, &[Topic::Object as u32, 0, at, length]).0,
            argument,
            "code of Info with {length} bytes"
        );
    }
    for length in [size_of::<MemoryInfo>() as u32, 0x8000_0000, u32::MAX] {
        let result = call(KernelCall::Info, &[Topic::Memory as u32, 0, at, length]);
        equal!(result, (0, size_of::<MemoryInfo>() as u32), "result of Info with {length} bytes");
    }
    for topic in [6, 7, 0xff, u32::MAX] {
        equal!(call(KernelCall::Info, &[topic, 0, at, 256]).0, none, "code of topic {topic}");
    }
    for topic in [Topic::Object, Topic::Process, Topic::Memory, Topic::Failure, Topic::Entry, Topic::Trace] {
        for index in [256, 1 << 16, 1 << 31, u32::MAX] {
            equal!(call(KernelCall::Info, &[topic as u32, index, at, 256]).0, none, "code of {topic:?} {index}");
        }
    }
    ensure!(
        size_of::<FailureInfo>() <= buffer.len() && core::hint::black_box(&buffer)[255] == 0x77,
        "written too much"
    );
    // No text: a byte that UTF-8 does not have.
    buffer.fill(0xff);
    equal!(call(KernelCall::Log, &[at, 16]).0, range, "code of Log with no text");
    equal!(call(KernelCall::Log, &[u32::MAX - 7, 16]).0, range, "code of Log round the end of the address space");
    witness.intact()
}

fn wild_names() -> Check {
    for call_number in [KernelCall::Bind, KernelCall::Spawn, KernelCall::Sabotage] {
        for words in [[0; 4], [u32::MAX; 4], [0x0101_0101; 4], [0x7463_6976, 0, 0, 0x6d69], [1 << 31, 0, 0, 0]] {
            let mut arguments = [0; 6];
            arguments[..4].copy_from_slice(&words);
            arguments[4] = 1;
            equal!(call(call_number, &arguments).0, Error::NotFound as u32, "code of {call_number:?} with {words:x?}");
        }
    }
    Ok(())
}

fn wild_processes() -> Check {
    let own = own_process()?;
    for number in [own, 0, 1, 63, 64, 127, 128, 255, 256, u32::MAX, own + 1, own + 256, own ^ 1 << 31] {
        equal!(sys::wait(number), Err(Error::NoSuchProcess), "wait for {number}");
        equal!(sys::kill(number), Err(Error::NoSuchProcess), "kill {number}");
    }
    // A number is not used again for another process in the same slot.
    let first = spawn(Role::Guest, 5)?;
    equal!(sys::wait(first), Ok(5), "status");
    let second = spawn(Role::Guest, 6)?;
    ensure!(first != second, "the number {first} was used twice");
    equal!(sys::kill(first), Err(Error::NoSuchProcess), "kill by the old number");
    equal!(sys::wait(second), Ok(6), "status");
    Ok(())
}

/// Whatever comes of it, it ends, and the witness saw nothing.
fn random(seeds: &[u32]) -> Check {
    let mut witness = Witness::new()?;
    let mut children = [0; 4];
    for (child, seed) in children.iter_mut().zip(seeds) {
        *child = spawn(Role::Random, *seed)?;
    }
    for _ in 0..8 {
        get!(sys::pause(3), "pause");
        witness.intact()?;
    }
    for child in &children[..seeds.len()] {
        expect_good(*child, Role::Random)?;
    }
    wait_until("services that run", || {
        ["victim", "vault", "tally", "bare"]
            .into_iter()
            .all(|name| crate::world::object(name).is_ok_and(|info| info.state == 0))
    })?;
    ensure!(process(children[0]).state == 0, "the first client is still there");
    witness.intact()
}
