//! `cargo xtask debug`: the emulator halted before the first instruction, with gdb attached.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::artefact::System;
use crate::board::Choice;
use crate::demo;
use crate::disk;
use crate::guest::KERNEL;
use crate::host;
use crate::image::Start;
use crate::qemu::{self, Console, Machine};
use crate::run::FILE_SERVICE;
use crate::workspace::Workspace;

const DEBUGGER: &str = "gdb-multiarch";

/// Starts the demonstration halted, with gdb attached and the symbols of kernel, services and programs.
///
/// All services and programs are linked to the same addresses, each in an address space of its own: break by name, and
/// say `only NAME` for listings and backtraces to use one of them alone.
#[derive(Args)]
pub struct Debug {
    #[command(flatten)]
    board: Choice,
    /// Processor, where the emulator offers more than one
    #[arg(long, value_name = "NAME")]
    cpu: Option<String>,
    /// Start the machine in HYP mode
    #[arg(long)]
    hyp: bool,
    /// Seed of the failures that the demonstration injects
    #[arg(long, default_value_t = 1)]
    seed: u16,
    /// Commands for gdb to run after it is attached; with `quit` at their end it needs no terminal
    #[arg(long = "command", value_name = "COMMAND")]
    commands: Vec<String>,
}

impl Debug {
    /// Does it, until gdb ends. The status is gdb's.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        let emulator = qemu::find()?;
        if host::find_program(DEBUGGER).is_none() {
            host::apt_install(&[DEBUGGER], "debugging")?;
        }
        let system = System::build(workspace, self.board.board)?;
        let disk = disk::load(None, system.service(FILE_SERVICE)?.common.value as usize)?;
        let start = Start { program: demo::PROGRAM, instances: 1, argument: demo::argument(self.seed, 0, false) };
        let bootable = system.pack("debug", &[start], Some(&disk))?;

        let socket = bootable.path().with_file_name("gdb");
        let machine = Machine::of(system.board, self.cpu.as_deref(), self.hyp)?;
        let mut emulator = qemu::command(&emulator, system.board, machine, Console::Output, &bootable.path(), None);
        emulator.arg("-S").arg("-gdb").arg(format!("unix:{},server=on,wait=off", socket.display()));
        // In a group of its own: Ctrl-C is for gdb.
        let mut emulator =
            emulator.process_group(0).stdout(Stdio::inherit()).spawn().context("cannot start the emulator")?;

        let script = bootable.path().with_file_name("commands.gdb");
        std::fs::write(&script, self.script(&system, &socket.display().to_string())?)
            .context("cannot write gdb's commands")?;
        let mut debugger = Command::new(DEBUGGER);
        debugger.args(["-q", "-x"]).arg(&script);
        if self.commands.iter().any(|command| command == "quit") {
            debugger.arg("-batch");
        }
        let status = debugger.status().with_context(|| format!("cannot start {DEBUGGER}"));
        // gdb may have ended it already.
        let _ = emulator.kill();
        let _ = emulator.wait();
        let code = status?.code().and_then(|code| u8::try_from(code).ok());
        Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
    }

    fn script(&self, system: &System, socket: &str) -> Result<String> {
        let mut script = String::from("set confirm off\nset pagination off\nset architecture armv7\n");
        writeln!(script, "file {}", system.executable(KERNEL)?.display())?;
        let parts = system.parts(&[demo::PROGRAM])?;
        for (manifest, executable) in &parts {
            writeln!(
                script,
                "add-symbol-file {} {:#x}",
                system.executable(&manifest.name)?.display(),
                executable.text.address
            )?;
        }
        // A prefix with a command for each part: gdb's language does not compare texts.
        writeln!(script, "define-prefix only")?;
        for (manifest, executable) in &parts {
            let path = system.executable(&manifest.name)?.display();
            writeln!(script, "define only {}", manifest.name)?;
            for (_, other) in &parts {
                // Each call removes one of the files that lie at this address, if there is one left.
                writeln!(
                    script,
                    "python\ntry:\n  gdb.execute('remove-symbol-file -a {:#x}')\nexcept gdb.error:\n  pass\nend",
                    other.text.address
                )?;
            }
            writeln!(script, "add-symbol-file {path} {:#x}\nend", executable.text.address)?;
        }
        writeln!(script, "target remote {socket}")?;
        self.commands.iter().try_for_each(|command| writeln!(script, "{command}"))?;
        Ok(script)
    }
}
