//! Disks in and out: directories, images, what is refused, what is saved.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{must, scratch, xtask};

fn run(arguments: &[&str]) -> Output {
    xtask().args(["run", "--seed", "1", "--failures", "12"]).args(arguments).output().expect("xtask starts")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Runs with this disk, which must be refused with a message that says so, and be as it was afterwards.
#[track_caller]
fn refused(disk: &Path, expected: &str) {
    let before = fs::read(disk).ok();
    let output = run(&["--disk", path(disk)]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "accepted: {text}");
    assert!(text.contains(expected), "{expected:?} is not in: {text}");
    assert_eq!(before, fs::read(disk).ok());
}

#[test]
fn a_directory_goes_in_and_comes_out() {
    let folder = scratch();
    let source = folder.path().join("files");
    must(fs::create_dir_all(source.join("deep er/än")));
    must(fs::write(source.join("deep er/än/A long name, with spaces.txt"), "some text\n".repeat(700)));
    must(fs::write(source.join("empty"), ""));
    let saved = folder.path().join("saved.img");
    let output = run(&["--disk", path(&source), "--save", path(&saved)]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("2 of 2 copies equal"), "{text}");
    if let Ok(check) = Command::new("fsck.vfat").arg("-n").arg(&saved).output() {
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    } else {
        println!("fsck.vfat is not there (package dosfstools): the saved volume is checked by reading it again only");
    }
    // The saved image is a disk like any other: the copies of the first run are on it.
    let again = run(&["--disk", path(&saved)]);
    let text = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && text.contains("2 of 2 copies equal"), "{text}");
}

#[test]
fn what_is_no_disk_is_refused() {
    let folder = scratch();
    refused(&folder.path().join("missing"), "missing");
    let noise = folder.path().join("noise.img");
    must(fs::write(&noise, [0x5a; 1 << 20]));
    refused(&noise, "FAT");
    let empty = folder.path().join("empty.img");
    must(fs::write(&empty, ""));
    refused(&empty, "empty.img");
    let large = folder.path().join("large.img");
    must(must(fs::File::create(&large)).set_len(64 << 20));
    refused(&large, "large");
}

#[test]
fn a_damaged_volume_is_refused_and_not_touched() {
    let folder = scratch();
    let (source, good) = (folder.path().join("files"), folder.path().join("good.img"));
    must(fs::create_dir(&source));
    must(fs::write(source.join("a"), [1; 5000]));
    let output = run(&["--disk", path(&source), "--save", path(&good)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let good = must(fs::read(&good));
    let damaged = folder.path().join("damaged.img");
    // The number of sectors of a cluster, which must be a power of two; then a file cut off.
    let mut bad = good.clone();
    bad[13] = 3;
    must(fs::write(&damaged, &bad));
    refused(&damaged, "damaged.img");
    must(fs::write(&damaged, &good[..good.len() / 2]));
    refused(&damaged, "damaged.img");
}

#[test]
fn wrong_arguments_are_explained() {
    for (arguments, expected) in [
        (&["--cpu", "cortex-m3"][..], "cortex-a15"),
        (&["--board", "nowhere"], "cubieboard"),
        (&["--board", "cubieboard", "--cpu", "cortex-a15"], "cortex-a8"),
        (&["--board", "cubieboard", "--hyp"], "HYP"),
        (&["--board", "cubieboard", "--net"], "no network device"),
        (&["--failures", "99999"], "99999"),
        (&["--seed", "x"], "seed"),
        (&["--nonsense"], "--help"),
    ] {
        let output = xtask().arg("run").args(arguments).output().expect("xtask starts");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{expected:?} is not in: {text}");
    }
}
