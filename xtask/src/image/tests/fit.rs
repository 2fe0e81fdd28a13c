//! Whether images fit: entries, pools of the kernel, memory.

use abi::image::MAX_ENTRIES;

use super::images::boot;
use super::*;
use crate::image::fit::{MAX_BINDINGS, MAX_PROCESSES, MAX_UNDO};

fn refusal(boot: &Boot<'_>) -> String {
    pack(boot).expect_err("does not fit").to_string()
}

fn parts(manifests: &[Manifest]) -> Vec<(&Manifest, Executable)> {
    let is_object = |manifest: &Manifest| manifest.kind == Kind::Object;
    let executable = |object| Executable::parse(&service(), object).expect("good");
    manifests.iter().map(|manifest| (manifest, executable(is_object(manifest)))).collect()
}

fn start(instances: u32) -> Vec<Start> {
    vec![Start { program: "p", instances, argument: 0 }]
}

/// The table's line for a part, in columns.
fn row<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let line = text.lines().find(|line| line.trim_start().starts_with(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).split_whitespace().collect()
}

#[test]
fn an_image_has_64_entries() {
    let many: Vec<Manifest> = (0..65).map(|number| object(&format!("o{number}"), "ssr_pages = 1")).collect();
    assert!(pack(&boot(parts(&many[..64]), Vec::new())).is_ok());
    let text = refusal(&boot(parts(&many), Vec::new()));
    assert!(text.contains("services/o64/Cargo.toml:4: o64: an image has room for 64"), "{text}");
    let blob = vec![Blob { name: "disk", bytes: vec![1] }];
    let text = refusal(&Boot { blobs: blob, ..boot(parts(&many[..64]), Vec::new()) });
    assert!(text.contains("services/o63/Cargo.toml:4:") && text.contains("has 65"), "{text}");
}

#[test]
fn the_pools_of_the_kernel_suffice() {
    let undo =
        |pages: u32| [object("a", "ssr_pages = 1"), object("b", &format!("ssr_pages = 2\nundo_pages = {pages}"))];
    assert!(pack(&boot(parts(&undo(4096)), Vec::new())).is_ok());
    let text = refusal(&boot(parts(&undo(4097)), Vec::new()));
    assert!(text.contains("services/b/Cargo.toml:9: undo_pages 4097"), "{text}");

    let clients = |quota: u32| {
        [object("a", "ssr_pages = 1"), program("p", &format!("callees = [\"a\"]\nquota_bindings = {quota}"))]
    };
    assert!(pack(&boot(parts(&clients(2048)), start(4))).is_ok());
    let text = refusal(&boot(parts(&clients(2049)), start(4)));
    assert!(text.contains("services/p/Cargo.toml:8: quota_bindings 2049") && text.contains("8196"), "{text}");
}

#[test]
fn memory_is_counted_by_what_is_allowed() {
    let set = [
        object("fs", "heap = \"64K\"\ncommon = \"12M\"\nundo_pages = 100\nssr_pages = 1\nintegrity = \"checksum\""),
        object("many", "ssr_pages = 4\nundo_pages = 8\ncallees = [\"fs\"]"),
        program("p", "callees = [\"fs\", \"many\"]\nquota_bindings = 3\nspawns = [\"q\", \"p\"]\nquota_children = 1"),
        program("q", "heap = \"1M\""),
    ];
    let set = set.map(|manifest| match &*manifest.name {
        "many" => Manifest { max_bindings: At { value: 20_000, line: 77 }, ..manifest },
        _ => manifest,
    });
    assert!(pack(&boot(parts(&set), start(1))).is_ok());
    let small = Board { memory_size: 24 << 20, ..*DEFAULT };
    let text = refusal(&Boot { board: &small, ..boot(parts(&set), start(1)) });
    // Text, constants and data of `service()` are 1 + 2 + 3 pages, stacks 2 pages.
    assert_eq!(row(&text, "before the kernel")[3..], ["64", "KiB"]);
    assert_eq!(row(&text, "kernel")[1..], ["1024", "KiB"]);
    assert_eq!(row(&text, "boot image")[2..], ["1024", "KiB"]);
    // 3072 pages of common region have 6 pages of checksums. Clients: `many` once, `p` at most 64 times 3: but it accepts 4.
    assert_eq!(row(&text, "fs ")[1..], ["1", "24", "64", "8", "12312", "20", "404", "12832", "(4", "sessions)"]);
    assert_eq!(row(&text, "many ")[1..], ["1", "24", "0", "8", "0", "3072", "32", "3136", "(192", "sessions)"]);
    // A program that starts itself fills the slots: those that start at boot come first, then the larger ones.
    assert_eq!(row(&text, "q ")[1..8], ["63", "1512", "64512", "504", "0", "0", "0"]);
    assert_eq!(row(&text, "p ")[1..8], ["1", "24", "0", "8", "0", "0", "0"]);
    // The largest share is that of `q`, and in it that of its heap.
    assert!(text.contains("services/q/Cargo.toml:7: the image needs"), "{text}");
}

#[test]
fn the_pools_are_those_of_the_kernel() {
    let kernel =
        [include_str!("../../../../kernel/src/ssr.rs"), include_str!("../../../../kernel/src/domain.rs")].concat();
    for constant in [
        format!("pub const MAX_BINDINGS: usize = {MAX_BINDINGS};"),
        format!("const MAX_UNDO: usize = {MAX_UNDO};"),
        format!("pub const DOMAINS: usize = {};", MAX_PROCESSES + MAX_ENTRIES as u64),
        format!("pub const OBJECTS: usize = {MAX_ENTRIES};"),
    ] {
        assert!(kernel.contains(&constant), "the kernel has another {constant}: fit.rs");
    }
}
