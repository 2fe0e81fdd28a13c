//! What faults are injected into: a service, a program, or the kernel, as its executable and its manifest describe it.

use std::ops::Range;

use abi::image::{Kind as ManifestKind, Rights};
use abi::layout::{HEAP_BASE, STACK_TOP};
use anyhow::{Context, Result};
use object::read::elf::ElfFile32;
use object::{Object, ObjectSection, ObjectSymbol};

use super::text::{Text, WORD};
use crate::image::Manifest;
use crate::inject::model::Region;

/// Symbols of the kernel: where its stack ends at either side.
const KERNEL_STACK: (&str, &str) = ("__kernel_stack_bottom", "__kernel_stack_top");
/// Symbol of every service: where hooks enter.
const HOOK_ENTRY: &str = "__po_hook";
/// How many instructions of the target a recovery takes, as long as nobody has counted them.
const RECOVERY: u64 = 1000;

/// What a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A protected object.
    Service,
    /// A client.
    Program,
    /// The kernel.
    Kernel,
}

/// A target.
pub struct Target {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its instructions.
    pub text: Text,
    /// Where the kernel enters it for everything but calls; none for a program.
    pub hook: Option<u32>,
    /// Its memory.
    pub regions: Regions,
    /// Whether it keeps state for each client.
    pub ssr: bool,
    /// Whether interrupts reach it: of a device, or of the clock at its deadline.
    pub interrupts: bool,
    /// Instructions that it executes from a failure to the end of the recovery: what a second fault falls into.
    pub recovery: u64,
}

/// Ranges of virtual addresses. Empty: there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regions {
    /// Instructions.
    pub text: Range<u32>,
    /// Constants.
    pub constants: Range<u32>,
    /// Initialised data.
    pub data: Range<u32>,
    /// Zeroed data.
    pub bss: Range<u32>,
    /// Heap, as far as it has ever been used: see [`heap_in_use`].
    pub heap: Range<u32>,
    /// All of the stack.
    pub stack: Range<u32>,
}

impl Target {
    /// A service or a program.
    ///
    /// # Errors
    /// If the executable is damaged, or not for this processor.
    pub fn domain(executable: &[u8], manifest: &Manifest) -> Result<Target> {
        let (file, text) = parse(executable)?;
        let service = manifest.kind == ManifestKind::Object;
        let hook = symbol(&file, HOOK_ENTRY);
        let mut regions = Regions::of(&file, text.range())?;
        regions.heap = HEAP_BASE..HEAP_BASE + manifest.heap.value;
        regions.stack = STACK_TOP - manifest.stack.value..STACK_TOP;
        Ok(Target {
            name: manifest.name.clone(),
            kind: if service { Kind::Service } else { Kind::Program },
            text,
            hook,
            regions,
            ssr: service && manifest.ssr_pages.value > 0,
            interrupts: service && (!manifest.interrupts.is_empty() || manifest.rights().contains(Rights::DEADLINE)),
            recovery: RECOVERY,
        })
    }

    /// The kernel.
    ///
    /// # Errors
    /// If the executable is damaged, or not the kernel's.
    pub fn kernel(executable: &[u8]) -> Result<Target> {
        let (file, text) = parse(executable)?;
        let end = |name| symbol(&file, name).with_context(|| format!("the kernel has no symbol {name}"));
        let mut regions = Regions::of(&file, text.range())?;
        regions.stack = end(KERNEL_STACK.0)?..end(KERNEL_STACK.1)?;
        Ok(Target {
            name: crate::guest::KERNEL.to_owned(),
            kind: Kind::Kernel,
            text,
            hook: None,
            regions,
            ssr: false,
            interrupts: false,
            recovery: RECOVERY,
        })
    }
}

fn parse(executable: &[u8]) -> Result<(ElfFile32<'_>, Text)> {
    let file: ElfFile32<'_> = ElfFile32::parse(executable).context("not an ELF file of 32 bits")?;
    let text = Text::read(&file)?;
    Ok((file, text))
}

fn symbol(file: &ElfFile32<'_>, name: &str) -> Option<u32> {
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name))?;
    u32::try_from(symbol.address()).ok()
}

impl Regions {
    /// What the sections of an executable tell.
    fn of(file: &ElfFile32<'_>, text: Range<u32>) -> Result<Regions> {
        let section = |name: &str| {
            let Some(section) = file.section_by_name(name) else { return Ok(0..0) };
            let end = section.address().checked_add(section.size()).and_then(|end| u32::try_from(end).ok());
            let end = end.with_context(|| format!("the section {name} does not fit into 32 bits"))?;
            anyhow::Ok(section.address() as u32..end)
        };
        Ok(Regions {
            text,
            constants: section(".rodata")?,
            data: section(".data")?,
            bss: section(".bss")?,
            ..Regions::default()
        })
    }

    /// Where faults in a region may strike. Of the stack and of the SSR only a part is in use at a time, which is found
    /// at the injection.
    fn range(&self, region: Region) -> Range<u32> {
        match region {
            Region::Text => self.text.clone(),
            Region::Constants => self.constants.clone(),
            Region::Data => self.data.clone(),
            Region::Bss => self.bss.clone(),
            Region::Heap => self.heap.clone(),
            Region::Stack => self.stack.clone(),
            Region::Ssr => 0..0,
        }
    }

    /// Whole words of a region: the first, and how many.
    pub fn words(&self, region: Region) -> (u32, u32) {
        let range = self.range(region);
        let first = range.start.next_multiple_of(WORD);
        (first, range.end.saturating_sub(first) / WORD)
    }

    /// The region that an address lies in.
    pub fn find(&self, address: u32) -> Option<Region> {
        super::REGIONS.into_iter().map(|(region, _)| region).find(|region| self.range(*region).contains(&address))
    }
}

/// How much of a heap has ever been used, in bytes: up to its last word that is not zero, as the kernel hands it out
/// zeroed.
pub fn heap_in_use(heap: &[u8]) -> u32 {
    let last = heap.iter().rposition(|byte| *byte != 0);
    last.map_or(0, |last| (last as u32 + 1).next_multiple_of(WORD))
}
