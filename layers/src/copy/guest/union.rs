//! The union file system as a tree to copy from and to.

use std::io::Read;

use super::{Given, GuestTree, Seen, Xattrs, unpack::copy_pieces};
use crate::{
    tree::Special,
    union::{FsError, FsResult, Node, OpenOptions, ROOT, UnionFs},
};

/// Permissions of a directory that is being made: none but its owner's.
const UNFINISHED: u32 = 0o700;

impl UnionFs {
    fn child(&self, parent: Node, name: &[u8]) -> FsResult<Node> {
        self.find(parent, name, crate::union::Follow::AllButLast)
    }

    fn seen(&self, node: Node) -> FsResult<Seen> {
        Ok(Seen { kind: self.raw_kind(node)?.into(), stat: self.raw_stat(node)? })
    }

    fn give(&self, node: Node, given: &Given) -> FsResult<()> {
        if let Some((uid, gid)) = given.owner {
            self.set_owner(node, uid, gid)?;
        }
        self.set_mode(node, given.mode)?;
        self.set_times(node, None, Some(given.mtime))
    }
}

/// Names of any bytes can be read and not made: the guest may have no way to say them.
fn text(name: &[u8]) -> FsResult<&str> {
    str::from_utf8(name).map_err(|_| FsError::Invalid)
}

impl GuestTree for UnionFs {
    type Directory = Node;

    fn root(&self) -> FsResult<Node> {
        Ok(ROOT)
    }

    fn look(&self, parent: &Node, name: &[u8]) -> FsResult<Seen> {
        self.seen(self.child(*parent, name)?)
    }

    fn look_at(&self, directory: &Node) -> FsResult<Seen> {
        self.seen(*directory)
    }

    fn enter(&self, parent: &Node, name: &[u8]) -> FsResult<Node> {
        self.child(*parent, name)
    }

    fn list(&self, directory: &Node) -> FsResult<Vec<Box<[u8]>>> {
        Ok(Self::list(self, *directory)?.into_iter().map(|(name, _)| name).collect())
    }

    fn target(&self, parent: &Node, name: &[u8]) -> FsResult<Vec<u8>> {
        Ok(Self::target(self, self.child(*parent, name)?)?.to_vec())
    }

    fn read(&self, parent: &Node, name: &[u8]) -> FsResult<(Seen, Box<dyn Read + '_>)> {
        let node = self.child(*parent, name)?;
        let file = self.open_file(node, OpenOptions::READ)?;
        Ok((self.seen(node)?, Box::new(file.into_reader())))
    }

    fn write(
        &self,
        parent: &Node,
        name: &[u8],
        content: &mut dyn Read,
        given: &Given,
    ) -> FsResult<()> {
        let (node, file) = self.create(*parent, text(name)?, false, given.mode)?;
        file.set_len(0)?;
        copy_pieces(content, |piece, position| file.write_at(piece, position))?;
        self.give(node, given)
    }

    fn make_directory(&self, parent: &Node, name: &[u8]) -> FsResult<Node> {
        self.mkdir(*parent, text(name)?, UNFINISHED)
    }

    fn finish(&self, directory: &Node, given: &Given) -> FsResult<()> {
        self.give(*directory, given)
    }

    fn symlink(&self, parent: &Node, name: &[u8], target: &[u8], given: &Given) -> FsResult<()> {
        let node = Self::symlink(self, *parent, text(name)?, text(target)?)?;
        if let Some((uid, gid)) = given.owner {
            self.set_owner(node, uid, gid)?;
        }
        self.set_times(node, None, Some(given.mtime))
    }

    fn link(&self, from: (&Node, &[u8]), to: (&Node, &[u8])) -> FsResult<()> {
        Self::link(self, self.child(*from.0, from.1)?, *to.0, text(to.1)?)
    }

    fn remove(&self, parent: &Node, name: &[u8]) -> FsResult<()> {
        self.unlink(*parent, text(name)?)
    }

    fn xattrs(&self, parent: &Node, name: &[u8]) -> FsResult<Xattrs> {
        Ok(self.attributes(self.child(*parent, name)?)?.xattrs)
    }

    fn special(&self, parent: &Node, name: &[u8], _: &Seen) -> FsResult<Special> {
        Self::special(self, self.child(*parent, name)?)
    }
}
