//! The workload of `console`: each client prints numbered lines, one request each, and finds that nothing is typed.

use console::{ConsoleClient, LINE_MAX};
use rt::{CallError, Error};
use trial::LINE_PREFIX;

use crate::course::{Answer, Course, Failed, Subject, hash, hash_words};

/// Rounds of short lines, a long one and a pair.
const ROUNDS: u32 = 5;
/// Short lines in a row.
const SHORT: u32 = 3;
/// Bytes of the longest request.
const LONGEST: usize = 96;

/// What one request puts out.
struct Output {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Output {
    const fn new() -> Self {
        Output { bytes: [0; LONGEST], len: 0 }
    }

    /// Appends a byte; there is room for all that is ever appended.
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

struct Client {
    console: Subject<ConsoleClient>,
    client: u32,
    line: u32,
}

fn bind() -> Result<ConsoleClient, Error> {
    ConsoleClient::bind()
}

impl Client {
    /// Appends a line with so many letters that depend on its number.
    fn append(&mut self, output: &mut Output, letters: u32) {
        self.line += 1;
        LINE_PREFIX.bytes().for_each(|byte| output.push(byte));
        for byte in [b'0' + self.client as u8, b' ', b'0' + (self.line / 10) as u8, b'0' + (self.line % 10) as u8, b' ']
        {
            output.push(byte);
        }
        let mut state = hash_words(&[self.client, self.line]);
        for _ in 0..letters {
            output.push(b'a' + (state >> 28) as u8);
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        }
        output.push(b'\n');
    }

    /// Puts it out; how much the service took, which is all of it.
    fn write(&mut self, output: &Output) {
        self.console.call(|console| Ok(console.write(output.as_bytes())?.into()));
    }

    fn line(&mut self, letters: u32) {
        let mut output = Output::new();
        self.append(&mut output, letters);
        self.write(&output);
    }

    /// Two lines in one request.
    fn pair(&mut self) {
        let mut output = Output::new();
        self.append(&mut output, 10);
        self.append(&mut output, 5);
        self.write(&output);
    }

    /// Asks for bytes, or a line.
    fn read(&mut self, line: bool) {
        let mut buffer = [0; LINE_MAX];
        self.console.call(|console| {
            let read = if line { console.read_line(&mut buffer) } else { console.read(&mut buffer) };
            read_nothing(read, &buffer)
        });
    }

    /// Asks for a line with a buffer that is too short for one.
    fn refused(&mut self) {
        self.console.call(|console| match console.read_line(&mut [0; 16]) {
            Err(CallError::Kernel(Error::BadArgument)) => Ok((Error::BadArgument as u32).into()),
            other => Ok(other?.into()),
        });
    }
}

/// That nothing was typed is the answer; anything else has another value.
fn read_nothing(read: Result<u32, CallError<Error>>, buffer: &[u8]) -> Result<Answer, Failed> {
    match read {
        Err(error) if error.would_block() => Ok((Error::WouldBlock as u32).into()),
        other => Ok(hash(buffer.get(..other? as usize).unwrap_or_default()).into()),
    }
}

/// Prints and asks.
pub fn run(course: Course) {
    let client = course.client;
    let mut own = Client { console: Subject::bind(course, bind), client, line: 0 };
    for round in 0..ROUNDS {
        for line in 0..SHORT {
            own.line(4 + 3 * line + round);
        }
        own.read(round % 2 == 0);
        own.line(64);
        own.pair();
        own.read(round % 2 == 1);
        match round {
            2 => own.console.reopen(),
            _ => own.refused(),
        }
    }
    own.read(true);
    own.read(false);
    own.line(0);
    own.console.end();
}
