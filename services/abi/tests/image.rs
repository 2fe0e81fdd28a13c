//! The boot image's parser against well-formed, mutated, truncated and random images.

use abi::dma::{Holds, Rule};
use abi::image::{self, Entry, Header, ImageError, Kind, MAGIC, NONE, Segment, VERSION};
use proptest::prelude::*;
use zerocopy::{FromZeros, IntoBytes};

const PAGE: usize = 4096;

/// Bytes on an 8-byte boundary, as the kernel has them.
struct Aligned(Vec<u64>);

impl Aligned {
    fn new(bytes: &[u8]) -> Self {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        Aligned(words)
    }

    fn bytes(&self, length: usize) -> &[u8] {
        &self.0.as_bytes()[..length]
    }
}

fn segment(image: &mut Vec<u8>, address: u32, bytes: &[u8], memory_size: u32) -> Segment {
    let offset = image.len() as u32;
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(PAGE), 0);
    let checksum = image::checksum(&padded);
    image.extend(padded);
    Segment { address, offset, file_size: bytes.len() as u32, memory_size, checksum }
}

/// A rule for a register of the first device range.
fn rule(offset: u32, holds: Holds, value: u32) -> Rule {
    Rule { register: abi::layout::MMIO_BASE + offset, holds: holds as u32, value }
}

/// A service, a program that may call it, and a blob that fills the service's common region.
fn sample() -> Vec<u8> {
    let mut image = vec![0; PAGE];
    let mut service = Entry::new_zeroed();
    service.interrupts = [40, NONE, NONE, NONE];
    service.interrupt_rate = 20;
    service.name[..5].copy_from_slice(b"tally");
    service.kind = Kind::Object as u32;
    service.text = segment(&mut image, 0x10000, &[7; 600], 600);
    service.rodata = segment(&mut image, 0x11000, &[1; 5000], 5000);
    service.data = segment(&mut image, 0x13000, &[2; 100], 0x3000);
    (service.entry_call, service.entry_hook, service.methods) = (0x10000, 0x10010, 3);
    (service.stack, service.heap, service.common, service.common_blob) = (0x2000, 0x4000, 0x2000, 2);
    (service.ssr_pages, service.budget, service.hook_budget, service.max_bindings) = (1, 5, 5, 10);
    let mut program = Entry::new_zeroed();
    program.interrupts = [NONE; 4];
    program.name[..5].copy_from_slice(b"shell");
    program.kind = Kind::Program as u32;
    program.text = segment(&mut image, 0x10000, &[3; 40], 40);
    (program.entry_call, program.stack, program.budget, program.callees) = (0x10004, 0x1000, 2, 1);
    program.common_blob = NONE;
    let mut blob = Entry::new_zeroed();
    blob.interrupts = [NONE; 4];
    blob.name[..4].copy_from_slice(b"disk");
    blob.kind = Kind::Blob as u32;
    blob.data = segment(&mut image, 0, &[9; 4097], 4097);
    seal(&mut image, &[service, program, blob]);
    image
}

/// Writes header and table with a true checksum, so that the parser sees what is wrong behind it.
fn seal(image: &mut [u8], entries: &[Entry]) {
    let mut header = Header {
        magic: MAGIC,
        version: VERSION,
        length: image.len() as u32,
        entries: entries.len() as u32,
        entry_size: size_of::<Entry>() as u32,
        recovery: 5,
        reserved: 0,
        checksum: 0,
    };
    header.checksum = image::table_checksum(&header, entries.as_bytes());
    let table = size_of::<Header>();
    image[..table].copy_from_slice(header.as_bytes());
    image[table..table + size_of_val(entries)].copy_from_slice(entries.as_bytes());
}

fn entries(image: &[u8]) -> Vec<Entry> {
    let aligned = Aligned::new(image);
    image::parse(aligned.bytes(image.len())).expect("well-formed").entries().to_vec()
}

/// What a parser that says `Ok` promises the kernel.
fn trust(bytes: &[u8]) {
    let Ok(image) = image::parse(bytes) else { return };
    for entry in image.entries() {
        for segment in [&entry.text, &entry.rodata, &entry.data] {
            assert_eq!(image.segment(segment).len(), segment.file_size.next_multiple_of(4096) as usize);
            assert!(segment.file_size <= segment.memory_size || segment.memory_size == 0);
            if entry.kind != Kind::Blob as u32 {
                assert!(
                    u64::from(segment.address) + u64::from(segment.memory_size) <= u64::from(abi::layout::IMAGE_END)
                );
            }
        }
        if entry.kind != Kind::Blob as u32 {
            let text = entry.text.address..entry.text.address + entry.text.file_size;
            assert!(text.contains(&entry.entry_call));
            assert!(entry.heap <= abi::layout::HEAP_END - abi::layout::HEAP_BASE);
            assert!(entry.stack > 0 && entry.stack <= abi::layout::STACK_MAX);
        }
    }
}

#[test]
fn accepts_the_sample() {
    let image = sample();
    let entries = entries(&image);
    assert_eq!(entries.len(), 3);
    assert_eq!(&entries[0].name[..6], b"tally\0");
}

#[test]
fn names_what_is_wrong() {
    type Change = fn(&mut Entry);
    let cases: [(Change, &str); 43] = [
        (|e| e.name = [0; 16], "name"),
        (|e| e.name[6] = b'x', "name"),
        (|e| e.kind = 4, "kind"),
        (|e| e.text.offset += 1, "text"),
        (|e| e.text.address = 0x1000, "text"),
        (|e| e.rodata.address = 0x10000, "rodata"),
        (|e| e.data.file_size = 0x4000_0000, "data"),
        (|e| e.data.memory_size = 0xffff_f000, "data"),
        (|e| e.entry_call = 0x11000, "entry_call"),
        (|e| e.entry_hook = 0x10002, "entry_hook"),
        (|e| e.methods = 65, "methods"),
        (|e| e.heap = 100, "heap"),
        (|e| e.stack = 0, "stack"),
        (|e| e.common_blob = 1, "common_blob"),
        (|e| e.ssr_pages = 257, "ssr_pages"),
        (|e| e.callees = 2, "callees"),
        (|e| e.interrupts[1] = 40, "interrupts"),
        (|e| e.interrupts[3] = 1020, "interrupts"),
        (|e| e.interrupt_rate = 0, "interrupt_rate"),
        (|e| e.policy.give_up = 2, "policy"),
        (|e| e.policy.backoff = 1, "policy"),
        (|e| e.policy.heartbeat = 1, "policy"),
        (|e| e.dependants = 1, "dependants"),
        (|e| e.dependants = 2, "dependants"),
        (|e| e.mmio[0].address = 0x10, "mmio"),
        (|e| e.reset_register = abi::layout::MMIO_BASE, "reset_register"),
        (|e| e.dma = 0x1001, "dma"),
        (|e| e.dma = 0x10_0000, "dma"),
        (|e| e.dma = 0x1000, "checked"),
        (|e| e.checked = 0x10, "checked"),
        (|e| (e.dma_tables, e.descriptors) = (1, 16), "dma_tables"),
        (|e| (e.dma, e.checked, e.dma_tables) = (0x1000, 1, 1), "dma_tables"),
        (|e| (e.dma, e.checked, e.descriptors) = (0x1000, 1, 16), "dma_tables"),
        (|e| (e.dma, e.checked, e.dma_tables, e.descriptors) = (0x1000, 1, 2, 16), "dma_tables"),
        (|e| (e.dma, e.checked, e.dma_tables, e.descriptors) = (0x1000, 1, 1, 257), "descriptors"),
        (|e| e.registers[3] = rule(0, Holds::Value, 0), "registers"),
        (|e| (e.mmio[0].length, e.registers[3]) = (0x1000, rule(0, Holds::Value, 0)), "registers"),
        (|e| (e.mmio[0].length, e.checked, e.registers[3]) = (0x1000, 1, rule(2, Holds::Value, 0)), "registers"),
        (|e| (e.mmio[0].length, e.checked, e.registers[3]) = (0x1000, 1, rule(0x1000, Holds::Value, 0)), "registers"),
        (|e| (e.mmio[0].length, e.checked, e.registers[3]) = (0x1000, 1, rule(0, Holds::Table, 13)), "registers"),
        (
            |e| {
                (e.mmio[0].length, e.checked) = (0x1000, 1);
                e.registers[..2].fill(rule(0x40, Holds::Any, 0));
            },
            "registers",
        ),
        (
            |e| {
                (e.mmio[0].length, e.checked) = (0x1000, 1);
                e.registers[0] = Rule { holds: 9, ..rule(0x40, Holds::Any, 0) };
            },
            "registers",
        ),
        (|e| (e.mmio[0].length, e.reset_register) = (0x1000, abi::layout::MMIO_BASE + 2), "reset_register"),
    ];
    for (change, expected) in cases {
        let mut image = sample();
        let mut all = entries(&image);
        change(&mut all[0]);
        seal(&mut image, &all);
        let aligned = Aligned::new(&image);
        match image::parse(aligned.bytes(image.len())) {
            Err(ImageError::Field { entry: 0, field }) => assert_eq!(field, expected),
            other => panic!("{expected}: {:?}", other.err()),
        }
    }
}

#[test]
fn finds_each_flipped_bit_of_table_and_segments() {
    let image = sample();
    let table = size_of::<Header>() + 3 * size_of::<Entry>();
    for at in (0..table).chain(PAGE..image.len()) {
        let mut damaged = image.clone();
        damaged[at] ^= 1 << (at % 8);
        let aligned = Aligned::new(&damaged);
        assert!(image::parse(aligned.bytes(damaged.len())).is_err(), "byte {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Damage of any kind: an error or an image that keeps the parser's promises, never a panic.
    #[test]
    fn survives_mutation(changes in prop::collection::vec((0usize..3000, any::<u8>()), 1..8), cut in 0usize..20000) {
        let mut image = sample();
        for (at, value) in changes {
            image[at] = value;
        }
        image.truncate(cut.max(1));
        let aligned = Aligned::new(&image);
        trust(aligned.bytes(image.len()));
    }

    /// The same behind true checksums, where the fields themselves must be checked.
    #[test]
    fn survives_mutated_fields(changes in prop::collection::vec((0usize..3 * size_of::<Entry>(), any::<u8>()), 1..6)) {
        let mut image = sample();
        let mut all = entries(&image);
        for (at, value) in changes {
            all.as_mut_bytes()[at] = value;
        }
        seal(&mut image, &all);
        let aligned = Aligned::new(&image);
        trust(aligned.bytes(image.len()));
    }

    #[test]
    fn survives_noise(noise in prop::collection::vec(any::<u8>(), 0..4096)) {
        let aligned = Aligned::new(&noise);
        trust(aligned.bytes(noise.len()));
    }
}
