//! `console`: the driver of the board's UART.
//!
//! Requests only move bytes between their client, its session and the common region. Output goes to the device in
//! `flush` alone, after the commit: a request that fails has put nothing out. Input comes in by an upcall at the
//! device's interrupt, which commits before any request consumes it, and, as the FIFO is short, by each flush. Whoever
//! found none is notified when there is some.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

mod input;
mod line;
mod ns16550;
mod pl011;
mod readers;
mod uart;

use core::sync::atomic::{Ordering, compiler_fence};

use console::{Console, LINE_MAX};
use rt::{Construct, Error, Events, LentRead, LentWrite, Next, Service, Session, SsrState, sys};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::input::Input;
use crate::line::{Echo, Line};
use crate::readers::Readers;
use crate::uart::{Port, Uart};

/// What each client has. Output that is held back follows it in the session's tail.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]
#[ssr(validate = Terminal::holds)]
#[repr(C)]
struct Terminal {
    line: Line,
    /// How much of the tail was put out: twice the number of bytes, and 1 if of the next one, the end of a line, the carriage
    /// return was.
    sent: u32,
    /// 1: the client found no input, and is to be notified when there is some.
    waits: u32,
}

impl Terminal {
    fn holds(&self) -> bool {
        self.line.holds() && self.waits <= 1
    }
}

/// The interrupt of the device: the first, and only, line of the manifest.
const LINE: u32 = 0;

/// The driver.
struct Driver<P> {
    port: P,
    input: &'static mut Input,
    /// Sessions whose clients wait for input: derived from their states.
    readers: Readers,
}

impl<P: Port> Driver<P> {
    /// Takes in what the device has, as far as there is room; whether it was anything. Recorded as soon as the device
    /// has given it.
    fn take_in(&mut self) -> bool {
        let mut any = false;
        while self.input.has_room() {
            let Some(byte) = self.port.get() else { break };
            self.input.put(byte);
            compiler_fence(Ordering::SeqCst);
            any = true;
        }
        any
    }

    /// The client found no input.
    fn wait(&mut self, session: &mut Session<Terminal>) -> Error {
        session.waits = 1;
        self.readers.insert(session.number());
        Error::WouldBlock
    }

    /// The client got what it wanted.
    fn served(&mut self, session: &mut Session<Terminal>) {
        session.waits = 0;
        self.readers.remove(session.number());
    }
}

impl<P: Port + 'static> Service for Driver<P> {
    type State = Terminal;

    fn new(construct: &mut Construct) -> Self {
        let input: &mut Input =
            construct.take_common_as().expect("the manifest gives the console a common region of a page");
        input.repair();
        let port = P::take(construct.argument());
        // The line is masked whenever the driver is built. On the host, where there is none, the call is refused.
        let _ = sys::acknowledge(LINE);
        Driver { port, input, readers: Readers::default() }
    }

    fn reload(&mut self, session: &mut Session<Terminal>) -> Result<(), Error> {
        match session.waits {
            0 => self.readers.remove(session.number()),
            _ => self.readers.insert(session.number()),
        }
        Ok(())
    }

    fn close(&mut self, session: &mut Session<Terminal>) {
        self.readers.remove(session.number());
    }

    /// The device interrupts: something was received.
    fn event(&mut self, _events: Events) -> Next {
        self.port.clear_interrupts();
        if self.take_in() {
            for reader in self.readers.iter() {
                // A session that has ended since has nobody to tell.
                let _ = sys::notify(reader);
            }
        }
        let _ = sys::acknowledge(LINE);
        Next::Done
    }

    /// Puts out what is held back, exactly once: what is put out is noted in the same step. Then takes in what was received,
    /// at most once, as it is recorded as soon as the device has given it.
    fn flush(&mut self, session: &mut Session<Terminal>) -> Result<(), Error> {
        while let Some(&byte) = session.tail().get(session.sent as usize / 2) {
            let sent = &mut session.sent;
            match (byte, *sent % 2) {
                (b'\n', 0) => self.port.put(b'\r', sent, *sent + 1)?,
                (_, half) => self.port.put(byte, sent, *sent - half + 2)?,
            }
        }
        session.set_tail_len(0)?;
        compiler_fence(Ordering::SeqCst);
        session.sent = 0;
        if self.take_in() {
            for reader in self.readers.iter() {
                let _ = sys::notify(reader);
            }
        }
        Ok(())
    }
}

impl<P: Port + 'static> Console for Driver<P> {
    fn write(&mut self, session: &mut Session<Terminal>, data: LentRead<'_>) -> Result<u32, Error> {
        session.request_flush();
        let start = session.tail().len();
        let count = data.len().min(session.tail_capacity() - start);
        if count == 0 && !data.is_empty() {
            return Err(Error::Exhausted);
        }
        session.set_tail_len(start + count)?;
        data.copy(0, &mut session.tail_mut()[start..])?;
        Ok(count as u32)
    }

    fn read(&mut self, session: &mut Session<Terminal>, mut to: LentWrite<'_>) -> Result<u32, Error> {
        session.request_flush();
        let mut count = 0;
        // Twice: the ring may go round its end.
        for _ in 0..2 {
            let bytes = self.input.oldest();
            let part = bytes.len().min(to.len() - count);
            to.copy(count, &bytes[..part])?;
            self.input.claim(part);
            count += part;
        }
        if count == 0 && !to.is_empty() {
            return Err(self.wait(session));
        }
        self.served(session);
        Ok(count as u32)
    }

    fn read_line(&mut self, session: &mut Session<Terminal>, mut to: LentWrite<'_>) -> Result<u32, Error> {
        if to.len() < LINE_MAX {
            return Err(Error::BadArgument);
        }
        session.request_flush();
        while session.tail().len() + Line::MAX_ECHO <= session.tail_capacity() {
            let Some(&byte) = self.input.oldest().first() else { break };
            self.input.claim(1);
            let (echo, complete) = session.line.feed(byte);
            match echo {
                Echo::Nothing => {}
                Echo::Byte(byte) => {
                    session.extend_tail(&[byte]);
                }
                Echo::Text(text) => {
                    session.extend_tail(text);
                }
                Echo::Erase(count) => (0..count).for_each(|_| {
                    session.extend_tail(b"\x08 \x08");
                }),
            }
            if complete {
                let length = session.line.bytes().len();
                to.copy(0, session.line.bytes())?;
                session.line.clear();
                self.served(session);
                return Ok(length as u32);
            }
        }
        Err(self.wait(session))
    }
}

rt::service!(Driver<Uart>: console::Console);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use rt::Cause;
    use zerocopy::{FromZeros, IntoBytes};

    use super::*;

    /// A device that has bytes to give, and remembers what it was sent until it fails.
    #[derive(Default)]
    struct Fake {
        gives: RefCell<Vec<u8>>,
        sent: RefCell<Vec<u8>>,
        /// Sending this byte panics, once.
        fails_at: RefCell<Option<u8>>,
    }

    impl Port for Fake {
        fn take(_: u32) -> Self {
            Fake::default()
        }
        fn put(&self, byte: u8, note: &mut u32, noted: u32) -> Result<(), Error> {
            if *self.fails_at.borrow() == Some(byte) {
                *self.fails_at.borrow_mut() = None;
                panic!("as asked");
            }
            self.sent.borrow_mut().push(byte);
            *note = noted;
            Ok(())
        }
        fn get(&self) -> Option<u8> {
            let mut gives = self.gives.borrow_mut();
            if gives.is_empty() { None } else { Some(gives.remove(0)) }
        }
        fn clear_interrupts(&self) {}
    }

    fn driver(received: &[u8]) -> (Driver<Fake>, Session<Terminal>) {
        let input = Box::leak(Box::new(Input::new_zeroed()));
        received.iter().for_each(|byte| input.put(*byte));
        let mut construct = Construct::for_test(Cause::Boot, 0, input.as_mut_bytes());
        (Driver::new(&mut construct), Session::for_test(1))
    }

    #[test]
    fn output_is_held_until_the_flush() {
        let (mut driver, mut session) = driver(b"");
        assert_eq!(driver.write(&mut session, LentRead::for_test(b"one\n")), Ok(4));
        assert_eq!(driver.write(&mut session, LentRead::for_test(b"two")), Ok(3));
        assert!(session.flush_requested() && driver.port.sent.borrow().is_empty());
        driver.flush(&mut session).unwrap();
        assert_eq!(*driver.port.sent.borrow(), b"one\r\ntwo");
        driver.flush(&mut session).unwrap();
        assert_eq!(driver.port.sent.borrow().len(), 8);
    }

    #[test]
    fn a_request_that_holds_too_much_is_told() {
        let (mut driver, mut session) = driver(b"");
        let room = session.tail_capacity();
        assert_eq!(driver.write(&mut session, LentRead::for_test(&[b'x'; 5000])), Ok(room as u32));
        assert_eq!(driver.write(&mut session, LentRead::for_test(b"y")), Err(Error::Exhausted));
        assert_eq!(driver.write(&mut session, LentRead::for_test(b"")), Ok(0));
    }

    #[test]
    fn a_character_goes_out_exactly_once_across_a_failure() {
        let (mut driver, mut session) = driver(b"");
        driver.write(&mut session, LentRead::for_test(b"abcd")).unwrap();
        *driver.port.fails_at.borrow_mut() = Some(b'c');
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| driver.flush(&mut session)));
        assert!(failed.is_err() && session.is_intact());
        driver.flush(&mut session).unwrap();
        assert_eq!(*driver.port.sent.borrow(), b"abcd");
    }

    #[test]
    fn what_was_received_survives_a_rebuild_and_goes_to_who_asks() {
        let (mut driver, mut session) = driver(b"ab");
        driver.port.gives.borrow_mut().extend(b"cd");
        driver.flush(&mut session).unwrap();
        let mut rebuilt = Driver { port: Fake::take(0), input: driver.input, readers: Readers::default() };
        let mut buffer = [0; 3];
        assert_eq!(rebuilt.read(&mut session, LentWrite::for_test(&mut buffer)), Ok(3));
        assert_eq!(&buffer, b"abc");
        assert_eq!(rebuilt.read(&mut session, LentWrite::for_test(&mut buffer)), Ok(1));
        assert_eq!(rebuilt.read(&mut session, LentWrite::for_test(&mut buffer)), Err(Error::WouldBlock));
    }

    #[test]
    fn who_waits_is_known_after_a_rebuild_until_it_is_served() {
        let (mut driver, mut session) = driver(b"");
        let mut buffer = [0; 3];
        assert_eq!(driver.read(&mut session, LentWrite::for_test(&mut buffer)), Err(Error::WouldBlock));
        let mut rebuilt = Driver { port: Fake::take(0), input: driver.input, readers: Readers::default() };
        rebuilt.reload(&mut session).unwrap();
        assert!(rebuilt.readers.iter().eq([1]));
        rebuilt.port.gives.borrow_mut().extend(b"x");
        assert_eq!(rebuilt.event(Events::LINE_0), Next::Done);
        assert_eq!(rebuilt.read(&mut session, LentWrite::for_test(&mut buffer)), Ok(1));
        assert!(rebuilt.readers.iter().next().is_none() && session.waits == 0);
        session.waits = 2;
        assert!(!session.is_intact());
    }

    #[test]
    fn a_line_is_edited_and_echoed() {
        let (mut driver, mut session) = driver(b"hellp\x7fo\rnext");
        let mut buffer = [0; LINE_MAX];
        assert_eq!(driver.read_line(&mut session, LentWrite::for_test(&mut buffer)), Ok(5));
        assert_eq!(&buffer[..5], b"hello");
        assert_eq!(session.tail(), b"hellp\x08 \x08o\n");
        driver.flush(&mut session).unwrap();
        assert_eq!(driver.read_line(&mut session, LentWrite::for_test(&mut buffer)), Err(Error::WouldBlock));
        assert_eq!((session.line.bytes(), session.tail()), (&b"next"[..], &b"next"[..]));
        assert_eq!(driver.read_line(&mut session, LentWrite::for_test(&mut buffer[1..])), Err(Error::BadArgument));
    }

    #[test]
    fn typing_stops_while_there_is_no_room_for_the_echo() {
        let (mut driver, mut session) = driver(b"a\r");
        let mut buffer = [0; LINE_MAX];
        let long = session.tail_capacity() - Line::MAX_ECHO + 1;
        session.set_tail_len(long).unwrap();
        assert_eq!(driver.read_line(&mut session, LentWrite::for_test(&mut buffer)), Err(Error::WouldBlock));
        driver.flush(&mut session).unwrap();
        assert_eq!(driver.read_line(&mut session, LentWrite::for_test(&mut buffer)), Ok(1));
    }
}
