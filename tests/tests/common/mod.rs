//! What the boots share: the host tool, an image, the emulator.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// The host tool, which names itself in the environment when it runs these tests.
pub fn xtask() -> Command {
    let tool = std::env::var_os("CURIOS_XTASK").expect("these tests are run by `cargo xtask test`");
    let mut command = Command::new(tool);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).stdin(std::process::Stdio::null());
    command
}

/// The value, or a failed test.
#[track_caller]
pub fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// A folder that vanishes.
#[allow(dead_code)] // not every test binary needs one
pub fn scratch() -> TempDir {
    must(tempfile::tempdir())
}

/// An image with the sample disk whose demonstration makes nothing fail, so that the shell comes soon.
#[allow(dead_code)] // not every test binary boots it
pub fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shell.bin");
        let output = must(xtask().args(["build", "--failures", "0", "--out"]).arg(&file).output());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        file
    })
}

/// The emulator with this image; `sleep` says whether virtual time keeps step with real time.
#[allow(dead_code)] // as above
pub fn emulator(image: &Path, sleep: &str) -> Command {
    let mut command = Command::new("qemu-system-arm");
    command.args(["-M", "virt", "-cpu", "cortex-a15", "-m", "128M", "-nic", "none", "-display", "none"]);
    command.args(["-monitor", "none", "-serial", "stdio", "-semihosting-config", "enable=on,target=native"]);
    command.arg("-icount").arg(format!("shift=0,sleep={sleep}")).arg("-kernel").arg(image);
    command
}

/// Talks to the shell of a machine: waits for a prompt before each line, and returns all that was said, with the exit status.
#[allow(dead_code)] // as above
pub fn converse(mut machine: Command, lines: &[&str]) -> (Option<i32>, String) {
    let mut child = machine.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the emulator");
    let mut input = child.stdin.take().expect("a pipe");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let (mut text, mut lines) = (String::new(), lines.iter());
    loop {
        let mut part = Vec::new();
        // A prompt is a `>` and a space at the start of a line; the demonstration's report has arrows within its lines.
        if must(output.read_until(b' ', &mut part)) == 0 {
            break;
        }
        text.push_str(&String::from_utf8_lossy(&part));
        if text.ends_with("\n> ") {
            match lines.next() {
                Some(line) => must(input.write_all(format!("{line}\r").as_bytes())),
                None => must(input.write_all(b"exit 9\r")),
            }
        }
    }
    (must(child.wait()).code(), text)
}
