//! Images that come piece by piece and in any order, as from a registry.

use std::io::Read;

use oci_spec::image::Descriptor;

use super::{Form, LayerSource, Pin, Store, Work, graph};
use crate::{
    Digest, Image, Reference,
    error::{Error, Result, shown},
    image::digest_of,
    media::{self, Role},
    progress::OnProgress,
};

/// What is being received. Several threads may add to it at once; nothing of it is visible before
/// [`name`](Self::name).
#[derive(Debug)]
pub struct Incoming<'a> {
    store: &'a Store,
    work: Work,
    _pin: Pin,
}

/// A manifest or index, told by its media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// The images and indexes that an index holds, statements about images left out.
    Index(Vec<Descriptor>),
    /// The config that the manifest of an image refers to.
    Image(Box<Descriptor>),
}

impl Document {
    /// Reads a manifest or index.
    ///
    /// # Errors
    ///
    /// [`Error::MediaType`] if it is neither, or of another artifact than an image.
    pub fn read(media_type: &str, content: &[u8]) -> Result<Self> {
        let digest = Digest::of(content);
        match media::role(&media_type.into()) {
            Some(Role::Index) => {
                let index = graph::parse_index(&format!("index {digest}"), content)?;
                let images = index.manifests().iter();
                Ok(Self::Index(images.filter(|one| !graph::is_attestation(one)).cloned().collect()))
            }
            Some(Role::Manifest) => {
                if let Some(error) = crate::image::other_artifact(digest, content)? {
                    return Err(error);
                }
                let manifest = crate::image::parse_manifest(digest, content)?;
                Ok(Self::Image(Box::new(manifest.config().clone())))
            }
            _ => Err(Error::MediaType {
                what: format!("manifest {digest}"),
                media_type: shown(media_type.as_bytes()),
            }),
        }
    }
}

impl Store {
    /// Has `add` add an image. Where it fails, all goes that it added.
    pub fn receive<T, E>(&self, add: impl FnOnce(&Incoming<'_>) -> Result<T, E>) -> Result<T, E>
    where
        E: From<Error>,
    {
        self.collect_after(|| {
            let pin = self.pin()?;
            add(&Incoming { store: self, work: Work::new(self)?, _pin: pin })
        })
    }

    /// The image that a manifest and its config are.
    pub fn image_of(manifest: &[u8], config: &[u8]) -> Result<Image> {
        Image::new(Digest::of(manifest), manifest, config)
    }
}

impl Incoming<'_> {
    /// A manifest, index or config that the store has.
    pub fn document(&self, digest: Digest) -> Result<Option<Vec<u8>>> {
        match self.store.blob_size(digest)? {
            Some(_) => self.store.document(digest, &format!("blob {digest}")).map(Some),
            None => Ok(None),
        }
    }

    /// Adds a manifest, index or config, and returns its digest.
    pub fn add_document(&self, content: &[u8]) -> Result<Digest> {
        self.store.add_document(&self.work, content)
    }

    /// Whether a layer's blob and tree are there.
    pub fn has_layer(&self, layer: &Descriptor, diff_id: Digest) -> Result<bool> {
        self.store.has_layer(&self.work, digest_of(layer)?, layer.size(), diff_id)
    }

    /// The blob of a layer, if the store has it.
    pub fn layer_blob(&self, layer: &Descriptor) -> Result<Option<impl Read + use<>>> {
        let digest = digest_of(layer)?;
        match self.store.blob_size(digest)? {
            Some(size) if size == layer.size() => {
                self.store.open_blob(digest, &format!("layer {digest}")).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Adds a layer from its blob: in one pass it is digested, written, decompressed and unpacked. A
    /// tree that is there already is not written again.
    pub fn add_layer(
        &self,
        layer: &Descriptor,
        diff_id: Digest,
        blob: &mut dyn Read,
        progress: OnProgress<'_>,
    ) -> Result<()> {
        let digest = digest_of(layer)?;
        let source = LayerSource {
            reader: blob,
            what: format!("layer {digest}"),
            blob: Some((digest, layer.size())),
            diff_id: Some(diff_id),
            form: Form::of(layer),
        };
        self.store.add_layer(&self.work, source, progress).map(drop)
    }

    /// Gives what was received its name, in one step: an image or index, all of whose documents
    /// and layers were added or there. An image that had the name loses it.
    pub fn name(&self, target: &Descriptor, name: &Reference) -> Result<()> {
        let named = vec![(Some(name.clone()), target.clone())];
        crate::archive::publish(self.store, &self.work, named).map(drop)
    }
}
