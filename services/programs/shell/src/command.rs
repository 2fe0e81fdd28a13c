//! The commands: their names, what they take, and how they fail.

use core::convert::Infallible;
use core::fmt::{self, Write};

use console::Output;
use fs::{FsClient, FsError};
use net::{NetClient, NetError};
use rt::{CallError, Error, Text};
use scheduler::{SchedulerClient, SchedulerError};
use store::{StoreError, Subscriber};
use supervisor::{SupervisorClient, SupervisorError};
use timer::{Alarms, TimerError};

use crate::sessions::Sessions;
use crate::words::Words;
use crate::{clock, files, network, registry, service, system};

/// What a command works with.
pub struct Context<'a, 'c> {
    /// Where it writes. Errors of the console are kept in there.
    pub out: &'a mut Output<'c>,
    /// The sessions that there are.
    pub sessions: &'a mut Sessions,
}

macro_rules! peers {
    ($($name:ident: $method:ident -> $type:ty;)+) => {
        impl<'c> Context<'_, 'c> {
            $(
                /// The session with this service, opened if there is none, and where to write.
                pub fn $method(&mut self) -> Result<(&$type, &mut Output<'c>), Failure> {
                    Ok((self.sessions.$name()?, self.out))
                }
            )+
        }
    };
}

peers! {
    fs: files -> FsClient;
    timer: alarms -> Alarms;
    store: store -> Subscriber;
    net: net -> NetClient;
    scheduler: scheduler -> SchedulerClient;
    supervisor: supervisor -> SupervisorClient;
}

impl<'c> Context<'_, 'c> {
    /// The sessions with stack and files, and where to write.
    pub fn net_and_files(&mut self) -> Result<(&NetClient, &FsClient, &mut Output<'c>), Failure> {
        let (net, fs) = self.sessions.net_and_fs()?;
        Ok((net, fs, self.out))
    }
}

macro_rules! answers {
    ($($service:ident($error:ty)),+) => {
        /// What a service answered instead of doing it.
        pub enum Answer {
            /// The kernel, in its place.
            Kernel(Error),
            /// With a code that its interface does not know.
            Unknown(u32),
            $(
                /// The service itself.
                $service($error),
            )+
        }

        $(
            impl From<CallError<$error>> for Answer {
                fn from(error: CallError<$error>) -> Answer {
                    match error {
                        CallError::Kernel(error) => Answer::Kernel(error),
                        CallError::Service(error) => Answer::$service(error),
                        CallError::Protocol(code) => Answer::Unknown(code),
                    }
                }
            }
        )+

        impl fmt::Display for Answer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Answer::Kernel(error) => error.fmt(f),
                    Answer::Unknown(code) => CallError::<Error>::Protocol(*code).fmt(f),
                    $(Answer::$service(error) => error.fmt(f),)+
                }
            }
        }
    };
}

answers!(
    Fs(FsError),
    Timer(TimerError),
    Store(StoreError),
    Net(NetError),
    Scheduler(SchedulerError),
    Supervisor(SupervisorError),
    Clock(Infallible)
);

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
    /// A request to a service about something, and what it was answered.
    Request {
        /// The service.
        service: &'static str,
        /// What it was about.
        about: Text<56>,
        /// The answer.
        answer: Answer,
        /// Whether the session is gone.
        gone: bool,
    },
    /// A kernel call about this.
    System(&'static str, Error),
}

impl Failure {
    /// An error of a service about something.
    pub fn asked<E>(service: &'static str, subject: &str, error: CallError<E>) -> Failure
    where
        Answer: From<CallError<E>>,
    {
        let mut about = Text::new();
        // `Text` refuses nothing: it cuts.
        let _ = about.write_str(subject);
        Failure::Request { service, about, gone: error.session_is_gone(), answer: error.into() }
    }

    /// The service with which the session is gone.
    pub fn lost_session(&self) -> Option<&'static str> {
        match self {
            Failure::Request { service, gone: true, .. } => Some(service),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage | Failure::Exit(_) | Failure::Output => Ok(()),
            Failure::Said(text) => f.write_str(text),
            Failure::Request { service, about, answer, .. } => {
                let name = about.as_str();
                if !name.is_empty() {
                    write!(f, "{name}{}: ", if about.is_cut() { "..." } else { "" })?;
                }
                // The kernel speaks of a service that it does not name.
                if matches!(answer, Answer::Kernel(_) | Answer::Unknown(_)) {
                    write!(f, "{service}: ")?;
                }
                write!(f, "{answer}")
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
    Command {
        name: "nice",
        usage: "[PRIORITY [WEIGHT [SLICE]]]",
        help: "how the shell is scheduled; alone: shows it",
        run: system::nice,
    },
    Command {
        name: "policy",
        usage: "[NAME]",
        help: "which policy schedules the programs; alone: shows it",
        run: system::policy,
    },
    Command {
        name: "svc",
        usage: "[COMMAND...]",
        help: "services: state, restarts, failures, policies; `svc help` lists the commands",
        run: service::svc,
    },
    Command { name: "mem", usage: "", help: "the kernel's pools: how much is in use", run: system::mem },
    Command { name: "trace", usage: "[COUNT]", help: "the kernel's latest events (20)", run: system::trace },
    Command {
        name: "store",
        usage: "[COMMAND...]",
        help: "named values; `store help` lists the commands",
        run: registry::store,
    },
    Command { name: "uptime", usage: "", help: "time since the start", run: clock::uptime },
    Command { name: "sleep", usage: "MS", help: "waits for so many milliseconds", run: clock::sleep },
    Command {
        name: "alarm",
        usage: "MS [PERIOD]|cancel NUMBER",
        help: "sets an alarm, in milliseconds, and says so when it is due",
        run: clock::alarm,
    },
    Command {
        name: "ifconfig",
        usage: "[auto|ADDRESS/PREFIX [ROUTER [NAME-SERVER]]]",
        help: "the network interface; alone: shows it",
        run: network::ifconfig,
    },
    Command { name: "ping", usage: "HOST", help: "asks a host for an echo", run: network::ping },
    Command { name: "dig", usage: "NAME [A|AAAA]", help: "addresses of a name", run: network::dig },
    Command { name: "wget", usage: "URL [PATH]", help: "fetches a file from a web server", run: network::wget },
    Command {
        name: "nc",
        usage: "HOST PORT [WORD...]",
        help: "sends a line over TCP and shows what comes back",
        run: network::nc,
    },
    Command { name: "exit", usage: "[STATUS]", help: "ends the system", run: system::exit },
];
