//! Pushing: from the store to a name at a registry.

mod upload;

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use silo_layers::{Digest, Outgoing, Platform, Reference, Store};
use ureq::http::header;

use crate::{
    Arrival, Client, Error, OnProgress, Progress, Result,
    fetch::{CONTENT_DIGEST, digest_of},
    http::{Payload, Request, header_of},
    parallel,
    repository::Repository,
};

/// How deep indexes may hold indexes.
const DEPTH_MAX: usize = 8;

/// An image on its way from a store to a repository.
struct Transfer<'a> {
    repository: &'a Repository<'a>,
    outgoing: &'a Outgoing<'a>,
    progress: OnProgress<'a>,
    /// Other repositories that have a blob.
    elsewhere: BTreeMap<Digest, BTreeSet<String>>,
}

/// All that is to be sent.
#[derive(Default)]
struct Parts {
    /// Configs and layers.
    blobs: BTreeMap<Digest, u64>,
    /// What refers to others comes after them.
    manifests: Vec<(Descriptor, Vec<u8>)>,
    /// Images of an index that neither store nor registry has.
    missing: Vec<String>,
}

impl Client {
    /// Sends an image or index, by name or id, to a registry, as far as that does not have it, where
    /// it is then known as `to`; of an index only the image for `platform`, if that is given. Returns
    /// the digest of what the name there means.
    ///
    /// # Errors
    ///
    /// [`Error::Partial`] if an index holds images that neither side has.
    pub fn push(
        &self,
        store: &Store,
        image: &str,
        to: &Reference,
        platform: Option<&Platform>,
        progress: OnProgress<'_>,
    ) -> Result<Digest> {
        let outgoing = store.send(image, platform)?;
        let repository = self.repository(to, true);
        let mut elsewhere = outgoing.repositories(to.registry())?;
        for paths in elsewhere.values_mut() {
            paths.remove(to.path());
        }
        let transfer =
            Transfer { repository: &repository, outgoing: &outgoing, progress, elsewhere };
        let mut parts = Parts::default();
        let target = outgoing.target();
        transfer.gather(target, DEPTH_MAX, &mut parts)?;
        if !parts.missing.is_empty() {
            let missing = std::mem::take(&mut parts.missing);
            return Err(Error::Partial { name: image.to_owned(), missing });
        }
        parallel::each(parts.blobs.into_iter().collect(), |(blob, size)| {
            transfer.blob(blob, size)
        })?;
        let digest = digest_of(target)?;
        for (descriptor, content) in &parts.manifests {
            self.check()?;
            let own = digest_of(descriptor)?;
            let name = match to.tag() {
                Some(tag) if own == digest => tag.to_owned(),
                _ => own.to_string(),
            };
            transfer.put(&name, descriptor, content)?;
        }
        Ok(digest)
    }
}

impl Transfer<'_> {
    /// Notes what has to be sent for a manifest or index. What the registry has of it is whole there.
    fn gather(&self, descriptor: &Descriptor, depth: usize, parts: &mut Parts) -> Result<()> {
        if parts.manifests.iter().any(|(known, _)| known.digest() == descriptor.digest()) {
            return Ok(());
        }
        let is_target = descriptor == self.outgoing.target();
        let there = self.has_manifest(descriptor)?;
        let content = self.outgoing.document(descriptor)?;
        match content {
            // It still has to get its name.
            Some(content) if !there || is_target => {
                if !there {
                    self.gather_needs(descriptor, &content, depth, parts)?;
                }
                parts.manifests.push((descriptor.clone(), content));
            }
            None if !there => parts.missing.push(described(descriptor)),
            _ => {}
        }
        Ok(())
    }

    fn gather_needs(
        &self,
        descriptor: &Descriptor,
        content: &[u8],
        depth: usize,
        parts: &mut Parts,
    ) -> Result<()> {
        let malformed = |source| silo_layers::Error::Malformed {
            what: format!("manifest {}", descriptor.digest()),
            source,
        };
        if is_index(descriptor) {
            let index: ImageIndex = serde_json::from_slice(content).map_err(malformed)?;
            if depth == 0 {
                return Err(silo_layers::Error::Inconsistent {
                    what: format!("index {}", descriptor.digest()),
                    reason: "indexes are nested too deeply".to_owned(),
                }
                .into());
            }
            return index
                .manifests()
                .iter()
                .try_for_each(|child| self.gather(child, depth - 1, parts));
        }
        let manifest: ImageManifest = serde_json::from_slice(content).map_err(malformed)?;
        for blob in manifest.layers().iter().chain([manifest.config()]) {
            parts.blobs.insert(digest_of(blob)?, blob.size());
        }
        Ok(())
    }

    fn has_manifest(&self, descriptor: &Descriptor) -> Result<bool> {
        let url = self.repository.url(&format!("manifests/{}", descriptor.digest()))?;
        let request =
            Request::new("HEAD", url).header(header::ACCEPT, descriptor.media_type().to_string());
        Ok(self.repository.call(&request, &[404])?.status().is_success())
    }

    /// Sends a blob unless the registry has it.
    fn blob(&self, blob: Digest, size: u64) -> Result<()> {
        (self.progress)(Progress::Started { blob, size });
        let how = if self.has_blob(blob)? { Arrival::Known } else { self.upload(blob, size)? };
        (self.progress)(Progress::Finished { blob, how });
        Ok(())
    }

    fn has_blob(&self, blob: Digest) -> Result<bool> {
        let request = Request::new("HEAD", self.repository.url(&format!("blobs/{blob}"))?);
        Ok(self.repository.call(&request, &[404])?.status().is_success())
    }

    /// Sends a manifest; again, if the registry got another.
    fn put(&self, name: &str, descriptor: &Descriptor, content: &[u8]) -> Result<()> {
        let url = self.repository.url(&format!("manifests/{name}"))?;
        let mut retries = self.repository.retries();
        loop {
            let request = Request::new("PUT", url.clone())
                .header(header::CONTENT_TYPE, descriptor.media_type().to_string())
                .payload(Payload::Bytes(content));
            let response = self.repository.call(&request, &[])?;
            let got = header_of(&response, CONTENT_DIGEST);
            if got.is_none_or(|got| got == descriptor.digest().as_ref()) {
                return Ok(());
            }
            if !retries.again(None)? {
                let reason = "it names another digest for what it was sent".to_owned();
                return Err(Error::NotARegistry { url, reason });
            }
        }
    }
}

/// Whether a descriptor is that of an index, of either kind.
fn is_index(descriptor: &Descriptor) -> bool {
    let media_type = descriptor.media_type().to_string();
    media_type.contains("image.index") || media_type.contains("manifest.list")
}

/// What an index says of an image, for people.
fn described(descriptor: &Descriptor) -> String {
    match descriptor.platform() {
        Some(platform) => Platform::from(platform).to_string(),
        None => descriptor.digest().to_string(),
    }
}
