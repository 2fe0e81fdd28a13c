//! The golden run: what happens without a fault, instruction by instruction.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;

use abi::layout::PAGE;
use anyhow::{Context, Result, bail};
use experiment::Recording;
use trial::{Log, MAGIC, SUMMARY_MAGIC, Summary};

use super::guest::Kernel;
use super::machine::Machine;

/// The guest's memory, in a file.
pub struct Memory {
    file: File,
    base: u32,
    length: u32,
}

impl Memory {
    /// Opens the file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path, base: u32) -> Result<Memory> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let length = u32::try_from(file.metadata()?.len()).context("the guest has too much memory")?;
        Ok(Memory { file, base, length })
    }

    /// A word at a physical address; what cannot be read is 0.
    pub fn word(&self, address: u32) -> u32 {
        let mut bytes = [0; 4];
        match self.file.read_exact_at(&mut bytes, u64::from(address.wrapping_sub(self.base))) {
            Ok(()) => u32::from_le_bytes(bytes),
            Err(_) => 0,
        }
    }

    /// Bytes at a physical address.
    ///
    /// # Errors
    /// If they lie outside, or cannot be read.
    pub fn bytes(&self, address: u32, length: u32) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length as usize];
        let offset = address.checked_sub(self.base).context("an address outside memory")?;
        self.file.read_exact_at(&mut bytes, u64::from(offset)).context("cannot read the guest's memory")?;
        Ok(bytes)
    }

    /// Physical addresses of all places, aligned to 8, where these bytes stand.
    fn find(&self, magic: &[u8; 8]) -> Result<Vec<u32>> {
        const CHUNK: u32 = 1 << 20;
        let mut found = Vec::new();
        for start in (0..self.length).step_by(CHUNK as usize) {
            let bytes = self.bytes(self.base + start, CHUNK.min(self.length - start))?;
            let places = bytes.as_chunks::<8>().0.iter().enumerate().filter(|(_, bytes)| *bytes == magic);
            found.extend(places.map(|(place, _)| self.base + start + place as u32 * 8));
        }
        Ok(found)
    }
}

/// What the golden run was.
pub struct Golden {
    /// Physical addresses of the instructions executed between the marks.
    pub executed: Vec<u32>,
    /// Virtual address and word of each, by physical address.
    pub code: BTreeMap<u32, (u32, u32)>,
    /// What the console put out between the marks.
    pub console: Vec<u8>,
    /// Where the logs and the summary lie: physical address and bytes, the summary last.
    pub ranges: Vec<(u32, u32)>,
    /// What stands there.
    pub memory: Vec<Vec<u8>>,
    /// The guest's memory at the end.
    pub ram: Memory,
    /// The same at the first mark, when clients have not ended: page tables are those of then.
    tables: Memory,
}

impl Golden {
    /// Runs the machine once, and records.
    ///
    /// # Errors
    /// If the emulator or the workload does not do what it should.
    pub fn record(machine: &Machine, plugin: &Path) -> Result<Golden> {
        let out = machine.folder.path().join("recording");
        let mut command = machine.command(true);
        command.args(machine.plugin(plugin, "record", &[("out", &out)]));
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        let output = output.context("cannot start the emulator")?;
        let console = std::fs::read(machine.console()).unwrap_or_default();
        if !output.status.success() || !out.is_file() {
            bail!(
                "the golden run did not come to its end mark ({}):\n{}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr),
                String::from_utf8_lossy(&console)
            );
        }
        let bytes = std::fs::read(&out).with_context(|| format!("cannot read {}", out.display()))?;
        let recording: Recording = postcard::from_bytes(&bytes).context("the recording is damaged")?;
        let ram = Memory::open(&machine.memory(), machine.base())?;
        let tables = Memory::open(&out.with_extension("memory"), machine.base())?;
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        let mut logs: Vec<(u32, u32)> = Vec::new();
        // The magic stands in the program's own constants, too: a log has a process, a summary is complete.
        for place in ram.find(&MAGIC)? {
            if ram.word(place + 12) != 0 {
                logs.push((ram.word(place + 8), place));
            }
        }
        logs.sort_unstable();
        ranges.extend(logs.iter().map(|(_, place)| (*place, size_of::<Log>() as u32)));
        let summaries: Vec<u32> =
            ram.find(&SUMMARY_MAGIC)?.into_iter().filter(|place| ram.word(place + 8) == 1).collect();
        let &[summary] = &summaries[..] else { bail!("the workload left {} summaries, not one", summaries.len()) };
        ranges.push((summary, size_of::<Summary>() as u32));
        let memory = ranges.iter().map(|(start, length)| ram.bytes(*start, *length)).collect::<Result<_>>()?;
        Ok(Golden {
            executed: recording.executed,
            code: recording.code.into_iter().map(|(physical, address, word)| (physical, (address, word))).collect(),
            console: console[(recording.console as usize).min(console.len())..].to_vec(),
            ranges,
            memory,
            ram,
            tables,
        })
    }

    /// Ranges of physical memory that hold a domain's instructions: start and end.
    pub fn text_of(&self, kernel: &Kernel, domain: u32, text: (u32, u32)) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for page in (text.0..text.1).step_by(PAGE as usize) {
            let word = |address| self.tables.word(address);
            let Some(physical) = kernel.translate(&word, domain, page) else { continue };
            let end = physical + PAGE.min(text.1 - page);
            match ranges.last_mut() {
                Some((_, last)) if *last == physical => *last = end,
                _ => ranges.push((physical, end)),
            }
        }
        ranges
    }

    /// Virtual addresses of the instructions that were executed in these ranges of physical memory, in order.
    pub fn stream(&self, text: &[(u32, u32)]) -> Vec<u32> {
        let within = |address: u32| text.iter().any(|(start, end)| *start <= address && address < *end);
        let mut known = BTreeMap::new();
        let addresses = self.executed.iter().filter_map(|physical| {
            *known.entry(*physical).or_insert_with(|| {
                within(*physical).then(|| self.code.get(physical).map(|(address, _)| *address)).flatten()
            })
        });
        addresses.collect()
    }

    /// What a domain had in a range of its own memory at the end.
    ///
    /// # Errors
    /// If the guest's memory cannot be read.
    pub fn memory_of(&self, kernel: &Kernel, domain: u32, range: std::ops::Range<u32>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for page in range.step_by(PAGE as usize) {
            let word = |address| self.tables.word(address);
            match kernel.translate(&word, domain, page) {
                Some(physical) => bytes.extend(self.ram.bytes(physical, PAGE)?),
                None => break,
            }
        }
        Ok(bytes)
    }
}
