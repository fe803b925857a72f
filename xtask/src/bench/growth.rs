//! That a start costs what the container does, however large its image.

use std::{fs, io::Cursor, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use silo_layers::Digest;

use super::{Contender, compare, done, image::append, silo::Silo, start::HELLO};

/// Images that differ in one thing.
const SIZES: [Size; 4] = [
    Size { name: "small", title: "10 files more, in 2 layers", files: 10, layers: 2 },
    Size { name: "files", title: "100,000 files more, in 2 layers", files: 100_000, layers: 2 },
    Size { name: "layers", title: "100 files more, in 100 layers", files: 100, layers: 100 },
    Size { name: "both", title: "100,000 files more, in 100 layers", files: 100_000, layers: 100 },
];

struct Size {
    name: &'static str,
    title: &'static str,
    /// Besides those of the first layer, in directories of 100.
    files: usize,
    /// The first among them.
    layers: usize,
}

pub(super) fn run(silo: &Silo, rootfs: &Path, work: &Path, rounds: usize) -> Result<()> {
    let rootfs = fs::read(rootfs)?;
    let mut module = tar::Builder::new(Vec::new());
    append(&mut module, "hello.wasm", &wat::parse_str(HELLO)?)?;
    let module = module.into_inner()?;
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let linux = json!({ "os": "linux", "architecture": machine, "config": { "Cmd": ["true"] } });
    let wasm = json!({
        "os": "wasi", "architecture": "wasm", "config": { "Entrypoint": ["/hello.wasm"] },
    });
    for (kind, title, config, first, args) in [
        ("linux", "busybox true", linux, rootfs, &["--network", "none"][..]),
        ("wasm", "compiled wasm hello", wasm, module, &[]),
    ] {
        let mut contenders = Vec::new();
        for size in &SIZES {
            let image = format!("{kind}-{}", size.name);
            let archive = work.join("grown.tar");
            write(&archive, &image, &config, &first, size)?;
            done(silo.command(&["load", "--input"]).arg(&archive))?;
            let silo = silo.clone();
            contenders.push(Contender::new(size.title, move || {
                let mut run = silo.command(&["run", "--rm"]);
                run.args(args).arg(&image);
                run
            }));
        }
        compare(&format!("{title}, by the size of its image"), contenders, rounds)?;
    }
    Ok(())
}

/// A docker-archive: the first layer, and others with the files.
fn write(path: &Path, image: &str, config: &Value, first: &[u8], size: &Size) -> Result<()> {
    let mut tar = tar::Builder::new(fs::File::create(path)?);
    let (mut names, mut diff_ids) = (Vec::new(), Vec::new());
    let above = size.layers - 1;
    for index in 0..size.layers {
        let layer = match index.checked_sub(1) {
            None => first.to_vec(),
            Some(index) => files(size.files * index / above..size.files * (index + 1) / above)?,
        };
        let name = format!("{index}.tar");
        append(&mut tar, &name, &layer)?;
        diff_ids.push(Digest::of(&layer).to_string());
        names.push(name);
    }
    let mut config = config.clone();
    config["rootfs"] = json!({ "type": "layers", "diff_ids": diff_ids });
    append(&mut tar, "config.json", &serde_json::to_vec(&config)?)?;
    let items = json!([{ "Config": "config.json", "RepoTags": [format!("{image}:latest")], "Layers": names }]);
    append(&mut tar, "manifest.json", &serde_json::to_vec(&items)?)?;
    tar.into_inner().context("cannot write the image")?;
    Ok(())
}

/// A layer with the files of these numbers.
fn files(numbers: std::ops::Range<usize>) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Cursor::new(Vec::new()));
    for number in numbers {
        append(&mut tar, &format!("grown/{}/{number}", number / 100), b"a file\n")?;
    }
    Ok(tar.into_inner()?.into_inner())
}
