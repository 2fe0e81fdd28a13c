//! The emulator as campaigns start it: deterministic to the instruction, with memory and console in files.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::board::Board;
use crate::host;
use crate::qemu;
use crate::workspace::Workspace;

/// Binary logarithm of the guest's nanoseconds an instruction: 32 ns, so that a tick of a millisecond is 31,250
/// instructions, and a budget of some ticks does not take the emulator a second.
pub const SHIFT: u32 = 5;
const PLUGIN: &str = "plugin";

/// One run of the emulator: its files, and its command line.
pub struct Machine {
    /// The folder that holds the files; vanishes with this.
    pub folder: TempDir,
    emulator: PathBuf,
    board: &'static Board,
    machine: qemu::Machine,
    image: PathBuf,
}

impl Machine {
    /// A machine that boots `image`. Its files lie in memory where the host has a place for that.
    ///
    /// # Errors
    /// If there is no room for files, or the emulator does not model the board.
    pub fn new(emulator: &Path, board: &'static Board, image: &Path) -> Result<Machine> {
        let machine = qemu::Machine::of(board, None, false)?;
        let shared = Path::new("/dev/shm");
        let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new()
            .prefix("curios-inject-")
            .tempdir_in(&parent)
            .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
        Ok(Machine { folder, emulator: emulator.to_owned(), board, machine, image: image.to_owned() })
    }

    /// A machine that boots the same image, with files of its own.
    ///
    /// # Errors
    /// If there is no room for files.
    pub fn another(&self) -> Result<Machine> {
        Machine::new(&self.emulator, self.board, &self.image)
    }

    /// The file that holds the guest's memory.
    pub fn memory(&self) -> PathBuf {
        self.folder.path().join("memory")
    }

    /// The file that the console writes to.
    pub fn console(&self) -> PathBuf {
        self.folder.path().join("console")
    }

    /// The command line. With `shared` memory, what the guest writes is in the file; else the file stays empty, and the emulator
    /// has its own.
    pub fn command(&self, shared: bool) -> Command {
        let mut command = Command::new(&self.emulator);
        let share = if shared { "on" } else { "off" };
        let backend = joined(&[
            &format!("memory-backend-file,id=memory,size={},share={share},mem-path=", self.board.memory_size),
            &self.memory().to_string_lossy(),
        ]);
        command.arg("-object").arg(backend);
        command.args(["-M", &format!("{},memory-backend=memory", self.machine.name()), "-cpu", self.machine.cpu]);
        command.args(["-m", &format!("{}M", self.board.memory_size >> 20), "-display", "none"]);
        command.args(self.machine.options()).args([
            "-monitor",
            "none",
            "-semihosting-config",
            "enable=on,target=native",
        ]);
        command.args(["-icount", &format!("shift={SHIFT},sleep=off")]);
        command.arg("-chardev").arg(joined(&["file,id=console,path=", &self.console().to_string_lossy()]));
        command.args(["-serial", "chardev:console"]).arg("-kernel").arg(&self.image);
        // A group of its own: Ctrl-C at the terminal is for this tool, which ends the emulator in order.
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    /// The option that loads the plugin, with its arguments.
    pub fn plugin(&self, plugin: &Path, mode: &str, more: &[(&str, &Path)]) -> [OsString; 2] {
        let mut option = format!("{},mode={mode},base={}", plugin.to_string_lossy(), self.board.memory_base);
        let files = [("memory", self.memory()), ("console", self.console())];
        let own = files.iter().map(|(name, path)| (*name, path.as_path()));
        for (name, path) in own.chain(more.iter().copied()) {
            option.push_str(&format!(",{name}={}", path.to_string_lossy()));
        }
        ["-plugin".into(), option.into()]
    }

    /// Physical address of the first byte of memory.
    pub fn base(&self) -> u32 {
        self.board.memory_base
    }
}

/// An option with a path at its end: a comma in an option's value is written twice.
fn joined(parts: &[&str; 2]) -> String {
    format!("{}{}", parts[0], parts[1].replace(',', ",,"))
}

/// Compiles the plugin.
///
/// # Errors
/// If that fails, or cargo does not leave it where it is expected.
pub fn plugin(workspace: &Workspace) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", PLUGIN]).current_dir(&workspace.root);
    host::run(&mut command)?;
    let path = workspace.target.join("debug").join(format!(
        "{}{PLUGIN}{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    ));
    if !path.is_file() {
        bail!("{} is not there, although it was compiled", path.display());
    }
    Ok(path)
}
