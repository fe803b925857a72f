//! Files that are whole or absent, whenever the power goes.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use crate::{Error, Result};

/// Whether a change must outlive a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It is on the disk when the call returns.
    Synced,
    /// It is visible to others; a crash of the machine may undo it, in whole or in part.
    Volatile,
}

/// Replaces the file at `path`, so that a reader finds the old or the new contents and
/// nothing between. One writer at a time: the caller holds the container's lock.
pub(crate) fn replace(path: &Path, contents: &[u8], durability: Durability) -> Result<()> {
    replace_by(path, &path.with_extension("new"), contents, durability)?;
    if durability == Durability::Synced {
        sync_parent(path)?;
    }
    Ok(())
}

/// [`replace`] by way of `temporary`, in the same directory. That the file at `path` is another
/// one now is durable when the directory is synced.
pub(crate) fn replace_by(
    path: &Path,
    temporary: &Path,
    contents: &[u8],
    durability: Durability,
) -> Result<()> {
    write_whole(temporary, contents, durability).inspect_err(|_| {
        // Nothing but what could be written of it is lost.
        let _ = fs::remove_file(temporary);
    })?;
    if durability == Durability::Volatile && exchange(temporary, path).is_ok() {
        return fs::remove_file(temporary).map_err(Error::file("remove", temporary));
    }
    fs::rename(temporary, path).map_err(Error::file("replace", path))
}

/// Exchanges two files that both exist. A file system that cannot does as rename(2) after all;
/// but ext4 writes a file to the disk when it is renamed over another (`auto_da_alloc`, ext4(5)).
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn write_whole(path: &Path, contents: &[u8], durability: Durability) -> Result<()> {
    let mut file = fs::File::create(path).map_err(Error::file("create", path))?;
    file.write_all(contents).map_err(Error::file("write", path))?;
    if durability == Durability::Synced {
        file.sync_all().map_err(Error::file("sync", path))?;
    }
    Ok(())
}

/// [`replace`], and on a full disk the same in place, where the old contents have their block: a
/// container that filled the disk must be able to end. A crash just then damages the file,
/// which costs the container its exit code.
pub(crate) fn replace_on_full_disk(
    path: &Path,
    contents: &[u8],
    durability: Durability,
) -> Result<()> {
    let full = match replace(path, contents, durability) {
        Err(Error::File { source, verb, path }) if source.kind() == io::ErrorKind::StorageFull => {
            Error::File { source, verb, path }
        }
        other => return other,
    };
    let overwrite = || -> io::Result<()> {
        let mut file = fs::File::options().write(true).open(path)?;
        file.write_all(contents)?;
        file.set_len(contents.len() as u64)?;
        file.sync_all()
    };
    overwrite().map_err(|_| full)
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
