//! The root file system: the image's layers and the container's upper.

use std::{sync::Arc, time::SystemTime};

use silo_isolation::{Error, Result as Created};
use silo_layers::{
    Digest, Snapshot,
    union::{self, Access, FsError, Provenance, UnionFs},
};

use super::{DirEntry, ErrorCode, File, FileKind, FileSystem, Metadata, Node, OpenOptions, Result};

/// Permissions of what guests make; WASI has none.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Opens a container's root file system.
pub(super) fn open(snapshot: &Snapshot) -> Created<UnionFs> {
    UnionFs::open(snapshot, Access::ReadWrite).map_err(|error| Error::Step {
        step: "open the container's layers".to_owned(),
        source: Box::new(error),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "map_err passes it so")]
fn code(error: FsError) -> ErrorCode {
    match error {
        FsError::NotFound => ErrorCode::NoEntry,
        FsError::Exists => ErrorCode::Exist,
        FsError::NotDirectory => ErrorCode::NotDirectory,
        FsError::IsDirectory => ErrorCode::IsDirectory,
        FsError::NotEmpty => ErrorCode::NotEmpty,
        FsError::Loop => ErrorCode::Loop,
        FsError::NameTooLong => ErrorCode::NameTooLong,
        FsError::ReadOnly => ErrorCode::ReadOnly,
        FsError::CrossDevice => ErrorCode::CrossDevice,
        FsError::Access => ErrorCode::Access,
        FsError::NotPermitted => ErrorCode::NotPermitted,
        FsError::Invalid => ErrorCode::Invalid,
        FsError::NoSpace => ErrorCode::InsufficientSpace,
        FsError::BadHandle => ErrorCode::BadDescriptor,
        FsError::Busy => ErrorCode::Busy,
        FsError::TooLarge => ErrorCode::FileTooLarge,
        FsError::Unsupported => ErrorCode::Unsupported,
        _ => ErrorCode::Io,
    }
}

fn kind(kind: union::FileKind) -> FileKind {
    match kind {
        union::FileKind::File => FileKind::File,
        union::FileKind::Directory => FileKind::Directory,
        union::FileKind::Symlink => FileKind::Symlink,
        union::FileKind::Fifo => FileKind::Fifo,
        union::FileKind::CharDevice => FileKind::CharDevice,
        union::FileKind::BlockDevice => FileKind::BlockDevice,
        union::FileKind::Socket => FileKind::Socket,
    }
}

fn metadata(of: union::Metadata) -> Metadata {
    Metadata {
        kind: kind(of.kind),
        size: of.size,
        nlink: of.nlink,
        inode: of.inode,
        atime: of.atime,
        mtime: of.mtime,
        ctime: of.ctime,
    }
}

impl FileSystem for UnionFs {
    fn root(&self) -> Node {
        union::ROOT
    }

    fn lookup(&self, parent: Node, name: &str) -> Result<(Node, FileKind)> {
        let node = Self::lookup(self, parent, name).map_err(code)?;
        Ok((node, kind(self.kind(node).map_err(code)?)))
    }

    fn stat(&self, node: Node) -> Result<Metadata> {
        Self::stat(self, node).map(metadata).map_err(code)
    }

    fn inode(&self, node: Node) -> Result<u64> {
        Self::inode(self, node).map_err(code)
    }

    fn open(&self, node: Node, options: OpenOptions) -> Result<Arc<dyn File>> {
        let OpenOptions { read, write, truncate } = options;
        let write = write || truncate;
        let options = union::OpenOptions { read, write, truncate, append: false };
        Ok(Arc::new(self.open_file(node, options).map_err(code)?))
    }

    fn create(&self, parent: Node, name: &str) -> Result<(Node, Arc<dyn File>)> {
        let (node, file) = Self::create(self, parent, name, true, FILE_MODE).map_err(code)?;
        Ok((node, Arc::new(file)))
    }

    fn create_directory(&self, parent: Node, name: &str) -> Result<Node> {
        self.mkdir(parent, name, DIRECTORY_MODE).map_err(code)
    }

    fn symlink(&self, parent: Node, name: &str, target: &str) -> Result<()> {
        Self::symlink(self, parent, name, target).map(drop).map_err(code)
    }

    fn read_link(&self, node: Node) -> Result<String> {
        self.readlink(node).map_err(code)
    }

    fn link(&self, node: Node, parent: Node, name: &str) -> Result<()> {
        Self::link(self, node, parent, name).map_err(code)
    }

    fn unlink(&self, parent: Node, name: &str) -> Result<()> {
        Self::unlink(self, parent, name).map_err(code)
    }

    fn remove_directory(&self, parent: Node, name: &str) -> Result<()> {
        self.rmdir(parent, name).map_err(code)
    }

    fn rename(&self, parent: Node, name: &str, new_parent: Node, new_name: &str) -> Result<()> {
        Self::rename(self, parent, name, new_parent, new_name).map_err(code)
    }

    fn read_directory(&self, node: Node) -> Result<Vec<DirEntry>> {
        let entries = self.readdir(node).map_err(code)?;
        let entry = |entry: union::DirEntry| DirEntry { name: entry.name, kind: kind(entry.kind) };
        Ok(entries.into_iter().map(entry).collect())
    }

    fn sync_directory(&self, node: Node) -> Result<()> {
        Self::sync_directory(self, node).map_err(code)
    }

    fn set_times(
        &self,
        node: Node,
        atime: Option<SystemTime>,
        mtime: Option<SystemTime>,
    ) -> Result<()> {
        Self::set_times(self, node, atime, mtime).map_err(code)
    }

    fn set_mode(&self, node: Node, mode: u32) -> Result<()> {
        Self::set_mode(self, node, mode).map_err(code)
    }

    fn mode(&self, node: Node) -> Result<Option<u32>> {
        Ok(Some(Self::stat(self, node).map_err(code)?.mode))
    }

    fn layer(&self, node: Node) -> Option<Digest> {
        match self.provenance(node).ok()? {
            Provenance::Lower { diff_id, .. } => Some(diff_id),
            Provenance::Upper => None,
        }
    }
}

impl File for union::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        Self::read_at(self, buffer, offset).map_err(code)
    }

    fn read(&self, length: usize, offset: u64) -> Result<Vec<u8>> {
        Self::read(self, length, offset).map_err(code)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> Result<usize> {
        Self::write_at(self, buffer, offset).map_err(code)
    }

    fn append(&self, buffer: &[u8]) -> Result<()> {
        let mut left = buffer;
        while !left.is_empty() {
            match Self::append(self, left).map_err(code)? {
                0 => return Err(ErrorCode::Io),
                count => left = &left[count..],
            }
        }
        Ok(())
    }

    fn set_len(&self, size: u64) -> Result<()> {
        Self::set_len(self, size).map_err(code)
    }

    fn sync(&self) -> Result<()> {
        Self::sync(self).map_err(code)
    }

    fn inode(&self) -> Result<u64> {
        Self::inode(self).map_err(code)
    }

    fn stat(&self) -> Result<Metadata> {
        self.metadata().map(metadata).map_err(code)
    }
}
