//! Shards of a campaign put together.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use super::campaign::{Campaign, Results, Shard};
use super::record::Record;

/// Makes one campaign of several that are parts of the same, in a new folder: the same bytes as of a campaign in one go.
///
/// `partial`: make one even if experiments are missing. The result is then a campaign that was interrupted, and can be
/// resumed.
///
/// # Errors
/// If they are not parts of the same campaign, contradict each other, or (without `partial`) leave something out.
pub fn merge(folders: &[PathBuf], out: &Path, partial: bool) -> Result<Results> {
    let Some((first, others)) = folders.split_first() else {
        bail!("there is nothing to merge: name the shards' folders")
    };
    let start = Results::read(first)?;
    let mut records: BTreeMap<u64, (Record, &Path)> = BTreeMap::new();
    let mut notices = Vec::new();
    for folder in std::iter::once(first).chain(others) {
        let read = Results::read(folder)?;
        let differences = start.configuration.differences(&read.configuration);
        ensure!(
            differences.is_empty(),
            "{} and {} are no parts of the same campaign:\n  {}",
            first.display(),
            folder.display(),
            differences.join("\n  ")
        );
        notices.extend(read.notices);
        for record in read.records {
            match records.entry(record.number) {
                Entry::Vacant(place) => {
                    place.insert((record, folder));
                }
                Entry::Occupied(place) => {
                    let (other, before) = place.get();
                    ensure!(
                        *other == record,
                        "experiment {} has one result in {} and another in {}: they cannot both be of this commit and QEMU",
                        record.id,
                        before.display(),
                        folder.display()
                    );
                }
            }
        }
    }
    let missing = start.configuration.experiments - records.len() as u64;
    if missing > 0 {
        let places = places(&records, start.configuration.experiments, start.shard.of);
        let text = format!("{missing} of {} experiments are missing: {places}", start.configuration.experiments);
        ensure!(partial, "{text}. Name all shards, and resume those that were interrupted; or give `--partial`");
        notices.push(text);
    }
    let mut campaign = Campaign::create(out, &start.configuration, Shard::WHOLE)?;
    for (record, _) in records.into_values() {
        campaign.append(record)?;
    }
    let mut results = if missing == 0 {
        campaign.finish()?
    } else {
        drop(campaign);
        Results::read(out)?
    };
    results.notices.extend(notices);
    Ok(results)
}

/// How many experiments of which shards are missing.
fn places(records: &BTreeMap<u64, (Record, &Path)>, experiments: u64, of: u64) -> String {
    let mut missing: BTreeMap<u64, u64> = BTreeMap::new();
    for number in (0..experiments).filter(|number| !records.contains_key(number)) {
        *missing.entry(number % of + 1).or_default() += 1;
    }
    let shown: Vec<String> = missing.iter().map(|(index, count)| format!("{count} of shard {index}/{of}")).collect();
    shown.join(", ")
}
