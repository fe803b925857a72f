//! Files that are whole or absent, whenever the power goes.

use std::{fs, io::Write as _, path::Path};

use crate::{Error, Result};

/// Whether a change must outlive a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It is on the disk when the call returns.
    Synced,
    /// It is visible to others; what a crash of the machine undoes need not be kept.
    Volatile,
}

/// Replaces the file at `path`, so that a reader finds the old or the new contents and
/// nothing between. One writer at a time: the caller holds the container's lock.
pub(crate) fn replace(path: &Path, contents: &[u8], durability: Durability) -> Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::File::create(&temporary).map_err(Error::file("create", &temporary))?;
    file.write_all(contents).map_err(Error::file("write", &temporary))?;
    if durability == Durability::Synced {
        file.sync_all().map_err(Error::file("sync", &temporary))?;
    }
    drop(file);
    fs::rename(&temporary, path).map_err(Error::file("replace", path))?;
    if durability == Durability::Synced {
        sync_parent(path)?;
    }
    Ok(())
}

/// Makes the entry of `path` in its directory durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    // Windows opens no directory as a file; NTFS journals its entries.
    if cfg!(unix)
        && let Some(parent) = path.parent()
    {
        fs::File::open(parent)
            .and_then(|directory| directory.sync_all())
            .map_err(Error::file("sync", parent))?;
    }
    Ok(())
}
