//! What the host knows about the demonstration: how to start it, and how to check what it claims.
//!
//! The guest hashes what its own file service gives it. Here the same files are hashed by another
//! program, on another machine, before and after.

use sha2::{Digest, Sha256};

use crate::disk;

/// The program that demonstrates.
pub const PROGRAM: &str = "demo";

/// Its argument: the seed in bits 0-15, the number of failures in bits 16-30, and in bit 31 whether a shell follows.
pub fn argument(seed: u16, failures: u16, shell: bool) -> u32 {
    u32::from(seed) | u32::from(failures & 0x7fff) << 16 | u32::from(shell) << 31
}

/// Checks the demonstration's lines against the disk as it was and as it is. Returns what does not hold.
///
/// For every copy it prints `[demo] sha256 HASH SOURCE -> COPY`, paths up to the end of the line.
pub fn verify<'l>(lines: impl Iterator<Item = &'l str>, before: &[u8], after: &[u8]) -> Vec<String> {
    let (mut broken, mut checked) = (Vec::new(), 0);
    for claim in lines.filter_map(|line| line.strip_prefix("[demo] sha256 ")) {
        let parsed = claim.split_once(' ').and_then(|(hash, paths)| Some((hash, paths.split_once(" -> ")?)));
        let Some((hash, (source, copy))) = parsed else {
            broken.push(format!("the demonstration printed a line that makes no sense: {claim}"));
            continue;
        };
        checked += 1;
        for (volume, path, which) in [(before, source, "as it was"), (after, copy, "as the run left it")] {
            match disk::read_file(volume, path) {
                Ok(bytes) if hex(&Sha256::digest(&bytes)) == hash => {}
                Ok(_) => broken.push(format!("{path} {which} has another SHA-256 than the demonstration printed")),
                Err(error) => broken.push(format!("{error:#} {which}")),
            }
        }
    }
    if checked == 0 {
        broken.push("the demonstration named no file that the host could check".into());
    }
    broken
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 3 << 20;
    /// SHA-256 of `abc` (FIPS 180-2, appendix B.1).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn volume(files: &[(&str, &str)]) -> Vec<u8> {
        let root = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            std::fs::write(root.path().join(name), text).expect("a file");
        }
        disk::load(Some(root.path()), ROOM).expect("it fits")
    }

    #[test]
    fn true_claims_hold_and_false_ones_do_not() {
        let before = volume(&[("a file", "abc")]);
        let after = volume(&[("a file", "abc"), ("copy", "abc"), ("spoilt", "abd")]);
        let check = |line: &str| verify(["[boot] other", line].into_iter(), &before, &after).len();
        assert_eq!(check(&format!("[demo] sha256 {ABC} a file -> copy")), 0);
        assert_eq!(check(&format!("[demo] sha256 {ABC} a file -> spoilt")), 1);
        assert_eq!(check(&format!("[demo] sha256 {ABC} a file -> missing")), 1);
        assert_eq!(check(&format!("[demo] sha256 {} a file -> copy", "0".repeat(64))), 2);
        assert_eq!(check("[demo] sha256 nonsense"), 2);
        assert_eq!(check("[demo] no claim at all"), 1);
    }

    #[test]
    fn the_argument_keeps_its_parts_apart() {
        assert_eq!(argument(0xffff, 0, false), 0xffff);
        assert_eq!(argument(0, 0x7fff, false), 0x7fff_0000);
        assert_eq!(argument(0, 0, true), 0x8000_0000);
    }
}
