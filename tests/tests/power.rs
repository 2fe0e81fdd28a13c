//! Power cuts: the emulator is killed while files are written. What was synced is there, and the volume is sound.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use common::{emulator, image, must, scratch};

/// Random numbers that are the same in each run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}

/// The files that are copied from, on the disk from the start.
const SOURCES: [(&str, usize); 3] = [("S0", 700), ("S1", 41_000), ("S2", 300_001)];

/// The shell of a machine with a disk.
struct Machine {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Machine {
    /// Boots, and waits for the prompt.
    fn boot(disk: &Path, legacy: bool) -> Self {
        let mut command = emulator(image(), "on");
        command.args(["-global", &format!("virtio-mmio.force-legacy={legacy}"), "-drive"]);
        command.arg(format!("if=none,id=disk,format=raw,file={}", disk.display()));
        command.args(["-device", "virtio-blk-device,drive=disk,bus=virtio-mmio-bus.0"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the emulator");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut machine = Machine { child, input, output };
        machine.wait();
        machine
    }

    /// Waits for a prompt; returns what was said before.
    fn wait(&mut self) -> String {
        let mut text = String::new();
        while !text.ends_with("\n> ") {
            let mut part = Vec::new();
            assert!(must(self.output.read_until(b' ', &mut part)) > 0, "it ended: {text}");
            text.push_str(&String::from_utf8_lossy(&part));
        }
        text
    }

    fn begin(&mut self, line: &str) {
        must(self.input.write_all(format!("{line}\r").as_bytes()));
    }

    /// Carries out a command, which must not say anything.
    fn run(&mut self, line: &str) {
        self.begin(line);
        let text = self.wait();
        let said: Vec<&str> = text.lines().skip(1).filter(|said| !said.trim().is_empty() && *said != "> ").collect();
        assert!(said.is_empty(), "{line}: {said:?}");
    }

    /// The power fails.
    fn cut(mut self) {
        must(self.child.kill());
        must(self.child.wait());
    }
}

fn tool(program: &str, arguments: &[&str]) -> Option<std::process::Output> {
    let places = [program.to_owned(), format!("/usr/sbin/{program}"), format!("/sbin/{program}")];
    places.iter().find_map(|program| Command::new(program).args(arguments).stdin(Stdio::null()).output().ok())
}

/// `fsck.vfat` finds nothing to mend.
fn assert_sound(disk: &Path, why: &str) {
    let output = tool("fsck.vfat", &["-n", &disk.display().to_string()]).expect("it was there before");
    assert!(output.status.success(), "{why}: {}", String::from_utf8_lossy(&output.stdout));
}

fn content(disk: &Path, path: &str) -> Option<Vec<u8>> {
    let output =
        tool("mtype", &["-i", &disk.display().to_string(), &format!("::{path}")]).expect("it was there before");
    output.status.success().then_some(output.stdout)
}

/// What is to be on the disk, by path: the number of the source that it is a copy of.
type Files = BTreeMap<String, usize>;

/// A random command. What it touches is uncertain until the next sync.
fn command(random: &mut Random, files: &mut Files, touched: &mut Vec<String>) -> String {
    let path = |random: &mut Random| format!("{}file {}", ["", "d/", "Long name/"][random.below(3)], random.below(5));
    let (from, to) = (path(random), path(random));
    if random.below(4) == 0 && files.contains_key(&from) && from != to {
        let source = files.remove(&from).unwrap_or_default();
        files.insert(to.clone(), source);
        touched.extend([from.clone(), to.clone()]);
        return format!("mv \"{from}\" \"{to}\"");
    }
    if random.below(4) == 0 && files.remove(&from).is_some() {
        touched.push(from.clone());
        return format!("rm \"{from}\"");
    }
    let source = random.below(SOURCES.len());
    files.insert(to.clone(), source);
    touched.push(to.clone());
    format!("cp {} \"{to}\"", SOURCES[source].0)
}

#[test]
fn what_was_synced_survives_power_cuts() {
    let have = |program| tool(program, &["--version"]).is_some();
    if !["mkfs.vfat", "fsck.vfat", "mcopy", "mtype"].into_iter().all(have) {
        println!("mtools or dosfstools are not installed: not tested");
        return;
    }
    let folder = scratch();
    for (seed, options, legacy) in [(1, ["-F", "16"], true), (2, ["-F", "32"], false)] {
        let disk = folder.path().join(format!("disk{seed}.img"));
        must(must(fs::File::create(&disk)).set_len(40 << 20));
        let name = disk.display().to_string();
        assert!(tool("mkfs.vfat", &[options[0], options[1], &name]).is_some_and(|output| output.status.success()));
        let mut random = Random(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
        let sources: Vec<Vec<u8>> =
            SOURCES.iter().map(|(_, len)| (0..*len).map(|_| random.below(256) as u8).collect()).collect();
        for ((source, _), bytes) in SOURCES.iter().zip(&sources) {
            let file = folder.path().join(source);
            must(fs::write(&file, bytes));
            let file = file.display().to_string();
            assert!(tool("mcopy", &["-o", "-i", &name, &file, "::"]).is_some_and(|output| output.status.success()));
        }
        let mut machine = Machine::boot(&disk, legacy);
        machine.run("mkdir d \"Long name\"");
        let mut files = Files::new();
        for round in 0..4 {
            let mut touched = Vec::new();
            for _ in 0..random.below(4) {
                let line = command(&mut random, &mut files, &mut touched);
                machine.run(&line);
            }
            machine.run("sync");
            let synced = files.clone();
            // What follows may be on the disk or not.
            touched.clear();
            for _ in 0..random.below(3) {
                let line = command(&mut random, &mut files, &mut touched);
                machine.run(&line);
            }
            let last = command(&mut random, &mut files, &mut touched);
            machine.begin(&last);
            let sync = random.below(2) == 0;
            if sync {
                machine.begin("sync");
            }
            std::thread::sleep(Duration::from_millis(random.below(1200) as u64));
            machine.cut();

            let why = format!("seed {seed}, round {round}, cut at {last:?}");
            machine = Machine::boot(&disk, legacy);
            machine.run("sync");
            let copy = folder.path().join("copy.img");
            must(fs::copy(&disk, &copy));
            assert_sound(&copy, &why);
            for (path, source) in synced.iter().filter(|(path, _)| !touched.contains(path)) {
                let found = content(&copy, path);
                assert!(
                    found.as_ref() == Some(&sources[*source]),
                    "{why}: {path}: {:?}",
                    found.map(|bytes| bytes.len())
                );
            }
            // Go on with what is there.
            files = touched.iter().fold(synced, |mut files, path| {
                files.remove(path);
                files
            });
            for path in &touched {
                let found = content(&copy, path);
                if let Some(source) = found.and_then(|bytes| sources.iter().position(|source| *source == bytes)) {
                    files.insert(path.clone(), source);
                }
            }
        }
        machine.cut();
    }
}
