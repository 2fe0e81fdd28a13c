//! Paths: from bytes of a client to names of directory entries.

use alloc::vec::Vec;

use crate::FsError;

/// The names of a path from the root on, with `.` and `..` worked out; none for the root itself.
///
/// # Errors
/// [`FsError::BadName`] if the bytes are not UTF-8 or have a NUL. Whether a name can be one is the volume's to say.
pub fn names(path: &[u8]) -> Result<Vec<&str>, FsError> {
    let path = core::str::from_utf8(path).map_err(|_| FsError::BadName)?;
    if path.contains('\0') {
        return Err(FsError::BadName);
    }
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    Ok(names)
}
