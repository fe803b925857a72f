//! From the guest to the host.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _, SystemTimeSpec};
use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions},
};

use super::place::{CopyError, Place};
use crate::{
    error::Error,
    pack::Pending,
    union::{FileKind, Metadata, Node, OpenOptions as GuestOptions, UnionFs},
};

const PIECE: usize = 128 << 10;

/// Copies `node`, which was written as `path`, to its place at the host's `target`.
pub(super) fn copy(
    files: &UnionFs,
    node: Node,
    path: &str,
    place: &Place,
    target: &Path,
) -> Result<Vec<String>, CopyError> {
    let (directory, name) = match place {
        Place::Itself => (parent(target), PathBuf::from(target.file_name().unwrap_or_default())),
        Place::Below(name) => (target, PathBuf::from(name)),
        Place::Content => (target, PathBuf::new()),
    };
    let dir = Dir::open_ambient_dir(directory, ambient_authority())
        .map_err(Error::io("open", directory))?;
    let mut copier =
        Copier { files, dir, shown: directory, skipped: Vec::new(), times: Vec::new() };
    copier.copy(node, path.trim_end_matches(['/', '.']), name)?;
    Ok(copier.skipped)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Copies below a directory of the host. No link there, old or new, leads a copy out of it.
struct Copier<'a> {
    files: &'a UnionFs,
    dir: Dir,
    /// The directory's path, for messages.
    shown: &'a Path,
    skipped: Vec<String>,
    /// Of directories, set when all is copied.
    times: Vec<(PathBuf, SystemTime)>,
}

impl Copier<'_> {
    fn copy(&mut self, node: Node, path: &str, name: PathBuf) -> Result<(), CopyError> {
        let mut pending = Pending::new();
        pending.add(path.as_bytes(), []);
        let mut next = Some((path.as_bytes().to_vec(), (node, name)));
        while let Some((path, (node, target))) = next {
            let shown = String::from_utf8_lossy(&path).into_owned();
            if self.entry(node, &shown, &target)? == FileKind::Directory {
                let entries = self.files.list(node).map_err(CopyError::guest(&shown))?;
                let below = entries.into_iter().map(|(name, node)| {
                    let host = host_name(&name).map(|host| target.join(host));
                    host.map(|host| (name, (node, host)))
                });
                pending.add(&path, below.collect::<Result<Vec<_>, _>>()?);
            }
            next = pending.next();
        }
        for (path, time) in std::mem::take(&mut self.times) {
            let time = SystemTimeSpec::Absolute(cap_std::time::SystemTime::from_std(time));
            let set = self.dir.set_times(&path, None, Some(time));
            set.map_err(self.failed("set the time of", &path))?;
        }
        Ok(())
    }

    fn failed(&self, verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = self.shown.join(path);
        move |source| Error::io(verb, &path)(source)
    }

    fn entry(&mut self, node: Node, path: &str, target: &Path) -> Result<FileKind, CopyError> {
        let metadata = self.files.stat(node).map_err(CopyError::guest(path))?;
        match metadata.kind {
            FileKind::Directory => self.directory(&metadata, target)?,
            FileKind::File => self.file(node, &metadata, path, target)?,
            FileKind::Symlink => {
                let link = self.files.readlink(node).map_err(CopyError::guest(path))?;
                self.make_way(target)?;
                self.symlink(&link, target).map_err(self.failed("create", target))?;
            }
            _ => self.skipped.push(path.to_owned()),
        }
        Ok(metadata.kind)
    }

    fn directory(&mut self, metadata: &Metadata, target: &Path) -> Result<(), CopyError> {
        if target.as_os_str().is_empty() {
            return Ok(());
        }
        match self.dir.create_dir(target) {
            Ok(()) => self.set_mode(metadata, target)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let is_dir = self.dir.metadata(target).map_err(self.failed("look at", target))?;
                if !is_dir.is_dir() {
                    let path = self.shown.join(target).display().to_string();
                    return Err(CopyError::DirectoryToFile { path });
                }
            }
            Err(error) => return Err(self.failed("create", target)(error).into()),
        }
        self.times.push((target.to_owned(), metadata.mtime));
        Ok(())
    }

    fn file(
        &self,
        node: Node,
        metadata: &Metadata,
        path: &str,
        target: &Path,
    ) -> Result<(), CopyError> {
        self.make_way(target)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).follow(FollowSymlinks::No);
        let mut output =
            self.dir.open_with(target, &options).map_err(self.failed("create", target))?.into_std();
        let input =
            self.files.open_file(node, GuestOptions::READ).map_err(CopyError::guest(path))?;
        let (mut piece, mut position) = (vec![0; PIECE], 0);
        loop {
            let count = input.read_at(&mut piece, position).map_err(CopyError::guest(path))?;
            if count == 0 {
                break;
            }
            output.write_all(&piece[..count]).map_err(self.failed("write", target))?;
            position += count as u64;
        }
        output.set_modified(metadata.mtime).map_err(self.failed("set the time of", target))?;
        self.set_mode(metadata, target)
    }

    /// Removes a file or link that is in the way.
    fn make_way(&self, target: &Path) -> Result<(), CopyError> {
        match self.dir.symlink_metadata(target) {
            Ok(found) if found.is_dir() => {
                let path = self.shown.join(target).display().to_string();
                Err(CopyError::FileToDirectory { path })
            }
            Ok(_) => Ok(self.dir.remove_file(target).map_err(self.failed("replace", target))?),
            Err(_) => Ok(()),
        }
    }

    #[cfg(unix)]
    fn symlink(&self, link: &str, target: &Path) -> io::Result<()> {
        self.dir.symlink_contents(link, target)
    }

    #[cfg(not(unix))]
    fn symlink(&self, link: &str, target: &Path) -> io::Result<()> {
        self.dir.symlink_file(link, target)
    }

    #[cfg(unix)]
    fn set_mode(&self, metadata: &Metadata, target: &Path) -> Result<(), CopyError> {
        use cap_std::fs::{Permissions, PermissionsExt as _};
        let permissions = Permissions::from_mode(metadata.mode & 0o1777);
        let set = self.dir.set_permissions(target, permissions);
        Ok(set.map_err(self.failed("set the permissions of", target))?)
    }

    #[cfg(not(unix))]
    fn set_mode(&self, _: &Metadata, _: &Path) -> Result<(), CopyError> {
        Ok(())
    }
}

/// A guest's name as the host's, which refuses what it cannot hold when the file is made.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other hosts refuse some")]
fn host_name(name: &[u8]) -> Result<PathBuf, CopyError> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    Ok(PathBuf::from(OsStr::from_bytes(name)))
}

#[cfg(not(unix))]
fn host_name(name: &[u8]) -> Result<PathBuf, CopyError> {
    // `\` would make a path of it.
    match str::from_utf8(name) {
        Ok(name) if !name.contains(['\\', ':']) => Ok(PathBuf::from(name)),
        _ => Err(CopyError::Name { name: String::from_utf8_lossy(name).into_owned() }),
    }
}
