//! `cargo xtask demo net`: transfers that go on while what carries them is killed.
//!
//! For each interval the system is booted anew, with the web server and a program that makes one service after the other fail.
//! `curl` uploads files, several at once, then downloads and uploads them in turns until the guest's clock has gone on long
//! enough. What counts is what `curl` says, and the SHA-256 of each file as it comes back.

mod plot;
mod transfers;

use std::path::PathBuf;
use std::process::{Child, ExitCode};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::artefact::{Bootable, System};
use crate::board::DEFAULT;
use crate::disk;
use crate::host;
use crate::image::Start;
use crate::qemu::{self, Console, Forward, Machine};
use crate::run::{FILE_SERVICE, WEB_SERVER};
use crate::workspace::Workspace;
use transfers::{Load, Server, Sum};

/// The program that makes services fail.
const REAPER: &str = "reaper";
/// Real time in which the web server must answer.
const BOOT: Duration = Duration::from_secs(120);
/// Intervals that are tried, in milliseconds; 0: nothing fails.
const INTERVALS: [u32; 5] = [0, 15_000, 4_000, 1_000, 250];

/// Demonstrations of one thing each.
#[derive(Args)]
pub struct Demo {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Net(Net),
}

/// Transfers files through the network while driver, stack, file service, timer and scheduler are killed.
#[derive(Args)]
struct Net {
    /// Files, which are transferred at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=12))]
    files: u32,
    /// Bytes of the largest file; the others are smaller, down to an eighth
    #[arg(long, default_value = "1M", value_parser = bytes)]
    size: u64,
    /// Seconds of guest time for each interval, at least
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// Times between two kills, in milliseconds of guest time; 0: none, which the others are compared with
    #[arg(long, value_delimiter = ',', default_values_t = INTERVALS)]
    intervals: Vec<u32>,
    /// Print one JSON object an interval instead of a table
    #[arg(long)]
    json: bool,
    /// Where the plot goes (default: below target/curios)
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// What came of one interval.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Seconds between two kills, 0 = none.
    pub interval_s: f64,
    /// Failures of services.
    pub kills: u64,
    /// Transfers that were begun.
    pub transfers: u64,
    /// Those that did not come to their end.
    pub broken: u64,
    /// Downloads that came to their end with the right SHA-256.
    pub sha256_ok: u64,
    /// Downloads that came to their end with another one.
    pub sha256_wrong: u64,
    /// Bytes a second of guest time, relative to the run without kills.
    pub throughput_ratio: f64,
    /// Bytes a second of guest time.
    pub throughput: f64,
    /// Seconds of guest time.
    pub seconds: f64,
}

impl Outcome {
    /// Whether every promise was kept.
    fn is_good(&self) -> bool {
        self.broken == 0 && self.sha256_wrong == 0 && self.sha256_ok > 0
    }
}

/// A number of bytes, such as `1500`, `64K` or `2M`.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        _ => (text, 0),
    };
    let bytes = digits.parse().ok().and_then(|number: u64| number.checked_mul(1 << shift));
    bytes.filter(|bytes| *bytes >= 8).ok_or_else(|| "a number of bytes is wanted, 8 or more, as in 64K or 2M".into())
}

impl Demo {
    /// Does it.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        let What::Net(net) = self.what;
        net.run(workspace)
    }
}

impl Net {
    fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        transfers::check()?;
        let emulator = qemu::find()?;
        let system = System::build(workspace, DEFAULT)?;
        let room = u64::from(system.service(FILE_SERVICE)?.common.value);
        let load = Load::new(self.files, self.size)?;
        // Each file lies there twice while it is replaced.
        if load.bytes() * 2 + (1 << 20) > room {
            bail!("the files have {} bytes, but the volume has room for half of {room}", load.bytes());
        }
        let mut outcomes: Vec<Outcome> = Vec::new();
        for interval in &self.intervals {
            host::say(&match interval {
                0 => "no kills".to_owned(),
                interval => format!("a kill every {} s", f64::from(*interval) / 1000.0),
            });
            let disk = disk::load(None, usize::try_from(room)?)?;
            let starts = [(WEB_SERVER, 0), (REAPER, *interval)].map(|(program, argument)| Start {
                program,
                instances: 1,
                argument,
            });
            let bootable = system.pack("demo-net", &starts, Some(&disk))?;
            let mut outcome = self.try_interval(&system, &emulator, &bootable, *interval, &load)?;
            let base = outcomes
                .iter()
                .find(|outcome| outcome.interval_s == 0.0)
                .map_or(outcome.throughput, |base| base.throughput);
            outcome.throughput_ratio = outcome.throughput / base;
            if self.json {
                println!("{}", serde_json::to_string(&outcome).context("a result as JSON")?);
            }
            outcomes.push(outcome);
        }
        if !self.json {
            print!("{}", table(&outcomes));
        }
        let path = self.plot.unwrap_or_else(|| workspace.products().join("demo-net.svg"));
        std::fs::write(&path, plot::draw(&outcomes)).with_context(|| format!("cannot write {}", path.display()))?;
        host::say(&format!("the plot is in {}", path.display()));
        Ok(if outcomes.iter().all(Outcome::is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Boots, transfers, and stops the machine.
    fn try_interval(
        &self,
        system: &System,
        emulator: &std::path::Path,
        bootable: &Bootable,
        interval: u32,
        load: &Load,
    ) -> Result<Outcome> {
        let port = transfers::free_port()?;
        let machine = Machine::of(system.board, None, false)?;
        let mut command = qemu::command(emulator, system.board, machine, Console::Paced, &bootable.path(), None);
        qemu::add_network(&mut command, &[Forward { host: port, guest: 80 }]);
        let guest = Guest::start(command)?;
        let server = Server::new(port);
        server
            .wait(BOOT)
            .with_context(|| format!("the web server did not answer; the machine said:\n{}", guest.said()))?;
        let before = server.figures()?;
        let mut sum = Sum::default();
        load.upload(&server, &mut sum)?;
        let end = before.uptime_ms + self.seconds * 1000;
        let after = loop {
            load.download(&server, &mut sum)?;
            load.upload(&server, &mut sum)?;
            match server.figures() {
                Ok(now) if now.uptime_ms < end => {}
                Ok(now) => break now,
                Err(error) => bail!("{error:#}; the machine said:\n{}", guest.said()),
            }
        };
        let seconds = (after.uptime_ms - before.uptime_ms) as f64 / 1000.0;
        Ok(Outcome {
            interval_s: f64::from(interval) / 1000.0,
            kills: after.failures - before.failures,
            transfers: sum.transfers,
            broken: sum.broken,
            sha256_ok: sum.right,
            sha256_wrong: sum.wrong,
            throughput_ratio: 1.0,
            throughput: sum.bytes as f64 / seconds,
            seconds,
        })
    }
}

/// A machine that runs until it is dropped.
struct Guest {
    child: Child,
    output: std::sync::mpsc::Receiver<Vec<u8>>,
    began: Instant,
}

impl Guest {
    fn start(mut command: std::process::Command) -> Result<Self> {
        let mut child = command
            .stdout(std::process::Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", host::shown(&command)))?;
        let mut stdout = child.stdout.take().context("the emulator has no output")?;
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = std::io::Read::read(&mut stdout, &mut buffer) {
                // Nobody listens any more when the machine is dropped.
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Guest { child, output, began: Instant::now() })
    }

    /// What it has printed.
    fn said(&self) -> String {
        let bytes: Vec<u8> = self.output.try_iter().flatten().collect();
        format!("{}(after {} s)", String::from_utf8_lossy(&bytes), self.began.elapsed().as_secs())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The outcomes, for a person.
fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{:>10} {:>7} {:>10} {:>7} {:>10} {:>12} {:>9}\n",
        "interval", "kills", "transfers", "broken", "sha-256", "KiB/s", "relative"
    );
    for outcome in outcomes {
        let interval = if outcome.interval_s == 0.0 { "off".to_owned() } else { format!("{} s", outcome.interval_s) };
        let sums = if outcome.sha256_wrong == 0 {
            format!("{} ok", outcome.sha256_ok)
        } else {
            format!("{} WRONG", outcome.sha256_wrong)
        };
        text += &format!(
            "{interval:>10} {:>7} {:>10} {:>7} {sums:>10} {:>12.0} {:>8.1}%\n",
            outcome.kills,
            outcome.transfers,
            outcome.broken,
            outcome.throughput / 1024.0,
            outcome.throughput_ratio * 100.0
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An outcome for tests.
    pub fn outcome(interval_s: f64, ratio: f64) -> Outcome {
        Outcome {
            interval_s,
            kills: 3,
            transfers: 16,
            broken: 0,
            sha256_ok: 8,
            sha256_wrong: 0,
            throughput_ratio: ratio,
            throughput: ratio * 1e6,
            seconds: 40.0,
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!((bytes("1500"), bytes("64K"), bytes("2m")), (Ok(1500), Ok(64 << 10), Ok(2 << 20)));
        for bad in ["", "K", "-1", "7", "99999999999999999999", "18446744073709551615M"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_broken_promise_is_one_too_many() {
        let good = outcome(1.0, 0.9);
        assert!(good.is_good());
        assert!(!Outcome { broken: 1, ..good.clone() }.is_good());
        assert!(!Outcome { sha256_wrong: 1, ..good.clone() }.is_good());
        assert!(!Outcome { sha256_ok: 0, ..good }.is_good());
    }

    #[test]
    fn the_table_names_each_interval() {
        let text = table(&[outcome(0.0, 1.0), outcome(0.25, 0.81)]);
        assert!(text.contains(" off ") && text.contains("0.25 s") && text.contains("81.0%"), "{text}");
        let json = serde_json::to_string(&outcome(0.25, 0.81)).expect("JSON");
        for key in ["interval_s", "kills", "transfers", "broken", "sha256_ok", "throughput_ratio"] {
            assert!(json.contains(&format!("\"{key}\":")), "{json}");
        }
    }
}
