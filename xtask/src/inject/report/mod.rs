//! What a campaign came to, for people: a table, and a page that needs nothing but itself.
//!
//! The page is the same bytes for the same results. It works without a network and without scripts; one script lets the
//! table of misses be searched.

mod bars;
mod misses;
mod page;
mod plots;
#[cfg(test)]
mod tests;
mod text;

use std::path::{Path, PathBuf};

use anyhow::Result;
pub use text::{bars, table};

use super::fault::FaultModel;
use super::model::Outcome;
use super::results::{self, Results};

/// What is reported, but not added to the others: the recoverer, those who are not recovered, and the kernel.
const APART: [&str; 3] = ["supervisor", "program", "kernel"];

/// Writes `report.html` into a campaign's folder.
///
/// # Errors
/// If there is no room, for one; a report that was there before stays.
pub fn write(folder: &Path, results: &Results) -> Result<PathBuf> {
    let path = folder.join("report.html");
    let page = page::page(results).into_string();
    results::replace(&path, |writer| Ok(writer.write_all(page.as_bytes())?))?;
    Ok(path)
}

/// An outcome in words.
fn label(outcome: Outcome) -> String {
    outcome.name().replace('_', " ")
}

/// The fault model of this name; `None` for one that another version of the tool had.
fn model(fault: &str) -> Option<FaultModel> {
    FaultModel::ALL.into_iter().find(|model| model.name() == fault)
}

/// The family that a fault model belongs to.
fn family(fault: &str) -> &'static str {
    model(fault).map_or("other", FaultModel::family)
}
