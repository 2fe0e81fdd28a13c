//! The files on the RAM disk when the user names none: the same on every host.

use anyhow::Result;
use hadris_fs::{Content, Node, Tree};
use sha2::{Digest, Sha256};

/// Sizes that meet the edges of sectors, clusters, pages and copy buffers.
const EDGES: [usize; 10] = [0, 1, 511, 512, 513, 2047, 2048, 2049, 4096, 4097];

const README: &str = "These files were put on the RAM disk by cargo xtask run.\n\
    Copy them, remove them, crash the file service meanwhile: they keep.\n";

/// A small tree: texts, tables and noise, long names and sub-directories.
///
/// # Errors
/// If a path stands here twice.
pub fn sample() -> Result<Tree> {
    let mut files = vec![
        ("readme.txt".to_owned(), README.as_bytes().to_vec()),
        ("A file with a rather long name, spaces and all.txt".into(), lines("long names survive, line", 40)),
        ("notes/to do.txt".into(), b"crash the file service\nread this file again\n".to_vec()),
        (
            "notes/archive/2008/server state regions.txt".into(),
            lines("state outlives the server that keeps it, line", 120),
        ),
        ("measurements/temperature of the north tower.csv".into(), table(900)),
        ("measurements/pressure.csv".into(), table(2500)),
        ("noise/small.bin".into(), noise(1, 10_000)),
        ("noise/medium.bin".into(), noise(2, 65_536)),
        ("noise/large and of an odd size.bin".into(), noise(3, 199_999)),
    ];
    files.extend(EDGES.map(|size| (format!("edges/{size} bytes.bin"), noise(4, size))));

    let mut tree = Tree::new();
    for directory in
        ["notes", "notes/archive", "notes/archive/2008", "measurements", "noise", "edges", "empty directory"]
    {
        tree.insert(directory, Node::dir())?;
    }
    for (path, bytes) in files {
        tree.insert(path, Node::file(Content::bytes(bytes)))?;
    }
    Ok(tree)
}

fn lines(text: &str, count: usize) -> Vec<u8> {
    (1..=count).flat_map(|number| format!("{text} {number}\n").into_bytes()).collect()
}

fn table(rows: usize) -> Vec<u8> {
    let rows = (0..rows).map(|row| format!("{},{}.{}\n", row * 60, 12 + row % 17, row % 10));
    std::iter::once("seconds,value\n".to_owned()).chain(rows).flat_map(String::into_bytes).collect()
}

/// Bytes without a pattern that a misplaced block could repeat: SHA-256 of a counter.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::with_capacity(length + 32);
    let mut block = 0u32;
    while bytes.len() < length {
        bytes.extend(Sha256::new().chain_update(seed.to_le_bytes()).chain_update(block.to_le_bytes()).finalize());
        block += 1;
    }
    bytes.truncate(length);
    bytes
}
