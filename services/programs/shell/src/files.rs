//! Commands about files.

use core::fmt::{self, Write};

use fs::{Attributes, Entries, FsClient, FsError, MAX_PATH, OpenFlags, Stat, listing};
use rt::{CallError, Text};
use sha2::{Digest, Sha256};

use crate::command::{Context, Failure};
use crate::words::Words;

/// Bytes that move in one request.
const CHUNK: usize = 8 * 1024;
/// A path that the shell puts together: two words at most.
type Path = Text<MAX_PATH>;
/// Names that a copy in progress can have; more than one, since a copy that was cut short leaves one behind.
const TEMPORARIES: u32 = 10;

/// Tells which path an error is about.
fn about<T>(path: &str, result: Result<T, CallError<FsError>>) -> Result<T, Failure> {
    result.map_err(|error| Failure::asked("fs", path, error))
}

/// Calls for each path; without a path that is a wrong use.
fn each(words: &Words, mut command: impl FnMut(&str) -> Result<(), Failure>) -> Result<(), Failure> {
    if words.argument_count() == 0 {
        return Err(Failure::Usage);
    }
    words.arguments().try_for_each(&mut command)
}

/// The two paths of a command that takes two.
fn two(words: &Words) -> Result<(&str, &str), Failure> {
    match (words.get(1), words.get(2), words.argument_count()) {
        (Some(from), Some(to), 2) => Ok((from, to)),
        _ => Err(Failure::Usage),
    }
}

/// Gives each chunk of a file to `take`.
fn read_file(fs: &FsClient, path: &str, mut take: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    let fd = about(path, fs.open(OpenFlags::READ, path.as_bytes()))?;
    let mut chunk = [0; CHUNK];
    let result = loop {
        match about(path, fs.read_full(fd, &mut chunk)) {
            Ok(0) => break Ok(()),
            Ok(count) => {
                if let Err(failure) = take(&chunk[..count]) {
                    break Err(failure);
                }
            }
            Err(failure) => break Err(failure),
        }
    };
    result.and(about(path, fs.close(fd)))
}

/// The last part of a path.
fn last_part(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// Puts a path together.
fn join(parts: fmt::Arguments<'_>) -> Result<Path, Failure> {
    let mut path = Path::new();
    path.write_fmt(parts)?;
    if path.is_cut() { Err(Failure::Said("the path is too long")) } else { Ok(path) }
}

/// Where `from` goes when it is copied or moved to `to`: into it, if that is a directory.
fn target(fs: &FsClient, from: &str, to: &str) -> Result<Path, Failure> {
    match fs.stat(to.as_bytes()) {
        Ok(stat) if stat.is_dir() => join(format_args!("{}/{}", to.trim_end_matches('/'), last_part(from))),
        Ok(_) | Err(CallError::Service(FsError::NotFound)) => join(format_args!("{to}")),
        Err(error) => about(to, Err(error)),
    }
}

/// Date and time of a `Stat`.
struct Modified(u32);

impl fmt::Display for Modified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = |shift: u32, bits: u32| self.0 >> shift & ((1 << bits) - 1);
        write!(
            f,
            "{}-{:02}-{:02} {:02}:{:02}",
            1980 + field(25, 7),
            field(21, 4),
            field(16, 5),
            field(11, 5),
            field(5, 6)
        )
    }
}

/// The line of `ls` for a file or directory.
fn entry_line(out: &mut impl Write, name: &str, stat: &Stat) -> fmt::Result {
    let slash = if stat.is_dir() { "/" } else { "" };
    writeln!(out, "{:>10}  {}  {name}{slash}", stat.size, Modified(stat.modified))
}

pub fn ls(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    if words.argument_count() == 0 {
        return list(context, "/");
    }
    let several = words.argument_count() > 1;
    words.arguments().try_for_each(|path| {
        if several {
            writeln!(context.out, "{path}:")?;
        }
        list(context, path)
    })
}

fn list(context: &mut Context<'_, '_>, path: &str) -> Result<(), Failure> {
    let (fs, out) = context.files()?;
    let mut buffer = [0; 4096];
    let mut cursor = 0;
    while cursor != listing::END {
        let (length, next) = match fs.list(cursor, path.as_bytes(), &mut buffer) {
            Err(CallError::Service(FsError::NotDirectory)) => {
                let stat = about(path, fs.stat(path.as_bytes()))?;
                entry_line(out, last_part(path), &stat)?;
                return Ok(());
            }
            answer => about(path, answer)?,
        };
        for entry in Entries::new(buffer.get(..length as usize).unwrap_or_default()) {
            entry_line(out, entry.name, &entry.stat)?;
        }
        cursor = next;
    }
    Ok(())
}

pub fn cat(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let (fs, out) = context.files()?;
    each(words, |path| {
        read_file(fs, path, |bytes| {
            out.put(bytes);
            Ok(())
        })
    })
}

pub fn write(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let path = words.get(1).ok_or(Failure::Usage)?;
    let (fs, _) = context.files()?;
    let mut text = Text::<MAX_PATH>::new();
    for (index, word) in words.arguments().skip(1).enumerate() {
        write!(text, "{}{word}", if index == 0 { "" } else { " " })?;
    }
    writeln!(text)?;
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
    let fd = about(path, fs.open(flags, path.as_bytes()))?;
    let written = about(path, fs.write_all(fd, text.as_str().as_bytes()));
    written.and(about(path, fs.close(fd)))
}

/// Copies to a new file first and gives it its name at the end: TO is the old file or the new one, never a part of
/// either, and a file can be copied onto itself.
pub fn cp(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let (from, to) = two(words)?;
    let (fs, _) = context.files()?;
    let to = target(fs, from, to)?;
    let to = to.as_str();
    let folder = &to[..to.rfind('/').map_or(0, |slash| slash + 1)];
    let (temporary, fd) = temporary(fs, folder)?;
    let temporary = temporary.as_str();
    let copied = read_file(fs, from, |bytes| about(temporary, fs.write_all(fd, bytes)));
    let closed = about(temporary, fs.close(fd));
    let result = copied.and(closed).and_then(|()| about(to, fs.mv(temporary.as_bytes(), to.as_bytes())));
    if result.is_err() {
        // The first failure is what matters; a file left behind has a name that says what it is.
        let _ = fs.remove(temporary.as_bytes());
    }
    result
}

/// Creates a file of a name that is not taken, in this folder.
fn temporary(fs: &FsClient, folder: &str) -> Result<(Path, u32), Failure> {
    for number in 0..TEMPORARIES {
        let path = join(format_args!("{folder}cp{number}.tmp"))?;
        match fs.create(path.as_str().as_bytes()) {
            Err(CallError::Service(FsError::Exists)) => {}
            answer => return about(path.as_str(), answer).map(|fd| (path, fd)),
        }
    }
    Err(Failure::Said("cp0.tmp to cp9.tmp are there already: remove what earlier copies left behind"))
}

pub fn rm(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let (fs, _) = context.files()?;
    each(words, |path| about(path, fs.remove(path.as_bytes())))
}

pub fn mv(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let (from, to) = two(words)?;
    let (fs, _) = context.files()?;
    let to = target(fs, from, to)?;
    about(from, fs.mv(from.as_bytes(), to.as_str().as_bytes()))
}

pub fn mkdir(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let (fs, _) = context.files()?;
    each(words, |path| about(path, fs.mkdir(path.as_bytes())))
}

pub fn stat(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let (fs, out) = context.files()?;
    each(words, |path| {
        let stat = about(path, fs.stat(path.as_bytes()))?;
        let kind = if stat.is_dir() { "directory" } else { "file" };
        write!(out, "{path}: {kind}, {} bytes, changed {}", stat.size, Modified(stat.modified))?;
        let shown = stat.attributes - Attributes::DIRECTORY;
        shown.iter_names().try_for_each(|(name, _)| write!(out, ", {name}"))?;
        writeln!(out)?;
        Ok(())
    })
}

pub fn sha256sum(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let (fs, out) = context.files()?;
    each(words, |path| {
        let mut hash = Sha256::new();
        read_file(fs, path, |bytes| {
            hash.update(bytes);
            Ok(())
        })?;
        hash.finalize().iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
        writeln!(out, "  {path}")?;
        Ok(())
    })
}

pub fn df(context: &mut Context<'_, '_>, _: &Words) -> Result<(), Failure> {
    let (fs, out) = context.files()?;
    let usage = about("/", fs.usage())?;
    let kib = |clusters: u32| u64::from(clusters) * u64::from(usage.cluster_size) / 1024;
    let used = usage.clusters.saturating_sub(usage.free);
    writeln!(
        out,
        "FAT{}: {} KiB, {} KiB used, {} KiB free, in clusters of {} bytes",
        usage.kind,
        kib(usage.clusters),
        kib(used),
        kib(usage.free),
        usage.cluster_size
    )?;
    Ok(())
}

pub fn sync(context: &mut Context<'_, '_>, _: &Words) -> Result<(), Failure> {
    let (fs, _) = context.files()?;
    about("/", fs.sync())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_parts() {
        for (path, last) in [("/a/b", "b"), ("a", "a"), ("/a/b/", "b"), ("/", ""), ("", "")] {
            assert_eq!(last_part(path), last, "{path:?}");
        }
    }

    #[test]
    fn shows_entries_as_fat_dates_them() {
        let modified = (2026 - 1980) << 25 | 11 << 21 | 20 << 16 | 22 << 11 | 47 << 5 | 3;
        let mut line = Text::<80>::new();
        entry_line(&mut line, "a file", &Stat { size: 1234, modified, ..Stat::default() }).unwrap();
        assert_eq!(line.as_str(), "      1234  2026-11-20 22:47  a file\n");
        let mut line = Text::<80>::new();
        let attributes = Attributes::DIRECTORY;
        entry_line(&mut line, "d", &Stat { attributes, modified: 1 << 21 | 1 << 16, ..Stat::default() }).unwrap();
        assert_eq!(line.as_str(), "         0  1980-01-01 00:00  d/\n");
    }

    #[test]
    fn paths_that_are_too_long_are_not_cut() {
        assert_eq!(join(format_args!("{}/{}", "a", "b")).ok().map(|path| path.as_str().to_owned()), Some("a/b".into()));
        assert!(join(format_args!("{}", "x".repeat(MAX_PATH + 1))).is_err());
    }
}
