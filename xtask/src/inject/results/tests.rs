use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::summary::{self, Counts};
use super::*;
use crate::inject::model::{Outcome, Recovery};

/// A campaign of this many experiments.
pub fn configuration(experiments: u64) -> Configuration {
    Configuration {
        format: Configuration::FORMAT,
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        dirty: false,
        compiler: "rustc 1.95.0".into(),
        qemu: "7.2.22".into(),
        seed: 17,
        count: experiments,
        experiments,
        services: vec!["timer".into(), "fs".into()],
        faults: vec!["register".into(), "skip".into()],
        recovery: vec![Recovery::Rollback, Recovery::Blind],
        engine: "forks".into(),
        golden: vec![Golden {
            service: "fs".into(),
            recovery: Recovery::Rollback,
            image: "ab".repeat(32),
            clients: 3,
            results: 90,
            instructions: 2_000_000,
            target: 400_000,
        }],
    }
}

/// The experiment of this number; what came of it depends on the number alone.
pub fn record(number: u64) -> Record {
    let outcome = Outcome::ALL[number as usize % Outcome::ALL.len()];
    Record {
        id: format!("fs-{number}"),
        number,
        service: if number.is_multiple_of(2) { "fs" } else { "timer" }.into(),
        fault: if number.is_multiple_of(3) { "skip" } else { "register" }.into(),
        recovery: if number.is_multiple_of(5) { Recovery::Blind } else { Recovery::Rollback },
        outcome,
        when: When { instruction: number * 7, of: 400_000, pc: Hex(0x0010_0000 + number as u32 * 4) },
        r#where: Where {
            function: "fs::server::write".into(),
            file: "services/fs/src/server.rs".into(),
            line: number as u32,
            what: "r4, bit 3".into(),
        },
        client: (!number.is_multiple_of(4)).then_some(number as u32 % 4),
        method: Some("write".into()),
        before: Some(Hex(1)),
        after: Some(Hex(9)),
        second: number.is_multiple_of(6).then(|| Second {
            after_failure: number,
            what: "r1, bit 0".into(),
            before: Some(Hex(0)),
            after: None,
        }),
        detected: (0..number % 3)
            .map(|_| Detected {
                object: "fs".into(),
                kind: "data-abort".into(),
                pc: Hex(0x1234),
                address: Hex(8),
                method: Hex(2),
                process: 66,
            })
            .collect(),
        reach: (outcome == Outcome::SilentCorruption).then(|| Reach { clients: vec![0, 2], results: 3, lines: 0 }),
        explanation: "client 2 step 17: \"<&>\"".into(),
        added_us: outcome.detected().then_some(number as u32 * 31),
        late_us: 700,
        ticks: 64,
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("campaign");
    (folder, path)
}

/// Carries out what is wanted of a campaign, in this order, as far as there is any.
fn run(campaign: &mut Campaign, order: impl IntoIterator<Item = u64>) {
    for number in order {
        if campaign.wants(number) {
            campaign.append(record(number)).unwrap();
        }
    }
}

fn in_one_go(experiments: u64) -> String {
    let (_root, path) = folder();
    let mut campaign = Campaign::create(&path, &configuration(experiments), Shard::WHOLE).unwrap();
    run(&mut campaign, 0..experiments);
    campaign.finish().unwrap();
    text(&path.join("results.jsonl"))
}

fn error<T: std::fmt::Debug>(result: anyhow::Result<T>) -> String {
    format!("{:#}", result.expect_err("this must not work"))
}

#[test]
fn a_record_is_a_line_with_its_fields_in_order() {
    let line = serde_json::to_string(&record(5)).unwrap();
    let expected = r#"{"id":"fs-5","number":5,"service":"timer","fault":"register","recovery":"blind","outcome":"silent_corruption","when":{"instruction":35,"of":400000,"pc":"0x00100014"},"where":{"function":"fs::server::write","file":"services/fs/src/server.rs","line":5,"what":"r4, bit 3"},"client":1,"method":"write","before":"0x00000001","after":"0x00000009","second":null,"detected":[{"object":"fs","kind":"data-abort","pc":"0x00001234","address":"0x00000008","method":"0x00000002","process":66},{"object":"fs","kind":"data-abort","pc":"0x00001234","address":"0x00000008","method":"0x00000002","process":66}],"reach":{"clients":[0,2],"results":3,"lines":0},"explanation":"client 2 step 17: \"<&>\"","added_us":null,"late_us":700,"ticks":64}"#;
    assert_eq!(line, expected);
    for number in 0..20 {
        let line = serde_json::to_string(&record(number)).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record(number));
    }
    for damaged in ["1", "0x123456789", "0x", "0x+1", "x"] {
        assert!(serde_json::from_str::<Hex>(&format!("{damaged:?}")).is_err(), "{damaged}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// However a campaign is carried out, the results are the same bytes.
    #[test]
    fn shards_and_interruptions_leave_no_trace(
        experiments in 1_u64..40,
        shards in 1_u64..5,
        order in Just((0..40).collect::<Vec<u64>>()).prop_shuffle(),
        stops in proptest::collection::vec(0_usize..40, 4),
        cuts in proptest::collection::vec(0_u64..200, 4),
    ) {
        let root = tempfile::tempdir().unwrap();
        let configuration = configuration(experiments);
        let mut folders = Vec::new();
        for index in 1..=shards {
            let path = root.path().join(format!("shard-{index}"));
            let mut campaign = Campaign::create(&path, &configuration, Shard { index, of: shards }).unwrap();
            run(&mut campaign, order.iter().copied().take(stops[index as usize - 1]));
            drop(campaign);
            // Ended in the middle of a line.
            let partial = path.join("results.partial.jsonl");
            let length = fs::metadata(&partial).unwrap().len();
            let file = fs::OpenOptions::new().write(true).open(&partial).unwrap();
            file.set_len(length.saturating_sub(cuts[index as usize - 1])).unwrap();
            drop(file);
            let (mut campaign, _) = Campaign::resume(&path, &configuration).unwrap();
            run(&mut campaign, order.iter().copied());
            campaign.finish().unwrap();
            folders.push(path);
        }
        let out = root.path().join("merged");
        let merged = merge(&folders, &out, false).unwrap();
        prop_assert_eq!(merged.records.len() as u64, experiments);
        prop_assert_eq!(text(&out.join("results.jsonl")), in_one_go(experiments));
        prop_assert!(!out.join("results.partial.jsonl").exists() && !out.join("shard.json").exists());
    }
}

#[test]
fn shards_divide_the_plan() {
    for of in 1..6 {
        for number in 0..20 {
            assert_eq!((1..=of).filter(|index| Shard { index: *index, of }.has(number)).count(), 1);
        }
    }
    assert_eq!("3/8".parse(), Ok(Shard { index: 3, of: 8 }));
    for wrong in ["", "3", "0/8", "9/8", "1/0", "a/b", "1/2/3", "-1/2"] {
        assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
    }
}

#[test]
fn a_folder_with_something_else_is_refused() {
    let (_root, path) = folder();
    fs::create_dir(&path).unwrap();
    drop(Campaign::create(&path, &configuration(3), Shard::WHOLE).unwrap());
    let text = error(Campaign::create(&path, &configuration(3), Shard::WHOLE));
    assert!(text.contains("holds a campaign already") && text.contains("--resume"), "{text}");
    let (_other, path) = folder();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("thesis.tex"), "x").unwrap();
    let text = error(Campaign::create(&path, &configuration(3), Shard::WHOLE));
    assert!(text.contains("choose another `--out`"), "{text}");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    assert!(error(Campaign::resume(&path, &configuration(3))).contains("holds no campaign"));
    assert!(error(Results::read(&path)).contains("holds no campaign"));
}

#[test]
fn another_configuration_is_refused_and_the_difference_told() {
    let (_root, path) = folder();
    drop(Campaign::create(&path, &configuration(3), Shard::WHOLE).unwrap());
    let other = Configuration { seed: 18, qemu: "9.0.0".into(), ..configuration(3) };
    let text = error(Campaign::resume(&path, &other));
    assert!(
        text.contains("seed: 17 there, 18 here") && text.contains("qemu: \"7.2.22\" there, \"9.0.0\" here"),
        "{text}"
    );
    let engine = Configuration { engine: "snapshots".into(), ..configuration(3) };
    assert!(Campaign::resume(&path, &engine).is_ok());
    let mut golden = configuration(3);
    golden.golden[0].image = "cd".repeat(32);
    assert!(error(Campaign::resume(&path, &golden)).contains("golden runs"));
}

#[test]
fn nobody_works_in_a_folder_twice() {
    let (_root, path) = folder();
    let campaign = Campaign::create(&path, &configuration(3), Shard::WHOLE).unwrap();
    assert!(error(Campaign::resume(&path, &configuration(3))).contains("somebody else works"));
    assert_eq!(Results::read(&path).unwrap().missing(), 3);
    drop(campaign);
    assert!(Campaign::resume(&path, &configuration(3)).is_ok());
}

#[test]
fn a_cut_line_is_dropped_with_a_notice() {
    let (_root, path) = folder();
    let mut campaign = Campaign::create(&path, &configuration(5), Shard::WHOLE).unwrap();
    run(&mut campaign, [4, 2]);
    drop(campaign);
    let partial = path.join("results.partial.jsonl");
    let whole = text(&partial);
    fs::write(&partial, format!("{whole}{{\"id\":\"fs-")).unwrap();
    let read = Results::read(&path).unwrap();
    assert_eq!((read.records.len(), read.notices.len(), read.missing()), (2, 1, 3));
    let (campaign, notices) = Campaign::resume(&path, &configuration(5)).unwrap();
    assert!(notices[0].contains("cut short (10 bytes)"), "{notices:?}");
    assert_eq!(campaign.records().map(|record| record.number).collect::<Vec<_>>(), [2, 4]);
    assert_eq!((campaign.wants(2), campaign.wants(3), campaign.wants(5), campaign.planned()), (false, true, false, 5));
    assert_eq!(text(&partial), whole);
}

#[test]
fn a_damaged_line_is_named_and_nothing_is_touched() {
    let (_root, path) = folder();
    let mut campaign = Campaign::create(&path, &configuration(5), Shard::WHOLE).unwrap();
    run(&mut campaign, 0..3);
    drop(campaign);
    let partial = path.join("results.partial.jsonl");
    let whole = text(&partial);
    let damaged = whole.replacen("\"number\":1", "\"number\":x", 1);
    fs::write(&partial, &damaged).unwrap();
    let message = error(Campaign::resume(&path, &configuration(5)));
    assert!(
        message.contains("line 2 of") && message.contains("Remove it") && message.contains("--resume"),
        "{message}"
    );
    assert_eq!(text(&partial), damaged);
    for (from, to) in [("\"number\":1", "\"number\":7"), ("\"number\":1", "\"number\":0"), ("late_us", "later_us")] {
        fs::write(&partial, whole.replacen(from, to, 1)).unwrap();
        assert!(Campaign::resume(&path, &configuration(5)).is_err(), "{to}");
    }
    // What the message says works.
    let kept: String =
        whole.lines().filter(|line| !line.contains("\"number\":1,")).map(|line| format!("{line}\n")).collect();
    fs::write(&partial, kept).unwrap();
    let (mut campaign, _) = Campaign::resume(&path, &configuration(5)).unwrap();
    run(&mut campaign, 0..5);
    campaign.finish().unwrap();
    assert_eq!(text(&path.join("results.jsonl")), in_one_go(5));
}

#[test]
fn a_results_file_that_ends_early_is_damaged() {
    let (_root, path) = folder();
    let mut campaign = Campaign::create(&path, &configuration(3), Shard::WHOLE).unwrap();
    run(&mut campaign, 0..3);
    campaign.finish().unwrap();
    let results = path.join("results.jsonl");
    let whole = text(&results);
    fs::write(&results, &whole[..whole.len() - 2]).unwrap();
    assert!(error(Results::read(&path)).contains("line 3 of"));
    // The same record twice, as after an end between two steps of finishing, does no harm.
    fs::write(&results, &whole).unwrap();
    fs::write(path.join("results.partial.jsonl"), &whole).unwrap();
    let (campaign, _) = Campaign::resume(&path, &configuration(3)).unwrap();
    campaign.finish().unwrap();
    assert_eq!(text(&results), whole);
    fs::write(path.join("results.partial.jsonl"), whole.replacen("\"ticks\":64", "\"ticks\":65", 1)).unwrap();
    assert!(error(Results::read(&path)).contains("with another result"));
}

#[test]
fn an_older_or_damaged_configuration_is_told() {
    let (_root, path) = folder();
    drop(Campaign::create(&path, &configuration(3), Shard::WHOLE).unwrap());
    let file = path.join("campaign.json");
    let whole = text(&file);
    fs::write(&file, whole.replacen("\"format\": 1", "\"format\": 2", 1)).unwrap();
    assert!(error(Results::read(&path)).contains("has format 2"));
    fs::write(&file, &whole[..100]).unwrap();
    assert!(error(Results::read(&path)).contains("campaign.json is damaged"));
    fs::write(&file, whole).unwrap();
    fs::write(path.join("shard.json"), "{\"index\":4,\"of\":3}").unwrap();
    assert!(error(Results::read(&path)).contains("there is no shard 4/3"));
}

#[test]
fn a_full_disk_loses_nothing() {
    let (_root, path) = folder();
    let mut campaign = Campaign::create(&path, &configuration(5), Shard::WHOLE).unwrap();
    run(&mut campaign, 0..2);
    // A device that is always full.
    campaign.write_to(fs::OpenOptions::new().append(true).open("/dev/full").unwrap());
    let message = error(campaign.append(record(3)));
    assert!(message.contains("The 2 experiments that are in it are safe") && message.contains("--resume"), "{message}");
    assert!(message.contains("No space left"), "{message}");
    assert!(campaign.wants(3));
    drop(campaign);
    assert_eq!(Results::read(&path).unwrap().records, [record(0), record(1)]);
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("report");
    fs::write(&path, "before").unwrap();
    let failed = lines::replace(&path, |writer| {
        writer.write_all(b"half")?;
        anyhow::bail!("no more")
    });
    assert!(error(failed).contains("untouched"));
    assert_eq!((text(&path).as_str(), fs::read_dir(root.path()).unwrap().count()), ("before", 1));
    lines::replace(&path, |writer| Ok(writer.write_all(b"after")?)).unwrap();
    assert_eq!(text(&path), "after");
}

#[test]
fn what_is_not_wanted_is_refused() {
    let (_root, path) = folder();
    let mut campaign = Campaign::create(&path, &configuration(5), Shard { index: 2, of: 2 }).unwrap();
    assert_eq!(campaign.planned(), 2);
    campaign.append(record(1)).unwrap();
    for number in [0, 1, 7] {
        assert!(error(campaign.append(record(number))).contains("no part of the plan"), "{number}");
    }
    assert!(error(campaign.finish()).contains("1 experiments are missing"));
}

#[test]
fn merging_tells_what_is_missing_and_what_does_not_fit() {
    let root = tempfile::tempdir().unwrap();
    let shard = |name: &str, configuration: &Configuration, index: u64, count: usize| {
        let path = root.path().join(name);
        let mut campaign = Campaign::create(&path, configuration, Shard { index, of: 3 }).unwrap();
        run(&mut campaign, (0..10).filter(|number| number % 3 + 1 == index).take(count));
        path
    };
    let all = configuration(10);
    let (one, two, three) = (shard("1", &all, 1, 4), shard("2", &all, 2, 1), shard("3", &all, 3, 3));
    let out = root.path().join("out");
    let message = error(merge(&[one.clone(), two.clone()], &out, false));
    assert!(message.contains("5 of 10 experiments are missing: 2 of shard 2/3, 3 of shard 3/3"), "{message}");
    assert!(!out.exists());
    let merged = merge(&[one.clone(), two.clone(), three.clone()], &out, true).unwrap();
    assert_eq!((merged.records.len(), merged.missing(), merged.notices.len()), (8, 2, 1));
    let (mut campaign, _) = Campaign::resume(&out, &all).unwrap();
    run(&mut campaign, 0..10);
    campaign.finish().unwrap();
    assert_eq!(text(&out.join("results.jsonl")), in_one_go(10));
    let other = shard("other", &Configuration { seed: 5, ..all.clone() }, 2, 3);
    assert!(error(merge(&[one.clone(), other], &root.path().join("x"), true)).contains("seed: 17 there, 5 here"));
    let file = three.join("results.partial.jsonl");
    let twin = shard("twin", &all, 3, 0);
    fs::write(twin.join("results.partial.jsonl"), text(&file).replacen("\"ticks\":64", "\"ticks\":65", 1)).unwrap();
    assert!(error(merge(&[one, three, twin], &root.path().join("y"), true)).contains("one result in"));
    assert!(error(merge(&[], &root.path().join("z"), true)).contains("nothing to merge"));
}

#[test]
fn counts_are_what_their_names_say() {
    let mut counts = Counts::default();
    for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
        (0..1 << index).for_each(|_| counts.add(outcome));
    }
    assert_eq!((counts.experiments(), counts.injected()), (511, 510));
    assert_eq!((counts.manifested(), counts.detected(), counts.recovered()), (508, 508 - 32, 4));
    let share = counts.recovered_of_detected().unwrap().share;
    assert!((share - 4.0 / 476.0).abs() < 1e-12, "{share}");
}

#[test]
fn the_summary_has_a_line_for_each_group() {
    let records: Vec<Record> = (0..600).map(record).collect();
    let groups = summary::groups(&configuration(600), &records);
    assert_eq!(groups.len(), 8);
    assert_eq!(
        (groups[0].recovery, groups[0].service.as_str(), groups[0].fault.as_str()),
        (Recovery::Rollback, "timer", "register")
    );
    assert_eq!(summary::total(&groups), Counts::of(&records));
    let text = summary::json(&groups).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (line, group) in lines.iter().zip(&groups) {
        for outcome in Outcome::ALL {
            assert_eq!(line[outcome.name()], group.counts.get(outcome), "{outcome}");
        }
        assert_eq!(
            (&line["service"], &line["recovery"]),
            (&group.service.clone().into(), &group.recovery.name().into())
        );
    }
    // Other fault models than were asked for, such as the control, come last.
    let control = Record { fault: "none".into(), ..record(1) };
    let groups = summary::groups(&configuration(600), &[control.clone(), record(2), control]);
    assert_eq!((groups.len(), groups[1].fault.as_str(), groups[1].counts.experiments()), (2, "none", 2));
}
