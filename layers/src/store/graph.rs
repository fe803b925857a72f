//! What an entry of `index.json` leads to.

use std::collections::BTreeSet;

use oci_spec::image::{Descriptor, ImageIndex};

use super::Store;
use crate::{
    Digest, Image,
    error::{Error, Result},
    image::digest_of,
    limits,
    media::{self, Role},
};

/// How deep indexes may hold indexes.
const DEPTH_MAX: usize = 8;

/// Everything that keeps an image whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reachable {
    pub(crate) blobs: BTreeSet<Digest>,
    pub(crate) diff_ids: BTreeSet<Digest>,
}

impl Store {
    /// The image with this manifest.
    ///
    /// # Errors
    ///
    /// [`Error::MissingBlob`] if the store does not have it.
    pub fn image(&self, digest: &Digest) -> Result<Image> {
        let manifest = self.document(*digest, "the image")?;
        let config = crate::image::parse_manifest(*digest, &manifest)?.config().clone();
        let what = format!("manifest {digest}");
        Image::new(*digest, &manifest, &self.document(digest_of(&config)?, &what)?)
    }

    /// The images that a descriptor leads to, in order. Of an index, those that the store has:
    /// archives often hold an index and one of its images.
    pub(crate) fn images_under(&self, descriptor: &Descriptor) -> Result<Vec<Image>> {
        let mut images = Vec::new();
        let mut seen = BTreeSet::new();
        self.walk(descriptor, DEPTH_MAX, &mut seen, &mut images)?;
        Ok(images)
    }

    /// All blobs and layers that a descriptor leads to.
    pub(crate) fn reach(&self, descriptor: &Descriptor, reachable: &mut Reachable) -> Result<()> {
        let mut images = Vec::new();
        let mut seen = BTreeSet::new();
        self.walk(descriptor, DEPTH_MAX, &mut seen, &mut images)?;
        reachable.blobs.append(&mut seen);
        for image in images {
            reachable.blobs.insert(image.config_digest);
            for (layer, diff_id) in image.layers() {
                reachable.blobs.insert(digest_of(layer)?);
                reachable.diff_ids.insert(diff_id);
            }
        }
        Ok(())
    }

    /// Goes through images and indexes, each index once: what refers to one many times, on several
    /// levels, would otherwise take ages.
    fn walk(
        &self,
        descriptor: &Descriptor,
        depth: usize,
        seen: &mut BTreeSet<Digest>,
        images: &mut Vec<Image>,
    ) -> Result<()> {
        let digest = digest_of(descriptor)?;
        let new = seen.insert(digest);
        match media::role(descriptor.media_type()) {
            Some(Role::Index) if !new => Ok(()),
            Some(Role::Manifest) => {
                let mut found = self.image(&digest)?;
                if let Some(platform) = descriptor.platform() {
                    found.platform = platform.into();
                }
                images.push(found);
                if images.len() > limits::IMAGES_MAX { Err(too_many("the index")) } else { Ok(()) }
            }
            Some(Role::Index) if depth > 0 => {
                for child in self.children(digest)? {
                    if self.blob_size(digest_of(&child)?)?.is_some() {
                        self.walk(&child, depth - 1, seen, images)?;
                    }
                }
                Ok(())
            }
            Some(Role::Index) => Err(Error::Inconsistent {
                what: format!("index {digest}"),
                reason: "indexes are nested too deeply".to_owned(),
            }),
            _ => Err(Error::MediaType {
                what: format!("blob {digest}"),
                media_type: descriptor.media_type().to_string(),
            }),
        }
    }

    /// The images and indexes that an index holds.
    fn children(&self, digest: Digest) -> Result<Vec<Descriptor>> {
        let content = self.document(digest, "the image")?;
        let index = parse_index(&format!("index {digest}"), &content)?;
        Ok(index.manifests().iter().filter(|child| !is_attestation(child)).cloned().collect())
    }
}

pub(crate) fn parse_index(what: &str, content: &[u8]) -> Result<ImageIndex> {
    let index: ImageIndex = serde_json::from_slice(content)
        .map_err(|source| Error::Malformed { what: what.to_owned(), source })?;
    if index.manifests().len() > limits::IMAGES_MAX {
        return Err(too_many(what));
    }
    Ok(index)
}

fn too_many(what: &str) -> Error {
    let reason = format!("it holds more than {} images", limits::IMAGES_MAX);
    Error::Inconsistent { what: what.to_owned(), reason }
}

/// Whether a manifest of an index is no image but a statement about one: `BuildKit` adds them for
/// the platform `unknown/unknown`.
pub(crate) fn is_attestation(descriptor: &Descriptor) -> bool {
    let unknown = descriptor.platform().as_ref().is_some_and(|platform| {
        platform.os().to_string() == "unknown" && platform.architecture().to_string() == "unknown"
    });
    let annotations = descriptor.annotations().as_ref();
    unknown || annotations.is_some_and(|all| all.contains_key("vnd.docker.reference.type"))
}
