//! Media types: OCI's, and those of Docker's image manifest version 2, schema 2.

use oci_spec::image::MediaType;

use crate::error::{Error, Result};

/// What a descriptor points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Manifest,
    Index,
    Config,
    Layer,
}

/// The role of a media type, if it is known.
pub(crate) fn role(media_type: &MediaType) -> Option<Role> {
    match media_type {
        MediaType::ImageManifest => Some(Role::Manifest),
        MediaType::ImageIndex => Some(Role::Index),
        MediaType::ImageConfig => Some(Role::Config),
        MediaType::ImageLayer
        | MediaType::ImageLayerGzip
        | MediaType::ImageLayerZstd
        | MediaType::ImageLayerNonDistributable
        | MediaType::ImageLayerNonDistributableGzip
        | MediaType::ImageLayerNonDistributableZstd => Some(Role::Layer),
        MediaType::Other(name) => docker_role(name),
        _ => None,
    }
}

fn docker_role(name: &str) -> Option<Role> {
    match name {
        "application/vnd.docker.distribution.manifest.v2+json" => Some(Role::Manifest),
        "application/vnd.docker.distribution.manifest.list.v2+json" => Some(Role::Index),
        "application/vnd.docker.container.image.v1+json" => Some(Role::Config),
        "application/vnd.docker.image.rootfs.diff.tar"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Some(Role::Layer),
        _ => None,
    }
}

/// Insists on a role.
pub(crate) fn expect(media_type: &MediaType, role: Role, what: impl Fn() -> String) -> Result<()> {
    if self::role(media_type) == Some(role) {
        return Ok(());
    }
    Err(Error::MediaType { what: what(), media_type: media_type.to_string() })
}
