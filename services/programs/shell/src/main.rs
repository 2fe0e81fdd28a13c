//! `shell`: commands on the console.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

mod clock;
mod command;
mod files;
mod network;
mod registry;
mod service;
mod sessions;
mod system;
mod words;

use core::fmt::Write;

use console::{ConsoleClient, LINE_MAX, Output, write_all};
use rt::{Error, Events, sys};

use crate::command::{COMMANDS, Context, Failure};
use crate::sessions::{ALARM, NEWS, Sessions};
use crate::words::Words;

/// The console has input.
const INPUT: Events = Events::from_bits_truncate(1);
/// Ticks before a session that could not be opened is asked for again.
const PATIENCE: u32 = 100;
/// Times that it is asked for.
const ATTEMPTS: u32 = 100;
/// Status of the shell when it can have no console.
const NO_CONSOLE: u32 = 3;

/// The shell: its sessions.
struct Shell {
    console: ConsoleClient,
    sessions: Sessions,
}

/// Opens a session with the console, also if that takes a while.
fn open_console() -> Result<ConsoleClient, Error> {
    let mut attempt = 1;
    loop {
        match ConsoleClient::bind_notified(INPUT) {
            Err(error @ (Error::Stopped | Error::NotFound | Error::NotPermitted)) => return Err(error),
            Err(error) if attempt == ATTEMPTS => return Err(error),
            Err(_) => {
                attempt += 1;
                sys::pause(PATIENCE)?;
            }
            opened => return opened,
        }
    }
}

impl Shell {
    /// Shows the prompt and reads a line; its length. Lost sessions are replaced, and that is said.
    fn read_line(&mut self, buffer: &mut [u8; LINE_MAX]) -> Result<usize, Error> {
        // A command may have taken what told of an alarm or a change.
        self.tell("")?;
        let mut prompted = false;
        loop {
            let answer = if prompted {
                self.console.read_line(buffer)
            } else {
                write_all(&self.console, b"> ").and_then(|()| self.console.read_line(buffer))
            };
            match answer {
                Ok(length) => return Ok((length as usize).min(LINE_MAX)),
                Err(error) if error.would_block() => {
                    sys::wait_events(INPUT | ALARM | NEWS, 0)?;
                    prompted = !self.tell("\n")?;
                }
                Err(error) => {
                    self.repair(error)?;
                    prompted = false;
                }
            }
        }
    }

    /// Says which alarms have expired, and what has changed in the store, behind `first`; whether there was anything to say.
    fn tell(&mut self, first: &str) -> Result<bool, Error> {
        let mut out = Output::new(&self.console);
        let told = self.sessions.tell(first, &mut out);
        if let Err(error) = out.finish() {
            self.repair(error)?;
        }
        Ok(told)
    }

    /// After an error of the console: a new session if the old one is gone; then says what happened.
    fn repair(&mut self, error: rt::CallError<Error>) -> Result<(), Error> {
        if error.session_is_gone() {
            self.console = open_console()?;
        } else {
            sys::pause(PATIENCE)?;
        }
        let mut out = Output::new(&self.console);
        // If this fails, too, the next prompt will.
        let _ = writeln!(out, "\nconsole: {error}; what was typed or written meanwhile is lost");
        Ok(())
    }

    /// Runs a line. `Some`: the shell is to end with this status.
    fn run(&mut self, line: &[u8]) -> Result<Option<u8>, Error> {
        let mut out = Output::new(&self.console);
        let ended = run_line(line, &mut out, &mut self.sessions);
        if let Err(error) = out.finish() {
            self.repair(error)?;
        }
        Ok(ended)
    }
}

/// Runs a line with this output and these sessions.
fn run_line(line: &[u8], out: &mut Output<'_>, sessions: &mut Sessions) -> Option<u8> {
    let parsed = match core::str::from_utf8(line) {
        Ok(line) => Words::parse(line),
        Err(_) => Err("the line is not UTF-8"),
    };
    let words = match parsed {
        Ok(words) => words,
        Err(text) => {
            let _ = writeln!(out, "{text}");
            return None;
        }
    };
    let name = words.get(0)?;
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        let _ = writeln!(out, "{name}: no such command; `help` lists what there is");
        return None;
    };
    let mut context = Context { out, sessions };
    let result = (command.run)(&mut context, &words);
    // Errors of the console itself are kept by `out`, and found at its end.
    match result {
        Ok(()) => None,
        Err(Failure::Exit(status)) => Some(status),
        Err(Failure::Usage) => {
            let _ = writeln!(out, "usage: {name} {}", command.usage);
            None
        }
        Err(failure) => {
            let _ = writeln!(out, "{name}: {failure}");
            if let Some(service) = failure.lost_session() {
                sessions.forget(service);
                let _ = writeln!(out, "{name}: the next command opens a new session with {service}");
            }
            None
        }
    }
}

fn serve() -> Result<(), Error> {
    let mut shell = Shell { console: open_console()?, sessions: Sessions::default() };
    let mut line = [0; LINE_MAX];
    loop {
        let length = shell.read_line(&mut line)?;
        if let Some(status) = shell.run(&line[..length])? {
            sys::shutdown(status)?;
        }
    }
}

fn shell(_argument: u32) -> u32 {
    // Without a console there is nobody to tell; the status does.
    serve().map_or(NO_CONSOLE, |()| 0)
}

rt::program!(shell);
