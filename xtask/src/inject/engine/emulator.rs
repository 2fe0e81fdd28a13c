//! An emulator that stands still until it is told to go on, with its gdb stub and monitor at hand.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::gdb::{Gdb, Timers};
use super::memory::Ram;
use super::qmp::Qmp;
use crate::inject::machine::Machine;

/// Longest time that the emulator may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the emulator takes the order of things from.
#[derive(Clone, Copy, Debug)]
pub enum Course<'p> {
    /// From the guest's instructions alone. A stop at a breakpoint lets virtual time jump to the next timer: nothing that is
    /// seen after one counts.
    Own,
    /// Likewise, and writes it down.
    Record(&'p Path),
    /// From what was written down. Stops do not matter.
    Replay(&'p Path),
}

/// See the module. It ends with this value.
pub struct Emulator {
    /// Its gdb stub.
    pub gdb: Gdb,
    /// Its monitor.
    pub qmp: Qmp,
    /// The guest's memory.
    pub ram: Ram,
    /// Its files.
    machine: Machine,
    child: Child,
}

impl Emulator {
    /// Starts one like `machine`, with files of its own.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(machine: &Machine, course: Course<'_>) -> Result<Emulator> {
        let machine = machine.another()?;
        let folder = machine.folder.path();
        let (gdb, qmp, errors) = (folder.join("gdb"), folder.join("qmp"), folder.join("errors"));
        let mut command = machine.command(true);
        // No description behind the devices' state, and no section about the configuration in front of it: see `state`.
        command.args(["-M", "suppress-vmdesc=on", "-global", "migration.send-configuration=off", "-no-reboot", "-S"]);
        match course {
            Course::Own => {}
            Course::Record(path) => drop(command.arg("-icount").arg(format!("rr=record,rrfile={}", quoted(path)))),
            Course::Replay(path) => drop(command.arg("-icount").arg(format!("rr=replay,rrfile={}", quoted(path)))),
        }
        command.arg("-gdb").arg(format!("unix:{},server=on,wait=off", quoted(&gdb)));
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", quoted(&qmp)));
        let said = File::create(&errors).with_context(|| format!("cannot write {}", errors.display()))?;
        let mut child = command.stdout(Stdio::null()).stderr(said).spawn().context("cannot start the emulator")?;
        let connected = connect(&mut child, &qmp, &errors).and_then(|qmp| {
            let qmp = Qmp::new(qmp)?;
            let timers = if matches!(course, Course::Own) { Timers::Wait } else { Timers::Fire };
            let gdb = Gdb::new(connect(&mut child, &gdb, &errors)?, timers)?;
            Ok((qmp, gdb, Ram::open(&machine.memory(), machine.base())?))
        });
        match connected {
            Ok((qmp, gdb, ram)) => Ok(Emulator { gdb, qmp, ram, machine, child }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    /// The folder for its files.
    pub fn folder(&self) -> &Path {
        self.machine.folder.path()
    }

    /// Bytes that the console has put out.
    pub fn console_length(&self) -> u64 {
        std::fs::metadata(self.machine.console()).map_or(0, |file| file.len())
    }

    /// Those from a place on.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn console(&self, from: u64) -> Result<Vec<u8>> {
        let mut bytes = std::fs::read(self.machine.console()).context("cannot read what the console has put out")?;
        Ok(bytes.split_off((from as usize).min(bytes.len())))
    }

    /// The status that it has ended with.
    ///
    /// # Errors
    /// If it does not end.
    pub fn status(&mut self) -> Result<Option<i32>> {
        let late = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().context("cannot wait for the emulator")? {
                return Ok(status.code());
            }
            if Instant::now() >= late {
                bail!("the emulator does not end");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends it in an orderly way, if it has not ended yet.
    ///
    /// # Errors
    /// If it does not end so.
    pub fn quit(&mut self) -> Result<()> {
        if !self.has_ended()? {
            self.qmp.execute("quit", json!({}))?;
            ensure!(self.status()?.is_some(), "the emulator was ended by a signal");
        }
        Ok(())
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// If that cannot be known.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("cannot wait for the emulator")?.is_some())
    }

    /// The socket of the gdb stub.
    pub fn gdb_socket(&self) -> PathBuf {
        self.folder().join("gdb")
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // It may have ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// A path in an option: a comma is written twice.
fn quoted(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

fn connect(child: &mut Child, path: &Path, errors: &Path) -> Result<UnixStream> {
    let late = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= late => {
                return Err(error).with_context(|| format!("the emulator does not listen at {}", path.display()));
            }
            Err(_) => {}
        }
        if let Some(status) = child.try_wait().context("cannot wait for the emulator")? {
            let said = std::fs::read_to_string(errors).unwrap_or_default();
            bail!("the emulator does not start ({status}): {}", said.trim());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
