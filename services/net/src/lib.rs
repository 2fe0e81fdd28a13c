//! The TCP/IP stack: sockets for many clients, none of which can reach, or break, those of another.
//!
//! # Why no failure shows
//!
//! | what | where | after a failure |
//! |---|---|---|
//! | a client's sockets: buffers, sequence numbers, timers | its SSR ([`region`]) | as the last committed step left them |
//! | which packet is for which session | private ([`table`]) | derived from the SSRs, by `reload` |
//! | when which session is to be looked at | private ([`schedule`]) | derived |
//! | addresses, routes, neighbours | the common region ([`shared`]) | as the last committed step left them |
//! | frames received | the card's (`nic`) until a step that used them commits | they are there again |
//! | frames to send | the card's session of the stack, until the step that made them commits | as if never made |
//!
//! A packet is looked at twice. The upcall reads its headers only, and finds the session by its 4-tuple; what is for none
//! the stack answers by itself, with no session open. A step then opens that one session, hands the packet to its sockets, lets
//! them answer, and releases the packet: all of it commits together, or none of it happened. So a packet opens the SSR of the
//! socket that it is for and no other, and what a packet breaks is what it was for. A packet that is at the front each
//! time the stack fails is dropped unread at the third.
#![no_std]
#![deny(unsafe_code)] // but for `region`, where it is argued

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod client;
pub mod device;
mod error;
pub mod frame;
mod interface;
mod methods;
pub mod region;
pub mod schedule;
pub mod server;
pub mod shared;
pub mod stack;
pub mod table;

pub use address::{ADDRESSES, Address, Configuration, SERVERS, STATES, Statistics, Status};
pub use client::{Connection, Failure, Lookup};
pub use error::NetError;
pub use interface::{Net, NetClient, NetEntries};

/// Protocols of datagram sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// UDP.
    Udp = 0,
    /// Echo requests of ICMP and ICMPv6, and their replies.
    Echo = 1,
}

impl rt::Word for Protocol {
    fn into_word(self) -> u32 {
        self as u32
    }

    fn from_word(word: u32) -> Option<Self> {
        [Protocol::Udp, Protocol::Echo].into_iter().find(|protocol| *protocol as u32 == word)
    }
}
