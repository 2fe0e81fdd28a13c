//! `cargo xtask test`: everything that can be tested, in three rungs.
//!
//! Host tests of the logic; the suite that runs on the board and prints `test NAME ... ok` or `FAILED`; and
//! end-to-end boots, which are Rust tests of the package `tests`. Those find this tool in `CURIOS_XTASK`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use abi::image::Recovery;
use anyhow::{Context, Result};
use cargo_metadata::Package;
use clap::Args;

use crate::artefact::System;
use crate::board::{self, Board, DEFAULT, Emulator};
use crate::host;
use crate::image::Start;
use crate::qemu::{self, Console, Machine};
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

/// The program that tries everything forbidden.
const SUITE: &str = "suite";
/// The package of the end-to-end boots.
const BOOTS: &str = "tests";
/// Names an emulator of OMAP3 boards: `qemu-system-arm` with the machines `beagle` and `beaglexm`.
const OMAP_EMULATOR: &str = "CURIOS_QEMU_OMAP";
/// What the names of the tests have in common that need it.
const OMAP_BOARDS: &str = "beagleboard";
/// Programs that the end-to-end tests ask for a second opinion about cards, and Debian's packages that have them.
const WITNESSES: [(&str, &str); 4] =
    [("dumpimage", "u-boot-tools"), ("sfdisk", "fdisk"), ("fsck.vfat", "dosfstools"), ("mcopy", "mtools")];
/// Real time that the suite may take on a slow host.
const LIMIT: Duration = Duration::from_secs(1200);

/// Runs all tests: on the host, on the board, end to end. The last line is `N passed, N failed`.
#[derive(Args)]
pub struct Test {
    /// Run only tests whose name contains this; `host::`, `board::` or `boot::` in front of it name a rung
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Run the tests on the board only on this one (default: on all that the emulator models)
    #[arg(long = "board", value_name = "NAME", value_parser = board::by_name())]
    board: Option<&'static Board>,
}

/// What is to be run of one rung, if anything.
fn of_rung<'f>(filter: &'f str, rung: &str) -> Option<&'f str> {
    match filter.split_once("::") {
        Some((first, rest)) if first == rung => Some(rest),
        Some(("host" | "board" | "boot", _)) => None,
        _ => Some(filter),
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    /// Takes a line of a test run: `test NAME ... ok`, or cargo's `test NAME ... FAILED`.
    fn line(&mut self, line: &str, filter: &str) {
        let Some((name, verdict)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) else {
            return;
        };
        if !name.contains(filter) {
            return;
        }
        match verdict.trim() {
            "ok" => self.passed += 1,
            verdict if verdict.starts_with("FAILED") => self.failed += 1,
            // Ignored tests, and the times that some add, are no verdicts.
            _ => {}
        }
    }

    fn fail(&mut self, text: &str) {
        self.failed += 1;
        host::say(text);
    }
}

impl Test {
    /// Runs them. Status 1 if one failed, or none ran.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        let mut tally = Tally::default();
        if let Some(filter) = of_rung(&self.filter, "host") {
            host_tests(workspace, filter, &mut tally)?;
        }
        if let Some(filter) = of_rung(&self.filter, "board") {
            let emulator = qemu::find()?;
            for (board, emulated) in self.boards()? {
                let system = System::build(workspace, board)?;
                for cpu in emulated.processors {
                    let machine = Machine::of(board, Some(cpu), false)?;
                    board_tests(&system, &emulator, machine, None, filter, &mut tally)?;
                }
                for disk in DISKS.iter().filter(|_| board.name == DEFAULT.name) {
                    disk_tests(&system, &emulator, *disk, filter, &mut tally)?;
                }
                for &recovery in Recovery::ALL.iter().filter(|_| board.name == DEFAULT.name) {
                    let machine = Machine::of(board, None, false)?;
                    board_tests(&system, &emulator, machine, Some(recovery), filter, &mut tally)?;
                }
            }
        }
        if let Some(filter) = of_rung(&self.filter, "boot") {
            // Compiled and installed before the clock of the first boot runs.
            qemu::find()?;
            call_witnesses();
            System::build(workspace, DEFAULT)?;
            boot_tests(workspace, filter, &mut tally)?;
        }
        println!("{} passed, {} failed", tally.passed, tally.failed);
        Ok(if tally.failed == 0 && tally.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Test {
    /// The boards to run the suite on, with what the emulator offers of them.
    fn boards(&self) -> Result<Vec<(&'static Board, &'static Emulator)>> {
        let emulated = |board: &'static Board| Some((board, board.emulator.as_ref()?));
        match self.board {
            None => Ok(boards::BOARDS.iter().copied().filter_map(emulated).collect()),
            Some(board) => {
                // Says why, where there is none.
                Machine::of(board, None, false)?;
                Ok(emulated(board).into_iter().collect())
            }
        }
    }
}

/// Tests of everything that has tests for the host (`test = false` in a manifest says that a target has none).
fn host_tests(workspace: &Workspace, filter: &str, tally: &mut Tally) -> Result<()> {
    let tested = |package: &&Package| package.targets.iter().any(|target| target.test || target.doctest);
    let packages: Vec<&Package> =
        workspace.packages().into_iter().filter(|package| package.name.as_str() != BOOTS).filter(tested).collect();
    cargo_test(workspace, &packages, filter, &[], None, "host tests", tally)
}

/// Installs what the end-to-end tests can do without, but are better with.
fn call_witnesses() {
    // Where Debian keeps some of them is not in everybody's search path.
    let missing = |name: &str| host::find_program(name).is_none() && !Path::new("/usr/sbin").join(name).is_file();
    let packages: Vec<&str> = WITNESSES.iter().filter(|(name, _)| missing(name)).map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return;
    }
    if let Err(error) = host::apt_install(&packages, "a second opinion about cards") {
        host::say(&format!("cards are not checked by {}: {error:#}", packages.join(", ")));
    }
}

fn boot_tests(workspace: &Workspace, filter: &str, tally: &mut Tally) -> Result<()> {
    let tool = std::env::current_exe().context("cannot find this tool's own file")?;
    let packages: Vec<&Package> =
        workspace.packages().into_iter().filter(|package| package.name.as_str() == BOOTS).collect();
    let skipped: &[&str] = if std::env::var_os(OMAP_EMULATOR).is_some() {
        &[]
    } else {
        host::say(&format!(
            "{OMAP_EMULATOR} names no emulator of OMAP3 boards: skipped are the tests that boot their cards"
        ));
        &["--skip", OMAP_BOARDS]
    };
    cargo_test(workspace, &packages, filter, skipped, Some(&tool), "end-to-end boots", tally)
}

/// Runs `cargo test`, shows its output, and counts. `tool` is this tool's own file, for tests that start it.
fn cargo_test(
    workspace: &Workspace,
    packages: &[&Package],
    filter: &str,
    skipped: &[&str],
    tool: Option<&Path>,
    what: &str,
    tally: &mut Tally,
) -> Result<()> {
    host::say(what);
    let mut command = Command::new(Toolchain::own_cargo());
    command.current_dir(&workspace.root).args(["test", "--quiet", "--no-fail-fast"]);
    packages.iter().for_each(|package| {
        command.args(["--package", &package.id.repr]);
    });
    command.args(["--", filter, "--format", "pretty"]).args(skipped).envs(tool.map(|tool| ("CURIOS_XTASK", tool)));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", host::shown(&command)))?;
    let output = child.stdout.take().context("cargo has no output")?;
    let failed_before = tally.failed;
    for line in BufReader::new(output).lines() {
        let line = line.context("cannot read cargo's output")?;
        println!("{line}");
        // The names were filtered by the test programs.
        tally.line(&line, "");
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() && tally.failed == failed_before {
        tally.fail(&format!("{what}: cargo test failed, although no test did (see above)"));
    }
    Ok(())
}

/// Boots the suite once, or what it has for images that recover in a way of their own. It counts its own tests, ends with
/// status 0 if none failed, and says `suite complete`.
fn board_tests(
    system: &System,
    emulator: &Path,
    machine: Machine,
    baseline: Option<Recovery>,
    filter: &str,
    tally: &mut Tally,
) -> Result<()> {
    let cpu = format!("{} of {}", machine.cpu, system.board.name);
    let what = match baseline {
        None => format!("isolation tests on a {cpu}"),
        Some(recovery) => format!("tests of recovery {} on a {cpu}", recovery.name()),
    };
    host::say(&what);
    let start = Start { program: SUITE, instances: 1, argument: baseline.map_or(0, |recovery| recovery as u32) };
    let bootable = system.pack_with("suite", &[start], None, baseline.unwrap_or(Recovery::Rollback))?;
    let command = qemu::command(emulator, system.board, machine, Console::Output, &bootable.path(), None);
    judge(command, SUITE, &what, filter, tally);
    Ok(())
}

/// Boots a program that counts its own tests, and counts them.
fn judge(command: Command, program: &str, what: &str, filter: &str, tally: &mut Tally) {
    let outcome = match qemu::run(command, Some(LIMIT), qemu::echo) {
        Ok(outcome) => outcome,
        Err(error) => return tally.fail(&format!("{what}: {error:#}")),
    };
    let (before, mut all) = (tally.failed, Tally::default());
    outcome.lines_of(program).for_each(|line| {
        tally.line(line, filter);
        all.line(line, "");
    });
    if !outcome.lines_of(program).any(|line| line == format!("{program} complete")) {
        tally.fail(&format!("{what}: {program} did not come to its end"));
    } else if outcome.status != 0 && all.failed == 0 {
        tally.fail(&format!("{what}: status {} although no test failed", outcome.status));
    }
    if tally.failed > before {
        host::say(&format!("{what}: {} failed", tally.failed - before));
    }
}

/// The program that tries disks.
const DRILL: &str = "drill";
/// Bytes of the disks that it tries.
const DISK_SIZE: u64 = 1 << 20;
/// A disk to be tried: what it is, the program's argument, whether it is a device of the legacy interface and what
/// `-drive` gets besides, if there is a device.
type Trial = (&'static str, u32, Option<(bool, &'static str)>);
/// The disks that are tried. The last one answers once a second, which is longer than the driver waits.
const DISKS: [Trial; 5] = [
    ("a legacy disk", 0, Some((true, ""))),
    ("a modern disk", 0, Some((false, ""))),
    ("no disk", 1, None),
    ("a read-only disk", 2, Some((false, ",readonly=on"))),
    ("a disk that stalls", 3, Some((true, ",throttling.iops-total=1"))),
];

/// Boots the tests of the block service on a disk.
fn disk_tests(
    system: &System,
    emulator: &Path,
    (what, argument, device): Trial,
    filter: &str,
    tally: &mut Tally,
) -> Result<()> {
    let what = format!("tests of the block service with {what}");
    host::say(&what);
    let bootable = system.pack(DRILL, &[Start { program: DRILL, instances: 1, argument }], None)?;
    let image = bootable.memory();
    let file = std::fs::File::create(&image).and_then(|file| file.set_len(DISK_SIZE));
    file.with_context(|| format!("cannot create {}", image.display()))?;
    let machine = Machine::of(system.board, None, false)?;
    let mut command = qemu::command(emulator, system.board, machine, Console::Paced, &bootable.path(), None);
    if let Some((legacy, options)) = device {
        qemu::Disk { image: &image, legacy, options }.attach(&mut command);
    }
    judge(command, DRILL, &what, filter, tally);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_counted() {
        let mut tally = Tally::default();
        for line in [
            "test a::b ... ok",
            "test c ... FAILED",
            "test d ... FAILED: why",
            "test e ... ignored",
            "running 3 tests",
            "test result: ok. 9 passed",
        ] {
            tally.line(line, "");
        }
        assert_eq!(tally, Tally { passed: 1, failed: 2 });
        tally.line("test other ... ok", "filter");
        assert_eq!(tally.passed, 1);
    }

    #[test]
    fn filters_name_rungs() {
        assert_eq!(of_rung("", "host"), Some(""));
        assert_eq!(of_rung("ssr", "board"), Some("ssr"));
        assert_eq!(of_rung("host::ssr", "host"), Some("ssr"));
        assert_eq!(of_rung("host::ssr", "board"), None);
        assert_eq!(of_rung("disk::tests", "host"), Some("disk::tests"));
    }
}
