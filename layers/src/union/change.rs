//! Making, removing and renaming entries.

use std::{fs, io, sync::Arc};

use super::{
    FsError, FsResult, Node, ROOT,
    nodes::{Place, Tables},
};
use crate::tree::{Directory, Kind};

/// `S_ISGID` of inode(7).
const SET_GROUP_ID: u32 = 0o2000;

/// What a name stands for in the layers, as far as changing it matters.
#[derive(Clone, Copy)]
struct Slot {
    /// What the guest sees.
    visible: Option<Kind>,
    /// What the upper has, whiteouts included.
    upper: Option<Kind>,
    /// What shows through when the upper has nothing.
    lower: Option<Kind>,
}

impl Slot {
    /// What must be in the upper for the name to be free.
    fn when_removed(self) -> Option<Kind> {
        self.lower.map(|_| Kind::Whiteout)
    }
}

/// What a new entry has from its directory: with set-group-ID there, the group, and directories the bit
/// itself (inode(7), `S_ISGID`).
#[derive(Clone, Copy)]
struct Legacy {
    group: Option<u32>,
}

impl Legacy {
    fn of(directory: &Directory) -> io::Result<Self> {
        let stat = directory.stat_self()?;
        Ok(Self { group: (stat.mode & SET_GROUP_ID != 0).then_some(stat.gid) })
    }

    const fn directory_mode(self) -> u32 {
        if self.group.is_some() { SET_GROUP_ID } else { 0 }
    }

    fn give_group(self, directory: &Directory, name: &[u8]) -> io::Result<()> {
        self.group.map_or(Ok(()), |group| directory.set_group(name, group))
    }
}

impl Tables {
    fn slot(&mut self, parent: Node, name: &[u8]) -> FsResult<Slot> {
        Ok(self.children(parent)?.get(name).map_or(
            Slot { visible: None, upper: None, lower: None },
            |child| Slot {
                visible: child.visible(),
                upper: child.upper,
                lower: child.lower.as_ref().map(|lower| lower.kind),
            },
        ))
    }

    /// Makes the new entry `name` by `make`, which gets a directory and the name to make it by, and
    /// what the entry inherits.
    fn make<T>(
        &mut self,
        parent: Node,
        name: &[u8],
        kind: Kind,
        make: impl FnOnce(&Directory, &[u8], Legacy) -> io::Result<T>,
    ) -> FsResult<(Node, T)> {
        let slot = self.slot(parent, name)?;
        if slot.visible.is_some() {
            return Err(FsError::Exists);
        }
        self.copy_up(parent)?;
        let upper = self.directory(parent, Place::Upper)?;
        let legacy = Legacy::of(&upper)?;
        let made = if slot.upper.is_some() {
            let (work, temporary) = (self.work()?, self.temporary_name());
            let made = make(&work, &temporary, legacy)?;
            if kind == Kind::Directory {
                work.open_dir(&temporary)?.set_opaque()?;
            }
            work.replace(&temporary, kind, &upper, name, slot.upper)?;
            made
        } else {
            make(&upper, name, legacy)?
        };
        let node = self.add(parent, name, kind, Place::Upper, Vec::new())?;
        self.move_node(node, parent, name)?;
        Ok((node, made))
    }

    pub(super) fn create(
        &mut self,
        parent: Node,
        name: &[u8],
        mode: u32,
    ) -> FsResult<(Node, Arc<fs::File>)> {
        let make = |directory: &Directory, name: &[u8], legacy: Legacy| {
            let file = directory.create_file(name, mode)?;
            legacy.give_group(directory, name)?;
            // The mask of whoever runs this process is not the guest's (umask(2)).
            if directory.stat_file(&file)?.mode != mode & 0o7777 {
                directory.set_mode(name, mode)?;
            }
            Ok(file)
        };
        let (node, file) = self.make(parent, name, Kind::File, make)?;
        let file = Arc::new(file);
        self.note_open(node, &file)?;
        Ok((node, file))
    }

    pub(super) fn make_directory(
        &mut self,
        parent: Node,
        name: &[u8],
        mode: u32,
    ) -> FsResult<Node> {
        let make = |directory: &Directory, name: &[u8], legacy: Legacy| {
            directory.make_dir(name, 0o700)?;
            legacy.give_group(directory, name)?;
            directory.set_mode(name, mode & 0o1777 | legacy.directory_mode())
        };
        Ok(self.make(parent, name, Kind::Directory, make)?.0)
    }

    pub(super) fn make_symlink(
        &mut self,
        parent: Node,
        name: &[u8],
        target: &[u8],
    ) -> FsResult<Node> {
        let make = |directory: &Directory, name: &[u8], legacy: Legacy| {
            directory.symlink(name, target)?;
            legacy.give_group(directory, name)
        };
        Ok(self.make(parent, name, Kind::Symlink, make)?.0)
    }

    pub(super) fn make_link(&mut self, node: Node, parent: Node, name: &[u8]) -> FsResult<()> {
        let kind = self.node(node)?.kind;
        if kind == Kind::Directory {
            return Err(FsError::NotPermitted);
        }
        if self.slot(parent, name)?.visible.is_some() {
            return Err(FsError::Exists);
        }
        let inode = self.inode(node)?;
        self.copy_up(node)?;
        let (source, source_name, _) = self.location(node)?;
        let make = |directory: &Directory, name: &[u8], _| {
            source.hard_link(&source_name, kind, directory, name)
        };
        self.make(parent, name, kind, make)?;
        if let Some(identity) = self.stat(node)?.identity {
            self.linked.insert(identity, inode);
        }
        Ok(())
    }

    /// Removes a name, of anything but a directory.
    pub(super) fn unlink(&mut self, parent: Node, name: &[u8]) -> FsResult<()> {
        let slot = self.slot(parent, name)?;
        match slot.visible {
            None => return Err(FsError::NotFound),
            Some(Kind::Directory) => return Err(FsError::IsDirectory),
            Some(_) => {}
        }
        self.forget_identity(parent, name, slot)?;
        self.remove(parent, name, slot)
    }

    /// The host may give a removed file's identity to the next one.
    fn forget_identity(&mut self, parent: Node, name: &[u8], slot: Slot) -> FsResult<()> {
        if slot.upper.is_none() || self.linked.is_empty() {
            return Ok(());
        }
        let node = self.lookup(parent, name)?;
        let stat = self.stat(node)?;
        if let Some(identity) = stat.identity.filter(|_| stat.nlink <= 1) {
            self.linked.remove(&identity);
        }
        Ok(())
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&mut self, parent: Node, name: &[u8]) -> FsResult<()> {
        let slot = self.slot(parent, name)?;
        match slot.visible {
            None => return Err(FsError::NotFound),
            Some(Kind::Directory) => {}
            Some(_) => return Err(FsError::NotDirectory),
        }
        self.check_empty(parent, name)?;
        self.close_directories();
        self.remove(parent, name, slot)
    }

    fn check_empty(&mut self, parent: Node, name: &[u8]) -> FsResult<()> {
        let node = self.lookup(parent, name)?;
        let empty = self.children(node)?.values().all(|child| child.visible().is_none());
        if empty { Ok(()) } else { Err(FsError::NotEmpty) }
    }

    fn remove(&mut self, parent: Node, name: &[u8], slot: Slot) -> FsResult<()> {
        self.copy_up(parent)?;
        let upper = self.directory(parent, Place::Upper)?;
        match (slot.upper, slot.when_removed()) {
            (Some(kind), None) => upper.remove(name, kind)?,
            (None, Some(_)) => upper.make_whiteout(name)?,
            (Some(_), Some(whiteout)) => {
                let (work, temporary) = (self.work()?, self.temporary_name());
                work.make_whiteout(&temporary)?;
                work.replace(&temporary, whiteout, &upper, name, slot.upper)?;
            }
            (None, None) => {}
        }
        self.vacate(parent, name, slot.when_removed())
    }

    /// Moves an entry, as rename(2).
    pub(super) fn rename(&mut self, from: (Node, &[u8]), to: (Node, &[u8])) -> FsResult<()> {
        let (source, target) = (self.slot(from.0, from.1)?, self.slot(to.0, to.1)?);
        let kind = source.visible.ok_or(FsError::NotFound)?;
        let node = self.lookup(from.0, from.1)?;
        if from == to {
            return Ok(());
        }
        if kind == Kind::Directory && self.is_within(to.0, node)? {
            return Err(FsError::Invalid);
        }
        if target.visible == Some(Kind::Directory) {
            let above = self.lookup(to.0, to.1)?;
            // Which is what is in its way, whatever the source is (rename(2)).
            if self.is_within(from.0, above)? {
                return Err(FsError::NotEmpty);
            }
        }
        if self.is_target_taken(kind, node, to, target)? {
            return Ok(());
        }
        self.copy_up(to.0)?;
        let directories =
            if kind == Kind::Directory { self.copy_tree_up(node)? } else { Vec::new() };
        self.copy_up(node)?;
        self.rename_in_upper(from, to, kind, source, target)?;
        if target.upper.is_some() || target.lower.is_some() {
            self.vacate(to.0, to.1, Some(kind))?;
        }
        // Its name is another from here on, so that the old name's node is not forgotten with it.
        if let Some(child) = self.children(from.0)?.get_mut(from.1) {
            child.node = None;
        }
        self.vacate(from.0, from.1, source.when_removed())?;
        self.move_node(node, to.0, to.1)?;
        for directory in directories {
            self.detach(directory)?;
        }
        Ok(())
    }

    /// Checks what is at the target of a rename. Returns whether it is the same file already, of which
    /// rename(2) says that nothing happens.
    fn is_target_taken(
        &mut self,
        kind: Kind,
        node: Node,
        to: (Node, &[u8]),
        target: Slot,
    ) -> FsResult<bool> {
        match (kind == Kind::Directory, target.visible) {
            (_, None) => Ok(false),
            (true, Some(Kind::Directory)) => self.check_empty(to.0, to.1).map(|()| false),
            (false, Some(Kind::Directory)) => Err(FsError::IsDirectory),
            (true, Some(_)) => Err(FsError::NotDirectory),
            (false, Some(_)) => {
                let other = self.lookup(to.0, to.1)?;
                let both_upper = [node, other].map(|node| self.node(node).map(|state| state.place));
                if both_upper.iter().any(|place| !matches!(place, Ok(Place::Upper))) {
                    return Ok(false);
                }
                let (one, other) = (self.stat(node)?.identity, self.stat(other)?.identity);
                Ok(one.is_some() && one == other)
            }
        }
    }

    fn rename_in_upper(
        &mut self,
        from: (Node, &[u8]),
        to: (Node, &[u8]),
        kind: Kind,
        source_slot: Slot,
        target: Slot,
    ) -> FsResult<()> {
        let source = self.directory(from.0, Place::Upper)?;
        let destination = self.directory(to.0, Place::Upper)?;
        if kind == Kind::Directory {
            self.close_directories();
            if target.lower.is_some() {
                source.open_dir(from.1)?.set_opaque()?;
            }
        }
        source.replace(from.1, kind, &destination, to.1, target.upper)?;
        if source_slot.lower.is_some() {
            source.make_whiteout(from.1)?;
        }
        Ok(())
    }

    /// Names of a directory that the guest sees and can say, with their nodes.
    pub(super) fn visible(&mut self, directory: Node) -> FsResult<Vec<(String, Node, Kind)>> {
        let names: Vec<_> = self
            .children(directory)?
            .iter()
            .filter_map(|(name, child)| {
                let kind = child.visible()?;
                Some((String::from_utf8(name.to_vec()).ok()?, child.node, kind))
            })
            .collect();
        names
            .into_iter()
            .map(|(name, node, kind)| {
                let node = match node {
                    Some(node) => node,
                    None => self.lookup(directory, name.as_bytes())?,
                };
                Ok((name, node, kind))
            })
            .collect()
    }

    /// A name that is free in the work directory.
    pub(super) fn temporary_name(&mut self) -> Vec<u8> {
        self.temporaries += 1;
        format!("#{}", self.temporaries).into_bytes()
    }

    /// The number by which the guest tells files apart.
    pub(super) fn inode(&mut self, node: Node) -> FsResult<u64> {
        if let Some(inode) = self.node(node)?.inode {
            return Ok(inode);
        }
        let stat = self.stat(node)?;
        let state = self.node(node)?;
        let shared = state.place == Place::Upper && state.kind != Kind::Directory && stat.nlink > 1;
        let inode = match stat.identity {
            Some(identity) if shared && node != ROOT => {
                *self.linked.entry(identity).or_insert(node)
            }
            _ => node,
        };
        self.node_mut(node)?.inode = Some(inode);
        Ok(inode)
    }
}
