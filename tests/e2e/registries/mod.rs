//! Registries: Debian's docker-registry on loopback as the other side, skopeo and podman as the others
//! who use it, and a proxy between that does what networks do.

mod chaos;
mod faults;
mod login;
mod proxy;
mod pull;
mod push;
mod run;
mod server;

use serde_json::{Value, json};

use crate::support::{
    Layout, Silo,
    host::{self, text},
    layout::{File, Layer},
};
use proxy::Proxy;
pub(crate) use server::Server;

/// A layer of one file of bytes that do not compress, each `seed` others.
fn noise(layout: &Layout, path: &str, length: usize, seed: u32) -> Layer {
    let mut state = seed;
    let content: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(length)
    .collect();
    layout.layer(&[File::new(path, &content)])
}

/// An image `NAME` of layers of these sizes.
fn image_of(name: &str, sizes: &[usize]) -> Layout {
    let mut layout = Layout::new();
    let layers: Vec<Layer> = sizes
        .iter()
        .zip(1..)
        .map(|(size, seed)| noise(&layout, &format!("file{seed}"), *size, seed))
        .collect();
    let platform = native();
    let image = layout.image(&platform, &layers, &json!({ "Cmd": ["/file1"] }));
    layout.name(name, image);
    layout
}

/// Linux on this machine.
fn native() -> String {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    format!("linux/{architecture}")
}

/// The digest of the only thing that a layout names.
fn digest_in(layout: &Layout) -> String {
    let index = std::fs::read(layout.path().join("index.json")).expect("an index");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    index["manifests"][0]["digest"].as_str().expect("a digest").to_owned()
}

/// Puts what a layout names into a registry, by a `silo` of its own.
fn publish(layout: &Layout, name: &str, to: &str) {
    let silo = Silo::new();
    layout.load(&silo);
    silo.ok(&["push", "-q", name, to]);
}

/// skopeo with these arguments, which succeeds; what it prints.
#[track_caller]
fn skopeo(args: &[&str]) -> String {
    host::done(std::process::Command::new("skopeo").args(args))
}

/// podman on a store below the directory of a `silo`.
#[track_caller]
fn podman(silo: &Silo, args: &[&str]) -> String {
    let (root, run) = (silo.home().join("podman"), silo.home().join("podman-run"));
    let mut command = std::process::Command::new("podman");
    command.args(["--storage-driver", "vfs", "--root", text(&root), "--runroot", text(&run)]);
    host::done(command.args(args))
}
