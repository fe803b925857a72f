//! How much room the store takes.

use std::{collections::BTreeSet, fs, path::Path};

use super::{Store, graph::Reachable, remove::tree_size};
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
    /// The blobs: what images were loaded from.
    pub blobs: Share,
    /// The layers, unpacked.
    pub layers: Share,
    /// What backends keep to be faster.
    pub cache: Share,
}

/// A part of [`Usage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How many there are.
    pub count: usize,
    /// Bytes of their files.
    pub size: u64,
    /// How many of the bytes no image with a name needs.
    pub reclaimable: u64,
}

impl Store {
    /// How much room the store takes. Looks at every file of every layer.
    pub fn usage(&self) -> Result<Usage> {
        let entries = self.entries()?;
        let mut named = Reachable::default();
        for entry in entries.iter().filter(|entry| entry.name.is_some()) {
            self.reach(&entry.descriptor, &mut named)?;
        }
        let digests: BTreeSet<Digest> = entries.iter().map(|entry| entry.digest).collect();
        Ok(Usage {
            images: digests.len(),
            blobs: share(&self.root.join("blobs/sha256"), Some(&named.blobs))?,
            layers: share(&self.root.join("layers"), Some(&named.diff_ids))?,
            cache: share(&self.root.join("cache"), None)?,
        })
    }
}

/// Sums up a directory. Without a set of what is `needed`, all of it is reclaimable.
fn share(directory: &Path, needed: Option<&BTreeSet<Digest>>) -> Result<Share> {
    let mut share = Share::default();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(share),
        entries => entries.map_err(Error::io("list", directory))?,
    };
    for entry in entries {
        let entry = entry.map_err(Error::io("list", directory))?;
        let metadata = entry.metadata().map_err(Error::io("look at", &entry.path()))?;
        let size = if metadata.is_dir() { tree_size(&entry.path()) } else { metadata.len() };
        share.count += 1;
        share.size += size;
        let digest = entry.file_name().to_str().and_then(Digest::from_hex);
        let kept = needed.zip(digest).is_some_and(|(needed, digest)| needed.contains(&digest));
        share.reclaimable += if kept { 0 } else { size };
    }
    Ok(share)
}
