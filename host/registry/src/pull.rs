//! Pulling: from a name to an image in the store.

mod choice;

use std::{
    collections::BTreeSet,
    io::Read,
    sync::atomic::{AtomicBool, Ordering},
};

use oci_spec::image::Descriptor;
use silo_layers::{Digest, Image, Incoming, Platform, Reference, Store};

use crate::{
    Arrival, Client, OnProgress, Progress, Result,
    blob::Blob,
    fetch::{self, Manifest, digest_of},
    parallel,
    repository::Repository,
};

/// How often a layer is fetched that comes damaged.
const ATTEMPTS: usize = 3;

/// Which images of an index are pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The one for the first of these platforms that there is one for.
    First(Vec<Platform>),
    /// All.
    All,
}

/// What was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pulled {
    /// The digest of the manifest or index that the name means.
    pub digest: Digest,
    /// The id of the image, of several the first's.
    pub id: Digest,
    /// Whether the store had all of it, under this name.
    pub known: bool,
}

/// One image on its way from a repository to a store.
struct Transfer<'a> {
    repository: &'a Repository<'a>,
    incoming: &'a Incoming<'a>,
    reference: &'a Reference,
    progress: OnProgress<'a>,
    /// Whether a layer had to be fetched.
    fetched: AtomicBool,
}

impl Client {
    /// Fetches what `reference` names into the store, as far as the store does not have it. It is
    /// there under its name when all of it is.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`](crate::Error::NoSuchImage), which lists the tags that there are; among [`Error::Image`](crate::Error::Image)
    /// [`silo_layers::Error::NoSuchPlatform`], which lists the platforms.
    pub fn pull(
        &self,
        store: &Store,
        reference: &Reference,
        selection: &Selection,
        progress: OnProgress<'_>,
    ) -> Result<Pulled> {
        let repository = self.repository(reference, false);
        let before = store.digest_of(reference)?;
        store.receive(|incoming| {
            let fetched = AtomicBool::new(false);
            let transfer =
                Transfer { repository: &repository, incoming, reference, progress, fetched };
            let root = transfer.root()?;
            let images = transfer.choose(&root, selection)?;
            transfer.layers(&images)?;
            let complete = !transfer.fetched.load(Ordering::Relaxed);
            self.check()?;
            incoming.name(&root.descriptor, reference)?;
            let digest = digest_of(&root.descriptor)?;
            let id = images.first().map_or(digest, |image| image.id);
            Ok(Pulled { digest, id, known: complete && before == Some(digest) })
        })
    }
}

impl Transfer<'_> {
    /// What the name means: an image or an index.
    fn root(&self) -> Result<Manifest> {
        if let Some(digest) = self.reference.digest() {
            return self.manifest(*digest, "");
        }
        match self.repository.digest_of(self.reference)? {
            Some((digest, media_type)) => self.manifest(digest, &media_type),
            None => self.repository.tagged_manifest(self.reference),
        }
    }

    /// A manifest or index, fetched unless the store has it.
    fn manifest(&self, digest: Digest, media_type: &str) -> Result<Manifest> {
        match self.incoming.document(digest)? {
            Some(content) => fetch::manifest_of(media_type, content),
            None => self.repository.manifest(digest, self.reference),
        }
    }

    /// A config, fetched unless the store has it.
    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let digest = digest_of(descriptor)?;
        match self.incoming.document(digest)? {
            Some(content) => Ok(content),
            None => self.repository.config(digest, self.reference),
        }
    }

    /// Fetches the layers of all images, each once.
    fn layers(&self, images: &[Image]) -> Result<()> {
        let mut seen = BTreeSet::new();
        let layers = images.iter().flat_map(Image::layers);
        let new: Vec<_> = layers
            .filter(|(layer, diff_id)| seen.insert((layer.digest().to_string(), *diff_id)))
            .collect();
        parallel::each(new, |(layer, diff_id)| self.layer(layer, diff_id))
    }

    fn layer(&self, layer: &Descriptor, diff_id: Digest) -> Result<()> {
        let blob = digest_of(layer)?;
        (self.progress)(Progress::Started { blob, size: layer.size() });
        let known = self.incoming.has_layer(layer, diff_id)?;
        if !known {
            if let Some(mut blob) = self.incoming.layer_blob(layer)? {
                self.unpack(layer, diff_id, &mut blob)?;
            } else {
                self.fetched.store(true, Ordering::Relaxed);
                self.fetch(layer, diff_id)?;
            }
        }
        let how = if known { Arrival::Known } else { Arrival::Sent };
        (self.progress)(Progress::Finished { blob, how });
        Ok(())
    }

    /// Fetches a layer while it is unpacked; again, if it comes damaged.
    fn fetch(&self, layer: &Descriptor, diff_id: Digest) -> Result<()> {
        let digest = digest_of(layer)?;
        let mut attempt = 1;
        loop {
            let mut blob = Blob::new(self.repository, digest, layer.size())?;
            let Err(error) = self.unpack(layer, diff_id, &mut blob) else { return Ok(()) };
            // Why the blob could not be read is what to tell.
            if let Some(failed) = blob.into_failure() {
                return Err(failed);
            }
            if attempt == ATTEMPTS || !is_damage(&error, digest) {
                return Err(error.into());
            }
            attempt += 1;
        }
    }

    fn unpack(
        &self,
        layer: &Descriptor,
        diff_id: Digest,
        content: &mut dyn Read,
    ) -> Result<(), silo_layers::Error> {
        let blob = layer.digest().as_ref().parse()?;
        self.incoming.add_layer(layer, diff_id, content, &mut |progress| {
            if let silo_layers::Progress::Advanced { read } = progress {
                (self.progress)(Progress::Advanced { blob, done: read });
            }
        })
    }
}

/// Whether a layer came other than its digest says.
fn is_damage(error: &silo_layers::Error, blob: Digest) -> bool {
    match error {
        silo_layers::Error::DigestMismatch { expected, .. } => *expected == blob,
        silo_layers::Error::SizeMismatch { .. } => true,
        _ => false,
    }
}
