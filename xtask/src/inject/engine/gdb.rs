//! A client of the emulator's gdb stub: the part of gdb's remote serial protocol that injecting needs.
//!
//! ("Debugging with GDB", appendix "Remote Serial Protocol"; QEMU's own packets: its manual, "GDB usage".)

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Longest time for anything but the guest's own running.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest time for a single step.
const PATIENCE_WITH_STEPS: Duration = Duration::from_secs(2);
/// The stub's number of CPSR.
const CPSR: usize = 25;

/// How single steps are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timers {
    /// Timers fire. For a guest whose course is recorded or replayed: its stub knows nothing else.
    Fire,
    /// Timers stand still, so that virtual time does not jump: it counts the instruction, and a timer that became due meanwhile fires
    /// when the guest goes on.
    Wait,
}

impl Timers {
    /// Bits that the stub knows: single steps (1), without interrupts (2, never here), without timers (4).
    fn bits(self) -> u8 {
        match self {
            Timers::Fire => 1,
            Timers::Wait => 5,
        }
    }
}

/// The stub's own way, for whoever comes next.
const DEFAULT_STEPS: &str = "Qqemu.sstep=7";

/// What the guest was found to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// It runs.
    Runs,
    /// It stands: a breakpoint, a step, or somebody stopped it.
    Stands,
    /// The emulator has ended, or is about to.
    Gone,
}

/// A connection to the stub.
pub struct Gdb {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Gdb {
    /// Begins to talk. `timers` is what becomes of timers in single steps.
    ///
    /// # Errors
    /// If the stub is not the expected one.
    pub fn new(stream: UnixStream, timers: Timers) -> Result<Gdb> {
        let mut gdb = Gdb { stream, received: Vec::new() };
        gdb.ask("qSupported:xmlRegisters=arm")?;
        // Single registers are served only to those who have read what registers there are.
        for file in ["target.xml", "arm-core.xml"] {
            let description = gdb.ask(&format!("qXfer:features:read:{file}:0,ffb"))?;
            ensure!(description.starts_with(['l', 'm']), "the gdb stub does not describe its registers: {description}");
        }
        gdb.demand(&format!("Qqemu.sstep={}", timers.bits()))?;
        Ok(gdb)
    }

    fn send(&mut self, packet: &str) -> Result<()> {
        let sum = packet.bytes().fold(0u8, u8::wrapping_add);
        // The acknowledgment of what came before goes with it.
        self.stream.write_all(format!("+${packet}#{sum:02x}").as_bytes()).context("cannot write to the gdb stub")
    }

    /// The next packet; `None` if none came in time.
    fn packet(&mut self, wait: Duration) -> Result<Option<String>> {
        let late = Instant::now() + wait;
        loop {
            if let Some(start) = self.received.iter().position(|byte| *byte == b'$')
                && let Some(length) = self.received[start..].iter().position(|byte| *byte == b'#')
                && self.received.len() >= start + length + 3
            {
                let text = String::from_utf8_lossy(&self.received[start + 1..start + length]).into_owned();
                self.received.drain(..start + length + 3);
                return Ok(Some(text));
            }
            let left = late.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left)).context("cannot wait for the gdb stub")?;
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => bail!("the gdb stub has hung up"),
                Ok(count) => self.received.extend(&bytes[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read from the gdb stub"),
            }
        }
    }

    /// The answer to a packet; what tells of a stop meanwhile is none.
    fn ask(&mut self, packet: &str) -> Result<String> {
        self.send(packet)?;
        loop {
            let answer = self.packet(PATIENCE)?.with_context(|| format!("no answer to {packet}"))?;
            if !answer.starts_with('T') {
                return Ok(answer);
            }
        }
    }

    fn demand(&mut self, packet: &str) -> Result<()> {
        let answer = self.ask(packet)?;
        ensure!(answer == "OK", "the gdb stub answers {answer:?} to {packet}");
        Ok(())
    }

    /// r0 to r15 and CPSR.
    ///
    /// # Errors
    /// If the stub does not answer; so for all that follows.
    pub fn registers(&mut self) -> Result<[u32; 17]> {
        let answer = self.ask("g")?;
        let mut registers = [0; 17];
        for (place, register) in registers.iter_mut().enumerate() {
            let digits = answer.get(place * 8..place * 8 + 8);
            *register = digits.and_then(word).with_context(|| format!("registers that make no sense: {answer}"))?;
        }
        Ok(registers)
    }

    /// The program counter.
    pub fn pc(&mut self) -> Result<u32> {
        let answer = self.ask("pf")?;
        word(&answer).with_context(|| format!("no program counter: {answer}"))
    }

    /// Sets r0 to r15, or 16: CPSR.
    pub fn set_register(&mut self, number: usize, value: u32) -> Result<()> {
        let number = if number == 16 { CPSR } else { number };
        self.demand(&format!("P{number:x}={:08x}", value.swap_bytes()))
    }

    /// A word at a virtual address of whoever runs, rights aside; `None` if nothing is mapped there.
    pub fn word(&mut self, address: u32) -> Result<Option<u32>> {
        let answer = self.ask(&format!("m{address:x},4"))?;
        if answer.starts_with('E') {
            return Ok(None);
        }
        word(&answer).map(Some).with_context(|| format!("no word: {answer}"))
    }

    /// Writes a word likewise; what was translated from there is translated anew. Whether something is mapped there.
    pub fn set_word(&mut self, address: u32, value: u32) -> Result<bool> {
        Ok(self.ask(&format!("M{address:x},4:{:08x}", value.swap_bytes()))? == "OK")
    }

    /// Writes a word at a physical address.
    pub fn set_physical(&mut self, address: u32, value: u32) -> Result<()> {
        self.demand("Qqemu.PhyMemMode:1")?;
        let written = self.set_word(address, value)?;
        self.demand("Qqemu.PhyMemMode:0")?;
        ensure!(written, "there is no memory at {address:#x}");
        Ok(())
    }

    /// Sets a breakpoint at a virtual address, whoever comes there.
    pub fn set_breakpoint(&mut self, address: u32) -> Result<()> {
        self.demand(&format!("Z0,{address:x},4"))
    }

    /// Removes it.
    pub fn remove_breakpoint(&mut self, address: u32) -> Result<()> {
        self.demand(&format!("z0,{address:x},4"))
    }

    /// Lets the guest go on.
    pub fn resume(&mut self) -> Result<()> {
        self.send("c")
    }

    /// Waits for the guest to stop, but not longer than this.
    pub fn wait(&mut self, wait: Duration) -> Result<Guest> {
        match self.packet(wait) {
            Ok(None) => Ok(Guest::Runs),
            Ok(Some(answer)) if answer.starts_with('T') => Ok(Guest::Stands),
            Ok(Some(answer)) if answer.starts_with(['W', 'X']) => Ok(Guest::Gone),
            Ok(Some(answer)) => bail!("the gdb stub says {answer:?} while the guest runs"),
            // It hangs up when the emulator ends.
            Err(_) => Ok(Guest::Gone),
        }
    }

    /// Lets the guest go on to the next stop.
    pub fn run(&mut self) -> Result<Guest> {
        self.resume()?;
        self.wait(PATIENCE)
    }

    /// One instruction, or the entry into an exception; unless the emulator ends instead.
    ///
    /// # Errors
    /// Also if it does not come to its end: the instruction waits for an interrupt.
    pub fn try_step(&mut self) -> Result<Guest> {
        self.send("s")?;
        match self.wait(PATIENCE_WITH_STEPS)? {
            Guest::Runs => bail!("a single step does not come to its end"),
            guest => Ok(guest),
        }
    }

    /// The same where the emulator does not end.
    ///
    /// # Errors
    /// Also if it does.
    pub fn step(&mut self) -> Result<()> {
        ensure!(self.try_step()? == Guest::Stands, "the emulator has ended");
        Ok(())
    }

    /// Hangs up. The guest stays as it is.
    ///
    /// # Errors
    /// If the stub does not listen any more.
    pub fn leave(&mut self) -> Result<()> {
        self.demand(DEFAULT_STEPS)?;
        self.stream.shutdown(Shutdown::Both).context("cannot hang up")
    }
}

/// A word as the stub writes it: the bytes as they lie in memory.
fn word(digits: &str) -> Option<u32> {
    u32::from_str_radix(digits.get(..8)?, 16).ok().map(u32::swap_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stub that has sent this.
    fn heard(text: &str) -> Gdb {
        let (near, mut far) = UnixStream::pair().expect("a pair of sockets");
        far.write_all(text.as_bytes()).expect("room");
        Gdb { stream: near, received: Vec::new() }
    }

    #[test]
    fn packets_are_found_among_acknowledgments() {
        let mut gdb = heard("+$78563412#00+$T05thread:01;#00");
        assert_eq!(gdb.packet(PATIENCE).expect("there").as_deref(), Some("78563412"));
        assert_eq!(gdb.wait(PATIENCE).expect("there"), Guest::Stands);
        // The other end is closed by now.
        assert_eq!(gdb.wait(PATIENCE).expect("no error"), Guest::Gone);
    }

    #[test]
    fn a_stop_is_no_answer() {
        let (near, mut far) = UnixStream::pair().expect("a pair of sockets");
        far.write_all(b"$T05thread:01;#00$78563412#00$E14#00").expect("room");
        let mut gdb = Gdb { stream: near, received: Vec::new() };
        assert_eq!(gdb.word(0x1000).expect("an answer"), Some(0x1234_5678));
        assert_eq!(gdb.word(0x1000).expect("an answer"), None);
        let mut sent = [0; 32];
        let count = far.read(&mut sent).expect("something was sent");
        assert_eq!(&sent[..count], b"+$m1000,4#8e+$m1000,4#8e");
    }

    #[test]
    fn half_a_packet_is_none() {
        let (near, mut far) = UnixStream::pair().expect("a pair of sockets");
        far.write_all(b"+$T05#0").expect("room");
        let mut gdb = Gdb { stream: near, received: Vec::new() };
        assert_eq!(gdb.wait(Duration::from_millis(5)).expect("no error"), Guest::Runs);
        far.write_all(b"0").expect("room");
        assert_eq!(gdb.wait(PATIENCE).expect("no error"), Guest::Stands);
    }

    #[test]
    fn words_are_little_endian() {
        assert_eq!(word("0100000000"), Some(1));
        assert_eq!(word("E14"), None);
        assert_eq!(word("0000000g"), None);
    }
}
