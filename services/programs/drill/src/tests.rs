//! The tests.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use block::{BlockClient, BlockError, DiskFlags, Info, MAX_TRANSFER, SECTOR};
use rt::abi::failure::{Moment, SabotageKind};
use rt::abi::info::ObjectInfo;
use rt::abi::{Sabotage, call};
use rt::{CallError, sys};

type Check = Result<(), String>;

/// What the argument says of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// A device that can be written.
    Disk,
    /// No device: some memory.
    Memory,
    /// A device that cannot be written.
    ReadOnly,
    /// A device that takes longer than the driver has patience.
    Stalls,
}

fn need(condition: bool, why: &str) -> Check {
    if condition { Ok(()) } else { Err(why.into()) }
}

fn done<T, E: core::fmt::Debug>(result: Result<T, E>, what: &str) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error:?}"))
}

fn refused<T: core::fmt::Debug>(result: Result<T, CallError<BlockError>>, error: BlockError) -> Check {
    match result {
        Err(CallError::Service(found)) if found == error => Ok(()),
        other => Err(format!("{other:?} instead of {error:?}")),
    }
}

/// Runs the tests for this disk.
pub fn run(argument: u32) -> u32 {
    let expect = match argument {
        0 => Expect::Disk,
        1 => Expect::Memory,
        2 => Expect::ReadOnly,
        _ => Expect::Stalls,
    };
    let mut failed = 0;
    let mut test = |name: &str, check: &dyn Fn() -> Check| {
        let result = check();
        failed += u32::from(result.is_err());
        let _ = sys::log(&match result {
            Ok(()) => format!("test block: {name} ... ok"),
            Err(why) => format!("test block: {name} ... FAILED: {why}"),
        });
    };
    test("the disk is the one that is there", &|| the_disk(expect));
    match expect {
        Expect::Stalls => test("a device that stalls is reset, and does no harm", &stalls),
        Expect::ReadOnly => {
            test("a read-only disk is read and not written", &read_only);
            test("what makes no sense is refused", &refusals);
        }
        Expect::Disk | Expect::Memory => {
            test("what is written is read", &round_trip);
            test("what makes no sense is refused", &refusals);
            test("failures of every kind and at every moment lose and double nothing", &failures);
            test("sessions do not see each other's requests", &sessions);
        }
    }
    let _ = sys::log("drill complete");
    let _ = sys::shutdown(u8::from(failed > 0));
    2
}

fn bind() -> Result<(BlockClient, Info), String> {
    let client = done(BlockClient::bind(), "bind")?;
    let info = done(client.info(), "info")?;
    Ok((client, info))
}

fn the_disk(expect: Expect) -> Check {
    let (_, info) = bind()?;
    let expected = match expect {
        Expect::Memory => DiskFlags::VOLATILE,
        Expect::ReadOnly => DiskFlags::READ_ONLY | DiskFlags::CACHED,
        Expect::Disk | Expect::Stalls => DiskFlags::CACHED,
    };
    need(info.flags == expected && info.sectors >= 512, &format!("{info:?}"))
}

/// Bytes that tell where they belong, and which time it was.
fn pattern(first: u64, len: usize, round: u32) -> Vec<u8> {
    let mut state = first as u32 ^ round.wrapping_mul(0x9e37_79b9) ^ 0x5bd1_e995;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        })
        .collect()
}

fn round_trip() -> Check {
    let (client, info) = bind()?;
    let end = info.sectors;
    let whole = (MAX_TRANSFER / SECTOR) as u64;
    let places = [
        (0, SECTOR),
        (1, 3 * SECTOR),
        (7, MAX_TRANSFER),
        (end - 1, SECTOR),
        (end - whole, MAX_TRANSFER),
        (end / 2, 8 * SECTOR),
    ];
    for round in 0..3 {
        for (first, len) in places {
            let written = pattern(first, len, round);
            done(client.write(first, &written), "write")?;
            let mut read = vec![0; len];
            done(client.read(first, &mut read), "read")?;
            need(read == written, &format!("{len} bytes at {first} differ in round {round}"))?;
        }
        done(client.sync(), "sync")?;
    }
    // Neighbours are not touched.
    done(client.write(20, &pattern(20, 3 * SECTOR, 9)), "write")?;
    done(client.write(21, &pattern(21, SECTOR, 10)), "write")?;
    let mut read = vec![0; 3 * SECTOR];
    done(client.read(20, &mut read), "read")?;
    let mut expected = pattern(20, 3 * SECTOR, 9);
    expected[SECTOR..2 * SECTOR].copy_from_slice(&pattern(21, SECTOR, 10));
    need(read == expected, "a neighbour was touched")
}

fn refusals() -> Check {
    let (client, info) = bind()?;
    let mut sector = [0; 2 * SECTOR];
    for first in [info.sectors, info.sectors - 1, u64::MAX, u64::MAX - 1, 1 << 32 | info.sectors] {
        refused(client.read(first, &mut sector), BlockError::OutOfRange)?;
        refused(client.write(first, &sector), BlockError::OutOfRange)?;
    }
    let mut long = vec![0; MAX_TRANSFER + SECTOR];
    for len in [0, 1, SECTOR - 1, SECTOR + 1, MAX_TRANSFER + SECTOR] {
        refused(client.read(0, &mut long[..len]), BlockError::BadLength)?;
        refused(client.write(0, &long[..len]), BlockError::BadLength)?;
    }
    done(client.read(0, &mut sector), "a good read after them").map(|_| ())
}

fn read_only() -> Check {
    let (client, info) = bind()?;
    let mut before = vec![0; 4 * SECTOR];
    done(client.read(3, &mut before), "read")?;
    refused(client.write(3, &[1; SECTOR]), BlockError::ReadOnly)?;
    refused(client.write(info.sectors - 1, &[1; SECTOR]), BlockError::ReadOnly)?;
    let mut after = vec![1; 4 * SECTOR];
    done(client.read(3, &mut after), "read")?;
    need(before == after, "it was written")?;
    done(client.sync(), "sync")
}

fn object() -> Result<ObjectInfo, String> {
    for index in 0.. {
        let info: ObjectInfo = done(sys::info(index), "info")?;
        if call::name_str(&info.name) == "block" {
            return Ok(info);
        }
    }
    Err("no such object".into())
}

fn failures() -> Check {
    let (client, info) = bind()?;
    let mut model = Vec::new();
    let places = [(100, SECTOR), (300, 5 * SECTOR), (info.sectors - 128, MAX_TRANSFER)];
    for (first, len) in places {
        model.push(pattern(first, len, 0));
        done(client.write(first, model.last().map_or(&[], |bytes| bytes)), "write")?;
    }
    let mut round = 1;
    for &kind in SabotageKind::ALL {
        for moment in [Moment::Entry, Moment::Copy, Moment::End] {
            for operation in 0..3 {
                if kind == SabotageKind::EndlessLoop && (moment == Moment::Entry || operation > 0) {
                    // Each takes a whole budget.
                    continue;
                }
                let what = format!("{} at {moment:?}, operation {operation}", kind.name());
                let failures = object()?.failures;
                let place = round as usize % places.len();
                let (first, len) = places[place];
                done(sys::sabotage("block", Sabotage { kind, moment }), "sabotage")?;
                match operation {
                    0 => {
                        model[place] = pattern(first, len, round);
                        done(client.write(first, &model[place]), &what)?;
                    }
                    1 => {
                        let mut read = vec![0; len];
                        done(client.read(first, &mut read), &what)?;
                        need(read == model[place], &format!("{what}: read something else"))?;
                    }
                    _ => done(client.sync(), &what)?,
                }
                need(object()?.failures > failures, &format!("{what}: it did not fail"))?;
                round += 1;
                for ((first, len), model) in places.into_iter().zip(&model) {
                    let mut read = vec![0; len];
                    done(client.read(first, &mut read), "read")?;
                    need(read == *model, &format!("{what}: the disk is not what it should be at {first}"))?;
                }
            }
            // More failures in a row than it could be kept from restarting for do not belong to what is tested.
            done(sys::pause(60), "pause")?;
        }
    }
    Ok(())
}

fn sessions() -> Check {
    let (one, _) = bind()?;
    let (two, _) = bind()?;
    for round in 0..20 {
        let first = 40 + u64::from(round) % 3;
        let data = pattern(first, SECTOR, round);
        let mut read = [0; SECTOR];
        done(one.write(first, &data), "write")?;
        done(sys::sabotage("block", Sabotage { kind: SabotageKind::Panic, moment: Moment::End }), "sabotage")?;
        let other = pattern(first, SECTOR, round + 100);
        done(two.write(first, &other), "write")?;
        done(one.read(first, &mut read), "read")?;
        need(read[..] == other[..], "the later write is not what is there")?;
        done(sys::pause(60), "pause")?;
    }
    drop(two);
    // A new session under the number of the old one, its first request like the old one's first.
    let (again, _) = bind()?;
    done(again.write(41, &[7; SECTOR]), "write")?;
    let mut read = [0; SECTOR];
    done(one.read(41, &mut read), "read")?;
    need(read == [7; SECTOR], "what a new session wrote is not there")
}

fn stalls() -> Check {
    let (client, _) = bind()?;
    let (mut told, mut model) = (0, vec![0; SECTOR]);
    let before = object()?;
    let started = done(sys::time_us(), "time")?;
    done(client.read(5, &mut model), "the first read")?;
    for round in 0..6 {
        let data = pattern(5, SECTOR, round);
        match client.write(5, &data) {
            Ok(()) => model = data,
            Err(CallError::Service(BlockError::NoAnswer)) => {
                told += 1;
                // It may have been written or not.
                let mut read = vec![0; SECTOR];
                while client.read(5, &mut read).is_err() {}
                need(read == data || read == model, "a sector of both")?;
                model = read;
            }
            Err(error) => return Err(format!("write: {error:?}")),
        }
    }
    // Whoever is reset answers: what it takes longer for than the driver waits is finished then.
    let after = object()?;
    need(after.failures == before.failures, "it failed")?;
    let waited = done(sys::time_us(), "time")? - started;
    need(told > 0 || waited >= 1_000_000, &format!("it never stalled: {waited} us for 6 writes"))
}
