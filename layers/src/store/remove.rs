//! Removing images, and what no image needs any more.

use std::{collections::BTreeSet, ffi::OsString, fs, path::PathBuf};

use super::{
    Pin, Store, Work,
    graph::Reachable,
    refs::{self, Entry},
    usage::disk_size,
};
use crate::{
    Digest, Reference,
    error::{Error, Result},
    files,
};

/// What a removal did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// Names that were taken away.
    pub untagged: Vec<Reference>,
    /// Manifests and indexes that are gone.
    pub deleted: Vec<Digest>,
    /// How many bytes of the disk blobs and layers had.
    pub freed: u64,
}

impl Store {
    /// Takes away the name `name`, and with an image's last name the image; with an id, the image
    /// and its name.
    ///
    /// `in_use` tells whether a container uses the image with this manifest. It is asked while
    /// nobody holds a [`pin`](Self::pin), and must not answer from before.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] unless `force`: when a container uses the image, or when an id was given and
    /// the image has several names. An image that a container uses keeps its content even by force,
    /// without name.
    pub fn remove(
        &self,
        name: &str,
        force: bool,
        in_use: &dyn Fn(&Digest) -> bool,
    ) -> Result<Removed> {
        let _lock = Pin::exclusive(&self.root.join("lock"))?;
        let work = Work::new(self)?;
        let found = self.find(name)?;
        let used = self.is_used(&found, in_use)?;
        let refuse = |reason| Err(Error::InUse { name: name.to_owned(), reason });
        let mut removed = self.change_entries(&work, |entries| {
            let names = entries.iter().filter(|entry| entry.digest == found.digest).count();
            let by_name = found.name.as_ref().is_some_and(|known| is_written(name, known));
            if by_name && names > 1 {
                refs::unset(entries, found.name.as_ref());
                return Ok(Removed {
                    untagged: found.name.iter().cloned().collect(),
                    ..Removed::default()
                });
            }
            if names > 1 && !force {
                return refuse("it has several names, and was given by its id");
            }
            if used && !force {
                return refuse("a container uses it");
            }
            Ok(drop_image(entries, &found, used))
        })?;
        removed.freed = self.collect(&work)?;
        Ok(removed)
    }

    /// Removes the images that no container uses: those that have no name, or `all` of them; `in_use`
    /// as in [`remove`](Self::remove).
    pub fn prune(&self, all: bool, in_use: &dyn Fn(&Digest) -> bool) -> Result<Removed> {
        let _lock = Pin::exclusive(&self.root.join("lock"))?;
        let work = Work::new(self)?;
        let mut removed = self.change_entries(&work, |entries| {
            let mut removed = Removed::default();
            for entry in entries.clone() {
                let candidate = (all || entry.name.is_none()) && entries.contains(&entry);
                if candidate && !self.is_used(&entry, in_use)? {
                    let Removed { untagged, deleted, .. } = drop_image(entries, &entry, false);
                    removed.untagged.extend(untagged);
                    removed.deleted.extend(deleted);
                }
            }
            Ok(removed)
        })?;
        removed.freed = self.collect(&work)?;
        Ok(removed)
    }

    fn is_used(&self, entry: &Entry, in_use: &dyn Fn(&Digest) -> bool) -> Result<bool> {
        let images = self.images_under(&entry.descriptor)?;
        Ok(in_use(&entry.digest) || images.iter().any(|image| in_use(&image.digest)))
    }

    /// Everything that the entries lead to, and that builds need.
    pub(crate) fn reachable(&self) -> Result<Reachable> {
        let mut reachable = Reachable::default();
        self.reach_builds(&mut reachable)?;
        self.entries()?
            .iter()
            .try_for_each(|entry| self.reach(&entry.descriptor, &mut reachable))?;
        Ok(reachable)
    }

    /// Adds something. Of what fails, all that was whole goes too, unless another process uses the
    /// store: that may have found it and count on it, and the next removal takes it away.
    pub(crate) fn collect_after<T, E>(&self, add: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let result = add();
        if result.is_err()
            && let Ok(Some(_lock)) = Pin::try_exclusive(&self.root.join("lock"))
        {
            // The error that led here is the one to tell.
            let _ = Work::new(self).and_then(|work| self.collect(&work));
        }
        result
    }

    /// Removes the blobs and layers that no entry leads to. The store's lock must be held.
    pub(crate) fn collect(&self, work: &Work) -> Result<u64> {
        let reachable = self.reachable()?;
        let mut freed = 0;
        for path in self.unreachable("blobs/sha256", &reachable.blobs)? {
            freed += disk_size(&path);
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        // Out of the way in one step, and for good before the first file goes: what is under
        // `layers` is whole, also when the power fails.
        let mut doomed = Vec::new();
        for path in self.unreachable("layers", &reachable.diff_ids)? {
            let target = work.path(path.file_name().unwrap_or_default());
            files::move_tree(&path, &target)?;
            doomed.push(target);
        }
        if !doomed.is_empty() {
            files::sync_dir(&self.root.join("layers"))?;
        }
        for tree in doomed {
            freed += disk_size(&tree);
            files::remove_tree(&tree)?;
        }
        Ok(freed)
    }

    /// The entries of a directory of the store that are none of the `kept`.
    pub(crate) fn unreachable(
        &self,
        directory: &str,
        kept: &BTreeSet<Digest>,
    ) -> Result<Vec<PathBuf>> {
        let directory = self.root.join(directory);
        let names: Vec<OsString> = fs::read_dir(&directory)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
            .map_err(Error::io("list", &directory))?;
        let is_kept = |name: &OsString| {
            let digest = name.to_str().and_then(Digest::from_hex);
            digest.is_some_and(|digest| kept.contains(&digest))
        };
        Ok(names.iter().filter(|name| !is_kept(name)).map(|name| directory.join(name)).collect())
    }
}

/// Whether `text` is this reference rather than the id of its image.
fn is_written(text: &str, known: &Reference) -> bool {
    text.parse::<Reference>().is_ok_and(|reference| reference == *known)
}

/// Takes an image out of the entries; one that is used stays, without name.
fn drop_image(entries: &mut Vec<Entry>, image: &Entry, used: bool) -> Removed {
    let mut removed = Removed::default();
    while let Some(position) = entries.iter().position(|entry| entry.digest == image.digest) {
        removed.untagged.extend(entries.remove(position).name);
    }
    if used {
        entries.push(refs::unnamed(image));
    } else {
        removed.deleted.push(image.digest);
    }
    removed
}
