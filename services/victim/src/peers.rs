//! The services on a route, and the sessions with them.

use rt::{CallError, Error};
use tally::TallyClient;

use crate::attack::words;
use crate::{Strike, VictimClient};

words! {
    /// A service on a route (four bits each); 0 ends it.
    Peer {
        /// The end of the route.
        None,
        /// `relay`.
        Relay,
        /// `victim`.
        Victim,
        /// `vault`.
        Vault,
        /// `ledger`.
        Ledger,
        /// `lazy`.
        Lazy,
        /// `bare`.
        Bare,
        /// `mayfly`.
        Mayfly,
        /// `tally`, which ends the route.
        Tally,
    }
}

impl Peer {
    const COUNT: usize = 9;

    /// The service's name.
    pub const fn name(self) -> &'static str {
        match self {
            Peer::None => "",
            Peer::Relay => "relay",
            Peer::Victim => "victim",
            Peer::Vault => "vault",
            Peer::Ledger => "ledger",
            Peer::Lazy => "lazy",
            Peer::Bare => "bare",
            Peer::Mayfly => "mayfly",
            Peer::Tally => "tally",
        }
    }

    /// The word of a route.
    pub const fn route(peers: &[Peer]) -> u32 {
        let (mut route, mut index) = (0, 0);
        while index < peers.len() {
            route |= (peers[index] as u32) << (4 * index);
            index += 1;
        }
        route
    }
}

/// Sessions with the services that come next, opened when they are first needed.
pub struct Peers {
    clients: [Option<VictimClient>; Peer::COUNT],
    tally: Option<TallyClient>,
}

/// Puts an open session into a place and lends it.
fn at_hand<T>(place: &mut Option<T>, bind: impl FnOnce() -> Result<T, Error>) -> Result<&T, Error> {
    match place {
        Some(client) => Ok(client),
        None => Ok(place.insert(bind()?)),
    }
}

impl Peers {
    /// No session yet.
    pub fn new() -> Self {
        Peers { clients: [const { None }; Peer::COUNT], tally: None }
    }

    /// Goes on along a route; returns the innermost sum.
    ///
    /// # Errors
    /// The code of the error that the next call ended with, or one behind it.
    pub fn pass(
        &mut self,
        peer: Peer,
        route: u32,
        amount: u32,
        strike: Strike,
        argument: u32,
        until: u32,
    ) -> Result<u32, u32> {
        if peer == Peer::Tally {
            let tally = at_hand(&mut self.tally, TallyClient::bind).map_err(|error| error as u32)?;
            return tally.add(amount).map_err(code);
        }
        let place = &mut self.clients[peer as usize];
        let next = at_hand(place, || VictimClient::bind_to(peer.name())).map_err(|error| error as u32)?;
        match next.pass(route, amount, strike, argument, until) {
            Ok((sum, inner, 0)) => Ok(if route == 0 { sum } else { inner }),
            Ok((_, _, code)) => Err(code),
            Err(error) => {
                if error.session_is_gone() {
                    // The next request binds again.
                    *place = None;
                }
                Err(code(error))
            }
        }
    }
}

/// The code that an error travels as.
pub fn code<E: rt::ServiceError>(error: CallError<E>) -> u32 {
    match error {
        CallError::Kernel(error) => error as u32,
        CallError::Service(error) => error.code(),
        CallError::Protocol(code) => code,
    }
}
