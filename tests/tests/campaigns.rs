//! Fault-injection campaigns: what a small one finds, that its parts make up the whole, what is refused.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{must, scratch, xtask};
use serde_json::Value;

/// Everything with a workload, in the order in which a campaign takes it if nothing is named.
const SERVICES: [&str; 6] = ["timer", "scheduler", "fs", "console", "store", "supervisor"];
/// The service of those tests that look at the course of a campaign. It is the first, so that its experiments have the same
/// numbers in a campaign of its own as in one over all services.
const ONE: &str = SERVICES[0];
/// Experiments for each service: more than there are fault models, so that each is tried.
const COUNT: usize = 40;
/// All that results depend on.
const PLAN: [&str; 4] = ["--count", "40", "--seed", "1"];
/// Outcomes that no fault in an object may have.
const FORBIDDEN: [&str; 3] = ["collateral", "hang", "kernel_dead"];
/// All others.
const ALLOWED: [&str; 6] =
    ["not_injected", "masked", "transparent", "request_failed", "session_lost", "silent_corruption"];
/// How long a test waits for what should happen within seconds.
const PATIENCE: Duration = Duration::from_secs(300);
const RESULTS: &str = "results.jsonl";
const PARTIAL: &str = "results.partial.jsonl";

fn inject<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Command {
    let mut command = xtask();
    command.arg("inject").args(arguments);
    command
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The output of a command that must do what it should.
#[track_caller]
fn good(mut command: Command) -> String {
    let output = must(command.output());
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, error(&output));
    must(String::from_utf8(output.stdout))
}

/// The message of a command that must be refused, and leave this folder as it is.
#[track_caller]
fn refused(mut command: Command, folder: &Path, expected: &[&str]) -> String {
    let before = contents(folder);
    let output = must(command.output());
    let text = error(&output);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{command:?}: {}\n{text}", output.status);
    for part in expected {
        assert!(text.contains(part), "{command:?}: {part:?} is not in: {text}");
    }
    assert!(!text.contains("panicked") && output.stdout.is_empty(), "{command:?}: {text}");
    assert_eq!(before, contents(folder), "{command:?} changed something");
    text
}

/// All files of a folder, and of those in it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = must(entry).path();
        if path.is_dir() {
            all.extend(contents(&path));
            all.insert(path, Vec::new());
        } else {
            let bytes = must(fs::read(&path));
            all.insert(path, bytes);
        }
    }
    all
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| must(serde_json::from_str(line))).collect()
}

fn read(folder: &Path, file: &str) -> String {
    must(fs::read_to_string(folder.join(file)))
}

/// The campaign that the tests share.
struct Campaign {
    folder: PathBuf,
    /// What it printed.
    summary: Vec<Value>,
    /// The lines of its results.
    results: Vec<String>,
    records: Vec<Value>,
}

fn campaign() -> &'static Campaign {
    static CAMPAIGN: OnceLock<Campaign> = OnceLock::new();
    CAMPAIGN.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("campaign");
        if folder.exists() {
            must(fs::remove_dir_all(&folder));
        }
        let mut command = inject(&PLAN);
        command.args(["--json", "--jobs", "2", "--out"]).arg(&folder);
        let summary = lines(&good(command));
        let text = read(&folder, RESULTS);
        assert!(!folder.join(PARTIAL).exists());
        let results: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        Campaign { folder, summary, records: lines(&text), results }
    })
}

/// What `results.jsonl` of a campaign on [`ONE`] must be.
fn expected() -> String {
    campaign().results[..COUNT].concat()
}

/// A part of the campaign on [`ONE`].
fn part(arguments: &[&str]) -> Command {
    let mut command = inject(&["--service", ONE]);
    command.args(PLAN).args(arguments);
    command
}

#[test]
fn no_fault_reaches_beyond_its_request() {
    let Campaign { records, .. } = campaign();
    let bad: Vec<String> = records
        .iter()
        .filter(|record| FORBIDDEN.iter().any(|outcome| record["outcome"] == *outcome))
        .map(|record| {
            format!("{} {}: {} ({})", record["id"], record["outcome"], record["explanation"], record["where"])
        })
        .collect();
    assert!(bad.is_empty(), "{} of {} experiments:\n{}", bad.len(), records.len(), bad.join("\n"));
}

#[test]
fn every_record_proves_its_injection() {
    let Campaign { records, .. } = campaign();
    assert_eq!(records.len(), COUNT * SERVICES.len());
    let ids: BTreeSet<&str> = records.iter().filter_map(|record| record["id"].as_str()).collect();
    assert_eq!(ids.len(), records.len(), "two experiments have one name");
    for (number, record) in records.iter().enumerate() {
        assert_eq!(record["number"], number);
        assert_eq!(record["service"], SERVICES[number / COUNT]);
        let place = &record["where"];
        // What is written in assembly has a name, and no file.
        let known = [&record["fault"], &place["function"], &place["what"]];
        assert!(known.iter().all(|text| text.as_str().is_some_and(|text| !text.is_empty())), "{record}");
        assert_eq!(place["file"] == "", place["line"] == 0, "{record}");
        assert!(record["when"]["instruction"].as_u64() < record["when"]["of"].as_u64(), "{record}");
        if record["outcome"] == "not_injected" {
            assert_eq!((&record["before"], &record["after"]), (&Value::Null, &Value::Null), "{record}");
            assert_ne!(record["explanation"], "", "{record}");
        } else {
            assert!(record["before"].is_string() && record["after"].is_string(), "{record}");
            assert_ne!(record["before"], record["after"], "{record}");
        }
    }
}

#[test]
fn the_summary_counts_the_results() {
    let Campaign { summary, records, .. } = campaign();
    let mut sum = 0;
    for group in summary {
        let own: Vec<&Value> = records
            .iter()
            .filter(|record| ["service", "fault", "recovery"].iter().all(|key| record[key] == group[key]))
            .collect();
        for outcome in ALLOWED.into_iter().chain(FORBIDDEN) {
            let count = own.iter().filter(|record| record["outcome"] == outcome).count();
            assert_eq!(group[outcome], count, "{outcome} in {group}");
        }
        assert_eq!(group["experiments"], own.len());
        sum += own.len();
    }
    assert_eq!(sum, records.len(), "each experiment belongs to one line");
    for service in SERVICES {
        let of = |key: &str| {
            let groups = summary.iter().filter(|group| group["service"] == service);
            groups.map(|group| group[key].as_u64().expect("a count")).sum::<u64>()
        };
        // Where no session is open, there is no SSR to be struck: of two fault models, all may be lost.
        assert!(of("injected") * 10 >= COUNT as u64 * 9, "{service}: {} injected", of("injected"));
        assert!(of("manifested") > 0 && of("transparent") > 0, "{service}");
    }
}

#[test]
fn shards_make_up_the_whole() {
    let folder = scratch();
    let shard = |index: usize| folder.path().join(index.to_string());
    good(part(&["--jobs", "1", "--shard", "1/2", "--out", path(&shard(1))]));
    good(part(&["--jobs", "2", "--shard", "2/2", "--out", path(&shard(2))]));
    let merged = folder.path().join("merged");
    let merge = |shards: &[usize]| {
        let mut command = inject(&["merge", "--out", path(&merged)]);
        command.args(shards.iter().map(|index| shard(*index)));
        command
    };
    let missing = format!("{} of {COUNT} experiments are missing", COUNT / 2);
    refused(merge(&[1]), folder.path(), &[&missing, "of shard 2/2", "--partial"]);
    refused(merge(&[2, 3]), folder.path(), &["holds no campaign", "3"]);
    good(merge(&[2, 1]));
    assert_eq!(read(&merged, RESULTS), expected());
    // Into what is there already.
    refused(merge(&[1, 2]), folder.path(), &["holds a campaign already"]);
    // A campaign that somebody wrote into by hand.
    let results = shard(2).join(RESULTS);
    let text = must(fs::read_to_string(&results));
    let other = text.replacen("\"ticks\":", "\"ticks\":1", 1);
    must(fs::write(shard(1).join(PARTIAL), &other));
    must(fs::write(&results, text.replacen("\"number\":3,", "\"number\":x,", 1)));
    must(fs::remove_dir_all(&merged));
    refused(merge(&[1, 2]), folder.path(), &["is no part of this campaign"]);
    must(fs::remove_file(shard(1).join(PARTIAL)));
    refused(merge(&[1, 2]), folder.path(), &["line 2 of", "is damaged"]);
    must(fs::remove_file(shard(2).join("campaign.json")));
    refused(merge(&[1, 2]), folder.path(), &["holds no campaign", "campaign.json"]);
}

/// Starts a campaign that can be interrupted as from a terminal: with everything that it has started.
fn start(mut command: Command) -> Child {
    command.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped());
    must(command.spawn())
}

/// Sends Ctrl-C once so many experiments are done, and waits for the end. None if the campaign was faster.
fn interrupted(command: Command, folder: &Path, after: usize) -> Option<String> {
    let (mut child, begin) = (start(command), Instant::now());
    let partial = folder.join(PARTIAL);
    while must(child.try_wait()).is_none() {
        if fs::read(&partial).is_ok_and(|bytes| bytes.iter().filter(|byte| **byte == b'\n').count() >= after) {
            let sent = must(Command::new("sh").args(["-c", &format!("kill -INT -{}", child.id())]).status());
            assert!(sent.success(), "{sent}");
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "no experiment is done");
        sleep(Duration::from_millis(1));
    }
    let status = must(child.wait());
    let mut text = String::new();
    must(child.stderr.take().expect("is piped").read_to_string(&mut text));
    if status.success() {
        return None;
    }
    assert_eq!(status.code(), Some(1), "{status}: {text}");
    Some(text)
}

#[test]
fn an_interruption_leaves_no_trace() {
    let parent = scratch();
    let folder = parent.path().join("campaign");
    let begin = Instant::now();
    let text = loop {
        if let Some(text) = interrupted(part(&["--jobs", "2", "--out", path(&folder)]), &folder, 2) {
            break text;
        }
        assert!(begin.elapsed() < PATIENCE, "it is never interrupted");
        must(fs::remove_dir_all(&folder));
    };
    let done = read(&folder, PARTIAL).lines().count();
    let broken = format!("broken off after {done} of {COUNT} experiments");
    assert!(text.contains(&broken) && text.contains("--resume"), "{broken:?} is not in: {text}");
    assert!((2..COUNT).contains(&done) && !folder.join(RESULTS).exists());

    // What must not be gone on with.
    let resume = |arguments: &[&str]| {
        let mut command = inject(arguments);
        command.args(["--resume", path(&folder)]);
        command
    };
    let other =
        refused(resume(&["--service", ONE, "--count", "40", "--seed", "2"]), &folder, &["seed: 1 there, 2 here"]);
    assert!(other.contains("another configuration"), "{other}");
    refused(resume(&["--shard", "2/2"]), &folder, &["holds shard 1/1", "without `--shard`"]);
    let partial = folder.join(PARTIAL);
    let whole = must(fs::read_to_string(&partial));
    must(fs::write(&partial, whole.replacen("\"outcome\":", "\"outcome\"", 1)));
    refused(resume(&[]), &folder, &["line 1 of", "is damaged", "Remove it", "--resume"]);
    let configuration = folder.join("campaign.json");
    let good_one = must(fs::read(&configuration));
    must(fs::write(&configuration, &good_one[..good_one.len() / 2]));
    refused(resume(&[]), &folder, &["campaign.json is damaged"]);
    must(fs::remove_file(&configuration));
    refused(resume(&[]), &folder, &["holds no campaign"]);
    must(fs::write(&configuration, &good_one));

    // Ended in the midst of a line: told, and carried out again. All options that are not given are the folder's.
    must(fs::write(&partial, &whole[..whole.len() - 10]));
    let mut command = resume(&["--jobs", "1"]);
    let output = must(command.output());
    assert!(output.status.success() && error(&output).contains("cut short"), "{}", error(&output));
    assert_eq!(read(&folder, RESULTS), expected());
    assert!(!partial.exists());
    // Once more: there is nothing left to do.
    good(resume(&[]));
    assert_eq!(read(&folder, RESULTS), expected());
}

#[test]
fn a_replay_shows_the_same() {
    let Campaign { records, .. } = campaign();
    let one_of = |test: &dyn Fn(&Value) -> bool| records.iter().find(|record| test(record)).expect("there is one");
    let chosen = [
        one_of(&|record| record["outcome"] == "transparent"),
        one_of(&|record| record["fault"] == "interrupt-doubled"),
        one_of(&|record| record["service"] == SERVICES[4] && record["outcome"] != "masked"),
    ];
    for record in chosen {
        let text = good(inject(&["replay", record["id"].as_str().expect("a name")]));
        let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let again = must(values.next().expect("the record comes first"));
        for (key, value) in record.as_object().expect("a record").iter().filter(|(key, _)| *key != "number") {
            assert_eq!(again[key], *value, "{key} of {}", record["id"]);
        }
    }
}

#[test]
fn bad_options_are_explained() {
    let folder = scratch();
    let out = folder.path().join("out");
    let own = &campaign().folder;
    for (arguments, expected) in [
        (&["--service", "nonsense"][..], &["no service nonsense", "timer"][..]),
        (&["--fault", "nonsense"], &["nonsense", "possible values"]),
        (&["--service", "fs", "--fault", "interrupt-lost"], &["interrupt-lost does not apply", "no interrupt"]),
        (&["--recovery", "nonsense"], &["nonsense"]),
        (&["--count", "0"], &["0"]),
        (&["--count", "many"], &["many"]),
        (&["--jobs", "0"], &["0"]),
        (&["--seed", "-1"], &["-1"]),
        (&["--shard", "0/2"], &["I/N"]),
        (&["--shard", "3/2"], &["I/N"]),
        (&["--shard", "x"], &["I/N"]),
        (&["--nonsense"], &["--help"]),
        (&["--baselines", "--recovery", "blind"], &["cannot be used with"]),
        (&["--resume", "nowhere"], &["cannot be used with"]),
    ] {
        refused(inject(&[arguments, &["--out", path(&out)]].concat()), folder.path(), expected);
    }
    must(fs::create_dir(&out));
    must(fs::write(out.join("thesis.tex"), "x"));
    refused(inject(&["--out", path(&out)]), &out, &["choose another `--out`"]);
    refused(inject(&["--out", path(own)]), own, &["holds a campaign already", "--resume"]);
    refused(inject(&["--resume", path(&out)]), &out, &["holds no campaign"]);
    refused(inject(&["merge", path(own)]), own, &["--out"]);
    refused(inject(&["merge", "--out", path(&out)]), &out, &["FOLDERS"]);
    for (id, expected) in [
        ("nonsense", "no experiment's name"),
        ("timer.rollback.register.1.17.3", "no experiment's name"),
        ("timer.rollback.register.1.-3", "no experiment's name"),
        ("nonsense.rollback.register.1.17", "no service nonsense"),
        ("timer.nonsense.register.1.17", "nonsense"),
        ("timer.rollback.nonsense.1.17", "no fault model nonsense"),
        ("fs.rollback.interrupt-lost.1.0", "interrupt-lost does not apply"),
    ] {
        refused(inject(&["replay", id]), folder.path(), &[expected]);
    }
    refused(inject(&["replay"]), folder.path(), &["ID"]);
}

#[test]
fn everything_is_listed_and_explained() {
    let text = good(inject(&["list"]));
    let listed: BTreeSet<&str> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let Campaign { records, .. } = campaign();
    let own = records.iter().flat_map(|record| ["service", "fault", "recovery"].map(|key| &record[key]));
    let own = own.map(|name| name.as_str().expect("a name"));
    let missing: BTreeSet<&str> = own.chain(["program", "kernel"]).filter(|name| !listed.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?} in: {text}");
    let help = good(inject(&["--help"]));
    for option in ["service", "fault", "count", "seed", "jobs", "shard", "resume", "out", "json"] {
        assert!(help.contains(&format!("--{option}")), "{option}: {help}");
    }
    for command in ["merge", "replay", "list"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
        let own = good(inject(&[command, "--help"]));
        assert!(own.contains(&format!("Usage: cargo xtask inject {command}")), "{own}");
    }
}
