//! Media types: OCI's, and those of Docker's image manifest version 2, schema 2.

use oci_spec::image::MediaType;

use crate::{
    artifact,
    error::{Error, Result, shown},
};

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
    if artifact::is_config(media_type) {
        return Some(Role::Config);
    }
    if artifact::is_program(media_type) {
        return Some(Role::Layer);
    }
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
        // Old registries gave configs the type of nothing in particular; Docker takes it for one.
        "application/vnd.docker.container.image.v1+json" | "application/octet-stream" => {
            Some(Role::Config)
        }
        "application/vnd.docker.image.rootfs.diff.tar"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd" => Some(Role::Layer),
        _ => None,
    }
}

/// Insists on a role.
pub(crate) fn expect(media_type: &MediaType, role: Role, what: impl Fn() -> String) -> Result<()> {
    if self::role(media_type) == Some(role) {
        return Ok(());
    }
    Err(Error::MediaType { what: what(), media_type: shown(media_type.to_string().as_bytes()) })
}
