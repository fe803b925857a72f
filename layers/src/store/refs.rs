//! The names of images, in `index.json`.

use std::{collections::HashMap, fs};

use oci_spec::image::{Descriptor, ImageIndex, MediaType};

use super::{Pin, Store, Work, work::Settled};
use crate::{
    Digest, Reference,
    error::{Error, Result},
    files,
    image::digest_of,
};

/// The annotation that holds a full reference (image-spec, "Pre-Defined Annotation Keys").
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An image or index of the store: at most one name each, and several entries for several names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Option<Reference>,
    pub(crate) digest: Digest,
    pub(crate) descriptor: Descriptor,
}

impl Store {
    /// What `index.json` says now.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>> {
        let path = self.root.join("index.json");
        let content = fs::read(&path).map_err(Error::io("read", &path))?;
        let index: ImageIndex = serde_json::from_slice(&content)
            .map_err(|source| Error::Malformed { what: format!("`{}`", path.display()), source })?;
        index.manifests().iter().cloned().map(entry).collect()
    }

    /// Settles the work and changes `index.json` in one step, or does nothing if `change` fails. What
    /// the index leads to is durable before, whichever process put it there.
    pub(crate) fn change_entries<T>(
        &self,
        work: &Work,
        change: impl FnOnce(&mut Vec<Entry>) -> Result<T>,
    ) -> Result<T> {
        let _lock = Pin::exclusive(&self.root.join("index.lock"))?;
        let before = self.entries()?;
        let mut entries = before.clone();
        let result = change(&mut entries)?;
        if entries == before {
            self.settle(work)?;
            return Ok(result);
        }
        let index = index_of(entries.into_iter().map(|entry| entry.descriptor).collect());
        let content = serde_json::to_vec(&index)
            .map_err(|source| Error::Malformed { what: "the index".to_owned(), source })?;
        // Beside what it leads to, so that the disk has to be waited for once.
        let path = work.path("index.json");
        let new = files::New::write(&path, &content)?;
        if self.settle(work)? == Settled::Nothing {
            new.sync()?;
        }
        for directory in ["blobs/sha256", "layers"] {
            files::sync_dir(&self.root.join(directory))?;
        }
        new.put(&self.root.join("index.json"))?;
        Ok(result)
    }
}

/// An index of these.
pub(crate) fn index_of(descriptors: Vec<Descriptor>) -> ImageIndex {
    let mut index = ImageIndex::default();
    index.set_schema_version(2);
    index.set_media_type(Some(MediaType::ImageIndex));
    index.set_manifests(descriptors);
    index
}

fn entry(descriptor: Descriptor) -> Result<Entry> {
    let annotations = descriptor.annotations().as_ref();
    let name =
        annotations.and_then(|all| all.get(REF_NAME)).map(|name| name.parse()).transpose()?;
    Ok(Entry { name, digest: digest_of(&descriptor)?, descriptor })
}

fn descriptor_named(target: &Descriptor, name: Option<&Reference>) -> Descriptor {
    let annotations = name.map(|name| HashMap::from([(REF_NAME.to_owned(), name.to_string())]));
    let mut descriptor =
        Descriptor::new(target.media_type().clone(), target.size(), target.digest().clone());
    descriptor.set_annotations(annotations);
    descriptor
}

/// Gives `target` a name, or keeps it without one. What had the name keeps existing without.
pub(crate) fn set(
    entries: &mut Vec<Entry>,
    target: &Descriptor,
    name: Option<&Reference>,
) -> Result<()> {
    let digest = digest_of(target)?;
    match name {
        None if entries.iter().any(|entry| entry.digest == digest) => return Ok(()),
        Some(_) => {
            unset(entries, name);
            entries.retain(|entry| entry.digest != digest || entry.name.is_some());
        }
        None => {}
    }
    let descriptor = descriptor_named(target, name);
    entries.push(Entry { name: name.cloned(), digest, descriptor });
    Ok(())
}

/// The same entry without name.
pub(crate) fn unnamed(entry: &Entry) -> Entry {
    Entry {
        name: None,
        digest: entry.digest,
        descriptor: descriptor_named(&entry.descriptor, None),
    }
}

/// Takes a name away. An image that has no other is kept without name.
pub(crate) fn unset(entries: &mut Vec<Entry>, name: Option<&Reference>) -> Option<Digest> {
    let position =
        entries.iter().position(|entry| name.is_some() && entry.name.as_ref() == name)?;
    let removed = entries.remove(position);
    if !entries.iter().any(|entry| entry.digest == removed.digest) {
        entries.push(unnamed(&removed));
    }
    Some(removed.digest)
}
