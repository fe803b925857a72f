//! OCI image layouts, written by hand, so that a test says exactly what an image is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image layout that is being written.
pub(crate) struct Layout {
    folder: TempDir,
    named: Vec<Value>,
}

/// A layer: its descriptor and its diffID.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) descriptor: Value,
    pub(crate) diff_id: String,
}

/// One file of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File<'a> {
    pub(crate) path: &'a str,
    pub(crate) content: &'a [u8],
    pub(crate) mode: u32,
}

impl<'a> File<'a> {
    pub(crate) fn new(path: &'a str, content: &'a [u8]) -> Self {
        Self { path, content, mode: 0o644 }
    }

    pub(crate) fn program(path: &'a str, content: &'a [u8]) -> Self {
        Self { path, content, mode: 0o755 }
    }
}

/// The sha256 digest of `bytes`, as OCI writes it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex = |byte: &u8| format!("{byte:02x}");
    format!("sha256:{}", Sha256::digest(bytes).iter().map(hex).collect::<String>())
}

/// A tar archive of `files`.
pub(crate) fn tar(files: &[File<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.content.len() as u64);
        header.set_mode(file.mode);
        header.set_mtime(1_700_000_000);
        builder.append_data(&mut header, file.path, file.content).expect("an entry");
    }
    builder.into_inner().expect("an archive")
}

impl Layout {
    pub(crate) fn new() -> Self {
        let folder =
            tempfile::Builder::new().prefix("silo-layout-").tempdir().expect("a directory");
        fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { folder, named: Vec::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the blob of a descriptor lies.
    pub(crate) fn blob_path(&self, descriptor: &Value) -> PathBuf {
        let digest = descriptor["digest"].as_str().expect("a digest").replace(':', "/");
        self.path().join("blobs").join(digest)
    }

    pub(crate) fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let descriptor =
            json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() });
        fs::write(self.blob_path(&descriptor), bytes).expect("a blob");
        descriptor
    }

    fn json_blob(&self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, value.to_string().as_bytes())
    }

    /// An uncompressed layer of `files`.
    pub(crate) fn layer(&self, files: &[File<'_>]) -> Layer {
        let archive = tar(files);
        Layer { descriptor: self.blob(LAYER, &archive), diff_id: digest(&archive) }
    }

    /// The layers of the only image in another layout, its blobs taken over.
    pub(crate) fn layers_of(&self, other: &Path) -> Vec<Layer> {
        let blob = |digest: &Value| {
            let name = digest.as_str().expect("a digest").replace(':', "/");
            fs::read(other.join("blobs").join(name)).expect("a blob")
        };
        let parsed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
        let index = parsed(&fs::read(other.join("index.json")).expect("an index"));
        let manifest = parsed(&blob(&index["manifests"][0]["digest"]));
        let config = parsed(&blob(&manifest["config"]["digest"]));
        let layers = manifest["layers"].as_array().expect("layers");
        let diff_ids = config["rootfs"]["diff_ids"].as_array().expect("diffIDs");
        layers
            .iter()
            .zip(diff_ids)
            .map(|(descriptor, diff_id)| {
                fs::write(self.blob_path(descriptor), blob(&descriptor["digest"])).unwrap();
                let diff_id = diff_id.as_str().expect("a digest").to_owned();
                Layer { descriptor: descriptor.clone(), diff_id }
            })
            .collect()
    }

    /// A manifest for `platform` (`wasi/wasm`) with the run configuration `config`.
    pub(crate) fn image(&self, platform: &str, layers: &[Layer], config: &Value) -> Value {
        let (os, architecture) = platform.split_once('/').expect("OS/ARCHITECTURE");
        let diff_ids: Vec<&String> = layers.iter().map(|layer| &layer.diff_id).collect();
        let config = self.json_blob(
            CONFIG,
            &json!({
                "created": "2026-01-01T00:00:00Z", "os": os, "architecture": architecture,
                "config": config, "rootfs": { "type": "layers", "diff_ids": diff_ids },
            }),
        );
        let layers: Vec<&Value> = layers.iter().map(|layer| &layer.descriptor).collect();
        let mut descriptor = self.manifest(&config, &layers);
        descriptor["platform"] = json!({ "os": os, "architecture": architecture });
        descriptor
    }

    /// A manifest of these blobs.
    pub(crate) fn manifest(&self, config: &Value, layers: &[&Value]) -> Value {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        self.json_blob(MANIFEST, &manifest)
    }

    /// Joins manifests into an index.
    pub(crate) fn index(&self, manifests: &[Value]) -> Value {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        self.json_blob(INDEX, &index)
    }

    /// Names a manifest or an index, with the tag `latest`.
    pub(crate) fn name(&mut self, name: &str, mut descriptor: Value) -> &mut Self {
        descriptor["annotations"] =
            json!({ "org.opencontainers.image.ref.name": format!("{name}:latest") });
        self.named.push(descriptor);
        let index =
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": self.named }).to_string();
        fs::write(self.path().join("index.json"), index).expect("an index");
        self
    }

    /// Loads all that was named into a store.
    #[track_caller]
    pub(crate) fn load(&self, silo: &super::Silo) {
        silo.ok(&["load", "-q", "-i", super::host::text(self.path())]);
    }
}
