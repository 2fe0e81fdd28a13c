//! The folder of a campaign: made, filled, taken up again, read.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::lines;
use super::record::Record;
use crate::inject::model::Recovery;

const CONFIGURATION: &str = "campaign.json";
const SHARD: &str = "shard.json";
const PARTIAL: &str = "results.partial.jsonl";
const RESULTS: &str = "results.jsonl";
/// The version of all these files.
const FORMAT: u32 = 1;
/// Records after which the disk is asked to keep what it has.
const SYNC: usize = 1000;

/// All that the results of a campaign depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// Version of the files.
    pub format: u32,
    /// The commit that everything was built from.
    pub commit: String,
    /// Whether there were changes beyond it.
    pub dirty: bool,
    /// The compiler.
    pub compiler: String,
    /// The emulator's version.
    pub qemu: String,
    /// The seed of all that is random.
    pub seed: u64,
    /// Experiments asked for, for each service and way to recover.
    pub count: u64,
    /// Experiments in the plan.
    pub experiments: u64,
    /// Services under test.
    pub services: Vec<String>,
    /// Fault models.
    pub faults: Vec<String>,
    /// Ways to recover.
    pub recovery: Vec<Recovery>,
    /// How experiments were carried out: told for information, since the results are the same.
    pub engine: String,
    /// The runs that all others are compared with.
    pub golden: Vec<Golden>,
}

impl Configuration {
    /// The version of the files that this tool writes.
    pub const FORMAT: u32 = FORMAT;

    /// What would make the results others: a line for each, empty if nothing would.
    pub fn differences(&self, other: &Configuration) -> Vec<String> {
        let value = |configuration: &Configuration| {
            let told = Configuration { engine: String::new(), ..configuration.clone() };
            serde_json::to_value(told).unwrap_or_default()
        };
        let (own, others) = (value(self), value(other));
        let fields = own.as_object().into_iter().flatten();
        let different = fields.filter(|(name, value)| others.get(name) != Some(value));
        different
            .map(|(name, value)| match name.as_str() {
                "golden" => "golden runs: they, or the images, are not the same".to_owned(),
                _ => format!("{name}: {value} there, {} here", others.get(name).unwrap_or_default()),
            })
            .collect()
    }
}

/// A run without a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// The service under test.
    pub service: String,
    /// How the image recovers.
    pub recovery: Recovery,
    /// SHA-256 of the image.
    pub image: String,
    /// Clients of the workload.
    pub clients: u32,
    /// Results in all their logs.
    pub results: u32,
    /// Instructions from the beginning of the workload to its end.
    pub instructions: u64,
    /// Those of the target among them.
    pub target: u64,
}

/// A part of a campaign, for one of several machines: every so many-th experiment of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// Which, from 1.
    pub index: u64,
    /// Of how many.
    pub of: u64,
}

impl Shard {
    /// The whole.
    pub const WHOLE: Shard = Shard { index: 1, of: 1 };

    /// Whether an experiment is part of it.
    pub fn has(self, number: u64) -> bool {
        self.of != 0 && number % self.of + 1 == self.index
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let numbers = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Shard { index, of }),
            _ => Err("a shard is written I/N, from 1/N to N/N".to_owned()),
        }
    }
}

/// A campaign that is being carried out. Nobody else can take up its folder meanwhile.
#[derive(Debug)]
pub struct Campaign {
    folder: PathBuf,
    configuration: Configuration,
    shard: Shard,
    records: BTreeMap<u64, Record>,
    partial: File,
    /// Bytes of the partial file that are whole lines.
    whole: u64,
    appended: usize,
    /// Holds the lock.
    _lock: File,
}

impl Campaign {
    /// A new one in a folder that is empty or does not exist.
    ///
    /// # Errors
    /// If the folder holds anything, or cannot be written.
    pub fn create(folder: &Path, configuration: &Configuration, shard: Shard) -> Result<Campaign> {
        Campaign::vacant(folder)?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        if shard != Shard::WHOLE {
            lines::replace_json(&folder.join(SHARD), &shard)?;
        }
        // Last: a folder is a campaign when it has one.
        lines::replace_json(&folder.join(CONFIGURATION), configuration)?;
        Campaign::open(folder, configuration).map(|(campaign, _)| campaign)
    }

    /// Whether a new campaign may have a folder: one that is empty or does not exist.
    ///
    /// # Errors
    /// If it holds anything, or cannot be read.
    pub fn vacant(folder: &Path) -> Result<()> {
        let shown = folder.display();
        if folder.join(CONFIGURATION).exists() {
            bail!("{shown} holds a campaign already. Go on with it (`--resume {shown}`), or choose another `--out`");
        }
        match std::fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => {
                let mut entries = entries.with_context(|| format!("cannot read {shown}"))?;
                ensure!(
                    entries.next().is_none(),
                    "{shown} holds something that is no campaign: choose another `--out`"
                );
            }
        }
        Ok(())
    }

    /// One that was interrupted, with notices for the user; also one that has ended, with nothing left to do.
    ///
    /// # Errors
    /// If the folder holds no campaign, one of another configuration, or a damaged one, or somebody works in it.
    pub fn resume(folder: &Path, configuration: &Configuration) -> Result<(Campaign, Vec<String>)> {
        Campaign::open(folder, configuration)
    }

    fn open(folder: &Path, configuration: &Configuration) -> Result<(Campaign, Vec<String>)> {
        let lock = lock(folder)?;
        let (read, tail) = Results::load(folder)?;
        let differences = read.configuration.differences(configuration);
        if !differences.is_empty() {
            bail!(
                "{} holds a campaign of another configuration, which cannot be gone on with here:\n  {}",
                folder.display(),
                differences.join("\n  ")
            );
        }
        let path = folder.join(PARTIAL);
        let failed = || format!("cannot write {}", path.display());
        let partial = OpenOptions::new().create(true).append(true).open(&path).with_context(failed)?;
        if tail.cut {
            partial.set_len(tail.whole).with_context(failed)?;
        }
        let campaign = Campaign {
            folder: folder.to_owned(),
            configuration: read.configuration,
            shard: read.shard,
            records: read.records.into_iter().map(|record| (record.number, record)).collect(),
            partial,
            whole: tail.whole,
            appended: 0,
            _lock: lock,
        };
        Ok((campaign, read.notices))
    }

    /// Records go elsewhere from now on.
    #[cfg(test)]
    pub fn write_to(&mut self, file: File) {
        self.partial = file;
    }

    /// Whether an experiment remains to be done here.
    pub fn wants(&self, number: u64) -> bool {
        self.shard.has(number) && number < self.configuration.experiments && !self.records.contains_key(&number)
    }

    /// What was found so far, in the order of the plan.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.records.values()
    }

    /// Experiments of this shard.
    pub fn planned(&self) -> u64 {
        planned(&self.configuration, self.shard)
    }

    /// Adds an experiment that was wanted. Whatever happens from now on, it is not lost.
    ///
    /// # Errors
    /// If it was not wanted, or there is no room for it; all that was added before stays.
    pub fn append(&mut self, record: Record) -> Result<()> {
        ensure!(self.wants(record.number), "experiment {} is no part of the plan, or done already", record.id);
        let line = lines::line(&record)?;
        let written = self.partial.write_all(&line).and_then(|()| {
            self.appended += 1;
            if self.appended.is_multiple_of(SYNC) { self.partial.sync_data() } else { Ok(()) }
        });
        if let Err(error) = written {
            // What is left of the line must not stand before the next one. If this fails, too, the next reader sees a cut line.
            let _ = self.partial.set_len(self.whole);
            let folder = self.folder.display();
            return Err(anyhow!(error).context(format!(
                "cannot write {}. The {} experiments that are in it are safe: make room, then go on with \
                 the same options and `--resume {folder}`",
                self.folder.join(PARTIAL).display(),
                self.records.len()
            )));
        }
        self.whole += line.len() as u64;
        self.records.insert(record.number, record);
        Ok(())
    }

    /// Ends it: the records, in the order of the plan, in a file that is the same however they came to be.
    ///
    /// # Errors
    /// If experiments are missing, or there is no room. Nothing is lost.
    pub fn finish(self) -> Result<Results> {
        let missing = self.planned() - self.records.len() as u64;
        ensure!(missing == 0, "{missing} experiments are missing");
        write(&self.folder, self.records.values())?;
        let path = self.folder.join(PARTIAL);
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        Ok(Results {
            configuration: self.configuration,
            shard: self.shard,
            records: self.records.into_values().collect(),
            notices: Vec::new(),
        })
    }
}

/// Writes `results.jsonl`.
pub fn write<'r>(folder: &Path, records: impl Iterator<Item = &'r Record>) -> Result<()> {
    lines::replace(&folder.join(RESULTS), |writer| {
        for record in records {
            writer.write_all(&lines::line(record)?)?;
        }
        Ok(())
    })
}

/// Experiments of a shard.
fn planned(configuration: &Configuration, shard: Shard) -> u64 {
    (configuration.experiments + shard.of - shard.index) / shard.of
}

/// What a campaign's folder holds.
#[derive(Clone, Debug)]
pub struct Results {
    /// Its configuration.
    pub configuration: Configuration,
    /// Which part of the whole it is.
    pub shard: Shard,
    /// The experiments that are done, in the order of the plan.
    pub records: Vec<Record>,
    /// What the user should know.
    pub notices: Vec<String>,
}

/// How the partial file ends.
struct Tail {
    /// Bytes of it that are whole lines.
    whole: u64,
    /// Whether there is more behind them.
    cut: bool,
}

impl Results {
    /// Reads a campaign, ended or not.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub fn read(folder: &Path) -> Result<Results> {
        Results::load(folder).map(|(results, _)| results)
    }

    fn load(folder: &Path) -> Result<(Results, Tail)> {
        let configuration = Results::configuration(folder)?;
        let shard = if folder.join(SHARD).exists() { json(&folder.join(SHARD))? } else { Shard::WHOLE };
        let possible = (1..=shard.of).contains(&shard.index);
        ensure!(possible, "{} is damaged: there is no shard {shard}", folder.join(SHARD).display());
        let (mut records, mut notices) = (BTreeMap::new(), Vec::new());
        let mut add = |path: &Path, lines: &mut lines::Lines| {
            for (index, record) in lines.records.drain(..).enumerate() {
                let known = shard.has(record.number) && record.number < configuration.experiments;
                ensure!(known, "{}: experiment {} is no part of this campaign", lines::damaged(path, index), record.id);
                match records.entry(record.number) {
                    Entry::Vacant(place) => {
                        place.insert(record);
                    }
                    Entry::Occupied(place) => ensure!(
                        *place.get() == record,
                        "{}: experiment {} stands there with another result than before",
                        lines::damaged(path, index),
                        record.id
                    ),
                }
            }
            Ok(())
        };
        let path = folder.join(RESULTS);
        let mut whole = lines::read(&path)?;
        ensure!(whole.cut == 0, lines::damaged(&path, whole.records.len()));
        add(&path, &mut whole)?;
        let path = folder.join(PARTIAL);
        let mut partial = lines::read(&path)?;
        add(&path, &mut partial)?;
        if partial.cut > 0 {
            notices.push(format!(
                "the last line of {} was cut short ({} bytes): that experiment does not count, and is carried out again",
                path.display(),
                partial.cut
            ));
        }
        let tail = Tail { whole: partial.whole, cut: partial.cut > 0 };
        Ok((Results { configuration, shard, records: records.into_values().collect(), notices }, tail))
    }

    /// Only its configuration.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub fn configuration(folder: &Path) -> Result<Configuration> {
        let path = folder.join(CONFIGURATION);
        ensure!(path.exists(), "{} holds no campaign: there is no {CONFIGURATION} in it", folder.display());
        let value: serde_json::Value = json(&path)?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        if let Some(other) = format.filter(|format| *format != u64::from(FORMAT)) {
            bail!("{} has format {other}; this version reads and writes format {FORMAT}", path.display());
        }
        serde_json::from_value(value).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Experiments that are not done, of those that should be in this folder.
    pub fn missing(&self) -> u64 {
        planned(&self.configuration, self.shard) - self.records.len() as u64
    }
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
}

/// Keeps everybody else from working in a folder, for as long as the file is open.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(CONFIGURATION);
    let file = File::open(&path)
        .with_context(|| format!("{} holds no campaign: cannot open {CONFIGURATION} in it", folder.display()))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            bail!("somebody else works in {}: wait until that has ended", folder.display())
        }
        // A file system without locks: then nobody is kept from anything.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}
