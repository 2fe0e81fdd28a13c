mod world;

use abi::{Error, FailureKind};
use experiment::{End, Injection};
use trial::{ENTRIES, Entry, status};

use super::*;
use world::*;

#[test]
fn a_run_like_the_golden_one_is_masked() {
    let control = Struck { action: Action::Nothing, ..struck() };
    let verdict = verdict_of(&control, |world| {
        world.first = done(5, 5);
        // Other times are no other results.
        world.logs[1].entries[3].ended += 4000;
        world.logs[1].entries[3].late = LATEST;
    });
    assert_eq!((verdict.outcome, verdict.explanation.as_str()), (Outcome::Masked, ""));
    assert_eq!((verdict.added_us, verdict.late_us), (None, LATEST));
    assert!(verdict.detected.is_empty() && verdict.reach.is_none());
}

#[test]
fn what_was_detected_and_changed_nothing_is_transparent() {
    let verdict = verdict(|world| {
        world.fail("fs", &[66, 3]);
        world.fail("fs", &[66, 3]);
        world.summary.failure[0].method = 0x8000_0001;
        world.logs[1].entries[3].ended += 4000;
        world.console.insert_str(9, "[supervisor] failure 1: fs: data-abort at 0x1234\r\n");
    });
    assert_eq!((verdict.outcome, verdict.added_us), (Outcome::Transparent, Some(4000)));
    assert_eq!(verdict.explanation, "fs: data-abort at 0x00001234 in method 2; 1 more");
    assert_eq!(verdict.detected.len(), 2);
    assert_eq!(verdict.detected[1].to_string(), "fs: data-abort at 0x00001234 in hook 1");
}

#[test]
fn a_rebuilding_without_a_failure_on_record_is_transparent() {
    let (outcome, text) = told(|world| world.summary.object[0].restarts = 1);
    assert_eq!((outcome, text.as_str()), (Outcome::Transparent, "fs was rebuilt"));
}

#[test]
fn errors_count_for_who_was_served_and_are_collateral_to_others() {
    let all = [
        (Error::ServerFault, Outcome::RequestFailed),
        (Error::Aborted, Outcome::RequestFailed),
        (Error::Exhausted, Outcome::RequestFailed),
        (Error::SessionLost, Outcome::SessionLost),
        (Error::StaleHandle, Outcome::SessionLost),
        (Error::BadHandle, Outcome::SessionLost),
        (Error::Blamed, Outcome::SessionLost),
        (Error::Stopped, Outcome::SessionLost),
    ];
    for (error, outcome) in all {
        assert_eq!(told(|world| world.error(1, 4, error)).0, outcome, "{error:?}");
        assert_eq!(told(|world| world.error(2, 4, error)).0, Outcome::Collateral, "{error:?}");
    }
    let (_, text) = told(|world| world.error(1, 4, Error::ServerFault));
    assert_eq!(text, "client 1 step 4: ServerFault (the request made the service fail; its effects are undone)");
}

#[test]
fn an_error_of_the_service_is_an_error() {
    let refused = |world: &mut World| {
        world.logs[1].entries[4].status = status::SERVICE + 0x105;
        world.logs[1].entries[4].value = 0;
    };
    assert_eq!(told(refused), (Outcome::RequestFailed, "client 1 step 4: the service's error 0x105".into()));
}

#[test]
fn what_never_came_is_silent_unless_the_client_knows_why() {
    let in_vain = |world: &mut World| {
        world.logs[1].entries[4].status = status::TIMEOUT;
        world.logs[1].entries[4].value = 0;
    };
    let text = "client 1 step 4: what the client waited for did not come";
    assert_eq!(told(in_vain), (Outcome::SilentCorruption, text.into()));
    let knows = |world: &mut World| {
        in_vain(world);
        world.error(1, 2, Error::SessionLost);
    };
    assert_eq!(told(knows).0, Outcome::SessionLost);
    let unknown = |world: &mut World| world.logs[1].entries[4].status = status::PROTOCOL + 0x77;
    let text = "client 1 step 4: a reply that the interface does not know, 0x77";
    assert_eq!(told(unknown), (Outcome::RequestFailed, text.into()));
}

#[test]
fn without_a_client_one_may_be_told_but_not_two() {
    let upcall = Struck { client: None, ..struck() };
    let outcome = |change: fn(&mut World)| verdict_of(&upcall, change).outcome;
    assert_eq!(outcome(|world| world.error(2, 4, Error::ServerFault)), Outcome::RequestFailed);
    assert_eq!(outcome(|world| world.error(0, 4, Error::SessionLost)), Outcome::SessionLost);
    let two = |world: &mut World| {
        world.error(0, 4, Error::ServerFault);
        world.error(2, 4, Error::ServerFault);
    };
    assert_eq!(outcome(two), Outcome::Collateral);
}

#[test]
fn a_wrong_value_is_silent_and_its_reach_is_told() {
    let verdict = verdict(|world| {
        world.logs[2].entries[3].value ^= 1;
        world.logs[1].entries[9].value ^= 1;
        world.logs[1].entries[8].value ^= 1;
        world.fail("fs", &[66, 3]);
    });
    assert_eq!(verdict.outcome, Outcome::SilentCorruption);
    assert_eq!(
        verdict.explanation,
        "client 1 step 8: value 0x1009 instead of 0x1008; 1 more".replace("instead of", "instead of value")
    );
    assert_eq!(verdict.reach, Some(Reach { clients: vec![1, 2], results: 3, lines: 0 }));
    assert_eq!(verdict.detected.len(), 1);
}

#[test]
fn a_wrong_value_after_an_error_is_excused_by_a_lost_session_only() {
    let after = |error| {
        move |world: &mut World| {
            world.error(1, 4, error);
            world.logs[1].entries[7].value ^= 1;
        }
    };
    assert_eq!(told(after(Error::SessionLost)).0, Outcome::SessionLost);
    assert_eq!(told(after(Error::ServerFault)).0, Outcome::SilentCorruption);
    let before = |world: &mut World| {
        world.logs[1].entries[2].value ^= 1;
        world.error(1, 4, Error::SessionLost);
    };
    assert_eq!(told(before).0, Outcome::SilentCorruption);
    // Nobody told client 2.
    let other = |world: &mut World| {
        world.error(1, 4, Error::SessionLost);
        world.logs[2].entries[7].value ^= 1;
    };
    assert_eq!(told(other).0, Outcome::SilentCorruption);
}

#[test]
fn a_call_that_is_left_out_doubled_or_invented_is_silent() {
    let left_out = |world: &mut World| {
        let log = &mut world.logs[1];
        log.entries.copy_within(5..10, 4);
        log.entries[9] = Entry::default();
        log.count = 9;
    };
    assert_eq!(told(left_out), (Outcome::SilentCorruption, "client 1 step 4: the call was left out".into()));
    let doubled = |world: &mut World| world.insert(1, 5, entry(1, 4));
    assert_eq!(
        told(doubled),
        (Outcome::SilentCorruption, "client 1 step 4: value 0x1004 more than there should be".into())
    );
    let invented = |world: &mut World| world.insert(1, 10, entry(1, 12));
    assert_eq!(told(invented), (Outcome::SilentCorruption, "client 1 step 12: a call that there should not be".into()));
}

#[test]
fn a_log_that_is_full_proves_nothing() {
    let (outcome, text) = told(|world| {
        let log = &mut world.logs[1];
        let failed = Entry { status: status::KERNEL + Error::ServerFault as u32, ..entry(1, 9) };
        log.entries[9..].fill(Entry { step: 8, ..failed });
        log.count = 1000;
    });
    assert_eq!(
        (outcome, text.as_str()),
        (Outcome::SilentCorruption, "client 1 step 9: the result is not known: the log is full")
    );
}

#[test]
fn a_client_that_gave_up_was_told() {
    let (outcome, _) = told(|world| {
        let log = &mut world.logs[1];
        log.entries[9].status = status::KERNEL + Error::ServerFault as u32;
        world.summary.ended[1] = 1;
    });
    assert_eq!(outcome, Outcome::RequestFailed);
}

#[test]
fn an_error_that_belongs_there_must_come() {
    assert_eq!(verdict_with_errors(|_| ()).0, Outcome::Masked);
    let succeeds = |world: &mut World| world.logs[1].entries[4].status = 0;
    let text = "client 1 step 4: value 0x0 instead of error the service's error 0x101";
    assert_eq!(verdict_with_errors(succeeds), (Outcome::SilentCorruption, text.into()));
    let other = |world: &mut World| world.logs[1].entries[4].status += 1;
    assert_eq!(verdict_with_errors(other).0, Outcome::RequestFailed);
    let retried = |world: &mut World| world.error(1, 4, Error::ServerFault);
    assert_eq!(verdict_with_errors(retried).0, Outcome::RequestFailed);
}

#[test]
fn how_often_a_client_asks_again_is_no_result() {
    let more = |world: &mut World| {
        world.error(1, 6, Error::WouldBlock);
        world.error(1, 6, Error::WouldBlock);
    };
    assert_eq!(verdict_with_errors(more).0, Outcome::Masked);
    let fewer = |world: &mut World| {
        let log = &mut world.logs[1];
        log.entries.copy_within(7..11, 6);
        log.entries[10] = Entry::default();
        log.count = 10;
    };
    assert_eq!(verdict_with_errors(fewer).0, Outcome::Masked);
    let never = |world: &mut World| {
        let log = &mut world.logs[1];
        log.entries[7] = log.entries[6];
    };
    assert_eq!(verdict_with_errors(never).0, Outcome::RequestFailed);
}

#[test]
fn alarms_have_a_bound() {
    assert_eq!(told(|world| world.logs[0].entries[3].late = LATEST).0, Outcome::Masked);
    let (outcome, text) = told(|world| world.logs[0].entries[3].late = LATEST + 1);
    assert_eq!(
        (outcome, text.as_str()),
        (Outcome::SilentCorruption, "client 0 step 3: an alarm 500001 µs late, more than the 500000 that are allowed")
    );
}

#[test]
fn programs_that_crash_and_damaged_logs_are_collateral() {
    let crash = |world: &mut World| {
        world.cut(1, 5);
        world.summary.ended[1] = 128 + FailureKind::Undefined as u32;
    };
    assert_eq!(told(crash), (Outcome::Collateral, "client 1 crashed: undefined".into()));
    let vanished = |world: &mut World| world.cut(1, 5);
    assert_eq!(told(vanished), (Outcome::Collateral, "client 1 ended before its time".into()));
    let status = |world: &mut World| world.summary.ended[1] = 3;
    assert_eq!(told(status), (Outcome::Collateral, "client 1 ended with status 3".into()));
    let damages: [fn(&mut World); 7] = [
        |world| world.logs[2].magic[0] ^= 1,
        |world| world.logs[2].client = 9,
        |world| world.logs[2].process = 9,
        |world| world.logs[2].complete = 77,
        |world| world.logs[2].entries[ENTRIES - 1].value = 1,
        |world| world.logs[2].entries.swap(1, 2),
        |world| world.logs[2].count = 4,
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let (outcome, text) = told(damage);
        assert_eq!(outcome, Outcome::Collateral, "{number}");
        assert!(text.starts_with("the log of client 2 is damaged: "), "{text}");
    }
    assert_eq!(told(|world| world.summary.magic[0] ^= 1).0, Outcome::Collateral);
}

#[test]
fn what_a_program_does_to_itself_hurts_nobody_else() {
    let itself = Struck {
        target: Target::Program,
        name: "trial".into(),
        domain: Some(66),
        chain: vec!["fs".into()],
        ..struck()
    };
    let crash = |world: &mut World| {
        world.cut(1, 5);
        world.summary.ended[1] = 128 + FailureKind::Undefined as u32;
    };
    assert_eq!(verdict_of(&itself, crash).outcome, Outcome::SessionLost);
    assert_eq!(verdict_of(&itself, |world| world.logs[1].count = 4).outcome, Outcome::SilentCorruption);
    assert_eq!(verdict_of(&itself, |world| world.logs[2].count = 4).outcome, Outcome::Collateral);
    assert_eq!(verdict_of(&itself, |world| world.error(1, 2, Error::BadRange)).outcome, Outcome::RequestFailed);
    assert_eq!(verdict_of(&itself, |world| world.error(2, 2, Error::ServerFault)).outcome, Outcome::Collateral);
}

#[test]
fn failures_outside_the_requests_chain_are_collateral() {
    let other = |world: &mut World| world.fail("timer", &[66, 5]);
    assert_eq!(told(other), (Outcome::Collateral, "timer failed: data-abort at 0x00001234".into()));
    // It was called by the target.
    assert_eq!(told(|world| world.fail("timer", &[66, 3, 5])).0, Outcome::Transparent);
    // It calls the target.
    let caller = Struck { chain: vec!["store".into(), "fs".into()], ..struck() };
    assert_eq!(verdict_of(&caller, |world| world.fail("store", &[66, 5])).outcome, Outcome::Transparent);
    assert_eq!(told(|world| world.fail("store", &[66, 5])).0, Outcome::Collateral);
}

#[test]
fn what_is_lost_and_not_yet_noticed_is_lost() {
    assert_eq!(
        told(|world| world.summary.object[0].lost_sessions = 1),
        (Outcome::SessionLost, "sessions that fs lost: 1".into())
    );
    assert_eq!(told(|world| world.summary.object[0].state = 2), (Outcome::SessionLost, "fs is given up".into()));
    assert_eq!(told(|world| world.summary.object[1].lost_sessions = 1).0, Outcome::Collateral);
    assert_eq!(told(|world| world.summary.object[1].state = 2).0, Outcome::Collateral);
}

#[test]
fn who_is_not_at_the_end_hangs() {
    let hang = |world: &mut World| {
        world.end = End::Limit;
        world.cut(1, 5);
        world.summary.complete = 0;
        world.console.push_str("[supervisor] failure 1: fs: budget at 0x2000 address 0x0\r\n");
        // Even if worse than a hang cannot be seen.
        world.logs[0].entries[2].value ^= 1;
    };
    let text = "client 1 stopped before the end of step 5 (the last failure told of: [supervisor] failure 1: fs: budget at 0x2000 address 0x0)";
    assert_eq!(told(hang), (Outcome::Hang, text.into()));
    let root = |world: &mut World| {
        world.end = End::Limit;
        world.summary.complete = 0;
    };
    assert_eq!(
        told(root),
        (Outcome::Hang, "the clients came to their ends, the program that waits for them did not".into())
    );
}

#[test]
fn a_dead_kernel_outweighs_everything() {
    let words = |world: &mut World| {
        world.end = End::Exit(101);
        world.cut(1, 5);
        world.logs[0].entries[2].value ^= 1;
        world.console = "c0: line\r\nc1: li\r\n[kernel] PANIC: panicked at kernel/src/call.rs:1:2:\r\noh no\r\n".into();
    };
    assert_eq!(told(words), (Outcome::KernelDead, "[kernel] PANIC: panicked at kernel/src/call.rs:1:2:".into()));
    assert_eq!(told(|world| world.end = End::Exit(0)), (Outcome::KernelDead, "the system ended with status 0".into()));
    let looping = |world: &mut World| {
        world.end = End::Limit;
        world.console.push_str("[kernel] FAULT 4 near 0x80001000, status 0x13\r\n");
    };
    assert_eq!(told(looping).0, Outcome::KernelDead);
}

#[test]
fn what_was_not_injected_is_never_masked() {
    let unreached = |world: &mut World| {
        world.first = Injection::Failed("the point was not reached".into());
        world.end = End::Broken;
    };
    assert_eq!(told(unreached), (Outcome::NotInjected, "the point was not reached".into()));
    assert_eq!(told(|world| world.end = End::Broken).0, Outcome::NotInjected);
    assert_eq!(
        told(|world| world.first = done(4, 4)),
        (Outcome::NotInjected, "0x00000004 was read back unchanged".into())
    );
    let jump = Struck { action: Action::Jump { pc: 8 }, ..struck() };
    assert_eq!(verdict_of(&jump, |world| world.first = done(4, 4)).outcome, Outcome::Masked);
}

#[test]
fn without_its_second_fault_a_double_one_counts_only_if_it_did_harm() {
    let missed = Some(Injection::Failed("nothing failed".into()));
    let (outcome, text) = told(|world| world.second = missed.clone());
    assert_eq!((outcome, text.as_str()), (Outcome::NotInjected, "the second fault: nothing failed"));
    let recovered = |world: &mut World| {
        world.fail("fs", &[66, 3]);
        world.second = missed.clone();
    };
    assert_eq!(told(recovered).0, Outcome::NotInjected);
    let harmed = |world: &mut World| {
        world.error(1, 2, Error::ServerFault);
        world.second = missed.clone();
    };
    assert_eq!(told(harmed).0, Outcome::RequestFailed);
    let both = |world: &mut World| {
        world.fail("fs", &[66, 3]);
        world.second = Some(done(1, 2));
    };
    assert_eq!(told(both).0, Outcome::Transparent);
}

#[test]
fn the_console_is_compared_by_client() {
    let swapped = |world: &mut World| {
        world.console = world.console.replace("c0: line 1\r\nc1: line 1\r\n", "c1: line 1\r\nc0: line 1\r\n")
    };
    assert_eq!(told(swapped).0, Outcome::Masked);
    let verdict_lost = verdict(|world| world.console = world.console.replace("c2: line 1", "c2: lin 1"));
    assert_eq!(verdict_lost.outcome, Outcome::SilentCorruption);
    assert_eq!(verdict_lost.explanation, "console, a line of client 2: \"c2: lin 1\" instead of \"c2: line 1\"");
    assert_eq!(verdict_lost.reach, Some(Reach { clients: vec![2], results: 0, lines: 1 }));
    let (outcome, text) = told(|world| world.console.push_str("\u{7f}\r\n"));
    assert_eq!(
        (outcome, text.as_str()),
        (Outcome::SilentCorruption, "console, a line of nobody: \"\\x7f\" more than there should be")
    );
    // Whose session is gone knows that its output may be, too.
    let lost = |world: &mut World| {
        world.error(1, 2, Error::SessionLost);
        world.console = world.console.replace("c1: line 3\r\n", "");
    };
    assert_eq!(told(lost).0, Outcome::SessionLost);
}

#[test]
fn without_prefixes_the_console_is_not_compared() {
    let golden = Run::golden(&World::new().observation(), speakers(&[])).unwrap();
    let mut world = World::new();
    world.console = "whatever".into();
    assert_eq!(judge(&golden, &Run::like(&golden, &world.observation()), &struck()).outcome, Outcome::Masked);
    world.console.push_str("\r\n[kernel] PANIC: x\r\n");
    assert_eq!(judge(&golden, &Run::like(&golden, &world.observation()), &struck()).outcome, Outcome::KernelDead);
}

#[test]
fn memory_that_is_not_there_is_damage() {
    let golden = golden();
    let mut observation = World::new().observation();
    observation.memory.truncate(2);
    observation.memory[1].truncate(100);
    let run = Run::like(&golden, &observation);
    assert_eq!(judge(&golden, &run, &struck()).outcome, Outcome::Collateral);
    assert_eq!(run.clients[1].damage.as_deref(), Some("it is not there"));
    assert_eq!((run.clients[2].number, run.clients[2].process), (2, 67));
}

#[test]
fn failures_of_the_preparation_are_not_the_faults() {
    let prepared = || {
        let mut world = World::new();
        for log in &mut world.logs {
            log.entries[..10].iter_mut().for_each(|entry| {
                entry.began += 6000;
                entry.ended += 6000;
            });
        }
        world.fail("timer", &[64, 5]);
        (world.summary.object[1].restarts, world.summary.object[1].failures) = (1, 1);
        world
    };
    let golden = golden_of(&prepared()).unwrap();
    let verdict = |world: &World| judge(&golden, &Run::like(&golden, &world.observation()), &struck());
    assert_eq!(verdict(&prepared()).outcome, Outcome::Masked);
    let mut world = prepared();
    (0..40).for_each(|_| world.fail("fs", &[66, 3]));
    assert_eq!((verdict(&world).outcome, verdict(&world).detected.len()), (Outcome::Transparent, 32));
}

/// Something wrong with a run, and what is said about it.
type Flaw = (fn(&mut World), &'static str);

#[test]
fn a_golden_run_must_be_flawless() {
    let flaws: [Flaw; 10] = [
        (|world| world.end = End::Limit, "did not come to its end"),
        (|world| world.fail("fs", &[66, 3]), "fs failed in the run without a fault"),
        (|world| world.summary.complete = 0, "no summary"),
        (|world| world.cut(1, 5), "client 1 did not come to its end"),
        (|world| world.logs[1].count = 1000, "more calls than its log holds"),
        (|world| world.logs[1].entries.swap(0, 1), "does not take its steps in order"),
        (|world| world.logs[1].entries[0].late = LATEST + 1, "late"),
        (|world| world.logs[1].process = 65, "same number or process"),
        (|world| world.console.push_str("[kernel] PANIC: x"), "panicked"),
        (|world| world.logs[1].magic = *b"nonsense", "neither a log nor the summary"),
    ];
    for (flaw, text) in flaws {
        let mut world = World::new();
        flaw(&mut world);
        let error = golden_of(&world).expect_err(text);
        assert!(format!("{error:#}").contains(text), "{error:#} for {text}");
    }
    assert!(Run::golden(&World::new().observation(), speakers(&["[c] "])).is_err());
}
