//! Files of the store: written whole or not at all, and on the disk when a function returns.

#[cfg(unix)]
use std::ffi::OsString;
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use crate::error::{Error, Result};

/// Makes the entries of a directory durable. Windows keeps them without being asked.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    if cfg!(windows) {
        return Ok(());
    }
    File::open(path).and_then(|dir| dir.sync_all()).map_err(Error::io("sync", path))
}

/// A file that is about to take another's place, on the same file system.
#[must_use]
pub(crate) struct New<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> New<'a> {
    /// Writes it, where something else may be left of an earlier attempt.
    pub(crate) fn write(path: &'a Path, content: &[u8]) -> Result<Self> {
        let file = File::create(path).and_then(|mut file| {
            file.write_all(content)?;
            Ok(file)
        });
        Ok(Self { path, file: file.map_err(Error::io("write", path))? })
    }

    /// Makes its content durable, which it has to be before it is put.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(Error::io("write", self.path))
    }

    /// Replaces the file `target` in one step.
    pub(crate) fn put(self, target: &Path) -> Result<()> {
        // Windows moves no file that is open.
        drop(self.file);
        fs::rename(self.path, target).map_err(Error::io("replace", target))?;
        target.parent().map_or(Ok(()), sync_dir)
    }
}

/// Replaces the file `path` in one step, by way of `temporary` on the same file system.
pub(crate) fn replace(path: &Path, temporary: &Path, content: &[u8]) -> Result<()> {
    let new = New::write(temporary, content)?;
    new.sync()?;
    new.put(path)
}

/// Makes a directory, and the ones above it, that no other user may enter. Each new one is durable.
pub(crate) fn make_private_dir(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
        make_private_dir(parent)?;
    }
    #[allow(unused_mut, reason = "only Unix has modes")]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    match builder.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(Error::io("create", path)(error)),
        Ok(()) => path.parent().map_or(Ok(()), sync_dir),
    }
}

/// Makes the tree below `path` durable: all of its file system on Linux, which is one call however
/// many files there are (syncfs(2)), file by file elsewhere.
#[cfg(target_os = "linux")]
pub(crate) fn sync_tree(path: &Path) -> Result<()> {
    let sync = || sync_file_system(&File::open(path)?);
    sync().map_err(Error::io("sync", path))
}

/// Makes all durable that is on the file system of an open file (syncfs(2)).
#[cfg(target_os = "linux")]
pub(crate) fn sync_file_system(file: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

/// Nothing: there is no such call.
#[cfg(not(target_os = "linux"))]
pub(crate) fn sync_file_system(_: &File) -> io::Result<()> {
    Ok(())
}

/// Makes the tree below `path` durable: all of its file system on Linux, which is one call however
/// many files there are (syncfs(2)), file by file elsewhere.
#[cfg(not(target_os = "linux"))]
pub(crate) fn sync_tree(path: &Path) -> Result<()> {
    for entry in fs::read_dir(path).map_err(Error::io("list", path))? {
        let entry = entry.map_err(Error::io("list", path))?;
        let (path, kind) = (entry.path(), entry.file_type());
        let kind = kind.map_err(Error::io("look at", &path))?;
        if kind.is_dir() {
            sync_tree(&path)?;
        } else if kind.is_file() {
            // Windows syncs only what is open to write.
            fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|file| file.sync_all())
                .map_err(Error::io("sync", &path))?;
        }
    }
    sync_dir(path)
}

/// Removes a tree, if there is one, whatever the permissions of its directories.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let first = fs::remove_dir_all(path);
    let result = match &first {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path).and_then(|()| fs::remove_dir_all(path))
        }
        _ => first,
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Lets the owner into every directory of a tree, following no link.
fn open_up(path: &Path) -> io::Result<()> {
    let authority = cap_std::ambient_authority();
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    open_up_below(&cap_std::fs::Dir::open_ambient_dir(parent, authority)?, Path::new(name))
}

/// Lets the owner into the directory `name` and every directory below it, following no link.
pub(crate) fn open_up_below(parent: &cap_std::fs::Dir, name: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use cap_std::fs::{Permissions, PermissionsExt as _};
        if parent.symlink_metadata(name)?.is_dir() {
            parent.set_permissions(name, Permissions::from_mode(0o700))?;
        }
    }
    let dir = cap_fs_ext::DirExt::open_dir_nofollow(parent, name)?;
    for entry in dir.entries()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up_below(&dir, Path::new(&entry.file_name()))?;
        }
    }
    Ok(())
}

/// Moves a tree to a path where there is none yet: it is at the one or the other, as it was, or
/// under a name beside them that no tree has. Whoever moves a directory to another one must be
/// allowed to write to it, as its `..` changes (rename(2)), and the root directory of some layers is
/// read-only.
pub(crate) fn move_tree(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !to.exists() => {
            move_read_only(from, to)
        }
        result => result,
    }
    .map_err(Error::io("create", to))
}

#[cfg(unix)]
fn move_read_only(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    // Whoever is killed while the permissions are others must leave no such tree at `from` or `to`.
    // A move within one directory needs no permission of what is moved.
    let mut suffix = OsString::from("moving-");
    suffix.push(from.file_name().unwrap_or_default());
    let (leaving, coming) = (from.with_extension(&suffix), to.with_extension(&suffix));
    let permissions = fs::symlink_metadata(from)?.permissions();
    fs::rename(from, &leaving)?;
    fs::set_permissions(&leaving, fs::Permissions::from_mode(permissions.mode() | 0o700))?;
    fs::rename(&leaving, &coming)?;
    let root = File::open(&coming)?;
    fs::set_permissions(&coming, permissions)?;
    root.sync_all()?;
    fs::rename(&coming, to).inspect_err(|_| {
        // What cannot be moved is left to the next removal of what no image needs.
        let _ = remove_tree(&coming);
    })
}

#[cfg(not(unix))]
fn move_read_only(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("metadata").permissions().mode() & 0o7777
    }

    fn entries(path: &Path) -> usize {
        fs::read_dir(path).expect("a directory").count()
    }

    #[test]
    fn a_read_only_tree_is_moved_as_it_is_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (folder.path().join("here"), folder.path().join("there"));
        for tree in [here.join("a"), here.join("b")] {
            make_private_dir(&tree).unwrap();
            fs::write(tree.join("file"), "content").unwrap();
            fs::set_permissions(&tree, fs::Permissions::from_mode(0o555)).unwrap();
        }
        make_private_dir(&there).unwrap();
        move_read_only(&here.join("a"), &there.join("x")).unwrap();
        assert_eq!(mode(&there.join("x")), 0o555);
        assert_eq!(fs::read(there.join("x/file")).unwrap(), b"content");
        move_read_only(&here.join("b"), &there.join("x")).unwrap_err();
        assert_eq!((entries(&here), entries(&there), mode(&there.join("x"))), (0, 1, 0o555));
        remove_tree(&there).unwrap();
    }
}
