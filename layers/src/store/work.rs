//! Unfinished work in `tmp`.
//!
//! A piece of work is a directory `<name>` beside a file `<name>.lock` that its maker holds locked.
//! `tmp/.lock` is shared while a pair is made, so that who cleans up never takes a lock file that
//! was made and not yet locked for an abandoned one.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Pin, Store, writeback::Writeback};
use crate::{
    Digest,
    budget::Budget,
    error::{Error, Result},
    files,
};

/// A directory for unfinished files, removed with all that is still in it when dropped.
#[derive(Debug)]
pub(crate) struct Work {
    dir: tempfile::TempDir,
    lock_path: PathBuf,
    lock: Option<Pin>,
    budget: Budget,
    writeback: Writeback,
    made: Mutex<Made>,
}

/// What is whole and not in its place yet, by where it is.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) blobs: BTreeMap<Digest, PathBuf>,
    /// By diffID.
    pub(super) trees: BTreeMap<Digest, PathBuf>,
}

/// What [`Store::settle`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// There was nothing to put in its place.
    Nothing,
    /// All that was in the work's directory is durable.
    Synced,
}

impl Work {
    pub(crate) fn new(store: &Store) -> Result<Self> {
        let tmp = store.root.join("tmp");
        let _making = Pin::shared(&tmp.join(".lock"))?;
        let dir = tempfile::Builder::new()
            .prefix("work-")
            .tempdir_in(&tmp)
            .map_err(Error::io("write in", &tmp))?;
        let lock_path = dir.path().with_extension("lock");
        let lock = Pin::exclusive(&lock_path)?;
        Ok(Self {
            writeback: Writeback::new(dir.path()),
            dir,
            lock_path,
            lock: Some(lock),
            budget: store.budget(),
            made: Mutex::default(),
        })
    }

    /// How much may be decompressed.
    pub(crate) const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Notes that an archive was read so much further, in bytes.
    pub(crate) fn note_read(&self, bytes: u64) {
        self.writeback.note(bytes);
    }

    /// Where something of this name is made.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What waits for [`Store::settle`].
    pub(super) fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Puts all that was made in its place. It is synced first and at once, however much it is, with
    /// all else in the work's directory; its names are durable once an index leads to it
    /// ([`Store::change_entries`]).
    pub(crate) fn settle(&self, work: &Work) -> Result<Settled> {
        let Made { blobs, trees } = std::mem::take(&mut *work.made());
        if blobs.is_empty() && trees.is_empty() {
            return Ok(Settled::Nothing);
        }
        work.writeback.finish()?;
        for (digest, blob) in &blobs {
            let target = self.blob_path(*digest);
            fs::rename(blob, &target).map_err(Error::io("create", &target))?;
        }
        for (diff_id, tree) in &trees {
            let target = self.layer_path(*diff_id);
            match files::move_tree(tree, &target) {
                // Another process was faster.
                Err(_) if target.exists() => files::remove_tree(tree)?,
                result => result?,
            }
        }
        Ok(Settled::Synced)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next to open the store.
        let removed = files::remove_tree(self.dir.path());
        self.lock = None;
        if removed.is_ok() {
            let _ = fs::remove_file(&self.lock_path);
        }
    }
}

/// Removes what has no holder. Returns how many pieces of work that were.
pub(crate) fn remove_abandoned(store: &Store) -> Result<usize> {
    let tmp = store.root.join("tmp");
    let names = names_in(&tmp)?;
    if names.iter().all(|name| name == ".lock") {
        return Ok(0);
    }
    let Some(_cleaning) = Pin::try_exclusive(&tmp.join(".lock"))? else { return Ok(0) };
    let mut removed = 0;
    // Again, as some may have been finished before the lock was ours.
    for name in names_in(&tmp)?.iter().filter(|name| *name != ".lock") {
        let path = tmp.join(name);
        match path.extension().and_then(OsStr::to_str) {
            Some("lock") => removed += usize::from(remove_unheld(&path)?),
            // Its lock file is dealt with in its own turn.
            _ if path.with_extension("lock").exists() => {}
            _ => removed += usize::from(remove(&path)?),
        }
    }
    Ok(removed)
}

fn remove_unheld(lock_path: &Path) -> Result<bool> {
    let Some(lock) = Pin::try_exclusive(lock_path)? else { return Ok(false) };
    files::remove_tree(&lock_path.with_extension(""))?;
    drop(lock);
    remove(lock_path)
}

/// Removes a file or tree; `false` if somebody else did.
fn remove(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => files::remove_tree(path).map(|()| true),
        Ok(_) => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", path)(error))
            }
            result => Ok(result.is_ok()),
        },
        Err(_) => Ok(false),
    }
}

fn names_in(dir: &Path) -> Result<Vec<std::ffi::OsString>> {
    fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .map_err(Error::io("list", dir))
}
