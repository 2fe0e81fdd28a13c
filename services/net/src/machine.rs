//! The kernel and the card, as the service needs them.

use net::server::Machine;
use nic::NicClient;
use rt::{CallError, Error, Events, sys};

/// What the card's notifications set.
const CARD: Events = Events::from_bits_truncate(1);

/// Kernel and card. A refusal of the kernel is a manifest without the rights: a failure that says so.
#[derive(Default)]
pub struct Kernel {
    /// Found at the first use.
    card: Option<NicClient>,
}

impl Kernel {
    /// Asks the card. What it does not answer it does not have: a card that is gone is looked for at the next use.
    fn ask<T>(&mut self, ask: impl FnOnce(&NicClient) -> Result<T, CallError<Error>>) -> Option<T> {
        let card = match &self.card {
            Some(card) => card,
            None => self.card.insert(NicClient::bind_notified(CARD).ok()?),
        };
        let answer = ask(card);
        if answer.as_ref().is_err_and(CallError::session_is_gone) {
            self.card = None;
        }
        answer.ok()
    }
}

impl Machine for Kernel {
    fn now(&mut self) -> u64 {
        sys::time_us().expect("the manifest grants `time`")
    }

    fn deadline(&mut self, at: Option<u64>) {
        sys::deadline(at).expect("the manifest grants `deadline`");
    }

    fn notify(&mut self, session: u32) {
        sys::notify(session).expect("the session that is open is the service's own");
    }

    fn mac(&mut self) -> Option<[u8; 6]> {
        let [a, b, c, d, e, f, ..] = self.ask(NicClient::mac)?.to_le_bytes();
        Some([a, b, c, d, e, f])
    }

    fn peek(&mut self, to: &mut [u8]) -> usize {
        self.ask(|card| card.peek(to)).map_or(0, |length| length as usize)
    }

    fn release(&mut self, first: u32, mask: u64) {
        self.ask(|card| card.release(first, mask));
    }

    fn send(&mut self, frames: &[u8]) -> u32 {
        self.ask(|card| card.send(frames)).unwrap_or(0)
    }
}
