//! Images made of containers, and of other images.

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};

use super::{
    Store, Work,
    import::{descriptor, media_type, timestamp, unwritable},
    layer::Added,
};
use crate::{
    Digest, Image, Lower, Reference, Snapshot,
    error::{Error, Result},
    image::digest_of,
    pack::{self, Archive, Omitted},
    tree::Encoding,
    union::{Access, Follow, ROOT, UnionFs},
};

/// What a new image is to be besides its files.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// Its name, which another image loses.
    pub name: Option<Reference>,
    /// Who made it.
    pub author: Option<String>,
    /// A word on it, for its history.
    pub message: Option<String>,
    /// What made it, for its history.
    pub created_by: String,
    /// When it was made; now by default.
    pub created: Option<SystemTime>,
    /// What to run in it and how, as the member `config` of an image's config; by default that of
    /// the image it is made from.
    pub config: Option<Value>,
    /// What of the container's changes is left out.
    pub omitted: Omitted,
    /// Files and directories of the host that become part of the layer, each with its path in the
    /// guest.
    pub volumes: Vec<(String, PathBuf)>,
}

/// A layer of the image that is being made, for its manifest.
struct Layer {
    descriptor: Descriptor,
    diff_id: Digest,
}

impl Store {
    /// Makes an image of `image`'s layers and of what a container changed in them, and returns the
    /// digest of its manifest. The cost is that of the changes; where there are none, the image has
    /// no new layer.
    ///
    /// The container should not run, or be paused: what it writes meanwhile may be in the image or
    /// not.
    pub fn commit(
        &self,
        image: &Image,
        snapshot: &Snapshot,
        options: &CommitOptions,
    ) -> Result<Digest> {
        let _pin = self.pin()?;
        let work = Work::new(self)?;
        if image.has_program() {
            // No image has both a program and an archive for layers.
            let files = open(snapshot)?;
            return self.flatten(&work, image, &files, options);
        }
        let added = self.add_packed(&work, |archive| {
            pack::pack_upper(snapshot, &options.omitted, archive)?;
            pack_volumes(options, archive)
        })?;
        let mut layers = Vec::new();
        for (descriptor, diff_id) in image.layers() {
            layers.push(Layer { descriptor: as_oci(descriptor)?, diff_id });
        }
        let mut history = self.history(image)?;
        history.push(entry(options, added.is_none())?);
        layers.extend(added.as_ref().map(layer).transpose()?);
        self.publish_image(&work, image, &layers, history, options)
    }

    /// Makes an image with one layer of all that the layers of `image` show together, and returns
    /// the digest of its manifest.
    pub fn squash(&self, image: &Image, options: &CommitOptions) -> Result<Digest> {
        let _pin = self.pin()?;
        let work = Work::new(self)?;
        let files = self.files(image)?;
        self.flatten(&work, image, &files, options)
    }

    fn flatten(
        &self,
        work: &Work,
        image: &Image,
        files: &UnionFs,
        options: &CommitOptions,
    ) -> Result<Digest> {
        let added = self.add_packed(work, |archive| {
            pack::pack_tree(files, &options.omitted, archive)?;
            pack_volumes(options, archive)
        })?;
        let layers: Vec<Layer> = added.as_ref().map(layer).transpose()?.into_iter().collect();
        let history = vec![entry(options, added.is_none())?];
        self.publish_image(work, image, &layers, history, options)
    }

    /// The files of an image. The store must be pinned as long as they are used.
    pub fn files(&self, image: &Image) -> Result<UnionFs> {
        let snapshot =
            Snapshot { lowers: self.lowers(image)?, upper: PathBuf::new(), work: PathBuf::new() };
        open(&snapshot)
    }

    /// An image's config as it stands, with all that this crate does not know; the one that is made
    /// up where a program is a layer.
    pub fn config_document(&self, image: &Image) -> Result<Value> {
        if image.has_program() {
            return serde_json::to_value(&image.config).map_err(unwritable);
        }
        let what = || format!("config {}", image.config_digest);
        let content = self.document(image.config_digest, &what())?;
        serde_json::from_slice(&content).map_err(|source| Error::Malformed { what: what(), source })
    }

    /// The history of an image, with an entry at least for each layer.
    pub fn history(&self, image: &Image) -> Result<Vec<Value>> {
        let config = self.config_document(image)?;
        let mut history = config["history"].as_array().cloned().unwrap_or_default();
        let told = history.iter().filter(|entry| entry["empty_layer"] != json!(true)).count();
        let untold = image.diff_ids.len().saturating_sub(told);
        history.splice(..0, std::iter::repeat_n(json!({}), untold));
        Ok(history)
    }

    fn publish_image(
        &self,
        work: &Work,
        base: &Image,
        layers: &[Layer],
        history: Vec<Value>,
        options: &CommitOptions,
    ) -> Result<Digest> {
        let mut config = self.config_document(base)?;
        let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
        config["created"] = json!(created(options)?);
        config["rootfs"] = json!({ "type": "layers", "diff_ids": diff_ids });
        config["history"] = Value::Array(history);
        if let Some(author) = &options.author {
            config["author"] = json!(author);
        }
        if let Some(run) = &options.config {
            config["config"] = run.clone();
        }
        // Docker's notes on the container that an older image was made by.
        if let Some(members) = config.as_object_mut() {
            members.retain(|name, _| !matches!(&**name, "container" | "container_config" | "id"));
        }
        let config = serde_json::to_vec(&config).map_err(unwritable)?;
        let descriptors = layers.iter().map(|layer| layer.descriptor.clone()).collect();
        let manifest = self.add_manifest_of(work, &config, descriptors)?;
        self.name(work, &manifest, options.name.as_ref())?;
        digest_of(&manifest)
    }
}

fn open(snapshot: &Snapshot) -> Result<UnionFs> {
    UnionFs::open(snapshot, Access::ReadOnly)
        .map_err(|error| pack::unread(error.action, error.path.as_bytes())(error.source))
}

fn layer(added: &Added) -> Result<Layer> {
    let descriptor = descriptor(media_type(added.compression), added.size, added.digest)?;
    Ok(Layer { descriptor, diff_id: added.diff_id })
}

/// The same layer by OCI's media type where it has Docker's: an OCI manifest has one kind only.
pub(super) fn as_oci(layer: &Descriptor) -> Result<Descriptor> {
    let media_type = match layer.media_type().to_string().as_str() {
        "application/vnd.docker.image.rootfs.diff.tar" => MediaType::ImageLayer,
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => MediaType::ImageLayerGzip,
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => MediaType::ImageLayerZstd,
        _ => return Ok(layer.clone()),
    };
    descriptor(media_type, layer.size(), digest_of(layer)?)
}

fn created(options: &CommitOptions) -> Result<String> {
    timestamp(options.created.unwrap_or_else(SystemTime::now))
}

fn entry(options: &CommitOptions, empty: bool) -> Result<Value> {
    let mut entry = json!({ "created": created(options)?, "created_by": options.created_by });
    if let Some(author) = &options.author {
        entry["author"] = json!(author);
    }
    if let Some(message) = &options.message {
        entry["comment"] = json!(message);
    }
    if empty {
        entry["empty_layer"] = json!(true);
    }
    Ok(entry)
}

fn pack_volumes(options: &CommitOptions, archive: &mut Archive<impl std::io::Write>) -> Result<()> {
    options.volumes.iter().try_for_each(|(path, host)| pack_volume(path, host, archive))
}

/// Writes a file or directory of the host as `path`.
fn pack_volume(path: &str, host: &Path, archive: &mut Archive<impl std::io::Write>) -> Result<()> {
    let is_dir = std::fs::metadata(host).map_err(Error::io("look at", host))?.is_dir();
    // What is above the root of the host is the root itself.
    let (root, name) =
        if is_dir { (host, None) } else { (host.parent().unwrap_or(host), host.file_name()) };
    let lower = Lower { diff_id: Digest::of(b""), path: root.to_owned() };
    let snapshot = Snapshot { lowers: vec![lower], upper: PathBuf::new(), work: PathBuf::new() };
    let files = UnionFs::open_encoded(&snapshot, Access::ReadOnly, Encoding::Overlay)
        .map_err(|error| Error::io("open", host)(error.source))?;
    let node = match name {
        None => ROOT,
        Some(name) => files
            .find(ROOT, name.as_encoded_bytes(), Follow::AllButLast)
            .map_err(pack::unread("find", path.as_bytes()))?,
    };
    pack::pack_subtree(&files, node, path.trim_matches('/').as_bytes(), archive)
}
