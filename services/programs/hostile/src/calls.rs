//! Roles that make kernel calls by hand.

use rt::abi::KernelCall;
use rt::abi::call::{name_words, pack_name};
use rt::abi::image::Rights;
use rt::{Error, sys};
use victim::VictimClient;
use victim::harm::{self, Probe, raw_call};

use crate::{Checked, Line, ensure};

/// Lines of this file begin here.
const FILE: u32 = 2000;

/// A call with r0-r5; returns r0 and r1.
fn call(number: u32, arguments: &[u32]) -> (u32, u32) {
    let mut registers = [0; 13];
    registers[..arguments.len()].copy_from_slice(arguments);
    registers[7] = number;
    raw_call(&mut registers);
    (registers[0], registers[1])
}

/// Is refused, with the right that is missing.
pub fn without_right() -> Checked {
    const RIGHTS: [(KernelCall, Rights); 8] = [
        (KernelCall::WaitEvents, Rights::PAUSE),
        (KernelCall::Time, Rights::TIME),
        (KernelCall::Info, Rights::INFO),
        (KernelCall::Sabotage, Rights::SABOTAGE),
        (KernelCall::Shutdown, Rights::SHUTDOWN),
        (KernelCall::Log, Rights::LOG),
        (KernelCall::Deadline, Rights::DEADLINE),
        (KernelCall::Control, Rights::CONTROL),
    ];
    for (number, right) in RIGHTS {
        let refused = (Error::NotPermitted as u32, right.bits().trailing_zeros());
        ensure!(call(number as u32, &[1; 6]) == refused);
    }
    // Those that make sense in a service only, and those that nothing has.
    ensure!(call(KernelCall::WaitEvents as u32, &[0, 0]).0 == Error::BadArgument as u32);
    for number in [
        KernelCall::Return,
        KernelCall::ReturnFlush,
        KernelCall::CopyIn,
        KernelCall::CopyOut,
        KernelCall::Notify,
        KernelCall::Acknowledge,
    ] {
        ensure!(call(number as u32, &[0; 6]).0 == Error::NoSuchCall as u32);
        ensure!(call(number as u32 | 0x5a5a_5a00, &[u32::MAX; 6]).0 == Error::NoSuchCall as u32);
    }
    for number in (KernelCall::Control as u32 + 1..=0xff).chain([0xffff_ffff, 0x0300_00ff]) {
        ensure!(call(number, &[0; 6]).0 == Error::NoSuchCall as u32);
    }
    // Services that its manifest does not name, and what is none.
    for (name, error) in [
        ("mayfly", Error::NotPermitted),
        ("hostile", Error::NotFound),
        ("no-such-service", Error::NotFound),
        ("", Error::NotFound),
    ] {
        ensure!(call(KernelCall::Bind as u32, &name_words(&pack_name(name))).0 == error as u32);
    }
    ensure!(call(KernelCall::Bind as u32, &[u32::MAX; 6]).0 == Error::NotFound as u32);
    // What has no effect in user mode.
    for (number, _) in victim::case::IGNORED.iter().enumerate() {
        ensure!(harm::probe(Probe::Ignored, number as u32, 0) & 0x9f == 0x10);
    }
    ensure!(harm::probe(Probe::BigEndian, 0, 0) == 0);
    ensure!(harm::probe(Probe::Semihosting, 0, 0) == 0);
    ensure!(harm::probe(Probe::Thumb, 0, 0) == 0);
    for stack in [0, 3, victim::case::KERNEL_DATA, u32::MAX] {
        ensure!(harm::probe(Probe::WildStack, stack, 0) == 0);
    }
    Ok(())
}

/// Every handle but its own is refused.
pub fn handles(other: u32) -> Checked {
    let Ok(own) = VictimClient::bind() else { return Err(Line(FILE + line!())) };
    ensure!(own.add(1).is_ok());
    let handle = own.handle();
    let bad = |error: u32| error == Error::BadHandle as u32 || error == Error::StaleHandle as u32;
    for probe in [Probe::CallHandle, Probe::Unbind] {
        // Forged: every index of the pool and beyond, with likely generations.
        for index in (0..8192 + 64).chain([0x7fff_ffff, 0x8000_0000, u32::MAX]) {
            for generation in [0, 1, 2] {
                let own = index == handle.index && generation == handle.generation;
                ensure!(own || bad(harm::probe(probe, index, generation)));
            }
        }
        // Another client's, by its index: every generation it can have had.
        for generation in 0..2000 {
            ensure!(bad(harm::probe(probe, other, generation)));
        }
        ensure!(bad(harm::probe(probe, handle.index, handle.generation + 1)));
        ensure!(bad(harm::probe(probe, handle.index, handle.generation ^ 1 << 31)));
        ensure!(bad(harm::probe(probe, handle.index, 0)));
        ensure!(bad(harm::probe(probe, handle.index | 1 << 13, handle.generation)));
        ensure!(bad(harm::probe(probe, handle.index | 1 << 25, handle.generation)));
    }
    ensure!(own.add(1).is_ok_and(|(sum, _)| sum == 2));
    // Stale: closed, and closed with the slot in use again.
    ensure!(own.unbind().is_ok());
    let stale = Error::StaleHandle as u32;
    ensure!(harm::probe(Probe::CallHandle, handle.index, handle.generation) == stale);
    ensure!(harm::probe(Probe::Unbind, handle.index, handle.generation) == stale);
    let Ok(again) = VictimClient::bind() else { return Err(Line(FILE + line!())) };
    ensure!(again.handle().index == handle.index && again.handle().generation != handle.generation);
    ensure!(harm::probe(Probe::CallHandle, handle.index, handle.generation) == stale);
    ensure!(harm::probe(Probe::Unbind, handle.index, handle.generation) == stale);
    // Methods that the service does not have.
    for method in [victim::METHODS, victim::METHODS + 1, 63, 64, 255, 0xffff] {
        let mut registers = [0; 13];
        (registers[7], registers[8], registers[9]) = (method << 8, again.handle().index, again.handle().generation);
        raw_call(&mut registers);
        ensure!(registers[0] == Error::BadMethod as u32);
    }
    // Bits of the call word that mean nothing.
    for bit in 26..32 {
        let mut registers = [0; 13];
        (registers[7], registers[8], registers[9]) = (1 << bit, again.handle().index, again.handle().generation);
        raw_call(&mut registers);
        ensure!(registers[0] == Error::BadMethod as u32);
    }
    ensure!(again.add(5).is_ok_and(|(sum, _)| sum == 5));
    Ok(())
}

/// Processes that are not its children are out of its reach.
pub fn processes(other: u32) -> Checked {
    for name in ["hostile", "suite"] {
        ensure!(sys::spawn(name, 0) == Err(Error::NotPermitted));
    }
    ensure!(sys::spawn("victim", 0) == Err(Error::NotFound));
    ensure!(sys::spawn("no-such-program", 0) == Err(Error::NotFound));
    for process in [other, 0, u32::MAX, 63, 64, 127, 128, 255] {
        ensure!(sys::wait(process) == Err(Error::NoSuchProcess));
        ensure!(sys::kill(process) == Err(Error::NoSuchProcess));
    }
    for number in 0..0x4000 {
        ensure!(sys::kill(number) == Err(Error::NoSuchProcess));
    }
    Ok(())
}

/// Registers keep what the interface says they keep, and none carries an address of the kernel.
pub fn registers() -> Checked {
    let Ok(victim) = VictimClient::bind() else { return Err(Line(FILE + line!())) };
    let handle = victim.handle();
    let add = [1, 0, 0, 0, 0, 0x55, 0x66, 0, handle.index, handle.generation, 0xaa, 0xbb, 0xcc];
    let attack = |until| {
        let method = 3 << 8;
        [
            victim::Attack::Panic as u32,
            0,
            until,
            0,
            0,
            0x55,
            0x66,
            method,
            handle.index,
            handle.generation,
            0xaa,
            0xbb,
            0xcc,
        ]
    };
    let null = [1, 2, 3, 4, 5, 6, 7, KernelCall::Null as u32, 9, 10, 11, 12, 13];
    let [b0, b1, b2, b3] = name_words(&pack_name("victim"));
    let bind = [b0, b1, b2, b3, 0, 0x55, 0x66, KernelCall::Bind as u32, 9, 10, 0xaa, 0xbb, 0xcc];
    let wrong = [1, 2, 3, 4, 5, 6, 7, 99, 9, 10, 11, 12, 13];
    for before in [add, add, attack(0), attack(u32::MAX), add, null, bind, wrong] {
        let mut after = before;
        raw_call(&mut after);
        // r6, r7, r10, r11 are the caller's; the others may change, but tell nothing of the kernel.
        ensure!([6, 7, 10, 11].iter().all(|register| before[*register] == after[*register]));
        let kernel = |value: u32| (victim::case::RAM.0..victim::case::RAM.1).contains(&value);
        ensure!(!after.iter().any(|value| kernel(*value)));
        let results = before[7] == bind[7];
        if results {
            ensure!(harm::probe(Probe::Unbind, after[1], after[2]) == 0);
        }
    }
    // What a client leaves in the thread register, its service does not see, nor the reverse.
    for secret in [0x1234_5678, 0x8765_4321] {
        harm::probe(Probe::ThreadRegister, secret, 0);
        ensure!(victim.probe(Probe::ThreadRegister, !secret, 0) == Ok(0));
        ensure!(harm::probe(Probe::ThreadRegister, 0, 0) != !secret);
    }
    Ok(())
}
