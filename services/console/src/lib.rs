//! The interface of the console, and buffered output for its clients.
//!
//! Nothing here waits: whoever finds no input asks again later.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt;

use rt::{CallError, Error, LentRead, LentWrite, Session, interface};

/// Bytes of the longest line that can be typed; [`Console::read_line`] wants a buffer of this length.
pub const LINE_MAX: usize = 240;

/// A terminal: characters out, characters or edited lines in.
///
/// What a client writes appears once its request has committed, each character at most once, whatever fails. Received
/// bytes belong to nobody until a client claims them; the line being typed belongs to the client that reads it.
#[interface(name = "console")]
pub trait Console {
    /// Puts out what was lent, a line feed as carriage return and line feed. Returns how many bytes it took, at least
    /// one of them; the rest is for another call. `Exhausted`: this request, not yet committed, holds too much output.
    fn write(&mut self, session: &mut Session<Self::State>, data: LentRead<'_>) -> Result<u32, Error>;
    /// Claims received bytes as they came; returns how many. `WouldBlock`: there are none.
    fn read(&mut self, session: &mut Session<Self::State>, to: LentWrite<'_>) -> Result<u32, Error>;
    /// Claims a line, without its end, and echoes it while it is typed; returns its length in bytes. Backspace
    /// takes back a character, control-U the line, control-C gives the line up and returns an empty one. The buffer has
    /// [`LINE_MAX`] bytes or more. `WouldBlock`: the line is not complete.
    fn read_line(&mut self, session: &mut Session<Self::State>, to: LentWrite<'_>) -> Result<u32, Error>;
}

/// Writes all of it.
///
/// # Errors
/// Those of [`ConsoleClient::write`]; what was put out before stays.
pub fn write_all(console: &ConsoleClient, mut bytes: &[u8]) -> Result<(), CallError<Error>> {
    while !bytes.is_empty() {
        let taken = console.write(bytes)? as usize;
        match bytes.get(taken..) {
            Some(rest) if taken > 0 => bytes = rest,
            _ => return Err(CallError::Protocol(0)),
        }
    }
    Ok(())
}

/// Formatted output, sent to the console by the line, so that lines of several clients do not mix.
///
/// Whatever is left is sent when the value is dropped. The first error is kept ([`Output::finish`]) and stops the rest.
pub struct Output<'a> {
    console: &'a ConsoleClient,
    buffer: [u8; 256],
    len: usize,
    error: Option<CallError<Error>>,
}

impl<'a> Output<'a> {
    /// Output to this console.
    pub fn new(console: &'a ConsoleClient) -> Self {
        Output { console, buffer: [0; 256], len: 0, error: None }
    }

    /// Sends what is left.
    ///
    /// # Errors
    /// The first that occurred.
    pub fn finish(mut self) -> Result<(), CallError<Error>> {
        self.send();
        self.error.map_or(Ok(()), Err)
    }

    fn send(&mut self) {
        if self.error.is_none() {
            self.error = write_all(self.console, &self.buffer[..self.len]).err();
        }
        self.len = 0;
    }

    /// Puts out bytes as they are.
    pub fn put(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.buffer[self.len] = byte;
            self.len += 1;
            if byte == b'\n' || self.len == self.buffer.len() {
                self.send();
            }
        }
    }
}

impl fmt::Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        if self.error.is_some() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        self.send();
    }
}
