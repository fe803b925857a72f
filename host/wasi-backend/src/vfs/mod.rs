//! What the guest sees as its files: one tree made of the root file system and of what is
//! mounted over it.
//!
//! All path resolution of the guest happens here, one name at a time, so that symbolic links
//! lead to places in the guest's own tree and never to the host's. A [`FileSystem`] only ever
//! answers for a name in a directory of its own.

mod copy;
mod file_system;
mod memory;
mod mount;
mod union;
mod volume;
mod walk;

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use silo_layers::Digest;

pub(crate) use copy::Shared;
pub(crate) use file_system::{DirEntry, File, FileKind, FileSystem, Metadata, Node, OpenOptions};
pub(crate) use mount::assemble;
pub(crate) use volume::Volume;
pub(crate) use walk::{Entry, Walked};

pub(crate) use crate::filesystem::ErrorCode;

/// The result of a file operation, failing as POSIX names it.
pub(crate) type Result<T, E = ErrorCode> = std::result::Result<T, E>;

/// The guest's tree.
pub(crate) struct Vfs {
    /// The root file system, then what is mounted.
    mounts: Vec<Mounted>,
    /// Which of `mounts` covers a place.
    points: HashMap<Location, usize>,
}

struct Mounted {
    fs: Box<dyn FileSystem>,
    readonly: bool,
}

/// An object in the tree: a node of one of its file systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Location {
    /// Index of the file system.
    pub(crate) mount: usize,
    /// The node in it.
    pub(crate) node: Node,
}

/// A directory with the way that led to it, which `..` goes back.
pub(crate) struct Directory {
    pub(crate) at: Location,
    parent: Option<Arc<Self>>,
    /// Its name in `parent`; empty for the root.
    name: String,
}

impl Vfs {
    /// A tree with nothing mounted.
    pub(crate) fn new(root: Box<dyn FileSystem>) -> Self {
        Self { mounts: vec![Mounted { fs: root, readonly: false }], points: HashMap::new() }
    }

    /// Places `fs` over the object at `point`.
    pub(crate) fn mount(&mut self, point: Location, fs: Box<dyn FileSystem>, readonly: bool) {
        self.mounts.push(Mounted { fs, readonly });
        self.points.insert(point, self.mounts.len() - 1);
    }

    /// Keeps the guest from changing the root file system.
    pub(crate) fn make_root_readonly(&mut self) {
        self.mounts[0].readonly = true;
    }

    /// The root directory.
    pub(crate) fn root(&self) -> Arc<Directory> {
        let at = Location { mount: 0, node: self.mounts[0].fs.root() };
        Arc::new(Directory { at: self.uncover(at), parent: None, name: String::new() })
    }

    /// What is seen at a place: the root of what is mounted there, or itself.
    fn uncover(&self, mut at: Location) -> Location {
        while let Some(&mount) = self.points.get(&at) {
            at = Location { mount, node: self.mounts[mount].fs.root() };
        }
        at
    }

    fn fs(&self, at: Location) -> &dyn FileSystem {
        &*self.mounts[at.mount].fs
    }

    fn writable(&self, at: Location) -> Result<&dyn FileSystem> {
        let mounted = &self.mounts[at.mount];
        if mounted.readonly { Err(ErrorCode::ReadOnly) } else { Ok(&*mounted.fs) }
    }

    /// Attributes of an object.
    pub(crate) fn stat(&self, at: Location) -> Result<Metadata> {
        self.fs(at).stat(at.node)
    }

    /// The number that tells an object from others of its file system.
    pub(crate) fn inode(&self, at: Location) -> Result<u64> {
        self.fs(at).inode(at.node)
    }

    /// The image's layer that an object is in, unchanged.
    pub(crate) fn layer(&self, at: Location) -> Option<Digest> {
        self.fs(at).layer(at.node)
    }

    /// Where a symbolic link leads.
    pub(crate) fn read_link(&self, at: Location) -> Result<String> {
        self.fs(at).read_link(at.node)
    }

    /// The entries of a directory by name, without `.` and `..`: the same on every host.
    pub(crate) fn read_directory(&self, at: Location) -> Result<Vec<DirEntry>> {
        let mut entries = self.fs(at).read_directory(at.node)?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Opens an existing file.
    pub(crate) fn open(&self, at: Location, options: OpenOptions) -> Result<Arc<dyn File>> {
        let changes = options.write || options.truncate;
        let fs = if changes { self.writable(at)? } else { self.fs(at) };
        fs.open(at.node, options)
    }

    /// Makes and opens the file that `entry` says is missing.
    pub(crate) fn create(&self, entry: &Entry) -> Result<(Location, Arc<dyn File>)> {
        if entry.directory_wanted {
            return Err(ErrorCode::IsDirectory);
        }
        let parent = entry.parent.at;
        let (node, file) = self.writable(parent)?.create(parent.node, &entry.name)?;
        Ok((Location { mount: parent.mount, node }, file))
    }

    /// mkdir(2).
    pub(crate) fn create_directory(&self, base: &Arc<Directory>, path: &str) -> Result<()> {
        let entry = self.walk(base, path, false)?.missing()?;
        let parent = entry.parent.at;
        self.writable(parent)?.create_directory(parent.node, &entry.name).map(drop)
    }

    /// symlink(2).
    pub(crate) fn symlink(&self, target: &str, base: &Arc<Directory>, path: &str) -> Result<()> {
        let entry = self.walk(base, path, false)?.missing()?;
        if target.is_empty() || entry.directory_wanted {
            return Err(ErrorCode::NoEntry);
        }
        let parent = entry.parent.at;
        self.writable(parent)?.symlink(parent.node, &entry.name, target)
    }

    /// link(2).
    pub(crate) fn link(&self, old: Location, base: &Arc<Directory>, path: &str) -> Result<()> {
        if self.stat(old)?.kind == FileKind::Directory {
            return Err(ErrorCode::NotPermitted);
        }
        let entry = self.walk(base, path, false)?.missing()?;
        let parent = entry.parent.at;
        if parent.mount != old.mount {
            return Err(ErrorCode::CrossDevice);
        }
        if entry.directory_wanted {
            return Err(ErrorCode::NoEntry);
        }
        self.writable(parent)?.link(old.node, parent.node, &entry.name)
    }

    /// unlink(2).
    pub(crate) fn unlink(&self, base: &Arc<Directory>, path: &str) -> Result<()> {
        let entry = match self.walk(base, path, false)? {
            Walked::Directory(_) => return Err(ErrorCode::IsDirectory),
            Walked::Entry(entry) => entry,
        };
        entry.found.ok_or(ErrorCode::NoEntry)?;
        removable(&entry)?;
        let parent = entry.parent.at;
        self.writable(parent)?.unlink(parent.node, &entry.name)
    }

    /// rmdir(2).
    pub(crate) fn remove_directory(&self, base: &Arc<Directory>, path: &str) -> Result<()> {
        let entry = match self.walk(base, path, false)? {
            Walked::Directory(directory) => Entry::of(&directory)?,
            Walked::Entry(entry) if entry.found.is_none() => return Err(ErrorCode::NoEntry),
            Walked::Entry(_) => return Err(ErrorCode::NotDirectory),
        };
        removable(&entry)?;
        let parent = entry.parent.at;
        self.writable(parent)?.remove_directory(parent.node, &entry.name)
    }

    /// rename(2).
    pub(crate) fn rename(
        &self,
        old_base: &Arc<Directory>,
        old: &str,
        new_base: &Arc<Directory>,
        new: &str,
    ) -> Result<()> {
        let from = self.walk(old_base, old, false)?.into_entry()?;
        from.found.ok_or(ErrorCode::NoEntry)?;
        let to = self.walk(new_base, new, false)?.into_entry()?;
        if to.directory_wanted && to.found.is_none() && from.kind != FileKind::Directory {
            return Err(ErrorCode::NotDirectory);
        }
        removable(&from)?;
        removable(&to)?;
        let (source, target) = (from.parent.at, to.parent.at);
        if source.mount != target.mount {
            return Err(ErrorCode::CrossDevice);
        }
        self.writable(source)?.rename(source.node, &from.name, target.node, &to.name)
    }

    /// fsync(2) of a directory.
    pub(crate) fn sync_directory(&self, at: Location) -> Result<()> {
        self.fs(at).sync_directory(at.node)
    }

    /// Sets permissions, which are none of the guest's, but are the image's.
    fn set_mode(&self, at: Location, mode: u32) -> Result<()> {
        self.writable(at)?.set_mode(at.node, mode)
    }

    /// Sets the times that are given.
    pub(crate) fn set_times(
        &self,
        at: Location,
        atime: Option<SystemTime>,
        mtime: Option<SystemTime>,
    ) -> Result<()> {
        self.writable(at)?.set_times(at.node, atime, mtime)
    }
}

/// Whether an entry may go: what is mounted somewhere holds its place.
fn removable(entry: &Entry) -> Result<()> {
    match entry.found {
        Some(at) if at.mount != entry.parent.at.mount => Err(ErrorCode::Busy),
        _ => Ok(()),
    }
}
