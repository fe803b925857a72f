//! A file system, or a part of it, as its guest sees it.

use std::io::Write;

use super::{Archive, Omitted, archive::unread, walk::Pending};
use crate::{
    error::Result,
    tree::Kind,
    union::{Node, OpenOptions, ROOT, UnionFs},
};

/// Writes a whole tree, the root directory without an entry of its own.
pub(crate) fn pack_tree(
    files: &UnionFs,
    omitted: &Omitted,
    archive: &mut Archive<impl Write>,
) -> Result<()> {
    pack_below(files, ROOT, b"", omitted, archive)
}

/// Writes a file, or a directory with all that is in it, under the path `name`.
pub(crate) fn pack_subtree(
    files: &UnionFs,
    node: Node,
    name: &[u8],
    archive: &mut Archive<impl Write>,
) -> Result<()> {
    pack_entry(files, node, name, archive)?;
    if files.raw_kind(node).map_err(unread("look at", name))? == Kind::Directory {
        pack_below(files, node, name, &Omitted::default(), archive)?;
    }
    Ok(())
}

fn pack_below(
    files: &UnionFs,
    directory: Node,
    name: &[u8],
    omitted: &Omitted,
    archive: &mut Archive<impl Write>,
) -> Result<()> {
    let mut pending = Pending::new();
    pending.add(name, files.list(directory).map_err(unread("list", name))?);
    while let Some((path, node)) = pending.next() {
        if omitted.excludes(&path) {
            continue;
        }
        pack_entry(files, node, &path, archive)?;
        if files.raw_kind(node).map_err(unread("look at", &path))? == Kind::Directory {
            pending.add(&path, files.list(node).map_err(unread("list", &path))?);
        }
    }
    Ok(())
}

fn pack_entry(
    files: &UnionFs,
    node: Node,
    path: &[u8],
    archive: &mut Archive<impl Write>,
) -> Result<()> {
    let attributes = files.attributes(node).map_err(unread("read the attributes of", path))?;
    match files.raw_kind(node).map_err(unread("look at", path))? {
        Kind::Directory => archive.directory(path, &attributes),
        Kind::File => {
            let stat = files.raw_stat(node).map_err(unread("look at", path))?;
            let file = files.open_file(node, OpenOptions::READ).map_err(unread("open", path))?;
            archive.file(path, &stat, &attributes, file.into_reader())
        }
        Kind::Symlink => {
            let target = files.target(node).map_err(unread("read", path))?;
            archive.symlink(path, &target, &attributes)
        }
        Kind::Whiteout => Ok(()),
        Kind::Fifo | Kind::CharDevice | Kind::BlockDevice | Kind::Socket => {
            let special = files.special(node).map_err(unread("look at", path))?;
            archive.special(path, special, &attributes)
        }
    }
}
