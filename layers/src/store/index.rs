//! Joining images for several platforms under one name.

use oci_spec::image::{Arch, Descriptor, MediaType, Os, PlatformBuilder};

use super::{Store, Work, refs};
use crate::{
    Digest, Image, Platform, Reference,
    error::{Error, Result},
};

impl Store {
    /// Makes an index of images, by name, id or digest, and gives it the name `name`. Of a member
    /// that is an index itself, all its images join. Returns the digest of the index.
    ///
    /// # Errors
    ///
    /// [`Error::Inconsistent`] if there is no member, or two are for one platform.
    pub fn index(&self, name: &Reference, members: &[&str]) -> Result<Digest> {
        let _pin = self.pin()?;
        let work = Work::new(self)?;
        let mut images: Vec<Image> = Vec::new();
        for member in members {
            for image in self.images_under(&self.find(member)?.descriptor)? {
                if images.iter().any(|known| known.platform == image.platform) {
                    let reason = format!("two of its images are for {}", image.platform);
                    return Err(inconsistent(name, reason));
                }
                images.push(image);
            }
        }
        if images.is_empty() {
            return Err(inconsistent(name, "it holds no image".to_owned()));
        }
        let children = images
            .iter()
            .map(|image| self.child(image).map_err(|reason| inconsistent(name, reason)))
            .collect::<Result<Vec<_>>>()?;
        let content = serde_json::to_vec(&refs::index_of(children))
            .map_err(|source| Error::Malformed { what: format!("index {name}"), source })?;
        let digest = self.add_document(&work, &content)?;
        let size = content.len() as u64;
        let target = super::import::descriptor(MediaType::ImageIndex, size, digest)?;
        self.name(&work, &target, Some(name))?;
        Ok(digest)
    }

    fn child(&self, image: &Image) -> Result<Descriptor, String> {
        let size = self.blob_size(image.digest).map_err(|error| error.to_string())?;
        let media_type = image.manifest.media_type().clone().unwrap_or(MediaType::ImageManifest);
        let mut descriptor =
            super::import::descriptor(media_type, size.unwrap_or_default(), image.digest)
                .map_err(|error| error.to_string())?;
        descriptor.set_platform(Some(platform(&image.platform)?));
        Ok(descriptor)
    }
}

fn platform(platform: &Platform) -> Result<oci_spec::image::Platform, String> {
    let builder = PlatformBuilder::default()
        .os(Os::from(platform.os.as_str()))
        .architecture(Arch::from(platform.architecture.as_str()));
    let built = match &platform.variant {
        Some(variant) => builder.variant(variant.as_str()).build(),
        None => builder.build(),
    };
    built.map_err(|error| error.to_string())
}

fn inconsistent(name: &Reference, reason: String) -> Error {
    Error::Inconsistent { what: format!("index {name}"), reason }
}
