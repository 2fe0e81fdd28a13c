//! The checks of manifests, executables and images, with good, bad and mutated input.

mod executables;
mod fit;
mod images;
mod manifests;
mod orders;
mod sets;

use std::path::Path;

use abi::image::{Entry, Header, Kind, Recovery, parse};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::manifest::{At, GiveUp};
use super::*;
use crate::board::{Board, DEFAULT};

/// A manifest with these lines in its table, which begins on line 4.
fn manifest(name: &str, table: &str) -> Result<Manifest, Problem> {
    let text = format!("[package]\nname = \"{name}\"\n\n[package.metadata.service]\n{table}\n");
    read(Path::new(&format!("services/{name}/Cargo.toml")), &text, DEFAULT)
}

fn object(name: &str, more: &str) -> Manifest {
    manifest(name, &format!("kind = \"object\"\nstack = \"8K\"\nmax_bindings = 4\n{more}")).expect("well-formed")
}

fn with_policy(name: &str, keys: &str) -> Manifest {
    object(name, &format!("[package.metadata.service.policy]\n{keys}"))
}

fn program(name: &str, more: &str) -> Manifest {
    manifest(name, &format!("kind = \"program\"\nstack = \"8K\"\n{more}")).expect("well-formed")
}

fn problems(manifests: &[Manifest]) -> Vec<String> {
    match check(manifests, BLOBS, DEFAULT) {
        Ok(()) => Vec::new(),
        Err(Problems(problems)) => problems.iter().map(Problem::to_string).collect(),
    }
}

/// The set has exactly this problem, and names the place.
fn one_problem(manifests: &[Manifest], place: &str, text: &str) {
    let found = problems(manifests);
    assert!(
        found.len() == 1 && found[0].starts_with(place) && found[0].contains(text),
        "expected {place} {text}, found {found:?}"
    );
}

const TEXT: u32 = 0x10000;
const READ_EXECUTE: u32 = 5;
const READ: u32 = 4;
const READ_WRITE: u32 = 6;

/// Address, flags, bytes, bytes in memory.
type Part<'b> = (u32, u32, &'b [u8], u32);

/// An executable for ARM with these segments and symbols.
fn executable(segments: &[Part<'_>], symbols: &[(&str, u32)]) -> Vec<u8> {
    let mut names = vec![0u8];
    let mut table = vec![0u8; 16];
    for (name, value) in symbols {
        let entry = [names.len() as u32, *value, 0, 0xfff1_0010];
        table.extend(entry.iter().flat_map(|word| word.to_le_bytes()));
        names.extend(name.bytes().chain([0]));
    }
    let header_end = 52 + 32 * segments.len() as u32;
    let (mut body, mut programs): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    for (address, flags, bytes, memory) in segments {
        let words = [1, header_end + body.len() as u32, *address, *address, bytes.len() as u32, *memory, *flags, 4096];
        programs.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        body.extend(*bytes);
    }
    let table_at = header_end + body.len() as u32;
    let names_at = table_at + table.len() as u32;
    let sections_at = names_at + names.len() as u32;
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x28\0\x01\0\0\0".to_vec();
    file.extend([TEXT, 52, sections_at, 0x0500_0200].iter().flat_map(|word| word.to_le_bytes()));
    file.extend([52u16, 32, segments.len() as u16, 40, 3, 2].iter().flat_map(|half| half.to_le_bytes()));
    file.extend(programs);
    file.extend(body);
    file.extend(&table);
    file.extend(&names);
    let sections = [
        [0; 10],
        [0, 2, 0, 0, table_at, table.len() as u32, 2, 1, 4, 16],
        [0, 3, 0, 0, names_at, names.len() as u32, 0, 0, 1, 0],
    ];
    file.extend(sections.iter().flatten().flat_map(|word| word.to_le_bytes()));
    file
}

const SYMBOLS: [(&str, u32); 5] = [
    ("__po_hook", TEXT + 8),
    ("__po_methods", 3),
    ("__po_read_only_low", 4),
    ("__po_read_only_high", 1),
    ("__po_ssr_pages", 1),
];

fn service() -> Vec<u8> {
    executable(
        &[
            (TEXT, READ_EXECUTE, &[1; 40], 40),
            (TEXT + 0x1000, READ, &[2; 5000], 5000),
            (TEXT + 0x4000, READ_WRITE, &[3; 8], 9000),
        ],
        &SYMBOLS,
    )
}
