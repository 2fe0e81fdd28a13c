//! Images: what is packed, what the kernel refuses, what does not fit.

use super::*;

/// An image for the usual board, without blobs.
pub fn boot<'b>(parts: Vec<(&'b Manifest, Executable)>, starts: Vec<Start>) -> Boot<'b> {
    Boot { parts, blobs: Vec::new(), starts, board: DEFAULT, kernel: 1 << 20, recovery: Recovery::Rollback }
}

#[test]
fn policies_are_read_and_packed() {
    let plain = object("plain", "");
    let numbers = |manifest: &Manifest| {
        let policy = &manifest.policy;
        [policy.heartbeat, policy.misses, policy.min_run, policy.max_restarts, policy.backoff, policy.backoff_cap]
            .map(|number| number.value)
    };
    assert_eq!((numbers(&plain), plain.policy.give_up), ([0, 2, 50, 10, 10, 1000], GiveUp::Stop));
    let keys = "heartbeat = 500\nmisses = 3\nmin_run = 20\nmax_restarts = 4\nbackoff = 5\nbackoff_cap = 80\ngive_up = \"reboot\"\ndependants = [\"plain\"]";
    let full = with_policy("full", keys);
    assert_eq!((numbers(&full), full.policy.give_up), ([500, 3, 20, 4, 5, 80], GiveUp::Reboot));
    assert_eq!((full.dependants[0].value.as_str(), full.dependants[0].line), ("plain", 16));

    let part = |manifest| (manifest, Executable::parse(&service(), true).expect("good"));
    let object_entry = |parts| {
        let words = aligned(&pack(&boot(parts, Vec::new())).expect("it fits together"));
        let image = parse(words.as_bytes()).expect("the kernel takes it");
        *image.entries().last().expect("there is one")
    };
    let needs_ssr = object("plain", "ssr_pages = 1");
    let with_ssr = with_policy("full", keys);
    let with_ssr = Manifest { ssr_pages: At { value: 1, ..with_ssr.ssr_pages }, ..with_ssr };
    let entry = object_entry(vec![part(&needs_ssr), part(&with_ssr)]);
    assert_eq!((entry.dependants, entry.policy.heartbeat, entry.policy.backoff_cap), (1, 500, 80));
    assert_eq!((entry.policy.misses, entry.policy.min_run, entry.policy.max_restarts), (3, 20, 4));
    assert_eq!((entry.policy.backoff, entry.policy.give_up), (5, 1));
    assert_eq!(object_entry(vec![part(&with_ssr)]).dependants, 0, "left out of this image");
}

#[test]
fn a_selection_is_closed_and_in_order() {
    let all = [
        object("unused", ""),
        object("fs", "callees = [\"block\"]"),
        object("block", ""),
        program("demo", "callees = [\"fs\"]\nspawns = [\"copier\"]"),
        program("copier", "callees = [\"log\"]"),
        object("log", "callees = [\"log\"]"),
    ];
    let names = |programs: &[&str]| {
        selection(&all, programs).map(|found| found.iter().map(|manifest| manifest.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(names(&["demo"]).expect("there"), ["block", "fs", "log", "copier", "demo"]);
    assert_eq!(names(&["copier", "copier"]).expect("there"), ["log", "copier"]);
    assert!(names(&["fs"]).is_err(), "no program");
}

fn packed(disk: &[u8]) -> Vec<u8> {
    let manifests = [
        object(
            "fs",
            "heap = \"64K\"\ncommon = \"16K\"\ncommon_blob = \"disk\"\nundo_pages = 2\nssr_pages = 1\nserial = true\ncalls = [\"log\"]",
        ),
        program("demo", "callees = [\"fs\"]\ncalls = [\"shutdown\"]"),
    ];
    let parts = vec![
        (&manifests[0], Executable::parse(&service(), true).expect("good")),
        (&manifests[1], Executable::parse(&executable(&[(TEXT, READ_EXECUTE, &[1; 4], 4)], &[]), false).expect("good")),
    ];
    let starts = vec![Start { program: "demo", instances: 2, argument: 77 }];
    let blobs = vec![Blob { name: "disk", bytes: disk.to_vec() }];
    pack(&Boot { blobs, ..boot(parts, starts) }).expect("it fits together")
}

/// Bytes on the boundary that the kernel's parser wants.
fn aligned(image: &[u8]) -> Vec<u64> {
    let mut words = vec![0u64; image.len() / 8];
    words.as_mut_bytes().copy_from_slice(&image[..image.len() / 8 * 8]);
    words
}

#[test]
fn the_kernel_finds_what_was_packed() {
    let disk: Vec<u8> = (0..5000u32).map(|number| number as u8).collect();
    let words = aligned(&packed(&disk));
    let image = parse(words.as_bytes()).expect("the kernel takes it");
    let [fs, demo, blob] = image.entries() else { panic!("three entries") };
    assert_eq!(abi::call::name_str(&fs.name), "fs");
    assert_eq!((fs.kind, demo.kind, blob.kind), (Kind::Object as u32, Kind::Program as u32, Kind::Blob as u32));
    assert_eq!((fs.methods, fs.read_only, fs.heap, fs.common, fs.common_blob), (3, 1 << 32 | 4, 65536, 16384, 2));
    assert_eq!((fs.max_bindings, fs.ssr_pages, fs.undo_pages, fs.autostart), (4, 1, 2, 0));
    assert_eq!((demo.callees, demo.autostart, demo.argument, demo.quota_bindings), (1, 2, 77, 1));
    assert_eq!(image.segment(&fs.rodata)[..5000], [2; 5000]);
    assert_eq!(image.segment(&fs.rodata)[5000..], [0; 3192]);
    assert_eq!(&image.segment(&blob.data)[..disk.len()], disk);
}

#[test]
fn every_flipped_bit_of_the_table_is_refused() {
    let good = packed(&[7; 100]);
    let table = size_of::<Header>() + 3 * size_of::<Entry>();
    for at in 0..table {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(parse(aligned(&bad).as_bytes()).is_err(), "byte {at}");
    }
    for length in (0..good.len()).step_by(512) {
        assert!(parse(aligned(&good[..length]).as_bytes()).is_err(), "{length} bytes");
    }
}

#[test]
fn a_hostile_table_with_a_good_checksum_never_panics() {
    let good = packed(&[7; 100]);
    let head = size_of::<Header>();
    let table = head + 3 * size_of::<Entry>();
    let mut refused = 0;
    for at in (head..table).step_by(4) {
        for value in [0u32, 1, 0x8000_0000, 0xffff_f000, u32::MAX] {
            let mut bad = good.clone();
            bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let mut header = Header::new_zeroed();
            header.as_mut_bytes().copy_from_slice(&bad[..head]);
            header.checksum = abi::image::table_checksum(&header, &bad[head..table]);
            bad[..head].copy_from_slice(header.as_bytes());
            refused += usize::from(parse(aligned(&bad).as_bytes()).is_err());
        }
    }
    assert!(refused > 300, "{refused} refused");
    assert!(Header::ref_from_prefix(aligned(&good).as_bytes()).is_ok());
}

#[test]
fn an_image_says_how_it_recovers() {
    let plain = object("plain", "ssr_pages = 1");
    let parts = || vec![(&plain, Executable::parse(&service(), true).expect("good"))];
    for &recovery in Recovery::ALL {
        let image = pack(&Boot { recovery, ..boot(parts(), Vec::new()) }).expect("it fits together");
        assert_eq!(parse(aligned(&image).as_bytes()).map(|image| image.recovery()).ok(), Some(recovery));
    }
    let mut unknown = pack(&boot(parts(), Vec::new())).expect("it fits together");
    let (mut header, _) = Header::read_from_prefix(&unknown).expect("a header");
    let (head, table) = (size_of::<Header>(), size_of::<Header>() + size_of::<Entry>());
    for number in [0, 6, u32::MAX] {
        header.recovery = number;
        header.checksum = abi::image::table_checksum(&header, &unknown[head..table]);
        unknown[..head].copy_from_slice(header.as_bytes());
        assert_eq!(parse(aligned(&unknown).as_bytes()).err(), Some(abi::image::ImageError::Recovery), "{number}");
    }
}

#[test]
fn what_does_not_fit_together_is_not_packed() {
    let manifests =
        [object("fs", "common = \"4K\"\ncommon_blob = \"disk\"\nundo_pages = 2\nssr_pages = 1"), object("small", "")];
    let parsed = Executable::parse(&service(), true).expect("good");
    let boot = |manifest, length, starts| Boot {
        blobs: vec![Blob { name: "disk", bytes: vec![1; length] }],
        ..boot(vec![(manifest, parsed.clone())], starts)
    };
    assert!(pack(&boot(&manifests[0], 4096, Vec::new())).is_ok());
    assert!(pack(&boot(&manifests[0], 4097, Vec::new())).expect_err("too large").to_string().contains("larger"));
    assert!(
        pack(&boot(&manifests[1], 1, Vec::new()))
            .expect_err("no SSR")
            .to_string()
            .contains("services/small/Cargo.toml")
    );
    let start = Start { program: "demo", instances: 1, argument: 0 };
    assert!(pack(&boot(&manifests[0], 1, vec![start])).expect_err("no program").to_string().contains("demo"));
}
