//! What clients need beside the methods: loops and two paths in one buffer.

use rt::CallError;

use crate::{FsClient, FsError, MAX_PATH};

impl FsClient {
    /// [`rename`](FsClient::rename) with the two paths as they are.
    ///
    /// # Errors
    /// As `rename`; [`FsError::BadName`] if the paths are longer than [`MAX_PATH`] together.
    pub fn mv(&self, from: &[u8], to: &[u8]) -> Result<(), CallError<FsError>> {
        let mut paths = [0; MAX_PATH];
        let len = from.len() + to.len();
        let Some((first, second)) = paths.get_mut(..len).and_then(|paths| paths.split_at_mut_checked(from.len()))
        else {
            return Err(CallError::Service(FsError::BadName));
        };
        first.copy_from_slice(from);
        second.copy_from_slice(to);
        self.rename(from.len() as u32, &paths[..len])
    }

    /// Reads until the buffer is full or the file ends; returns the number of bytes.
    ///
    /// # Errors
    /// As [`read`](FsClient::read).
    pub fn read_full(&self, fd: u32, to: &mut [u8]) -> Result<usize, CallError<FsError>> {
        let mut done = 0;
        while done < to.len() {
            match self.read(fd, &mut to[done..])? {
                0 => break,
                count => done = (done + count as usize).min(to.len()),
            }
        }
        Ok(done)
    }

    /// Writes all of the buffer, in as many requests as that takes.
    ///
    /// # Errors
    /// As [`write`](FsClient::write); what earlier requests wrote stays written.
    pub fn write_all(&self, fd: u32, mut from: &[u8]) -> Result<(), CallError<FsError>> {
        while !from.is_empty() {
            let count = self.write(fd, from)? as usize;
            from = from.get(count..).unwrap_or(&[]);
        }
        Ok(())
    }
}
