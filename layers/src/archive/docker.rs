//! The archives of `docker save` and `podman save`: a `manifest.json` with configs and layers by
//! their names in the archive (Docker image specification v1.2, "Combined Image JSON + Filesystem
//! Changeset Format").

use std::path::Path;

use oci_spec::image::{Descriptor, ImageConfiguration};
use serde::Deserialize;

use super::{Loaded, not_an_image, source::Files};
use crate::{
    Digest, Reference, Store,
    error::{Error, Result},
    progress::OnProgress,
    store::{Added, LayerSource, Work},
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
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
    let content = need(files, path, "manifest.json")?;
    let items: Vec<Item> = serde_json::from_slice(&content)
        .map_err(|source| Error::Malformed { what: "manifest.json".to_owned(), source })?;
    if items.is_empty() {
        return Err(not_an_image(path, "its manifest.json names no image"));
    }
    let mut images: Vec<(Option<Reference>, Descriptor)> = Vec::new();
    for item in items {
        let names: Vec<Reference> =
            item.repo_tags.iter().flatten().map(|name| name.parse()).collect::<Result<_, _>>()?;
        let descriptor = add_image(store, work, files, path, &item, progress)?;
        if names.is_empty() {
            images.push((None, descriptor.clone()));
        }
        images.extend(names.into_iter().map(|name| (Some(name), descriptor.clone())));
    }
    super::publish(store, work, images)
}

fn need(files: &dyn Files, path: &Path, name: &str) -> Result<Vec<u8>> {
    files.read(name)?.ok_or_else(|| not_an_image(path, &format!("it holds no {name}")))
}

fn add_image(
    store: &Store,
    work: &Work,
    files: &dyn Files,
    path: &Path,
    item: &Item,
    progress: OnProgress<'_>,
) -> Result<Descriptor> {
    let content = need(files, path, &item.config)?;
    let config: ImageConfiguration = serde_json::from_slice(&content)
        .map_err(|source| Error::Malformed { what: format!("config {}", item.config), source })?;
    let diff_ids =
        config.rootfs().diff_ids().iter().map(|id| id.parse()).collect::<Result<Vec<_>, _>>()?;
    let names = item.layers.as_deref().unwrap_or_default();
    if names.len() != diff_ids.len() {
        return Err(Error::Inconsistent {
            what: format!("image {}", item.config),
            reason: format!(
                "manifest.json names {} layers, its config {}",
                names.len(),
                diff_ids.len()
            ),
        });
    }
    let layers = names
        .iter()
        .zip(diff_ids)
        .map(|(name, diff_id)| add_layer(store, work, files, path, name, diff_id, progress))
        .collect::<Result<Vec<Added>>>()?;
    store.add_manifest(work, &content, &layers)
}

fn add_layer(
    store: &Store,
    work: &Work,
    files: &dyn Files,
    path: &Path,
    name: &str,
    diff_id: Digest,
    progress: OnProgress<'_>,
) -> Result<Added> {
    let mut reader = files
        .open(name)?
        .ok_or_else(|| not_an_image(path, &format!("it holds no layer {name}")))?;
    let source = LayerSource {
        reader: &mut reader,
        what: format!("layer {name}"),
        blob: None,
        diff_id: Some(diff_id),
        marked: false,
    };
    store.add_layer(work, source, progress)
}
