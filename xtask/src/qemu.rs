//! The emulator: finding it, its command line, and a boot from start to exit status.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use semver::Version;

use crate::board::{Board, Emulator};
use crate::host;

/// The oldest emulator whose behaviour is known (Debian 12 has it).
const OLDEST: Version = Version::new(7, 2, 0);
const PROGRAM: &str = "qemu-system-arm";
const PACKAGE: &str = "qemu-system-arm";

/// The machine that a run asks for.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// The emulator's model of the board.
    emulator: &'static Emulator,
    /// Its processor.
    pub cpu: &'static str,
    /// Whether it starts in HYP mode.
    pub hyp: bool,
}

impl Machine {
    /// The emulator's name for it, with the options that it needs.
    pub fn name(&self) -> &'static str {
        self.emulator.machine
    }

    /// More options that it needs.
    pub fn options(&self) -> &'static [&'static str] {
        self.emulator.options
    }

    /// The machine for a board, with this processor or else the usual one.
    ///
    /// # Errors
    /// [`host::Unusable`] if the emulator does not model such a thing.
    pub fn of(board: &'static Board, cpu: Option<&str>, hyp: bool) -> Result<Machine> {
        let Some(emulator) = &board.emulator else {
            let name = board.name;
            return host::unusable(format!(
                "no stock emulator models {name}: `cargo xtask image --board {name}` makes a card that the board itself boots"
            ));
        };
        if hyp && !emulator.hyp {
            return host::unusable(format!("the emulator's {} does not start in HYP mode", board.name));
        }
        let usual = emulator.processors.first().copied();
        let named = |name: &str| emulator.processors.iter().copied().find(|processor| *processor == name);
        match cpu.map_or(usual, named) {
            Some(cpu) => Ok(Machine { emulator, cpu, hyp }),
            None => host::unusable(format!("--cpu: {} has {}", board.name, emulator.processors.join(" or "))),
        }
    }
}

/// How the guest's console is connected, which also decides about its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// To the user's terminal, both ways; virtual time keeps step with real time.
    Terminal,
    /// Output only; virtual time follows the instructions alone, so that every run is the same.
    Output,
    /// Output only; virtual time keeps step with real time, as with devices whose answers take some.
    Paced,
}

/// A disk for the machine: the first virtio transport's device.
#[derive(Clone, Copy, Debug)]
pub struct Disk<'d> {
    /// The image, which is written in place.
    pub image: &'d Path,
    /// Whether it is a device of the legacy interface.
    pub legacy: bool,
    /// What the emulator's option `-drive` gets besides.
    pub options: &'d str,
}

impl Disk<'_> {
    /// Adds it to an emulator's command line. What the guest flushed is in the file, whatever happens to the host.
    pub fn attach(&self, command: &mut Command) {
        // A comma in an option's value is written twice.
        let path = self.image.to_string_lossy().replace(',', ",,");
        let drive = format!("if=none,id=disk,format=raw,file={path}{}", self.options);
        command.args(["-global", &format!("virtio-mmio.force-legacy={}", self.legacy), "-drive", &drive]);
        command.args(["-device", "virtio-blk-device,drive=disk,bus=virtio-mmio-bus.0"]);
    }
}

/// The path of an emulator that is new enough; installed if there is none.
///
/// # Errors
/// [`host::Unusable`] if there is none and none can be installed.
pub fn find() -> Result<PathBuf> {
    let missing = host::find_program(PROGRAM).is_none();
    if missing {
        host::apt_install(&[PACKAGE], "running the system")?;
    }
    let Some(path) = host::find_program(PROGRAM) else {
        return host::unusable(format!("{PROGRAM} is not in the search path, although {PACKAGE} is installed"));
    };
    let line = host::first_line(Command::new(&path).arg("--version")).unwrap_or_default();
    match version(&line) {
        Some(version) if version >= OLDEST => Ok(path),
        _ => host::unusable(format!("{} is {line:?}; version {OLDEST} or later is needed", path.display())),
    }
}

/// The version in a line such as `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)`.
fn version(line: &str) -> Option<Version> {
    let text = line.split_once("version ")?.1;
    Version::parse(text.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?).ok()
}

/// The emulator's command line for an image. `memory` is a file that shall hold the guest's memory.
pub fn command(
    emulator: &Path,
    board: &Board,
    machine: Machine,
    console: Console,
    image: &Path,
    memory: Option<&Path>,
) -> Command {
    let mut command = Command::new(emulator);
    let mut options = machine.name().to_owned();
    if machine.hyp {
        options.push_str(",virtualization=on");
    }
    let size = board.memory_size;
    if let Some(path) = memory {
        // A comma in an option's value is written twice.
        let path = path.to_string_lossy().replace(',', ",,");
        command.arg("-object").arg(format!("memory-backend-file,id=memory,size={size},mem-path={path},share=on"));
        options.push_str(",memory-backend=memory");
    }
    command.args(["-M", &options, "-cpu", machine.cpu, "-m", &format!("{}M", size >> 20)]);
    command.args(machine.options()).args(["-semihosting-config", "enable=on,target=native"]);
    match console {
        Console::Terminal => command.args(["-nographic", "-icount", "shift=0,sleep=on"]),
        Console::Output | Console::Paced => {
            command.stdin(Stdio::null());
            let time = if console == Console::Paced { "shift=0,sleep=on" } else { "shift=0,sleep=off" };
            command.args(["-display", "none", "-monitor", "none", "-serial", "stdio", "-icount", time])
        }
    };
    command.arg("-kernel").arg(image);
    command
}

/// A port of the host's loopback that leads to one of the guest: `HOST:GUEST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The host's port.
    pub host: u16,
    /// The guest's port.
    pub guest: u16,
}

impl std::str::FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
        let parts = text.split_once(':').and_then(|(host, guest)| Some((port(host)?, port(guest)?)));
        let (host, guest) = parts.ok_or("two port numbers from 1 to 65535 are wanted: HOST:GUEST, as in 8080:80")?;
        Ok(Forward { host, guest })
    }
}

/// Adds a network card on a network of the emulator's own, with ports of the host's loopback that lead into it.
pub fn add_network(command: &mut Command, forwards: &[Forward]) {
    let mut network = "user,id=network".to_owned();
    for Forward { host, guest } in forwards {
        network.push_str(&format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"));
    }
    // A transport on a page of its own: number 8.
    command.args(["-netdev", &network, "-device", "virtio-net-device,netdev=network,bus=virtio-mmio-bus.8"]);
    command.args(["-global", "virtio-mmio.force-legacy=false"]);
}

/// What a boot came to.
#[derive(Debug)]
pub struct Outcome {
    /// Status that the guest ended with.
    pub status: i32,
    /// Everything that it printed.
    pub output: String,
}

impl Outcome {
    /// The lines that it printed.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.output.lines().map(|line| line.trim_end_matches('\r'))
    }

    /// The lines without the `[PROGRAM] ` that the kernel's log puts in front of what a program says through it.
    pub fn lines_of<'o>(&'o self, program: &'o str) -> impl Iterator<Item = &'o str> {
        let own = move |line: &'o str| line.strip_prefix('[')?.strip_prefix(program)?.strip_prefix("] ");
        self.lines().map(move |line| own(line).unwrap_or(line))
    }
}

/// Runs a machine to its end. `seen` gets its output as it comes; `limit` bounds the real time.
///
/// # Errors
/// If the emulator cannot be started, is ended by a signal, or the time is over.
pub fn run(mut command: Command, limit: Option<Duration>, mut seen: impl FnMut(&[u8])) -> Result<Outcome> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {}", host::shown(&command)))?;
    let mut stdout = child.stdout.take().context("the emulator has no output")?;
    let child = Arc::new(Mutex::new(child));
    let late = Arc::new(AtomicBool::new(false));
    let (ended, end) = channel::<()>();
    let watchdog = limit.map(|limit| {
        let (child, late) = (Arc::clone(&child), Arc::clone(&late));
        std::thread::spawn(move || {
            if end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                late.store(true, Ordering::SeqCst);
                // If it ended meanwhile there is nothing left to kill.
                let _ = lock(&child).kill();
            }
        })
    });

    let mut output = Vec::new();
    let mut buffer = [0; 4096];
    let outcome = loop {
        match stdout.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(count) => {
                seen(&buffer[..count]);
                output.extend(&buffer[..count]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error).context("cannot read the emulator's output"),
        }
    };
    drop(ended);
    if let Some(watchdog) = watchdog {
        // It panics nowhere, and its result carries nothing.
        let _ = watchdog.join();
    }
    if outcome.is_err() {
        let _ = lock(&child).kill();
    }
    let status = lock(&child).wait().context("cannot wait for the emulator")?;
    outcome?;
    if late.load(Ordering::SeqCst) {
        bail!("the system did not end within {} seconds; it was stopped", limit.unwrap_or_default().as_secs());
    }
    let status = status.code().with_context(|| format!("the emulator was ended by a signal ({status})"))?;
    Ok(Outcome { status, output: String::from_utf8_lossy(&output).into_owned() })
}

/// Shows a guest's output as it comes.
pub fn echo(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    // Whoever closed the pipe does not want the rest; the run goes on to its verdict.
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

fn lock(child: &Mutex<Child>) -> std::sync::MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_emulator() {
        assert_eq!(
            version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)"),
            Some(Version::new(7, 2, 22))
        );
        assert_eq!(version("QEMU emulator version 10.0.2"), Some(Version::new(10, 0, 2)));
        assert_eq!(version("qemu"), None);
    }

    #[test]
    fn ports_are_forwarded_as_asked() {
        assert_eq!("8080:80".parse(), Ok(Forward { host: 8080, guest: 80 }));
        for bad in ["80", "0:80", "80:0", "a:80", "80:65536", ":"] {
            assert!(bad.parse::<Forward>().is_err(), "{bad}");
        }
        let mut command = Command::new("qemu");
        add_network(&mut command, &[Forward { host: 8080, guest: 80 }]);
        let shown = crate::host::shown(&command);
        assert!(shown.contains("user,id=network,hostfwd=tcp:127.0.0.1:8080-:80"), "{shown}");
    }

    #[test]
    fn a_guest_that_does_not_end_is_stopped() {
        let mut command = Command::new("sleep");
        command.arg("600");
        let error = run(command, Some(Duration::from_millis(10)), |_| ()).expect_err("it cannot have ended");
        assert!(error.to_string().contains("did not end"), "{error}");
    }

    #[test]
    fn status_and_output_come_back() {
        let mut command = Command::new("sh");
        command.args(["-c", "printf 'one\\r\\n[sh] two\\n'; exit 7"]);
        let mut seen: Vec<u8> = Vec::new();
        let outcome = run(command, None, |bytes| seen.extend(bytes)).expect("it runs");
        assert_eq!(outcome.status, 7);
        assert_eq!(outcome.lines().collect::<Vec<_>>(), ["one", "[sh] two"]);
        assert_eq!(outcome.lines_of("sh").collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(seen, outcome.output.as_bytes());
    }
}
