//! Copying entries of lowers into the upper, before they change.

use std::{fs, io, sync::Arc};

use super::{
    FsError, FsResult, Node, ROOT,
    nodes::{Data, Name, Place, Tables},
    sparse,
};
use crate::tree::{Directory, Kind};

impl Tables {
    /// Puts a node into the upper, with all directories above it.
    pub(super) fn copy_up(&mut self, node: Node) -> FsResult<()> {
        self.copy_up_to(node, u64::MAX)
    }

    /// As [`copy_up`](Self::copy_up), but of a regular file at most the first `length` bytes: the rest
    /// is about to be cut off.
    pub(super) fn copy_up_to(&mut self, node: Node, length: u64) -> FsResult<()> {
        let mut missing = Vec::new();
        let mut at = node;
        while self.node(at)?.place != Place::Upper {
            if self.node(at)?.removed {
                return Err(FsError::NotFound);
            }
            if at == ROOT {
                return Err(FsError::ReadOnly);
            }
            missing.push(at);
            at = self.node(at)?.parent;
        }
        while let Some(next) = missing.pop() {
            self.copy_one_up(next, length)?;
        }
        Ok(())
    }

    /// Copies a node up whose parent is in the upper. It is made in the work directory, so that it
    /// appears whole.
    fn copy_one_up(&mut self, node: Node, length: u64) -> FsResult<()> {
        let (from, name, kind) = self.location(node)?;
        let parent = self.node(node)?.parent;
        let to = self.directory(parent, Place::Upper)?;
        let parent_times = to.stat_self()?;
        let (work, temporary) = (self.work()?, self.temporary_name());
        let copied = (|| -> io::Result<()> {
            copy(&from, &name, kind, &work, &temporary, length)?;
            work.rename(&temporary, kind, &to, &name)
        })();
        if copied.is_err() {
            // What is left is removed with the work directory at the latest.
            let _ = work.remove(&temporary, kind);
        }
        copied?;
        // A copy is no change: overlayfs keeps the parent's times as well.
        to.set_own_times(Some(parent_times.atime), Some(parent_times.mtime))?;
        self.unsynced.insert(parent);
        self.moved_up(node)
    }

    /// Makes the copies durable by which a node is found in the upper: to the guest it was there always.
    pub(super) fn sync_above(&mut self, node: Node) -> FsResult<()> {
        let mut at = node;
        while at != ROOT && !self.unsynced.is_empty() {
            let state = self.node(at)?;
            if state.removed {
                return Ok(());
            }
            at = state.parent;
            if self.unsynced.contains(&at) {
                self.sync_directory(at)?;
            }
        }
        Ok(())
    }

    /// Makes a directory's names in the upper durable.
    pub(super) fn sync_directory(&mut self, node: Node) -> FsResult<()> {
        if self.node(node)?.place == Place::Upper {
            self.directory(node, Place::Upper)?.sync()?;
        }
        self.unsynced.remove(&node);
        Ok(())
    }

    /// Puts a directory with all that is visible in it into the upper. Returns those of it and the
    /// directories below that lowers take part in, to be [`detached`](Self::detach) when they have left
    /// the lowers.
    pub(super) fn copy_tree_up(&mut self, node: Node) -> FsResult<Vec<Node>> {
        self.copy_up(node)?;
        let mut merged = Vec::new();
        let mut pending = vec![node];
        while let Some(directory) = pending.pop() {
            self.children(directory)?;
            // What no lower takes part in holds nothing from lowers.
            if matches!(&self.node(directory)?.data, Data::Directory(data) if data.lowers.is_empty())
            {
                continue;
            }
            merged.push(directory);
            let visible: Vec<Name> = self
                .children(directory)?
                .iter()
                .filter(|(_, child)| child.visible().is_some())
                .map(|(name, _)| name.clone())
                .collect();
            for name in visible {
                let child = self.lookup(directory, &name)?;
                self.copy_up(child)?;
                if self.node(child)?.kind == Kind::Directory {
                    pending.push(child);
                }
            }
        }
        Ok(merged)
    }

    /// Takes from a directory, which is now where no lower shows through, what hid the lowers' entries.
    /// To the guest that is no change.
    pub(super) fn detach(&mut self, directory: Node) -> FsResult<()> {
        let mut whiteouts = Vec::new();
        self.children(directory)?.retain(|name, child| {
            child.lower = None;
            if child.upper == Some(Kind::Whiteout) {
                whiteouts.push(name.clone());
            }
            child.visible().is_some()
        });
        if !whiteouts.is_empty() {
            let upper = self.directory(directory, Place::Upper)?;
            let times = upper.stat_self()?;
            for name in whiteouts {
                upper.remove(&name, Kind::Whiteout)?;
            }
            upper.set_own_times(Some(times.atime), Some(times.mtime))?;
        }
        if let Data::Directory(data) = &mut self.node_mut(directory)?.data {
            data.lowers.clear();
        }
        Ok(())
    }

    /// The work directory.
    pub(super) fn work(&mut self) -> FsResult<Arc<Directory>> {
        self.work.clone().ok_or(FsError::ReadOnly)
    }

    /// Opens a file in the layer that has it now.
    pub(super) fn open_here(&mut self, node: Node, write: bool) -> FsResult<Arc<fs::File>> {
        let (directory, name, _) = self.location(node)?;
        let file = Arc::new(directory.open_file(&name, write)?);
        self.note_open(node, &file)?;
        Ok(file)
    }

    /// Notes that a file is open.
    pub(super) fn note_open(&mut self, node: Node, file: &Arc<fs::File>) -> FsResult<()> {
        if let Data::File(state) = &mut self.node_mut(node)?.data {
            state.open.retain(|open| open.strong_count() > 0);
            state.open.push(Arc::downgrade(file));
        }
        Ok(())
    }
}

/// Copies an entry, of a regular file at most the first `length` bytes; of a directory only itself.
fn copy(
    from: &Directory,
    name: &[u8],
    kind: Kind,
    to: &Directory,
    to_name: &[u8],
    length: u64,
) -> io::Result<()> {
    let attributes = from.attributes(name, kind)?;
    let atime = from.stat(name, kind)?.atime;
    match kind {
        Kind::File => {
            let copy = to.create_file(to_name, 0o600)?;
            if length > 0 {
                sparse::copy(&from.open_file(name, false)?, &copy, length)?;
            }
            to.set_file_attributes(&copy, &attributes)?;
            copy.set_times(fs::FileTimes::new().set_accessed(atime))?;
            // After a crash the copy hides the original: it must not be there without its content.
            return if copy.metadata()?.len() > 0 { copy.sync_data() } else { Ok(()) };
        }
        Kind::Directory => to.make_dir(to_name, 0o700)?,
        Kind::Symlink => to.symlink(to_name, &from.read_link(name)?)?,
        _ => to.make_special(to_name, from.read_special(name, kind)?, 0o600)?,
    }
    to.set_attributes(to_name, kind, &attributes)?;
    to.set_times(to_name, kind, Some(atime), None)
}
