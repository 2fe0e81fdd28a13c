//! The methods.

use rt::{LentRead, LentWrite, Session, interface};

#[cfg(doc)]
use crate::{Address, Configuration, Statistics, Status};
use crate::{NetError, Protocol};

/// Sockets. Nothing waits: `WouldBlock` says that the client is notified when asking again makes sense. Sockets and
/// listeners have numbers below 32, which belong to the session.
#[interface(name = "net")]
pub trait Net {
    /// Accepts TCP connections to this port of all own addresses, at most `backlog` that are not yet taken; returns the
    /// listener's number.
    fn listen(&mut self, session: &mut Session<Self::State>, port: u16, backlog: u32) -> Result<u32, NetError>;
    /// Takes a connection that is established; returns the socket's number. `WouldBlock`: there is none.
    fn accept(&mut self, session: &mut Session<Self::State>, listener: u32) -> Result<u32, NetError>;
    /// Opens a TCP connection to an [`Address`]; returns the socket's number at once. `send` would block until it stands,
    /// and says `Reset` if it never will.
    fn connect(&mut self, session: &mut Session<Self::State>, to: LentRead<'_>) -> Result<u32, NetError>;
    /// Puts bytes into the stream, as many as there is room for; returns how many. `WouldBlock`: there is no room.
    fn send(&mut self, session: &mut Session<Self::State>, socket: u32, data: LentRead<'_>) -> Result<u32, NetError>;
    /// Takes bytes out of the stream, as many as there are and fit; returns how many. 0: the peer sends no more.
    /// `WouldBlock`: there are none yet.
    fn recv(&mut self, session: &mut Session<Self::State>, socket: u32, to: LentWrite<'_>) -> Result<u32, NetError>;
    /// Ends the stream to the peer, behind what was sent.
    fn shutdown(&mut self, session: &mut Session<Self::State>, socket: u32) -> Result<(), NetError>;
    /// Gives a socket, listener or query up. What was sent is still delivered, and then the stream ended.
    fn close(&mut self, session: &mut Session<Self::State>, socket: u32) -> Result<(), NetError>;
    /// Gives a connection up at once, and tells the peer so.
    fn abort(&mut self, session: &mut Session<Self::State>, socket: u32) -> Result<(), NetError>;
    /// Opens a socket for datagrams ([`Protocol`]) at this port, 0: any; returns its number.
    fn open_datagrams(
        &mut self,
        session: &mut Session<Self::State>,
        protocol: Protocol,
        port: u16,
    ) -> Result<u32, NetError>;
    /// Sends a datagram: an [`Address`], then the payload. ([`Protocol::Echo`]: an echo request, whose first two payload
    /// bytes are its sequence number.) `WouldBlock`: there is no room.
    fn send_to(&mut self, session: &mut Session<Self::State>, socket: u32, data: LentRead<'_>) -> Result<(), NetError>;
    /// Takes a datagram: the [`Address`] that it came from, then its payload; returns the bytes of both. What does not fit
    /// into the buffer is lost. `WouldBlock`: there is none.
    fn recv_from(
        &mut self,
        session: &mut Session<Self::State>,
        socket: u32,
        to: LentWrite<'_>,
    ) -> Result<u32, NetError>;
    /// Asks for the addresses of a name, of family 4 or 6; returns the query's number.
    fn resolve(&mut self, session: &mut Session<Self::State>, family: u32, name: LentRead<'_>)
    -> Result<u32, NetError>;
    /// Takes the answer of a query, which ends it: as many [`Address`] records as there are and fit; returns how many.
    /// `WouldBlock`: there is none yet.
    fn answer(&mut self, session: &mut Session<Self::State>, query: u32, to: LentWrite<'_>) -> Result<u32, NetError>;
    /// What can be done without `WouldBlock`, as sets of socket numbers: taken from, put into, and connections that ended
    /// before the client gave them up.
    #[read_only]
    fn ready(&mut self, session: &mut Session<Self::State>) -> Result<(u32, u32, u32), NetError>;
    /// Writes the [`Status`] of a socket to the buffer.
    #[read_only]
    fn status(&mut self, session: &mut Session<Self::State>, socket: u32, to: LentWrite<'_>) -> Result<(), NetError>;
    /// Sets up the interface as this [`Configuration`] says; `mac` and `link` mean nothing.
    fn configure(&mut self, session: &mut Session<Self::State>, configuration: LentRead<'_>) -> Result<(), NetError>;
    /// Writes the [`Configuration`] to the buffer.
    #[read_only]
    fn configuration(&mut self, session: &mut Session<Self::State>, to: LentWrite<'_>) -> Result<(), NetError>;
    /// Writes the [`Statistics`] to the buffer.
    #[read_only]
    fn statistics(&mut self, session: &mut Session<Self::State>, to: LentWrite<'_>) -> Result<(), NetError>;
}
