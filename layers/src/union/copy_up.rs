//! Copying entries of lowers into the upper, before they change.

use std::{fs, io, sync::Arc};

use super::{
    FsError, FsResult, Node, ROOT,
    nodes::{Data, Name, Place, Tables},
};
use crate::tree::{Directory, Kind};

impl Tables {
    /// Puts a node into the upper, with all directories above it.
    pub(super) fn copy_up(&mut self, node: Node) -> FsResult<()> {
        self.copy_up_as(node, true)
    }

    /// As [`copy_up`](Self::copy_up), but a regular file arrives empty.
    pub(super) fn copy_up_empty(&mut self, node: Node) -> FsResult<()> {
        self.copy_up_as(node, false)
    }

    fn copy_up_as(&mut self, node: Node, content: bool) -> FsResult<()> {
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
            self.copy_one_up(next, content)?;
        }
        Ok(())
    }

    /// Copies a node up whose parent is in the upper.
    fn copy_one_up(&mut self, node: Node, content: bool) -> FsResult<()> {
        let (from, name, kind) = self.location(node)?;
        let parent = self.node(node)?.parent;
        let to = self.directory(parent, Place::Upper)?;
        let parent_times = to.stat_self()?;
        match kind {
            Kind::File => self.copy_file_up(&from, &to, &name, content)?,
            Kind::Directory => to.make_dir(&name, 0o700)?,
            Kind::Symlink => to.symlink(&name, &from.read_link(&name)?)?,
            _ => to.make_special(&name, from.read_special(&name, kind)?, 0o600)?,
        }
        if kind != Kind::File {
            to.set_attributes(&name, kind, &from.attributes(&name, kind)?)?;
        }
        // A copy is no change: overlayfs keeps the parent's times as well.
        to.set_own_times(Some(parent_times.atime), Some(parent_times.mtime))?;
        self.moved_up(node)
    }

    /// Copies a file by way of the work directory, so that it appears whole.
    fn copy_file_up(
        &mut self,
        from: &Directory,
        to: &Directory,
        name: &Name,
        content: bool,
    ) -> FsResult<()> {
        let attributes = from.attributes(name, Kind::File)?;
        let work = self.work()?;
        let temporary = self.temporary_name();
        let copied = (|| -> io::Result<()> {
            let mut copy = work.create_file(&temporary, 0o600)?;
            if content {
                io::copy(&mut from.open_file(name, false)?, &mut copy)?;
            }
            work.set_file_attributes(&copy, &attributes)?;
            drop(copy);
            work.rename(&temporary, Kind::File, to, name)
        })();
        if copied.is_err() {
            // What is left is removed with the work directory at the latest.
            let _ = work.remove(&temporary, Kind::File);
        }
        Ok(copied?)
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
            for name in whiteouts {
                upper.remove(&name, Kind::Whiteout)?;
            }
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
