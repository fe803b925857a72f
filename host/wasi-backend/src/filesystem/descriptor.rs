//! Open files and directories, and what is done with them by handle.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, SystemTime},
};

use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use super::{
    ErrorCode, FilesystemView, Result,
    directory::{Entries, Listing},
    sockets::{Listener, shut_down},
    streams::{FileInput, FileOutput, MAX_TRANSFER, read, write_all},
    types::{
        Advice, DescriptorFlags, DescriptorStat, DescriptorType, Filesize, HostDescriptor,
        MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
    },
};
use crate::{
    network::sockets::Connection,
    vfs::{Directory, File, FileKind, Location, Metadata},
};

/// What a guest has open.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Descriptor {
    pub(super) object: Object,
    pub(super) flags: DescriptorFlags,
    /// Of a directory that is being read.
    pub(super) listing: Option<Arc<Listing>>,
}

/// The object behind a descriptor.
pub(super) enum Object {
    File {
        file: Arc<dyn File>,
        at: Location,
    },
    Directory(Arc<Directory>),
    /// A published port.
    Listener(Listener),
    Connection(Connection),
}

impl Descriptor {
    pub(super) fn directory(directory: Arc<Directory>, mutable: bool) -> Self {
        let mut flags = DescriptorFlags::READ;
        if mutable {
            flags |= DescriptorFlags::MUTATE_DIRECTORY;
        }
        Self { object: Object::Directory(directory), flags, listing: None }
    }

    pub(super) fn file(file: Arc<dyn File>, at: Location, flags: DescriptorFlags) -> Self {
        Self { object: Object::File { file, at }, flags, listing: None }
    }

    /// The open file, if this is one that allows `access`.
    fn as_file(&self, access: DescriptorFlags) -> Result<&Arc<dyn File>, ErrorCode> {
        match &self.object {
            Object::File { file, .. } if self.flags.contains(access) => Ok(file),
            Object::Directory(_) if access == DescriptorFlags::READ => Err(ErrorCode::IsDirectory),
            _ => Err(ErrorCode::BadDescriptor),
        }
    }

    pub(super) fn as_directory(&self) -> Result<&Arc<Directory>, ErrorCode> {
        match &self.object {
            Object::Directory(directory) => Ok(directory),
            _ => Err(ErrorCode::NotDirectory),
        }
    }

    /// Where it is among the guest's files, if it is one.
    fn location(&self) -> Result<Location, ErrorCode> {
        match &self.object {
            Object::File { at, .. } => Ok(*at),
            Object::Directory(directory) => Ok(directory.at),
            Object::Listener(_) | Object::Connection(_) => Err(ErrorCode::Unsupported),
        }
    }
}

pub(super) fn kind(kind: FileKind) -> DescriptorType {
    match kind {
        FileKind::File => DescriptorType::RegularFile,
        FileKind::Directory => DescriptorType::Directory,
        FileKind::Symlink => DescriptorType::SymbolicLink,
        FileKind::CharDevice => DescriptorType::CharacterDevice,
        FileKind::BlockDevice => DescriptorType::BlockDevice,
        FileKind::Fifo => DescriptorType::Fifo,
        FileKind::Socket => DescriptorType::Socket,
    }
}

/// Times before 1970 can't be told, and are told as unknown.
fn datetime(time: SystemTime) -> Option<Datetime> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Datetime { seconds: since.as_secs(), nanoseconds: since.subsec_nanos() })
}

pub(super) fn stat(metadata: &Metadata) -> DescriptorStat {
    DescriptorStat {
        type_: kind(metadata.kind),
        link_count: metadata.nlink,
        size: metadata.size,
        data_access_timestamp: datetime(metadata.atime),
        data_modification_timestamp: datetime(metadata.mtime),
        status_change_timestamp: datetime(metadata.ctime),
    }
}

pub(super) fn time(new: NewTimestamp) -> Result<Option<SystemTime>, ErrorCode> {
    match new {
        NewTimestamp::NoChange => Ok(None),
        NewTimestamp::Now => Ok(Some(SystemTime::now())),
        NewTimestamp::Timestamp(Datetime { seconds, nanoseconds })
            if nanoseconds < 1_000_000_000 =>
        {
            SystemTime::UNIX_EPOCH
                .checked_add(Duration::new(seconds, nanoseconds))
                .map(Some)
                .ok_or(ErrorCode::Overflow)
        }
        NewTimestamp::Timestamp(_) => Err(ErrorCode::Invalid),
    }
}

/// Names the object, not its contents: preview 1 makes inode numbers of it, and what
/// compares those expects them to last while a file is written.
pub(super) fn hash(at: Location, inode: u64) -> MetadataHashValue {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, at.mount, inode).hash(&mut hasher);
        hasher.finish()
    };
    MetadataHashValue { lower: half(0), upper: half(1) }
}

impl FilesystemView<'_> {
    fn metadata(&self, descriptor: &Descriptor) -> Result<Metadata, ErrorCode> {
        match &descriptor.object {
            Object::File { file, .. } => file.stat(),
            Object::Directory(directory) => self.vfs.stat(directory.at),
            Object::Listener(_) | Object::Connection(_) => Err(ErrorCode::Unsupported),
        }
    }

    fn writer(
        &mut self,
        fd: &Resource<Descriptor>,
        position: Option<u64>,
    ) -> Result<Resource<DynOutputStream>> {
        let descriptor = self.table.get(fd)?;
        let stream: DynOutputStream = if let Object::Connection(connection) = &descriptor.object {
            connection.output()
        } else {
            let file = Arc::clone(descriptor.as_file(DescriptorFlags::WRITE)?);
            Box::new(FileOutput { file, position })
        };
        Ok(self.table.push(stream)?)
    }
}

impl HostDescriptor for FilesystemView<'_> {
    fn read_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        offset: Filesize,
    ) -> Result<Resource<DynInputStream>> {
        let descriptor = self.table.get(&fd)?;
        let stream: DynInputStream = if let Object::Connection(connection) = &descriptor.object {
            connection.input()
        } else {
            let file = Arc::clone(descriptor.as_file(DescriptorFlags::READ)?);
            Box::new(FileInput { file, position: offset })
        };
        Ok(self.table.push(stream)?)
    }

    fn write_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        offset: Filesize,
    ) -> Result<Resource<DynOutputStream>> {
        self.writer(&fd, Some(offset))
    }

    fn append_via_stream(&mut self, fd: Resource<Descriptor>) -> Result<Resource<DynOutputStream>> {
        self.writer(&fd, None)
    }

    fn advise(
        &mut self,
        fd: Resource<Descriptor>,
        _: Filesize,
        _: Filesize,
        _: Advice,
    ) -> Result<()> {
        match self.table.get(&fd)?.object {
            Object::File { .. } => Ok(()),
            _ => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    fn sync_data(&mut self, fd: Resource<Descriptor>) -> Result<()> {
        self.sync(fd)
    }

    fn get_flags(&mut self, fd: Resource<Descriptor>) -> Result<DescriptorFlags> {
        Ok(self.table.get(&fd)?.flags)
    }

    fn get_type(&mut self, fd: Resource<Descriptor>) -> Result<DescriptorType> {
        Ok(match self.table.get(&fd)?.object {
            Object::File { .. } => DescriptorType::RegularFile,
            // What the adapter opens something in is a directory to it.
            Object::Directory(_) | Object::Listener(_) => DescriptorType::Directory,
            Object::Connection(_) => DescriptorType::Socket,
        })
    }

    fn set_size(&mut self, fd: Resource<Descriptor>, size: Filesize) -> Result<()> {
        let descriptor = self.table.get(&fd)?;
        if let Object::Connection(connection) = &descriptor.object {
            return shut_down(connection, size);
        }
        Ok(descriptor.as_file(DescriptorFlags::WRITE)?.set_len(size)?)
    }

    fn set_times(
        &mut self,
        fd: Resource<Descriptor>,
        atime: NewTimestamp,
        mtime: NewTimestamp,
    ) -> Result<()> {
        let descriptor = self.table.get(&fd)?;
        Ok(self.vfs.set_times(descriptor.location()?, time(atime)?, time(mtime)?)?)
    }

    fn read(
        &mut self,
        fd: Resource<Descriptor>,
        length: Filesize,
        offset: Filesize,
    ) -> Result<(Vec<u8>, bool)> {
        let file = self.table.get(&fd)?.as_file(DescriptorFlags::READ)?;
        let length = usize::try_from(length).unwrap_or(MAX_TRANSFER);
        let data = read(&**file, length, offset)?;
        let end = data.is_empty() && length > 0;
        Ok((data, end))
    }

    fn write(
        &mut self,
        fd: Resource<Descriptor>,
        buffer: Vec<u8>,
        offset: Filesize,
    ) -> Result<Filesize> {
        let file = self.table.get(&fd)?.as_file(DescriptorFlags::WRITE)?;
        write_all(&**file, &buffer, offset)?;
        Ok(buffer.len() as u64)
    }

    fn read_directory(&mut self, fd: Resource<Descriptor>) -> Result<Resource<Entries>> {
        self.list(&fd)
    }

    fn sync(&mut self, fd: Resource<Descriptor>) -> Result<()> {
        match &self.table.get(&fd)?.object {
            Object::File { file, .. } => Ok(file.sync()?),
            Object::Directory(directory) => Ok(self.vfs.sync_directory(directory.at)?),
            Object::Listener(_) | Object::Connection(_) => Err(ErrorCode::Invalid.into()),
        }
    }

    fn create_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> Result<()> {
        let base = self.table.get(&fd)?.as_directory()?;
        Ok(self.vfs.create_directory(base, &path)?)
    }

    fn stat(&mut self, fd: Resource<Descriptor>) -> Result<DescriptorStat> {
        Ok(stat(&self.metadata(self.table.get(&fd)?)?))
    }

    fn stat_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> Result<DescriptorStat> {
        let at = self.find(&fd, flags, &path)?;
        Ok(stat(&self.vfs.stat(at)?))
    }

    fn set_times_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        atime: NewTimestamp,
        mtime: NewTimestamp,
    ) -> Result<()> {
        let at = self.find(&fd, flags, &path)?;
        Ok(self.vfs.set_times(at, time(atime)?, time(mtime)?)?)
    }

    fn link_at(
        &mut self,
        old: Resource<Descriptor>,
        flags: PathFlags,
        old_path: String,
        new: Resource<Descriptor>,
        new_path: String,
    ) -> Result<()> {
        let at = self.find(&old, flags, &old_path)?;
        let base = self.table.get(&new)?.as_directory()?;
        Ok(self.vfs.link(at, base, &new_path)?)
    }

    fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<Resource<Descriptor>> {
        let descriptor = self.open(&fd, path_flags, &path, open_flags, flags)?;
        Ok(self.table.push(descriptor)?)
    }

    fn readlink_at(&mut self, fd: Resource<Descriptor>, path: String) -> Result<String> {
        let at = self.find(&fd, PathFlags::empty(), &path)?;
        Ok(self.vfs.read_link(at)?)
    }

    fn remove_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> Result<()> {
        let base = self.table.get(&fd)?.as_directory()?;
        Ok(self.vfs.remove_directory(base, &path)?)
    }

    fn rename_at(
        &mut self,
        old: Resource<Descriptor>,
        old_path: String,
        new: Resource<Descriptor>,
        new_path: String,
    ) -> Result<()> {
        let from = self.table.get(&old)?.as_directory()?;
        let to = self.table.get(&new)?.as_directory()?;
        Ok(self.vfs.rename(from, &old_path, to, &new_path)?)
    }

    fn symlink_at(&mut self, fd: Resource<Descriptor>, target: String, path: String) -> Result<()> {
        let base = self.table.get(&fd)?.as_directory()?;
        Ok(self.vfs.symlink(&target, base, &path)?)
    }

    fn unlink_file_at(&mut self, fd: Resource<Descriptor>, path: String) -> Result<()> {
        let base = self.table.get(&fd)?.as_directory()?;
        Ok(self.vfs.unlink(base, &path)?)
    }

    fn is_same_object(
        &mut self,
        a: Resource<Descriptor>,
        b: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        let location = |descriptor: &Descriptor| descriptor.location().ok();
        let (a, b) = (location(self.table.get(&a)?), location(self.table.get(&b)?));
        Ok(a.is_some() && a == b)
    }

    fn metadata_hash(&mut self, fd: Resource<Descriptor>) -> Result<MetadataHashValue> {
        let descriptor = self.table.get(&fd)?;
        let inode = match &descriptor.object {
            Object::File { file, .. } => file.inode()?,
            Object::Directory(directory) => self.vfs.inode(directory.at)?,
            Object::Listener(_) | Object::Connection(_) => 0,
        };
        Ok(hash(descriptor.location()?, inode))
    }

    fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> Result<MetadataHashValue> {
        let at = self.find(&fd, flags, &path)?;
        Ok(hash(at, self.vfs.inode(at)?))
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        self.table.delete(fd)?;
        Ok(())
    }
}
