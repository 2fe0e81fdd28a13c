//! The commands: their names, what they take, and how they fail.

use core::fmt;

use console::Output;
use fs::{FsClient, FsError};
use rt::{CallError, Error, Text};

use crate::words::Words;
use crate::{files, system};

/// What a command works with.
pub struct Context<'a, 'c> {
    /// Where it writes. Errors of the console are kept in there.
    pub out: &'a mut Output<'c>,
    /// The session with the file service, once there is one.
    pub fs: &'a mut Option<FsClient>,
}

impl<'c> Context<'_, 'c> {
    /// The session with the file service, opened if there is none, and where to write.
    pub fn files(&mut self) -> Result<(&FsClient, &mut Output<'c>), Failure> {
        let fs = match self.fs {
            Some(fs) => fs,
            None => self.fs.insert(FsClient::bind().map_err(|error| Failure::System("fs", error))?),
        };
        Ok((fs, self.out))
    }
}

/// Why a command did not do what it was asked to.
pub enum Failure {
    /// It was asked wrongly.
    Usage,
    /// The shell is to end, with this status.
    Exit(u8),
    /// For this reason.
    Said(&'static str),
    /// The console did not take the output; the shell finds out by itself.
    Output,
    /// A request about this path.
    File(Text<96>, CallError<FsError>),
    /// A kernel call about this.
    System(&'static str, Error),
}

impl Failure {
    /// Whether the session with the file service is gone.
    pub fn lost_session(&self) -> bool {
        matches!(self, Failure::File(_, error) if error.session_is_gone())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage | Failure::Exit(_) | Failure::Output => Ok(()),
            Failure::Said(text) => f.write_str(text),
            Failure::File(path, error) => {
                write!(f, "{}{}: {error}", path.as_str(), if path.is_cut() { "..." } else { "" })
            }
            Failure::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl From<fmt::Error> for Failure {
    fn from(_: fmt::Error) -> Self {
        Failure::Output
    }
}

/// What a command is.
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub usage: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Does it.
    pub run: fn(&mut Context<'_, '_>, &Words) -> Result<(), Failure>,
}

/// All commands, in the order of `help`.
pub const COMMANDS: &[Command] = &[
    Command { name: "help", usage: "", help: "this list", run: system::help },
    Command { name: "ls", usage: "[PATH...]", help: "lists directories, the root without a path", run: files::ls },
    Command { name: "cat", usage: "PATH...", help: "shows files", run: files::cat },
    Command {
        name: "write",
        usage: "PATH [WORD...]",
        help: "writes a line of text to a file, replacing it",
        run: files::write,
    },
    Command {
        name: "cp",
        usage: "FROM TO",
        help: "copies a file; TO is replaced when the copy is complete",
        run: files::cp,
    },
    Command { name: "rm", usage: "PATH...", help: "removes files and empty directories", run: files::rm },
    Command { name: "mv", usage: "FROM TO", help: "renames or moves a file or directory", run: files::mv },
    Command { name: "mkdir", usage: "PATH...", help: "makes directories", run: files::mkdir },
    Command { name: "stat", usage: "PATH...", help: "size, kind and time of files", run: files::stat },
    Command { name: "sha256sum", usage: "PATH...", help: "SHA-256 of files", run: files::sha256sum },
    Command { name: "df", usage: "", help: "room on the volume", run: files::df },
    Command { name: "sync", usage: "", help: "asks fs whether all is on the volume", run: files::sync },
    Command { name: "echo", usage: "[WORD...]", help: "shows its words", run: system::echo },
    Command { name: "ps", usage: "", help: "programs that run", run: system::ps },
    Command { name: "svc", usage: "", help: "services: state, failures, clients, memory", run: system::svc },
    Command { name: "failures", usage: "[COUNT]", help: "the latest failures of services (10)", run: system::failures },
    Command { name: "mem", usage: "", help: "the kernel's pools: how much is in use", run: system::mem },
    Command {
        name: "crash",
        usage: "SERVICE KIND [entry|copy|end]",
        help: "makes a service fail in its next call; alone: lists the kinds",
        run: system::crash,
    },
    Command { name: "uptime", usage: "", help: "time since the start", run: system::uptime },
    Command { name: "exit", usage: "[STATUS]", help: "ends the system", run: system::exit },
];
