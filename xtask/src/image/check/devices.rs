//! Device registers and interrupts: real ones, each with one owner.

use abi::dma::{DESCRIPTOR, MAX_RULES, MAX_TABLE_PAGES};
use abi::event::MAX_LINES;
use abi::image::MAX_MMIO;
use abi::layout;

use super::Checker;
use crate::board::Board;
use crate::image::manifest::{At, Manifest, MmioRange, RegisterRule};

impl Checker<'_> {
    /// What one service may ask of the board.
    pub(super) fn devices(&mut self, manifest: &Manifest, board: &Board) {
        if manifest.mmio.len() > MAX_MMIO {
            self.add(manifest, manifest.mmio[MAX_MMIO].line, format!("mmio: at most {MAX_MMIO} ranges"));
        }
        if let Some(reset) = &manifest.reset {
            let length: u64 = manifest.mmio.iter().map(|range| u64::from(range.value.length)).sum();
            if u64::from(reset.value.register) >= length || reset.value.register % 4 != 0 {
                self.add(manifest, reset.line, "reset: its register is no word of the mmio ranges".into());
            }
        }
        self.dma(manifest);
        let mut room = u64::from(layout::MMIO_END - layout::MMIO_BASE);
        for range in &manifest.mmio {
            let (start, end) = ends(range);
            let shown = format!("mmio {start:#010x} to {end:#010x}");
            if start % u64::from(layout::PAGE) != 0 || end % u64::from(layout::PAGE) != 0 || start == end {
                self.add(manifest, range.line, format!("{shown}: not whole pages"));
            }
            if end > 1 << 32 {
                self.add(manifest, range.line, format!("{shown}: beyond the physical addresses"));
            }
            let memory = (board.memory_base, board.memory_base + (board.memory_size - 1), "memory");
            for (low, high, what) in board.reserved.iter().copied().chain([memory]) {
                if start < u64::from(high) && end > u64::from(low) {
                    self.add(
                        manifest,
                        range.line,
                        format!("{shown}: that is the {what} of {}, which is the kernel's", board.name),
                    );
                }
            }
            match room.checked_sub(end - start) {
                Some(rest) => room = rest,
                None => self.add(
                    manifest,
                    range.line,
                    format!("{shown}: more device registers than the address space has room for"),
                ),
            }
        }
    }

    /// A DMA window with tables in it, and rules that make sense for registers that the kernel writes.
    fn dma(&mut self, manifest: &Manifest) {
        let Manifest { dma, dma_tables, descriptors, registers, .. } = manifest;
        let room = layout::DMA_END - layout::DMA_BASE;
        if dma.value % layout::PAGE != 0 || dma.value > room {
            self.add(manifest, dma.line, format!("dma: whole pages, at most {} KiB", room >> 10));
        }
        if dma.value > 0 && manifest.mmio.iter().all(|range| !range.value.checked) {
            let text = "dma: its device's registers are to be `checked`, or it could be told any address".into();
            self.add(manifest, dma.line, text);
        }
        let pages = (dma.value / layout::PAGE).min(MAX_TABLE_PAGES);
        if let Some(page) = dma_tables.iter().find(|page| page.value >= pages) {
            self.add(manifest, page.line, format!("dma_tables: page {} is none of the first {pages}", page.value));
        }
        let most = layout::PAGE / DESCRIPTOR;
        if dma_tables.is_empty() != (descriptors.value == 0) || descriptors.value > most {
            self.add(manifest, descriptors.line, format!("descriptors: 1 to {most} where there are dma_tables"));
        }
        if let Some(rule) = registers.get(MAX_RULES) {
            self.add(manifest, rule.line, format!("registers: at most {MAX_RULES} rules"));
        }
        for (index, rule) in registers.iter().enumerate() {
            let register = rule.value.register;
            let mut start = 0;
            let known = manifest.mmio.iter().any(|range| {
                let inside = (start..start + range.value.length).contains(&register);
                start = start.saturating_add(range.value.length);
                inside && range.value.checked
            });
            let text = match rule.value {
                _ if !known || register % 4 != 0 => "is no word of a checked mmio range",
                _ if registers[..index].iter().any(|other| other.value.register == register) => "has a rule already",
                RegisterRule { value: None, holds: None, .. } => "may hold what? Give `value` or `holds`",
                RegisterRule { value: Some(_), holds: Some(_), .. } => "has both `value` and `holds`",
                RegisterRule { shift: 13.., .. } => "is shifted by more than the 12 bits of a page",
                RegisterRule { value: Some(_), shift: 1.., .. } => "holds a value: `shift` is for addresses",
                _ => continue,
            };
            self.add(manifest, rule.line, format!("register {register:#x} {text}"));
        }
    }

    /// Interrupts that the board's devices have, and a rate at which they can be served.
    pub(super) fn interrupts(&mut self, manifest: &Manifest, board: &Board) {
        if let Some(line) = manifest.interrupts.get(MAX_LINES) {
            self.add(manifest, line.line, format!("interrupts: at most {MAX_LINES}"));
        }
        let (first, end) = board.interrupts;
        for line in &manifest.interrupts {
            let text = match line.value {
                number if number == board.tick => "is the kernel's tick".to_owned(),
                number if number < first => format!("is the processor's own: devices have {first} to {}", end - 1),
                number if number >= end => {
                    format!("does not exist on {}: devices have {first} to {}", board.name, end - 1)
                }
                _ => continue,
            };
            self.add(manifest, line.line, format!("interrupt {} {text}", line.value));
        }
        if manifest.interrupt_rate.value == 0 {
            let text = "interrupt_rate 0: the first interrupt of each tick would be one too many".into();
            self.add(manifest, manifest.interrupt_rate.line, text);
        }
        if manifest.interrupts.is_empty() && manifest.interrupt_rate.line != manifest.line {
            self.add(manifest, manifest.interrupt_rate.line, "interrupt_rate without interrupts".into());
        }
    }

    /// Each register and each interrupt has one owner.
    pub(super) fn shared_devices(&mut self) {
        let manifests = self.manifests;
        let ranges: Vec<_> =
            manifests.iter().flat_map(|manifest| manifest.mmio.iter().map(move |range| (manifest, range))).collect();
        for (index, (manifest, range)) in ranges.iter().enumerate() {
            let (start, end) = ends(range);
            for (owner, other) in &ranges[..index] {
                let (other_start, other_end) = ends(other);
                if start < other_end && end > other_start {
                    let text = format!("mmio {start:#010x} to {end:#010x}: {} has it too", place(owner, other.line));
                    self.add(manifest, range.line, text);
                }
            }
        }
        let lines: Vec<_> = manifests
            .iter()
            .flat_map(|manifest| manifest.interrupts.iter().map(move |line| (manifest, line)))
            .collect();
        for (index, (manifest, line)) in lines.iter().enumerate() {
            if let Some((owner, other)) = lines[..index].iter().find(|(_, other)| other.value == line.value) {
                self.add(
                    manifest,
                    line.line,
                    format!("interrupt {}: {} has it too", line.value, place(owner, other.line)),
                );
            }
        }
    }
}

/// A service and the line of its manifest.
fn place(manifest: &Manifest, line: usize) -> String {
    format!("{} ({}:{line})", manifest.name, manifest.file.display())
}

/// Start and end of a range. The end may lie beyond 32 bits.
fn ends(range: &At<MmioRange>) -> (u64, u64) {
    let start = u64::from(range.value.address);
    (start, start + u64::from(range.value.length))
}
