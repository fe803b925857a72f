//! A file's contents as streams.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime_wasi_io::{
    poll::Pollable,
    streams::{InputStream, OutputStream, StreamError, StreamResult},
};

use super::ErrorCode;
use crate::vfs::File;

/// The most that one call moves: what a hostile length makes the host allocate.
pub(super) const MAX_TRANSFER: usize = 1024 * 1024;

/// Reads a file from a position on.
pub(super) struct FileInput {
    pub(super) file: Arc<dyn File>,
    pub(super) position: u64,
}

/// Writes a file from a position on, or at its end.
pub(super) struct FileOutput {
    pub(super) file: Arc<dyn File>,
    /// `None` appends.
    pub(super) position: Option<u64>,
}

fn failed(code: ErrorCode) -> StreamError {
    StreamError::LastOperationFailed(code.into())
}

/// Reads up to `length` bytes at `position`; fewer only at the end of the file.
pub(super) fn read(file: &dyn File, length: usize, position: u64) -> Result<Vec<u8>, ErrorCode> {
    file.read(length.min(MAX_TRANSFER), position)
}

#[async_trait::async_trait]
impl Pollable for FileInput {
    async fn ready(&mut self) {}
}

impl InputStream for FileInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let data = read(&*self.file, size, self.position).map_err(failed)?;
        if data.is_empty() {
            return Err(StreamError::Closed);
        }
        self.position += data.len() as u64;
        Ok(data.into())
    }
}

#[async_trait::async_trait]
impl Pollable for FileOutput {
    async fn ready(&mut self) {}
}

impl OutputStream for FileOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        match &mut self.position {
            None => self.file.append(&bytes).map_err(failed),
            Some(position) => {
                write_all(&*self.file, &bytes, *position).map_err(failed)?;
                *position += bytes.len() as u64;
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_TRANSFER)
    }
}

/// Writes all of `bytes` at `position`.
pub(super) fn write_all(file: &dyn File, bytes: &[u8], position: u64) -> Result<(), ErrorCode> {
    let mut written = 0;
    while written < bytes.len() {
        let at = position.checked_add(written as u64).ok_or(ErrorCode::FileTooLarge)?;
        match file.write_at(&bytes[written..], at)? {
            0 => return Err(ErrorCode::Io),
            count => written += count,
        }
    }
    Ok(())
}
