//! From the host to the guest.

use std::{
    fs::{self, Metadata},
    io::Read as _,
    path::{Path, PathBuf},
};

use super::place::{CopyError, Place};
use crate::{
    error::Error,
    union::{FileKind, Follow, FsError, Node, ROOT, UnionFs},
};

const PIECE: usize = 128 << 10;

/// What is still to be copied: from where, and as which name in which directory; without a name
/// the directory itself.
struct Pending {
    source: PathBuf,
    directory: Node,
    name: Option<String>,
}

/// Copies `source` to its place at the guest's `path`.
pub(super) fn copy(
    source: &Path,
    follow: bool,
    files: &UnionFs,
    path: &str,
    place: &Place,
) -> Result<Vec<String>, CopyError> {
    let guest = || CopyError::guest(path);
    let (directory, name) = match place {
        Place::Itself => {
            let (directory, name) = last_name(files, path).map_err(guest())?;
            (directory, Some(name))
        }
        Place::Below(name) => {
            let directory = files.resolve(ROOT, path, Follow::All).map_err(guest())?;
            (directory, Some(name.clone()))
        }
        Place::Content => (files.resolve(ROOT, path, Follow::All).map_err(guest())?, None),
    };
    let mut skipped = Vec::new();
    let mut pending = vec![Pending { source: source.to_owned(), directory, name }];
    let mut follow = follow;
    while let Some(next) = pending.pop() {
        entry(files, next, follow, &mut pending, &mut skipped)?;
        // What was named is followed where that was asked for, and nothing that is in it.
        follow = false;
    }
    Ok(skipped)
}

/// The directory and the name that a file is to have, where a link at `path` is followed.
fn last_name(files: &UnionFs, path: &str) -> Result<(Node, String), FsError> {
    let (mut directory, mut name) = files.resolve_parent(ROOT, path)?;
    // As many links as in any path.
    for _ in 0..40 {
        let Ok(node) = files.lookup(directory, &name) else { return Ok((directory, name)) };
        if files.kind(node)? != FileKind::Symlink {
            return Ok((directory, name));
        }
        (directory, name) = files.resolve_parent(directory, &files.readlink(node)?)?;
    }
    Err(FsError::Loop)
}

fn entry(
    files: &UnionFs,
    next: Pending,
    follow: bool,
    pending: &mut Vec<Pending>,
    skipped: &mut Vec<String>,
) -> Result<(), CopyError> {
    let Pending { source, directory, name } = next;
    let metadata = if follow { fs::metadata(&source) } else { fs::symlink_metadata(&source) };
    let metadata = metadata.map_err(Error::io("look at", &source))?;
    let name = name.as_deref();
    if metadata.is_dir() {
        let node = match name {
            Some(name) => make_directory(files, directory, name, &metadata)?,
            None => directory,
        };
        for entry in fs::read_dir(&source).map_err(Error::io("list", &source))? {
            let entry = entry.map_err(Error::io("list", &source))?;
            let name = entry
                .file_name()
                .into_string()
                .map_err(|name| CopyError::Name { name: name.to_string_lossy().into_owned() })?;
            pending.push(Pending { source: entry.path(), directory: node, name: Some(name) });
        }
        return Ok(());
    }
    let name = name.ok_or_else(|| CopyError::NoDirectory { path: source.display().to_string() })?;
    make_way(files, directory, name, metadata.is_symlink())?;
    if metadata.is_symlink() {
        let target = fs::read_link(&source).map_err(Error::io("read", &source))?;
        let target = target
            .to_str()
            .ok_or_else(|| CopyError::Name { name: target.to_string_lossy().into_owned() })?;
        files.symlink(directory, name, target).map(drop).map_err(CopyError::guest(name))
    } else if metadata.is_file() {
        copy_file(&source, &metadata, files, directory, name)
    } else {
        skipped.push(source.display().to_string());
        Ok(())
    }
}

fn make_directory(
    files: &UnionFs,
    parent: Node,
    name: &str,
    metadata: &Metadata,
) -> Result<Node, CopyError> {
    match files.mkdir(parent, name, mode(metadata, 0o755)) {
        Err(FsError::Exists) => {
            let node = files.lookup(parent, name).map_err(CopyError::guest(name))?;
            match files.kind(node).map_err(CopyError::guest(name))? {
                FileKind::Directory => Ok(node),
                _ => Err(CopyError::DirectoryToFile { path: name.to_owned() }),
            }
        }
        made => made.map_err(CopyError::guest(name)),
    }
}

/// Removes what is in the way: of a link everything, of a file a link.
fn make_way(files: &UnionFs, directory: Node, name: &str, all: bool) -> Result<(), CopyError> {
    let guest = || CopyError::guest(name);
    let Ok(node) = files.lookup(directory, name) else { return Ok(()) };
    match files.kind(node).map_err(guest())? {
        FileKind::Directory => Err(CopyError::FileToDirectory { path: name.to_owned() }),
        FileKind::File if !all => Ok(()),
        _ => files.unlink(directory, name).map_err(guest()),
    }
}

fn copy_file(
    source: &Path,
    metadata: &Metadata,
    files: &UnionFs,
    directory: Node,
    name: &str,
) -> Result<(), CopyError> {
    let guest = || CopyError::guest(name);
    let mut input = fs::File::open(source).map_err(Error::io("open", source))?;
    let mode = mode(metadata, 0o644);
    let (node, output) = files.create(directory, name, false, mode).map_err(guest())?;
    output.set_len(0).map_err(guest())?;
    let (mut piece, mut position) = (vec![0; PIECE], 0);
    loop {
        let count = input.read(&mut piece).map_err(Error::io("read", source))?;
        if count == 0 {
            break;
        }
        let mut written = 0;
        while written < count {
            let more = output.write_at(&piece[written..count], position).map_err(guest())?;
            written += more;
            position += more as u64;
        }
    }
    files.set_mode(node, mode).map_err(guest())?;
    let modified = metadata.modified().map_err(Error::io("look at", source))?;
    output.set_times(None, Some(modified)).map_err(guest())
}

#[cfg(unix)]
fn mode(metadata: &Metadata, _: u32) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o7777
}

#[cfg(not(unix))]
const fn mode(_: &Metadata, default: u32) -> u32 {
    default
}
