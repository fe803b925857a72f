//! Saving images: archives that are at once an OCI image layout and what `docker load` reads.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{self, Read, Write},
};

use oci_spec::image::{Descriptor, ImageIndex};
use serde_json::json;

use super::oci::CONTAINERD_NAME;
use crate::{
    Digest, Image, Platform, Reference, Store,
    error::{Error, Result},
    image::digest_of,
    store::refs::{Entry, REF_NAME, index_of},
};

/// What [`Store::save`] writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SaveFormat {
    /// An OCI image layout with Docker's `manifest.json` beside it, as `docker save` writes since
    /// version 25: Docker, Podman, skopeo and containerd read it. Of an image for several platforms
    /// `manifest.json` names one, Linux's if there is one.
    #[default]
    Docker,
    /// An OCI image layout alone.
    Oci,
}

impl Store {
    /// Writes images, by name, id or digest, with all that they need as one tar archive. The same
    /// images give the same bytes. Manifests and layers are as they were loaded, so that digests
    /// stay.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`], before anything is written.
    pub fn save(&self, names: &[&str], format: SaveFormat, output: &mut dyn Write) -> Result<()> {
        let _pin = self.pin()?;
        let mut saved = Vec::new();
        for name in names {
            let mut entry = self.find(name)?;
            // Who names an image by its id gets it without name, as in Docker.
            entry.name = entry.name.filter(|known| name.parse() == Ok(known.clone()));
            saved.push(entry);
        }
        let mut tar = Layout { tar: tar::Builder::new(output) };
        for (digest, size) in self.blobs_of(&saved)? {
            let what = format!("blob {digest}");
            let blob = self.open_blob(digest, &what)?;
            tar.file(&blob_name(digest), size, blob, &what)?;
        }
        tar.document("index.json", &index(&saved))?;
        if format == SaveFormat::Docker {
            tar.document("manifest.json", &self.docker_manifest(&saved)?)?;
        }
        tar.document("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }))?;
        tar.tar.finish().map_err(unwritten)
    }

    fn blobs_of(&self, saved: &[Entry]) -> Result<BTreeMap<Digest, u64>> {
        let mut reachable = crate::store::graph::Reachable::default();
        for entry in saved {
            self.reach(&entry.descriptor, &mut reachable)?;
        }
        let mut sizes = BTreeMap::new();
        for digest in reachable.blobs {
            let what = "the image".to_owned();
            let size = self.blob_size(digest)?.ok_or(Error::MissingBlob { what, digest })?;
            sizes.insert(digest, size);
        }
        Ok(sizes)
    }

    /// One item for each image, with all its names (Docker image specification v1.2, "Combined Image
    /// JSON + Filesystem Changeset Format").
    fn docker_manifest(&self, saved: &[Entry]) -> Result<serde_json::Value> {
        let mut names: HashMap<Digest, BTreeSet<String>> = HashMap::new();
        let mut images: Vec<Image> = Vec::new();
        for entry in saved {
            let mut known = self.images_under(&entry.descriptor)?;
            // Docker has no archive of what has a program for a layer.
            known.retain(|image| !image.has_program());
            let Some(image) = preferred(known) else { continue };
            names
                .entry(image.digest)
                .or_default()
                .extend(entry.name.as_ref().map(Reference::familiar));
            if !images.iter().any(|known| known.digest == image.digest) {
                images.push(image);
            }
        }
        let item = |image: &Image| -> Result<serde_json::Value> {
            let layer = |layer: &Descriptor| digest_of(layer).map(blob_name);
            let layers = image.manifest.layers().iter().map(layer).collect::<Result<Vec<_>>>()?;
            Ok(json!({
                "Config": blob_name(image.config_digest),
                "RepoTags": names.get(&image.digest),
                "Layers": layers,
            }))
        };
        images.iter().map(item).collect::<Result<Vec<_>>>().map(serde_json::Value::Array)
    }
}

/// The image that a reader takes who knows of no platforms.
fn preferred(mut images: Vec<Image>) -> Option<Image> {
    let native = Platform::linux();
    let position = images.iter().position(|image| image.platform.satisfies(&native)).unwrap_or(0);
    (position < images.len()).then(|| images.swap_remove(position))
}

fn index(saved: &[Entry]) -> ImageIndex {
    index_of(saved.iter().map(|entry| annotated(entry, entry.name.as_ref())).collect())
}

/// The descriptor with the annotations by which containerd and Docker, and others, find the name.
fn annotated(entry: &Entry, name: Option<&Reference>) -> Descriptor {
    let mut descriptor = entry.descriptor.clone();
    descriptor.set_annotations(name.map(|name| {
        let tag = name.tag().map_or_else(|| name.to_string(), str::to_owned);
        HashMap::from([(CONTAINERD_NAME.to_owned(), name.to_string()), (REF_NAME.to_owned(), tag)])
    }));
    descriptor
}

fn blob_name(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

struct Layout<'a> {
    tar: tar::Builder<&'a mut dyn Write>,
}

impl Layout<'_> {
    fn document(&mut self, name: &str, content: &impl serde::Serialize) -> Result<()> {
        // Members of objects are sorted: a map in random order would make each archive another.
        let content = serde_json::to_value(content)
            .and_then(|value| serde_json::to_vec(&value))
            .map_err(|source| Error::Malformed { what: name.to_owned(), source })?;
        self.file(name, content.len() as u64, content.as_slice(), name)
    }

    fn file(&mut self, name: &str, size: u64, content: impl Read, what: &str) -> Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_path(name).map_err(unwritten)?;
        header.set_cksum();
        let mut content = crate::streams::Watched::new(content.take(size));
        let written = self.tar.append(&header, &mut content);
        match content.error {
            Some(source) => Err(Error::read(what)(source)),
            None => written.map_err(unwritten),
        }
    }
}

fn unwritten(source: io::Error) -> Error {
    Error::Write { what: "the archive", source }
}
