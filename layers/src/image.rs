//! Images: one manifest with its config.

use std::time::SystemTime;

use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest, MediaType};
use serde_json::Value;

use crate::{
    Digest, Platform, artifact,
    error::{Error, Result, shown},
    limits,
    media::{self, Role},
};

/// An image for one platform, as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// The manifest's digest.
    pub digest: Digest,
    /// The config's digest, by which Docker knows an image; the manifest's of a WebAssembly
    /// artifact, as many of those have one and the same config.
    pub id: Digest,
    /// The config's digest.
    pub config_digest: Digest,
    /// The manifest.
    pub manifest: ImageManifest,
    /// The config: what to run, and with what. That of a WebAssembly artifact is made up.
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
        let is_artifact = artifact::is_config(manifest.config().media_type());
        let mut config = if is_artifact {
            artifact::configuration(&manifest, config, &format!("manifest {digest}"))?
        } else {
            parse_config(config, &format!("config {config_digest}"))?
        };
        let diff_ids = diff_ids_of(&config)?;
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
        let programs = programs(&manifest);
        if programs > 1 {
            return Err(Error::Inconsistent {
                what: format!("image {digest}"),
                reason: "more than one of its layers is a WebAssembly program".to_owned(),
            });
        }
        if programs == 1 && !is_artifact {
            artifact::start_program(&mut config);
        }
        let platform = Platform {
            os: config.os().to_string(),
            architecture: config.architecture().to_string(),
            variant: config.variant().clone().filter(|variant| !variant.is_empty()),
        };
        let id = if is_artifact { digest } else { config_digest };
        Ok(Self { digest, id, config_digest, manifest, config, platform, diff_ids })
    }

    /// When it was made, where its config says so.
    #[must_use]
    pub fn created(&self) -> Option<SystemTime> {
        let timestamp: jiff::Timestamp = self.config.created().as_ref()?.parse().ok()?;
        Some(timestamp.into())
    }

    /// Whether a layer of it is a WebAssembly program instead of an archive.
    pub(crate) fn has_program(&self) -> bool {
        self.manifest.layers().iter().any(|layer| artifact::is_program(layer.media_type()))
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
    if manifest.layers().len() > limits::LAYERS_MAX {
        return Err(Error::Inconsistent {
            what: format!("manifest {digest}"),
            reason: format!("it has more than {} layers", limits::LAYERS_MAX),
        });
    }
    for layer in manifest.layers() {
        media::expect(layer.media_type(), Role::Layer, || format!("layer {}", layer.digest()))?;
    }
    Ok(manifest)
}

/// Why a manifest is none of an image but of an artifact that means nothing here, such as a signature.
pub(crate) fn other_artifact(digest: Digest, bytes: &[u8]) -> Result<Option<Error>> {
    let manifest: ImageManifest = serde_json::from_slice(bytes)
        .map_err(|source| Error::Malformed { what: format!("manifest {digest}"), source })?;
    let known = media::role(manifest.config().media_type()) == Some(Role::Config);
    let empty = *manifest.config().media_type() == MediaType::EmptyJSON;
    if known && !(empty && programs(&manifest) == 0) {
        return Ok(None);
    }
    Ok(Some(Error::MediaType {
        what: format!("the config of manifest {digest}"),
        media_type: shown(manifest.config().media_type().to_string().as_bytes()),
    }))
}

/// Reads the config `what` of an image. Docker leaves out the list of layers where there is none.
pub(crate) fn parse_config(bytes: &[u8], what: &str) -> Result<ImageConfiguration> {
    serde_json::from_slice(bytes).or_else(|source| {
        let filled = serde_json::from_slice(bytes).ok().and_then(|mut config: Value| {
            let layers = config.get_mut("rootfs")?.as_object_mut()?.entry("diff_ids");
            let layers = layers.or_insert(Value::Null);
            layers.is_null().then(|| *layers = Value::Array(Vec::new()))?;
            serde_json::from_value(config).ok()
        });
        filled.ok_or_else(|| Error::Malformed { what: what.to_owned(), source })
    })
}

/// How many layers are a program each, and no archive.
fn programs(manifest: &ImageManifest) -> usize {
    let layers = manifest.layers().iter();
    layers.filter(|layer| artifact::is_program(layer.media_type())).count()
}

/// The diffIDs that a config lists.
pub(crate) fn diff_ids_of(config: &ImageConfiguration) -> Result<Vec<Digest>> {
    Ok(config.rootfs().diff_ids().iter().map(|id| id.parse()).collect::<Result<_, _>>()?)
}

/// The digest that a descriptor names.
pub(crate) fn digest_of(descriptor: &Descriptor) -> Result<Digest> {
    Ok(descriptor.digest().as_ref().parse()?)
}
