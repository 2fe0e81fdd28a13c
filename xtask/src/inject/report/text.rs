//! Numbers as people read them; the table for terminals and the README; bars of characters.

use crate::inject::model::{Outcome, Recovery};
use crate::inject::results::Results;
use crate::inject::results::summary::{Counts, Group, groups, total};
use crate::inject::statistics::Share;

use super::{APART, family, label};

/// Characters of a bar.
const BAR: usize = 40;

/// A share in percent, with this many digits behind the point. It is 100 or 0 only if it is exactly that.
fn rounded(share: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", share * 100.0);
    let least = 0.1_f64.powi(digits as i32);
    match (text.parse(), share) {
        (Ok(100.0), 1.0) => "100".to_owned(),
        (Ok(0.0), 0.0) => "0".to_owned(),
        (Ok(100.0), _) => format!("{:.digits$}", 100.0 - least),
        (Ok(0.0), _) => format!("{least:.digits$}"),
        _ => text,
    }
}

/// Digits behind the point with which a share is told.
fn digits(share: f64) -> usize {
    if (0.01..0.99).contains(&share) { 1 } else { 2 }
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    rounded(share, digits(share))
}

/// A share with its interval.
pub fn interval(share: Option<Share>) -> String {
    match share {
        Some(Share { share, low, high }) => {
            let [share, low, high] = [share, low, high].map(|end| rounded(end, digits(share)));
            format!("{share} % [{low}, {high}]")
        }
        None => "-".to_owned(),
    }
}

/// Divides cells among counts: in proportion, but at least `least` for whatever is not 0.
pub fn apportion(counts: &[u64], cells: usize, least: usize) -> Vec<usize> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return vec![0; counts.len()];
    }
    let exact = |count: u64| count as f64 * cells as f64 / total as f64;
    let mut parts: Vec<usize> =
        counts.iter().map(|count| if *count == 0 { 0 } else { (exact(*count) as usize).max(least) }).collect();
    loop {
        let sum: usize = parts.iter().sum();
        // One more to who has least of its due, or one less to who has most beyond it and can spare it.
        let due = |index: usize| exact(counts[index]) - parts[index] as f64;
        let present = (0..counts.len()).filter(|index| counts[*index] > 0);
        let chosen = match sum.cmp(&cells) {
            std::cmp::Ordering::Equal => return parts,
            std::cmp::Ordering::Less => present.max_by(|a, b| due(*a).total_cmp(&due(*b))).map(|index| (index, 1)),
            std::cmp::Ordering::Greater => present
                .filter(|index| parts[*index] > least)
                .min_by(|a, b| due(*a).total_cmp(&due(*b)))
                .map(|index| (index, -1)),
        };
        // Fewer cells than things to show: each keeps its least.
        let Some((index, change)) = chosen else { return parts };
        parts[index] = parts[index].saturating_add_signed(change);
    }
}

/// The character that stands for an outcome in a bar.
pub const fn glyph(outcome: Outcome) -> char {
    match outcome {
        Outcome::NotInjected => ' ',
        Outcome::Masked => '·',
        Outcome::Transparent => '█',
        Outcome::RequestFailed => 'r',
        Outcome::SessionLost => 'l',
        Outcome::SilentCorruption => 's',
        Outcome::Collateral => 'c',
        Outcome::Hang => 'h',
        Outcome::KernelDead => 'k',
    }
}

/// A column of counts: its name and what stands in it.
type Column = (&'static str, fn(&Counts) -> u64);

/// The columns of counts in the tables, in their order.
const COLUMNS: [Column; 12] = [
    ("injected", Counts::injected),
    ("masked", |counts| counts.get(Outcome::Masked)),
    ("manifested", Counts::manifested),
    ("detected", Counts::detected),
    ("transparent", Counts::recovered),
    ("request failed", |counts| counts.get(Outcome::RequestFailed)),
    ("session lost", |counts| counts.get(Outcome::SessionLost)),
    ("silent corruption", |counts| counts.get(Outcome::SilentCorruption)),
    ("collateral", |counts| counts.get(Outcome::Collateral)),
    ("hang", |counts| counts.get(Outcome::Hang)),
    ("kernel dead", |counts| counts.get(Outcome::KernelDead)),
    ("not injected", |counts| counts.get(Outcome::NotInjected)),
];

/// Names of the columns of counts.
pub fn columns() -> impl Iterator<Item = &'static str> {
    COLUMNS.into_iter().map(|(name, _)| name)
}

/// What stands in them.
pub fn cells(counts: &Counts) -> impl Iterator<Item = u64> {
    COLUMNS.into_iter().map(move |(_, count)| count(counts))
}

/// A row of the headline table.
pub struct Row {
    /// How the image recovers.
    pub recovery: Recovery,
    /// The service; `None` for all together.
    pub service: Option<String>,
    /// What came of its experiments.
    pub counts: Counts,
}

/// The headline table: for each way to recover the services, their sum if there are several, and behind it what is
/// reported apart.
pub fn rows(results: &Results, groups: &[Group]) -> Vec<Row> {
    let mut rows = Vec::new();
    for recovery in &results.configuration.recovery {
        let of = |service: &str| {
            total(groups.iter().filter(|group| group.recovery == *recovery && group.service == service))
        };
        let services = results.configuration.services.iter().filter(|service| of(service).experiments() > 0);
        let (apart, together): (Vec<&String>, Vec<&String>) =
            services.partition(|service| APART.contains(&service.as_str()));
        let row =
            |service: &&String| Row { recovery: *recovery, service: Some((*service).clone()), counts: of(service) };
        rows.extend(together.iter().map(row));
        if together.len() > 1 {
            let mut counts = Counts::default();
            together.iter().for_each(|service| counts += of(service));
            rows.push(Row { recovery: *recovery, service: None, counts });
        }
        rows.extend(apart.iter().map(row));
    }
    rows
}

/// The headline table in Markdown, which a terminal shows as well, and behind it one by family of fault models.
pub fn table(results: &Results) -> String {
    let groups = groups(&results.configuration, &results.records);
    let several = results.configuration.recovery.len() > 1;
    let mut text = String::from(if several { "| recovery | service |" } else { "| service |" });
    columns().for_each(|name| text.push_str(&format!(" {name} |")));
    text.push_str(" transparent of detected [95 %] |\n");
    text.push_str(if several { "|---|---|" } else { "|---|" });
    text.push_str(&"---:|".repeat(COLUMNS.len() + 1));
    text.push('\n');
    for row in rows(results, &groups) {
        if several {
            text.push_str(&format!("| {} ", row.recovery.name()));
        }
        text.push_str(&format!("| {} |", row.service.as_deref().unwrap_or("**together**")));
        cells(&row.counts).for_each(|count| text.push_str(&format!(" {count} |")));
        text.push_str(&format!(" {} |\n", interval(row.counts.recovered_of_detected())));
    }
    text.push_str(&families(results, &groups, several));
    text
}

/// The families of fault models, over the services that are not reported apart.
fn families(results: &Results, groups: &[Group], several: bool) -> String {
    let mut text = String::from("\n");
    text.push_str(if several { "| recovery | faults |" } else { "| faults |" });
    text.push_str(" manifested | silent corruption | transparent of manifested [95 %] | of detected [95 %] |\n");
    text.push_str(if several { "|---|---|---:|---:|---:|---:|\n" } else { "|---|---:|---:|---:|---:|\n" });
    for recovery in &results.configuration.recovery {
        for (family, counts) in by_family(
            groups.iter().filter(|group| group.recovery == *recovery && !APART.contains(&group.service.as_str())),
        ) {
            if several {
                text.push_str(&format!("| {} ", recovery.name()));
            }
            text.push_str(&format!(
                "| {family} | {} | {} | {} | {} |\n",
                counts.manifested(),
                counts.get(Outcome::SilentCorruption),
                interval(counts.recovered_of_manifested()),
                interval(counts.recovered_of_detected())
            ));
        }
    }
    text
}

/// Sums by family of fault models, in the order in which they come.
pub fn by_family<'g>(groups: impl Iterator<Item = &'g Group>) -> Vec<(&'g str, Counts)> {
    let mut families: Vec<(&str, Counts)> = Vec::new();
    for group in groups {
        let name = family(&group.fault);
        match families.iter_mut().find(|(family, _)| *family == name) {
            Some((_, counts)) => *counts += group.counts,
            None => families.push((name, group.counts)),
        }
    }
    families
}

/// A bar for each row of the headline table, and what the characters mean.
pub fn bars(results: &Results) -> String {
    let rows = rows(results, &groups(&results.configuration, &results.records));
    let name = |row: &Row| {
        let service = row.service.as_deref().unwrap_or("together");
        if results.configuration.recovery.len() > 1 {
            format!("{} {service}", row.recovery.name())
        } else {
            service.to_owned()
        }
    };
    let width = rows.iter().map(|row| name(row).len()).max().unwrap_or(0);
    let shown = &Outcome::ALL[1..];
    let mut text = String::new();
    for row in &rows {
        let counts: Vec<u64> = shown.iter().map(|outcome| row.counts.get(*outcome)).collect();
        let bar: String = shown
            .iter()
            .zip(apportion(&counts, BAR, 1))
            .flat_map(|(outcome, cells)| std::iter::repeat_n(glyph(*outcome), cells))
            .collect();
        let missed = shown[2..].iter().filter(|outcome| row.counts.get(**outcome) > 0);
        let missed: Vec<String> =
            missed.map(|outcome| format!("{} {}", row.counts.get(*outcome), label(*outcome))).collect();
        text.push_str(&format!(
            "{:<width$} │{bar:<BAR$}│ transparent of {} detected: {}{}{}\n",
            name(row),
            row.counts.detected(),
            interval(row.counts.recovered_of_detected()),
            if missed.is_empty() { "" } else { "; " },
            missed.join(", ")
        ));
    }
    let legend: Vec<String> = shown.iter().map(|outcome| format!("{} {}", glyph(*outcome), label(*outcome))).collect();
    text.push_str(&format!("{:width$}  {}\n", "", legend.join("  ")));
    text
}
