//! What a file system must answer to be part of the guest's tree.

use std::{sync::Arc, time::SystemTime};

use silo_layers::Digest;

use super::Result;

/// An object's number in its file system. It stays valid while the object is open, even
/// when it is renamed or unlinked.
pub(crate) type Node = u64;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    File,
    Directory,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

/// An object's attributes.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) kind: FileKind,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) nlink: u64,
    /// Distinguishes objects of one file system.
    pub(crate) inode: u64,
    pub(crate) atime: SystemTime,
    pub(crate) mtime: SystemTime,
    pub(crate) ctime: SystemTime,
}

/// A name in a directory.
#[derive(Clone, Debug)]
pub(crate) struct DirEntry {
    pub(crate) name: String,
    pub(crate) kind: FileKind,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OpenOptions {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) truncate: bool,
}

/// A tree of files. Names are single components, neither empty nor `.` or `..`; no
/// operation follows a symbolic link.
pub(crate) trait FileSystem: Send + Sync {
    fn root(&self) -> Node;
    fn lookup(&self, parent: Node, name: &str) -> Result<(Node, FileKind)>;
    fn stat(&self, node: Node) -> Result<Metadata>;
    /// [`Metadata::inode`] alone, which may be had for less.
    fn inode(&self, node: Node) -> Result<u64> {
        self.stat(node).map(|metadata| metadata.inode)
    }
    fn open(&self, node: Node, options: OpenOptions) -> Result<Arc<dyn File>>;
    /// Makes a file that does not exist and opens it for reading and writing.
    fn create(&self, parent: Node, name: &str) -> Result<(Node, Arc<dyn File>)>;
    fn create_directory(&self, parent: Node, name: &str) -> Result<Node>;
    fn symlink(&self, parent: Node, name: &str, target: &str) -> Result<()>;
    fn read_link(&self, node: Node) -> Result<String>;
    fn link(&self, node: Node, parent: Node, name: &str) -> Result<()>;
    fn unlink(&self, parent: Node, name: &str) -> Result<()>;
    fn remove_directory(&self, parent: Node, name: &str) -> Result<()>;
    fn rename(&self, parent: Node, name: &str, new_parent: Node, new_name: &str) -> Result<()>;
    fn read_directory(&self, node: Node) -> Result<Vec<DirEntry>>;
    /// Makes a directory's names durable, where anything is.
    fn sync_directory(&self, node: Node) -> Result<()>;
    /// `None` leaves a time as it is.
    fn set_times(
        &self,
        node: Node,
        atime: Option<SystemTime>,
        mtime: Option<SystemTime>,
    ) -> Result<()>;
    /// Sets the lower twelve bits of `st_mode`, which guests have no way to, where there are any.
    fn set_mode(&self, _node: Node, _mode: u32) -> Result<()> {
        Ok(())
    }
    /// The lower twelve bits of `st_mode`, where there are any.
    fn mode(&self, _node: Node) -> Result<Option<u32>> {
        Ok(None)
    }
    /// The image's layer that holds the object, unchanged, where there is such a thing.
    fn layer(&self, _node: Node) -> Option<Digest> {
        None
    }
}

/// An open file. It outlives its name.
pub(crate) trait File: Send + Sync {
    /// How many bytes were read: 0 only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;
    /// Up to `length` bytes: none only at the end of the file.
    fn read(&self, length: usize, offset: u64) -> Result<Vec<u8>> {
        let mut buffer = vec![0; length];
        let count = self.read_at(&mut buffer, offset)?;
        buffer.truncate(count);
        Ok(buffer)
    }
    /// How many bytes were written: at least one of a buffer that is not empty.
    fn write_at(&self, buffer: &[u8], offset: u64) -> Result<usize>;
    /// Writes all of `buffer` at the end.
    fn append(&self, buffer: &[u8]) -> Result<()>;
    fn set_len(&self, size: u64) -> Result<()>;
    fn sync(&self) -> Result<()>;
    fn stat(&self) -> Result<Metadata>;
    /// [`Metadata::inode`] alone, which may be had for less.
    fn inode(&self) -> Result<u64> {
        self.stat().map(|metadata| metadata.inode)
    }
}
