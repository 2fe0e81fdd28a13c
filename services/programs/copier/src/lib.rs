//! What the demonstration's clients share: which files there are, where their copies go, how they are hashed.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use fs::{Attributes, ENTRY_BUFFER, Entries, FsClient, FsError, OpenFlags, listing};
use rt::CallError;
use sha2::{Digest, Sha256};

/// Directory of the copies.
pub const COPIES: &str = "/demo";
/// Its presence tells the copiers to come to an end.
pub const STOP: &str = "/demo/stop";
/// Clients that copy.
pub const COPIERS: u32 = 4;
/// Bytes of one read or write.
pub const CHUNK: usize = 1024;
/// Files that the demonstration works on, at most.
const MAX_FILES: usize = 32;
/// Directories that it looks into, at most.
const MAX_DIRECTORIES: usize = 64;
/// Bytes of the largest file that it copies.
const MAX_BYTES: u32 = 128 * 1024;

/// A SHA-256.
pub type Hash = [u8; 32];

/// A file that is copied.
pub struct Source {
    /// Path, from the root on, without a leading `/`.
    pub path: String,
    /// Path of its copy.
    pub copy: String,
    /// Bytes.
    pub size: u32,
}

/// The files to copy, in the order of the volume: those that leave three quarters of the free room unused.
///
/// # Errors
/// Those of [`FsClient::list`] and [`FsClient::usage`].
pub fn sources(files: &FsClient) -> Result<Vec<Source>, CallError<FsError>> {
    let usage = files.usage()?;
    let mut room = usage.free.saturating_mul(usage.cluster_size) / 4;
    let mut directories = vec![String::new()];
    let mut sources = Vec::new();
    let mut buffer = vec![0; 4 * ENTRY_BUFFER];
    let mut at = 0;
    while let Some(directory) = directories.get(at).cloned() {
        at += 1;
        let mut cursor = 0;
        while cursor != listing::END {
            let (bytes, next) = files.list(cursor, directory.as_bytes(), &mut buffer)?;
            for entry in Entries::new(&buffer[..bytes as usize]) {
                let path = if directory.is_empty() { entry.name.into() } else { format!("{directory}/{}", entry.name) };
                let hidden = entry.stat.attributes.intersects(Attributes::HIDDEN | Attributes::SYSTEM);
                if matches!(entry.name, "." | "..") || hidden || path == COPIES[1..] {
                    continue;
                }
                if entry.stat.is_dir() {
                    if directories.len() < MAX_DIRECTORIES {
                        directories.push(path);
                    }
                } else if sources.len() < MAX_FILES && entry.stat.size <= MAX_BYTES {
                    let cost = entry.stat.size.next_multiple_of(usage.cluster_size.max(1));
                    if cost <= room {
                        room -= cost;
                        let copy = format!("{COPIES}/{} {}", sources.len(), entry.name);
                        sources.push(Source { path, copy, size: entry.stat.size });
                    }
                }
            }
            cursor = next;
        }
    }
    Ok(sources)
}

/// Copies a file through two open handles, a chunk a request, and hashes what it reads.
///
/// # Errors
/// The first error of the file service.
pub fn copy(files: &FsClient, source: &Source) -> Result<Hash, CallError<FsError>> {
    let from = files.open(OpenFlags::READ, source.path.as_bytes())?;
    let to = files.open(OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE, source.copy.as_bytes())?;
    let mut hash = Sha256::new();
    let mut chunk = [0; CHUNK];
    loop {
        let bytes = files.read(from, &mut chunk)? as usize;
        if bytes == 0 {
            break;
        }
        hash.update(&chunk[..bytes]);
        files.write_all(to, &chunk[..bytes])?;
    }
    files.close(from)?;
    files.close(to)?;
    Ok(hash.finalize().into())
}

/// The hash of a file, and how many bytes it has.
///
/// # Errors
/// The first error of the file service.
pub fn hash(files: &FsClient, path: &str) -> Result<(Hash, u32), CallError<FsError>> {
    let file = files.open(OpenFlags::READ, path.as_bytes())?;
    let mut hash = Sha256::new();
    let mut chunk = [0; CHUNK];
    let mut size = 0;
    loop {
        let bytes = files.read(file, &mut chunk)?;
        if bytes == 0 {
            break;
        }
        size += bytes;
        hash.update(&chunk[..bytes as usize]);
    }
    files.close(file)?;
    Ok((hash.finalize().into(), size))
}

/// A hash in hexadecimal digits.
pub struct Hex<'a>(pub &'a Hash);

impl core::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
