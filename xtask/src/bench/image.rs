//! The image that is loaded: Debian 12 with nginx, Python and git, in four layers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{command, done};

/// What each layer adds to Debian's smallest set of packages; a page of text comes on top.
const PACKAGES: [&str; 3] = ["", "nginx", "nginx,python3,git,curl,openssh-client,locales"];

/// The image in all forms.
pub(super) struct Images {
    dir: PathBuf,
    /// What they are like.
    pub(super) described: String,
}

impl Images {
    /// A form that everyone can load.
    pub(super) fn archive(&self) -> PathBuf {
        self.dir.join("docker-gzip.tar")
    }

    /// Each form, and where it is.
    pub(super) fn inputs(&self) -> Vec<(&'static str, PathBuf)> {
        [
            ("docker-archive, layers uncompressed", "docker.tar"),
            ("docker-archive, gzip layers", "docker-gzip.tar"),
            ("OCI archive, gzip layers", "oci.tar"),
            ("OCI layout, gzip layers", "layout"),
            ("OCI archive, all in one gzip layer", "one-layer.tar"),
        ]
        .map(|(title, name)| (title, self.dir.join(name)))
        .into()
    }
}

/// The image, made once and kept in `data`.
pub(super) fn made(data: &Path) -> Result<Images> {
    let dir = data.join("bench");
    if !dir.exists() {
        println!("making the image to load; this takes some minutes\n");
        let work = tempfile::Builder::new().prefix("bench-").tempdir_in(data)?;
        make(work.path())?;
        fs::rename(work.keep(), &dir).context("cannot keep the image")?;
    }
    let size =
        |name: &str| Ok::<u64, anyhow::Error>(fs::metadata(dir.join(name))?.len() / 1_000_000);
    let described = format!(
        "Debian 12 with nginx, Python and git in 4 layers: {} MB in gzip, {} MB unpacked",
        size("oci.tar")?,
        size("docker.tar")?
    );
    Ok(Images { dir, described })
}

fn make(work: &Path) -> Result<()> {
    let (layout, single) = (work.join("layout"), work.join("single"));
    let bundle = work.join("bundle");
    new_image(&layout)?;
    done(umoci(&["unpack"], &layout).arg(&bundle))?;
    let rootfs = bundle.join("rootfs");
    for packages in PACKAGES {
        let archive = work.join("stage.tar");
        debian(packages, &archive)?;
        done(
            command("tar", &["-xp", "--numeric-owner", "--exclude=./dev/*", "-C"])
                .arg(&rootfs)
                .arg("-f")
                .arg(&archive),
        )?;
        fs::remove_file(archive)?;
        repack(&layout, &bundle)?;
    }
    fs::write(rootfs.join("var/www/html/index.html"), "<p>a page of text</p>\n")?;
    repack(&layout, &bundle)?;
    new_image(&single)?;
    done(umoci(&["insert"], &single).arg(&rootfs).arg("/"))?;
    for (layout, kind, name) in [
        (&layout, "oci-archive", "oci.tar"),
        (&layout, "docker-archive", "docker.tar"),
        (&single, "oci-archive", "one-layer.tar"),
    ] {
        let to = format!("{kind}:{}:bench:latest", work.join(name).display());
        done(&mut command(
            "skopeo",
            &["copy", "-q", &format!("oci:{}:latest", layout.display()), &to],
        ))?;
    }
    docker_archive(&layout, &work.join("docker-gzip.tar"))?;
    fs::remove_dir_all(bundle)?;
    fs::remove_dir_all(single).map_err(Into::into)
}

fn umoci(verb: &[&str], layout: &Path) -> std::process::Command {
    let mut umoci = command("umoci", verb);
    umoci.arg("--image").arg(format!("{}:latest", layout.display()));
    umoci
}

fn new_image(layout: &Path) -> Result<()> {
    done(command("umoci", &["init", "--layout"]).arg(layout))?;
    done(&mut umoci(&["new"], layout)).map(drop)
}

/// A root file system with these packages, and no more than they need.
fn debian(packages: &str, archive: &Path) -> Result<()> {
    let mut debian = command("mmdebstrap", &["--quiet", "--variant=minbase"]);
    if !packages.is_empty() {
        debian.arg(format!("--include={packages}"));
    }
    debian.arg("bookworm").arg(archive);
    done(&mut debian).map(drop)
}

/// What changed becomes a layer.
fn repack(layout: &Path, bundle: &Path) -> Result<()> {
    done(umoci(&["repack", "--refresh-bundle"], layout).arg(bundle))?;
    done(command("umoci", &["gc", "--layout"]).arg(layout)).map(drop)
}

/// A layout's image as `docker save` would write it, were its layers left compressed: other
/// builders write such archives.
fn docker_archive(layout: &Path, path: &Path) -> Result<()> {
    let blobs = layout.join("blobs/sha256");
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().context("a digest")?;
        let hex = digest.strip_prefix("sha256:").context("a SHA-256 digest")?;
        Ok::<_, anyhow::Error>((blobs.join(hex), hex.to_owned()))
    };
    let read = |path: &Path| Ok::<Value, anyhow::Error>(serde_json::from_slice(&fs::read(path)?)?);
    let index = read(&layout.join("index.json"))?;
    let manifest = read(&blob(&index["manifests"][0])?.0)?;
    let mut tar = tar::Builder::new(fs::File::create(path)?);
    let (config, name) = blob(&manifest["config"])?;
    let config_name = format!("{name}.json");
    tar.append_path_with_name(config, &config_name)?;
    let mut names = Vec::new();
    for layer in manifest["layers"].as_array().context("layers")? {
        let (layer, name) = blob(layer)?;
        let name = format!("{name}.tar.gz");
        tar.append_path_with_name(layer, &name)?;
        names.push(name);
    }
    let items = json!([{ "Config": config_name, "RepoTags": ["bench:latest"], "Layers": names }]);
    append(&mut tar, "manifest.json", &serde_json::to_vec(&items)?)?;
    tar.into_inner()?;
    Ok(())
}

/// Adds a file to an archive.
pub(super) fn append(
    tar: &mut tar::Builder<impl std::io::Write>,
    name: &str,
    content: &[u8],
) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, name, content).map_err(Into::into)
}
