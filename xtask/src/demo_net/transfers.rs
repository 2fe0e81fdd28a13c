//! `curl`, several at once, and what came of it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::host;

const PROGRAM: &str = "curl";
/// Real time after which a transfer is broken, in seconds.
const PATIENCE: &str = "300";

/// Checks that `curl` is there; installs it if not.
///
/// # Errors
/// [`host::Unusable`] if it cannot be installed.
pub fn check() -> Result<()> {
    if host::find_program(PROGRAM).is_none() {
        host::apt_install(&[PROGRAM], "transferring files")?;
    }
    Ok(())
}

/// A port of the loopback that nobody has.
///
/// # Errors
/// If there is none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on the loopback")?;
    Ok(listener.local_addr().context("a port has a number")?.port())
}

/// What came of transfers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Begun.
    pub transfers: u64,
    /// Not come to their end.
    pub broken: u64,
    /// Downloads with the right SHA-256, and with another.
    pub right: u64,
    /// See `right`.
    pub wrong: u64,
    /// Bytes of those that came to their end.
    pub bytes: u64,
}

/// The figures of the status page.
#[derive(Deserialize)]
pub struct Figures {
    /// The guest's clock.
    pub uptime_ms: u64,
    /// Failures of services since the start.
    pub failures: u64,
}

/// The web server in the guest.
pub struct Server {
    port: u16,
}

impl Server {
    /// Behind this port of the loopback.
    pub fn new(port: u16) -> Self {
        Server { port }
    }

    fn address(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// `curl`, which says nothing but an error.
    fn curl(&self) -> Command {
        let mut curl = Command::new(PROGRAM);
        curl.args(["--silent", "--show-error", "--fail", "--max-time", PATIENCE]);
        curl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        curl
    }

    /// Waits until it answers.
    pub fn wait(&self, limit: Duration) -> Result<()> {
        let end = Instant::now() + limit;
        while self.figures().is_err() {
            if Instant::now() > end {
                bail!("no answer within {} s", limit.as_secs());
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        Ok(())
    }

    /// Asks for the figures.
    pub fn figures(&self) -> Result<Figures> {
        let mut curl = self.curl();
        curl.args(["--max-time", "30", &self.address("-/status.json")]).stdout(Stdio::piped());
        let output = curl.output().context("cannot start curl")?;
        if !output.status.success() {
            bail!("the status page: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("the status page's figures")
    }
}

/// A file to transfer.
struct File {
    name: String,
    path: PathBuf,
    length: u64,
    hash: [u8; 32],
}

/// The files.
pub struct Load {
    folder: TempDir,
    files: Vec<File>,
}

impl Load {
    /// So many files of random bytes, the largest of so many.
    pub fn new(count: u32, largest: u64) -> Result<Self> {
        let folder = tempfile::tempdir().context("a folder for the files")?;
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut files = Vec::new();
        for number in 0..count {
            let length = largest - largest * 7 / 8 * u64::from(number) / u64::from(count);
            let mut bytes = vec![0; usize::try_from(length)?];
            random.fill(&mut bytes[..]);
            let name = format!("transfer {number}.bin");
            let path = folder.path().join(&name);
            std::fs::write(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
            files.push(File { name, path, length, hash: Sha256::digest(&bytes).into() });
        }
        Ok(Load { folder, files })
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    /// Stores all files at the same time.
    pub fn upload(&self, server: &Server, sum: &mut Sum) -> Result<()> {
        self.transfer(sum, |file| {
            let mut curl = server.curl();
            curl.arg("--upload-file").arg(&file.path).arg(server.address(&file.name.replace(' ', "%20")));
            curl
        })
        .map(|_| ())
    }

    /// Fetches all files at the same time, and compares them.
    pub fn download(&self, server: &Server, sum: &mut Sum) -> Result<()> {
        let place = |file: &File| self.folder.path().join(format!("{}.back", file.name));
        let done = self.transfer(sum, |file| {
            let mut curl = server.curl();
            curl.arg("--output").arg(place(file)).arg(server.address(&file.name.replace(' ', "%20")));
            curl
        })?;
        for file in self.files.iter().zip(done).filter(|(_, done)| *done).map(|(file, _)| file) {
            let bytes = std::fs::read(place(file)).with_context(|| format!("cannot read {}", place(file).display()))?;
            if Sha256::digest(&bytes)[..] == file.hash {
                sum.right += 1;
            } else {
                host::say(&format!("{} has another SHA-256 than before", file.name));
                sum.wrong += 1;
            }
        }
        Ok(())
    }

    /// One process a file; which of them came to their end.
    fn transfer(&self, sum: &mut Sum, command: impl Fn(&File) -> Command) -> Result<Vec<bool>> {
        let started: Vec<_> =
            self.files.iter().map(|file| command(file).spawn().context("cannot start curl")).collect();
        let mut done = Vec::new();
        for (file, child) in self.files.iter().zip(started) {
            let output = child?.wait_with_output().context("cannot wait for curl")?;
            let good = output.status.success();
            sum.transfers += 1;
            if good {
                sum.bytes += file.length;
            } else {
                sum.broken += 1;
                host::say(&format!("{}: {}", file.name, String::from_utf8_lossy(&output.stderr).trim()));
            }
            done.push(good);
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_different_and_of_several_lengths() {
        let load = Load::new(4, 800).expect("a load");
        let lengths: Vec<u64> = load.files.iter().map(|file| file.length).collect();
        assert_eq!(lengths, [800, 625, 450, 275]);
        assert_eq!(load.bytes(), 2150);
        assert!(load.files.windows(2).all(|pair| pair[0].hash != pair[1].hash));
    }

    #[test]
    fn a_transfer_that_fails_is_counted() {
        let load = Load::new(2, 100).expect("a load");
        let mut sum = Sum::default();
        let done = load.transfer(&mut sum, |file| {
            let mut command = Command::new("sh");
            command.args(["-c", if file.length == 100 { "true" } else { "exit 56" }]).stderr(Stdio::piped());
            command
        });
        assert_eq!(done.expect("both run"), [true, false]);
        assert_eq!(sum, Sum { transfers: 2, broken: 1, bytes: 100, ..Sum::default() });
    }
}
