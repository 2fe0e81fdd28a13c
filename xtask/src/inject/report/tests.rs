use super::text::{apportion, bars, interval, percent, table};
use super::*;
use crate::inject::model::Recovery;
use crate::inject::results::summary::Counts;
use crate::inject::results::tests::{configuration, record};
use crate::inject::results::{Configuration, Detected, Hex, Reach, Record, Shard};
use crate::inject::statistics::{Share, wilson};

const SERVICES: [&str; 8] = ["timer", "scheduler", "fs", "console", "store", "supervisor", "program", "kernel"];

/// A number that looks random, from 0 to below `of`.
fn noise(number: u64, salt: u64, of: u64) -> u64 {
    let mut word = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xd1b5_4a32_d192_ed03);
    word = (word ^ word >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (word ^ word >> 29) % of
}

/// How often, of 10,000, which outcome comes of a fault: from request failed on.
fn rates(recovery: Recovery) -> [u64; 6] {
    match recovery {
        Recovery::Rollback => [20, 6, 150, 1, 1, 0],
        Recovery::Ssr => [300, 60, 400, 2, 1, 0],
        Recovery::Kept => [200, 60, 800, 40, 4, 0],
        Recovery::Blind => [40, 900, 900, 1500, 4, 0],
        Recovery::None => [10, 900, 150, 2600, 200, 0],
    }
}

/// What a campaign could have found.
fn synthetic(experiments: u64, ways: &[Recovery]) -> Results {
    let faults: Vec<String> = FaultModel::ALL.iter().map(|model| model.name().to_owned()).collect();
    let configuration = Configuration {
        services: SERVICES.map(str::to_owned).to_vec(),
        faults: faults.clone(),
        recovery: ways.to_vec(),
        ..configuration(experiments)
    };
    let records = (0..experiments).map(|number| {
        let recovery = ways[(number % ways.len() as u64) as usize];
        let service = SERVICES[noise(number, 1, 8) as usize];
        let fault = &faults[noise(number, 2, faults.len() as u64) as usize];
        let draw = noise(number, 3, 10_000);
        let mut below = 0;
        let missed = rates(recovery).into_iter().zip(&Outcome::ALL[3..]).find(|(rate, _)| {
            below += rate;
            draw < below
        });
        let crash = family(fault) == "crash";
        let outcome = match missed {
            Some((_, outcome)) if !crash || recovery != Recovery::Rollback => *outcome,
            _ if draw > 9990 => Outcome::NotInjected,
            _ if draw > 6500 && !crash => Outcome::Masked,
            _ => Outcome::Transparent,
        };
        let detected = outcome.detected() || outcome == Outcome::SilentCorruption && draw.is_multiple_of(3);
        Record {
            id: format!("{}-{service}-{fault}-{number}", recovery.name()),
            service: service.into(),
            fault: fault.clone(),
            recovery,
            outcome,
            detected: (0..u64::from(detected) * (1 + noise(number, 4, 3)))
                .map(|_| Detected {
                    object: service.into(),
                    kind: "data-abort".into(),
                    pc: Hex(0x0010_1234),
                    address: Hex(8),
                    method: Hex(2),
                    process: 66,
                })
                .collect(),
            reach: (outcome == Outcome::SilentCorruption).then(|| Reach { clients: vec![0, 2], results: 3, lines: 1 }),
            explanation: match outcome {
                Outcome::Masked => String::new(),
                Outcome::NotInjected => "the point was not reached".into(),
                _ => format!("client 2 step {}: value 0x52 instead of value 0x1f", noise(number, 6, 40)),
            },
            added_us: detected.then(|| {
                let slow = if noise(number, 7, 20) == 0 { 40 } else { 1 };
                (30 + noise(number, 5, 400) as u32 * (1 + service.len() as u32)) * slow
            }),
            ..record(number)
        }
    });
    let records = records.collect();
    Results { configuration, shard: Shard::WHOLE, records, notices: Vec::new() }
}

fn html(results: &Results) -> String {
    page::page(results).into_string()
}

#[test]
fn every_miss_is_listed_with_the_command_that_repeats_it() {
    let results = synthetic(3000, &[Recovery::Rollback, Recovery::Blind]);
    let page = html(&results);
    let commands = page.split("cargo xtask inject replay ").skip(1);
    let mut listed: Vec<&str> = commands.filter_map(|rest| rest.split('<').next()).collect();
    let missed = results.records.iter().filter(|record| record.outcome > Outcome::Transparent);
    let mut missed: Vec<&str> = missed.map(|record| record.id.as_str()).collect();
    listed.sort_unstable();
    missed.sort_unstable();
    assert!(missed.len() > 100);
    assert_eq!(listed, missed);
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = html(&synthetic(500, &Recovery::ALL));
    for outside in ["http:", "https:", "src=", "@import", "url(", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for link in page.split("href=\"").skip(1) {
        let target = link.split('"').next().and_then(|link| link.strip_prefix('#')).expect("a place on the page");
        assert!(page.contains(&format!("id=\"{target}\"")), "{target}");
    }
}

#[test]
fn what_comes_from_outside_is_escaped() {
    let mut results = synthetic(50, &[Recovery::Rollback]);
    let record = &mut results.records[0];
    record.outcome = Outcome::Collateral;
    record.explanation = "<script>alert(1)</script> & \"so\"".into();
    record.r#where.function = "<f as T>::g".into();
    record.id = "<id>".into();
    record.detected.clear();
    let page = html(&results);
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;so&quot;")
            && page.contains("&lt;f as T&gt;::g")
    );
    assert_eq!(page.matches("<script").count(), 1);
    assert!(!page.contains("<id>"));
}

#[test]
fn there_are_no_empty_groups() {
    let mut results = synthetic(2000, &[Recovery::Rollback, Recovery::Blind]);
    results.records.retain(|record| record.service == "fs" && record.recovery == Recovery::Rollback);
    let page = html(&results);
    assert!(page.contains("<h4>fs</h4>") && !page.contains("<h4>timer</h4>"));
    results.records.clear();
    let page = html(&results);
    assert!(page.contains("There are none.") && page.contains("there is nothing to show"));
    assert!(!page.contains("NaN") && !page.contains("inf\""));
}

#[test]
fn a_part_of_a_campaign_says_so() {
    let results = synthetic(400, &[Recovery::Rollback]);
    assert!(!html(&results).contains("This is not the whole campaign"));
    let mut part = Results { shard: Shard { index: 2, of: 4 }, ..results.clone() };
    part.records.retain(|record| part.shard.has(record.number));
    assert!(html(&part).contains("shard 2/4"));
    let mut broken_off = results;
    broken_off.records.truncate(300);
    assert!(html(&broken_off).contains("100 experiments are missing here"));
}

#[test]
fn only_misses_take_room() {
    let results = synthetic(60_000, &[Recovery::Rollback]);
    let missed = results.records.iter().filter(|record| record.outcome > Outcome::Transparent).count();
    let page = html(&results);
    assert!(page.len() < 500_000 + 1200 * missed, "{} bytes for {missed} misses", page.len());
}

#[test]
fn the_report_lies_in_the_campaigns_folder() {
    let root = tempfile::tempdir().expect("a folder");
    let results = synthetic(100, &[Recovery::Rollback]);
    let path = write(root.path(), &results).expect("a report");
    assert_eq!(path, root.path().join("report.html"));
    assert_eq!(std::fs::read_to_string(path).expect("its text"), html(&results));
    assert!(write(&root.path().join("nowhere"), &results).is_err());
}

#[test]
fn percentages_do_not_round_to_what_they_are_not() {
    let of = |share: f64| percent(share);
    assert_eq!((of(1.0).as_str(), of(0.0).as_str()), ("100", "0"));
    assert_eq!((of(0.99999).as_str(), of(0.00001).as_str()), ("99.99", "0.01"));
    assert_eq!((of(0.5).as_str(), of(0.9951).as_str(), of(0.0049).as_str()), ("50.0", "99.51", "0.49"));
    assert_eq!(interval(None), "-");
    assert_eq!(interval(Some(Share { share: 0.25, low: 0.2, high: 1.0 })), "25.0 % [20.0, 100]");
    assert_eq!(interval(Some(Share { share: 0.999, low: 0.985, high: 0.99999 })), "99.90 % [98.50, 99.99]");
}

#[test]
fn cells_are_divided_in_proportion_and_nothing_vanishes() {
    assert_eq!(apportion(&[50, 25, 25], 40, 1), [20, 10, 10]);
    assert_eq!(apportion(&[9999, 1, 0], 40, 1), [39, 1, 0]);
    assert_eq!(apportion(&[0, 0], 40, 1), [0, 0]);
    assert_eq!(apportion(&[1, 1, 1], 2, 1), [1, 1, 1]);
    for salt in 0..200 {
        let counts: Vec<u64> = (0..8).map(|index| noise(index, salt, 1 << (index * 2))).collect();
        let parts = apportion(&counts, 1000, 8);
        assert!(counts.iter().sum::<u64>() == 0 || parts.iter().sum::<usize>() == 1000, "{counts:?}: {parts:?}");
        assert!(counts.iter().zip(&parts).all(|(count, part)| if *count == 0 { *part == 0 } else { *part >= 8 }));
    }
}

#[test]
fn the_table_is_markdown_with_a_sum_of_what_belongs_together() {
    let results = synthetic(4000, &[Recovery::Rollback]);
    let text = table(&results);
    let lines: Vec<&str> = text.lines().collect();
    let width = lines[0].matches('|').count();
    assert!(lines[..11].iter().all(|line| line.matches('|').count() == width), "{text}");
    let column = |line: &str, index: usize| line.split('|').nth(index).expect("a column").trim().to_owned();
    let names: Vec<String> = lines[2..11].iter().map(|line| column(line, 1)).collect();
    let expected = ["timer", "scheduler", "fs", "console", "store", "**together**", "supervisor", "program", "kernel"];
    assert_eq!(names, expected);
    let injected = |line: &str| column(line, 2).parse::<u64>().expect("a number");
    assert_eq!(injected(lines[7]), lines[2..7].iter().map(|line| injected(line)).sum::<u64>());
    let fs = Counts::of(results.records.iter().filter(|record| record.service == "fs"));
    assert_eq!(column(lines[4], 14), interval(wilson(fs.recovered(), fs.detected())));
    assert!(text.contains("| crash | ") && text.contains("| swifi | "));
    let two = table(&synthetic(4000, &[Recovery::Rollback, Recovery::Blind]));
    assert!(two.starts_with("| recovery | service |") && two.contains("| blind | **together** |"));
}

#[test]
fn bars_have_a_character_for_whatever_occurred() {
    let results = synthetic(4000, &[Recovery::Blind]);
    let text = bars(&results);
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows.len(), 10);
    for row in &rows[..9] {
        let bar = row.split('│').nth(1).expect("a bar");
        assert_eq!(bar.chars().count(), 40, "{row}");
        assert!(['█', '·', 's', 'c', 'l'].iter().all(|glyph| bar.contains(*glyph)), "{row}");
    }
    assert!(rows[9].contains("█ transparent") && rows[9].contains("k kernel dead"));
}
