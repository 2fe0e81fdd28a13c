//! How the number of clients of a service counts.

use abi::layout::PAGE;
use alloc::vec::Vec;
use gauge::GaugeClient;
use rt::abi::info::MemoryInfo;
use rt::sys;

use crate::calls::count;
use crate::measure::{Failed, average, print, print_bytes};
use crate::recoveries::recovery;

/// The most sessions of one service.
const MOST: usize = 5000;
/// How often many sessions are each used in turn.
const TURNS: u32 = 3;
/// The service that reloads its sessions when they are next used.
const LAZY: &str = "gauge_lazy";

/// Sessions of one service, more and more.
struct Sessions {
    service: &'static str,
    open: Vec<GaugeClient>,
}

impl Sessions {
    fn new(service: &'static str) -> Self {
        Sessions { service, open: Vec::with_capacity(MOST) }
    }

    /// So many of them, used like the first one.
    fn grow(&mut self, count: usize) -> Result<(), Failed> {
        while self.open.len() < count {
            let session = GaugeClient::bind_to(self.service)?;
            session.set_used(64)?;
            self.open.push(session);
        }
        Ok(())
    }

    /// A recovery, to the reply of the first one.
    fn recovery(&self) -> Result<u32, Failed> {
        recovery(self.service, self.first()?)
    }

    fn first(&self) -> Result<&GaugeClient, Failed> {
        self.open.first().ok_or(Failed::Wrong("there is no session"))
    }

    /// A call, when so many sessions are used in turn: the least of several averages.
    fn cycle(&self, count: usize) -> Result<u32, Failed> {
        let turn = || average(self.open.iter().take(count), |session| Ok(session.count().map(drop)?));
        // Not counted: twice, because the ASIDs may have started anew in the middle of the first time.
        turn()?;
        turn()?;
        let mut least = turn()?;
        for _ in 1..TURNS {
            least = least.min(turn()?);
        }
        Ok(least)
    }
}

/// All of them; `gauge` is the first session.
pub fn all(gauge: GaugeClient) -> Result<(), Failed> {
    let mut sessions = Sessions::new(GaugeClient::NAME);
    sessions.open.push(gauge);
    print("recover_clients_1", sessions.recovery()?)?;
    sessions.grow(100)?;
    print("recover_clients_100", sessions.recovery()?)?;
    let before = sys::info::<MemoryInfo>(0)?.frames_free;
    sessions.grow(1000)?;
    let frames = before - sys::info::<MemoryInfo>(0)?.frames_free;
    print("recover_clients_1000", sessions.recovery()?)?;
    print("call_ssr_64_1000", count(sessions.first()?)?)?;
    print("call_cycle_1", sessions.cycle(1)?)?;
    print("call_cycle_200", sessions.cycle(200)?)?;
    print("call_cycle_1000", sessions.cycle(1000)?)?;
    sessions.grow(MOST)?;
    print("call_ssr_64_5000", count(sessions.first()?)?)?;
    print_bytes("memory_binding", frames * PAGE / 900)?;

    let mut lazy = Sessions::new(LAZY);
    lazy.grow(1)?;
    print("recover_lazy_1", lazy.recovery()?)?;
    lazy.grow(1000)?;
    print("recover_lazy_1000", lazy.recovery()?)?;
    // The system ends with this: nobody waits until thousands of sessions are closed.
    core::mem::forget((sessions, lazy));
    Ok(())
}
