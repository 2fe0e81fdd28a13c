//! Calls by a client that is alone.

use blank::BlankClient;
use gauge::GaugeClient;
use nest::NestClient;
use rt::sys;
use timer::TimerClient;

use crate::measure::{Failed, RUNS, measure, measure_with, print};

/// A buffer that is one page.
#[repr(align(4096))]
struct Aligned([u8; 4096]);

/// In the far future, in microseconds.
pub const FAR: u64 = 1_000_000_000;

/// All of them; returns the session that `call_ssr_64` was measured with.
pub fn all() -> Result<GaugeClient, Failed> {
    print("syscall_null", measure(|| Ok(sys::null()?))?)?;
    let blank = BlankClient::bind()?;
    print("call_null", measure(|| Ok(blank.nothing()?))?)?;
    let gauge = GaugeClient::bind()?;
    for (name, used) in [("call_ssr_64", 64), ("call_ssr_256", 256), ("call_ssr_1024", 1024), ("call_ssr_4096", 4096)] {
        gauge.set_used(used)?;
        print(name, count(&gauge)?)?;
    }
    gauge.set_used(64)?;
    print("call_lent_4k", lent(&gauge)?)?;
    print("call_nested_2", nested()?)?;
    print("alarm_set", alarm()?)?;
    Ok(gauge)
}

/// A call that counts itself.
pub fn count(gauge: &GaugeClient) -> Result<u32, Failed> {
    let before = gauge.count()?;
    let instructions = measure(|| gauge.count().map(drop).map_err(Failed::from))?;
    if gauge.count()? != before + RUNS + 1 {
        return Err(Failed::Wrong("a call was lost"));
    }
    Ok(instructions)
}

/// A page lent for reading, on a stack of its own alignment.
#[inline(never)]
fn lent(gauge: &GaugeClient) -> Result<u32, Failed> {
    let lent = Aligned([7; 4096]);
    measure(|| if gauge.read(&lent.0)? == 7 { Ok(()) } else { Err(Failed::Wrong("what was lent did not arrive")) })
}

/// A call that leads to a call, each with an SSR of 64 bytes in use.
fn nested() -> Result<u32, Failed> {
    let nest = NestClient::bind()?;
    nest.count()?;
    measure_with(
        || Ok(nest.count()?),
        |_| Ok(nest.count()?),
        |(outer, inner), after| {
            if after == (outer + 1, inner + 1) { Ok(()) } else { Err(Failed::Wrong("a nested call was lost")) }
        },
    )
}

/// An alarm set, the only one that there is.
fn alarm() -> Result<u32, Failed> {
    let timer = TimerClient::bind()?;
    measure_with(
        || Ok(()),
        |()| Ok(timer.set(1, FAR, 0)?),
        |(), due| {
            let (at, _) = timer.alarm(1)?;
            timer.cancel(1)?;
            if at == due { Ok(()) } else { Err(Failed::Wrong("an alarm is not set")) }
        },
    )
}
