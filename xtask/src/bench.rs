//! `cargo xtask bench`: guest instructions of the operations that matter, exact and repeatable.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;

use crate::artefact::System;
use crate::host;
use crate::image::Start;
use crate::qemu::{self, Console, Cpu, Machine};
use crate::workspace::Workspace;

const PROGRAM: &str = "bench";
/// Marks round the table in README.md.
const OPEN: &str = "<!-- bench -->";
const CLOSE: &str = "<!-- /bench -->";
const LIMIT: Duration = Duration::from_secs(300);

/// Measures in guest instructions, client stub to client stub, on a cortex-a15.
#[derive(Args)]
pub struct Bench {
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// Write the table into README.md, too
    #[arg(long)]
    readme: bool,
    /// Fail if a figure is above its limit
    #[arg(long)]
    check: bool,
}

/// A figure that the design promises to stay below, or one that is only told.
struct Row {
    name: &'static str,
    meaning: &'static str,
    limit: Option<u64>,
}

const fn row(name: &'static str, meaning: &'static str, limit: Option<u64>) -> Row {
    Row { name, meaning, limit }
}

/// In the order of the table.
const ROWS: [Row; 9] = [
    row("syscall_null", "the cheapest kernel call", Some(24)),
    row("call_null", "protected call, no SSR", Some(110)),
    row("call_ssr_64", "SSR granted for writing, 64 B used", Some(130)),
    row("call_ssr_256", "the same, 256 B", Some(150)),
    row("call_lent_4k", "4 KiB of lent data read by the server, copied", Some(900)),
    row(
        "recover_80k",
        "data abort in a service with 16 KiB of data and 64 KiB of heap, to the reply of the retried call",
        Some(8000),
    ),
    row("recover_clients_1", "the same with 1 bound client", None),
    row("recover_clients_100", "with 100", None),
    row("recover_clients_1000", "with 1000", None),
];

/// One line of the guest.
#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Figure {
    name: String,
    instructions: u64,
}

impl Bench {
    /// Boots the measuring program and shows what it found. Status 1 if a figure is missing.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        let emulator = qemu::find()?;
        let system = System::build(workspace)?;
        let bootable = system.pack("bench", &[Start { program: PROGRAM, instances: 1, argument: 0 }], None)?;
        let machine = Machine { cpu: Cpu::CortexA15, hyp: false };
        let command = qemu::command(&emulator, system.board, machine, Console::Output, &bootable.path(), None);
        let bar = host::spinner("measuring");
        let outcome = qemu::run(command, Some(LIMIT), |_| ());
        bar.finish_and_clear();
        let outcome = outcome?;
        if outcome.status != 0 {
            bail!("the measuring program ended with status {}:\n{}", outcome.status, outcome.output.trim_end());
        }
        let figures = figures(outcome.lines_of(PROGRAM))?;
        if self.json {
            outcome.lines_of(PROGRAM).filter(|line| line.starts_with('{')).for_each(|line| println!("{line}"));
        } else {
            print!("{}", table(&figures));
        }
        if self.readme {
            let path = workspace.root.join("README.md");
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let text = with_table(&text, &table(&figures)).context("README.md has lost the marks of its table")?;
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let complete = ROWS.iter().all(|row| value(&figures, row.name).is_some());
        let good = complete && (within_limits(&figures) || !self.check);
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn figures<'l>(lines: impl Iterator<Item = &'l str>) -> Result<Vec<Figure>> {
    let lines = lines.filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("the measuring program printed {line:?}")))
        .collect()
}

/// A text with the table between its marks replaced; `None` without marks.
fn with_table(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(OPEN)?;
    let (_, after) = rest.split_once(CLOSE)?;
    Some(format!("{before}{OPEN}\n{table}{CLOSE}{after}"))
}

fn value(figures: &[Figure], name: &str) -> Option<u64> {
    figures.iter().find(|figure| figure.name == name).map(|figure| figure.instructions)
}

/// Whether no figure is above its limit.
fn within_limits(figures: &[Figure]) -> bool {
    ROWS.iter().all(|row| row.limit.is_none_or(|limit| value(figures, row.name).is_none_or(|found| found <= limit)))
}

/// A table in Markdown, which a terminal shows as well.
fn table(figures: &[Figure]) -> String {
    let mut text = String::from("| name | what | instructions | at most | |\n|---|---|---:|---:|---|\n");
    let shown = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    for row in &ROWS {
        let found = value(figures, row.name);
        let verdict = match (found, row.limit) {
            (None, _) => "missing",
            (Some(found), Some(limit)) if found > limit => "miss",
            (Some(_), Some(_)) => "pass",
            (Some(_), None) => "",
        };
        text.push_str(&format!(
            "| `{}` | {} | {} | {} | {verdict} |\n",
            row.name,
            row.meaning,
            shown(found),
            shown(row.limit)
        ));
    }
    for figure in figures.iter().filter(|figure| ROWS.iter().all(|row| row.name != figure.name)) {
        text.push_str(&format!("| `{}` | | {} | - | |\n", figure.name, figure.instructions));
    }
    if let (Some(one), Some(many)) = (value(figures, "recover_clients_1"), value(figures, "recover_clients_1000")) {
        text.push_str(&format!(
            "\nCost of a bound client in a recovery: {} instructions.\n",
            many.saturating_sub(one) / 999
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(instructions: u64) -> Vec<Figure> {
        ROWS.iter().map(|row| Figure { name: row.name.into(), instructions }).collect()
    }

    #[test]
    fn the_readme_gets_its_table() {
        let text = format!("a\n{OPEN}\nold\n{CLOSE}\nb\n");
        assert_eq!(with_table(&text, "new\n"), Some(format!("a\n{OPEN}\nnew\n{CLOSE}\nb\n")));
        assert_eq!(with_table("no marks", "new\n"), None);
        let readme = include_str!("../../README.md");
        for row in &ROWS {
            assert!(
                readme.contains(&format!("| `{}` |", row.name)),
                "README.md lacks {}: xtask bench --readme",
                row.name
            );
        }
    }

    #[test]
    fn limits_are_judged() {
        assert!(within_limits(&all(24)));
        assert!(!within_limits(&all(25)), "one is above");
        assert!(table(&all(25)).contains("| 25 | 24 | miss |"));
        assert!(table(&all(25)[1..]).contains("| - | 24 | missing |"));
    }

    #[test]
    fn lines_that_are_no_figures_are_told_apart() {
        let lines = ["[boot] x", "{\"name\":\"a\",\"instructions\":7}", "done"];
        assert_eq!(figures(lines.into_iter()).expect("good"), [Figure { name: "a".into(), instructions: 7 }]);
        assert!(figures(["{\"name\":\"a\"}"].into_iter()).is_err());
    }
}
