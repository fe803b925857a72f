//! Which images of an index are fetched.

use oci_spec::image::Descriptor;
use silo_layers::{Document, Error, Image, Platform, Store};

use super::{Selection, Transfer};
use crate::{
    Result,
    fetch::{Manifest, digest_of},
};

/// How deep indexes may hold indexes.
const DEPTH_MAX: usize = 8;

/// An image that can be chosen.
struct Candidate {
    descriptor: Descriptor,
    /// Said by the index, or else by the image's config.
    platform: Platform,
    /// The image, if it had to be looked at.
    image: Option<Image>,
}

impl Transfer<'_> {
    /// The images that are wanted, with all of their documents in the store.
    pub(super) fn choose(&self, root: &Manifest, selection: &Selection) -> Result<Vec<Image>> {
        let mut candidates = Vec::new();
        self.collect(root, DEPTH_MAX, &mut candidates)?;
        if candidates.is_empty() {
            return Err(inconsistent(root, "it holds no image"));
        }
        let chosen = match selection {
            Selection::All => candidates,
            Selection::First(wanted) => vec![self.first(candidates, wanted)?],
        };
        chosen.into_iter().map(|candidate| self.image(candidate)).collect()
    }

    fn first(&self, mut candidates: Vec<Candidate>, wanted: &[Platform]) -> Result<Candidate> {
        let platforms = candidates.iter().map(|candidate| &candidate.platform);
        match Platform::choose(platforms, wanted) {
            Some(position) => Ok(candidates.swap_remove(position)),
            None => Err(Error::NoSuchPlatform {
                name: self.reference.familiar(),
                wanted: wanted.to_vec(),
                available: candidates.into_iter().map(|candidate| candidate.platform).collect(),
            }
            .into()),
        }
    }

    /// Goes through a manifest or index, adding each index to the store.
    fn collect(
        &self,
        manifest: &Manifest,
        depth: usize,
        candidates: &mut Vec<Candidate>,
    ) -> Result<()> {
        let media_type = manifest.descriptor.media_type().to_string();
        let children = match Document::read(&media_type, &manifest.content)? {
            Document::Image(config) => {
                let image = self.image_of(manifest, &config)?;
                let platform = image.platform.clone();
                let descriptor = manifest.descriptor.clone();
                candidates.push(Candidate { descriptor, platform, image: Some(image) });
                return Ok(());
            }
            Document::Index(children) => children,
        };
        if depth == 0 {
            return Err(inconsistent(manifest, "indexes are nested too deeply"));
        }
        self.incoming.add_document(&manifest.content)?;
        for child in children {
            match child.platform().as_ref().map(Platform::from) {
                Some(platform) => {
                    candidates.push(Candidate { descriptor: child, platform, image: None });
                }
                None => match self.collect(&self.fetched(&child)?, depth - 1, candidates) {
                    // An artifact of another kind, such as a signature.
                    Err(crate::Error::Image(Error::MediaType { .. })) => {}
                    result => result?,
                },
            }
        }
        Ok(())
    }

    /// The image of a candidate, all of whose documents are then in the store.
    fn image(&self, candidate: Candidate) -> Result<Image> {
        if let Some(image) = candidate.image {
            return Ok(image);
        }
        let manifest = self.fetched(&candidate.descriptor)?;
        let media_type = manifest.descriptor.media_type().to_string();
        match Document::read(&media_type, &manifest.content)? {
            Document::Image(config) => self.image_of(&manifest, &config),
            Document::Index(_) => {
                Err(inconsistent(&manifest, "the index that holds it says that it is an image"))
            }
        }
    }

    fn fetched(&self, descriptor: &Descriptor) -> Result<Manifest> {
        self.manifest(digest_of(descriptor)?, descriptor.media_type().as_ref())
    }

    /// The image that a manifest is of; manifest and config come into the store.
    fn image_of(&self, manifest: &Manifest, config: &Descriptor) -> Result<Image> {
        let config = self.config(config)?;
        let image = Store::image_of(&manifest.content, &config)?;
        self.incoming.add_document(&config)?;
        self.incoming.add_document(&manifest.content)?;
        Ok(image)
    }
}

fn inconsistent(index: &Manifest, reason: &str) -> crate::Error {
    let what = format!("index {}", index.descriptor.digest());
    Error::Inconsistent { what, reason: reason.to_owned() }.into()
}
