//! `cargo xtask explain`: a log from elsewhere, with function, file and line of each failure.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::artefact::System;
use crate::board::Choice;
use crate::host;
use crate::postmortem::{Annotator, Executables};
use crate::workspace::Workspace;

/// Adds function, file and line to the failures in a log, for instance one from a board's serial line.
///
/// The executables must be those of the image that wrote the log: the ones that the present sources give, unless
/// `--symbols` names others.
#[derive(Args)]
pub struct Explain {
    #[command(flatten)]
    board: Choice,
    /// The log (default: standard input)
    log: Option<PathBuf>,
    /// Folder of the executables with debug information, such as a copy of target/guest/armv7a-none-eabi/release
    #[arg(long, value_name = "DIR")]
    symbols: Option<PathBuf>,
}

impl Explain {
    /// Does it: the log with what is added goes to standard output.
    pub fn run(self, workspace: &Workspace) -> Result<ExitCode> {
        let (name, mut log): (String, Box<dyn Read>) = match &self.log {
            Some(path) => {
                let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
                (path.display().to_string(), Box::new(file))
            }
            None => ("standard input".to_owned(), Box::new(std::io::stdin())),
        };
        let executables = match &self.symbols {
            Some(folder) => {
                std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
                Executables::in_folder(workspace, folder)
            }
            None => Executables::of(&System::build(workspace, self.board.board)?)?,
        };
        if self.log.is_none() && std::io::stdin().is_terminal() {
            host::say("paste lines of a log; Ctrl-D ends");
        }
        let mut annotator = Annotator::new(&executables);
        let mut written = Ok(());
        let mut write = |bytes: &[u8]| {
            let mut stdout = std::io::stdout().lock();
            if written.is_ok() {
                written = stdout.write_all(bytes).and_then(|()| stdout.flush());
            }
        };
        let mut buffer = [0; 4096];
        loop {
            match log.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => annotator.push(&buffer[..count], &mut write),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
            }
        }
        annotator.finish(&mut write);
        match written {
            // Whoever closed the pipe has seen enough.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write"),
            _ => Ok(ExitCode::SUCCESS),
        }
    }
}
