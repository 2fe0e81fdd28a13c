//! `cargo xtask bench`: guest instructions of the operations that matter, exact and repeatable.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;

use crate::artefact::System;
use crate::board::Choice;
use crate::host;
use crate::image::Start;
use crate::qemu::{self, Console, Machine};
use crate::workspace::Workspace;

const PROGRAM: &str = "bench";
/// Mark of the table in README.md.
const MARK: &str = "bench";
const LIMIT: Duration = Duration::from_secs(300);

/// Measures in guest instructions, client stub to client stub, on a cortex-a15.
#[derive(Args)]
pub struct Bench {
    #[command(flatten)]
    board: Choice,
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

/// What a figure must not exceed.
#[derive(Clone, Copy, Debug)]
enum Limit {
    /// It is only told.
    None,
    /// A number.
    Most(u64),
    /// So many percent more than another figure.
    Beside(&'static str, u64),
}

/// A figure of the table.
struct Row {
    name: &'static str,
    meaning: &'static str,
    limit: Limit,
}

const fn row(name: &'static str, meaning: &'static str, limit: Limit) -> Row {
    Row { name, meaning, limit }
}

/// In the order of the table.
const ROWS: [Row; 28] = [
    row("syscall_null", "the cheapest kernel call", Limit::Most(24)),
    row("call_null", "protected call, no SSR", Limit::Most(110)),
    row("call_ssr_64", "SSR granted for writing, 64 B used", Limit::Most(130)),
    row("call_ssr_256", "the same, 256 B", Limit::Most(150)),
    row("call_ssr_1024", "the same, 1 KiB", Limit::None),
    row("call_ssr_4096", "the same, 4 KiB", Limit::None),
    row("call_lent_4k", "4 KiB of lent data read by the server, copied", Limit::Most(900)),
    row(
        "call_nested_2",
        "client, first service, second service and back; each service with an SSR of 64 B used",
        Limit::None,
    ),
    row(
        "call_contended",
        "call that finds the object taken and waits: what that adds to the work of both",
        Limit::None,
    ),
    row("alarm_set", "an alarm set with the timer", Limit::None),
    row("switch", "from one process to another that it yields to, the scheduler deciding", Limit::None),
    row("switch_kernel", "the same with the scheduler held: the kernel decides", Limit::None),
    row("notify", "from a service's call of `notify`, in an upcall, to its waiting client", Limit::None),
    row("irq_to_service", "from the device's interrupt to the upcall of its driver, which was at rest", Limit::None),
    row(
        "recover_80k",
        "data abort in a service with 16 KiB of data and 64 KiB of heap, to the reply of the retried call",
        Limit::Most(8000),
    ),
    row("recover_clients_1", "the same with 1 bound client", Limit::None),
    row("recover_clients_100", "with 100", Limit::None),
    row("recover_clients_1000", "with 1000", Limit::None),
    row("recover_lazy_1", "the same, sessions reloaded when next used, with 1 bound client", Limit::None),
    row("recover_lazy_1000", "with 1000", Limit::Beside("recover_lazy_1", 10)),
    row(
        "recover_timer",
        "data abort in the timer with 10 clients of 10 alarms, to the reply of the retried call",
        Limit::None,
    ),
    row("recover_scheduler", "the same in the scheduler with 10 clients", Limit::None),
    row("call_ssr_64_1000", "`call_ssr_64` with 1000 clients bound to the service", Limit::Beside("call_ssr_64", 5)),
    row("call_ssr_64_5000", "with 5000", Limit::Beside("call_ssr_64", 5)),
    row("call_cycle_1", "the same call by way of a list of sessions", Limit::None),
    row("call_cycle_200", "with 200 of them used in turn: each view keeps its ASID", Limit::Beside("call_cycle_1", 5)),
    row("call_cycle_1000", "with 1000: each call takes a new ASID", Limit::None),
    row("memory_binding", "memory of a session with an SSR of a page: SSR and page tables", Limit::None),
];

/// One line of the guest.
#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Figure {
    name: String,
    #[serde(flatten)]
    amount: Amount,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Amount {
    Instructions(u64),
    Bytes(u64),
}

impl Amount {
    fn number(self) -> u64 {
        match self {
            Amount::Instructions(number) | Amount::Bytes(number) => number,
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Instructions(number) => write!(f, "{number}"),
            Amount::Bytes(number) => write!(f, "{number} B"),
        }
    }
}

impl Bench {
    /// Boots the measuring program and shows what it found. Status 1 if a figure is missing.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        let board = self.board.board;
        if board.emulator.is_some_and(|emulator| !emulator.counter) {
            let name = board.name;
            return host::unusable(format!(
                "{name} cannot be measured: the cycle counter of its emulated processor stands still"
            ));
        }
        let emulator = qemu::find()?;
        let system = System::build(workspace, self.board.board)?;
        let bootable = system.pack("bench", &[Start { program: PROGRAM, instances: 1, argument: 0 }], None)?;
        let machine = Machine::of(system.board, None, false)?;
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
            workspace.replace_in_readme(MARK, &table(&figures))?;
        }
        let complete = ROWS.iter().all(|row| amount(&figures, row.name).is_some());
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

fn amount(figures: &[Figure], name: &str) -> Option<Amount> {
    figures.iter().find(|figure| figure.name == name).map(|figure| figure.amount)
}

/// The number that a figure must not exceed; `None` if there is none.
fn most(figures: &[Figure], row: &Row) -> Option<u64> {
    match row.limit {
        Limit::None => None,
        Limit::Most(number) => Some(number),
        Limit::Beside(other, percent) => amount(figures, other).map(|other| other.number() * (100 + percent) / 100),
    }
}

/// Whether no figure is above its limit.
fn within_limits(figures: &[Figure]) -> bool {
    let good = |row: &Row| match (amount(figures, row.name), most(figures, row)) {
        (Some(found), Some(most)) => found.number() <= most,
        _ => true,
    };
    ROWS.iter().all(good)
}

/// A table in Markdown, which a terminal shows as well.
fn table(figures: &[Figure]) -> String {
    let mut text = String::from("| name | what | instructions | at most | |\n|---|---|---:|---:|---|\n");
    for row in &ROWS {
        let (found, most) = (amount(figures, row.name), most(figures, row));
        let verdict = match (found, most) {
            (None, _) => "missing",
            (Some(found), Some(most)) if found.number() > most => "miss",
            (Some(_), Some(_)) => "pass",
            (Some(_), None) => "",
        };
        let found = found.map_or("-".to_owned(), |found| found.to_string());
        let most = most.map_or("-".to_owned(), |most| most.to_string());
        text.push_str(&format!("| `{}` | {} | {found} | {most} | {verdict} |\n", row.name, row.meaning));
    }
    for figure in figures.iter().filter(|figure| ROWS.iter().all(|row| row.name != figure.name)) {
        text.push_str(&format!("| `{}` | | {} | - | |\n", figure.name, figure.amount));
    }
    let number = |name| amount(figures, name).map(Amount::number);
    if let (Some(one), Some(many)) = (number("recover_clients_1"), number("recover_clients_1000")) {
        text.push_str(&format!(
            "\nCost of a bound client in a recovery that reloads all sessions at once: {} instructions.\n",
            many.saturating_sub(one) / 999
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(instructions: u64) -> Vec<Figure> {
        ROWS.iter().map(|row| figure(row.name, instructions)).collect()
    }

    fn figure(name: &str, instructions: u64) -> Figure {
        Figure { name: name.into(), amount: Amount::Instructions(instructions) }
    }

    #[test]
    fn the_readme_gets_its_table() {
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
        let (one, many) = ("recover_lazy_1", "recover_lazy_1000");
        assert!(within_limits(&[figure(one, 1000), figure(many, 1100)]));
        let above = [figure(one, 1000), figure(many, 1101)];
        assert!(!within_limits(&above), "more than a tenth above");
        assert!(table(&above).contains("| 1101 | 1100 | miss |"));
    }

    #[test]
    fn lines_that_are_no_figures_are_told_apart() {
        let lines = ["[boot] x", r#"{"name": "a", "instructions": 7}"#, r#"{"name": "b", "bytes": 9}"#, "done"];
        let found = figures(lines.into_iter()).expect("good");
        assert_eq!(found, [figure("a", 7), Figure { name: "b".into(), amount: Amount::Bytes(9) }]);
        assert!(table(&found).contains("| 9 B |"));
        assert!(figures(["{\"name\":\"a\"}"].into_iter()).is_err());
    }
}
