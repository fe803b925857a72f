//! What archives and comparisons are made from: names of any bytes, and all that an entry carries.

use std::sync::Arc;

use super::{Follow, FsResult, Node, ROOT, UnionFs, nodes::Name, resolve};
use crate::tree::{Attributes, Kind, Special, Stat};

impl UnionFs {
    /// The node at a path of any bytes, as [`resolve`](Self::resolve) finds it.
    pub(crate) fn find(&self, base: Node, path: &[u8], follow: Follow) -> FsResult<Node> {
        resolve::resolve(&mut self.tables(), base, path, follow)
    }

    /// What a directory holds, in no particular order.
    pub(crate) fn list(&self, directory: Node) -> FsResult<Vec<(Name, Node)>> {
        let mut tables = self.tables();
        let names: Vec<Name> = tables
            .children(directory)?
            .iter()
            .filter(|(_, child)| child.visible().is_some())
            .map(|(name, _)| name.clone())
            .collect();
        let node = |name: Name| tables.lookup(directory, &name).map(|node| (name, node));
        names.into_iter().map(node).collect()
    }

    pub(crate) fn raw_kind(&self, node: Node) -> FsResult<Kind> {
        Ok(self.tables().node(node)?.kind)
    }

    /// What the host says about a node.
    pub(crate) fn raw_stat(&self, node: Node) -> FsResult<Stat> {
        self.tables().stat(node)
    }

    /// The target of a symbolic link.
    pub(crate) fn target(&self, node: Node) -> FsResult<Arc<[u8]>> {
        self.tables().target(node)
    }

    /// What a fifo, device or socket is.
    pub(crate) fn special(&self, node: Node) -> FsResult<Special> {
        let (directory, name, kind) = self.tables().location(node)?;
        Ok(directory.read_special(&name, kind)?)
    }

    /// Mode, owner, time of change and extended attributes.
    pub(crate) fn attributes(&self, node: Node) -> FsResult<Attributes> {
        let mut tables = self.tables();
        if node != ROOT {
            let (directory, name, kind) = tables.location(node)?;
            return Ok(directory.attributes(&name, kind)?);
        }
        let stat = tables.stat(ROOT)?;
        let owner = Attributes { uid: stat.uid, gid: stat.gid, ..Attributes::new(0, stat.mtime) };
        Ok(Attributes { mode: stat.mode, ..owner })
    }
}
