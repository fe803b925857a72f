//! Images: one manifest with its config.

use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest};

use crate::{
    Digest, Platform,
    error::{Error, Result},
    media::{self, Role},
};

/// An image for one platform, as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// The manifest's digest.
    pub digest: Digest,
    /// The config's digest, which is what Docker calls the image's id.
    pub config_digest: Digest,
    /// The manifest.
    pub manifest: ImageManifest,
    /// The config: what to run, and with what.
    pub config: ImageConfiguration,
    /// What the image was made for.
    pub platform: Platform,
    /// The digests of the layers' uncompressed archives, the lowest first.
    pub diff_ids: Vec<Digest>,
}

impl Image {
    /// Puts manifest and config together.
    ///
    /// # Errors
    ///
    /// When media types are unknown, or the two don't speak of the same layers.
    pub(crate) fn new(digest: Digest, manifest: &[u8], config: &[u8]) -> Result<Self> {
        let manifest = parse_manifest(digest, manifest)?;
        let config_digest = digest_of(manifest.config())?;
        let config: ImageConfiguration = serde_json::from_slice(config).map_err(|source| {
            Error::Malformed { what: format!("config {config_digest}"), source }
        })?;
        let diff_ids = config
            .rootfs()
            .diff_ids()
            .iter()
            .map(|id| id.parse())
            .collect::<Result<Vec<_>, _>>()?;
        if diff_ids.len() != manifest.layers().len() {
            return Err(Error::Inconsistent {
                what: format!("image {digest}"),
                reason: format!(
                    "its manifest has {} layers, its config {}",
                    manifest.layers().len(),
                    diff_ids.len()
                ),
            });
        }
        let platform = Platform {
            os: config.os().to_string(),
            architecture: config.architecture().to_string(),
            variant: config.variant().clone().filter(|variant| !variant.is_empty()),
        };
        Ok(Self { digest, config_digest, manifest, config, platform, diff_ids })
    }

    /// The layers, the lowest first: the descriptor of the archive as it is kept, and its diffID.
    pub fn layers(&self) -> impl Iterator<Item = (&Descriptor, Digest)> {
        self.manifest.layers().iter().zip(self.diff_ids.iter().copied())
    }
}

/// Reads a manifest and checks that it is one of a container image.
pub(crate) fn parse_manifest(digest: Digest, bytes: &[u8]) -> Result<ImageManifest> {
    let manifest: ImageManifest = serde_json::from_slice(bytes)
        .map_err(|source| Error::Malformed { what: format!("manifest {digest}"), source })?;
    media::expect(manifest.config().media_type(), Role::Config, || {
        format!("the config of manifest {digest}")
    })?;
    for layer in manifest.layers() {
        media::expect(layer.media_type(), Role::Layer, || format!("layer {}", layer.digest()))?;
    }
    Ok(manifest)
}

/// The digest that a descriptor names.
pub(crate) fn digest_of(descriptor: &Descriptor) -> Result<Digest> {
    Ok(descriptor.digest().as_ref().parse()?)
}
