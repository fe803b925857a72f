//! From a guest to an archive.

use std::io::Write;

use super::{GuestTree, Seen, Xattrs, walk};
use crate::{
    copy::place::CopyError,
    error::shown,
    pack::{Archive, Pending},
    tree::Attributes,
    union::{FileKind, Follow, FsError},
};

/// Writes what is at `path`, under its last name, and all that is in it.
pub(super) fn pack<T: GuestTree>(
    tree: &T,
    path: &str,
    follow: bool,
    output: &mut dyn Write,
) -> Result<Vec<String>, CopyError> {
    let follow = if follow { Follow::All } else { Follow::AllButLast };
    let found = walk::resolve(tree, path.as_bytes(), follow).map_err(CopyError::guest(path))?;
    let name = last_name(path);
    let mut packer = Packer { tree, archive: Archive::new(output), skipped: Vec::new() };
    match found {
        walk::Found::Missing { .. } => return Err(CopyError::guest(path)(FsError::NotFound)),
        walk::Found::Entry { parent, name: entry } => {
            packer.entry(&parent, &entry, name.as_bytes()).map_err(|failed| failed.at(path))?;
        }
        walk::Found::Directory { directory, path: real } => {
            packer.directory(&directory, name.as_bytes(), &real).map_err(|f| f.at(path))?;
        }
    }
    packer.archive.finish()?;
    Ok(packer.skipped)
}

/// What the archive calls what is at `path`.
fn last_name(path: &str) -> &str {
    let mut path = path;
    while let Some(shorter) = path.strip_suffix('/').or_else(|| path.strip_suffix("/.")) {
        path = shorter;
    }
    match path.rsplit('/').next().unwrap_or_default() {
        "" | ".." => ".",
        name => name,
    }
}

/// Why an entry was not written.
enum Failed {
    Guest(FsError),
    Other(CopyError),
}

impl From<FsError> for Failed {
    fn from(error: FsError) -> Self {
        Self::Guest(error)
    }
}

impl From<crate::Error> for Failed {
    fn from(error: crate::Error) -> Self {
        Self::Other(error.into())
    }
}

impl Failed {
    fn at(self, path: &str) -> CopyError {
        match self {
            Self::Guest(error) => CopyError::guest(path)(error),
            Self::Other(error) => error,
        }
    }
}

struct Packer<'a, T: GuestTree> {
    tree: &'a T,
    archive: Archive<&'a mut dyn Write>,
    skipped: Vec<String>,
}

/// An entry that is still to be written: its directory, its name there, and its path in the guest.
type Waiting<D> = (D, Box<[u8]>, Vec<u8>);

impl<T: GuestTree> Packer<'_, T> {
    /// Writes the directory that is `name` in the archive and `real` in the guest.
    fn directory(
        &mut self,
        directory: &T::Directory,
        name: &[u8],
        real: &[u8],
    ) -> Result<(), Failed> {
        let seen = self.tree.look_at(directory)?;
        self.archive.directory(name, &attributes(&seen, Xattrs::new()))?;
        let mut pending = Pending::new();
        self.add(&mut pending, directory, name, real)?;
        while let Some((path, (parent, entry, real))) = pending.next() {
            let written = self.entry(&parent, &entry, &path).and_then(|kind| match kind {
                FileKind::Directory => {
                    let directory = self.tree.enter(&parent, &entry)?;
                    self.add(&mut pending, &directory, &path, &real)
                }
                _ => Ok(()),
            });
            match written {
                // A guest that runs removes files as they are listed.
                Ok(()) | Err(Failed::Guest(FsError::NotFound)) => {}
                Err(Failed::Guest(error)) => {
                    let real = format!("/{}", String::from_utf8_lossy(&real));
                    return Err(Failed::Other(CopyError::guest(&real)(error)));
                }
                Err(failed) => return Err(failed),
            }
        }
        Ok(())
    }

    fn add(
        &self,
        pending: &mut Pending<Waiting<T::Directory>>,
        directory: &T::Directory,
        path: &[u8],
        real: &[u8],
    ) -> Result<(), Failed> {
        let below = |name: &[u8]| match real {
            [] => name.to_vec(),
            real => [real, b"/", name].concat(),
        };
        let names = self.tree.list(directory)?.into_iter().map(|name| (below(&name), name));
        let kept = names.filter(|(real, _)| !self.tree.leaves_out(real));
        let waiting = kept.map(|(real, name)| (name.clone(), (directory.clone(), name, real)));
        pending.add(path, waiting);
        Ok(())
    }

    /// Writes what a name stands for, of a directory only itself.
    fn entry(
        &mut self,
        parent: &T::Directory,
        name: &[u8],
        path: &[u8],
    ) -> Result<FileKind, Failed> {
        let seen = self.tree.look(parent, name)?;
        match seen.kind {
            FileKind::Directory => {
                let attributes = attributes(&seen, self.tree.xattrs(parent, name)?);
                self.archive.directory(path, &attributes)?;
            }
            FileKind::File => {
                let (seen, content) = self.tree.read(parent, name)?;
                let attributes = attributes(&seen, self.tree.xattrs(parent, name)?);
                self.archive.file(path, &seen.stat, &attributes, content)?;
            }
            FileKind::Symlink => {
                let target = self.tree.target(parent, name)?;
                self.archive.symlink(path, &target, &attributes(&seen, Xattrs::new()))?;
            }
            FileKind::Socket => self.skipped.push(shown(path)),
            _ => {
                let special = self.tree.special(parent, name, &seen)?;
                self.archive.special(path, special, &attributes(&seen, Xattrs::new()))?;
            }
        }
        Ok(seen.kind)
    }
}

fn attributes(seen: &Seen, xattrs: Xattrs) -> Attributes {
    let stat = &seen.stat;
    Attributes { mode: stat.mode, uid: stat.uid, gid: stat.gid, mtime: stat.mtime, xattrs }
}
