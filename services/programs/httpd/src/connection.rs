//! One connection: its requests, one after the other.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fs::{FsClient, FsError, OpenFlags, Whence};
use net::{NetClient, NetError};
use rt::CallError;

use crate::answer;
use crate::request::{self, HEAD_MAX, Method, Refusal, Request};

/// Bytes that go from or to a file at once.
const CHUNK: usize = 16 << 10;
/// What the name of a file ends with while it is being stored.
const PART: &str = ".part";

/// What the connection is at.
enum Work {
    /// The next request.
    Waiting,
    /// Sending what is left of a file.
    Sending { fd: u32, left: u64 },
    /// Storing what is left of a file.
    Storing { fd: u32, left: u64, path: String, created: bool },
    /// The answer is the last one. Reading what a refused request still sends, so that the peer sees the answer and not the end
    /// of the connection, at most so much.
    Draining { left: u64, ended: bool },
    /// Nothing more, when the output is gone.
    Ending,
}

/// Why a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Something was done, and there may be more.
    Moved,
    /// It waits for the peer.
    Blocked,
    /// It is over.
    Over,
    /// The session with this service is gone.
    Lost(&'static str),
}

/// A connection.
pub struct Connection {
    /// Its socket.
    pub socket: u32,
    /// When something was last done, in microseconds.
    pub active: u64,
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    work: Work,
    keep: bool,
    /// There is input that was not looked at.
    unread: bool,
}

impl Connection {
    /// A connection that was accepted.
    pub fn new(socket: u32, now: u64) -> Self {
        let work = Work::Waiting;
        Connection {
            socket,
            active: now,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            work,
            keep: true,
            unread: false,
        }
    }

    /// Whether a turn may lead to anything, if the socket is ready to be taken from, and put into.
    pub fn can_go(&self, readable: bool, writable: bool) -> bool {
        match self.work {
            _ if self.sent < self.output.len() => writable,
            Work::Sending { .. } => writable,
            Work::Storing { left: 0, .. } | Work::Draining { ended: false, .. } | Work::Ending => true,
            Work::Storing { .. } | Work::Draining { .. } => readable || !self.input.is_empty(),
            Work::Waiting => readable || self.unread,
        }
    }

    /// Whether it is between two requests.
    pub fn is_idle(&self) -> bool {
        matches!(self.work, Work::Waiting | Work::Ending | Work::Draining { .. }) && self.sent == self.output.len()
    }

    /// Does what can be done without waiting, once.
    pub fn turn(&mut self, net: &NetClient, fs: &FsClient, buffer: &mut [u8]) -> Turn {
        match self.step(net, fs, buffer) {
            Ok(turn) => turn,
            Err(error) if error.would_block() => Turn::Blocked,
            Err(error) if error.session_is_gone() => Turn::Lost("net"),
            Err(_) => {
                self.give_up(fs);
                Turn::Over
            }
        }
    }

    /// Closes what is open.
    pub fn give_up(&mut self, fs: &FsClient) {
        match core::mem::replace(&mut self.work, Work::Ending) {
            Work::Sending { fd, .. } => {
                // There is nobody to tell.
                let _ = fs.close(fd);
            }
            Work::Storing { fd, path, .. } => {
                let _ = fs.close(fd).and_then(|()| fs.remove(format!("{path}{PART}").as_bytes()));
            }
            Work::Waiting | Work::Draining { .. } | Work::Ending => {}
        }
    }

    fn step(&mut self, net: &NetClient, fs: &FsClient, buffer: &mut [u8]) -> Result<Turn, CallError<NetError>> {
        if self.sent < self.output.len() {
            let sent = net.send(self.socket, &self.output[self.sent..])? as usize;
            self.sent = (self.sent + sent).min(self.output.len());
            return Ok(Turn::Moved);
        }
        self.output.clear();
        self.sent = 0;
        match &mut self.work {
            Work::Sending { fd, left } => {
                let most = usize::try_from(*left).unwrap_or(CHUNK).min(CHUNK).min(buffer.len());
                match fs.read(*fd, &mut buffer[..most]) {
                    Ok(count) if count > 0 => {
                        let count = (count as usize).min(most);
                        *left -= count as u64;
                        if *left == 0 {
                            // Read whole: what is left is sent from memory.
                            let _ = fs.close(*fd);
                            self.work = if self.keep { Work::Waiting } else { Work::Ending };
                        }
                        let sent = match net.send(self.socket, &buffer[..count]) {
                            Err(error) if error.would_block() => 0,
                            sent => sent? as usize,
                        };
                        self.output.extend_from_slice(&buffer[sent.min(count)..count]);
                        Ok(Turn::Moved)
                    }
                    // Cut meanwhile, or unreadable: the head has promised more, and only the end of the connection says so.
                    answer => Ok(self.broken(net, fs, answer.err())),
                }
            }
            Work::Storing { left: 0, .. } => {
                if let Some(lost) = self.stored(fs) {
                    return Ok(lost);
                }
                Ok(Turn::Moved)
            }
            Work::Storing { fd, left, .. } => {
                let most = usize::try_from(*left).unwrap_or(CHUNK).min(CHUNK);
                let (fd, mut start) = (*fd, 0);
                let length = if self.input.is_empty() {
                    match net.recv(self.socket, &mut buffer[..most])? as usize {
                        0 => {
                            self.give_up(fs);
                            return Ok(Turn::Over);
                        }
                        length => length.min(most),
                    }
                } else {
                    let length = self.input.len().min(most);
                    buffer[..length].copy_from_slice(&self.input[..length]);
                    self.input.drain(..length);
                    length
                };
                *left -= length as u64;
                while start < length {
                    match fs.write(fd, &buffer[start..length]) {
                        Ok(count) => start += count as usize,
                        Err(error) => return Ok(self.failed(fs, error)),
                    }
                }
                Ok(Turn::Moved)
            }
            Work::Draining { ended: ended @ false, .. } => {
                *ended = true;
                net.shutdown(self.socket)?;
                Ok(Turn::Moved)
            }
            Work::Draining { left, .. } => {
                let length =
                    if self.input.is_empty() { net.recv(self.socket, buffer)? as usize } else { self.input.len() };
                self.input.clear();
                *left = left.saturating_sub(length as u64);
                if *left == 0 || length == 0 {
                    self.work = Work::Ending;
                }
                Ok(Turn::Moved)
            }
            Work::Ending => Ok(Turn::Over),
            Work::Waiting => self.next_request(net, fs, buffer),
        }
    }

    /// Understands the next request, and begins its answer.
    fn next_request(&mut self, net: &NetClient, fs: &FsClient, buffer: &mut [u8]) -> Result<Turn, CallError<NetError>> {
        let parsed = if self.input.is_empty() { Ok(None) } else { request::parse(&self.input) };
        self.unread = false;
        match parsed {
            Ok(Some((request, length))) => {
                self.input.drain(..length);
                self.unread = !self.input.is_empty();
                self.keep = request.keep;
                Ok(self.begin(net, fs, request))
            }
            Ok(None) => {
                let room = HEAD_MAX + 1 - self.input.len().min(HEAD_MAX);
                let room = room.min(buffer.len());
                match net.recv(self.socket, &mut buffer[..room])? as usize {
                    0 => Ok(Turn::Over),
                    length => {
                        self.input.extend_from_slice(&buffer[..length.min(room)]);
                        self.unread = true;
                        Ok(Turn::Moved)
                    }
                }
            }
            Err(Refusal(status)) => {
                self.keep = false;
                self.input.clear();
                self.say(status, "", true);
                self.work = Work::Draining { left: 64 << 10, ended: false };
                Ok(Turn::Moved)
            }
        }
    }

    fn begin(&mut self, net: &NetClient, fs: &FsClient, request: Request) -> Turn {
        if request.method == Method::Put {
            return self.begin_storing(fs, request);
        }
        if request.length > 0 {
            // A body that means nothing: where it ends is not worth finding out.
            self.keep = false;
        }
        match self.page(net, fs, &request) {
            Ok(()) => Turn::Moved,
            Err(error) if error.session_is_gone() => Turn::Lost("fs"),
            Err(error) => {
                self.say(answer::status_of(&error), "", request.method == Method::Get);
                self.after_page()
            }
        }
    }

    /// Answers a request for a page or a file.
    fn page(&mut self, net: &NetClient, fs: &FsClient, request: &Request) -> Result<(), CallError<FsError>> {
        let content = request.method == Method::Get;
        let html = "text/html; charset=utf-8";
        let made = match request.path.as_str() {
            answer::STATUS_PAGE => Some((answer::status_page(), html)),
            answer::STATUS_DATA => Some((answer::status_data(net), "application/json")),
            path => match fs.stat(path.as_bytes()) {
                Ok(stat) if stat.is_dir() && !request.slash => {
                    let name = path.rsplit('/').next().unwrap_or_default();
                    self.say(301, &format!("Location: {}/\r\n", Linked(name)), content);
                    self.after_page();
                    return Ok(());
                }
                Ok(stat) if stat.is_dir() => Some((answer::directory(fs, path)?, html)),
                Ok(_) => None,
                Err(error) => return Err(error),
            },
        };
        let Some((page, kind)) = made else { return self.file(fs, request, content) };
        let fields = "Cache-Control: no-store\r\n";
        self.output.extend(answer::head(200, page.len() as u64, kind, self.keep, fields).into_bytes());
        if content {
            self.output.extend(page.into_bytes());
        }
        self.after_page();
        Ok(())
    }

    fn file(&mut self, fs: &FsClient, request: &Request, content: bool) -> Result<(), CallError<FsError>> {
        let fd = fs.open(OpenFlags::READ, request.path.as_bytes())?;
        let length = u64::from(fs.fstat(fd)?.size);
        let kind = answer::kind(&request.path);
        let part = request.range.map(|range| range.of(length));
        let (status, first, count, fields) = match part {
            None => (200, 0, length, String::from("Accept-Ranges: bytes\r\n")),
            Some(Some((first, count))) => {
                (206, first, count, format!("Content-Range: bytes {first}-{}/{length}\r\n", first + count - 1))
            }
            Some(None) => {
                let _ = fs.close(fd);
                self.say(416, &format!("Content-Range: bytes */{length}\r\n"), content);
                self.after_page();
                return Ok(());
            }
        };
        // Positions of a file fit into 32 bits, but only half of them into an offset.
        let mut at = 0;
        while at < first {
            let step = (first - at).min(i32::MAX as u64);
            fs.seek(fd, Whence::Current, step as i32)?;
            at += step;
        }
        self.output.extend(answer::head(status, count, kind, self.keep, &fields).into_bytes());
        if content && count > 0 {
            self.work = Work::Sending { fd, left: count };
        } else {
            let _ = fs.close(fd);
            self.after_page();
        }
        Ok(())
    }

    fn begin_storing(&mut self, fs: &FsClient, request: Request) -> Turn {
        let path = request.path;
        let opened = if request.slash || path.starts_with("-/") {
            Err(CallError::Service(FsError::ReadOnly))
        } else {
            let created = match fs.stat(path.as_bytes()) {
                Ok(stat) if stat.is_dir() => Err(CallError::Service(FsError::IsDirectory)),
                Ok(_) => Ok(false),
                Err(CallError::Service(FsError::NotFound)) => Ok(true),
                Err(error) => Err(error),
            };
            let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
            created.and_then(|created| Ok((fs.open(flags, format!("{path}{PART}").as_bytes())?, created)))
        };
        match opened {
            Ok((fd, created)) => {
                self.work = Work::Storing { fd, left: request.length, path, created };
                if request.expects {
                    self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                Turn::Moved
            }
            Err(error) if error.session_is_gone() => Turn::Lost("fs"),
            Err(error) => {
                self.keep = false;
                self.say(answer::status_of(&error), "", true);
                // A client that waits for the word to go on sends nothing.
                self.work =
                    if request.expects { Work::Ending } else { Work::Draining { left: request.length, ended: false } };
                Turn::Moved
            }
        }
    }

    /// All of a file has come: it takes its name. `Some`: the session with the file service is gone.
    fn stored(&mut self, fs: &FsClient) -> Option<Turn> {
        let Work::Storing { fd, path, created, .. } = core::mem::replace(&mut self.work, Work::Waiting) else {
            return None;
        };
        let part = format!("{path}{PART}");
        let done = fs.sync().and_then(|()| fs.close(fd)).and_then(|()| fs.mv(part.as_bytes(), path.as_bytes()));
        match done {
            Ok(()) => self.say(if created { 201 } else { 200 }, "", true),
            Err(error) if error.session_is_gone() => return Some(Turn::Lost("fs")),
            Err(error) => self.say(answer::status_of(&error), "", true),
        }
        self.after_page();
        None
    }

    /// Writing failed: says why, and reads on so that the client hears it.
    fn failed(&mut self, fs: &FsClient, error: CallError<FsError>) -> Turn {
        if error.session_is_gone() {
            return Turn::Lost("fs");
        }
        let left = if let Work::Storing { left, .. } = self.work { left } else { 0 };
        self.give_up(fs);
        self.keep = false;
        self.say(answer::status_of(&error), "", true);
        self.work = Work::Draining { left, ended: false };
        Turn::Moved
    }

    /// A file cannot be sent to its end.
    fn broken(&mut self, net: &NetClient, fs: &FsClient, error: Option<CallError<FsError>>) -> Turn {
        if error.is_some_and(|error| error.session_is_gone()) {
            return Turn::Lost("fs");
        }
        self.give_up(fs);
        // The peer is to see that it is not the end.
        let _ = net.abort(self.socket);
        Turn::Over
    }

    /// Answers with a status and a short text.
    fn say(&mut self, status: u16, fields: &str, content: bool) {
        let text = answer::text(status);
        let head = answer::head(status, text.len() as u64, "text/plain", self.keep, fields);
        self.output.extend(head.into_bytes());
        if content {
            self.output.extend(text.into_bytes());
        }
    }

    /// The answer is whole: what comes next.
    fn after_page(&mut self) -> Turn {
        self.work = if self.keep { Work::Waiting } else { Work::Ending };
        Turn::Moved
    }
}

/// A name as a relative link.
struct Linked<'n>(&'n str);

impl core::fmt::Display for Linked<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&answer::linked(self.0))
    }
}
