//! Device registers and interrupts: real ones, each with one owner.

use abi::event::MAX_LINES;
use abi::image::MAX_MMIO;
use abi::layout;

use super::Checker;
use crate::board::Board;
use crate::image::manifest::{At, Manifest, MmioRange};

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
