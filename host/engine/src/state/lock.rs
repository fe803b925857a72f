//! Locks that their holder's death releases.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

use crate::{Error, Result};

/// An exclusive lock on a file, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Makes the lock file, which must not exist yet, and takes its lock.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::create_new(path).map_err(Error::file("create", path))?;
        file.lock().map_err(Error::file("lock", path))?;
        Ok(Self { file })
    }

    /// Takes the lock of a file that is made where it does not exist, after whoever holds it.
    pub(crate) fn create_or_wait(path: &Path) -> Result<Self> {
        let file = open_or_create(path)?;
        file.lock().map_err(Error::file("lock", path))?;
        Ok(Self { file })
    }

    /// Takes the lock of a file that is made where it does not exist, together with others who
    /// share it, after whoever holds it alone.
    pub(crate) fn share(path: &Path) -> Result<Self> {
        let file = open_or_create(path)?;
        file.lock_shared().map_err(Error::file("lock", path))?;
        Ok(Self { file })
    }

    /// Takes the lock of a file that is made where it does not exist; `None` where anybody has it.
    pub(crate) fn try_create(path: &Path) -> Result<Option<Self>> {
        let file = open_or_create(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::file("lock", path)(error)),
        }
    }

    /// Takes the lock of an existing file if nobody holds it.
    pub(crate) fn try_take(path: &Path) -> Result<Probe> {
        let file = match File::options().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Probe::Absent),
            Err(error) => return Err(Error::file("open", path)(error)),
        };
        match file.try_lock() {
            Ok(()) => Ok(Probe::Taken(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(Probe::Held),
            Err(TryLockError::Error(error)) => Err(Error::file("lock", path)(error)),
        }
    }

    /// Takes the lock of an existing file after whoever holds it; `None` where there is no file.
    pub(crate) fn wait(path: &Path) -> Result<Option<Self>> {
        let file = match File::options().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("open", path)(error)),
        };
        file.lock().map_err(Error::file("lock", path))?;
        Ok(Some(Self { file }))
    }
}

fn open_or_create(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(Error::file("open", path))
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Not by closing alone: a process that another thread is just starting has a copy of the
        // handle until it becomes another program. What cannot be unlocked is closed now.
        let _ = self.file.unlock();
    }
}

/// What [`Lock::try_take`] found.
#[derive(Debug)]
pub(crate) enum Probe {
    /// The lock is the caller's now.
    Taken(Lock),
    /// Somebody else's.
    Held,
    /// There is no lock file.
    Absent,
}
