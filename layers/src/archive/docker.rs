//! The archives of `docker save` and `podman save`: a `manifest.json` with configs and layers by
//! their names in the archive (Docker image specification v1.2, "Combined Image JSON + Filesystem
//! Changeset Format").

use std::{collections::HashMap, path::Path};

use oci_spec::image::Descriptor;
use serde::Deserialize;

use super::{Loaded, not_an_image, source::Files};
use crate::{
    Digest, Reference, Store,
    error::{Error, Result, shown},
    image::{diff_ids_of, parse_config},
    limits,
    progress::OnProgress,
    store::{Added, Form, LayerSource, Work},
};

/// An image of the archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

pub(super) fn load(
    store: &Store,
    work: &Work,
    files: &dyn Files,
    path: &Path,
    progress: OnProgress<'_>,
) -> Result<Vec<Loaded>> {
    let mut loader = Loader { store, work, files, path, progress, added: HashMap::new() };
    let items = parse(&loader.need("manifest.json")?)?;
    if items.is_empty() {
        return Err(not_an_image(path, "its manifest.json names no image"));
    }
    let mut images: Vec<(Option<Reference>, Descriptor)> = Vec::new();
    for item in items {
        let names: Vec<Reference> =
            item.repo_tags.iter().flatten().map(|name| name.parse()).collect::<Result<_, _>>()?;
        let descriptor = loader.add_image(&item)?;
        if names.is_empty() {
            images.push((None, descriptor.clone()));
        }
        images.extend(names.into_iter().map(|name| (Some(name), descriptor.clone())));
    }
    super::publish(store, work, images)
}

/// What `manifest.json` says.
pub(crate) fn parse(content: &[u8]) -> Result<Vec<Item>> {
    let items: Vec<Item> = serde_json::from_slice(content)
        .map_err(|source| Error::Malformed { what: "manifest.json".to_owned(), source })?;
    let named: usize = items.iter().map(|item| item.repo_tags.as_ref().map_or(1, Vec::len)).sum();
    if items.len().max(named) > limits::IMAGES_MAX {
        return Err(Error::Inconsistent {
            what: "manifest.json".to_owned(),
            reason: format!("it names more than {} images", limits::IMAGES_MAX),
        });
    }
    Ok(items)
}

struct Loader<'a> {
    store: &'a Store,
    work: &'a Work,
    files: &'a dyn Files,
    path: &'a Path,
    progress: OnProgress<'a>,
    /// Layers of this archive by name and diffID: what is named a hundred times is unpacked once.
    added: HashMap<(String, Digest), Added>,
}

impl Loader<'_> {
    fn need(&self, name: &str) -> Result<Vec<u8>> {
        let missing =
            || not_an_image(self.path, &format!("it holds no {}", shown(name.as_bytes())));
        self.files.read(name)?.ok_or_else(missing)
    }

    fn add_image(&mut self, item: &Item) -> Result<Descriptor> {
        let content = self.need(&item.config)?;
        let name = shown(item.config.as_bytes());
        let config = parse_config(&content, &format!("config {name}"))?;
        let diff_ids = diff_ids_of(&config)?;
        let layers = item.layers.as_deref().unwrap_or_default();
        let inconsistent =
            |reason| Err(Error::Inconsistent { what: format!("image {name}"), reason });
        if layers.len() != diff_ids.len() {
            let (named, known) = (layers.len(), diff_ids.len());
            return inconsistent(format!("manifest.json names {named} layers, its config {known}"));
        }
        if layers.len() > limits::LAYERS_MAX {
            return inconsistent(format!("it has more than {} layers", limits::LAYERS_MAX));
        }
        let layers = layers
            .iter()
            .zip(diff_ids)
            .map(|(name, diff_id)| self.add_layer(name, diff_id))
            .collect::<Result<Vec<Added>>>()?;
        self.store.add_manifest(self.work, &content, &layers)
    }

    fn add_layer(&mut self, name: &str, diff_id: Digest) -> Result<Added> {
        let key = (name.to_owned(), diff_id);
        if let Some(added) = self.added.get(&key) {
            return Ok(added.clone());
        }
        let shown = shown(name.as_bytes());
        let mut reader = self
            .files
            .open(name)?
            .ok_or_else(|| not_an_image(self.path, &format!("it holds no layer {shown}")))?;
        let source = LayerSource {
            reader: &mut reader,
            what: format!("layer {shown}"),
            blob: None,
            diff_id: Some(diff_id),
            form: Form::Tar,
        };
        let added = self.store.add_layer(self.work, source, self.progress)?;
        self.added.insert(key, added.clone());
        Ok(added)
    }
}
