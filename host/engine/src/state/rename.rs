//! Giving a container another name.
//!
//! ```text
//! names/.renaming ─ names/NEW ─ config.json ─ names/OLD goes ─ names/.renaming goes
//!  holds its id                 │ from here on the new name is the container's
//! ```
//!
//! Each step is on the disk before the next. Who is killed meanwhile leaves `.renaming`, by which
//! the next command frees the one of both names that is not in the record.

use std::{fs, io, path::PathBuf};

use super::{Containers, Durability, remove_file, replace, sync_parent};
use crate::{Container, Error, Result, names as ids};

impl Containers {
    /// Gives the container `id` the name `new`.
    pub(crate) fn rename(&self, id: &str, new: &str) -> Result<()> {
        let _lock = self.lock_names()?;
        self.settle()?;
        let container = Container { name: new.to_owned(), ..self.load(id)? };
        let durability = self.durability(id);
        replace(&self.renaming_path(), id.as_bytes(), durability)?;
        let renamed = self.write_name(new, id, durability).and_then(|()| {
            if durability == Durability::Synced {
                sync_parent(&self.name_path(new))?;
            }
            self.rewrite(&container, durability)
        });
        let settled = self.settle();
        renamed.and(settled)
    }

    /// Ends what a killed process began.
    pub(crate) fn settle_renaming(&self) -> Result<()> {
        if !self.renaming_path().exists() {
            return Ok(());
        }
        let _lock = self.lock_names()?;
        self.settle()
    }

    fn renaming_path(&self) -> PathBuf {
        // No container can have a name that begins with a dot.
        self.names.join(".renaming")
    }

    /// Leaves the container that was being renamed the name that its record has, if it has one. The
    /// names' lock is the caller's.
    fn settle(&self) -> Result<()> {
        let path = self.renaming_path();
        let id = match fs::read_to_string(&path) {
            Ok(id) => id,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        // A loss of power may have left nothing in it, of a container that was not to outlive that.
        if ids::is_id(&id) {
            let kept = match self.load(&id) {
                Ok(container) => Some(container.name),
                Err(Error::NotFound(_)) => None,
                Err(error) => return Err(error),
            };
            self.free_names_but(&id, kept.as_deref())?;
        }
        remove_file(&path)
    }

    fn free_names_but(&self, id: &str, kept: Option<&str>) -> Result<()> {
        for (name, owner) in self.all_names()? {
            if owner == id && kept != Some(&name) {
                remove_file(&self.name_path(&name))?;
            }
        }
        match self.durability(id) {
            Durability::Synced => sync_parent(&self.renaming_path()),
            Durability::Volatile => Ok(()),
        }
    }
}
