//! Cards: what is on them, real boot loaders that boot from them, devices that are not overwritten.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use common::{converse, must, scratch, xtask};

/// Real time after which an emulator of OMAP3 boards is taken to hang: such emulators are slow at NAND, which U-Boot reads first.
const PATIENCE: Duration = Duration::from_secs(600);

/// A card's file, and what the tool said about it.
struct Card {
    path: PathBuf,
    report: serde_json::Value,
}

/// A card whose demonstration makes few things fail, so that the shell comes soon.
fn card(board: &str) -> Card {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{board}.img"));
    let output = image(&["--board", board, "--failures", "24", "--json", "--out", text(&path)]);
    assert!(output.status.success(), "{}", said(&output));
    Card { report: must(serde_json::from_slice(&output.stdout)), path }
}

fn virt() -> &'static Card {
    static CARD: OnceLock<Card> = OnceLock::new();
    CARD.get_or_init(|| card("virt"))
}

fn image(arguments: &[&str]) -> Output {
    must(xtask().arg("image").args(arguments).output())
}

fn flash(arguments: &[&str]) -> Output {
    must(xtask().arg("flash").args(arguments).output())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Runs a tool of the host; `None`, said, if it is not there.
fn tool(name: &str, arguments: &[&str]) -> Option<String> {
    // Debian keeps some of them out of the way of ordinary users.
    let found = [name.to_owned(), format!("/usr/sbin/{name}")].into_iter().find_map(|program| {
        let output = Command::new(program).args(arguments).output();
        output.ok()
    });
    let Some(output) = found else {
        println!("{name} is not there: what it would say of the card was not looked at");
        return None;
    };
    let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
    assert!(output.status.success(), "{name} {arguments:?}: {all}");
    Some(all)
}

/// QEMU's `virt` with a boot loader as its firmware and a card.
fn virt_machine(card: &Card) -> Command {
    let firmware = card.report["firmware"].as_str().expect("the boot loader of virt is firmware");
    let mut command = Command::new("qemu-system-arm");
    command.args(["-M", "virt", "-cpu", "cortex-a15", "-m", "128M", "-nic", "none", "-display", "none"]);
    command.args(["-monitor", "none", "-serial", "stdio", "-semihosting-config", "enable=on,target=native"]);
    command.args([
        "-icount",
        "shift=0,sleep=on",
        "-bios",
        firmware,
        "-snapshot",
        "-device",
        "virtio-blk-device,drive=card",
    ]);
    command.arg("-drive").arg(format!("if=none,id=card,format=raw,file={}", card.path.display()));
    command
}

/// QEMU's `cubieboard` with a card. The emulator's boot ROM reads no cards, and it has nothing for the first stage to set
/// up: so it gets the second stage, read from the card, where the first would have put it.
fn cubieboard_machine(card: &Card, folder: &Path) -> Command {
    /// From the start of the first stage to the second (`CONFIG_SPL_PAD_TO`).
    const SECOND: usize = 32 << 10;
    let bytes = must(fs::read(&card.path));
    let loader = &card.report["boot_loader"][0];
    let start = loader["start"].as_u64().expect("the boot loader lies outside the partitions") as usize;
    let image = &bytes[start + SECOND..];
    let word = |at: usize| u32::from_be_bytes(image[at..at + 4].try_into().expect("four bytes"));
    assert_eq!(word(0), 0x2705_1956, "no image of U-Boot");
    let (length, load) = (word(12) as usize, word(16));
    let second = folder.join("second-stage.bin");
    must(fs::write(&second, &image[64..64 + length]));

    let mut command = Command::new("qemu-system-arm");
    command.args(["-M", "cubieboard", "-m", "512M", "-nic", "user", "-display", "none"]);
    command.args(["-monitor", "none", "-serial", "stdio", "-semihosting-config", "enable=on,target=native"]);
    // With a faster clock U-Boot's waits for the timer do not end.
    command.args(["-icount", "shift=3,sleep=off", "-snapshot"]);
    command.arg("-drive").arg(format!("if=sd,format=raw,file={}", card.path.display()));
    command.arg("-device").arg(format!("loader,file={},addr={load:#x},force-raw=on", second.display()));
    command.arg("-device").arg(format!("loader,addr={load:#x},cpu-num=0"));
    command
}

/// What the shell is told, so that the board starts anew by itself and is left at the second prompt with status 6.
const RESET: [&str; 5] = [
    "svc policy fs heartbeat 20 max-restarts 1 min-run 3600000 give-up reboot",
    "svc crash fs panic",
    "sleep 5000",
    "uptime",
    "exit 6",
];

/// Two boots from the card, each to the end of the demonstration, with a reset of the board between them.
#[track_caller]
fn booted_twice(board: &str, (status, text): (Option<i32>, String)) {
    assert_eq!(status, Some(6), "{text}");
    for (expected, times) in [
        ("U-Boot 20", 2),
        (&format!("curios-rs {} for {board}", env!("CARGO_PKG_VERSION")), 2),
        ("Verifying Checksum ... OK", 2),
        (&format!("[boot] curios-rs {} on {board}", env!("CARGO_PKG_VERSION")), 2),
        ("[demo] every promise held", 2),
        ("the board starts anew", 1),
    ] {
        assert_eq!(text.matches(expected).count(), times, "{expected:?}: {text}");
    }
}

#[test]
fn virt_boots_through_its_boot_loader_and_again_after_a_reset() {
    booted_twice("virt", converse(virt_machine(virt()), &RESET));
}

#[test]
fn cubieboard_boots_through_its_boot_loader() {
    let (card, folder) = (card("cubieboard"), scratch());
    let (status, text) = converse(cubieboard_machine(&card, folder.path()), &["svc crash console panic", "exit 5"]);
    assert_eq!(status, Some(5), "{text}");
    for expected in [
        "CPU:   Allwinner A10",
        "Found U-Boot script /boot.scr",
        "for cubieboard",
        "Verifying Checksum ... OK",
        "XIP Kernel Image",
        "on cubieboard",
        "[demo] every promise held",
    ] {
        assert!(text.contains(expected), "{expected:?}: {text}");
    }
}

/// The OMAP3 boards, on the emulator that the environment names; without one these tests are left out, said. Such an emulator can
/// neither count time by instructions, so that shares of processor time are what the host leaves, nor be left with a status: it is stopped when the
/// boot loader speaks for the second time.
#[track_caller]
fn beagleboard_boots_and_starts_anew(board: &str, machine: &str) {
    let emulator = std::env::var_os("CURIOS_QEMU_OMAP").expect("left out without CURIOS_QEMU_OMAP");
    let (card, folder) = (card(board), scratch());
    let file = folder.path().join("card.img");
    must(fs::copy(&card.path, &file));
    let mut command = Command::new(emulator);
    command.args(["-M", machine, "-display", "none", "-monitor", "none", "-serial", "stdio"]);
    command.arg("-drive").arg(format!("if=sd,cache=writeback,format=raw,file={}", file.display()));
    let mut child = must(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn());
    let (mut input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut part = Vec::new();
        while output.read_until(b' ', &mut part).is_ok_and(|count| count > 0) && sender.send(part.split_off(0)).is_ok()
        {
        }
    });
    let (end, mut text, mut lines) = (Instant::now() + PATIENCE, String::new(), RESET.iter());
    while text.matches("U-Boot SPL 20").count() < 2 {
        let Ok(part) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) else { break };
        text.push_str(&String::from_utf8_lossy(&part));
        if let (true, Some(line)) = (text.ends_with("\n> "), lines.next()) {
            must(input.write_all(format!("{line}\r").as_bytes()));
        }
    }
    must(child.kill());
    must(child.wait());
    drop(receiver);
    reader.join().expect("it ends with the emulator");
    let order = [
        "U-Boot SPL 20",
        "U-Boot 20",
        "Found U-Boot script /boot.scr",
        &format!("for {board}"),
        "Verifying Checksum ... OK",
        "XIP Kernel Image",
        &format!("on {board}"),
        "[demo] all                    24        24",
        "saw 0 errors; 18 of 18 copies equal",
        "the board starts anew",
        "U-Boot SPL 20",
    ];
    let mut rest = text.as_str();
    for expected in order {
        let (_, behind) = rest.split_once(expected).unwrap_or_else(|| panic!("{expected:?}: {text}"));
        rest = behind;
    }
}

#[test]
fn beagleboard_boots_through_its_boot_loader_and_starts_anew() {
    beagleboard_boots_and_starts_anew("beagleboard", "beagle");
}

#[test]
fn beagleboard_xm_boots_through_its_boot_loader_and_starts_anew() {
    beagleboard_boots_and_starts_anew("beagleboard-xm", "beaglexm");
}

#[test]
fn started_in_hyp_through_the_boot_loader() {
    let mut machine = virt_machine(virt());
    machine.args(["-machine", "virtualization=on"]);
    let (status, text) = converse(machine, &["exit 5"]);
    assert_eq!(status, Some(5), "{text}");
    assert!(text.contains("Verifying Checksum ... OK") && text.contains("[demo] every promise held"), "{text}");
}

#[test]
fn a_damaged_kernel_on_the_card_is_noticed_by_the_boot_loader() {
    let (card, folder) = (virt(), scratch());
    let mut bytes = must(fs::read(&card.path));
    let at = bytes.windows(8).position(|bytes| bytes == b"CURIOSIM").expect("the boot image");
    bytes[at] ^= 1;
    let damaged = Card { path: folder.path().join("damaged.img"), report: card.report.clone() };
    must(fs::write(&damaged.path, bytes));
    let mut machine = virt_machine(&damaged);
    // What it does next is to look for something else to boot, for ever.
    machine.args(["-no-reboot"]);
    let mut child = must(machine.stdin(Stdio::null()).stdout(Stdio::piped()).spawn());
    let output = child.stdout.take().expect("a pipe");
    let found = BufReader::new(output)
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains("Bad Data CRC") || line.contains("[boot]"));
    must(child.kill());
    must(child.wait());
    assert!(found.as_ref().is_some_and(|line| line.contains("Bad Data CRC")), "{found:?}");
}

#[test]
fn other_tools_find_on_the_card_what_this_one_says() {
    let (card, folder) = (virt(), scratch());
    let path = text(&card.path);
    assert_eq!(card.report["bytes"], must(fs::metadata(path)).len());
    if let Some(table) = tool("sfdisk", &["--json", path]) {
        let table: serde_json::Value = must(serde_json::from_str(&table));
        let parts = &table["partitiontable"]["partitions"];
        for (number, kind) in [(0, "c"), (1, "e")] {
            let start = parts[number]["start"].as_u64().map(|sector| sector * 512);
            assert_eq!(start, card.report["partitions"][number]["start"].as_u64(), "{table}");
            assert_eq!(parts[number]["type"], kind, "{table}");
        }
        assert_eq!(parts[0]["bootable"], true, "{table}");
        assert!(parts[2].is_null(), "{table}");
        tool("sfdisk", &["--verify", path]);
    }
    let bytes = must(fs::read(path));
    for number in 0..2 {
        let part = &card.report["partitions"][number];
        let (start, length) =
            (part["start"].as_u64().expect("a number") as usize, part["bytes"].as_u64().expect("a number") as usize);
        let volume = folder.path().join(format!("{number}"));
        must(fs::write(&volume, &bytes[start..start + length]));
        tool("fsck.vfat", &["-n", text(&volume)]);
    }
    for (file, expected) in [
        ("curios.img", ["ARM Linux Kernel Image (uncompressed)", "Load Address: 40010000", "Entry Point:  40010000"]),
        ("boot.scr", ["ARM U-Boot Script (uncompressed)", "Image Name:   curios-rs", "Image 0:"]),
    ] {
        let copy = folder.path().join(file);
        if tool("mcopy", &["-i", text(&folder.path().join("0")), &format!("::{file}"), text(&copy)]).is_none() {
            continue;
        }
        let Some(said) = tool("dumpimage", &["-l", text(&copy)]) else { continue };
        assert!(expected.iter().all(|line| said.contains(line)), "{said}");
    }
}

#[test]
fn the_same_system_gives_the_same_card() {
    let (card, folder) = (virt(), scratch());
    let again = folder.path().join("again.img");
    let output = image(&["--failures", "24", "--out", text(&again)]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(must(fs::read(&card.path)) == must(fs::read(&again)));
}

#[test]
fn a_folder_without_the_boot_loader_is_refused() {
    let folder = scratch();
    let out = folder.path().join("sd.img");
    for (named, expected) in
        [(folder.path().join("missing"), "no folder"), (folder.path().to_owned(), "u-boot.bin: No such file")]
    {
        let output = image(&["--u-boot", text(&named), "--out", text(&out)]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(expected) && said(&output).contains("Debian's package"), "{}", said(&output));
        assert!(!out.exists());
    }
}

#[test]
fn devices_that_are_no_cards_are_not_touched() {
    let folder = scratch();
    let file = folder.path().join("file");
    must(fs::write(&file, "precious"));
    let refused = |arguments: &[&str], expected: &str| {
        let output = flash(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(expected), "{arguments:?}: {}", said(&output));
    };
    refused(&["--yes", text(&file)], "no block device");
    assert_eq!(must(fs::read(&file)), b"precious");
    refused(&["--yes", "/dev/null"], "no block device");
    refused(&["--yes", text(&folder.path().join("missing"))], "No such file");
    refused(&[], "which device?");
    // The device that the root is on, and a loop device, where the host shows any: neither is removable.
    let devices = must(fs::read_dir("/sys/block")).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in devices.filter(|name| ["loop0", "sda", "vda", "nvme0n1"].contains(&name.as_str())) {
        let removable = fs::read_to_string(format!("/sys/block/{name}/removable")).unwrap_or_default();
        let device = format!("/dev/{name}");
        if removable.trim() == "0" && Path::new(&device).exists() {
            refused(&["--yes", &device], "is not touched: not removable");
        }
    }
}
