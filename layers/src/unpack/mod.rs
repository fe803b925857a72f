//! Unpacking: a layer's tar archive becomes a tree.
//!
//! The archive is hostile until proven otherwise. Paths that leave the layer are refused here; that
//! no entry is written through a symbolic link of an earlier one is seen to by [`Writer`], which
//! follows none.

mod entry;
mod path;
// The trees are looked at as Linux keeps them.
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

use std::io::Read;

use tar::EntryType;

use self::path::{Role, Target};
pub(crate) use self::{
    entry::{attributes, device},
    path::inside,
};
use crate::{
    error::{Error, Result},
    limits,
    streams::Watched,
    tarball::{End, Entry, Reader},
    tree::{Attributes, Special, TreeError, Writer},
};

/// No file of a layer is longer, in bytes: a map of a few bytes could otherwise stand for any
/// number of zeros.
pub(crate) const SIZE_MAX: u64 = 1 << 40;

/// Writes the tree of a layer whose uncompressed archive is `archive`; `what` it is, for messages.
/// Bytes after the archive's end are not read, and the last block need not be whole.
pub(crate) fn unpack(archive: impl Read, mut tree: Writer, what: &str) -> Result<End> {
    let mut archive = Reader::new(archive);
    let mut entries = 0;
    let mut plinks = false;
    let end = loop {
        let entry = match archive.next().map_err(|fault| fault.of(what))? {
            Ok(entry) => entry,
            Err(end) => break end,
        };
        entries += 1;
        if entries > limits::ENTRIES_MAX {
            return Err(path::refused(&entry.path, "the layer has more than 4194304 entries"));
        }
        plinks |= write_entry(&mut archive, &entry, &mut tree, what)? == Written::Aside;
    };
    if plinks {
        tree.remove(path::AUFS_LINKS).map_err(unwritten)?;
    }
    tree.finish().map_err(unwritten)?;
    Ok(end)
}

#[derive(PartialEq, Eq)]
enum Written {
    /// In the tree, if anywhere.
    InPlace,
    /// Where AUFS keeps files with several names, which are no part of the tree.
    Aside,
}

fn write_entry(
    archive: &mut Reader<impl Read>,
    entry: &Entry,
    tree: &mut Writer,
    what: &str,
) -> Result<Written> {
    let kind = entry.kind();
    let (target, written) = match path::role(&entry.path)? {
        Role::Whiteout(path) => {
            return tree.whiteout(&path).map(|()| Written::InPlace).map_err(unwritten);
        }
        Role::Opaque(path) => {
            return tree.opaque(&path).map(|()| Written::InPlace).map_err(unwritten);
        }
        Role::AufsLink(target) if is_file(kind) => (target, Written::Aside),
        Role::Ignored | Role::AufsLink(_) => return Ok(Written::InPlace),
        Role::Entry(target) => (target, Written::InPlace),
    };
    let attributes = attributes(entry)?;
    let refuse = |reason| Err(path::refused(&entry.path, reason));
    let Target { path, directory } = target;
    if path.is_empty() && kind != EntryType::Directory {
        return refuse("it takes the place of the root directory");
    }
    match kind {
        EntryType::Directory => tree.directory(&path, &attributes).map_err(unwritten)?,
        // Archives older than POSIX mark a directory by its name's last byte alone.
        EntryType::Regular if directory => tree.directory(&path, &attributes).map_err(unwritten)?,
        _ if is_file(kind) => write_file(archive, entry, &path, &attributes, tree, what)?,
        EntryType::Symlink => {
            let target = link_target(entry)?;
            tree.symlink(&path, target, &attributes).map_err(unwritten)?;
        }
        EntryType::Link => {
            let target = inside(link_target(entry)?)
                .map_err(|_| path::refused(&entry.path, "its hard link leads out of the layer"))?;
            tree.hard_link(&path, &target.path).map_err(unwritten)?;
        }
        EntryType::Fifo | EntryType::Char | EntryType::Block => {
            let special = special(entry)?;
            tree.special(&path, special, &attributes).map_err(unwritten)?;
        }
        _ => return refuse("its type is unknown"),
    }
    Ok(written)
}

fn write_file(
    archive: &mut Reader<impl Read>,
    entry: &Entry,
    path: &[u8],
    attributes: &Attributes,
    tree: &mut Writer,
    what: &str,
) -> Result<()> {
    let refuse = |reason| Err(path::refused(&entry.path, reason));
    if entry.sparse.as_ref().map_or(entry.size, |map| map.size) > SIZE_MAX {
        return refuse("it is longer than a tebibyte");
    }
    if entry.sparse.as_ref().is_some_and(|map| !map.check(entry.size)) {
        return refuse("its sparse map is malformed");
    }
    let mut content = Watched::new(archive);
    let written = match &entry.sparse {
        Some(map) => tree.sparse_file(path, attributes, map.size, &map.pieces, &mut content),
        None => tree.file(path, attributes, &mut content).map(drop),
    };
    match content.error {
        Some(error) => Err(Error::read(what)(error)),
        None => written.map_err(unwritten),
    }
}

fn is_file(kind: EntryType) -> bool {
    matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse)
}

fn link_target(entry: &Entry) -> Result<&[u8]> {
    let refuse = |reason| Err(path::refused(&entry.path, reason));
    match entry.link.as_slice() {
        [] => refuse("it is a link without target"),
        target if target.contains(&0) => refuse("its target holds a NUL"),
        target if target.len() > limits::PATH_MAX => refuse("its target is longer than 4095 bytes"),
        target => Ok(target),
    }
}

fn special(entry: &Entry) -> Result<Special> {
    if entry.kind() == EntryType::Fifo {
        return Ok(Special::Fifo);
    }
    match device(entry) {
        None => Err(path::refused(&entry.path, "its device numbers are unreadable")),
        Some(Special::Char { major: 0, minor: 0 }) => Err(path::refused(
            &entry.path,
            "a character device 0:0 is how overlayfs marks a whiteout",
        )),
        Some(device) => Ok(device),
    }
}

fn unwritten(error: TreeError) -> Error {
    Error::Unpack { verb: error.action, entry: error.path, source: error.source }
}
