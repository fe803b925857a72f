//! Making images: of a root file system's archive, and of layers that were just added.

use std::{io::Read, time::SystemTime};

use oci_spec::image::{
    Arch, Descriptor, History, HistoryBuilder, ImageConfiguration, ImageManifest, MediaType, Os,
    RootFs,
};

use serde_json::Value;

use super::{
    Store, Work,
    layer::{Added, Form, Source},
    refs,
};
use crate::{
    Digest, Platform, Reference,
    compression::Compression,
    error::{Error, Result},
    progress::OnProgress,
};

/// What an imported image is to be.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Its name, which another image loses.
    pub name: Option<Reference>,
    /// What it is made for; Linux on this machine's architecture by default.
    pub platform: Option<Platform>,
    /// What to run in it and how, as the member `config` of an image's config.
    pub config: Value,
    /// A word on it, for its history.
    pub message: Option<String>,
    /// When it was made; now by default.
    pub created: Option<SystemTime>,
}

impl Store {
    /// Makes an image with one layer of a root file system's tar archive, which may be compressed
    /// with gzip or zstd. Returns the digest of its manifest.
    pub fn import(
        &self,
        tar: impl Read,
        options: &ImportOptions,
        progress: OnProgress<'_>,
    ) -> Result<Digest> {
        self.collect_after(|| self.import_whole(tar, options, progress))
    }

    fn import_whole(
        &self,
        mut tar: impl Read,
        options: &ImportOptions,
        progress: OnProgress<'_>,
    ) -> Result<Digest> {
        let _pin = self.pin()?;
        let work = Work::new(self)?;
        let source = Source {
            reader: &mut tar,
            what: "the archive".to_owned(),
            blob: None,
            diff_id: None,
            form: Form::MarkedTar,
        };
        let layer = self.add_layer(&work, source, progress)?;
        let mut config = serde_json::to_value(config_of(&layer, options)?).map_err(unwritable)?;
        if options.config.is_object() {
            config["config"] = options.config.clone();
        }
        let config = serde_json::to_vec(&config).map_err(unwritable)?;
        let manifest = self.add_manifest(&work, &config, &[layer])?;
        self.name(&work, &manifest, options.name.as_ref())?;
        crate::image::digest_of(&manifest)
    }

    /// Adds a config and a manifest of it and these layers. Returns the manifest's descriptor.
    pub(crate) fn add_manifest(
        &self,
        work: &Work,
        config: &[u8],
        layers: &[Added],
    ) -> Result<Descriptor> {
        let layers = layers
            .iter()
            .map(|layer| descriptor(media_type(layer.compression), layer.size, layer.digest))
            .collect::<Result<Vec<_>>>()?;
        self.add_manifest_of(work, config, layers)
    }

    /// Adds a config and a manifest of it and these layers, which the store has. Returns the
    /// manifest's descriptor.
    pub(super) fn add_manifest_of(
        &self,
        work: &Work,
        config: &[u8],
        layers: Vec<Descriptor>,
    ) -> Result<Descriptor> {
        let config_digest = self.add_document(work, config)?;
        let manifest = oci_spec::image::ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(descriptor(MediaType::ImageConfig, config.len() as u64, config_digest)?)
            .layers(layers)
            .build()
            .map_err(|error| Error::Inconsistent {
                what: "the manifest".to_owned(),
                reason: error.to_string(),
            })?;
        let content = serde_json::to_vec::<ImageManifest>(&manifest).map_err(unwritable)?;
        let digest = self.add_document(work, &content)?;
        descriptor(MediaType::ImageManifest, content.len() as u64, digest)
    }

    /// Makes an image visible, with or without a name.
    pub(crate) fn name(
        &self,
        work: &Work,
        target: &Descriptor,
        name: Option<&Reference>,
    ) -> Result<()> {
        self.change_entries(work, |entries| refs::set(entries, target, name))
    }
}

/// A descriptor without annotations; `size` in bytes.
pub(super) fn descriptor(media_type: MediaType, size: u64, digest: Digest) -> Result<Descriptor> {
    let digest: oci_spec::image::Digest =
        digest.to_string().parse().map_err(|_| Error::Inconsistent {
            what: format!("digest {digest}"),
            reason: "it has no OCI form".to_owned(),
        })?;
    Ok(Descriptor::new(media_type, size, digest))
}

pub(super) const fn media_type(compression: Compression) -> MediaType {
    match compression {
        Compression::None => MediaType::ImageLayer,
        Compression::Gzip => MediaType::ImageLayerGzip,
        Compression::Zstd => MediaType::ImageLayerZstd,
    }
}

/// A time as configs have it (RFC 3339).
pub fn timestamp(time: SystemTime) -> Result<String> {
    let time = jiff::Timestamp::try_from(time).map_err(|error| Error::Inconsistent {
        what: "the time of creation".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(time.to_string())
}

fn config_of(layer: &Added, options: &ImportOptions) -> Result<ImageConfiguration> {
    let platform = options.platform.clone().unwrap_or_else(Platform::linux);
    let created = timestamp(options.created.unwrap_or_else(SystemTime::now))?;
    let mut config = ImageConfiguration::default();
    config.set_created(Some(created.clone()));
    config.set_os(Os::from(platform.os.as_str()));
    config.set_architecture(Arch::from(platform.architecture.as_str()));
    config.set_variant(platform.variant);
    let mut rootfs = RootFs::default();
    rootfs.set_typ("layers".to_owned());
    rootfs.set_diff_ids(vec![layer.diff_id.to_string()]);
    config.set_rootfs(rootfs);
    let mut history: History =
        HistoryBuilder::default().created(created).created_by("silo import").build().map_err(
            |error| Error::Inconsistent {
                what: "the history".to_owned(),
                reason: error.to_string(),
            },
        )?;
    history.set_comment(options.message.clone());
    config.set_history(Some(vec![history]));
    Ok(config)
}

pub(super) fn unwritable(source: serde_json::Error) -> Error {
    Error::Malformed { what: "the new image".to_owned(), source }
}
