//! Saved images, as others read them.

use std::{fs, path::Path, process::Command};

use crate::support::{
    Silo, data,
    host::{needs_root, text},
};

fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {why}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A store with the images of two archives.
fn silo_with_two() -> Option<Silo> {
    let (one, two) = (data("busybox/docker-archive.tar")?, data("busybox/oci-zstd.tar")?);
    let silo = Silo::new();
    for archive in [one, two] {
        silo.ok(&["load", "-q", "-i", text(&archive)]);
    }
    Some(silo)
}

#[test]
fn a_saved_image_loads_again_with_the_same_digests() {
    let Some(silo) = silo_with_two() else { return };
    for format in ["docker-archive", "oci-archive"] {
        let archive = silo.home().join(format);
        let save =
            ["save", "--format", format, "-o", text(&archive), "busybox:archive", "busybox:zstd"];
        silo.ok(&save);
        let other = Silo::new();
        other.ok(&["load", "-q", "-i", text(&archive)]);
        let list = [
            "images",
            "--digests",
            "--no-trunc",
            "--format",
            "{{.Repository}}:{{.Tag}} {{.ID}} {{.Digest}}",
        ];
        let lines = |silo: &Silo| {
            let mut lines: Vec<String> = silo.ok(&list).lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(lines(&silo), lines(&other), "{format}");
        other.ok(&["system", "check"]);
    }
}

#[test]
fn the_same_images_give_the_same_archive() {
    let Some(silo) = silo_with_two() else { return };
    let paths = ["a", "b"].map(|name| silo.home().join(name));
    for path in &paths {
        silo.ok(&["save", "-o", text(path), "busybox:archive"]);
    }
    assert!(fs::read(&paths[0]).unwrap() == fs::read(&paths[1]).unwrap());
}

#[test]
fn skopeo_and_podman_read_what_was_saved() {
    let Some(silo) = silo_with_two() else { return };
    if !needs_root() {
        return;
    }
    let archive = silo.home().join("saved.tar");
    silo.ok(&["save", "-o", text(&archive), "busybox:archive"]);
    let id = silo.ok(&["inspect", "--format", "{{.Id}}", "busybox:archive"]);
    for source in
        [format!("docker-archive:{}", text(&archive)), format!("oci-archive:{}", text(&archive))]
    {
        let copy = silo.home().join("copy");
        let _ = fs::remove_dir_all(&copy);
        done(
            Command::new("skopeo")
                .args(["copy", "-q", &source])
                .arg(format!("dir:{}", text(&copy))),
        );
        let manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(copy.join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["config"]["digest"], id.as_str(), "{source}");
    }
    let podman = |args: &[&str]| {
        let mut command = Command::new("podman");
        command.arg("--root").arg(silo.home().join("podman"));
        command.arg("--runroot").arg(silo.home().join("podman-run"));
        done(command.args(["--storage-driver", "vfs"]).args(args))
    };
    let said = podman(&["load", "-q", "-i", text(&archive)]);
    assert!(said.contains("busybox:archive"), "{said}");
    let loaded = podman(&["image", "inspect", "--format", "{{.Id}}", "busybox:archive"]);
    assert_eq!(format!("sha256:{loaded}"), id);
    // And back again.
    let back = silo.home().join("back.tar");
    podman(&["save", "-q", "-o", text(&back), "busybox:archive"]);
    let other = Silo::new();
    other.ok(&["load", "-q", "-i", text(&back)]);
    assert_eq!(other.ok(&["inspect", "--format", "{{.Id}}", "busybox:archive"]), id);
    podman(&["rmi", "-a", "-f"]);
}

#[test]
fn docker_loads_what_was_saved() {
    let Some(silo) = silo_with_two() else { return };
    if !needs_root() {
        return;
    }
    let archive = silo.home().join("saved.tar");
    silo.ok(&["save", "-o", text(&archive), "busybox:archive"]);
    let docker = Docker::start(&silo.home().join("docker"));
    let said = docker.run(&["load", "-q", "-i", text(&archive)]);
    assert!(said.contains("busybox:archive"), "{said}");
    let id = docker.run(&["image", "inspect", "--format", "{{.Id}}", "busybox:archive"]);
    assert_eq!(id, silo.ok(&["inspect", "--format", "{{.Id}}", "busybox:archive"]));
}

#[test]
fn nothing_is_left_of_an_archive_that_cannot_be_written() {
    let Some(silo) = silo_with_two() else { return };
    let archive = silo.home().join("saved.tar");
    fs::write(&archive, "before").unwrap();
    let message = silo.fails(1, &["save", "-o", text(&archive), "busybox:archive", "nothing"]);
    assert!(message.contains("no such image: nothing"), "{message}");
    assert_eq!(fs::read(&archive).unwrap(), b"before");
    let message = silo.fails(1, &["save", "-o", "/no/such/folder/x", "busybox:archive"]);
    assert!(message.contains("/no/such/folder/x"), "{message}");
    let message = silo.fails(1, &["export", "-o", text(&archive), "nothing"]);
    assert!(message.contains("no such container: nothing"), "{message}");
    let left = crate::support::dotted_entries(silo.home());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn nothing_is_left_of_an_archive_whose_writing_is_interrupted() {
    let Some(archive) = data("debian/rootfs.tar") else { return };
    let silo = Silo::new();
    silo.ok(&["import", text(&archive), "large"]);
    let target = silo.home().join("saved.tar");
    let begun = || {
        crate::support::dotted_entries(silo.home()).iter().any(|name| name.contains("saved.tar"))
    };
    let mut saving = silo.spawn(&["save", "-o", text(&target), "large"]);
    crate::support::wait_until("the writing to begin", || {
        begun() || saving.try_wait().unwrap().is_some()
    });
    done(Command::new("sh").arg("-c").arg(format!("kill -INT {} || true", saving.id())));
    let ended = saving.wait().unwrap();
    assert!(!begun(), "{:?}", crate::support::dotted_entries(silo.home()));
    // On a fast disk it may be done before.
    assert_eq!(target.exists(), ended.success());
}

/// A dockerd of the test's own, ended when dropped.
struct Docker {
    daemon: std::process::Child,
    host: String,
}

impl Docker {
    fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let host = format!("unix://{}", text(&folder.join("socket")));
        let daemon = Command::new("dockerd")
            .arg("--data-root")
            .arg(folder.join("data"))
            .arg("--exec-root")
            .arg(folder.join("run"))
            .arg("--pidfile")
            .arg(folder.join("pid"))
            .args(["-H", &host, "--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .args(["--storage-driver", "vfs"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let docker = Self { daemon, host };
        crate::support::wait_until("dockerd to answer", || {
            let asked = Command::new("docker").args(["-H", &docker.host, "version"]).output();
            asked.is_ok_and(|answer| answer.status.success())
        });
        docker
    }

    fn run(&self, args: &[&str]) -> String {
        done(Command::new("docker").args(["-H", &self.host]).args(args))
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.daemon.id().to_string()]).status();
        let _ = self.daemon.wait();
    }
}
