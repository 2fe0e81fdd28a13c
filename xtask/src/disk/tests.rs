//! The promises towards hostile and unlucky input: a clear error, and nothing that panics.

use std::fs;

use hadris_fs::Content;

use super::*;

const ROOM: usize = 3 << 20;

fn tree(files: &[(&str, usize)]) -> Tree {
    let mut tree = Tree::new();
    for directory in ["dir", "dir/below"] {
        tree.insert(directory, Node::dir()).expect("a new path");
    }
    for (number, (path, length)) in files.iter().enumerate() {
        tree.insert(path, Node::file(Content::bytes(vec![number as u8 + 1; *length]))).expect("a new path");
    }
    tree
}

/// A small volume: files of several clusters, a directory below another.
fn volume() -> Vec<u8> {
    let files = [
        ("ONE.BIN", 5000),
        ("a long name that needs several entries.txt", 700),
        ("dir/below/TWO.BIN", 3000),
        ("dir/empty", 0),
    ];
    make(&tree(&files), ROOM).expect("it fits")
}

/// A FAT32 volume of 34 MiB with one file.
fn volume32() -> Vec<u8> {
    let mut device = MemDevice::new(vec![0u8; 34 << 20], BlockSize::new(SECTOR).expect("a size"));
    let options = FatOptions::new().with_kind(FatKind::Fat32).with_cluster_size(512);
    hadris_fat::sync::write(&mut device, &tree(&[("a file in FAT32", 1300)]), &options).expect("made");
    device.into_inner()
}

fn text(image: &[u8]) -> String {
    check(image).expect_err("it is bad").to_string()
}

#[test]
fn the_sample_set_comes_back_as_it_went_in() {
    let tree = sample().expect("no path twice");
    let volume = make(&tree, 12 << 20).expect("it fits");
    assert_eq!(volume.len(), 12 << 20);
    for path in ["readme.txt", "noise/large and of an odd size.bin", "edges/0 bytes.bin", "edges/2049 bytes.bin"] {
        let bytes = tree.get(path).and_then(Node::content).and_then(Content::as_bytes).expect("a file");
        assert_eq!(read_file(&volume, path).expect("there"), bytes, "{path}");
    }
    assert!(read_file(&volume, "no such file").is_err());
    assert_eq!(make(&tree, 12 << 20).expect("it fits"), volume, "the same tree gives the same bytes");
}

#[test]
fn a_directory_of_the_host_becomes_a_volume() {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(root.path().join("a/b")).expect("directories");
    fs::write(root.path().join("a/b/A long name.txt"), "x").expect("a file");
    fs::hard_link(root.path().join("a/b/A long name.txt"), root.path().join("again")).expect("a link");
    std::os::unix::fs::symlink("again", root.path().join("followed")).expect("a link");
    let volume = load(Some(root.path()), ROOM).expect("it fits");
    for path in ["a/b/A long name.txt", "again", "followed"] {
        assert_eq!(read_file(&volume, path).expect("there"), b"x", "{path}");
    }
}

#[test]
fn directories_that_fat_cannot_hold_are_refused() {
    let refused = |names: &[&str], length| {
        let root = tempfile::tempdir().expect("a directory");
        for name in names {
            fs::write(root.path().join(name), vec![0; length]).expect("a file");
        }
        format!("{:#}", load(Some(root.path()), ROOM).expect_err("refused"))
    };
    for name in ["a:b", "a question?", "ends with dot.", "ends with space "] {
        let error = refused(&[name], 1);
        assert!(error.contains(name.trim_end_matches(['.', ' '])), "{error}");
    }
    assert!(refused(&["Readme", "README"], 1).to_lowercase().contains("readme"));
    assert!(refused(&["large"], ROOM).contains("KiB"));
    let names: Vec<String> = (0..300).map(|number| format!("a name of some length {number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    refused(&names, 0);
}

#[test]
fn what_is_not_there_or_too_large_is_refused() {
    let root = tempfile::tempdir().expect("a directory");
    let error = load(Some(&root.path().join("missing")), ROOM).expect_err("missing");
    assert!(error.is::<host::Unusable>(), "{error}");
    let large = root.path().join("large");
    fs::write(&large, vec![0; ROOM + 1]).expect("a file");
    assert!(load(Some(&large), ROOM).expect_err("large").to_string().contains("room for"));
    assert!(make(&Tree::new(), 1 << 20).expect_err("too small").to_string().contains("too few"));
}

#[test]
fn clean_images_pass_and_are_cut_to_their_volume() {
    assert_eq!(check(&volume()), Ok(ROOM));
    assert_eq!(check(&volume32()), Ok(34 << 20));
    let mut longer = volume();
    longer.extend([0xa5; 1000]);
    assert_eq!(check(&longer), Ok(ROOM));
}

#[test]
fn what_is_no_volume_is_called_so() {
    for image in [Vec::new(), vec![0; 100], vec![0; ROOM], b"text ".repeat(1000)] {
        assert!(text(&image).starts_with("not a FAT volume"), "{}", text(&image));
    }
    let mut partitioned = vec![0; ROOM];
    partitioned[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert!(text(&partitioned).contains("partition"));
}

#[test]
fn what_is_not_supported_is_called_so() {
    let made = |options: FatOptions| {
        let mut device = MemDevice::new(vec![0u8; ROOM * 16], BlockSize::new(SECTOR).expect("a size"));
        hadris_fat::sync::format(&mut device, &options).expect("made");
        text(&device.into_inner())
    };
    assert!(made(FatOptions::new().with_kind(FatKind::Fat16).with_sector_size(4096)).contains("sectors of 4096"));
}

/// As `mkfs.vfat -F 32` makes them: the number of sectors in the field of 16 bits.
#[test]
fn small_fat32_volumes_are_taken() {
    let mut image = volume32();
    let (large, small) = (u32::from_le_bytes([image[32], image[33], image[34], image[35]]), 60_000u32);
    for boot in [0, 6 * 512] {
        image[boot + 32..boot + 36].fill(0);
        image[boot + 19..boot + 21].copy_from_slice(&(small as u16).to_le_bytes());
    }
    for information in [512, 7 * 512] {
        let free = &mut image[information + 488..information + 492];
        let count = u32::from_le_bytes([free[0], free[1], free[2], free[3]]) - (large - small);
        free.copy_from_slice(&count.to_le_bytes());
    }
    image.truncate(small as usize * 512);
    assert!(check(&image).is_err(), "the library minds");
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("disk.img");
    fs::write(&path, &image).expect("a file");
    let volume = load(Some(&path), image.len()).expect("taken");
    assert_eq!(read_file(&volume, "a file in FAT32").expect("there").len(), 1300);
    assert_eq!(fs::read(&path).expect("there"), image, "the user's file is only read");
}

#[test]
fn every_truncation_is_found() {
    let image = volume();
    for length in (0..image.len()).step_by(4099).chain([image.len() - 1]) {
        assert!(check(&image[..length]).is_err(), "{length} bytes pass");
    }
}

#[test]
fn damage_is_found() {
    let image = volume();
    let block = BlockSize::new(SECTOR).expect("a size");
    let geometry = *FatFs::mount(MemDevice::new(image.as_slice(), block), MountOptions::new()).expect("opens").info();
    let entry = |name: &[u8; 11]| image.windows(11).position(|window| window == name).expect("there is such an entry");
    let start = |name| usize::from(u16::from_le_bytes([image[entry(name) + 26], image[entry(name) + 27]]));
    let (one, two) = (start(b"ONE     BIN"), start(b"TWO     BIN"));
    let linked = |cluster: usize, value: usize| {
        let mut image = image.clone();
        for copy in 0..2 {
            let at = geometry.fat_copy(copy) as usize + 2 * cluster;
            image[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
        }
        text(&image)
    };
    let flipped = |at: usize, bits: u8| {
        let mut image = image.clone();
        image[at] ^= bits;
        text(&image)
    };
    let cases = [
        ("a loop", linked(one, one)),
        ("two owners", linked(one, two)),
        ("a free cluster in a chain", linked(one, 0)),
        ("a bad cluster in a chain", linked(one, 0xfff7)),
        ("a wild link", linked(one, 0x7fff)),
        ("a lost cluster", linked(4000, 0xffff)),
        ("an unclean end", linked(1, 0x7fff)),
        ("copies that differ", flipped(geometry.fat_copy(1) as usize + 2 * one, 1)),
        ("a size", flipped(entry(b"ONE     BIN") + 29, 0x40)),
        ("a directory that starts elsewhere", flipped(entry(b"BELOW      ") + 26, 0x70)),
        ("a wrong parent", flipped(entry(b"..         ") + 26, 7)),
    ];
    for (name, error) in cases {
        assert!(error.contains("damaged"), "{name}: {error}");
    }
}

/// Whatever the metadata holds, the check ends and does not panic, and what it passes can be read.
#[test]
fn mutated_metadata_never_panics() {
    let clean = volume();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let (mut passed, mut refused) = (0, 0);
    for round in 0..600 {
        let mut image = clean.clone();
        // Boot sector and tables get more than their share.
        let end = [64, 512, 512 + 64, 1 << 17][round % 4];
        for _ in 0..1 + next() % 3 {
            image[next() % end] = next() as u8;
        }
        widen_sector_count(&mut image);
        match check(&image) {
            Ok(length) => {
                passed += 1;
                // The name may have changed; an error is as good as the bytes.
                let _ = read_file(&image[..length], "dir/below/TWO.BIN");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(passed > 100 && refused > 100, "{passed} passed, {refused} refused: the mutations miss the metadata");
}

#[test]
fn saving_replaces_whole_files_only() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("disk.img");
    fs::write(&path, "before").expect("a file");
    save(b"after", &path).expect("saved");
    assert_eq!(fs::read(&path).expect("there"), b"after");
    assert!(check_savable(root.path()).is_err(), "a directory");
    assert!(check_savable(&root.path().join("missing/disk.img")).is_err(), "no folder");
    check_savable(&path).expect("it could be replaced");
    assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 1, "nothing is left behind");
}
