//! The same Dockerfiles built by docker, and images of silo's run by docker and podman.
//!
//! The judge is docker: it loads what silo built, and tells of both images what they say and hold.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::Project;
use crate::support::{
    Silo, data,
    host::{done, needs_root, text},
};

/// A docker of the test's own.
pub(crate) struct Docker {
    home: TempDir,
    daemon: Child,
}

impl Docker {
    pub(crate) fn start() -> Option<Self> {
        if !needs_root() {
            return None;
        }
        if Command::new("dockerd").arg("--version").output().is_err() {
            crate::support::host::leave_out("there is no dockerd; .ci/setup installs it");
            return None;
        }
        let home = tempfile::Builder::new().prefix("silo-docker-").tempdir().unwrap();
        let path = |name: &str| text(&home.path().join(name)).to_owned();
        let log = fs::File::create(path("log")).unwrap();
        let daemon = Command::new("dockerd")
            .args(["--data-root", &path("data"), "--exec-root", &path("run")])
            .args(["--pidfile", &path("pid"), "-H", &format!("unix://{}", path("sock"))])
            .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let docker = Self { home, daemon };
        let start = Instant::now();
        while !docker.command(&["version"]).output().is_ok_and(|output| output.status.success()) {
            let log = fs::read_to_string(docker.home.path().join("log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_mins(1), "{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(docker)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", text(&self.home.path().join("sock"))));
        // Its own builder, which is in every daemon.
        command.env("DOCKER_BUILDKIT", "0").args(args).stdin(Stdio::null());
        command
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        done(&mut self.command(args)).trim_end().to_owned()
    }

    fn config(&self, image: &str) -> Value {
        serde_json::from_str(&self.ok(&["inspect", "-f", "{{json .Config}}", image])).unwrap()
    }

    /// Kind, permissions, owner, size, links and content of every file.
    fn files(&self, image: &str) -> Vec<String> {
        let script = "cd / && find . -xdev ! -path './proc*' ! -path './sys*' ! -path './dev*' \
                      ! -path ./.dockerenv ! -path ./etc/hosts ! -path ./etc/hostname \
                      ! -path ./etc/resolv.conf | sort | while read -r f; do \
                      s=$(stat -c '%F %a %u:%g %h' \"$f\"); \
                      if [ -L \"$f\" ]; then c=$(readlink \"$f\"); \
                      elif [ -f \"$f\" ]; then c=$(sha256sum < \"$f\" | cut -c1-16); \
                      else c=; s=$(stat -c '%F %a %u:%g' \"$f\"); fi; echo \"$f $s $c\"; done";
        let listed = self.ok(&[
            "run",
            "--rm",
            "-u",
            "0",
            "--network",
            "none",
            "--entrypoint",
            "sh",
            image,
            "-c",
            script,
        ]);
        listed.lines().map(str::to_owned).collect()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.daemon);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.daemon.wait();
        let home = text(self.home.path()).to_owned();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        let mut own: Vec<_> = own.filter(|path| path.starts_with(&home)).collect();
        own.sort_by_key(|path| std::cmp::Reverse(path.len()));
        for path in own {
            let _ = rustix::mount::unmount(Path::new(path), rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// All that docker's older builder knows, too.
const DOCKERFILE: &str = r#"ARG TAG=archive
FROM busybox:${TAG} AS made
ARG V=1
RUN mkdir -p /out/sub && echo "$V" > /out/sub/v && ln -s sub/v /out/link && chmod 2755 /out/sub
RUN ["/bin/busybox", "touch", "/out/exec"]
FROM busybox:${TAG}
ENV A=one B="two words" C=${A:-x}$UNSET
ENV OLD the old form
LABEL maintainer="someone" a.b=$A
WORKDIR /srv/app
COPY . .
COPY a.txt b.txt /many/
COPY tree/ /tree-content
COPY --chown=33:44 tree /owned
COPY t*e/*.txt /globs/
COPY --from=made /out /from
COPY --from=made /out/sub/v /renamed
ADD packed.tar.gz /unpacked/
RUN echo changed >> a.txt && rm b.txt && rm -r /many && mkdir /many
RUN echo 'someone:x:1234:1234::/:/bin/sh' >> /etc/passwd && echo 'someone:x:1234:' >> /etc/group
USER someone
RUN id -u > /tmp/id
EXPOSE 80 53/udp
VOLUME ["/data", "/more"]
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=30s --retries=2 CMD ["true"]
SHELL ["/bin/sh", "-e", "-c"]
ENTRYPOINT ["/bin/echo", "says"]
CMD shell form
ONBUILD COPY . /later
"#;

fn project(silo: &Silo) -> Project {
    let project = Project::new(silo, "peers", DOCKERFILE);
    project.file("a.txt", "a\n").file("b.txt", "b\n").file("tree/t.txt", "t\n");
    project.file("tree/deep/er.txt", "deep\n").file("ignored/x", "").file("also.tmp", "");
    project.file(".dockerignore", "ignored\n**/*.tmp\nDockerfile\n");
    std::os::unix::fs::symlink("t.txt", project.path("tree/link")).unwrap();
    let mut packed = Command::new("tar");
    packed.arg("-C").arg(project.path("tree")).args(["--owner=5:5", "--group=6:6", "-czf"]);
    done(packed.arg(project.path("packed.tar.gz")).arg("."));
    project
}

#[test]
fn docker_builds_the_same_of_the_same_dockerfile() {
    let Some(archive) = data("busybox/docker-archive.tar") else { return };
    let Some(docker) = Docker::start() else { return };
    let Some(silo) = Silo::with_busybox() else { return };
    docker.ok(&["load", "-q", "-i", text(&archive)]);
    let project = project(&silo);
    docker.ok(&[
        "build",
        "-q",
        "--network",
        "none",
        "--build-arg",
        "V=2",
        "-t",
        "by-docker",
        project.text(),
    ]);
    project.build(&silo, "by-silo", &["--build-arg", "V=2"]);
    let saved = silo.home().join("saved.tar");
    silo.ok(&["save", "--format", "docker-archive", "-o", text(&saved), "by-silo"]);
    docker.ok(&["load", "-q", "-i", text(&saved)]);

    let (mut theirs, mut ours) = (docker.config("by-docker"), docker.config("by-silo"));
    for config in [&mut theirs, &mut ours] {
        let members = config.as_object_mut().unwrap();
        // The older builder notes here how it made its last container.
        for note in [
            "Image",
            "Hostname",
            "Domainname",
            "AttachStdin",
            "AttachStdout",
            "AttachStderr",
            "Tty",
            "OpenStdin",
            "StdinOnce",
            "ArgsEscaped",
        ] {
            members.remove(note);
        }
    }
    assert_eq!(ours, theirs);
    let (theirs, ours) = (docker.files("by-docker"), docker.files("by-silo"));
    let only = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).cloned().collect()
    };
    let (theirs, ours) = (only(&theirs, &ours), only(&ours, &theirs));
    // The older builder gives everything that it copies from a stage to root, as it is root's here too.
    assert_eq!((ours, theirs), (Vec::new(), Vec::new()));
    assert_eq!(
        docker.ok(&["run", "--rm", "--network", "none", "by-silo"]),
        "says /bin/sh -e -c shell form"
    );
}

#[test]
fn podman_runs_what_was_built() {
    let Some(silo) = Silo::with_busybox() else { return };
    if !needs_root() {
        return;
    }
    if Command::new("podman").arg("--version").output().is_err() {
        crate::support::host::leave_out("there is no podman; .ci/setup installs it");
        return;
    }
    let project = project(&silo);
    project.build(&silo, "by-silo", &[]);
    let home = tempfile::Builder::new().prefix("silo-podman-").tempdir().unwrap();
    let podman = |args: &[&str]| {
        let mut podman = Command::new("podman");
        for (flag, name) in [("--root", "root"), ("--runroot", "run")] {
            podman.arg(flag).arg(home.path().join(name));
        }
        podman.args([
            "--storage-driver",
            "vfs",
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "file",
        ]);
        done(podman.args(args)).trim_end().to_owned()
    };
    for format in ["docker-archive", "oci-archive"] {
        let saved = silo.home().join(format);
        silo.ok(&["save", "--format", format, "-o", text(&saved), "by-silo"]);
        podman(&["load", "-q", "-i", text(&saved)]);
        // The machine may forbid the limits that podman would set.
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
        let run = [&["run", "--rm", "--network", "none"][..], &limits].concat();
        let ran = podman(&[&run[..], &["by-silo"]].concat());
        assert_eq!(ran, "says /bin/sh -e -c shell form");
        let cat = ["--entrypoint", "cat", "by-silo", "/srv/app/a.txt", "/tmp/id"];
        let ran = podman(&[&run[..], &cat].concat());
        assert_eq!(ran, "a\nchanged\n1234");
        podman(&["rmi", "-f", "by-silo"]);
    }
}
