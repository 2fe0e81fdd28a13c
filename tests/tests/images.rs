//! Images whose checksums hold but whose table says what no kernel should believe: refused, with entry and field.

mod common;

use std::fs;
use std::process::Stdio;

use abi::call::name_str;
use abi::image::{Entry, Header, Kind, MAGIC, table_checksum};
use zerocopy::{FromBytes, IntoBytes};

use common::{emulator, image, must, scratch};

/// Status of the emulator after a panic of the kernel.
const PANIC: i32 = 101;

/// The boot image in a bootable file.
struct Boot {
    bytes: Vec<u8>,
    start: usize,
    header: Header,
    entries: Vec<Entry>,
}

impl Boot {
    fn read() -> Boot {
        let bytes = must(fs::read(image()));
        let start = bytes.windows(MAGIC.len()).position(|window| window == MAGIC).expect("a boot image");
        let (header, mut rest) = Header::read_from_prefix(&bytes[start..]).expect("a header");
        let mut entries = Vec::new();
        for _ in 0..header.entries {
            let (entry, behind) = Entry::read_from_prefix(rest).expect("an entry");
            entries.push(entry);
            rest = behind;
        }
        Boot { start, header, entries, bytes }
    }

    /// The first entry of a kind.
    fn first(&self, kind: Kind) -> usize {
        self.entries.iter().position(|entry| entry.kind == kind as u32).expect("an entry of this kind")
    }

    /// The file with one entry changed and the table's checksum put right.
    fn with(&self, index: usize, change: impl FnOnce(&mut Entry)) -> Vec<u8> {
        let (mut bytes, mut header, mut entries) = (self.bytes.clone(), self.header, self.entries.clone());
        change(&mut entries[index]);
        header.checksum = table_checksum(&header, entries.as_bytes());
        let table = [header.as_bytes(), entries.as_bytes()].concat();
        bytes[self.start..self.start + table.len()].copy_from_slice(&table);
        bytes
    }
}

#[test]
fn impossible_fields_are_refused_by_entry_and_field() {
    let (folder, boot) = (scratch(), Boot::read());
    let (object, program) = (boot.first(Kind::Object), boot.first(Kind::Program));
    let second = boot.entries[object + 1].name;
    let file = folder.path().join("impossible.bin");
    type Change = Box<dyn FnOnce(&mut Entry)>;
    let cases: Vec<(usize, &str, Change)> = vec![
        (object, "kind", Box::new(|entry| entry.kind = 9)),
        (object, "entry_call", Box::new(|entry| entry.entry_call = entry.data.address)),
        (object, "entry_hook", Box::new(|entry| entry.entry_hook += 2)),
        (object, "text", Box::new(|entry| entry.text.address = 0x0200_0000)),
        (object, "rodata", Box::new(|entry| entry.rodata.address = entry.text.address)),
        (object, "data", Box::new(|entry| entry.data.offset = u32::MAX - 4095)),
        (object, "heap", Box::new(|entry| entry.heap = u32::MAX - 4095)),
        (object, "stack", Box::new(|entry| entry.stack = 0)),
        (object, "ssr_pages", Box::new(|entry| entry.ssr_pages = 257)),
        (object, "rights", Box::new(|entry| entry.rights = 1 << 31)),
        (object, "mmio", Box::new(|entry| entry.mmio[0].length = u32::MAX - 4095)),
        (object, "callees", Box::new(move |entry| entry.callees = 1 << program)),
        (program, "spawns", Box::new(move |entry| entry.spawns = 1 << object)),
        (program, "budget", Box::new(|entry| entry.budget = 0)),
        (object + 1, "name", Box::new(|entry| entry.name = [0; 16])),
    ];
    // Unchanged, and written back: the harness itself does no harm.
    assert_eq!(boot.with(object, |_| ()), boot.bytes);
    for (index, field, change) in cases {
        must(fs::write(&file, boot.with(index, change)));
        let output = must(emulator(&file, "off").stdin(Stdio::null()).output());
        let text = String::from_utf8_lossy(&output.stdout);
        let name = boot.entries[index].name;
        let name = if field == "name" { "" } else { name_str(&name) };
        assert_eq!(output.status.code(), Some(PANIC), "{field}: {text}");
        assert!(text.contains(&format!("boot image: {name}: bad {field}")), "{field}: {text}");
    }
    // A name that another entry has.
    must(fs::write(&file, boot.with(object, |entry| entry.name = second)));
    let output = must(emulator(&file, "off").stdin(Stdio::null()).output());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("boot image: {}: bad name", name_str(&second))), "{text}");
}
