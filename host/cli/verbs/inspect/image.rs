//! An image in the shape that Docker gives it.

use serde_json::{Value, json};
use silo_layers::{Image, ImageSummary};

/// The image with its config as it stands; `all` are those of the store, with the names.
pub(super) fn describe(image: &Image, config: &Value, all: &[ImageSummary]) -> Value {
    let of = |known: &&ImageSummary| known.digest == image.digest || known.id == image.id;
    // An image within an index is known by the index's names.
    let summary = all.iter().find(of).or_else(|| {
        all.iter()
            .find(|known| known.platforms.len() > 1 && known.platforms.contains(&image.platform))
    });
    let names = summary.map(|summary| summary.names.as_slice()).unwrap_or_default();
    let tags: Vec<String> = names
        .iter()
        .filter(|name| name.tag().is_some())
        .map(silo_layers::Reference::familiar)
        .collect();
    let digests: Vec<String> = names
        .iter()
        .map(|name| format!("{}@{}", name.familiar_repository(), image.digest))
        .collect();
    let size: u64 = image.manifest.layers().iter().map(oci_spec::image::Descriptor::size).sum();
    json!({
        "Id": image.id,
        "RepoTags": tags,
        "RepoDigests": digests,
        "Created": config.get("created"),
        "Author": config.get("author"),
        "Architecture": image.platform.architecture,
        "Variant": image.platform.variant,
        "Os": image.platform.os,
        "Size": size,
        "Config": config.get("config"),
        "RootFS": { "Type": "layers", "Layers": image.diff_ids },
        "History": config.get("history"),
    })
}
