//! What images of the field look like.

use serde_json::{Value, json};

use super::*;
use crate::union::{Access, FileKind, Follow, ROOT, UnionFs};

const OCI: &str = "application/vnd.oci.image";
const DOCKER: &str = "application/vnd.docker";

/// An OCI archive that is put together blob by blob.
#[derive(Default)]
struct Image(Vec<(String, Vec<u8>)>);

impl Image {
    fn blob(&mut self, media_type: &str, content: &[u8]) -> Value {
        let digest = Digest::of(content);
        self.0.push((format!("blobs/sha256/{}", digest.hex()), content.to_vec()));
        json!({ "mediaType": media_type, "digest": digest, "size": content.len() })
    }

    fn document(&mut self, media_type: &str, content: &Value) -> Value {
        self.blob(media_type, content.to_string().as_bytes())
    }

    fn manifest(&mut self, config: &Value, layers: &[Value]) -> Value {
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        self.document(&format!("{OCI}.manifest.v1+json"), &manifest)
    }

    /// An image of uncompressed layers.
    fn of(&mut self, layers: &[Vec<u8>]) -> Value {
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = self.document(&format!("{OCI}.config.v1+json"), &config);
        let media_type = format!("{OCI}.layer.v1.tar");
        let layers: Vec<_> = layers.iter().map(|layer| self.blob(&media_type, layer)).collect();
        self.manifest(&config, &layers)
    }

    fn index(&mut self, manifests: &[Value]) -> Value {
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        self.document(&format!("{OCI}.index.v1+json"), &index)
    }

    /// The archive, with these images and `app` as the name of the first.
    fn archive(&self, images: &[Value]) -> Vec<u8> {
        let mut images = images.to_vec();
        images[0]["annotations"] = json!({ "org.opencontainers.image.ref.name": "app:1" });
        let index = json!({ "schemaVersion": 2, "manifests": images }).to_string();
        let mut files = vec![("oci-layout", LAYOUT.as_bytes()), ("index.json", index.as_bytes())];
        files.extend(self.0.iter().map(|(name, content)| (name.as_str(), content.as_slice())));
        archive(&files)
    }
}

#[test]
fn every_media_type_of_oci_and_docker_is_known() {
    let layers = [
        format!("{OCI}.layer.v1.tar"),
        format!("{OCI}.layer.v1.tar+gzip"),
        format!("{OCI}.layer.v1.tar+zstd"),
        format!("{OCI}.layer.nondistributable.v1.tar"),
        format!("{OCI}.layer.nondistributable.v1.tar+gzip"),
        format!("{OCI}.layer.nondistributable.v1.tar+zstd"),
        format!("{DOCKER}.image.rootfs.diff.tar"),
        format!("{DOCKER}.image.rootfs.diff.tar.gzip"),
        format!("{DOCKER}.image.rootfs.diff.tar.zstd"),
        format!("{DOCKER}.image.rootfs.foreign.diff.tar.gzip"),
    ];
    let configs = [
        format!("{OCI}.config.v1+json"),
        format!("{DOCKER}.container.image.v1+json"),
        "application/octet-stream".to_owned(),
    ];
    for config_type in &configs {
        let mut image = Image::default();
        // A type that is wrong about the compression is common, and harmless.
        let contents = (0..layers.len()).map(|index| gzip(&tar(&index.to_string())));
        let diff_ids: Vec<_> =
            (0..layers.len()).map(|index| Digest::of(&tar(&index.to_string()))).collect();
        let described: Vec<_> =
            layers.iter().zip(contents).map(|(kind, content)| image.blob(kind, &content)).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "history": null, "config": null,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = image.document(config_type, &config);
        let mut manifest = image.manifest(&config, &described);
        manifest["mediaType"] = json!(format!("{DOCKER}.distribution.manifest.v2+json"));
        let mut list = image.index(&[manifest]);
        list["mediaType"] = json!(format!("{DOCKER}.distribution.manifest.list.v2+json"));
        let fixture = Fixture::new();
        fixture.load(&image.archive(&[list])).unwrap();
        let image = fixture.store.resolve("app:1", &[]).unwrap();
        assert_eq!((image.diff_ids, image.config.history().clone()), (diff_ids, None));
        assert!(fixture.store.check(false).unwrap().is_whole());
    }
}

#[test]
fn images_of_no_layers_and_of_empty_ones_are_images() {
    for rootfs in [
        json!({ "type": "layers" }),
        json!({ "type": "layers", "diff_ids": null }),
        json!({ "type": "layers", "diff_ids": [] }),
    ] {
        let fixture = Fixture::new();
        let config = json!({
            "architecture": "amd64", "os": "linux", "rootfs": rootfs,
            "history": [{ "created_by": "CMD", "empty_layer": true, "created": null }],
        });
        let manifest = br#"[{"Config":"c","RepoTags":["app:1"],"Layers":null}]"#;
        let files = [
            ("c", config.to_string()),
            ("manifest.json", String::from_utf8_lossy(manifest).into()),
        ];
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        fixture.load(&archive(&files)).unwrap();
        let image = fixture.store.resolve("app:1", &[]).unwrap();
        let dir = fixture.dir.path().join("container");
        fs::create_dir(&dir).unwrap();
        assert_eq!(fixture.store.snapshot(&image, &dir).unwrap().lowers.len(), 1);
    }
    // What Docker wrote for a step that changed no file, and what others write: nothing at all.
    let mut image = Image::default();
    let manifest = image.of(&[vec![0; 1024], tar("file"), vec![0; 1024], Vec::new()]);
    let fixture = Fixture::new();
    fixture.load(&image.archive(&[manifest])).unwrap();
    assert_eq!(fixture.counts(), (5, 3, 0));
    assert!(fixture.store.check(false).unwrap().is_whole());
}

#[test]
fn indexes_hold_indexes_and_what_is_no_image_is_passed_over() {
    let mut archive = Image::default();
    let wanted = archive.of(&[tar("file")]);
    let signature_config = archive.document("application/vnd.example.signature", &json!({}));
    let signature = archive.blob("application/octet-stream", b"signature");
    let signature = archive.manifest(&signature_config, &[signature]);
    let attestation = json!({
        "mediaType": format!("{OCI}.manifest.v1+json"), "size": 2, "digest": Digest::of(b"{}"),
        "platform": { "os": "unknown", "architecture": "unknown" },
    });
    let inner = archive.index(&[signature.clone(), wanted, attestation]);
    let outer = archive.index(&[inner]);
    let fixture = Fixture::new();
    let loaded = fixture.load(&archive.archive(&[outer, signature.clone()])).unwrap();
    assert_eq!(loaded.len(), 1);
    assert!(fixture.store.resolve("app:1", &[Platform::new("linux", "amd64")]).is_ok());
    assert!(fixture.store.check(false).unwrap().is_whole());
    let alone = fixture.load(&archive.archive(&[signature])).unwrap_err();
    assert!(alone.to_string().contains("application/vnd.example.signature"), "{alone}");
}

/// A module and a component that do nothing.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

#[test]
fn wasm_artifacts_are_images_with_one_file() {
    let cncf = json!({
        "created": "2026-01-02T03:04:05Z", "author": null, "architecture": "wasm", "os": "wasip2",
        "layerDigests": [Digest::of(COMPONENT)], "component": { "exports": [], "imports": [] },
    });
    let cases = [
        ("application/vnd.wasm.config.v0+json", cncf, "application/wasm", COMPONENT, "wasip2"),
        (
            "application/vnd.wasm.config.v1+json",
            json!({}),
            "application/vnd.wasm.content.layer.v1+wasm",
            MODULE,
            "wasi",
        ),
        (
            "application/vnd.bytecodealliance.wasm.component.config.v0+json",
            json!({}),
            "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
            COMPONENT,
            "wasi",
        ),
        ("application/vnd.oci.empty.v1+json", json!({}), "application/wasm", MODULE, "wasi"),
    ];
    let mut ids = HashSet::new();
    for (config_type, config, layer_type, program, os) in cases {
        let fixture = Fixture::new();
        let mut artifact = Image::default();
        let config = artifact.document(config_type, &config);
        let layer = artifact.blob(layer_type, program);
        let manifest = artifact.manifest(&config, &[layer]);
        fixture.load(&artifact.archive(&[manifest])).unwrap();
        let image = fixture.store.resolve("app:1", &[Platform::wasi()]).unwrap();
        assert_eq!(image.platform, Platform::new(os, "wasm"));
        let entrypoint = image.config.config().as_ref().unwrap().entrypoint().clone();
        assert_eq!(entrypoint.unwrap(), ["/module.wasm"]);
        ids.insert(image.id);
        // Twice, the second time unpacked again from the blob.
        for round in ["one", "two"] {
            let dir = fixture.dir.path().join(round);
            fs::create_dir(&dir).unwrap();
            let snapshot = fixture.store.snapshot(&image, &dir).unwrap();
            let file = snapshot.lowers[0].path.join("module.wasm");
            assert_eq!(fs::read(file).unwrap(), program);
            assert_eq!(fixture.counts(), (3, 1, 0));
            files::remove_tree(&fixture.store.layer_path(image.diff_ids[0])).unwrap();
        }
        assert!(fixture.store.check(true).unwrap().is_whole());
        assert_eq!(fs::read(fixture.store.blob_path(Digest::of(program))).unwrap(), program);
        assert_eq!(fixture.store.usage().unwrap().layers.count, 1);
        fixture.store.remove("app:1", false, NOBODY).unwrap();
        assert_eq!(fixture.counts(), (0, 0, 0));
    }
    assert_eq!(ids.len(), 4, "each has an id of its own");
}

#[test]
fn an_image_with_a_program_as_its_layer_starts_it_with_its_arguments() {
    let mut image = Image::default();
    let config = json!({
        "architecture": "wasm", "os": "wasip1",
        "config": { "Entrypoint": ["app.wasm", "--flag"], "Cmd": ["x"] },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(MODULE)] },
    });
    let config = image.document(&format!("{OCI}.config.v1+json"), &config);
    let kind = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm";
    let layer = image.blob(kind, MODULE);
    let manifest = image.manifest(&config, std::slice::from_ref(&layer));
    let fixture = Fixture::new();
    fixture.load(&image.archive(&[manifest])).unwrap();
    let found = fixture.store.resolve("app:1", &[]).unwrap();
    let run = found.config.config().clone().unwrap();
    assert_eq!(run.entrypoint().clone().unwrap(), ["/module.wasm", "--flag"]);
    assert_eq!(run.cmd().clone().unwrap(), ["x"]);

    let config = image.document("application/vnd.wasm.config.v1+json", &json!({}));
    let two = image.manifest(&config, &[layer.clone(), layer]);
    let error = fixture.load(&image.archive(&[two])).unwrap_err();
    assert!(error.to_string().contains("a WebAssembly artifact has one layer"), "{error}");
}

/// A layer's archive of entries: a path, and what is there.
fn layer(entries: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, link) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o755);
        match (link, path.strip_suffix('/')) {
            (Some(target), _) => {
                header.set_entry_type(tar::EntryType::Symlink);
                builder.append_link(&mut header, path, target).unwrap();
            }
            (None, Some(directory)) => {
                header.set_entry_type(tar::EntryType::Directory);
                builder.append_data(&mut header, directory, &b""[..]).unwrap();
            }
            (None, None) => builder.append_data(&mut header, path, &b""[..]).unwrap(),
        }
    }
    builder.into_inner().unwrap()
}

#[test]
fn types_change_from_layer_to_layer() {
    let mut image = Image::default();
    let layers = [
        layer(&[("file-over-dir/in", None), ("dir-over-link", Some("target")), ("target/t", None)]),
        layer(&[("dir-over-file", None), ("link-over-dir/in", None), ("gone/in", None)]),
        layer(&[("opaque/old", None)]),
        layer(&[
            ("file-over-dir", None),
            ("dir-over-link/new", None),
            ("dir-over-file/new", None),
            ("link-over-dir", Some("target")),
            (".wh.gone", None),
            ("opaque/.wh..wh..opq", None),
            ("opaque/new", None),
        ]),
    ];
    let manifest = image.of(&layers);
    let fixture = Fixture::new();
    fixture.load(&image.archive(&[manifest])).unwrap();
    let image = fixture.store.resolve("app:1", &[]).unwrap();
    let dir = fixture.dir.path().join("container");
    fs::create_dir(&dir).unwrap();
    let snapshot = fixture.store.snapshot(&image, &dir).unwrap();
    let union = UnionFs::open(&snapshot, Access::ReadOnly).unwrap();
    let names = |path: &str| {
        let node = union.resolve(ROOT, path, Follow::AllButLast).unwrap();
        let mut entries: Vec<_> = union.readdir(node).unwrap();
        entries.retain(|entry| !matches!(entry.name.as_str(), "." | ".."));
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        entries.into_iter().map(|entry| (entry.name, entry.kind)).collect::<Vec<_>>()
    };
    assert_eq!(
        names("/"),
        [
            ("dir-over-file", FileKind::Directory),
            ("dir-over-link", FileKind::Directory),
            ("file-over-dir", FileKind::File),
            ("link-over-dir", FileKind::Symlink),
            ("opaque", FileKind::Directory),
            ("target", FileKind::Directory),
        ]
        .map(|(name, kind)| (name.to_owned(), kind))
    );
    for directory in ["dir-over-link", "dir-over-file", "opaque"] {
        assert_eq!(names(directory), [("new".to_owned(), FileKind::File)], "{directory}");
    }
}
