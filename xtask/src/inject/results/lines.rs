//! Files of records, a line each: reading what may have been cut short, and replacing a file whole.

use std::fs::Permissions;
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::record::Record;

/// What a file of records holds.
#[derive(Debug, Default)]
pub struct Lines {
    /// The records, in the order of the file.
    pub records: Vec<Record>,
    /// Bytes of the lines that are whole.
    pub whole: u64,
    /// Bytes of the last line, if it was cut short.
    pub cut: u64,
}

/// Reads a file of records; one that is not there has none. The last line may lack its end: whatever wrote it was ended in
/// the middle of it.
///
/// # Errors
/// If the file cannot be read, or a line is damaged: then the text names it, and says what to do.
pub fn read(path: &Path) -> Result<Lines> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Lines::default()),
        bytes => bytes.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let mut lines = Lines::default();
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let Some(line) = line.strip_suffix(b"\n") else {
            lines.cut = line.len() as u64;
            break;
        };
        let record = serde_json::from_slice(line).with_context(|| damaged(path, index))?;
        lines.records.push(record);
        lines.whole += line.len() as u64 + 1;
    }
    Ok(lines)
}

/// What to do about a damaged line.
pub fn damaged(path: &Path, index: usize) -> String {
    let folder = path.parent().unwrap_or(path);
    format!(
        "line {} of {} is damaged. Remove it, then go on with the same options and `--resume {}`: its experiment is carried out \
         again",
        index + 1,
        path.display(),
        folder.display()
    )
}

/// A record as a line, with its end.
pub fn line(record: &Record) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record).with_context(|| format!("experiment {} cannot be written", record.id))?;
    line.push(b'\n');
    Ok(line)
}

/// Puts a file in its place, whole or not at all.
///
/// # Errors
/// If there is no room, for one. What was there before stays.
pub fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let failed = || format!("cannot write {} (what was there before is untouched)", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // As any other new file: the umask decides.
    let file = builder.permissions(Permissions::from_mode(0o666)).tempfile_in(folder).with_context(failed)?;
    let mut writer = BufWriter::new(file);
    write(&mut writer).with_context(failed)?;
    let file = match writer.into_inner() {
        Ok(file) => file,
        Err(error) => bail!(anyhow::Error::from(error.into_error()).context(failed())),
    };
    file.as_file().sync_all().with_context(failed)?;
    file.persist(path).with_context(failed)?;
    Ok(())
}

/// Puts a value in the place of a file, as JSON for people.
///
/// # Errors
/// As [`replace`].
pub fn replace_json(path: &Path, value: &impl Serialize) -> Result<()> {
    replace(path, |writer| {
        serde_json::to_writer_pretty(&mut *writer, value)?;
        Ok(writer.write_all(b"\n")?)
    })
}
