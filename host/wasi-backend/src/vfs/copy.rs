//! A running guest's tree as others copy from and to it: the same tables as the guest's own.

use std::{
    io::{self, Read},
    sync::Arc,
};

use silo_layers::{
    copy::{Given, GuestTree, Seen, copy_pieces},
    tree::Stat,
    union::{FileKind as Kind, FsError, FsResult},
};

use super::{Directory, ErrorCode, File, FileKind, Location, Metadata, OpenOptions, Vfs};

fn failed(code: ErrorCode) -> FsError {
    match code {
        ErrorCode::NoEntry => FsError::NotFound,
        ErrorCode::Exist => FsError::Exists,
        ErrorCode::NotDirectory => FsError::NotDirectory,
        ErrorCode::IsDirectory => FsError::IsDirectory,
        ErrorCode::NotEmpty => FsError::NotEmpty,
        ErrorCode::Loop => FsError::Loop,
        ErrorCode::NameTooLong => FsError::NameTooLong,
        ErrorCode::ReadOnly => FsError::ReadOnly,
        ErrorCode::CrossDevice => FsError::CrossDevice,
        ErrorCode::Access => FsError::Access,
        ErrorCode::NotPermitted => FsError::NotPermitted,
        ErrorCode::Invalid => FsError::Invalid,
        ErrorCode::InsufficientSpace | ErrorCode::Quota | ErrorCode::InsufficientMemory => {
            FsError::NoSpace
        }
        ErrorCode::BadDescriptor => FsError::BadHandle,
        ErrorCode::Busy | ErrorCode::TextFileBusy => FsError::Busy,
        ErrorCode::FileTooLarge => FsError::TooLarge,
        ErrorCode::Unsupported => FsError::Unsupported,
        other => FsError::Io(io::Error::other(other)),
    }
}

const fn kind(kind: FileKind) -> Kind {
    match kind {
        FileKind::File => Kind::File,
        FileKind::Directory => Kind::Directory,
        FileKind::Symlink => Kind::Symlink,
        FileKind::CharDevice => Kind::CharDevice,
        FileKind::BlockDevice => Kind::BlockDevice,
        FileKind::Fifo => Kind::Fifo,
        FileKind::Socket => Kind::Socket,
    }
}

/// Names that are no Unicode are nobody's here.
fn text(name: &[u8]) -> FsResult<&str> {
    str::from_utf8(name).map_err(|_| FsError::Invalid)
}

impl Vfs {
    fn child(&self, parent: &Arc<Directory>, name: &[u8]) -> FsResult<Location> {
        let entry = self.entry(parent, text(name)?.to_owned(), false).map_err(failed)?;
        entry.found.ok_or(FsError::NotFound)
    }

    fn seen(&self, at: Location) -> FsResult<Seen> {
        let metadata = self.stat(at).map_err(failed)?;
        self.seen_as(at, &metadata)
    }

    fn seen_as(&self, at: Location, metadata: &Metadata) -> FsResult<Seen> {
        let kind = kind(metadata.kind);
        let mode = self.fs(at).mode(at.node).map_err(failed)?;
        let stat = Stat {
            size: metadata.size,
            nlink: metadata.nlink,
            mode: mode.unwrap_or(if kind == Kind::Directory { 0o755 } else { 0o644 }),
            uid: 0,
            gid: 0,
            atime: metadata.atime,
            mtime: metadata.mtime,
            ctime: metadata.ctime,
            identity: Some((at.mount as u64, metadata.inode)),
            rdev: 0,
        };
        Ok(Seen { kind, stat })
    }

    fn give(&self, at: Location, given: &Given) -> FsResult<()> {
        self.set_mode(at, given.mode).map_err(failed)?;
        self.set_times(at, None, Some(given.mtime)).map_err(failed)
    }
}

/// The tree of a guest that runs, shared with it.
pub(crate) struct Shared(pub(crate) Arc<Vfs>);

impl GuestTree for Shared {
    type Directory = Arc<Directory>;

    fn root(&self) -> FsResult<Arc<Directory>> {
        Ok(self.0.root())
    }

    fn look(&self, parent: &Arc<Directory>, name: &[u8]) -> FsResult<Seen> {
        self.0.seen(self.0.child(parent, name)?)
    }

    fn look_at(&self, directory: &Arc<Directory>) -> FsResult<Seen> {
        self.0.seen(directory.at)
    }

    fn enter(&self, parent: &Arc<Directory>, name: &[u8]) -> FsResult<Arc<Directory>> {
        let at = self.0.child(parent, name)?;
        if self.0.stat(at).map_err(failed)?.kind != FileKind::Directory {
            return Err(FsError::NotDirectory);
        }
        let name = text(name)?.to_owned();
        Ok(Arc::new(Directory { at, parent: Some(Arc::clone(parent)), name }))
    }

    fn list(&self, directory: &Arc<Directory>) -> FsResult<Vec<Box<[u8]>>> {
        let entries = self.0.read_directory(directory.at).map_err(failed)?;
        Ok(entries.into_iter().map(|entry| entry.name.into_bytes().into()).collect())
    }

    fn target(&self, parent: &Arc<Directory>, name: &[u8]) -> FsResult<Vec<u8>> {
        Ok(self.0.read_link(self.0.child(parent, name)?).map_err(failed)?.into_bytes())
    }

    fn read(&self, parent: &Arc<Directory>, name: &[u8]) -> FsResult<(Seen, Box<dyn Read + '_>)> {
        let at = self.0.child(parent, name)?;
        if self.0.stat(at).map_err(failed)?.kind != FileKind::File {
            return Err(FsError::Unsupported);
        }
        let options = OpenOptions { read: true, ..OpenOptions::default() };
        let file = self.0.open(at, options).map_err(failed)?;
        let seen = self.0.seen_as(at, &file.stat().map_err(failed)?)?;
        Ok((seen, Box::new(Reading { file, position: 0 })))
    }

    fn write(
        &self,
        parent: &Arc<Directory>,
        name: &[u8],
        content: &mut dyn Read,
        given: &Given,
    ) -> FsResult<()> {
        let entry = self.0.entry(parent, text(name)?.to_owned(), false).map_err(failed)?;
        let options = OpenOptions { read: false, write: true, truncate: true };
        let (at, file) = match entry.found {
            Some(_) if entry.kind != FileKind::File => return Err(FsError::Unsupported),
            Some(at) => (at, self.0.open(at, options).map_err(failed)?),
            None => self.0.create(&entry).map_err(failed)?,
        };
        copy_pieces(content, |piece, position| file.write_at(piece, position).map_err(failed))?;
        drop(file);
        self.0.give(at, given)
    }

    fn make_directory(&self, parent: &Arc<Directory>, name: &[u8]) -> FsResult<Arc<Directory>> {
        self.0.create_directory(parent, text(name)?).map_err(failed)?;
        self.enter(parent, name)
    }

    fn finish(&self, directory: &Arc<Directory>, given: &Given) -> FsResult<()> {
        self.0.give(directory.at, given)
    }

    /// A link's time is that of its making: volumes of Windows have no other.
    fn symlink(
        &self,
        parent: &Arc<Directory>,
        name: &[u8],
        target: &[u8],
        _: &Given,
    ) -> FsResult<()> {
        self.0.symlink(text(target)?, parent, text(name)?).map_err(failed)
    }

    fn link(&self, from: (&Arc<Directory>, &[u8]), to: (&Arc<Directory>, &[u8])) -> FsResult<()> {
        self.0.link(self.0.child(from.0, from.1)?, to.0, text(to.1)?).map_err(failed)
    }

    fn remove(&self, parent: &Arc<Directory>, name: &[u8]) -> FsResult<()> {
        self.0.unlink(parent, text(name)?).map_err(failed)
    }

    fn keeps_owners(&self) -> Result<(), &'static str> {
        Err("files of WebAssembly programs that run have none")
    }
}

/// A file's content from its beginning.
struct Reading {
    file: Arc<dyn File>,
    position: u64,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position).map_err(io::Error::other)?;
        self.position += count as u64;
        Ok(count)
    }
}
