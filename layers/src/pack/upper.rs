//! A snapshot's upper as a layer.

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use super::{
    Archive, Omitted,
    archive::unread,
    filter::Filter,
    walk::{Pending, split},
};
use crate::{
    Snapshot,
    error::{Error, Result},
    tree::{Attributes, Directory, Encoding, Kind},
    union::{Access, UnionFs},
};

/// Writes what the upper of a snapshot changes in its lowers. The cost is that of the changes.
pub(crate) fn pack_upper(
    snapshot: &Snapshot,
    omitted: &Omitted,
    archive: &mut Archive<impl Write>,
) -> Result<()> {
    let upper = Directory::open_root(&snapshot.upper, Encoding::host())
        .map_err(Error::io("open", &snapshot.upper))?;
    let lowers = lowers(snapshot)?;
    pack_root(&upper, snapshot, archive)?;
    let filter = Filter { omitted, lowers: &lowers };
    let mut packer = Packer { filter, archive, open: None, upper: &upper };
    let mut pending = Pending::new();
    pending.add(b"", entries(&upper).map_err(unread("list", b""))?);
    while let Some((path, kind)) = pending.next() {
        packer.entry(&path, kind, &mut pending)?;
    }
    Ok(())
}

/// The lowers alone, as a guest that changed nothing sees them.
pub(crate) fn lowers(snapshot: &Snapshot) -> Result<UnionFs> {
    let below = Snapshot {
        lowers: snapshot.lowers.clone(),
        upper: Path::new("").to_owned(),
        work: Path::new("").to_owned(),
    };
    UnionFs::open(&below, Access::ReadOnly)
        .map_err(|error| unread(error.action, error.path.as_bytes())(error.source))
}

/// The root directory is an entry where its mode or owner is not that of the topmost lower's.
fn pack_root(
    upper: &Directory,
    snapshot: &Snapshot,
    archive: &mut Archive<impl Write>,
) -> Result<()> {
    let Some(top) = snapshot.lowers.first() else { return Ok(()) };
    let below = Directory::open_root(&top.path, Encoding::host())
        .and_then(|root| root.stat_self())
        .map_err(Error::io("open", &top.path))?;
    let own = upper.stat_self().map_err(unread("look at", b""))?;
    if (own.mode, own.uid, own.gid) == (below.mode, below.uid, below.gid) {
        return Ok(());
    }
    let attributes =
        Attributes { uid: own.uid, gid: own.gid, ..Attributes::new(own.mode, own.mtime) };
    archive.directory(b".", &attributes)
}

fn entries(directory: &Directory) -> io::Result<Vec<(Box<[u8]>, Kind)>> {
    Ok(directory.entries()?.into_iter().map(|entry| (entry.name, entry.kind)).collect())
}

struct Packer<'a, W: Write> {
    filter: Filter<'a>,
    archive: &'a mut Archive<W>,
    upper: &'a Directory,
    /// The directory of the latest entry.
    open: Option<(Vec<u8>, Arc<Directory>)>,
}

impl<W: Write> Packer<'_, W> {
    fn entry(&mut self, path: &[u8], kind: Kind, pending: &mut Pending<Kind>) -> Result<()> {
        let (parent, name) = split(path);
        let parent = self.directory(parent).map_err(unread("open the directory of", path))?;
        if self.filter.leaves_out(&parent, path, kind).map_err(unread("look at", path))? {
            return Ok(());
        }
        if kind == Kind::Whiteout {
            return self.archive.whiteout(path);
        }
        let attributes =
            parent.attributes(name, kind).map_err(unread("read the attributes of", path))?;
        match kind {
            Kind::Directory => {
                self.archive.directory(path, &attributes)?;
                let directory = parent.open_dir(name).map_err(unread("open", path))?;
                if directory.is_opaque().map_err(unread("open", path))? {
                    self.archive.opaque(path)?;
                }
                pending.add(path, entries(&directory).map_err(unread("list", path))?);
                Ok(())
            }
            Kind::File => {
                let stat = parent.stat(name, kind).map_err(unread("look at", path))?;
                let content = parent.open_file(name, false).map_err(unread("open", path))?;
                self.archive.file(path, &stat, &attributes, content)
            }
            Kind::Symlink => {
                let target = parent.read_link(name).map_err(unread("read", path))?;
                self.archive.symlink(path, &target, &attributes)
            }
            _ => {
                let special = parent.read_special(name, kind).map_err(unread("look at", path))?;
                self.archive.special(path, special, &attributes)
            }
        }
    }

    fn directory(&mut self, path: &[u8]) -> io::Result<Arc<Directory>> {
        if let Some((open, directory)) = &self.open
            && open == path
        {
            return Ok(Arc::clone(directory));
        }
        let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        let directory = Arc::new(self.upper.open_dir_at(names)?);
        self.open = Some((path.to_vec(), Arc::clone(&directory)));
        Ok(directory)
    }
}
