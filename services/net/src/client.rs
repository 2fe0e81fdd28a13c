//! What programs need beside the methods: waiting.

use core::net::{IpAddr, SocketAddr};

use rt::client::when_ready;
use rt::{CallError, Events};
use zerocopy::{FromZeros, IntoBytes};

use crate::{Address, Configuration, NetClient, NetError};

/// What a call can fail with.
pub type Failure = CallError<NetError>;

/// A TCP connection of a program that waits for it. Dropped, it is closed.
pub struct Connection<'n> {
    net: &'n NetClient,
    events: Events,
    socket: u32,
}

impl<'n> Connection<'n> {
    /// Takes over a socket of this session, whose notifications set these events.
    pub fn new(net: &'n NetClient, events: Events, socket: u32) -> Self {
        Connection { net, events, socket }
    }

    /// Connects. The first `send` or `recv` says whether that worked.
    ///
    /// # Errors
    /// As [`NetClient::connect`].
    pub fn to(net: &'n NetClient, events: Events, address: SocketAddr) -> Result<Self, Failure> {
        Ok(Self::new(net, events, net.connect(Address::from(address).as_bytes())?))
    }

    /// The socket's number.
    pub fn socket(&self) -> u32 {
        self.socket
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// As [`NetClient::send`]; part of it may be sent.
    pub fn send_all(&self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let sent = when_ready(self.events, || self.net.send(self.socket, bytes))? as usize;
            bytes = bytes.get(sent..).unwrap_or(&[]);
        }
        Ok(())
    }

    /// Receives what there is, at least a byte; 0: the peer has ended the stream.
    ///
    /// # Errors
    /// As [`NetClient::recv`].
    pub fn recv(&self, to: &mut [u8]) -> Result<usize, Failure> {
        let count = when_ready(self.events, || self.net.recv(self.socket, to))? as usize;
        Ok(count.min(to.len()))
    }

    /// Ends the own stream.
    ///
    /// # Errors
    /// As [`NetClient::shutdown`].
    pub fn shutdown(&self) -> Result<(), Failure> {
        self.net.shutdown(self.socket)
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        // One that has ended needs no closing.
        let _ = self.net.close(self.socket);
    }
}

impl NetClient {
    /// How the interface is set up.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn interface(&self) -> Result<Configuration, Failure> {
        let mut configuration = Configuration::new_zeroed();
        self.configuration(configuration.as_mut_bytes())?;
        Ok(configuration)
    }

    /// The addresses of a name; waits for events that the session's notifications set. An address stands for itself.
    ///
    /// # Errors
    /// As [`NetClient::resolve`] and [`NetClient::answer`].
    pub fn lookup(&self, name: &str, family: u32, events: Events) -> Result<Lookup, Failure> {
        let mut answers = [Address::NONE; 4];
        if let Ok(ip) = name.parse::<IpAddr>() {
            answers[0] = Address::of(ip);
            return Ok(Lookup { answers, count: 1 });
        }
        let query = self.resolve(family, name.as_bytes())?;
        let count = when_ready(events, || self.answer(query, answers.as_mut_bytes()))? as usize;
        Ok(Lookup { answers, count: count.min(answers.len()) })
    }
}

/// The addresses of a name.
pub struct Lookup {
    answers: [Address; 4],
    count: usize,
}

impl Lookup {
    /// The addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.answers.iter().take(self.count).filter_map(Address::ip)
    }
}
