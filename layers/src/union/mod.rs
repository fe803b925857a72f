//! The union file system: a snapshot's layers as one tree, in user space.
//!
//! It shows the guest what the kernel's overlayfs would show of the same snapshot, and leaves the same
//! changes in the upper, on any host and without mounting. Names are exact whatever the host makes of
//! them, and no path of the guest is ever resolved by the host.
//!
//! A file is copied up when it changes, whole, also when only its mode or times do: without `metacopy`
//! an upper has no way to say less. The copy shares the original's blocks where the host can do that,
//! keeps its holes, its access time and its extended attributes, and is on the disk before it is
//! visible. What is about to be cut off is not copied.
//!
//! Where it differs from overlayfs (with `redirect_dir`, `index` and `metacopy` off, as the linux backend
//! mounts it); `tests/overlayfs` holds all else equal:
//! - A directory of a lower can be renamed: it is copied up with all that is in it, where overlayfs
//!   answers `EXDEV`.
//! - A whiteout in a directory that no other layer has is not listed; overlayfs lists it, and finds
//!   nothing by its name.
//! - Two names of one file in the upper are one file always. In a user namespace overlayfs takes them for
//!   two when one was made in place of a whiteout, and renaming one to the other fails with `ESTALE`.
//! - A directory that was removed is gone for those who hold its node, too.
//! - Pipes, devices and sockets are not opened: they would lead out of the guest.
//! - Names that are not UTF-8 are not listed, as WASI has no way to say them; they count for `rmdir`.
//! - Permissions are stored, not enforced: the guest is the owner of its files.

mod change;
mod copy_up;
mod error;
mod file;
mod nodes;
mod raw;
mod resolve;
mod sparse;
#[cfg(test)]
mod tests;
mod types;

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

pub use error::{FsError, FsResult};
pub use file::File;
use nodes::{Data, LowerLayer, Place, Tables};
pub use types::{
    Access, DirEntry, FileKind, Follow, Metadata, Node, OpenOptions, Provenance, ROOT,
};

use crate::{
    Snapshot,
    tree::{Directory, Encoding, Kind, TreeError},
};

/// A snapshot's layers as one file system. Clones share it; it may be used from several threads.
#[derive(Clone)]
pub struct UnionFs {
    shared: Arc<Shared>,
}

struct Shared {
    tables: Mutex<Tables>,
    append: Mutex<()>,
    access: Access,
}

impl fmt::Debug for UnionFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnionFs").field("access", &self.shared.access).finish_non_exhaustive()
    }
}

impl UnionFs {
    /// Opens a snapshot whose trees have this host's encoding.
    pub fn open(snapshot: &Snapshot, access: Access) -> Result<Self, TreeError> {
        Self::open_encoded(snapshot, access, Encoding::host())
    }

    /// Opens a snapshot whose trees have the given encoding.
    pub fn open_encoded(
        snapshot: &Snapshot,
        access: Access,
        encoding: Encoding,
    ) -> Result<Self, TreeError> {
        let open = |path: &Path| open_root(path, encoding);
        let upper = match open(&snapshot.upper) {
            Err(error)
                if access == Access::ReadOnly
                    && error.source.kind() == std::io::ErrorKind::NotFound =>
            {
                None
            }
            result => Some(result?),
        };
        let work = match access {
            Access::ReadOnly => None,
            Access::ReadWrite => Some(Arc::new(open_work(&snapshot.work, encoding)?)),
        };
        let mut lowers = Vec::with_capacity(snapshot.lowers.len());
        for lower in &snapshot.lowers {
            lowers.push(LowerLayer { root: Arc::new(open(&lower.path)?), diff_id: lower.diff_id });
        }
        let tables = Mutex::new(Tables::new(upper, work, lowers, encoding));
        Ok(Self { shared: Arc::new(Shared { tables, append: Mutex::new(()), access }) })
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.shared.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tables, where changes are allowed.
    fn changing(&self) -> FsResult<MutexGuard<'_, Tables>> {
        match self.shared.access {
            Access::ReadOnly => Err(FsError::ReadOnly),
            Access::ReadWrite => Ok(self.tables()),
        }
    }

    fn lock_append(&self) -> MutexGuard<'_, ()> {
        self.shared.append.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node `name` in `parent`. Follows no link; `.` and `..` are refused.
    pub fn lookup(&self, parent: Node, name: &str) -> FsResult<Node> {
        self.tables().lookup(parent, resolve::check_name(name)?)
    }

    /// The node at `path`, from `base` or, with a leading `/`, from the root. Symbolic links are followed
    /// within the guest's root, where `..` of the root is the root; after 40 of them, `Loop`.
    pub fn resolve(&self, base: Node, path: &str, follow: Follow) -> FsResult<Node> {
        resolve::resolve(&mut self.tables(), base, path.as_bytes(), follow)
    }

    /// The directory of `path`'s last name, resolved, and that name, which need not exist. A trailing `/`
    /// demands a directory if there is something. The root, `.` and `..` are refused with `Invalid`.
    pub fn resolve_parent(&self, base: Node, path: &str) -> FsResult<(Node, String)> {
        resolve::resolve_parent(&mut self.tables(), base, path)
    }

    /// What a node is, without asking the host.
    pub fn kind(&self, node: Node) -> FsResult<FileKind> {
        Ok(self.tables().node(node)?.kind.into())
    }

    /// What stat(2) tells.
    pub fn stat(&self, node: Node) -> FsResult<Metadata> {
        let mut tables = self.tables();
        let stat = tables.stat(node)?;
        let inode = tables.inode(node)?;
        let state = tables.node(node)?;
        let nlink = if state.kind == Kind::Directory { 1 } else { stat.nlink };
        Ok(Metadata {
            node,
            kind: state.kind.into(),
            size: stat.size,
            nlink,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            atime: stat.atime,
            mtime: stat.mtime,
            ctime: stat.ctime,
            inode,
        })
    }

    /// The number that tells a file from others, as in [`Metadata::inode`], which asks the host once at most.
    pub fn inode(&self, node: Node) -> FsResult<u64> {
        self.tables().inode(node)
    }

    /// What a directory holds, `.` and `..` excluded, in no particular order.
    pub fn readdir(&self, node: Node) -> FsResult<Vec<DirEntry>> {
        let visible = self.tables().visible(node)?;
        let entry = |(name, node, kind): (_, _, Kind)| DirEntry { name, node, kind: kind.into() };
        Ok(visible.into_iter().map(entry).collect())
    }

    /// The target of a symbolic link. `Invalid` for anything else, also for a target that is not UTF-8.
    pub fn readlink(&self, node: Node) -> FsResult<String> {
        let target = self.tables().target(node)?;
        String::from_utf8(target.to_vec()).map_err(|_| FsError::Invalid)
    }

    /// Which layer a node comes from.
    pub fn provenance(&self, node: Node) -> FsResult<Provenance> {
        let tables = self.tables();
        Ok(match tables.node(node)?.place {
            Place::Upper => Provenance::Upper,
            Place::Lower(index) => {
                let lower = tables.lowers.get(index).ok_or(FsError::NotFound)?;
                Provenance::Lower { index, diff_id: lower.diff_id }
            }
        })
    }

    /// Opens a regular file. A file of a lower is copied up when it is opened to write.
    pub fn open_file(&self, node: Node, options: OpenOptions) -> FsResult<File> {
        if options.truncate && !options.writes() {
            return Err(FsError::Invalid);
        }
        let file = self.open_up_to(node, options, if options.truncate { 0 } else { u64::MAX })?;
        if options.truncate {
            file.set_len(0)?;
        }
        Ok(file)
    }

    /// Opens a regular file of which at most so many bytes will be wanted.
    fn open_up_to(&self, node: Node, options: OpenOptions, length: u64) -> FsResult<File> {
        let mut tables = self.tables();
        match tables.node(node)?.kind {
            Kind::File => {}
            Kind::Directory => return Err(FsError::IsDirectory),
            Kind::Symlink => return Err(FsError::Loop),
            _ => return Err(FsError::Unsupported),
        }
        if options.writes() {
            if self.shared.access == Access::ReadOnly {
                return Err(FsError::ReadOnly);
            }
            tables.copy_up_to(node, length)?;
        }
        let opened = tables.open_here(node, options.writes())?;
        let state = tables.node_mut(node)?;
        let moved = match (&mut state.data, state.place) {
            (Data::File(file), Place::Lower(_)) => Some(file.moved()),
            _ => None,
        };
        drop(tables);
        Ok(File::new(self.clone(), node, options, opened, moved))
    }

    /// Makes a regular file, or opens the one that is there unless `exclusive`, to read and write.
    pub fn create(
        &self,
        parent: Node,
        name: &str,
        exclusive: bool,
        mode: u32,
    ) -> FsResult<(Node, File)> {
        let bytes = resolve::check_name(name)?;
        let mut tables = self.tables();
        match tables.lookup(parent, bytes) {
            Ok(_) if exclusive => return Err(FsError::Exists),
            Ok(node) => {
                drop(tables);
                return Ok((node, self.open_file(node, OpenOptions::READ_WRITE)?));
            }
            Err(FsError::NotFound) => {}
            Err(error) => return Err(error),
        }
        if self.shared.access == Access::ReadOnly {
            return Err(FsError::ReadOnly);
        }
        let (node, file) = tables.create(parent, bytes, mode)?;
        drop(tables);
        Ok((node, File::new(self.clone(), node, OpenOptions::READ_WRITE, file, None)))
    }

    /// Makes a directory. Of `mode`, permissions and the sticky bit count, as for mkdir(2).
    pub fn mkdir(&self, parent: Node, name: &str, mode: u32) -> FsResult<Node> {
        let name = resolve::check_name(name)?;
        self.refuse_existing(parent, name)?;
        self.changing()?.make_directory(parent, name, mode)
    }

    /// Makes a symbolic link. The target may be any text but the empty one.
    pub fn symlink(&self, parent: Node, name: &str, target: &str) -> FsResult<Node> {
        let name = resolve::check_name(name)?;
        resolve::check_target(target)?;
        self.refuse_existing(parent, name)?;
        self.changing()?.make_symlink(parent, name, target.as_bytes())
    }

    /// Gives a file, not a directory, another name.
    pub fn link(&self, node: Node, parent: Node, name: &str) -> FsResult<()> {
        let name = resolve::check_name(name)?;
        self.refuse_existing(parent, name)?;
        self.changing()?.make_link(node, parent, name)
    }

    /// What is there is told before that the file system is read-only.
    fn refuse_existing(&self, parent: Node, name: &[u8]) -> FsResult<()> {
        match self.tables().lookup(parent, name) {
            Ok(_) => Err(FsError::Exists),
            Err(FsError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes a name of anything but a directory.
    pub fn unlink(&self, parent: Node, name: &str) -> FsResult<()> {
        self.changing()?.unlink(parent, resolve::check_name(name)?)
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, parent: Node, name: &str) -> FsResult<()> {
        self.changing()?.remove_directory(parent, resolve::check_name(name)?)
    }

    /// Moves an entry, in place of one of the same sort if there is one. A directory that lowers take part
    /// in is copied up whole.
    pub fn rename(&self, parent: Node, name: &str, to: Node, to_name: &str) -> FsResult<()> {
        let name = resolve::check_name(name)?;
        let mut tables = self.changing()?;
        // That there is nothing to move is told before what is wrong with its new name.
        tables.lookup(parent, name)?;
        tables.rename((parent, name), (to, resolve::check_name(to_name)?))
    }

    /// Sets the times given, of a symbolic link itself.
    pub fn set_times(
        &self,
        node: Node,
        atime: Option<SystemTime>,
        mtime: Option<SystemTime>,
    ) -> FsResult<()> {
        let mut tables = self.changing()?;
        if atime.is_none() && mtime.is_none() {
            return Ok(());
        }
        tables.copy_up(node)?;
        if node == ROOT {
            return Ok(tables.directory(ROOT, Place::Upper)?.set_own_times(atime, mtime)?);
        }
        let (directory, name, kind) = tables.location(node)?;
        Ok(directory.set_times(&name, kind, atime, mtime)?)
    }

    /// Cuts a regular file or extends it with zeros, to a length in bytes.
    pub fn set_len(&self, node: Node, length: u64) -> FsResult<()> {
        let options = OpenOptions { write: true, ..OpenOptions::default() };
        self.open_up_to(node, options, length)?.set_len(length)
    }

    /// Sees to it that the names in a directory survive a crash of the host, as fsync(2) of a directory.
    pub fn sync_directory(&self, node: Node) -> FsResult<()> {
        let mut tables = self.tables();
        if tables.node(node)?.kind != Kind::Directory {
            return Err(FsError::NotDirectory);
        }
        tables.sync_directory(node)
    }

    /// Sets the lower twelve bits of `st_mode`. `Unsupported` for a symbolic link.
    pub fn set_mode(&self, node: Node, mode: u32) -> FsResult<()> {
        let mut tables = self.changing()?;
        if tables.node(node)?.kind == Kind::Symlink {
            return Err(FsError::Unsupported);
        }
        tables.copy_up(node)?;
        if node == ROOT {
            return Ok(tables.directory(ROOT, Place::Upper)?.set_own_mode(mode)?);
        }
        let (directory, name, _) = tables.location(node)?;
        Ok(directory.set_mode(&name, mode)?)
    }

    /// Gives a file, of a symbolic link the link itself, another owner; nothing where the host keeps
    /// none, or not for this user. It clears set-user-ID and set-group-ID (chown(2)).
    pub fn set_owner(&self, node: Node, uid: u32, gid: u32) -> FsResult<()> {
        let mut tables = self.changing()?;
        if node == ROOT {
            return Err(FsError::Busy);
        }
        tables.copy_up(node)?;
        let (directory, name, _) = tables.location(node)?;
        Ok(directory.set_owner(&name, uid, gid)?)
    }
}

fn open_root(path: &Path, encoding: Encoding) -> Result<Directory, TreeError> {
    Directory::open_root(path, encoding).map_err(|source| TreeError {
        action: "open the layer",
        path: path.display().to_string(),
        source,
    })
}

/// The work directory, emptied of what an earlier user left.
fn open_work(path: &Path, encoding: Encoding) -> Result<Directory, TreeError> {
    let work = open_root(path, encoding)?;
    let clear = || {
        for entry in work.entries()? {
            work.remove_all(&entry.name, entry.kind)?;
        }
        Ok(())
    };
    clear().map_err(|source| TreeError {
        action: "empty the work directory",
        path: path.display().to_string(),
        source,
    })?;
    Ok(work)
}
