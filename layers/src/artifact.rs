//! WebAssembly artifacts: manifests whose one layer is a program as it is, not an archive (CNCF TAG
//! Runtime, "Wasm OCI Artifact layout"), and images that hold such a layer.
//!
//! The layer is unpacked as a tree with one file, and the image's config is made up to start it, so
//! that an artifact is an image to all that comes after. The blobs stay as they are.

use std::io::Read;

use oci_spec::image::{Arch, Config, ImageConfiguration, ImageManifest, MediaType, Os, RootFs};
use serde::Deserialize;

use crate::{
    error::{Error, Result},
    tree::{Attributes, TreeError, Writer},
};

/// Where the program is. A layer's tree depends on its content alone, so it has one name for all.
const PROGRAM: &str = "module.wasm";
/// What every module and component begins with (WebAssembly core specification, "Modules").
const MAGIC: &[u8; 4] = b"\0asm";

/// The configs of artifacts: the CNCF's layout, what was used before it, and the Bytecode Alliance's.
const CONFIGS: [&str; 3] = [
    "application/vnd.wasm.config.v0+json",
    "application/vnd.wasm.config.v1+json",
    "application/vnd.bytecodealliance.wasm.component.config.v0+json",
];
/// Their layers.
const LAYERS: [&str; 3] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
];

/// Whether a config of this media type is an artifact's.
pub(crate) fn is_config(media_type: &MediaType) -> bool {
    match media_type {
        MediaType::Other(name) => CONFIGS.contains(&name.as_str()),
        other => *other == MediaType::EmptyJSON,
    }
}

/// Whether a layer of this media type is a program.
pub(crate) fn is_program(media_type: &MediaType) -> bool {
    matches!(media_type, MediaType::Other(name) if LAYERS.contains(&name.as_str()))
}

/// What of an artifact's config matters here. The CNCF's has all of it, the others may be empty.
#[derive(Default, Deserialize)]
struct ArtifactConfig {
    created: Option<String>,
    author: Option<String>,
    architecture: Option<String>,
    os: Option<String>,
}

/// The config of the image that an artifact with this manifest and config is.
pub(crate) fn configuration(
    manifest: &ImageManifest,
    config: &[u8],
    what: &str,
) -> Result<ImageConfiguration> {
    let [layer] = manifest.layers().as_slice() else {
        return Err(inconsistent(what, "a WebAssembly artifact has one layer"));
    };
    if !is_program(layer.media_type()) {
        return Err(inconsistent(what, "the layer of a WebAssembly artifact is no program"));
    }
    let config: ArtifactConfig = serde_json::from_slice(config)
        .map_err(|source| Error::Malformed { what: format!("the config of {what}"), source })?;
    let mut image = ImageConfiguration::default();
    image.set_created(config.created);
    image.set_author(config.author);
    image.set_os(Os::from(config.os.as_deref().unwrap_or("wasi")));
    image.set_architecture(Arch::from(config.architecture.as_deref().unwrap_or("wasm")));
    let mut rootfs = RootFs::default();
    rootfs.set_diff_ids(vec![layer.digest().to_string()]);
    image.set_rootfs(rootfs);
    start_program(&mut image);
    Ok(image)
}

/// Makes an image with a program as its layer start that: its config names the file as it was called
/// where the image was made, which nothing tells.
pub(crate) fn start_program(image: &mut ImageConfiguration) {
    let mut config: Config = image.config().clone().unwrap_or_default();
    let arguments = config.entrypoint().iter().flatten().skip(1).cloned();
    let entrypoint = std::iter::once(format!("/{PROGRAM}")).chain(arguments).collect();
    config.set_entrypoint(Some(entrypoint));
    image.set_config(Some(config));
}

/// Writes the tree of a layer that is the program `content`; `what` it is, for messages.
pub(crate) fn unpack(mut content: impl Read, mut tree: Writer, what: &str) -> Result<()> {
    let mut start = Vec::new();
    (&mut content).take(MAGIC.len() as u64).read_to_end(&mut start).map_err(Error::read(what))?;
    if start != MAGIC {
        return Err(inconsistent(what, "it is no WebAssembly program, as its media type says"));
    }
    let attributes = Attributes::new(0o755, std::time::SystemTime::UNIX_EPOCH);
    let mut content = crate::streams::Watched::new(start.as_slice().chain(content));
    let written = tree.file(PROGRAM.as_bytes(), &attributes, &mut content);
    if let Some(error) = content.error {
        return Err(Error::read(what)(error));
    }
    let unwritten = |error: TreeError| Error::Unpack {
        verb: error.action,
        entry: error.path,
        source: error.source,
    };
    written.and_then(|_| tree.finish()).map_err(unwritten)
}

fn inconsistent(what: &str, reason: &str) -> Error {
    Error::Inconsistent { what: what.to_owned(), reason: reason.to_owned() }
}
