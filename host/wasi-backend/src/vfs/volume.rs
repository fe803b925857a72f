//! A directory or file of the host as a file system (`-v`).
//!
//! Everything goes through a directory handle that no path leads out of, whatever symbolic
//! links the host or the guest puts into the volume.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use cap_std::{
    ambient_authority,
    fs::{Dir, Metadata as HostMetadata},
};

use super::{DirEntry, ErrorCode, File, FileKind, FileSystem, Metadata, Node, OpenOptions, Result};

mod host;

const ROOT: Node = 1;

/// A volume. Nodes are names: a node follows what it names through the guest's renames, and
/// means whatever the host puts there.
pub(crate) struct Volume {
    dir: Arc<Dir>,
    /// The only file it shows, for a volume that is one file.
    file: Option<OsString>,
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    places: HashMap<Node, (Node, String)>,
    nodes: HashMap<(Node, String), Node>,
    last: Node,
}

impl Names {
    fn node(&mut self, parent: Node, name: &str) -> Node {
        let key = (parent, name.to_owned());
        if let Some(&node) = self.nodes.get(&key) {
            return node;
        }
        self.last = self.last.max(ROOT) + 1;
        self.places.insert(self.last, key.clone());
        self.nodes.insert(key, self.last);
        self.last
    }

    fn forget(&mut self, parent: Node, name: &str) -> Option<Node> {
        let node = self.nodes.remove(&(parent, name.to_owned()))?;
        self.places.remove(&node);
        Some(node)
    }

    fn moved(&mut self, parent: Node, name: &str, new_parent: Node, new_name: &str) {
        self.forget(new_parent, new_name);
        if let Some(node) = self.forget(parent, name) {
            let key = (new_parent, new_name.to_owned());
            self.places.insert(node, key.clone());
            self.nodes.insert(key, node);
        }
    }

    fn path(&self, node: Node) -> Result<PathBuf> {
        let mut names = Vec::new();
        let mut at = node;
        while at != ROOT {
            let (parent, name) = self.places.get(&at).ok_or(ErrorCode::NoEntry)?;
            names.push(name.as_str());
            at = *parent;
        }
        if names.is_empty() {
            return Ok(PathBuf::from("."));
        }
        Ok(names.into_iter().rev().collect())
    }
}

impl Volume {
    /// Opens the host's file or directory at `source`.
    pub(crate) fn open(source: &Path) -> io::Result<Self> {
        let names = Mutex::default();
        if fs::metadata(source)?.is_dir() {
            let dir = Arc::new(Dir::open_ambient_dir(source, ambient_authority())?);
            return Ok(Self { dir, file: None, names });
        }
        let source = source.canonicalize()?;
        let (Some(parent), Some(name)) = (source.parent(), source.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let dir = Arc::new(Dir::open_ambient_dir(parent, ambient_authority())?);
        Ok(Self { dir, file: Some(name.to_owned()), names })
    }

    /// Whether it is one file.
    pub(crate) fn is_file(&self) -> bool {
        self.file.is_some()
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node's path, relative to the volume's directory.
    fn path(&self, node: Node) -> Result<PathBuf> {
        match &self.file {
            Some(name) if node == ROOT => Ok(name.into()),
            Some(_) => Err(ErrorCode::NotDirectory),
            None => self.names().path(node),
        }
    }

    fn child(&self, parent: Node, name: &str) -> Result<PathBuf> {
        if self.is_file() {
            return Err(ErrorCode::NotDirectory);
        }
        host::check_name(name)?;
        let parent = self.path(parent)?;
        Ok(if parent == Path::new(".") { name.into() } else { parent.join(name) })
    }
}

/// What a failed operation of the host is to the guest.
pub(super) fn code(error: &io::Error) -> ErrorCode {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => ErrorCode::NoEntry,
        // What a path that leaves the volume fails with, too.
        ErrorKind::PermissionDenied => ErrorCode::Access,
        ErrorKind::AlreadyExists => ErrorCode::Exist,
        ErrorKind::NotADirectory => ErrorCode::NotDirectory,
        ErrorKind::IsADirectory => ErrorCode::IsDirectory,
        ErrorKind::DirectoryNotEmpty => ErrorCode::NotEmpty,
        ErrorKind::ReadOnlyFilesystem => ErrorCode::ReadOnly,
        ErrorKind::StorageFull => ErrorCode::InsufficientSpace,
        ErrorKind::QuotaExceeded => ErrorCode::Quota,
        ErrorKind::FileTooLarge => ErrorCode::FileTooLarge,
        ErrorKind::ResourceBusy => ErrorCode::Busy,
        ErrorKind::ExecutableFileBusy => ErrorCode::TextFileBusy,
        ErrorKind::CrossesDevices => ErrorCode::CrossDevice,
        ErrorKind::TooManyLinks => ErrorCode::TooManyLinks,
        ErrorKind::InvalidFilename => ErrorCode::NameTooLong,
        ErrorKind::InvalidInput => ErrorCode::Invalid,
        ErrorKind::Unsupported => ErrorCode::Unsupported,
        ErrorKind::OutOfMemory => ErrorCode::InsufficientMemory,
        _ => ErrorCode::Io,
    }
}

trait OrCode<T> {
    fn or_code(self) -> Result<T>;
}

impl<T> OrCode<T> for io::Result<T> {
    fn or_code(self) -> Result<T> {
        self.map_err(|error| code(&error))
    }
}

fn metadata(host: &HostMetadata) -> Metadata {
    let time = |time: io::Result<cap_std::time::SystemTime>| {
        time.map_or(SystemTime::UNIX_EPOCH, cap_std::time::SystemTime::into_std)
    };
    let mtime = time(host.modified());
    Metadata {
        kind: host::kind(host.file_type()),
        size: host.len(),
        nlink: host::nlink(host),
        inode: host::inode(host),
        atime: time(host.accessed()),
        mtime,
        ctime: host::ctime(host).unwrap_or(mtime),
    }
}

impl FileSystem for Volume {
    fn root(&self) -> Node {
        ROOT
    }

    fn lookup(&self, parent: Node, name: &str) -> Result<(Node, FileKind)> {
        let path = self.child(parent, name)?;
        let metadata = self.dir.symlink_metadata(path).or_code()?;
        Ok((self.names().node(parent, name), host::kind(metadata.file_type())))
    }

    fn stat(&self, node: Node) -> Result<Metadata> {
        Ok(metadata(&self.dir.symlink_metadata(self.path(node)?).or_code()?))
    }

    fn open(&self, node: Node, options: OpenOptions) -> Result<Arc<dyn File>> {
        let mut host = cap_std::fs::OpenOptions::new();
        host.read(options.read).write(options.write || options.truncate).truncate(options.truncate);
        let file = self.dir.open_with(self.path(node)?, &host).or_code()?;
        Ok(Arc::new(VolumeFile(Mutex::new(file.into_std()))))
    }

    fn create(&self, parent: Node, name: &str) -> Result<(Node, Arc<dyn File>)> {
        let path = self.child(parent, name)?;
        let mut host = cap_std::fs::OpenOptions::new();
        host.read(true).write(true).create_new(true);
        let file = self.dir.open_with(path, &host).or_code()?;
        let node = self.names().node(parent, name);
        Ok((node, Arc::new(VolumeFile(Mutex::new(file.into_std())))))
    }

    fn create_directory(&self, parent: Node, name: &str) -> Result<Node> {
        self.dir.create_dir(self.child(parent, name)?).or_code()?;
        Ok(self.names().node(parent, name))
    }

    fn symlink(&self, parent: Node, name: &str, target: &str) -> Result<()> {
        host::symlink(&self.dir, target, &self.child(parent, name)?).or_code()
    }

    fn read_link(&self, node: Node) -> Result<String> {
        let target = self.dir.read_link_contents(self.path(node)?).or_code()?;
        target.into_os_string().into_string().map_err(|_| ErrorCode::IllegalByteSequence)
    }

    fn link(&self, node: Node, parent: Node, name: &str) -> Result<()> {
        let (old, new) = (self.path(node)?, self.child(parent, name)?);
        self.dir.hard_link(old, &self.dir, new).or_code()
    }

    fn unlink(&self, parent: Node, name: &str) -> Result<()> {
        let path = self.child(parent, name)?;
        if self.dir.symlink_metadata(&path).or_code()?.is_dir() {
            return Err(ErrorCode::IsDirectory);
        }
        self.dir.remove_file(path).or_code()?;
        self.names().forget(parent, name);
        Ok(())
    }

    fn remove_directory(&self, parent: Node, name: &str) -> Result<()> {
        self.dir.remove_dir(self.child(parent, name)?).or_code()?;
        self.names().forget(parent, name);
        Ok(())
    }

    fn rename(&self, parent: Node, name: &str, new_parent: Node, new_name: &str) -> Result<()> {
        let (old, new) = (self.child(parent, name)?, self.child(new_parent, new_name)?);
        self.dir.rename(old, &self.dir, new).or_code()?;
        if (parent, name) != (new_parent, new_name) {
            self.names().moved(parent, name, new_parent, new_name);
        }
        Ok(())
    }

    fn read_directory(&self, node: Node) -> Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in self.dir.read_dir(self.path(node)?).or_code()? {
            let entry = entry.or_code()?;
            // A name that is no Unicode can't be told to a guest, nor opened by it.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, kind: host::kind(entry.file_type().or_code()?) });
            }
        }
        Ok(entries)
    }

    fn sync_directory(&self, node: Node) -> Result<()> {
        // Windows opens no directories for that, and keeps their entries without being asked.
        if cfg!(windows) {
            return Ok(());
        }
        self.dir.open(self.path(node)?).and_then(|directory| directory.sync_all()).or_code()
    }

    fn set_times(
        &self,
        node: Node,
        atime: Option<SystemTime>,
        mtime: Option<SystemTime>,
    ) -> Result<()> {
        host::set_times(&self.dir, &self.path(node)?, atime, mtime).or_code()
    }

    fn set_mode(&self, node: Node, mode: u32) -> Result<()> {
        host::set_mode(&self.dir, &self.path(node)?, mode).or_code()
    }

    fn mode(&self, node: Node) -> Result<Option<u32>> {
        Ok(host::mode(&self.dir.symlink_metadata(self.path(node)?).or_code()?))
    }
}

/// An open file of the host. The lock keeps an append from being split by another.
struct VolumeFile(Mutex<fs::File>);

impl VolumeFile {
    fn file(&self) -> MutexGuard<'_, fs::File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File for VolumeFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        host::read_at(&self.file(), buffer, offset).or_code()
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> Result<usize> {
        host::write_at(&self.file(), buffer, offset).or_code()
    }

    fn append(&self, buffer: &[u8]) -> Result<()> {
        let mut file = self.file();
        file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(buffer)).or_code()
    }

    fn set_len(&self, size: u64) -> Result<()> {
        self.file().set_len(size).or_code()
    }

    fn sync(&self) -> Result<()> {
        self.file().sync_all().or_code()
    }

    fn stat(&self) -> Result<Metadata> {
        let host = HostMetadata::from_file(&self.file()).or_code()?;
        Ok(metadata(&host))
    }
}
