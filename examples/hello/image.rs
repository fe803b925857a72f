//! Builds the image `hello`, an OCI archive with a Linux and a WebAssembly half, which the
//! program carries inside it. The same sources make the same bytes.

use std::{
    env,
    ffi::OsString,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Result;

const SOURCES: &str = "examples/hello";
const NAME: &str = "docker.io/library/hello:latest";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Writes the archive to `hello.tar` in the directory for what is built.
pub(super) fn build() -> Result<()> {
    println!("cargo::rerun-if-changed={SOURCES}");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let sources = Path::new(SOURCES);

    let mut layout = Layout::default();
    let greeting = layer("greeting.txt", 0o644, &fs::read(sources.join("greeting.txt"))?)?;
    let mut manifests = Vec::new();
    if let Some((architecture, program)) = linux_program(&sources.join("linux.rs"), &out)? {
        let program = layer("hello", 0o755, &program)?;
        manifests.push(layout.image("linux", architecture, "/hello", &[&greeting, &program])?);
    }
    let module = layer("hello.wasm", 0o755, &wat::parse_file(sources.join("wasi.wat"))?)?;
    manifests.push(layout.image("wasi", "wasm", "/hello.wasm", &[&greeting, &module])?);
    fs::write(out.join("hello.tar"), layout.archive(&manifests)?)?;
    Ok(())
}

/// An OCI image layout in the making: the blobs by their paths.
#[derive(Default)]
struct Layout(Vec<(String, Vec<u8>)>);

impl Layout {
    /// Adds a blob, once, and returns its descriptor.
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let (hex, size) = (sha256(&bytes), bytes.len());
        let path = format!("blobs/sha256/{hex}");
        if !self.0.iter().any(|(known, _)| *known == path) {
            self.0.push((path, bytes));
        }
        json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": size })
    }

    /// Adds an image of these layers and returns its manifest's descriptor.
    fn image(&mut self, os: &str, arch: &str, program: &str, layers: &[&Vec<u8>]) -> Result<Value> {
        let diff_ids: Vec<String> =
            layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect();
        let config = json!({
            "os": os,
            "architecture": arch,
            "config": { "Entrypoint": [program] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = self.add(CONFIG, serde_json::to_vec(&config)?);
        let layers: Vec<Value> =
            layers.iter().map(|layer| self.add(LAYER, (*layer).clone())).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        let mut descriptor = self.add(MANIFEST, serde_json::to_vec(&manifest)?);
        descriptor["platform"] = json!({ "os": os, "architecture": arch });
        Ok(descriptor)
    }

    /// The whole as a tar archive: one index of these manifests, under the image's name.
    fn archive(mut self, manifests: &[Value]) -> Result<Vec<u8>> {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        let mut descriptor = self.add(INDEX, serde_json::to_vec(&index)?);
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": NAME });
        let root = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] });
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        append(&mut archive, "index.json", 0o644, &serde_json::to_vec(&root)?)?;
        for (path, bytes) in &self.0 {
            append(&mut archive, path, 0o644, bytes)?;
        }
        Ok(archive.into_inner()?)
    }
}

fn sha256(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
    }
    text
}

/// A layer that holds one file.
fn layer(name: &str, mode: u32, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, name, mode, bytes)?;
    Ok(archive.into_inner()?)
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(mode);
    header.set_size(u64::try_from(bytes.len())?);
    header.set_mtime(0);
    archive.append_data(&mut header, path, bytes)?;
    Ok(())
}

/// Compiles the Linux half, where the compiler at hand can: for the architecture that the
/// program is built for, on Linux. Elsewhere the image has its WebAssembly half alone.
fn linux_program(source: &Path, out: &Path) -> Result<Option<(&'static str, Vec<u8>)>> {
    let (host, target) = (env::var("HOST")?, env::var("CARGO_CFG_TARGET_ARCH")?);
    let (triple, architecture) = match target.as_str() {
        "x86_64" => ("x86_64-unknown-linux-gnu", "amd64"),
        "aarch64" => ("aarch64-unknown-linux-gnu", "arm64"),
        _ => return Ok(None),
    };
    if !host.contains("linux") {
        return Ok(None);
    }
    let program = out.join("hello-linux");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(rustc)
        .args(["--edition", "2024", "--crate-name", "hello", "--target", triple])
        .args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "relocation-model=static"])
        .args(["-C", "strip=symbols", "-C", "link-arg=-nostartfiles"])
        .args(["-C", "link-arg=-nostdlib", "-C", "link-arg=-static"])
        .args(["-C", "link-arg=-Wl,--build-id=none"])
        .arg("-o")
        .args([program.as_path(), source])
        .output()?;
    if output.status.success() {
        return Ok(Some((architecture, fs::read(program)?)));
    }
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    if host.starts_with(&target) {
        return Err(format!("cannot compile {}:\n{message}", source.display()).into());
    }
    println!("cargo::warning=the image hello has no Linux half: no compiler for {triple} here");
    Ok(None)
}
