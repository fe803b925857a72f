//! Listing and naming images.

use std::{collections::BTreeMap, time::SystemTime};

use super::{Store, Work, refs};
use crate::{
    Digest, Image, Platform, Reference,
    error::Result,
    image::digest_of,
    media::{self, Role},
};

/// An image or index of the store with all its names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageSummary {
    /// Its names, sorted; none if it was replaced under its last one.
    pub names: Vec<Reference>,
    /// That of an image, as [`Image::id`] has it; the index's own digest of an index.
    pub id: Digest,
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// When it was made, where its config says so; of an index, its newest image.
    pub created: Option<SystemTime>,
    /// Bytes of its blobs, as they are kept: mostly compressed. What images share counts for each.
    pub size: u64,
    /// What it was made for.
    pub platforms: Vec<Platform>,
}

impl Store {
    /// All images and indexes, the newest first.
    pub fn images(&self) -> Result<Vec<ImageSummary>> {
        // So that none is removed between its name and its manifest. Whoever may not lock a store
        // sees what there is all the same.
        let _pin = self.pin().ok();
        let mut by_digest: BTreeMap<Digest, ImageSummary> = BTreeMap::new();
        for entry in self.entries()? {
            if let Some(known) = by_digest.get_mut(&entry.digest) {
                known.names.extend(entry.name);
                continue;
            }
            let images = self.images_under(&entry.descriptor)?;
            let index = media::role(entry.descriptor.media_type()) == Some(Role::Index);
            let id = match images.first() {
                Some(image) if !index => image.id,
                _ => entry.digest,
            };
            let mut blobs = BTreeMap::from([(entry.digest, entry.descriptor.size())]);
            images.iter().try_for_each(|image| add_sizes(image, &mut blobs))?;
            by_digest.insert(
                entry.digest,
                ImageSummary {
                    names: entry.name.into_iter().collect(),
                    id,
                    digest: entry.digest,
                    created: images.iter().filter_map(Image::created).max(),
                    size: blobs.values().sum(),
                    platforms: images.into_iter().map(|image| image.platform).collect(),
                },
            );
        }
        let mut images: Vec<_> = by_digest.into_values().collect();
        for image in &mut images {
            image.names.sort();
        }
        images.sort_by(|a, b| (b.created, &a.names).cmp(&(a.created, &b.names)));
        Ok(images)
    }

    /// The images of a summary: itself, or those of an index that the store has.
    pub fn members(&self, summary: &ImageSummary) -> Result<Vec<Image>> {
        let _pin = self.pin().ok();
        let entries = self.entries()?;
        let entry = entries.iter().find(|entry| entry.digest == summary.digest);
        entry.map_or_else(|| Ok(Vec::new()), |entry| self.images_under(&entry.descriptor))
    }

    /// Gives the image `from`, by name or id, another name. An image that had it loses it.
    pub fn tag(&self, from: &str, to: &Reference) -> Result<()> {
        let _pin = self.pin()?;
        let work = Work::new(self)?;
        let target = self.find(from)?;
        self.change_entries(&work, |entries| refs::set(entries, &target.descriptor, Some(to)))
    }
}

fn add_sizes(image: &Image, blobs: &mut BTreeMap<Digest, u64>) -> Result<()> {
    let config = image.manifest.config();
    for descriptor in image.manifest.layers().iter().chain([config]) {
        blobs.insert(digest_of(descriptor)?, descriptor.size());
    }
    Ok(())
}
