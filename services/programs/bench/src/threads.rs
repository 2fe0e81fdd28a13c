//! What takes two threads: switches, notifications, interrupts, a call that has to wait.

use abi::Control;
use bell::BellClient;
use gauge::{GaugeClient, cycles};
use pair::Role;
use rt::abi::info::ProcessInfo;
use rt::{Events, sys};
use scheduler::SchedulerClient;
use striker::StrikerClient;

use crate::measure::{Failed, average, least_of, print};

/// Switches that are measured together, half of them to the other process.
const SWITCHES: u32 = 64;
/// More than these, in case that some switch was to the same process again.
const SPARE: u32 = 8;
/// `ProcessInfo::state`: ended.
const ENDED: u32 = 3;

pub fn all() -> Result<(), Failed> {
    print("switch", switch()?)?;
    sys::control(SchedulerClient::NAME, Control::Hold)?;
    print("switch_kernel", switch()?)?;
    sys::control(SchedulerClient::NAME, Control::Start)?;
    sys::pause(2)?;
    print("notify", notify()?)?;
    print("irq_to_service", interrupt()?)?;
    print("call_contended", contended()?)
}

/// Two processes that give the processor to each other: what each time costs. An average: the policy's decisions are not
/// all the same.
fn switch() -> Result<u32, Failed> {
    let other = sys::spawn(pair::NAME, Role::Yield(SWITCHES / 2 + SPARE).argument())?;
    // The other one starts.
    sys::yield_now()?;
    let round = average(0..SWITCHES / 2, |_| Ok(sys::yield_now()?))?;
    for _ in 0..SPARE + 2 {
        sys::yield_now()?;
    }
    // If it has not ended it did not run each time.
    if !has_ended(other)? || sys::wait(other)? != 0 {
        return Err(Failed::Wrong("the processes did not take turns"));
    }
    Ok(round / 2)
}

fn has_ended(process: u32) -> Result<bool, Failed> {
    for index in 0.. {
        let info: ProcessInfo = sys::info(index)?;
        if info.process == process {
            return Ok(info.state == ENDED);
        }
    }
    Ok(false)
}

/// From the service's kernel call, in an event's handler, to its client that waits. Nobody else is ready.
fn notify() -> Result<u32, Failed> {
    let event = Events::from_bits_truncate(1);
    let gauge = GaugeClient::bind_notified(event)?;
    least_of(|| {
        gauge.notify_soon()?;
        let came = sys::wait_events(event, 0)?;
        let now = cycles();
        let sent = gauge.notified_at()?;
        if came == event { Ok(now.wrapping_sub(sent)) } else { Err(Failed::Wrong("no notification came")) }
    })
}

/// From the write that makes a device interrupt to the handler of the event, in a driver that is at rest.
fn interrupt() -> Result<u32, Failed> {
    let (bell, striker) = (BellClient::bind()?, StrikerClient::bind()?);
    least_of(|| {
        // Its rate is limited.
        sys::pause(1)?;
        bell.listen()?;
        let struck = striker.strike()?;
        let heard = bell.heard_at()?;
        striker.quiet()?;
        if heard == 0 { Err(Failed::Wrong("no interrupt came")) } else { Ok(heard.wrapping_sub(struck)) }
    })
}

/// A call that finds its object taken, without the time for which the other process goes on in there: from the call to the
/// other one, and from the end of that one's method to the reply.
fn contended() -> Result<u32, Failed> {
    let gauge = GaugeClient::bind()?;
    let other = sys::spawn(pair::NAME, Role::Spin.argument())?;
    sys::pause(5)?;
    let instructions = least_of(|| {
        // It begins a call, which is interrupted at the tick that ends this.
        sys::pause(2)?;
        let start = cycles();
        gauge.count()?;
        let end = cycles();
        let (went_on, over) = gauge.spun()?;
        let (all, inside) = (end.wrapping_sub(start), over.wrapping_sub(went_on));
        if went_on.wrapping_sub(start) < all && inside < all {
            Ok(all - inside)
        } else {
            Err(Failed::Wrong("the call did not have to wait"))
        }
    })?;
    sys::kill(other)?;
    sys::wait(other)?;
    Ok(instructions)
}
