//! OCI image layouts, in a directory or an archive (image-spec, "OCI Image Layout Specification").

use std::{collections::BTreeSet, path::Path};

use oci_spec::image::Descriptor;

use super::{Loaded, not_an_image, source::Files};
use crate::{
    Digest, Reference, Store,
    error::{Error, Result, shown},
    image::{Image, digest_of},
    media::{self, Role},
    progress::OnProgress,
    store::{Form, LayerSource, Work, graph, refs::REF_NAME},
};

/// containerd's and Docker's annotation with the full name; OCI's own is then the tag alone.
pub(super) const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// How deep indexes may hold indexes, `index.json` apart.
const DEPTH_MAX: usize = 8;

pub(super) fn load(
    store: &Store,
    work: &Work,
    files: &dyn Files,
    path: &Path,
    progress: OnProgress<'_>,
) -> Result<Vec<Loaded>> {
    let content =
        files.read("index.json")?.ok_or_else(|| not_an_image(path, "it holds no index.json"))?;
    let index = graph::parse_index("index.json", &content)?;
    let mut loader = Loader { store, work, files, progress, copied: BTreeSet::new() };
    let mut images = Vec::new();
    let mut other = None;
    for descriptor in index.manifests().iter().filter(|child| !graph::is_attestation(child)) {
        match loader.copy(descriptor, DEPTH_MAX)? {
            Copied::Whole => images.push((name_of(descriptor), descriptor.clone())),
            Copied::NoImage(error) => other = Some(error),
            Copied::Absent => {
                return Err(Error::MissingBlob {
                    what: "index.json".to_owned(),
                    digest: digest_of(descriptor)?,
                });
            }
        }
    }
    if images.is_empty() {
        let nothing = || not_an_image(path, "its index.json names no image");
        return Err(other.unwrap_or_else(nothing));
    }
    super::publish(store, work, images)
}

/// The name of an image of a layout. A single word is a tag by custom, and no name.
fn name_of(descriptor: &Descriptor) -> Option<Reference> {
    let annotations = descriptor.annotations().as_ref()?;
    let full = annotations.get(CONTAINERD_NAME);
    let name = full.or_else(|| annotations.get(REF_NAME).filter(|name| name.contains([':', '/'])));
    name?.parse().ok()
}

struct Loader<'a> {
    store: &'a Store,
    work: &'a Work,
    files: &'a dyn Files,
    progress: OnProgress<'a>,
    /// Images and indexes that are dealt with: what is referred to a thousand times is copied once.
    copied: BTreeSet<Digest>,
}

/// What became of a descriptor.
enum Copied {
    /// It and all that it needs is in the store.
    Whole,
    /// Neither layout nor store has it.
    Absent,
    /// It is an artifact of another kind, such as a signature, as this error says.
    NoImage(Error),
}

impl Loader<'_> {
    /// Copies an image or index with all that it needs.
    fn copy(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Copied> {
        let digest = digest_of(descriptor)?;
        let role = media::role(descriptor.media_type());
        if !matches!(role, Some(Role::Manifest | Role::Index)) {
            return Err(Error::MediaType {
                what: format!("manifest {digest}"),
                media_type: shown(descriptor.media_type().to_string().as_bytes()),
            });
        }
        if self.copied.contains(&digest) {
            return Ok(Copied::Whole);
        }
        let Some(content) = self.document(descriptor)? else { return Ok(Copied::Absent) };
        if role == Some(Role::Index) {
            self.copy_children(digest, &content, depth)?;
        } else if let Some(error) = crate::image::other_artifact(digest, &content)? {
            return Ok(Copied::NoImage(error));
        } else {
            self.copy_image(digest, &content)?;
        }
        self.store.add_document(self.work, &content)?;
        self.copied.insert(digest);
        Ok(Copied::Whole)
    }

    /// Copies what an index holds, as far as it is there: archives often hold one platform's image
    /// and the index of all.
    fn copy_children(&mut self, digest: Digest, content: &[u8], depth: usize) -> Result<()> {
        let inconsistent = |reason: &str| Error::Inconsistent {
            what: format!("index {digest}"),
            reason: reason.to_owned(),
        };
        if depth == 0 {
            return Err(inconsistent("indexes are nested too deeply"));
        }
        let mut any = false;
        for child in graph::parse_index(&format!("index {digest}"), content)?.manifests() {
            any |= !graph::is_attestation(child)
                && matches!(self.copy(child, depth - 1)?, Copied::Whole);
        }
        if any { Ok(()) } else { Err(inconsistent("none of its images is there")) }
    }

    fn copy_image(&mut self, digest: Digest, content: &[u8]) -> Result<()> {
        let manifest = crate::image::parse_manifest(digest, content)?;
        let what = || format!("manifest {digest}");
        let missing = |digest| Error::MissingBlob { what: what(), digest };
        let config = self
            .document(manifest.config())?
            .ok_or_else(|| digest_of(manifest.config()).map_or_else(|error| error, missing))?;
        let image = Image::new(digest, content, &config)?;
        self.store.add_document(self.work, &config)?;
        for (layer, diff_id) in image.layers() {
            self.copy_layer(layer, diff_id, &what())?;
        }
        Ok(())
    }

    fn copy_layer(&mut self, layer: &Descriptor, diff_id: Digest, image: &str) -> Result<()> {
        let digest = digest_of(layer)?;
        if self.store.has_layer(self.work, digest, layer.size(), diff_id)? {
            (self.progress)(crate::Progress::Started {
                layer: format!("layer {digest}"),
                size: Some(layer.size()),
            });
            (self.progress)(crate::Progress::Finished { diff_id, known: true });
            return Ok(());
        }
        let Some(mut reader) = self.files.open(&blob_name(digest))? else {
            let what = image.to_owned();
            return Err(Error::MissingBlob { what, digest });
        };
        let source = LayerSource {
            reader: &mut reader,
            what: format!("layer {digest}"),
            blob: Some((digest, layer.size())),
            diff_id: Some(diff_id),
            form: Form::of(layer),
        };
        self.store.add_layer(self.work, source, self.progress).map(drop)
    }

    /// A manifest, index or config, from the layout or else from the store.
    fn document(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>> {
        let expected = digest_of(descriptor)?;
        let what = format!("blob {expected}");
        let Some(content) = self.files.read(&blob_name(expected))? else {
            return match self.store.blob_size(expected)? {
                Some(_) => self.store.document(expected, &what).map(Some),
                None => Ok(None),
            };
        };
        if content.len() as u64 != descriptor.size() {
            let found = content.len() as u64;
            return Err(Error::SizeMismatch { what, expected: descriptor.size(), found });
        }
        let found = Digest::of(&content);
        if found != expected {
            return Err(Error::DigestMismatch { what, expected, found });
        }
        Ok(Some(content))
    }
}

fn blob_name(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
