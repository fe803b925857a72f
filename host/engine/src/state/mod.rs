//! The containers of one root on disk.
//!
//! ```text
//! ROOT/containers/<id>/lock          held by the creator, the supervisor, or the remover
//!                      config.json   the Container; a directory without it is no container
//!                      volatile      where the container need not outlive a crash of the machine
//!                      state.json    the State; absent until the first start
//!                      log.json      absent until the first output
//!                      upper, work   the snapshot's
//!                      state/        the backend's
//! ROOT/containers/.lock              shared while a directory and its lock are made
//! ROOT/names/<name>                  holds an id; stale where that id has no directory
//! ROOT/names/.renaming               holds the id of a container that is being renamed
//! ROOT/run/                          control sockets of running containers
//! ```
//!
//! A container whose state says `running` and whose lock is free has lost its supervisor. A
//! directory without record whose lock is free is what a process left that was killed while it
//! made or removed the container.

mod durable;
mod lock;
mod names;
mod remove;
mod rename;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use silo_isolation::Limits;

pub(crate) use self::{
    durable::{Durability, replace, replace_on_full_disk, sync_parent},
    lock::{Lock, Probe},
    names::{remove_file, short},
    remove::remove_tree,
};
use crate::{Container, Error, Result, State, names as ids};

/// The containers of one root.
#[derive(Clone, Debug)]
pub(crate) struct Containers {
    root: PathBuf,
    directory: PathBuf,
    names: PathBuf,
}

impl Containers {
    /// The containers of `root`, whose directories are made where they do not exist.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).map_err(Error::file("make absolute", root))?;
        let directory = root.join("containers");
        let names = root.join("names");
        for path in [&root, &directory, &names] {
            if !path.is_dir() {
                create_private_directory(path)?;
                sync_parent(path)?;
            }
        }
        Ok(Self { root, directory, names })
    }

    /// The root itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of container `id`.
    pub(crate) fn directory(&self, id: &str) -> PathBuf {
        self.directory.join(id)
    }

    /// The lock file of container `id`.
    pub(crate) fn lock_path(&self, id: &str) -> PathBuf {
        self.directory.join(id).join("lock")
    }

    /// The log of container `id`.
    pub(crate) fn log_path(&self, id: &str) -> PathBuf {
        self.directory.join(id).join("log.json")
    }

    /// Where the backend of container `id` keeps what it needs.
    pub(crate) fn state_directory(&self, id: &str) -> PathBuf {
        self.directory.join(id).join("state")
    }

    /// Whether `id`, found under a name, is no container's.
    pub(crate) fn is_stale(&self, id: &str) -> bool {
        !self.has_directory(id)
    }

    fn config_path(&self, id: &str) -> PathBuf {
        self.directory.join(id).join("config.json")
    }

    fn volatile_path(&self, id: &str) -> PathBuf {
        self.directory.join(id).join("volatile")
    }

    fn state_path(&self, id: &str) -> PathBuf {
        self.directory.join(id).join("state.json")
    }

    fn has_directory(&self, id: &str) -> bool {
        ids::is_id(id) && self.directory(id).is_dir()
    }

    /// Shared while a directory is there and its lock is not, at its beginning and its end.
    fn adding_path(&self) -> PathBuf {
        self.directory.join(".lock")
    }

    /// Makes the directory of a new container and takes its lock.
    pub(crate) fn add(&self, id: &str) -> Result<Lock> {
        let _adding = Lock::share(&self.adding_path())?;
        let directory = self.directory(id);
        create_private_directory(&directory)?;
        let state = directory.join("state");
        fs::create_dir(&state)
            .map_err(Error::file("create", state))
            .and_then(|()| Lock::create(&self.lock_path(id)))
            .inspect_err(|_| {
                // It is nobody's yet, and why it failed is what to tell.
                let _ = fs::remove_dir_all(&directory);
            })
    }

    /// The lock of a directory without record that nobody is making or removing, if it is one.
    pub(crate) fn lock_orphan(&self, id: &str) -> Result<Option<Lock>> {
        // Who makes one has made the lock file and locked it, and who removes one has removed
        // both, once nobody shares this.
        let Some(_nobody_adds) = Lock::try_create(&self.adding_path())? else {
            return Ok(None);
        };
        let path = self.lock_path(id);
        let lock = match Lock::try_take(&path)? {
            Probe::Taken(lock) => lock,
            Probe::Absent if self.has_directory(id) => Lock::create_or_wait(&path)?,
            Probe::Held | Probe::Absent => return Ok(None),
        };
        Ok((!self.is_published(id)).then_some(lock))
    }

    /// Makes a new container visible.
    pub(crate) fn publish(&self, container: &Container, durability: Durability) -> Result<()> {
        if durability == Durability::Volatile {
            // Before the record: journals keep the order of such changes.
            let path = self.volatile_path(&container.id);
            fs::File::create(&path).map_err(Error::file("create", path))?;
        }
        replace(&self.config_path(&container.id), &json(container), durability)?;
        if durability == Durability::Synced {
            sync_parent(&self.directory(&container.id))?;
            sync_parent(&self.names.join(&container.name))?;
        }
        Ok(())
    }

    /// Whether container `id` must outlive a crash of the machine.
    pub(crate) fn durability(&self, id: &str) -> Durability {
        if self.volatile_path(id).exists() { Durability::Volatile } else { Durability::Synced }
    }

    /// What container `id` is.
    pub(crate) fn load(&self, id: &str) -> Result<Container> {
        Self::read(id, &self.config_path(id))?.ok_or_else(|| Error::NotFound(short(id).to_owned()))
    }

    /// Writes what container `id` may use up, whatever its name is by now. Its lock is the caller's.
    pub(crate) fn save_limits(&self, id: &str, limits: &Limits) -> Result<()> {
        let _lock = self.lock_names()?;
        let mut container = self.load(id)?;
        container.bundle.limits = limits.clone();
        self.rewrite(&container, self.durability(id))
    }

    /// How container `id` fares, as it was written last.
    pub(crate) fn load_state(&self, id: &str) -> Result<State> {
        Ok(Self::read(id, &self.state_path(id))?.unwrap_or_default())
    }

    /// Writes how a container fares. Its lock is the caller's.
    pub(crate) fn save_state(&self, container: &Container, state: &State) -> Result<()> {
        let durability = self.durability(&container.id);
        replace_on_full_disk(&self.state_path(&container.id), &json(state), durability)
    }

    fn read<T: DeserializeOwned>(id: &str, path: &Path) -> Result<Option<T>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Corrupt {
            path: path.to_owned(),
            container: short(id).to_owned(),
            source,
        })
    }

    /// The ids of all containers, in no order. Those in the making or in removal are left out.
    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        Ok(self.directories()?.into_iter().filter(|id| self.config_path(id).exists()).collect())
    }

    /// The ids that have a directory, whole or not.
    pub(crate) fn directories(&self) -> Result<Vec<String>> {
        let list = || Error::file("list", &self.directory);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(list())? {
            let name = entry.map_err(list())?.file_name();
            found.extend(name.into_string().ok().filter(|name| ids::is_id(name)));
        }
        Ok(found)
    }

    /// Replaces a record. The names' lock is the caller's.
    fn rewrite(&self, container: &Container, durability: Durability) -> Result<()> {
        replace(&self.config_path(&container.id), &json(container), durability)
    }

    /// Whether container `id`'s record exists.
    pub(crate) fn is_published(&self, id: &str) -> bool {
        self.config_path(id).exists()
    }

    /// The id that `query` stands for: a whole id, a name, or the beginning of one id.
    pub(crate) fn find(&self, query: &str) -> Result<String> {
        if ids::is_id(query) && self.is_published(query) {
            return Ok(query.to_owned());
        }
        if let Some(id) = self.named(query)?
            && ids::is_id(&id)
            && self.is_published(&id)
        {
            return Ok(id);
        }
        let mut found = Vec::new();
        if ids::is_id_prefix(query) {
            found = self.ids()?;
            found.retain(|id| id.starts_with(query));
        }
        match found.len() {
            0 => Err(Error::NotFound(query.to_owned())),
            1 => Ok(found.remove(0)),
            _ => {
                found.sort_unstable();
                let ids = found.iter().map(|id| short(id).to_owned()).collect();
                Err(Error::Ambiguous { query: query.to_owned(), ids })
            }
        }
    }
}

/// `value` as the files hold it.
fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("records have string keys and serialise")
}

/// Makes a directory that only its owner may enter, with its parents.
pub(crate) fn create_private_directory(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(Error::file("create", path))
}

#[cfg(test)]
mod tests;
