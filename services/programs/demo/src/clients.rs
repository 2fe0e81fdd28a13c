//! The clients of the demonstration: started, told to stop, and asked what they saw.

use abi::info::ProcessInfo;
use copier::COPIERS;
use herald::HERALDS;
use pulse::PULSES;
use rt::{Error, sys};
use spinner::SPINNERS;

/// The clients, by their process numbers.
pub struct Clients {
    copiers: [u32; COPIERS as usize],
    pulses: [u32; PULSES as usize],
    spinners: [u32; SPINNERS as usize],
    heralds: [u32; HERALDS as usize],
}

/// What the clients of one service saw: errors in all, and another number of each, as its program says.
pub struct Seen<const N: usize> {
    /// Errors.
    pub errors: u32,
    /// The other numbers.
    pub values: [u32; N],
}

impl<const N: usize> Seen<N> {
    /// The greatest of the numbers.
    pub fn most(&self) -> u32 {
        self.values.into_iter().max().unwrap_or(0)
    }
}

fn start<const N: usize>(program: &str) -> Result<[u32; N], Error> {
    let mut processes = [0; N];
    for (number, process) in (0..).zip(&mut processes) {
        *process = sys::spawn(program, number)?;
    }
    Ok(processes)
}

/// Waits for the end of clients.
fn end<const N: usize>(processes: [u32; N]) -> Result<Seen<N>, Error> {
    let mut seen = Seen { errors: 0, values: [0; N] };
    for (process, value) in processes.into_iter().zip(&mut seen.values) {
        let status = sys::wait(process)?;
        seen.errors += status & 0xff;
        *value = status >> 8;
    }
    Ok(seen)
}

/// What all of them saw.
pub struct Witnesses {
    /// Programs that copy files; files copied.
    pub copiers: Seen<{ COPIERS as usize }>,
    /// Programs with alarms; the greatest lateness in milliseconds.
    pub pulses: Seen<{ PULSES as usize }>,
    /// Programs that compute; the longest time without running, in milliseconds.
    pub spinners: Seen<{ SPINNERS as usize }>,
    /// Programs that publish and read; changes.
    pub heralds: Seen<{ HERALDS as usize }>,
}

impl Clients {
    /// Starts them.
    ///
    /// # Errors
    /// Those of the kernel call.
    pub fn start() -> Result<Self, Error> {
        Ok(Clients {
            copiers: start("copier")?,
            pulses: start("pulse")?,
            spinners: start("spinner")?,
            heralds: start("herald")?,
        })
    }

    /// The processor time of each program that computes, in ticks.
    pub fn turns(&self) -> [u32; SPINNERS as usize] {
        let mut ticks = [0; SPINNERS as usize];
        for index in 0.. {
            let Ok(info) = sys::info::<ProcessInfo>(index) else { break };
            if let Some(spinner) = self.spinners.iter().position(|process| info.process == *process && info.state != 0)
            {
                ticks[spinner] = info.ticks;
            }
        }
        ticks
    }

    /// Waits until all have come to their end.
    ///
    /// # Errors
    /// Those of the kernel call.
    pub fn end(self) -> Result<Witnesses, Error> {
        Ok(Witnesses {
            copiers: end(self.copiers)?,
            pulses: end(self.pulses)?,
            spinners: end(self.spinners)?,
            heralds: end(self.heralds)?,
        })
    }
}
