//! Images that go piece by piece, as to a registry.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
};

use oci_spec::image::{Descriptor, MediaType};

use super::{Pin, Store, graph};
use crate::{
    Digest, Image, Platform, Reference,
    error::{Error, Result},
    image::digest_of,
    media::{self, Role},
};

/// An image or index that is sent elsewhere. Nothing of it is removed meanwhile.
#[derive(Debug)]
pub struct Outgoing<'a> {
    store: &'a Store,
    target: Descriptor,
    _pin: Pin,
}

impl Store {
    /// What `name` names, to send it; of an index only the image for `platform`, if that is given.
    pub fn send(&self, name: &str, platform: Option<&Platform>) -> Result<Outgoing<'_>> {
        let pin = self.pin()?;
        let target = match platform {
            None => self.find(name)?.descriptor,
            Some(platform) => {
                let image = self.resolve(name, std::slice::from_ref(platform))?;
                let size = self.blob_size(image.digest)?.unwrap_or_default();
                let media_type = image.manifest.media_type().clone();
                let media_type = media_type.unwrap_or(MediaType::ImageManifest);
                super::import::descriptor(media_type, size, image.digest)?
            }
        };
        Ok(Outgoing { store: self, target, _pin: pin })
    }

    /// The digest of the image or index of this name.
    pub fn digest_of(&self, name: &Reference) -> Result<Option<Digest>> {
        let entries = self.entries()?;
        Ok(entries.iter().find(|entry| entry.name.as_ref() == Some(name)).map(|entry| entry.digest))
    }

    /// Whether there is an image of this name or id, for whatever platform.
    pub fn has(&self, name: &str) -> Result<bool> {
        match self.find(name) {
            Ok(_) => Ok(true),
            Err(Error::NoSuchImage(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Store {
    /// Whether `name` is an index that holds an image for `platform`, which is not here: it was
    /// pulled for another.
    pub fn lacks(&self, name: &str, platform: &Platform) -> Result<bool> {
        let target = self.find(name)?.descriptor;
        if media::role(target.media_type()) != Some(Role::Index) {
            return Ok(false);
        }
        let content = self.document(digest_of(&target)?, name)?;
        let mut lacking = false;
        for child in graph::parse_index(name, &content)?.manifests() {
            let fits = child.platform().as_ref().map(Platform::from);
            if fits.is_some_and(|known| known.satisfies(platform)) {
                if self.blob_size(digest_of(child)?)?.is_some() {
                    return Ok(false);
                }
                lacking = true;
            }
        }
        Ok(lacking)
    }
}

impl Outgoing<'_> {
    /// What is sent: the image or index.
    #[must_use]
    pub const fn target(&self) -> &Descriptor {
        &self.target
    }

    /// A manifest or index of it, if the store has it: of an index often one image is there.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>> {
        let digest = digest_of(descriptor)?;
        match self.store.blob_size(digest)? {
            Some(_) => self.store.document(digest, &format!("blob {digest}")).map(Some),
            None => Ok(None),
        }
    }

    /// The blob of a config or layer, from its beginning; `what` needs it.
    pub fn blob(&self, digest: Digest, what: &str) -> Result<File> {
        self.store.open_blob(digest, what)
    }

    /// By their digests, the repositories of `registry` that hold layers of images that are here,
    /// as far as the images' names tell.
    pub fn repositories(&self, registry: &str) -> Result<BTreeMap<Digest, BTreeSet<String>>> {
        let mut repositories: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for entry in self.store.entries()? {
            let Some(name) = entry.name.filter(|name| name.registry() == registry) else {
                continue;
            };
            let images = self.store.images_under(&entry.descriptor)?;
            for (layer, _) in images.iter().flat_map(Image::layers) {
                let known = repositories.entry(digest_of(layer)?).or_default();
                known.insert(name.path().to_owned());
            }
        }
        Ok(repositories)
    }
}
