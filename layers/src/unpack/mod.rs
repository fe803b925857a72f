//! Unpacking: a layer's tar archive becomes a tree.
//!
//! The archive is hostile until proven otherwise. Paths that leave the layer are refused here; that
//! no entry is written through a symbolic link of an earlier one is seen to by [`Writer`], which
//! follows none.

mod entry;
mod path;
mod sparse;
// The trees are looked at as Linux keeps them.
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

use std::{cell::Cell, io::Read};

use tar::EntryType;

use self::{
    entry::Extensions,
    path::{Role, Target},
};
use crate::{
    error::{Error, Result},
    streams::{Padded, Watched},
    tree::{Special, TreeError, Writer},
};

/// How an archive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With the two empty blocks that mark it (POSIX, pax, "ustar Interchange Format").
    Marked,
    /// Without them, after a whole entry.
    Unmarked,
}

/// Writes the tree of a layer whose uncompressed archive is `archive`; `what` it is, for messages.
/// Bytes after the archive's end are not read, and the last block need not be whole.
pub(crate) fn unpack(archive: impl Read, mut tree: Writer, what: &str) -> Result<End> {
    let end = Cell::new(None);
    let mut watched = Watched::new(Padded::new(archive, &end));
    let result = write_entries(&mut watched, &end, &mut tree, what);
    match (result, watched.error) {
        (Ok(()), _) => {}
        (Err(_), Some(error)) => return Err(Error::read(what)(error)),
        (Err(_), None) if end.get().is_some() => {
            return Err(Error::Truncated { what: what.to_owned() });
        }
        (Err(error), None) => return Err(error),
    }
    tree.finish().map_err(unwritten)?;
    Ok(if end.get().is_some() { End::Unmarked } else { End::Marked })
}

fn write_entries(
    archive: &mut impl Read,
    end: &Cell<Option<u64>>,
    tree: &mut Writer,
    what: &str,
) -> Result<()> {
    let mut archive = tar::Archive::new(archive);
    let mut any = false;
    for entry in archive.entries().map_err(Error::read(what))? {
        let mut entry = match entry {
            Err(_) if !any => return Err(Error::NotTar { what: what.to_owned() }),
            entry => entry.map_err(Error::read(what))?,
        };
        any = true;
        let extensions = Extensions::of(&mut entry, what)?;
        let entry_end =
            entry.raw_file_position().saturating_add(entry.header().entry_size().unwrap_or(0));
        write_entry(&mut entry, &extensions, tree, what)?;
        if end.get().is_some_and(|end| end < entry_end) {
            return Err(Error::Truncated { what: what.to_owned() });
        }
    }
    Ok(())
}

fn write_entry<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    extensions: &Extensions,
    tree: &mut Writer,
    what: &str,
) -> Result<()> {
    let kind = entry.header().entry_type();
    if kind.is_pax_global_extensions() {
        return Ok(());
    }
    let name = extensions.name(entry);
    let role = path::role(&name)?;
    let target = match role {
        Role::Whiteout(path) => return tree.whiteout(&path).map_err(unwritten),
        Role::Opaque(path) => return tree.opaque(&path).map_err(unwritten),
        Role::Ignored => return Ok(()),
        Role::Entry(target) => target,
    };
    let attributes = extensions.attributes(entry, what)?;
    let refuse = |reason| Err(path::refused(&name, reason));
    let Target { path, directory } = target;
    if path.is_empty() && kind != EntryType::Directory {
        return refuse("it takes the place of the root directory");
    }
    match kind {
        EntryType::Directory => tree.directory(&path, &attributes).map_err(unwritten),
        // Archives older than POSIX mark a directory by its name's last byte alone.
        EntryType::Regular if directory => tree.directory(&path, &attributes).map_err(unwritten),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let size = entry.size();
            let mut content = extensions.content(entry, size, &name)?;
            let expected = content.size();
            let mut content = Watched::new(&mut content);
            let written = tree.file(&path, &attributes, &mut content);
            match (written, content.error) {
                (_, Some(error)) => Err(Error::read(what)(error)),
                (Err(error), None) => Err(unwritten(error)),
                (Ok(written), None) if written != expected => {
                    Err(Error::Truncated { what: what.to_owned() })
                }
                (Ok(_), None) => Ok(()),
            }
        }
        EntryType::Symlink => {
            let target = link_name(entry, &name)?;
            tree.symlink(&path, &target, &attributes).map_err(unwritten)
        }
        EntryType::Link => {
            let target = path::inside(&link_name(entry, &name)?)
                .map_err(|_| path::refused(&name, "its hard link leads out of the layer"))?;
            tree.hard_link(&path, &target.path).map_err(unwritten)
        }
        EntryType::Fifo | EntryType::Char | EntryType::Block => {
            let special = special(entry, kind, &name)?;
            tree.special(&path, special, &attributes).map(drop).map_err(unwritten)
        }
        _ => refuse("its type is unknown"),
    }
}

fn link_name<R: Read>(entry: &tar::Entry<'_, R>, name: &[u8]) -> Result<Vec<u8>> {
    match entry.link_name_bytes() {
        Some(target) if target.contains(&0) => Err(path::refused(name, "its target holds a NUL")),
        Some(target) if !target.is_empty() => Ok(target.into_owned()),
        _ => Err(path::refused(name, "it is a link without target")),
    }
}

fn special<R: Read>(entry: &tar::Entry<'_, R>, kind: EntryType, name: &[u8]) -> Result<Special> {
    if kind == EntryType::Fifo {
        return Ok(Special::Fifo);
    }
    let numbers = device_numbers(entry.header());
    match (kind, numbers) {
        (_, None) => Err(path::refused(name, "its device numbers are unreadable")),
        (EntryType::Char, Some((0, 0))) => {
            Err(path::refused(name, "a character device 0:0 is how overlayfs marks a whiteout"))
        }
        (EntryType::Char, Some((major, minor))) => Ok(Special::Char { major, minor }),
        (_, Some((major, minor))) => Ok(Special::Block { major, minor }),
    }
}

/// Major and minor number; a header older than POSIX has none.
fn device_numbers(header: &tar::Header) -> Option<(u32, u32)> {
    let (major, minor) = match (header.as_gnu(), header.as_ustar()) {
        (Some(gnu), _) => (gnu.dev_major, gnu.dev_minor),
        (None, Some(ustar)) => (ustar.dev_major, ustar.dev_minor),
        (None, None) => return None,
    };
    let read =
        |field: &[u8], value| entry::number(field, value).ok().map(Option::unwrap_or_default);
    Some((read(&major, header.device_major())?, read(&minor, header.device_minor())?))
}

fn unwritten(error: TreeError) -> Error {
    Error::Unpack { verb: error.action, entry: error.path, source: error.source }
}
