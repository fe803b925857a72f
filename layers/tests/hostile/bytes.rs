//! Archives and images byte by byte, so that they may be what no tool would write.

use std::io::Write as _;

use serde_json::{Value, json};
use silo_layers::Digest;

/// A tar archive.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    /// An entry; a name or target that is too long for the header goes before it in GNU's form.
    pub(crate) fn entry(mut self, kind: u8, name: &[u8], link: &[u8], content: &[u8]) -> Self {
        if name.len() > 100 {
            self = self.entry(b'L', b"././@LongLink", b"", name);
        }
        if link.len() > 100 {
            self = self.entry(b'K', b"././@LongLink", b"", link);
        }
        let mut header = Self::header(kind, &name[..name.len().min(100)]);
        let link = &link[..link.len().min(100)];
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        self.raw(header, content.len() as u64, content)
    }

    pub(crate) fn header(kind: u8, name: &[u8]) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header
    }

    /// An entry whose header says another size.
    pub(crate) fn raw(mut self, mut header: tar::Header, size: u64, content: &[u8]) -> Self {
        header.set_size(size);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(b'0', name.as_bytes(), b"", content)
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name.as_bytes(), target.as_bytes(), b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name.as_bytes(), target.as_bytes(), b"")
    }

    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..rest + 9).find(|n| n.to_string().len() + rest == *n).unwrap();
            write!(content, "{length} {key}=").unwrap();
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.entry(b'x', b"pax", b"", &content)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Media types, but for what they begin with.
pub(crate) const MANIFEST: &str = "manifest.v1+json";
pub(crate) const INDEX: &str = "index.v1+json";
pub(crate) const CONFIG: &str = "config.v1+json";
pub(crate) const LAYER: &str = "layer.v1.tar";

/// An OCI layout that is put together blob by blob, as an archive.
#[derive(Default)]
pub(crate) struct Image {
    blobs: Vec<(String, Vec<u8>)>,
    pub(crate) top: Vec<Value>,
}

impl Image {
    /// An image of these layers' archives.
    pub(crate) fn of(layers: &[Vec<u8>]) -> Self {
        let mut image = Self::default();
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let layers: Vec<_> = layers.iter().map(|layer| image.blob(LAYER, layer)).collect();
        let config = image.config(&diff_ids);
        let manifest = image.manifest(&config, &layers);
        image.top.push(manifest);
        image
    }

    pub(crate) fn blob(&mut self, media_type: &str, content: &[u8]) -> Value {
        let digest = Digest::of(content);
        self.blobs.push((format!("blobs/sha256/{}", digest.hex()), content.to_vec()));
        let media_type = format!("application/vnd.oci.image.{media_type}");
        json!({ "mediaType": media_type, "digest": digest, "size": content.len() })
    }

    pub(crate) fn document(&mut self, media_type: &str, content: &Value) -> Value {
        self.blob(media_type, content.to_string().as_bytes())
    }

    pub(crate) fn config(&mut self, diff_ids: &[Digest]) -> Value {
        let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
        let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs });
        self.document(CONFIG, &config)
    }

    pub(crate) fn manifest(&mut self, config: &Value, layers: &[Value]) -> Value {
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        self.document(MANIFEST, &manifest)
    }

    pub(crate) fn index(&mut self, manifests: &[Value]) -> Value {
        self.document(INDEX, &json!({ "schemaVersion": 2, "manifests": manifests }))
    }

    /// The archive; its first image is called `hostile`.
    pub(crate) fn archive(&self) -> Vec<u8> {
        self.named("hostile")
    }

    /// The archive, with a name for its first image.
    pub(crate) fn named(&self, name: &str) -> Vec<u8> {
        let mut top = self.top.clone();
        if let Some(first) = top.first_mut() {
            let name = format!("{name}:latest");
            first["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        }
        let index = json!({ "schemaVersion": 2, "manifests": top }).to_string();
        let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
        let start = Tar::default().file("oci-layout", layout).file("index.json", index.as_bytes());
        self.blobs.iter().fold(start, |tar, (name, content)| tar.file(name, content)).end()
    }
}
