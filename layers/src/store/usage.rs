//! How much room the store takes.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::Path,
};

use super::{Store, graph::Reachable};
use crate::{
    Digest,
    error::{Error, Result},
};

/// How much room the store takes on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// How many images and indexes there are, whatever their names.
    pub images: usize,
    /// The blobs: what images were loaded from. The index of all is among them.
    pub blobs: Share,
    /// The layers, unpacked.
    pub layers: Share,
    /// What backends keep to be faster, and unfinished work.
    pub cache: Share,
    /// What builds keep to be faster: records of steps, and the blobs and layers of those that no
    /// image needs. They are part of no other share.
    pub builds: Share,
}

/// A part of [`Usage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How many there are.
    pub count: usize,
    /// Bytes on the disk, as [`disk_size`] counts them.
    pub size: u64,
    /// How many of the bytes no image with a name needs.
    pub reclaimable: u64,
}

impl Share {
    /// Gives bytes that can be reclaimed to another share.
    const fn give(&mut self, other: &mut Self, bytes: u64) {
        self.size -= bytes;
        self.reclaimable -= bytes;
        other.size += bytes;
        other.reclaimable += bytes;
    }
}

/// What one image or index takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageUsage {
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// Bytes on the disk of all that it needs, blobs and layers.
    pub size: u64,
    /// How many of the bytes other images need as well.
    pub shared: u64,
}

impl Store {
    /// How much room the store takes. Looks at every file of every layer.
    pub fn usage(&self) -> Result<Usage> {
        let entries = self.entries()?;
        let (mut named, mut all, mut builds) =
            (Reachable::default(), Reachable::default(), Reachable::default());
        self.reach_builds(&mut builds)?;
        entries.iter().try_for_each(|entry| self.reach(&entry.descriptor, &mut all))?;
        for entry in entries.iter().filter(|entry| entry.name.is_some()) {
            self.reach(&entry.descriptor, &mut named)?;
        }
        let digests: BTreeSet<Digest> = entries.iter().map(|entry| entry.digest).collect();
        let mut usage = Usage {
            images: digests.len(),
            blobs: share(&self.root.join("blobs/sha256"), Some(&named.blobs))?,
            layers: share(&self.root.join("layers"), Some(&named.diff_ids))?,
            cache: share(&self.root.join("cache"), None)?,
            builds: Share { count: self.step_records()?.len(), ..Share::default() },
        };
        let blobs = builds.blobs.difference(&all.blobs).map(|digest| self.blob_path(*digest));
        let blobs = blobs.map(|path| disk_size(&path)).sum();
        usage.blobs.give(&mut usage.builds, blobs);
        let layers = builds.diff_ids.difference(&all.diff_ids).map(|id| self.layer_path(*id));
        let layers = layers.map(|path| disk_size(&path)).sum();
        usage.layers.give(&mut usage.builds, layers);
        let records = self.root.join("cache/build");
        if records.exists() {
            usage.cache.count -= 1;
            usage.cache.give(&mut usage.builds, disk_size(&records));
        }
        for name in ["index.json", "oci-layout"] {
            usage.blobs.size += disk_size(&self.root.join(name));
        }
        let unfinished = disk_size(&self.root.join("tmp"));
        usage.cache.size += unfinished;
        Ok(usage)
    }

    /// What each image and index takes, and how much of it others need as well.
    pub fn usage_by_image(&self) -> Result<Vec<ImageUsage>> {
        let mut reached: BTreeMap<Digest, Reachable> = BTreeMap::new();
        for entry in self.entries()? {
            let reachable = reached.entry(entry.digest).or_default();
            self.reach(&entry.descriptor, reachable)?;
        }
        let mut blobs = Sizes::default();
        let mut layers = Sizes::default();
        for reachable in reached.values() {
            reachable.blobs.iter().for_each(|digest| blobs.add(*digest, &self.blob_path(*digest)));
            reachable.diff_ids.iter().for_each(|id| layers.add(*id, &self.layer_path(*id)));
        }
        let usage = |(digest, reachable): (Digest, Reachable)| {
            let (blobs, layers) = (blobs.of(&reachable.blobs), layers.of(&reachable.diff_ids));
            ImageUsage { digest, size: blobs.0 + layers.0, shared: blobs.1 + layers.1 }
        };
        Ok(reached.into_iter().map(usage).collect())
    }
}

/// Of each thing its size, and how many images need it.
#[derive(Default)]
struct Sizes(BTreeMap<Digest, (u64, usize)>);

impl Sizes {
    fn add(&mut self, digest: Digest, path: &Path) {
        self.0.entry(digest).or_insert_with(|| (disk_size(path), 0)).1 += 1;
    }

    /// The size of all of these, and of those that more than one image needs.
    fn of(&self, digests: &BTreeSet<Digest>) -> (u64, u64) {
        let known = digests.iter().filter_map(|digest| self.0.get(digest));
        known.fold((0, 0), |(all, shared), &(size, images)| {
            (all + size, if images > 1 { shared + size } else { shared })
        })
    }
}

/// Sums up a directory. Without a set of what is `needed`, all of it is reclaimable.
fn share(directory: &Path, needed: Option<&BTreeSet<Digest>>) -> Result<Share> {
    let mut share = Share { size: own_size(directory), ..Share::default() };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(share),
        entries => entries.map_err(Error::io("list", directory))?,
    };
    for entry in entries {
        let entry = entry.map_err(Error::io("list", directory))?;
        let size = disk_size(&entry.path());
        share.count += 1;
        share.size += size;
        let digest = entry.file_name().to_str().and_then(Digest::from_hex);
        let kept = needed.zip(digest).is_some_and(|(needed, digest)| needed.contains(&digest));
        share.reclaimable += if kept { 0 } else { size };
    }
    Ok(share)
}

/// Bytes that `path`, with all that is below it, takes on the disk, as du(1) counts: whole blocks,
/// directories among them, and a file with several names once. No link is followed; what cannot be
/// looked at, or goes away meanwhile, counts nothing. On Windows, bytes of the files.
#[must_use]
pub fn disk_size(path: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut size = 0;
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if several_names(&metadata).is_none_or(|identity| seen.insert(identity)) {
            size += allocated(&metadata);
        }
        if metadata.is_dir() {
            pending.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path()));
        }
    }
    size
}

fn own_size(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |metadata| allocated(&metadata))
}

#[cfg(unix)]
fn allocated(metadata: &fs::Metadata) -> u64 {
    // Blocks of 512 bytes, whatever the file system's are (stat(2)).
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(not(unix))]
fn allocated(metadata: &fs::Metadata) -> u64 {
    if metadata.is_dir() { 0 } else { metadata.len() }
}

/// What tells a file with several names from others.
#[cfg(unix)]
fn several_names(metadata: &fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    (!metadata.is_dir() && metadata.nlink() > 1).then(|| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn several_names(_: &fs::Metadata) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn sizes_are_those_of_du() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/file"), vec![1; 100_000]).unwrap();
        fs::hard_link(dir.path().join("a/file"), dir.path().join("a/b/same")).unwrap();
        let sparse = fs::File::create(dir.path().join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
        let du = std::process::Command::new("du").arg("-s").arg("-B1").arg(dir.path()).output();
        let du = String::from_utf8(du.unwrap().stdout).unwrap();
        assert_eq!(disk_size(dir.path()).to_string(), du.split('\t').next().unwrap());
    }
}
