//! Which name is which container's: one file for each name, holding the id.

use std::{fs, io, path::PathBuf};

use super::{Containers, Durability, Lock, durable::replace_by};
use crate::{Error, Result, names};

impl Containers {
    pub(super) fn name_path(&self, name: &str) -> PathBuf {
        self.names.join(name)
    }

    /// Every change of names happens under this lock, held for a few file operations.
    pub(super) fn lock_names(&self) -> Result<Lock> {
        // No container can have a name that begins with a dot.
        Lock::create_or_wait(&self.names.join(".lock"))
    }

    /// The id of the container with this name, be it alive or not.
    pub(super) fn named(&self, name: &str) -> Result<Option<String>> {
        if !names::is_valid(name) {
            return Ok(None);
        }
        let path = self.name_path(name);
        match fs::read_to_string(&path) {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", path)(error)),
        }
    }

    /// Gives `name` to the container `id`, whose directory exists already. A name whose
    /// container is gone is free. The name lasts when the container's record does.
    pub(crate) fn take_name(&self, name: &str, id: &str, durability: Durability) -> Result<()> {
        let _lock = self.lock_names()?;
        self.write_name(name, id, durability)
    }

    /// [`take_name`](Self::take_name) by who has the names' lock.
    pub(super) fn write_name(&self, name: &str, id: &str, durability: Durability) -> Result<()> {
        if let Some(owner) = self.named(name)?
            && self.has_directory(&owner)
        {
            return Err(Error::NameInUse { name: name.to_owned(), id: short(&owner).to_owned() });
        }
        // No container can have a name that begins with a dot.
        let temporary = self.names.join(".new");
        replace_by(&self.name_path(name), &temporary, id.as_bytes(), durability)
    }

    /// Gives the container `id` a random name that is free.
    pub(crate) fn take_random_name(&self, id: &str, durability: Durability) -> Result<String> {
        let mut name = names::random()?;
        loop {
            match self.take_name(&name, id, durability) {
                Ok(()) => return Ok(name),
                Err(Error::NameInUse { .. }) => name = names::numbered(&names::random()?)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Frees `name` where it is `id`'s, or nobody's. The names' lock is the caller's.
    pub(super) fn free_name(&self, name: &str, id: &str) -> Result<()> {
        if self.named(name)?.is_some_and(|owner| may_be_of(&owner, id)) {
            remove_file(&self.name_path(name))?;
        }
        Ok(())
    }

    /// Every name with the id that it stands for.
    pub(crate) fn all_names(&self) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.names).map_err(Error::file("list", &self.names))? {
            let entry = entry.map_err(Error::file("list", &self.names))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if let Some(id) = self.named(&name)? {
                found.push((name, id));
            }
        }
        Ok(found)
    }

    /// Whether the container of a name is gone and the name is not, which is then freed with `free`.
    /// Under the lock, under which containers give their names up before they are gone.
    pub(crate) fn check_name(&self, name: &str, free: bool) -> Result<bool> {
        let _lock = self.lock_names()?;
        let stale = self.named(name)?.is_some_and(|id| !self.has_directory(&id));
        if stale && free {
            remove_file(&self.name_path(name))?;
        }
        Ok(stale)
    }
}

/// Whether a name that stands for `owner` is `id`'s, as far as can be known: a crash of the machine
/// leaves the name of a container that was not to outlive it, perhaps without what was in the file.
pub(super) fn may_be_of(owner: &str, id: &str) -> bool {
    owner == id || !names::is_id(owner)
}

/// The first twelve digits of an id.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Removes a file that may be gone already.
pub(crate) fn remove_file(path: &std::path::Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}
