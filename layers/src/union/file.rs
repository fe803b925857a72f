//! Open files.

use std::{fs, io, sync::Arc, time::SystemTime};

use super::{FsError, FsResult, Metadata, Node, OpenOptions, UnionFs, nodes::Moved};

/// An open regular file. Positions are in bytes from the start; the file has no position of its own.
/// It stays open, and keeps its content, when its name is removed.
#[derive(Debug)]
pub struct File {
    fs: UnionFs,
    node: Node,
    options: OpenOptions,
    opened: Arc<fs::File>,
    /// Of a file open in a lower: the copy, once it was made.
    moved: Option<Arc<Moved>>,
}

/// A file's content from its beginning.
pub(crate) struct Reader {
    file: File,
    position: u64,
}

impl io::Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position).map_err(io::Error::other)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl File {
    pub(super) const fn new(
        fs: UnionFs,
        node: Node,
        options: OpenOptions,
        opened: Arc<fs::File>,
        moved: Option<Arc<Moved>>,
    ) -> Self {
        Self { fs, node, options, opened, moved }
    }

    /// The file's node.
    #[must_use]
    pub const fn node(&self) -> Node {
        self.node
    }

    /// How it was opened.
    #[must_use]
    pub const fn options(&self) -> OpenOptions {
        self.options
    }

    /// The host's file: that of the upper once there is one.
    fn host(&self) -> &fs::File {
        self.moved.as_ref().and_then(|moved| moved.get()).unwrap_or(&self.opened)
    }

    fn is_in_upper(&self) -> bool {
        self.moved.as_ref().is_none_or(|moved| moved.get().is_some())
    }

    /// Reads at `offset`; 0 at the end of the file. Fewer bytes than fit may be read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> FsResult<usize> {
        if !self.options.read {
            return Err(FsError::BadHandle);
        }
        Ok(read_at(self.host(), buffer, offset)?)
    }

    /// Up to `length` bytes at `offset`; none at the end of the file. Costs less than to empty a buffer
    /// for [`read_at`](Self::read_at).
    pub fn read(&self, length: usize, offset: u64) -> FsResult<Vec<u8>> {
        if !self.options.read {
            return Err(FsError::BadHandle);
        }
        Ok(read(self.host(), length, offset)?)
    }

    /// The content from its beginning, as far as it fits in `most` bytes.
    pub fn read_whole(&self, most: u64) -> FsResult<Vec<u8>> {
        let length = usize::try_from(self.len()?.min(most)).map_err(|_| FsError::TooLarge)?;
        let mut content = Vec::with_capacity(length);
        while content.len() < length {
            match self.read(length - content.len(), content.len() as u64)? {
                piece if piece.is_empty() => break,
                piece => content.extend(piece),
            }
        }
        Ok(content)
    }

    /// Writes at `offset`; a gap behind the end reads as zeros. Fewer bytes may be written. A file opened
    /// to append is written at its end.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> FsResult<usize> {
        if self.options.append {
            return self.append(bytes);
        }
        self.writable()?;
        Ok(write_at(&self.opened, bytes, offset)?)
    }

    /// Writes at the end, which no other write through this file system moves meanwhile.
    pub fn append(&self, bytes: &[u8]) -> FsResult<usize> {
        self.writable()?;
        let _guard = self.fs.lock_append();
        let end = self.opened.metadata()?.len();
        Ok(write_at(&self.opened, bytes, end)?)
    }

    /// The content from its beginning.
    pub(crate) const fn into_reader(self) -> Reader {
        Reader { file: self, position: 0 }
    }

    fn writable(&self) -> FsResult<()> {
        if self.options.writes() { Ok(()) } else { Err(FsError::BadHandle) }
    }

    /// The length in bytes.
    pub fn len(&self) -> FsResult<u64> {
        Ok(self.host().metadata()?.len())
    }

    /// Whether the length is 0.
    pub fn is_empty(&self) -> FsResult<bool> {
        Ok(self.len()? == 0)
    }

    /// What stat(2) tells.
    pub fn metadata(&self) -> FsResult<Metadata> {
        self.fs.stat(self.node)
    }

    /// The number that tells the file from others, as in [`Metadata::inode`].
    pub fn inode(&self) -> FsResult<u64> {
        self.fs.inode(self.node)
    }

    /// Cuts or extends with zeros.
    pub fn set_len(&self, length: u64) -> FsResult<()> {
        if !self.options.writes() {
            return Err(FsError::Invalid);
        }
        Ok(self.opened.set_len(length)?)
    }

    /// Sees to it that content and metadata survive a crash of the host, and with them that the file is
    /// found by its name, where a lower has it by that name.
    pub fn sync(&self) -> FsResult<()> {
        self.sync_by(fs::File::sync_all)
    }

    /// Sees to it that the content survives a crash of the host.
    pub fn sync_data(&self) -> FsResult<()> {
        self.sync_by(fs::File::sync_data)
    }

    fn sync_by(&self, sync: impl FnOnce(&fs::File) -> io::Result<()>) -> FsResult<()> {
        let in_lower = self.moved.as_ref().is_some_and(|moved| moved.get().is_none());
        // Windows syncs only what is open to write.
        if in_lower || cfg!(windows) && !self.options.writes() {
            return Ok(());
        }
        sync(self.host())?;
        self.fs.tables().sync_above(self.node)
    }

    /// Sets the times given.
    pub fn set_times(&self, atime: Option<SystemTime>, mtime: Option<SystemTime>) -> FsResult<()> {
        if !self.options.writes() {
            match self.fs.set_times(self.node, atime, mtime) {
                // Without a name a file of the upper still has times; one of a lower keeps its own.
                Err(FsError::NotFound) if self.is_in_upper() => {}
                result => return result,
            }
        }
        let mut times = fs::FileTimes::new();
        if let Some(atime) = atime {
            times = times.set_accessed(atime);
        }
        if let Some(mtime) = mtime {
            times = times.set_modified(mtime);
        }
        Ok(self.host().set_times(times)?)
    }
}

#[cfg(target_os = "linux")]
fn read(file: &fs::File, length: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), offset)?;
    // The allocator may have given more than was asked for.
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(not(target_os = "linux"))]
fn read(file: &fs::File, length: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let count = read_at(file, &mut bytes, offset)?;
    bytes.truncate(count);
    Ok(bytes)
}

#[cfg(unix)]
fn read_at(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(unix)]
fn write_at(file: &fs::File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    match std::os::windows::fs::FileExt::seek_read(file, buffer, offset) {
        // ERROR_HANDLE_EOF
        Err(error) if error.raw_os_error() == Some(38) => Ok(0),
        result => result,
    }
}

#[cfg(windows)]
fn write_at(file: &fs::File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}
