//! Removing what a container has on disk.

use std::{fs, io, path::Path};

use super::{Containers, Durability, Lock, names::may_be_of, remove_file, sync_parent};
use crate::{Container, Error, Result};

impl Containers {
    /// Removes a container whose lock is the caller's: first its record, with which it is gone
    /// for everyone and for good, then its name, then the rest. Whoever is killed meanwhile leaves
    /// a directory without record, which the next command removes with its name.
    pub(crate) fn remove(&self, container: &Container, lock: Lock) -> Result<()> {
        {
            let _names = self.lock_names()?;
            let name = self.current_name(container)?;
            self.remove_record(&container.id)?;
            self.free_name(&name, &container.id)?;
        }
        self.remove_directory(&container.id, lock)
    }

    /// Removes a container whose record cannot be read, with every name that it has.
    pub(crate) fn remove_damaged(&self, id: &str, lock: Lock) -> Result<()> {
        {
            let _names = self.lock_names()?;
            self.remove_record(id)?;
            for (name, owner) in self.all_names()? {
                if may_be_of(&owner, id) {
                    self.free_name(&name, id)?;
                }
            }
        }
        self.remove_directory(id, lock)
    }

    /// The name of a container that may have got another since it was read. The names' lock is the
    /// caller's.
    fn current_name(&self, container: &Container) -> Result<String> {
        let owner = self.named(&container.name)?;
        if owner.is_some_and(|owner| may_be_of(&owner, &container.id)) {
            return Ok(container.name.clone());
        }
        Ok(self.load(&container.id).map_or_else(|_| container.name.clone(), |now| now.name))
    }

    /// Removes a container's record: before anything else goes, lest a loss of power leave a
    /// record of what is gone.
    fn remove_record(&self, id: &str) -> Result<()> {
        let path = self.config_path(id);
        if !path.exists() {
            return Ok(());
        }
        remove_file(&path)?;
        if self.durability(id) == Durability::Synced { sync_parent(&path) } else { Ok(()) }
    }

    /// Removes a container's directory, the lock file last: Windows removes no directory that
    /// holds an open file, and who takes the lock after this finds no record.
    fn remove_directory(&self, id: &str, lock: Lock) -> Result<()> {
        let directory = self.directory(id);
        let entries = match fs::read_dir(&directory) {
            // Another who found it without record was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(Error::file("list", &directory))?,
        };
        for entry in entries {
            let entry = entry.map_err(Error::file("list", &directory))?;
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_tree(&path)?;
            } else if entry.file_name() != "lock" {
                remove_file(&path)?;
            }
        }
        // Nobody is to take what is left without its lock for something that was left behind.
        let _ending = Lock::share(&self.adding_path())?;
        drop(lock);
        remove_file(&self.lock_path(id))?;
        match fs::remove_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::file("remove", directory)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Removes a tree that a guest may have written. The standard library walks it by handles and
/// follows no link. Directories that their owner may not enter are opened first.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let parent = cap_std::fs::Dir::open_ambient_dir(
                path.parent().unwrap_or(path),
                cap_std::ambient_authority(),
            );
            if let (Ok(parent), Some(name)) = (parent, path.file_name()) {
                open_directories(&parent, Path::new(name)).map_err(Error::file("open", path))?;
            }
            fs::remove_dir_all(path).map_err(Error::file("remove", path))
        }
        Err(error) => Err(Error::file("remove", path)(error)),
    }
}

/// Gives the owner access to `name` in `parent` and to every directory below it.
#[cfg(unix)]
fn open_directories(parent: &cap_std::fs::Dir, name: &Path) -> io::Result<()> {
    use cap_std::fs::PermissionsExt as _;
    if !parent.symlink_metadata(name)?.is_dir() {
        return Ok(());
    }
    parent.set_permissions(name, cap_std::fs::Permissions::from_mode(0o700))?;
    let directory = parent.open_dir(name)?;
    for entry in directory.entries()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_directories(&directory, Path::new(&entry.file_name()))?;
        }
    }
    Ok(())
}

/// Permissions keep nobody from removing what is theirs here.
#[cfg(not(unix))]
fn open_directories(_: &cap_std::fs::Dir, _: &Path) -> io::Result<()> {
    Ok(())
}
