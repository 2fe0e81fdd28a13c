//! `httpd`: a web server on port 80. GET and HEAD with ranges, PUT, pages of directories, and a page about the services.
//!
//! One program serves all connections in turns, and waits when none can go on. It has no limits of its own to keep but
//! those of its patience: whoever is slow is served slowly, whoever is silent is hung up on when others need the place.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

extern crate alloc;

mod answer;
mod connection;
mod request;

use alloc::vec;
use alloc::vec::Vec;

use fs::FsClient;
use net::{NetClient, NetError};
use rt::{CallError, Error, Events, sys};

use crate::connection::{Connection, Turn};

/// The port.
const PORT: u16 = 80;
/// Connections at the same time: all that a session with the stack has.
const MOST: usize = 16;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 8;
/// The stack has news.
const NEWS: Events = Events::from_bits_truncate(1);
/// Ticks after which it looks round even if there is no news.
const ROUND: u32 = 500;
/// How long a connection without a request is kept, in microseconds; when most places are taken; and one whose peer does
/// nothing in the middle of a request.
const IDLE: u64 = 60_000_000;
/// See [`IDLE`].
const IDLE_WHEN_BUSY: u64 = 1_000_000;
/// See [`IDLE`].
const STUCK: u64 = 120_000_000;
/// Ticks before a service that is not there is asked for again.
const PATIENCE: u32 = 50;
/// Status: the manifest, or the image, lacks a service.
const NO_SERVICE: u32 = 3;

/// The sessions that it needs.
struct Sessions {
    net: NetClient,
    fs: FsClient,
    listener: u32,
}

/// Asks until the answer is another than that the service is not there for the moment.
fn insist<T>(mut ask: impl FnMut() -> Result<T, CallError<NetError>>) -> Result<T, CallError<NetError>> {
    loop {
        match ask() {
            Err(CallError::Kernel(Error::NotFound | Error::NotPermitted | Error::Stopped)) => break,
            Err(_) => sys::pause(PATIENCE)?,
            answer => return answer,
        }
    }
    ask()
}

impl Sessions {
    fn open() -> Result<Self, CallError<NetError>> {
        insist(|| {
            let net = NetClient::bind_notified(NEWS)?;
            let fs = FsClient::bind()?;
            let listener = net.listen(PORT, BACKLOG)?;
            Ok(Sessions { net, fs, listener })
        })
    }
}

/// Serves until a service is not there any more.
fn serve() -> Result<(), CallError<NetError>> {
    let mut sessions = Sessions::open()?;
    let mut connections: Vec<Connection> = Vec::with_capacity(MOST);
    let mut buffer = vec![0; 16 << 10];
    loop {
        let now = sys::time_us()?;
        let mut moved = false;
        let mut lost = None;
        let (readable, writable, ended) = match sessions.net.ready() {
            Ok(ready) => ready,
            Err(_) => {
                lost = Some("net");
                (0, 0, 0)
            }
        };
        while connections.len() < MOST && readable >> sessions.listener & 1 == 1 {
            match sessions.net.accept(sessions.listener) {
                Ok(socket) => {
                    connections.push(Connection::new(socket, now));
                    moved = true;
                }
                Err(error) if error.would_block() => break,
                Err(_) => {
                    lost = Some("net");
                    break;
                }
            }
        }
        let busy = connections.len() * 4 >= MOST * 3;
        connections.retain_mut(|connection| {
            let is = |set: u32| set >> connection.socket & 1 == 1;
            let go = is(ended) || connection.can_go(is(readable), is(writable));
            let turn = if go { connection.turn(&sessions.net, &sessions.fs, &mut buffer) } else { Turn::Blocked };
            let silent = now.saturating_sub(connection.active);
            let patience = match connection.is_idle() {
                true if busy => IDLE_WHEN_BUSY,
                true => IDLE,
                false => STUCK,
            };
            match turn {
                Turn::Moved => {
                    moved = true;
                    connection.active = now;
                    true
                }
                Turn::Blocked if silent < patience => true,
                Turn::Lost(service) => {
                    lost = Some(service);
                    true
                }
                Turn::Blocked | Turn::Over => {
                    connection.give_up(&sessions.fs);
                    moved = true;
                    // One that was reset is gone already. One whose peer does nothing is not waited for any longer.
                    let _ = match turn {
                        Turn::Over => sessions.net.close(connection.socket),
                        _ => sessions.net.abort(connection.socket),
                    };
                    false
                }
            }
        });
        if let Some(service) = lost {
            // What went over these sessions is gone with them, and the peers are told by the stack.
            let _ =
                sys::log(if service == "net" { "the session with net is lost" } else { "the session with fs is lost" });
            connections.clear();
            drop(sessions);
            sessions = Sessions::open()?;
        } else if !moved {
            sys::wait_events(NEWS, ROUND)?;
        }
    }
}

fn httpd(_argument: u32) -> u32 {
    match serve() {
        Ok(()) => 0,
        Err(_) => NO_SERVICE,
    }
}

rt::program!(httpd);
