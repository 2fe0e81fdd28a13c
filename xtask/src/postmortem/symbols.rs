//! What an executable says about its addresses: functions, files, lines, methods.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use addr2line::gimli::{self, DW_LANG_Rust, Dwarf, EndianSlice, LittleEndian, SectionId};
use addr2line::{Context as Lines, demangle};
use anyhow::{Context, Result};
use object::{File, Object, ObjectSection, ObjectSegment, ObjectSymbol, SegmentFlags, SymbolMap, SymbolMapName, elf};

use crate::artefact::System;
use crate::guest::KERNEL;
use crate::workspace::Workspace;

/// Symbols that `#[interface]` puts into a service: its branch table, and the number of methods in it.
const TABLE: &str = "__po_call";
const METHODS: &str = "__po_methods";

type Bytes<'f> = EndianSlice<'f, LittleEndian>;

/// The executables with debug information, by the names of their packages, read when they are first needed.
pub struct Executables(BTreeMap<String, (PathBuf, OnceCell<Vec<u8>>)>);

impl Executables {
    /// Those of a system.
    ///
    /// # Errors
    /// If one is missing.
    pub fn of(system: &System) -> Result<Executables> {
        let names = system.manifests.iter().map(|manifest| manifest.name.as_str()).chain([KERNEL]);
        names.map(|name| Ok((name.to_owned(), system.executable(name)?.to_owned()))).collect()
    }

    /// Those that lie in a folder.
    pub fn in_folder(workspace: &Workspace, folder: &Path) -> Executables {
        let names = workspace.guest_packages().into_iter().map(|package| package.name.to_string());
        names.map(|name| (name.clone(), folder.join(name))).collect()
    }

    /// The symbols of the kernel, a service or a program.
    ///
    /// # Errors
    /// If there is nothing of that name, or the file is no executable, or is damaged.
    pub fn symbols(&self, name: &str) -> Result<Symbols<'_>> {
        let (path, bytes) = self.0.get(name).context("no service or program has this name")?;
        let bytes = match bytes.get() {
            Some(bytes) => bytes,
            None => {
                let read = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                bytes.get_or_init(|| read)
            }
        };
        Symbols::parse(bytes).with_context(|| format!("{} cannot be used", path.display()))
    }
}

impl FromIterator<(String, PathBuf)> for Executables {
    fn from_iter<T: IntoIterator<Item = (String, PathBuf)>>(files: T) -> Self {
        Executables(files.into_iter().map(|(name, path)| (name, (path, OnceCell::new()))).collect())
    }
}

/// A function, and the line in it. Either may be unknown: assembly has no debug information.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The function's path, demangled.
    pub function: Option<String>,
    /// File and line.
    pub line: Option<(PathBuf, u32)>,
}

/// The symbols and debug information of one executable.
pub struct Symbols<'f> {
    file: File<'f>,
    names: SymbolMap<SymbolMapName<'f>>,
    lines: Lines<Bytes<'f>>,
    /// The folders that the compiler was started in.
    roots: Vec<PathBuf>,
}

impl<'f> Symbols<'f> {
    /// Reads an executable. What is costly waits for the first question.
    ///
    /// # Errors
    /// If it is no executable, or its debug information is damaged.
    pub fn parse(bytes: &'f [u8]) -> Result<Symbols<'f>> {
        let file = File::parse(bytes).context("no executable")?;
        let section = |id: SectionId| -> Result<Bytes<'f>> {
            let data = file.section_by_name(id.name()).map(|section| section.data()).transpose();
            let data = data.with_context(|| format!("section {} lies outside the file", id.name()))?;
            Ok(EndianSlice::new(data.unwrap_or_default(), LittleEndian))
        };
        let dwarf = Dwarf::load(section)?;
        let roots = roots(&dwarf).context("damaged debug information")?;
        let lines = Lines::from_dwarf(dwarf).context("damaged debug information")?;
        let names = file.symbol_map();
        Ok(Symbols { file, names, lines, roots })
    }

    /// Whether an address lies in what the executable may execute.
    pub fn is_code(&self, address: u32) -> bool {
        self.segment(address).is_some_and(|(executable, _)| executable)
    }

    /// Whether an address lies in what is loaded of the executable.
    pub fn is_image(&self, address: u32) -> bool {
        self.segment(address).is_some()
    }

    /// Of the segment that an address lies in: whether it is executable, and its end.
    fn segment(&self, address: u32) -> Option<(bool, u32)> {
        let holds = |start: u64, size| u64::from(address).checked_sub(start).is_some_and(|at| at < size);
        let segment = self.file.segments().find(|segment| holds(segment.address(), segment.size()))?;
        let executable = matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. } if p_flags.contains(elf::PF_X));
        Some((executable, u32::try_from(segment.address() + segment.size()).ok()?))
    }

    /// Where an address of code comes from: the innermost function first, then those that it was inlined into.
    pub fn places(&self, address: u32) -> Vec<Place> {
        let mut places = Vec::new();
        if let Ok(mut frames) = self.lines.find_frames(u64::from(address)).skip_all_loads() {
            while let Ok(Some(frame)) = frames.next() {
                let function = frame.function.and_then(|name| name.demangle().ok().map(|name| name.into_owned()));
                let line = frame.location.and_then(|at| Some((self.shortened(at.file?), at.line?)));
                places.push(Place { function, line });
            }
        }
        match places.last_mut() {
            Some(outermost) if outermost.function.is_none() => outermost.function = self.symbol(address),
            Some(_) => {}
            None => places.push(Place { function: self.symbol(address), line: None }),
        }
        places
    }

    /// A line of source, as the compiler named its file, with the function that it belongs to.
    pub fn place_of(&self, file: &str, line: u32) -> Place {
        let file = self.shortened(file);
        Place { function: self.function_at(&file, line), line: Some((file, line)) }
    }

    /// The function that a line belongs to, `None` if no instruction comes from there.
    fn function_at(&self, file: &Path, line: u32) -> Option<String> {
        let ranges = self.lines.find_location_range(0, u64::from(u32::MAX)).ok()?;
        let mut found = ranges
            .filter(|(_, _, at)| at.line == Some(line) && at.file.is_some_and(|name| self.shortened(name) == file));
        found.find_map(|(address, ..)| self.places(u32::try_from(address).ok()?).into_iter().next()?.function)
    }

    /// The symbol that an address of the image belongs to, with the distance from its start.
    pub fn symbol(&self, address: u32) -> Option<String> {
        let symbol = self.symbol_before(address)?;
        let name = demangled(symbol.name());
        Some(match u64::from(address) - symbol.address() {
            0 => name,
            distance => format!("{name}+{distance:#x}"),
        })
    }

    /// The first address of the function that an address belongs to.
    pub fn function_start(&self, address: u32) -> Option<u64> {
        self.symbol_before(address).map(|symbol| symbol.address())
    }

    /// The symbol that an address belongs to. Assembly may lie behind the end of the one that it goes on from.
    fn symbol_before(&self, address: u32) -> Option<&SymbolMapName<'f>> {
        let address = u64::from(address);
        self.names.containing(address).or_else(|| self.names.before(address))
    }

    /// The instruction before a return address is a call.
    pub fn is_return_address(&self, address: u32) -> bool {
        address.is_multiple_of(4) && address.checked_sub(4).and_then(|call| self.word(call)).is_some_and(is_call)
    }

    /// The name of a method: the n-th branch behind the entry for calls leads to the n-th method's function.
    pub fn method(&self, number: u32) -> Option<String> {
        let value = |name| {
            let symbol = self.file.symbols().find(|symbol| symbol.name() == Ok(name))?;
            u32::try_from(symbol.address()).ok()
        };
        let (table, methods) = (value(TABLE)?, value(METHODS)?);
        let (_, end) = self.segment(table)?;
        let addresses = (table..end).step_by(4);
        let mut branches = addresses.filter_map(|at| branch(at, self.word(at)?));
        let target = u64::from(branches.nth(number as usize).filter(|_| number < methods)?);
        let functions = self.file.symbols().filter(|symbol| symbol.address() == target && symbol.is_definition());
        let mut names = functions.filter_map(|symbol| symbol.name().ok().map(|name| last_segment(&demangled(name))));
        // Functions of the same instructions may have become one: then the table does not tell which is meant.
        let name = names.next()?;
        names.all(|other| other == name).then_some(name)
    }

    /// A text among the executable's constants.
    pub fn text(&self, address: u32, length: u32) -> Option<&'f str> {
        std::str::from_utf8(self.bytes(address, length)?).ok()
    }

    fn shortened(&self, file: &str) -> PathBuf {
        shortened(Path::new(file), &self.roots)
    }

    fn word(&self, address: u32) -> Option<u32> {
        self.bytes(address, 4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// Bytes as the file has them.
    fn bytes(&self, address: u32, length: u32) -> Option<&'f [u8]> {
        self.file
            .segments()
            .find_map(|segment| segment.data_range(u64::from(address), u64::from(length)).ok().flatten())
    }
}

/// Whether an instruction is `bl` or `blx` (ARM ARM, A8.8.25 and A8.8.26).
fn is_call(instruction: u32) -> bool {
    let unconditional = instruction >> 28 == 0xf;
    let (bl, blx) = (instruction >> 24 & 0xf == 0xb, instruction & 0x0fff_fff0 == 0x012f_ff30);
    (bl || blx) && !unconditional || instruction >> 25 == 0x7d
}

/// The target of an instruction at an address, if it is `b` without a condition (ARM ARM, A8.8.18).
fn branch(at: u32, instruction: u32) -> Option<u32> {
    let offset = (instruction << 8).cast_signed() >> 6;
    (instruction >> 24 == 0xea).then(|| at.wrapping_add(8).wrapping_add_signed(offset))
}

fn demangled(name: &str) -> String {
    demangle(name, DW_LANG_Rust).unwrap_or_else(|| name.to_owned())
}

/// `c` of `a::b<d::e>::c::<f::g>`.
fn last_segment(path: &str) -> String {
    let plain = path.strip_suffix('>').and_then(|path| {
        let mut depth = 1;
        path.rfind(|character| {
            depth += i32::from(character == '>') - i32::from(character == '<');
            depth == 0
        })
        .map(|open| path[..open].trim_end_matches("::"))
    });
    let plain = plain.unwrap_or(path);
    plain.rsplit("::").next().unwrap_or(plain).to_owned()
}

/// The folders that the compiler was started in: the workspace's, and for other crates their own.
fn roots(dwarf: &Dwarf<Bytes<'_>>) -> Result<Vec<PathBuf>, gimli::Error> {
    let mut folders = BTreeSet::new();
    let mut headers = dwarf.units();
    while let Some(header) = headers.next()? {
        folders.extend(dwarf.unit(header)?.comp_dir.map(|folder| folder.slice()));
    }
    Ok(folders.into_iter().map(|folder| PathBuf::from(OsStr::from_bytes(folder))).collect())
}

/// A path as a developer of the system would name it: relative to the workspace, or from the folder of its crate on.
fn shortened(path: &Path, roots: &[PathBuf]) -> PathBuf {
    let parts: Vec<&OsStr> = path.iter().collect();
    let after = |folder: &str, next: &[&str], skip| {
        let at = parts.windows(2).position(|pair| pair[0] == folder && next.iter().any(|next| pair[1] == *next))?;
        parts.get(at + skip..).filter(|rest| !rest.is_empty()).map(|rest| rest.iter().collect())
    };
    // `.../registry/src/REGISTRY/CRATE-VERSION/...` of cargo, `.../library/core/...` of the compiler.
    after("registry", &["src"], 3)
        .or_else(|| after("library", &["core", "alloc", "compiler-builtins"], 1))
        .or_else(|| roots.iter().find_map(|root| path.strip_prefix(root).ok().map(Path::to_owned)))
        .unwrap_or_else(|| path.to_owned())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = self.function.as_deref().unwrap_or("a function without a name");
        match &self.line {
            Some((file, line)) => write!(f, "{function} ({}:{line})", file.display()),
            None => write!(f, "{function}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_that_a_developer_uses() {
        let roots = [PathBuf::from("/home/a/registry"), PathBuf::from("/home/a/library/curios")];
        for (long, short) in [
            ("/home/a/library/curios/services/fs/src/volume.rs", "services/fs/src/volume.rs"),
            ("services/fs/src/volume.rs", "services/fs/src/volume.rs"),
            (
                "/home/a/.cargo/registry/src/index.example-0123456789abcdef/log-0.4.35/src/lib.rs",
                "log-0.4.35/src/lib.rs",
            ),
            ("/rustc/0123abcd/library/core/src/panicking.rs", "core/src/panicking.rs"),
            ("/usr/lib/rustlib/src/rust/library/alloc/src/alloc.rs", "alloc/src/alloc.rs"),
            ("/elsewhere/src/lib.rs", "/elsewhere/src/lib.rs"),
        ] {
            assert_eq!(shortened(Path::new(long), &roots), Path::new(short));
        }
    }

    #[test]
    fn the_last_name_of_a_path() {
        for (path, name) in [
            ("fs::interface::FsEntries::read", "read"),
            ("<fs::interface::FsEntries>::read", "read"),
            ("<fs::E>::read::<fs::Server, rt::server::Plan<a::b>>", "read"),
            ("memcpy", "memcpy"),
            (">", ">"),
            ("", ""),
        ] {
            assert_eq!(last_segment(path), name, "{path}");
        }
    }

    /// Instructions as GNU as encodes them.
    #[test]
    fn calls_and_branches_are_told_from_other_instructions() {
        for call in [0xeb00_0000, 0x0bff_fffe, 0xe12f_ff33, 0x112f_ff3c, 0xfa00_0001, 0xfbff_fff0] {
            assert!(is_call(call), "{call:#x}");
        }
        // b, bx lr, ldr, svc, pld
        for other in [0xea00_0000, 0xe12f_ff1e, 0xe59f_f000, 0xef00_0000, 0xf5d1_f000] {
            assert!(!is_call(other), "{other:#x}");
        }
        assert_eq!(branch(0x1_0000, 0xea00_0001), Some(0x1_000c));
        assert_eq!(branch(0x1_0000, 0xeaff_fffe), Some(0x1_0000));
        assert_eq!(branch(0x1_0000, 0xeb00_0001), None);
        assert_eq!(branch(0x1_0000, 0x0a00_0001), None);
    }
}
