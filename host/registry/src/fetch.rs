//! Documents of a repository: manifests, indexes and configs, checked against their digests.

use oci_spec::image::{Descriptor, MediaType};
use silo_layers::{Digest, Reference};
use ureq::http::header;

use crate::{
    Error, Result,
    error::shown,
    http::{self, Request, header_of},
    repository::Repository,
};

/// What manifests may be, the preferred first.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
                         application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";
/// The header that names a manifest's digest (distribution-spec, "Pulling manifests").
pub(crate) const CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest or index.
pub(crate) struct Manifest {
    pub(crate) descriptor: Descriptor,
    pub(crate) content: Vec<u8>,
}

/// A document and its media type.
type Document = (String, Vec<u8>);

impl Repository<'_> {
    /// The digest and media type that the registry names for a tag; `None` where it names none.
    pub(crate) fn digest_of(&self, reference: &Reference) -> Result<Option<(Digest, String)>> {
        let tag = reference.tag().unwrap_or_default();
        let request = Request::new("HEAD", self.url(&format!("manifests/{tag}"))?)
            .header(header::ACCEPT, MANIFESTS);
        let response = self.call(&request, &[404, 405])?;
        match response.status().as_u16() {
            404 => Err(self.missing(reference)),
            405 => Ok(None),
            _ => {
                let digest =
                    header_of(&response, CONTENT_DIGEST).and_then(|text| text.parse().ok());
                let media_type = header_of(&response, "content-type").unwrap_or_default();
                Ok(digest.map(|digest| (digest, media_type.to_owned())))
            }
        }
    }

    /// The manifest or index with this digest.
    pub(crate) fn manifest(&self, digest: Digest, of: &Reference) -> Result<Manifest> {
        let (media_type, content) =
            self.document("manifests", &digest.to_string(), Some(digest), of)?;
        manifest_of(&media_type, content)
    }

    /// The manifest or index with this tag, where the registry does not say its digest by itself:
    /// it must know it by the digest of what it sent.
    pub(crate) fn tagged_manifest(&self, reference: &Reference) -> Result<Manifest> {
        let tag = reference.tag().unwrap_or_default();
        let (_, content) = self.document("manifests", tag, None, reference)?;
        self.manifest(Digest::of(&content), reference)
    }

    /// A config.
    pub(crate) fn config(&self, digest: Digest, of: &Reference) -> Result<Vec<u8>> {
        let (_, content) = self.document("blobs", &digest.to_string(), Some(digest), of)?;
        Ok(content)
    }

    /// Fetches a document; again, if it comes damaged.
    fn document(
        &self,
        kind: &str,
        name: &str,
        digest: Option<Digest>,
        of: &Reference,
    ) -> Result<Document> {
        let request = Request::new("GET", self.url(&format!("{kind}/{name}"))?)
            .header(header::ACCEPT, if kind == "blobs" { "*/*" } else { MANIFESTS });
        let mut retries = self.retries();
        loop {
            let response = self.call(&request, &[404])?;
            if response.status().as_u16() == 404 {
                return Err(self.missing(of));
            }
            let media_type = header_of(&response, "content-type").unwrap_or_default().to_owned();
            let error = match http::document(&request, response) {
                Ok(content) => match mismatch(digest, &content) {
                    None => return Ok((media_type, content)),
                    Some(error) => error,
                },
                Err(failed) if failed.passing => failed.error,
                Err(failed) => return Err(failed.error),
            };
            if !retries.again(None)? {
                return Err(error);
            }
        }
    }

    /// What the repository has instead of an image.
    fn missing(&self, reference: &Reference) -> Error {
        let (registry, repository) = (self.registry.name.clone(), self.path.clone());
        let tags = self.tags().unwrap_or_default();
        let Some(mut tags) = tags else {
            return Error::NoSuchRepository { registry, repository };
        };
        tags.sort();
        let image = match (reference.tag(), reference.digest()) {
            (_, Some(digest)) => format!("{repository}@{digest}"),
            (tag, None) => format!("{repository}:{}", tag.unwrap_or_default()),
        };
        Error::NoSuchImage { registry, image, tags }
    }

    /// The repository's tags; `None` if it is not there.
    fn tags(&self) -> Result<Option<Vec<String>>> {
        let request = Request::new("GET", self.url("tags/list")?);
        let response = self.call(&request, &[404])?;
        if response.status().as_u16() == 404 {
            return Ok(None);
        }
        let content = http::document(&request, response).map_err(|failed| failed.error)?;
        let list: serde_json::Value = serde_json::from_slice(&content).unwrap_or_default();
        let tags = list.get("tags").and_then(|tags| tags.as_array());
        let names = tags.into_iter().flatten().filter_map(|tag| tag.as_str()).map(shown);
        Ok(Some(names.collect()))
    }
}

/// Whether a document is another than its digest says.
fn mismatch(digest: Option<Digest>, content: &[u8]) -> Option<Error> {
    let expected = digest?;
    let found = Digest::of(content);
    let what = format!("blob {expected}");
    (found != expected).then(|| silo_layers::Error::DigestMismatch { what, expected, found }.into())
}

/// A manifest with its descriptor. What it says itself of its media type comes before the header:
/// it is covered by the digest.
pub(crate) fn manifest_of(header: &str, content: Vec<u8>) -> Result<Manifest> {
    let own: serde_json::Value = serde_json::from_slice(&content).map_err(|source| {
        let what = format!("manifest {}", Digest::of(&content));
        silo_layers::Error::Malformed { what, source }
    })?;
    let header = header.split(';').next().unwrap_or_default().trim();
    let media_type = own.get("mediaType").and_then(|name| name.as_str()).unwrap_or(header);
    let descriptor = descriptor(media_type, &content)?;
    Ok(Manifest { descriptor, content })
}

/// The descriptor of a document.
fn descriptor(media_type: &str, content: &[u8]) -> Result<Descriptor> {
    let digest = Digest::of(content).to_string();
    let digest: oci_spec::image::Digest =
        digest.parse().map_err(|_| silo_layers::Error::Inconsistent {
            what: format!("digest {digest}"),
            reason: "it has no OCI form".to_owned(),
        })?;
    Ok(Descriptor::new(MediaType::from(media_type), content.len() as u64, digest))
}

/// The digest that a descriptor names.
pub(crate) fn digest_of(descriptor: &Descriptor) -> Result<Digest> {
    Ok(descriptor.digest().as_ref().parse().map_err(silo_layers::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_itself_what_it_is() {
        let own = br#"{"mediaType":"application/vnd.oci.image.index.v1+json"}"#.to_vec();
        let manifest = manifest_of("text/plain; charset=utf-8", own).unwrap();
        assert_eq!(*manifest.descriptor.media_type(), MediaType::ImageIndex);
        let silent = manifest_of("application/vnd.oci.image.manifest.v1+json; x", b"{}".to_vec());
        assert_eq!(*silent.unwrap().descriptor.media_type(), MediaType::ImageManifest);
        assert!(manifest_of("", b"<html>".to_vec()).is_err());
    }
}
